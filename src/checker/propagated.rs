//! `propagated`: writes reach the other servers of the core within a time, for a part of all pairs of write and server.

use std::time::Duration;

use super::convergence::Lacking;
use super::faults::Ledger;
use super::measure::propagation;
use super::run::Run;
use super::words::{count, percent, short};
use super::{Explanation, Outcome, Span, why};

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
        let write = run.writes.iter().find(|other| other.entry == write).expect("latencies are of writes");
        let version = run.version(write.version);
        Lacking { client: version.client, rank: version.rank, servers: vec![server] }
    });
    let of = count(latencies.count() as u64, "pair");
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{} % of {of} of write and server within {}", percent(part), short(within)),
        actual: reached.map_or_else(
            || format!("{} never reached", count(latencies.never.len() as u64, "pair")),
            |latency| format!("{} % took up to {}", percent(part), short(latency)),
        ),
        at: None,
        because: lacking.map_or_else(Vec::new, |lacking| why::lacks(run, ledger, span.until, &lacking)),
    }))
}
