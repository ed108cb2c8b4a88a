//! Scripts replayed on virtual time, and what their histories are judged to be.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::act::{ServerVerb, WayVerb};
use crate::checker::{Finding, Judgement, judge};
use crate::config::ServerId;
use crate::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use crate::history::DriverKind;
use crate::scenario::{Overrides, Variables, load};

/// A line of three servers whose links take 10 ms.
const HERD: &str = "title = 'x'\nstrategy = 'flood-sync'\n\
    herd = { latency = '10ms', links = [['A', 'B'], ['B', 'C']], server = [{ name = 'A', port = 0 }, \
    { name = 'B', port = 0 }, { name = 'C', port = 0 }] }\n";

fn read_script(text: &str) -> Script {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("x.toml");
    std::fs::write(&file, text).expect("it can be written");
    let cases = load(&file, &Variables::new(), &Overrides::default());
    cases.unwrap_or_else(|error| panic!("{error}")).scripts.remove(0)
}

/// Replays steps; their history, and how the run ended.
fn replay(steps: &str, progress: &impl Progress) -> (History, Result<(), RunError>) {
    replay_script(&read_script(&format!("{HERD}{steps}")), progress)
}

fn replay_script(script: &Script, progress: &impl Progress) -> (History, Result<(), RunError>) {
    let mut driver = SimulatedDriver::new(script.topology.clone(), Settings::default(), PlacesAnswer::offline());
    let origin = Arc::new(script.origin(DriverKind::Simulated));
    let wiring = Arc::new(Wiring::of(&script.topology));
    let history = History::new(origin, script.topology.seed, driver.now());
    let mut runner = Runner::new(script, history, wiring, &mut driver);
    let ended = runner.run(progress).now_or_never().expect("virtual time waits for nobody");
    (runner.into_history(), ended)
}

fn judged(steps: &str) -> (History, Judgement) {
    let (history, ended) = replay(steps, &());
    ended.expect("the driver can do it");
    let judgement = judge(&history);
    (history, judgement)
}

fn finding<'a>(judgement: &'a Judgement, name: &str) -> &'a Finding {
    let found = judgement.findings.iter().find(|finding| *finding.name == *name);
    found.unwrap_or_else(|| panic!("nothing was found about {name}: {:?}", judgement.findings))
}

fn actual(finding: &Finding) -> &str {
    finding.explanation.as_ref().map_or("", |explanation| &explanation.actual)
}

/// When a step did something, since the run began.
fn did(history: &History, step: u32) -> Vec<Duration> {
    let of_step =
        |entry: &&crate::history::Entry| entry.step == Some(StepId(step)) && matches!(entry.fact, Fact::Did { .. });
    history.entries.iter().filter(of_step).map(|entry| entry.at.since(history.started)).collect()
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// Replays the update of a herd whose links take 6 s and whose dials have this timeout, in seconds.
fn far_apart(timeout: u32) -> (History, Result<(), RunError>) {
    let herd = HERD.replace("latency = '10ms'", &format!("latency = '6s', redial = {{ timeout = '{timeout}s' }}"));
    let steps = "[[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n[[step]]\nuntil = 'quiescent'\n\
                 deadline = '90s'\n[expect]\nconverged = true\n";
    replay_script(&read_script(&format!("{herd}{steps}")), &())
}

#[test]
fn a_script_begins_with_a_herd_that_is_whole_however_long_the_dials_take() {
    let (history, ended) = far_apart(60);
    ended.expect("the herd comes up");
    assert_eq!(history.linked.map(|linked| linked.since(history.started)), Some(Duration::from_secs(12)));
    assert_eq!(judge(&history).verdict, Verdict::Passed);
}

#[test]
fn a_herd_that_never_comes_up_is_an_error_and_no_verdict() {
    let (history, ended) = far_apart(11);
    let error = ended.expect_err("no dial is in time").to_string();
    assert!(error.contains("did not come up: a dial of A-B takes 12 s") && error.contains("after 11 s"), "{error}");
    assert!(history.entries.is_empty() && history.linked.is_none());
}

#[test]
fn a_step_takes_as_long_as_what_it_waits_for() {
    let (history, judgement) = judged(
        "[[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n\
         [[step]]\nuntil = { record = 'k', on = ['C'] }\n[[step]]\nkill = 'B'\n",
    );
    let [said, killed] = [did(&history, 0)[0], did(&history, 2)[0]];
    // Two links, and the modelled way of the client.
    assert!((20 * MILLISECOND..25 * MILLISECOND).contains(&(killed - said)), "{said:?} {killed:?}");
    assert_eq!(judgement.numbers.waited, Duration::ZERO);
}

#[test]
fn a_fault_with_an_end_is_mended_while_later_steps_go_on() {
    let (history, judgement) = judged(
        "[[step]]\ncut = ['A', 'B']\nfor = '300ms'\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n\
         [[step]]\ncheck = { lacks = 'k', on = ['B'] }\n\
         [expect]\nconverged = { within = '300ms' }\n",
    );
    let times = did(&history, 0);
    assert_eq!((times.len(), times[2] - times[0]), (4, 300 * MILLISECOND));
    assert_eq!(judgement.verdict, Verdict::Passed, "{:?}", judgement.findings);
}

#[test]
fn a_step_on_a_milestone_is_done_at_that_moment() {
    let (history, judgement) = judged(
        "[[step]]\nwhen = { lines = 1, kind = 'heard', on = 'A->B' }\nkill = 'B'\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n[[step]]\nuntil = 'done'\n\
         [[step]]\ncheck = { lacks = 'k', on = ['C'] }\n",
    );
    let heard = history.entries.iter().find(|entry| matches!(entry.fact, Fact::Saw(Event::Heard { .. })));
    assert_eq!(did(&history, 0), [heard.expect("B heard it").at.since(history.started)]);
    assert_eq!(judgement.verdict, Verdict::Passed, "{:?}", judgement.findings);
}

#[test]
fn a_milestone_that_never_comes_proves_nothing() {
    let (_, judgement) = judged(
        "[[step]]\nwhen = { lines = 9, kind = 'heard', on = 'A->B' }\nkill = 'B'\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n[expect]\nconverged = true\n",
    );
    assert_eq!(judgement.verdict, Verdict::Unproven);
    assert_eq!(actual(finding(&judgement, "milestone")), "what it waits for never happened");
}

#[test]
fn a_wait_for_what_cannot_happen_any_more_ends_at_once_and_says_why() {
    let (history, judgement) = judged(
        "[[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n[[step]]\npause = 'A'\n\
         [[step]]\nwhatsat = { client = 'k', via = 'A' }\n[[step]]\nkill = 'B'\n",
    );
    let told = actual(finding(&judgement, "deadline"));
    assert_eq!(told, "one reply has not come, and nothing is in flight or due in the herd any more");
    assert_eq!((judgement.verdict, did(&history, 3)), (Verdict::Failed, vec![]));
    assert!(history.ended().since(history.started) < Duration::from_secs(1));
}

#[test]
fn a_step_that_takes_too_long_ends_the_script() {
    let (_, judgement) = judged(
        "[[step]]\nslow = { link = 'all', latency = '5s' }\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n\
         [[step]]\nuntil = { record = 'k', on = ['B'] }\ndeadline = '1s'\n",
    );
    let finding = finding(&judgement, "deadline");
    assert_eq!((finding.verdict, &*finding.statement), (Verdict::Failed, "the step is done within 1 s"));
}

#[test]
fn a_rolling_restart_restarts_a_server_once_the_links_of_the_one_before_are_back() {
    let (history, judgement) = judged("[[step]]\nrolling-restart = ['A', 'B', 'C']\n[[step]]\nkill = 'A'\n");
    let is_about = |entry: &&crate::history::Entry, on| match entry.fact {
        Fact::Did { action: Action::Server(server, ServerVerb::Restart), .. } => server == on,
        _ => false,
    };
    let restarted = |on| {
        let entry = history.entries.iter().find(|entry| is_about(entry, ServerId(on))).expect("it was restarted");
        entry.at.since(history.started)
    };
    // Each dial takes 20 ms, there and back, and a neighbour dials as soon as it is dialled itself.
    let apart = [restarted(1) - restarted(0), restarted(2) - restarted(1), did(&history, 1)[0] - restarted(2)];
    assert!(apart.iter().all(|&apart| apart >= 20 * MILLISECOND && apart <= 50 * MILLISECOND), "{apart:?}");
    assert!(judgement.findings.iter().all(|finding| *finding.name != *"deadline"));
}

#[test]
fn a_rolling_restart_whose_links_do_not_come_back_fails_and_says_whose() {
    let (history, judgement) =
        judged("[[step]]\nslow = { link = 'all', latency = '5s' }\n[[step]]\nrolling-restart = ['B', 'A']\n");
    let finding = finding(&judgement, "deadline");
    assert_eq!((finding.verdict, actual(finding)), (Verdict::Failed, "the links of B are not back"));
    assert_eq!(did(&history, 1).len(), 1);
}

#[test]
fn what_is_planned_may_take_longer_than_a_step() {
    let (_, judgement) = judged(
        "[[step]]\nworkload = { rate = 2, duration = '30s', via = 'A', background = true }\n\
         [[step]]\nat = '40s'\nkill = 'C'\n[[step]]\nuntil = 'done'\n[expect]\nwrites = '==60'\n",
    );
    assert_eq!(judgement.verdict, Verdict::Passed, "{:?}", judgement.findings);
    assert!(judgement.numbers.duration >= Duration::from_secs(40));
}

#[test]
fn replies_are_compared_with_those_of_their_own_step() {
    let (_, judgement) = judged(
        "[[step]]\nafter = '5ms'\nwhatsat = { client = 'k', via = 'B', expect = { refused = true } }\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A', expect = { server = 'A' } }\n\
         [[step]]\nuntil = 'quiescent'\n\
         [[step]]\nat = '1s'\nwhatsat = { client = 'k', via = 'B', expect = { server = 'B' } }\n",
    );
    let replies: Vec<_> = judgement.findings.iter().filter(|finding| *finding.name == *"reply").collect();
    let verdicts: Vec<_> = replies.iter().map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Passed, Verdict::Passed, Verdict::Failed]);
    assert!(actual(replies[2]).starts_with("AT A "), "{}", actual(replies[2]));
}

#[test]
fn a_dead_server_gives_no_reply_and_that_can_be_expected() {
    let talk = |expect: &str| {
        let talk =
            format!("[[step]]\nkill = 'A'\n[[step]]\nwhatsat = {{ client = 'k', via = 'A', expect = {expect} }}\n");
        finding(&judged(&talk).1, "reply").clone()
    };
    assert_eq!(talk("{ lost = true }").verdict, Verdict::Passed);
    let failed = talk("{ refused = true }");
    assert_eq!((failed.verdict, actual(&failed)), (Verdict::Failed, "no reply"));
}

#[test]
fn a_talker_opens_another_connection_to_a_server_that_was_started_again() {
    for again in ["[[step]]\nrestart = 'A'\n", "[[step]]\nkill = 'A'\n[[step]]\nstart = 'A'\n"] {
        let (history, judgement) = judged(&format!(
            "[[step]]\niamat = {{ client = 'k', at = '+1+1', via = 'A', session = 's' }}\n{again}\
             [[step]]\nwhatsat = {{ client = 'l', via = 'A', session = 's', expect = {{ refused = true }} }}\n"
        ));
        assert_eq!(finding(&judgement, "reply").verdict, Verdict::Passed, "{:?}", judgement.findings);
        let opened = history.entries.iter().filter(|entry| matches!(entry.fact, Fact::Opened { .. }));
        assert_eq!(opened.count(), 2);
    }
}

#[test]
fn a_talker_opens_another_connection_after_a_refused_dial_that_it_did_not_wait_for() {
    let (_, judgement) = judged(
        "[[step]]\nkill = 'A'\n[[step]]\nsend = { line = '?', via = 'A' }\n[[step]]\nstart = 'A'\n\
         [[step]]\niamat = { client = 'k', at = '+1+1', via = 'A', expect = { server = 'A' } }\n",
    );
    assert_eq!(finding(&judgement, "reply").verdict, Verdict::Passed, "{:?}", judgement.findings);
}

#[test]
fn a_way_mended_before_its_hold_turns_into_a_cut_is_not_cut() {
    let (history, judgement) = judged(
        "[[step]]\npartition = { groups = [['A']], mode = 'hold-then-cut', after = '1s' }\n\
         [[step]]\nheal = 'all'\n[[step]]\niamat = { client = 'k', at = '+1+1', via = 'A' }\n[expect]\nconverged = true\n",
    );
    let is_cut = |fact: &Fact| matches!(fact, Fact::Did { action: Action::Way(_, WayVerb::Cut), .. });
    let cuts = history.entries.iter().filter(|entry| is_cut(&entry.fact));
    assert_eq!((cuts.count(), judgement.verdict), (0, Verdict::Unproven), "nothing was held that waited");
}

/// Lets a run stop at its first look.
struct Over;

impl Progress for Over {
    fn step(&self, _: StepId) {}

    fn is_over(&self) -> bool {
        true
    }
}

#[test]
fn a_run_that_is_over_stops_and_keeps_what_happened() {
    let (history, ended) = replay("[[step]]\nkill = 'A'\n", &Over);
    assert!(matches!(ended, Err(RunError::Interrupted)));
    assert!(history.entries.is_empty());
}

#[test]
fn the_same_seed_says_the_same_and_another_one_does_not() {
    let steps =
        "[[step]]\nworkload = { rate = 100, count = 50, clients = 5, reads = 0.3, keys = 'skewed', moves = 0.5 }\n";
    let said = |seed: &str| {
        let (history, ended) = replay(&format!("seed = {seed}\n{steps}"), &());
        ended.expect("the driver can do it");
        history.entries
    };
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}
