//! `stale_area`: stale pairs of server and client integrated over time, per write, stay below a bound.

use super::measure;
use super::run::Run;
use super::{Explanation, Outcome, Span};
use crate::words::digits;

pub(super) fn judge(run: &Run<'_>, span: Span, at_most: f64) -> Outcome {
    let area = measure::stale_area(run, span.until);
    if area <= at_most {
        return Outcome::observed(!run.writes.is_empty(), "no IAMAT was taken");
    }
    let (area, at_most) = (digits(area), digits(at_most));
    Outcome::Violated(Box::new(Explanation {
        headline: format!("the stale area is {area} s a write instead of at most {at_most} s"),
        expected: format!("a stale area of at most {at_most} s a write"),
        actual: format!("{area} s a write"),
        at: None,
        because: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::Builder;
    use crate::history::build::{herd, line};

    /// Four servers are stale for 100 ms, then one of them for another 100 ms.
    fn spread() -> Builder {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).at(100, |herd| {
            ["Bailey", "Campbell", "Jaquez"].into_iter().fold(herd, |herd, to| herd.told("Bona", to, &kiwi))
        });
        herd.at(200, |herd| herd.told("Bona", "Clark", &kiwi))
    }

    #[test]
    fn is_the_sum_over_pairs_and_time_for_each_write() {
        let area = spread().judge().numbers.deeds.unwrap().stale_area;
        assert!((area - 0.5).abs() < 1e-9, "{area}");
        assert_eq!(spread().verdict(Assertion::StaleArea { at_most: 0.51 }), Verdict::Passed);
        assert_eq!(
            spread().explanation(Assertion::StaleArea { at_most: 0.4 }),
            "expected: a stale area of at most 0.4 s a write\nactual: 0.5 s a write"
        );
    }

    #[test]
    fn a_dead_server_is_not_stale() {
        let herd = herd().accepted("Bona", "kiwi", 1).kill("Clark", 0).kill("Bailey", 0).at(100, |herd| herd);
        let area = herd.judge().numbers.deeds.unwrap().stale_area;
        assert!((area - 0.2).abs() < 1e-9, "{area}");
    }
}
