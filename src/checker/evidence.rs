//! What answers show of servers that are seen from outside, and what must have happened there.
//!
//! A server that does not tell what it does is known by its answers: to the clients of the run, and to the runner's own
//! questions. An answer was true at some moment between its question and itself. So what an answer shows for the first time
//! happened between the question before, which did not show it, and this answer. A run is worked out twice, with everything
//! as early and with everything as late as it can have been ([`Reading`]); what both agree about is proven.
//!
//! Not here: which questions are asked ([`crate::runner`]), and what a claim needs to know ([`super::unseen`]).

use std::sync::Arc;

use hashbrown::HashMap;

use super::run::{ClientId, Run, VersionId};
use super::sessions::{Asked, Sessions, first_line, reply};
use crate::act::SessionId;
use crate::config::ServerId;
use crate::history::{Event, Fact, History};
use crate::wire::{Command, Report, parse};

/// What a run's answers show.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(super) sessions: Sessions,
    /// In the order of the answers.
    pub(super) shown: Vec<Shown>,
}

/// What one answer shows: what a server held of a client at some moment between two entries.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(super) server: ServerId,
    pub(super) client: Arc<str>,
    /// `None` if the server knew nothing of the client.
    pub(super) report: Option<Arc<Report>>,
    /// The entry of the question.
    pub(super) asked: usize,
    /// The entry of the answer.
    pub(super) answered: usize,
    /// The connection, if the question was an `IAMAT`. The server then held this report or a newer one.
    pub(super) write: Option<SessionId>,
}

/// Where in the time between two answers something is taken to have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Every write as early as it can have been, and everything that follows from it as late: times are the longest possible.
    Late,
    /// Every write as late as it can have been, and everything that follows from it as early: times are the shortest possible.
    Early,
}

/// Something that a server must have done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inferred {
    /// Where it is taken to have happened.
    pub(super) entry: usize,
    pub(super) server: ServerId,
    pub(super) client: ClientId,
    /// What the server held then; `None`: nothing.
    pub(super) held: Option<VersionId>,
    /// The connection of the client that it took this version from, if it is a write.
    pub(super) write: Option<SessionId>,
}

impl Evidence {
    pub(crate) fn of(history: &History) -> Self {
        let sessions = Sessions::of(history);
        let mut shown = Vec::new();
        if history.origin.has_outside() {
            shown.extend(sessions.asked.iter().filter_map(|asked| shown_to_client(history, asked)));
            shown.extend(
                history.entries.iter().enumerate().filter_map(|(index, entry)| shown_to_runner(index, &entry.fact)),
            );
            shown.sort_by_key(|shown: &Shown| shown.answered);
        }
        Self { sessions, shown }
    }
}

/// Returns what the reply to a client's command shows of a server that is seen from outside.
fn shown_to_client(history: &History, asked: &Asked) -> Option<Shown> {
    let Asked { server, entry, session, .. } = *asked;
    let answered = asked.reply.filter(|_| history.origin.is_outside(server))?;
    let line = first_line(reply(history, answered)?);
    let (client, report, write) = match (parse(&asked.line), parse(line)) {
        (Command::Iamat { client, .. }, Command::At(at)) => {
            let is_own = at.client() == client && at.origin() == history.origin.name(server);
            (client, is_own.then(|| Arc::new(at.to_report())), Some(session))
        }
        (Command::Whatsat { client, .. }, Command::At(at)) if at.client() == client => {
            (client, Some(Arc::new(at.to_report())), None)
        }
        (Command::Whatsat { client, .. }, _) if asked.is_read && line.starts_with(b"? ") => (client, None, None),
        _ => return None,
    };
    // The reply to an `IAMAT` shows nothing if it is about something else.
    let shows = write.is_none() || report.is_some();
    shows.then(|| Shown { server, client: client.into(), report, asked: entry, answered, write })
}

/// Returns what the answer to a question of the runner shows.
fn shown_to_runner(answered: usize, fact: &Fact) -> Option<Shown> {
    let Fact::Probed { server, asked, client, report } = fact else { return None };
    let (client, report) = (client.clone(), report.clone());
    Some(Shown { server: *server, client, report, asked: *asked as usize, answered, write: None })
}

/// The last that is known of a server and a client.
#[derive(Debug, Clone, Copy)]
struct Before {
    asked: usize,
    answered: usize,
    rank: u32,
    /// Where it is taken to have begun.
    entry: usize,
}

/// Returns what servers that are seen from outside must have done, in the order of entries.
pub(super) fn inferred(run: &Run<'_>, reading: Reading) -> Vec<Inferred> {
    if run.shown.is_empty() {
        return Vec::new();
    }
    let (ends, born) = (ends(run.history), born(run, reading));
    // Looked up, never walked.
    let mut known: HashMap<(ServerId, ClientId), Before> = HashMap::new();
    let mut deeds = Vec::new();
    for (place, shown) in run.shown.iter().enumerate() {
        let Some((client, held)) = run.shown_version(place) else { continue };
        let rank = held.map_or(0, |version| run.rank(version));
        let (began, ended) = life(&ends[shown.server.index()], shown.asked);
        let before = known.get(&(shown.server, client)).copied().filter(|before| before.asked >= began);
        // Two questions that were open at once may have been answered in either order.
        if before.is_some_and(|before| rank < before.rank && before.answered > shown.asked) {
            continue;
        }
        let earliest = before.map_or(began, |before| before.asked.max(before.entry));
        let entry = match (shown.write, reading) {
            (Some(_), _) => born[&held.expect("a write has a version")].max(began),
            (None, Reading::Late) => shown.answered,
            (None, Reading::Early) => {
                held.and_then(|version| born.get(&version)).map_or(earliest, |&at| at.max(earliest))
            }
        };
        let entry = entry.min(ended);
        let is_news = before.map_or(rank > 0, |before| before.rank != rank);
        if is_news || shown.write.is_some() {
            deeds.push(Inferred { entry, server: shown.server, client, held, write: shown.write });
        }
        let rank = if shown.write.is_some() { rank.max(before.map_or(0, |before| before.rank)) } else { rank };
        let entry = if is_news { entry } else { before.map_or(entry, |before| before.entry) };
        let now = Before { asked: shown.asked, answered: shown.answered, rank, entry };
        known.insert((shown.server, client), now);
    }
    if reading == Reading::Early {
        deeds.extend(unseen_before_death(run, &ends, &born));
    }
    deeds.sort_by_key(|deed| deed.entry);
    deeds
}

/// Returns what servers may have got to know between their last answer and their death.
fn unseen_before_death<'r>(
    run: &'r Run<'_>,
    ends: &'r [Vec<usize>],
    born: &'r HashMap<VersionId, usize>,
) -> impl Iterator<Item = Inferred> + 'r {
    let outside = run.servers().filter(|&server| run.history.origin.is_outside(server));
    let deaths = outside.flat_map(|server| ends[server.index()].iter().map(move |&end| (server, end)));
    let pairs = deaths.flat_map(|death| run.clients().map(move |client| (death, client)));
    pairs.filter_map(|((server, end), client)| {
        let (began, _) = life(&ends[server.index()], end - 1);
        let born_before = |rank: &u32| born.get(&run.id_of(client, *rank)).is_some_and(|&at| at <= end);
        let newest = run.id_of(client, (1..=run.newest(client)).rev().find(born_before)?);
        let name = run.client_name(client);
        let mut of_life = run.shown.iter().rev().filter(|shown| (began..end).contains(&shown.asked));
        let last = of_life.find(|shown| shown.server == server && *shown.client == *name);
        let entry = born[&newest].max(last.map_or(began, |last| last.asked)).min(end);
        let is_older = last
            .and_then(|last| last.report.as_ref())
            .is_some_and(|report| run.version(newest).report.at().version_cmp(report.at()).is_le());
        (!is_older).then_some(Inferred { entry, server, client, held: Some(newest), write: None })
    })
}

/// Returns for each server the entries at which its lives end.
fn ends(history: &History) -> Vec<Vec<usize>> {
    let mut ends = vec![Vec::new(); history.origin.servers.len()];
    for (index, entry) in history.entries.iter().enumerate() {
        if let Fact::Saw(event) = &entry.fact
            && let Some(server) = event.ended()
        {
            ends[server.index()].push(index);
        }
    }
    ends
}

/// Returns the first entry of a server's life and that at which it ends, of the life that includes `entry`.
fn life(ends: &[usize], entry: usize) -> (usize, usize) {
    let next = ends.partition_point(|&end| end <= entry);
    let began = next.checked_sub(1).map_or(0, |last| ends[last] + 1);
    (began, ends.get(next).copied().unwrap_or(usize::MAX))
}

/// Returns where each version that a client wrote is taken to have come into being.
fn born(run: &Run<'_>, reading: Reading) -> HashMap<VersionId, usize> {
    let mut born = HashMap::new();
    for (place, shown) in run.shown.iter().enumerate().filter(|(_, shown)| shown.write.is_some()) {
        if let Some((_, Some(version))) = run.shown_version(place) {
            let at = if reading == Reading::Late { shown.asked } else { shown.answered };
            born.entry(version).or_insert(at);
        }
    }
    for (index, entry) in run.history.entries.iter().enumerate() {
        if let (Fact::Saw(Event::Accepted { .. }), Some(version)) = (&entry.fact, run.subject(index)) {
            born.entry(version).or_insert(index);
        }
    }
    born
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::claim::{Assertion, ConvergedMode, Scope, Verdict, VersionBound};
    use crate::history::Fact;
    use crate::history::build::{Builder, herd, line};

    const NAMES: [&str; 5] = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];

    /// A herd seen from outside in which Bona is told of kiwi between 10 and 12 ms.
    fn written() -> Builder {
        let reply = line("Bona", "kiwi", 1) + "\n";
        let herd = herd().outside().at(10, |herd| herd.says(1, "Bona", "IAMAT kiwi +34.068930-118.445127 1"));
        herd.at(12, |herd| herd.hears(1, &reply))
    }

    /// All servers are asked, one after the other, from `began` to `ended` each.
    fn all_probed(herd: Builder, time: Option<u32>, times: [u64; 2]) -> Builder {
        NAMES.into_iter().fold(herd, |herd, name| herd.probed(name, "kiwi", time, times))
    }

    fn converged(within: u64) -> Assertion {
        let within = Some(Duration::from_millis(within));
        Assertion::Converged { mode: ConvergedMode::Survivors, scope: Scope::Core, within, by: None }
    }

    /// Everybody was asked in vain from 20 to 21 ms, and shows it from 40 to 42 ms.
    fn spread() -> Builder {
        let others = ["Bailey", "Campbell", "Clark", "Jaquez"];
        let herd = others.into_iter().fold(written(), |herd, name| herd.probed(name, "kiwi", None, [20, 21]));
        all_probed(herd.push(Fact::Quiescent(true)), Some(1), [40, 42])
    }

    #[test]
    fn what_is_probed_passes_by_its_upper_bound_and_fails_by_its_lower() {
        // At the most from the IAMAT at 10 to the answers at 42, at the least from the reply at 12 to the questions at 20.
        let numbers = spread().judge().numbers;
        let least = numbers.at_least.and_then(|least| least.convergence);
        assert_eq!((least, numbers.convergence), (Some(Duration::from_millis(8)), Some(Duration::from_millis(32))));
        let verdicts = [32, 31, 8, 7].map(|within| spread().verdict(converged(within)));
        assert_eq!(verdicts, [Verdict::Passed, Verdict::Unproven, Verdict::Unproven, Verdict::Failed]);
        let limits = ["<=32ms", "<=31ms", "<8ms"].map(|limit| {
            let judgement = spread().threshold("convergence", limit).judge();
            judgement.findings.iter().map(|finding| finding.verdict).max()
        });
        assert_eq!(limits, [Some(Verdict::Passed), Some(Verdict::Unproven), Some(Verdict::Failed)]);
    }

    #[test]
    fn who_lacks_something_in_a_silent_herd_may_still_get_it_in_time() {
        let found = |rest: Fact, within: u64| {
            let herd = NAMES.into_iter().fold(written().push(Fact::Quiescent(true)), |herd, name| {
                herd.probed(name, "kiwi", Some(1).filter(|_| name != "Jaquez"), [20, 21])
            });
            herd.push(rest).verdict(converged(within))
        };
        let silent = || Fact::Silent(Duration::from_millis(12));
        let verdicts = [found(silent(), 5000), found(silent(), 5), found(Fact::Quiescent(true), 5000)];
        assert_eq!(verdicts, [Verdict::Unproven, Verdict::Failed, Verdict::Failed]);
    }

    #[test]
    fn who_was_not_asked_in_the_end_proves_nothing() {
        let knows = |on: &str| {
            let on = written().servers(&[on]);
            Assertion::Knows { client: "kiwi".into(), version: VersionBound::default(), on }
        };
        let asked = || written().probed("Clark", "kiwi", Some(1), [20, 21]);
        assert_eq!(asked().verdict(knows("Clark")), Verdict::Passed);
        assert_eq!(asked().verdict(knows("Bailey")), Verdict::Unproven);
        assert_eq!(
            asked().explanation(knows("Bailey")),
            "expected: Bailey knows kiwi\nactual: Bailey is seen from outside, and nobody asked it in the end what it knows \
             about kiwi"
        );
        // What was known before another write says nothing about the time after it.
        let again = asked().says(2, "Bona", "IAMAT kiwi +34.068930-118.445127 2");
        assert_eq!(again.verdict(knows("Clark")), Verdict::Unproven);
        let lacks = asked().probed("Bailey", "kiwi", None, [30, 31]);
        assert_eq!(lacks.verdict(knows("Bailey")), Verdict::Failed);
    }

    #[test]
    fn what_servers_do_is_never_proven_from_outside_and_may_be_refuted() {
        for assertion in
            [Assertion::NoEcho, Assertion::NoInvention, Assertion::Monotone, Assertion::Cost { per_update: 9.0 }]
        {
            assert_eq!(spread().verdict(assertion), Verdict::Unproven);
        }
        let invented = spread().probed("Clark", "plum", Some(7), [50, 51]);
        assert_eq!(invented.verdict(Assertion::NoInvention), Verdict::Failed);
        let back =
            spread().says(2, "Bona", "IAMAT kiwi +34.068930-118.445127 2").hears(2, &(line("Bona", "kiwi", 2) + "\n"));
        let back = back.probed("Clark", "kiwi", Some(2), [50, 51]).probed("Clark", "kiwi", Some(1), [60, 61]);
        assert_eq!(back.verdict(Assertion::Monotone), Verdict::Failed);
        assert_eq!(spread().judge().numbers.deeds, None);
    }

    #[test]
    fn answers_that_were_awaited_at_once_may_have_been_given_in_either_order() {
        let herd = spread().says(2, "Bona", "IAMAT kiwi +34.068930-118.445127 2");
        // Session 3 asks before session 2 is answered, and its older answer is read after it.
        let herd = herd.says(3, "Bona", "WHATSAT kiwi 10 5").hears(2, &(line("Bona", "kiwi", 2) + "\n"));
        let herd = herd.hears(3, &(line("Bona", "kiwi", 1) + "\n{}\n\n"));
        assert_ne!(herd.verdict(Assertion::Monotone), Verdict::Failed);
    }

    #[test]
    fn a_server_that_died_forgets_what_it_showed() {
        let herd = spread().kill("Clark", 1).start("Clark").push(Fact::Quiescent(true));
        let herd = all_probed(herd, Some(1), [60, 61]).probed("Clark", "kiwi", None, [70, 71]);
        assert_eq!(herd.verdict(Assertion::NoLost), Verdict::Passed);
    }
}
