//! `propagated`: writes reach the other servers of the core within a time, for a part of all pairs of write and server.

use std::time::Duration;

use super::convergence::Lacking;
use super::faults::Ledger;
use super::measure::propagation;
use super::run::Run;
use super::{Explanation, Outcome, Span, why};
use crate::words::{count, percent, short};

pub(super) fn judge(run: &Run<'_>, ledger: &Ledger<'_>, span: Span, within: Duration, part: f64) -> Outcome {
    let latencies = propagation(run, span.from, span.until);
    if latencies.count() == 0 {
        return Outcome::Unobserved("no write had to reach another server".into());
    }
    let reached = latencies.quantile(part);
    if reached.is_some_and(|latency| latency <= within) {
        return Outcome::Holds;
    }
    let lacking = latencies.never.first().filter(|_| reached.is_none()).map(|&(write, server)| {
        let write = run.acknowledged().iter().find(|other| other.entry == write).expect("latencies are of writes");
        let version = run.version(write.version);
        Lacking { client: version.client, rank: version.rank, servers: vec![server] }
    });
    let of = count(latencies.count() as u64, "pair");
    let why = lacking.map(|lacking| why::lacks(run, ledger, span.until, &lacking));
    let never = || format!("{} never reached", count(latencies.never.len() as u64, "pair"));
    let (headline, because) = match (why, reached) {
        (Some(why), _) => (why.headline, why.causes),
        (None, Some(latency)) => {
            let part = percent(part);
            let headline = format!(
                "{part} % of {of} of write and server took up to {} instead of {}",
                short(latency),
                short(within)
            );
            (headline, Vec::new())
        }
        (None, None) => (never(), Vec::new()),
    };
    Outcome::Violated(Box::new(Explanation {
        headline,
        expected: format!("{} % of {of} of write and server within {}", percent(part), short(within)),
        actual: reached.map_or_else(never, |latency| format!("{} % took up to {}", percent(part), short(latency))),
        at: None,
        because,
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};
    use std::time::Duration;

    use crate::history::build::Builder;

    fn bound(milliseconds: u64, quantile: f64) -> Assertion {
        Assertion::Propagated { within: Duration::from_millis(milliseconds), quantile }
    }

    /// Reached after 10, 20 and 30 ms by three servers, and by Clark when `clark`.
    fn spread(clark: bool) -> Builder {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1);
        let names = ["Bailey", "Campbell", "Jaquez"];
        let herd =
            names.into_iter().zip(1..).fold(herd, |herd, (to, n)| herd.at(n * 10, |herd| herd.told("Bona", to, &kiwi)));
        if clark { herd.at(40, |herd| herd.told("Bona", "Clark", &kiwi)) } else { herd }
    }

    #[test]
    fn time_counts_from_the_acknowledgement_where_replies_wait() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().patient().accepted("Bona", "kiwi", 1);
        let herd = ["Bailey", "Campbell"].into_iter().fold(herd, |herd, to| herd.told("Bona", to, &kiwi));
        let herd = herd.at(50, |herd| herd.acknowledged("Bona", "kiwi", 1));
        let herd =
            ["Jaquez", "Clark"].into_iter().fold(herd, |herd, to| herd.at(20, |herd| herd.told("Bona", to, &kiwi)));
        assert_eq!(herd.verdict(bound(40, 1.0)), Verdict::Passed);
    }

    #[test]
    fn holds_at_the_nearest_rank() {
        assert_eq!(spread(true).verdict(bound(20, 0.5)), Verdict::Passed);
        assert_eq!(spread(true).verdict(bound(19, 0.5)), Verdict::Failed);
        assert_eq!(spread(true).verdict(bound(40, 1.0)), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_server_that_never_hears() {
        assert_eq!(
            spread(false).explanation(bound(1000, 1.0)),
            "expected: 100 % of 4 pairs of write and server within 1 s\nactual: 1 pair never reached\n\
             - Clark lacks kiwi's 1: Bona held it from 0 ms and did not send it, and Jaquez held it from 30 ms and did \
             not send it"
        );
    }

    #[test]
    fn a_server_that_was_ahead_does_not_count() {
        let herd = herd().accepted("Clark", "kiwi", 2).accepted("Bona", "kiwi", 1);
        let propagation = herd.judge().numbers.propagation.unwrap();
        assert_eq!((propagation.count, propagation.never), (0, 4 + 3));
    }
}
