//! `converged`: every server of the scope holds, for every client, the version that counts.

use std::time::Duration;

use super::convergence::{Convergence, Lacking};
use super::faults::Ledger;
use super::run::Run;
use super::state::State;
use super::{Cause, Explanation, Outcome, Span, quiescent, why};
use crate::claim::{ConvergedMode, Scope};
use crate::words::{count, names, short};

/// What `converged` asks for.
pub(super) struct Wanted<'a> {
    pub(super) mode: ConvergedMode,
    pub(super) scope: &'a Scope,
    pub(super) within: Option<Duration>,
    pub(super) by: Option<Duration>,
}

pub(super) fn judge(run: &Run<'_>, ledger: &Ledger<'_>, span: Span, wanted: &Wanted<'_>) -> Outcome {
    let convergence = Convergence::of(run, ledger, wanted.mode, wanted.scope, span.until);
    if let Some(outcome) = missing(run, wanted.scope, span) {
        return outcome;
    }
    if !run.writes.iter().any(|write| write.newer && write.entry < span.until) {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    match convergence.scope[..] {
        [] => return Outcome::Unobserved("no server of the scope runs".into()),
        [only] => return Outcome::Unobserved(format!("the scope is {} alone", run.name(only))),
        _ => {}
    }
    if !convergence.lacking.is_empty() {
        if let Some(since) =
            quiescent::only_silent(run, span.until).filter(|_| may_be_in_time(run, &convergence, wanted, span))
        {
            return Outcome::Unobserved(format!(
                "the herd was silent from {} on, and from outside nobody can tell whether more was to come",
                short(since)
            ));
        }
        return Outcome::Violated(Box::new(lacking(run, ledger, span.until, &convergence.lacking)));
    }
    late(run, &convergence, wanted, span).unwrap_or(Outcome::Holds)
}

/// Returns `true` if a herd that has not converged at a span's end can still do so in time.
fn may_be_in_time(run: &Run<'_>, convergence: &Convergence, wanted: &Wanted<'_>, span: Span) -> bool {
    let end = run.end_of(span.until);
    let disturbed = convergence.disturbed.map_or(run.history.started, |disturbed| run.entry(disturbed).at);
    wanted.within.is_none_or(|within| end - disturbed <= within)
        && wanted.by.is_none_or(|by| end - run.history.started <= by)
}

/// Servers asked for by name that do not run.
fn missing(run: &Run<'_>, scope: &Scope, span: Span) -> Option<Outcome> {
    let Scope::Servers(servers) = scope else { return None };
    let state = State::at(run, span.until);
    let down = servers.iter().find(|&&server| !state.runs(server))?;
    Some(Outcome::Violated(Box::new(Explanation {
        headline: format!("{} does not run", run.name(*down)),
        expected: format!("{} runs", run.name(*down)),
        actual: "it does not".into(),
        at: Some(run.since_start(run.end_of(span.until))),
        because: Vec::new(),
    })))
}

/// Who lacks what, and why.
pub(super) fn lacking(run: &Run<'_>, ledger: &Ledger<'_>, until: usize, lacking: &[Lacking]) -> Explanation {
    let first = &lacking[0];
    let version = run.tell(run.ranked(first.client, first.rank));
    let who = names(&first.servers, &run.history.origin.servers);
    let more = match lacking.len() - 1 {
        0 => String::new(),
        more => format!(", and it is alike for {}", count(more as u64, "more client")),
    };
    let whys: Vec<_> = lacking.iter().take(3).map(|lacking| why::lacks(run, ledger, until, lacking)).collect();
    Explanation {
        headline: whys[0].headline.clone(),
        expected: format!("everybody holds {version}"),
        actual: format!("{who} {}{more}", if first.servers.len() == 1 { "does not" } else { "do not" }),
        at: Some(run.since_start(run.end_of(until))),
        because: whys.into_iter().flat_map(|why| why.causes).collect(),
    }
}

fn late(run: &Run<'_>, convergence: &Convergence, wanted: &Wanted<'_>, span: Span) -> Option<Outcome> {
    let at = convergence.since.map_or(run.history.started, |since| run.end_of(since));
    let violated = |headline, expected, actual| {
        let (at, because) = (Some(run.since_start(at)), slowest(run, convergence, span));
        Outcome::Violated(Box::new(Explanation { headline, expected, actual, at, because }))
    };
    let since_start = at - run.history.started;
    match (wanted.within, convergence.time, wanted.by) {
        (Some(within), Some(time), _) if time > within => {
            let headline = format!("convergence took {} instead of at most {}", short(time), short(within));
            Some(violated(headline, format!("converged within {}", short(within)), format!("it took {}", short(time))))
        }
        (_, _, Some(by)) if since_start > by => {
            let headline = format!("the herd converged at {} instead of by {}", short(since_start), short(by));
            Some(violated(headline, format!("converged by {}", short(by)), format!("it was at {}", short(since_start))))
        }
        _ => None,
    }
}

/// Returns the cause that a server was the last one.
fn slowest(run: &Run<'_>, convergence: &Convergence, span: Span) -> Vec<Cause> {
    let change = run.changes.iter().find(|change| Some(change.entry) == convergence.since && span.has(change.entry));
    let told = change.filter(|change| change.after > 0).map(|change| {
        let (name, version) = (run.name(change.server), run.ranked(change.client, change.after));
        let got = format!("which got {} at {}", run.tell(version), run.when(change.entry));
        let cause = Cause::new(&format!("{name} was last"), format!("the last was {name}, {got}"));
        cause.at(run, change.entry).about(run, [change.server]).of(version)
    });
    told.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, ConvergedMode, Scope, Verdict};
    use crate::history::build::{herd, line};
    use std::time::Duration;

    use crate::history::build::Builder;

    fn asks(mode: ConvergedMode, within: Option<u64>) -> Assertion {
        let within = within.map(Duration::from_millis);
        Assertion::Converged { mode, scope: Scope::Core, within, by: None }
    }

    /// A write at Bona that reaches everybody 30 ms later.
    fn spread() -> Builder {
        let kiwi = line("Bona", "kiwi", 1);
        herd().at(10, |herd| herd.accepted("Bona", "kiwi", 1)).at(40, |herd| {
            ["Bailey", "Campbell", "Clark", "Jaquez"].into_iter().fold(herd, |herd, to| herd.told("Bona", to, &kiwi))
        })
    }

    #[test]
    fn holds_when_everybody_holds_the_newest_in_time() {
        assert_eq!(spread().verdict(asks(ConvergedMode::Survivors, Some(30))), Verdict::Passed);
        assert_eq!(spread().judge().numbers.convergence, Some(Duration::from_millis(30)));
    }

    #[test]
    fn is_violated_when_it_takes_too_long() {
        assert_eq!(
            spread().explanation(asks(ConvergedMode::Survivors, Some(20))),
            "expected: converged within 20 ms\nactual: it took 30 ms\n\
             - the last was Jaquez, which got kiwi's 1 at 40 ms"
        );
    }

    #[test]
    fn is_violated_when_somebody_lacks_something() {
        let herd = spread().at(50, |herd| herd.accepted("Clark", "kiwi", 2));
        assert_eq!(herd.verdict(asks(ConvergedMode::Survivors, None)), Verdict::Failed);
    }

    #[test]
    fn what_only_the_dead_knew_counts_as_acknowledged_and_not_as_survived() {
        let herd = || spread().at(50, |herd| herd.accepted("Clark", "kiwi", 2)).at(60, |herd| herd.kill("Clark", 1));
        assert_eq!(herd().verdict(asks(ConvergedMode::Survivors, None)), Verdict::Passed);
        assert_eq!(herd().verdict(asks(ConvergedMode::Acknowledged, None)), Verdict::Failed);
    }

    #[test]
    fn where_no_server_runs_there_is_nothing_to_converge() {
        let names = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];
        let dead = |names: &[&str]| names.iter().fold(spread(), |herd, name| herd.kill(name, 1));
        let actual = |herd: Builder| {
            let told = herd.explanation(asks(ConvergedMode::Survivors, None));
            told.lines().nth(1).map(str::to_owned).unwrap_or_default()
        };
        assert_eq!(actual(dead(&names)), "actual: no server of the scope runs");
        assert_eq!(actual(dead(&names[1..])), "actual: the scope is Bailey alone");
    }

    #[test]
    fn only_the_larger_side_of_a_partition_is_the_core() {
        let herd =
            spread().cut("Clark", "Jaquez").cut("Bona", "Clark").at(50, |herd| herd.accepted("Clark", "kiwi", 2));
        assert_eq!(herd.verdict(asks(ConvergedMode::Survivors, None)), Verdict::Passed);
    }
}
