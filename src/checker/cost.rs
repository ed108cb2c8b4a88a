//! `cost`: an update costs no more `AT` lines than so many, on average.

use super::run::Run;
use super::{Cause, Explanation, Outcome, Span};
use crate::config::Spread;
use crate::history::{Event, Fact};
use crate::words::{count, digits};

pub(super) fn judge(run: &Run<'_>, span: Span, per_update: f64) -> Outcome {
    let entries = &run.history.entries[span.from..span.until];
    let sent = |fact: &Fact| matches!(fact, Fact::Saw(Event::Sent { .. }));
    let lines = entries.iter().filter(|entry| sent(&entry.fact)).count();
    let updates = run.writes.iter().filter(|write| write.newer && span.has(write.entry)).count();
    if updates == 0 {
        return Outcome::Unobserved("there was no update".into());
    }
    let cost = lines as f64 / updates as f64;
    if cost <= per_update {
        return Outcome::Holds;
    }
    let origin = &run.history.origin;
    let known = format!(
        "flooding without faults costs {}, the least possible is {}{}",
        origin.lines_of_flood(),
        origin.lines_of_tree(),
        if origin.strategy.spread() == Spread::Tree { "; a tree floods the first update of each origin" } else { "" }
    );
    Outcome::Violated(Box::new(Explanation {
        headline: format!("an update cost {} lines instead of at most {}", digits(cost), digits(per_update)),
        expected: format!("at most {} lines an update", digits(per_update)),
        actual: format!(
            "{} lines: {} for {}",
            digits(cost),
            count(lines as u64, "line"),
            count(updates as u64, "update")
        ),
        at: None,
        because: vec![Cause::new("cost of flooding", known)],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn counts_lines_for_each_update() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = || {
            let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi);
            herd.told("Bona", "Campbell", &kiwi).told("Bona", "Bailey", &kiwi)
        };
        assert_eq!(herd().verdict(Assertion::Cost { per_update: 3.0 }), Verdict::Passed);
        assert_eq!(
            herd().explanation(Assertion::Cost { per_update: 2.5 }),
            "expected: at most 2.5 lines an update\nactual: 3 lines: 3 lines for 1 update\n\
             - flooding without faults costs 8, the least possible is 4"
        );
    }

    #[test]
    fn is_unproven_without_an_update() {
        assert_eq!(herd().verdict(Assertion::Cost { per_update: 1.0 }), Verdict::Unproven);
    }
}
