//! Whether a case ends the same on both drivers.

use std::collections::BTreeSet;

use crate::claim::Verdict;
use crate::config::Topology;
use crate::driver::Known;
use crate::report::{CaseResult, Status};
use crate::scenario::{Script, Step, Task, Until};

/// What every server knows at the end, without what must differ from run to run: times, and the skews that follow from them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Server, client, location and who took it from the client.
    records: BTreeSet<[String; 4]>,
}

impl Ending {
    pub(super) fn of(topology: &Topology, records: &[Vec<Known>]) -> Self {
        let each = topology.servers.iter().zip(records).flat_map(|(server, known)| {
            known.iter().map(|known| {
                let at = known.report.at();
                [&*server.name, at.client(), at.location(), at.origin()].map(str::to_owned)
            })
        });
        Self { records: each.collect() }
    }

    /// What one of two endings has and the other has not.
    fn difference(&self, other: &Self) -> Option<String> {
        let first = |one: &Self, other: &Self| one.records.difference(&other.records).next().cloned();
        let told = |[server, client, location, origin]: [String; 4]| {
            format!("{server} knows {client} at {location} by {origin}")
        };
        let here = first(self, other).map(|record| format!("{} on real sockets only", told(record)));
        here.or_else(|| first(other, self).map(|record| format!("{} on virtual time only", told(record))))
    }
}

/// One result of two: the worse one, and an error where the drivers disagree. `replay` runs the case again on both. `race` says
/// what may be the reason of a disagreement.
pub(super) fn compare(
    loopback: (CaseResult, Ending),
    simulated: (CaseResult, Ending),
    replay: String,
    race: impl FnOnce() -> Option<String>,
) -> CaseResult {
    let ((loopback, here), (simulated, there)) = (loopback, simulated);
    let disagreement = if loopback.status != simulated.status {
        Some(format!(
            "the drivers disagree: {} on real sockets, {} on virtual time",
            loopback.status.name(),
            simulated.status.name()
        ))
    } else {
        let reason = different_reason(&loopback, &simulated);
        let reason = reason.map(|reason| format!("the drivers fail for different reasons: {reason}"));
        reason
            .or_else(|| here.difference(&there).map(|difference| format!("the drivers end differently: {difference}")))
    };
    let is_worse = simulated.status > loopback.status;
    let (mut worse, other) = if is_worse { (simulated, loopback) } else { (loopback, simulated) };
    worse.notes.extend(other.notes);
    worse.compared_with = Some(other.driver);
    worse.replay = replay;
    if let Some(disagreement) = disagreement.filter(|_| worse.status != Status::Error) {
        worse.status = Status::Failed;
        worse.error = Some(race().into_iter().fold(disagreement, |told, race| format!("{told}; {race}")));
    }
    worse
}

/// Says which step of a script may come before or after what an earlier step set off, and what to put between them. Returns
/// `None` if each step waits until the herd is quiescent.
pub(super) fn race(script: &Script) -> Option<String> {
    let mut unsettled: Option<&Step> = None;
    for step in &script.steps {
        match &step.task {
            Task::Until(Until::Quiescent) => unsettled = None,
            Task::Check | Task::Until(_) | Task::Wait(_) => {}
            Task::Talk(_) | Task::Workload(_) | Task::Close { .. } | Task::Herd(_) => {
                if let Some(before) = unsettled {
                    let [before, step] =
                        [before, step].map(|step| format!("`{}` (line {})", step.shown.text, step.shown.line));
                    return Some(format!(
                        "this may be a race: {step} comes while what {before} set off may still be in flight. \
                         Put a step with `until = \"quiescent\"` between them"
                    ));
                }
                unsettled = Some(step);
            }
        }
    }
    None
}

/// Returns what failed on one driver and not on the other.
fn different_reason(loopback: &CaseResult, simulated: &CaseResult) -> Option<String> {
    let failed = |result: &CaseResult| -> BTreeSet<(Option<u32>, String)> {
        let findings = result.judgement.iter().flat_map(|judgement| &judgement.findings);
        let failed = findings.filter(|finding| finding.verdict == Verdict::Failed);
        failed.map(|finding| (finding.line, finding.statement.clone())).collect()
    };
    let (here, there) = (failed(loopback), failed(simulated));
    let first = |one: &BTreeSet<(Option<u32>, String)>, other: &BTreeSet<_>, place: &str| {
        let (line, statement) = one.difference(other).next()?.clone();
        let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
        Some(format!("`{statement}`{line} fails {place} only"))
    };
    first(&here, &there, "on real sockets").or_else(|| first(&there, &here, "on virtual time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::DriverKind;
    use crate::report::examples;
    use crate::scenario::{Overrides, Variables, parse};

    fn failing(driver: DriverKind, statements: &[&str]) -> (CaseResult, Ending) {
        let mut case = CaseResult { driver, ..examples::failed(1) };
        let judgement = case.judgement.as_mut().expect("it was judged");
        let pattern = judgement.findings[0].clone();
        let finding = |statement: &&str| crate::checker::Finding {
            statement: (*statement).to_owned(),
            verdict: Verdict::Failed,
            line: Some(7),
            ..pattern.clone()
        };
        judgement.findings = statements.iter().map(finding).collect();
        (case, Ending { records: BTreeSet::new() })
    }

    #[test]
    fn a_disagreement_names_the_steps_that_may_race() {
        let told = |steps: &[&str]| {
            let steps: String = steps.iter().map(|step| format!("[[step]]\n{step}\n")).collect();
            let herd = "herd = { links = [['A', 'B']], server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }] }";
            let text = format!("title = 'x'\n{herd}\n{steps}");
            let cases = parse("x.toml".as_ref(), &text, &Variables::new(), &Overrides::default());
            race(&cases.unwrap_or_else(|problems| panic!("{problems}")).scripts[0])
        };
        let (iamat, quiescent) = ("iamat = { client = 'k', at = '+1+1', via = 'A' }", "until = 'quiescent'");
        assert_eq!(told(&[iamat, quiescent, "restart = 'A'", quiescent, iamat]), None);
        let race = told(&[iamat, "restart = 'A'"]).expect("the restart may come first");
        let expected = "this may be a race: `restart A` (line 6) comes while what `IAMAT k +1+1 at A` (line 4) set off";
        assert!(race.starts_with(expected) && race.contains("until = \"quiescent\""), "{race}");
    }

    #[test]
    fn what_fails_on_one_driver_only_is_a_disagreement() {
        let compared = |here: &[&str], there: &[&str]| {
            let (here, there) = (failing(DriverKind::Loopback, here), failing(DriverKind::Simulated, there));
            let result = compare(here, there, "again".to_owned(), || None);
            assert_eq!((result.compared_with, result.replay.as_str()), (Some(DriverKind::Simulated), "again"));
            result.error
        };
        assert_eq!(compared(&["a", "b"], &["a", "b"]), None);
        let message = "the drivers fail for different reasons: `b` (line 7) fails on virtual time only";
        assert_eq!(compared(&["a"], &["a", "b"]).as_deref(), Some(message));
    }
}
