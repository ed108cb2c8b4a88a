//! `stale_area`: stale pairs of server and client integrated over time, per write, stay below a bound.

use super::measure;
use super::run::Run;
use super::words::digits;
use super::{Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span, at_most: f64) -> Outcome {
    let area = measure::stale_area(run, span.until);
    if area <= at_most {
        return Outcome::observed(!run.writes.is_empty(), "no IAMAT was taken");
    }
    Outcome::Violated(Box::new(Explanation {
        expected: format!("a stale area of at most {} s a write", digits(at_most)),
        actual: format!("{} s a write", digits(area)),
        at: None,
        because: Vec::new(),
    }))
}
