//! Equations: these inputs, at these times, give exactly these outputs.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;
use crate::config::Strategy;
use crate::wire::{ControlLine, Version, parse};

const START: Timestamp = Timestamp::from_nanoseconds(1_621_464_827_959_498_503);
const REDIAL: Redial =
    Redial { first: Duration::from_millis(5), cap: Duration::from_millis(20), timeout: Duration::from_secs(1) };

const LIMIT: Duration = Duration::from_secs(1);

/// A node with a record of everything it wanted done.
struct Bench {
    node: Node,
    now: Timestamp,
}

impl Bench {
    fn new(strategy: Strategy, links: usize) -> Self {
        let config = NodeConfig {
            name: "Clark".into(),
            rules: Arc::new(Rules {
                strategy,
                redial: REDIAL,
                max_records: 3,
                max_line: 1024,
                servers: ["Bona", "Clark"].map(Into::into).into(),
                reply: ReplyMode::AtOnce,
                reply_limit: LIMIT,
            }),
            links: vec![LinkMode::Persistent; links],
            clock_offset: 0,
            handshake: None,
        };
        Self { node: Node::new(config), now: START }
    }

    /// A node whose links are all up.
    fn linked(strategy: Strategy, links: usize) -> Self {
        Self::new(strategy, links).up()
    }

    /// A node whose links are all up and whose replies wait for its neighbours.
    fn patient(links: usize) -> Self {
        Self::replying(ReplyMode::Neighbours, links)
    }

    fn replying(reply: ReplyMode, links: usize) -> Self {
        let mut bench = Self::new(Strategy::FloodSync, links);
        let rules = Rules { reply, ..(*bench.node.rules).clone() };
        let links = vec![LinkMode::Persistent; links];
        let config =
            NodeConfig { name: "Clark".into(), rules: Arc::new(rules), links, clock_offset: 0, handshake: None };
        bench.node = Node::new(config);
        bench.up()
    }

    fn up(mut self) -> Self {
        let bench = &mut self;
        bench.input(Input::Started);
        for link in bench.node.link_ids() {
            bench.input(Input::LinkOpened(link));
        }
        self
    }

    fn hold(&mut self, ticket: u32) -> bool {
        self.node.hold(self.now, Ticket(ticket))
    }

    /// Holds the acknowledgement of the last line.
    fn hold_heard(&mut self, ticket: u32, from: u32) -> bool {
        self.node.hold_heard(self.now, Ticket(ticket), Some(LinkId(from)))
    }

    /// The neighbour acknowledges this line, and all before it.
    fn taken(&mut self, link: u32, line: u64) {
        self.input(Input::Taken { link: LinkId(link), lines: 1..=line });
    }

    /// The tickets that wait no longer.
    fn settled(&mut self) -> Vec<(u32, Settled)> {
        std::iter::from_fn(|| self.node.settled()).map(|(ticket, how)| (ticket.0, how)).collect()
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.node.handle(self.now, input, &mut outputs);
        outputs
    }

    fn line(&mut self, line: &str, from: Option<u32>) -> Vec<Output> {
        self.input(Input::Command { command: parse(line.as_bytes()), from: from.map(LinkId) })
    }

    fn after(&mut self, milliseconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(milliseconds);
        self
    }

    /// Everything a link owes, as text.
    fn drain(&mut self, link: u32) -> Vec<String> {
        std::iter::from_fn(|| self.node.next_line(LinkId(link)).map(|line| line.text().to_owned())).collect()
    }
}

fn reply(outputs: &[Output]) -> &str {
    match outputs.last() {
        Some(Output::Reply(report)) => report.line(),
        other => panic!("{other:?}"),
    }
}

const ZERO: Output = Output::Ready(LinkId(0));
const ONE: Output = Output::Ready(LinkId(1));

#[test]
fn an_iamat_is_stored_and_handed_to_every_link_before_it_is_answered() {
    let mut bench = Bench::linked(Strategy::Flood, 2);
    let outputs = bench.line("IAMAT kiwi +34.068930-118.445127 1621464827.959498503", None);
    assert_eq!(outputs[..3], [Output::Stored(RecordId(0)), ZERO, ONE]);
    let line = "AT Clark +0.000000000 kiwi +34.068930-118.445127 1621464827.959498503";
    assert_eq!((outputs.len(), reply(&outputs)), (4, line));
    assert_eq!((bench.drain(0), bench.drain(1)), (vec![line.to_owned()], vec![line.to_owned()]));
}

#[test]
fn the_skew_is_exact_to_the_nanosecond_on_both_sides_of_zero() {
    let mut bench = Bench::linked(Strategy::Flood, 0);
    for (time, skew) in [
        ("1621464827.959498504", "-0.000000001"),
        ("1621464827.959498502", "+0.000000001"),
        ("1621464827", "+0.959498503"),
        ("0", "+1621464827.959498503"),
        ("9223372036854775807.999999999", "-9223372035233310980.040501496"),
    ] {
        assert!(reply(&bench.line(&format!("IAMAT a +1+1 {time}"), None)).starts_with(&format!("AT Clark {skew} a ")));
    }
}

#[test]
fn a_clock_offset_shows_in_the_skew_only() {
    let mut bench = Bench::linked(Strategy::Flood, 0);
    bench.input(Input::ClockSet(-1_500_000_000));
    assert!(reply(&bench.line("IAMAT a +1+1 1621464827.959498503", None)).starts_with("AT Clark -1.500000000 a "));
    assert_eq!(bench.node.find("a").expect("it is known").learned_at, START);
}

#[test]
fn a_newer_report_goes_to_every_link_but_the_one_it_came_by() {
    let mut bench = Bench::linked(Strategy::Flood, 2);
    assert_eq!(bench.line("AT Bona +0.1 a +1+1 1", Some(0)), [Output::Stored(RecordId(0)), ONE]);
    assert_eq!(bench.line("AT Bona +0.1 a +1+1 1", Some(1)), []);
    assert_eq!(bench.line("AT Bona +0.1 a +1+1 0.5", Some(1)), []);
    assert_eq!(bench.drain(1), ["AT Bona +0.1 a +1+1 1"]);
    assert_eq!(bench.line("AT Bona +0.1 a +1+1 2", None), [Output::Stored(RecordId(0)), ZERO, ONE]);
}

#[test]
fn direct_tells_everybody_what_a_client_said_and_nobody_what_a_server_said() {
    let mut bench = Bench::linked(Strategy::Direct, 2);
    assert_eq!(bench.line("IAMAT a +1+1 1", None)[..3], [Output::Stored(RecordId(0)), ZERO, ONE]);
    assert_eq!(bench.line("AT Bona +0.1 b +1+1 1", Some(0)), [Output::Stored(RecordId(1))]);
}

#[test]
fn a_newer_version_replaces_an_unsent_one_and_what_the_neighbour_told_us_since_is_not_sent_back() {
    let mut bench = Bench::linked(Strategy::Flood, 2);
    bench.line("AT Bona +0.1 a +1+1 1", Some(0));
    assert_eq!(bench.line("AT Bona +0.1 a +1+1 2", Some(0)), [Output::Stored(RecordId(0))]);
    assert_eq!(bench.drain(1), ["AT Bona +0.1 a +1+1 2"]);
    bench.line("AT Bona +0.1 a +1+1 3", Some(0));
    bench.line("AT Bona +0.1 a +1+1 4", Some(1));
    assert_eq!(bench.drain(1), [""; 0]);
    assert_eq!(bench.drain(0), ["AT Bona +0.1 a +1+1 4"]);
}

#[test]
fn flood_sync_replays_everything_newest_first_when_a_link_opens_and_flood_nothing() {
    for (strategy, expected) in [(Strategy::FloodSync, 2), (Strategy::Flood, 0)] {
        let mut bench = Bench::new(strategy, 1);
        bench.input(Input::Started);
        assert_eq!(bench.line("IAMAT a +1+1 1", None)[1], Output::Missed(LinkId(0)));
        bench.after(1).line("AT Bona +0.1 b +1+1 1", Some(0));
        bench.after(1).input(Input::LinkOpened(LinkId(0)));
        let lines = bench.drain(0);
        assert_eq!(lines.len(), expected);
        assert!(lines.first().is_none_or(|line| line.contains(" b ")), "what it told us before it may have lost");
    }
}

#[test]
fn what_got_newer_since_the_link_opened_is_not_sent_twice() {
    let mut bench = Bench::new(Strategy::FloodSync, 1);
    bench.line("AT Bona +0.1 a +1+1 1", None);
    bench.line("AT Bona +0.1 b +1+1 1", None);
    bench.input(Input::LinkOpened(LinkId(0)));
    bench.after(1).line("AT Bona +0.1 a +1+1 2", None);
    assert_eq!(bench.drain(0), ["AT Bona +0.1 a +1+1 2", "AT Bona +0.1 b +1+1 1"]);
}

#[test]
fn redials_wait_twice_as_long_each_time_up_to_the_cap() {
    let mut bench = Bench::new(Strategy::Flood, 1);
    assert_eq!(bench.input(Input::Started), [Output::Dial(LinkId(0))]);
    for wait in [5, 10, 20, 20] {
        assert_eq!(bench.input(Input::DialFailed(LinkId(0))), []);
        assert_eq!(bench.node.deadline(), Some(bench.now + Duration::from_millis(wait)));
        assert_eq!(bench.input(Input::Deadline), []);
        assert_eq!(bench.after(wait).input(Input::Deadline), [Output::Dial(LinkId(0))]);
        assert_eq!(bench.node.deadline(), None);
    }
    bench.input(Input::LinkOpened(LinkId(0)));
    bench.input(Input::LinkLost(LinkId(0)));
    assert_eq!(bench.node.deadline(), Some(bench.now + Duration::from_millis(5)));
}

#[test]
fn a_neighbour_that_dials_us_is_dialled_at_once() {
    let mut bench = Bench::new(Strategy::Flood, 1);
    bench.input(Input::Started);
    assert_eq!(bench.input(Input::NeighbourSeen(LinkId(0))), []);
    bench.input(Input::DialFailed(LinkId(0)));
    assert_eq!(bench.input(Input::NeighbourSeen(LinkId(0))), [Output::Dial(LinkId(0))]);
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn what_came_from_a_neighbours_life_before_is_owed_to_its_present_one() {
    let mut bench = Bench::linked(Strategy::FloodSync, 1);
    bench.input(Input::NeighbourSeen(LinkId(0)));
    // It is restarted, our link to it is open again, it dials us, and only then comes a line it had written before.
    bench.after(1).input(Input::LinkLost(LinkId(0)));
    bench.after(1).input(Input::LinkOpened(LinkId(0)));
    bench.after(1).input(Input::NeighbourSeen(LinkId(0)));
    let line = "AT Bona +0.5 kiwi +1+1 1";
    assert_eq!(bench.after(1).line(line, Some(0)), [Output::Stored(RecordId(0))]);
    assert_eq!(bench.after(1).input(Input::NeighbourGone(LinkId(0))), [ZERO]);
    assert_eq!(bench.drain(0), [line]);
    // What comes from its present life it knows.
    assert_eq!(bench.after(1).line("AT Bona +0.5 kiwi +1+1 2", Some(0)), [Output::Stored(RecordId(0))]);
    assert_eq!(bench.input(Input::NeighbourGone(LinkId(0))), []);
}

#[test]
fn a_lost_link_owes_nothing() {
    let mut bench = Bench::linked(Strategy::Flood, 1);
    bench.line("IAMAT a +1+1 1", None);
    assert_eq!(bench.node.owed(LinkId(0)), 1);
    bench.input(Input::LinkLost(LinkId(0)));
    assert_eq!((bench.node.owed(LinkId(0)), bench.drain(0)), (0, vec![]));
}

#[test]
fn a_full_node_refuses_further_clients_and_goes_on_with_those_it_knows() {
    let mut bench = Bench::linked(Strategy::Flood, 0);
    for client in ["a", "b", "c"] {
        bench.line(&format!("IAMAT {client} +1+1 1"), None);
    }
    assert_eq!(bench.line("IAMAT d +1+1 1", None), [Output::Refuse]);
    assert_eq!(bench.line("AT Bona +0.1 d +1+1 1", None), []);
    assert!(reply(&bench.line("IAMAT c +1+1 2", None)).ends_with(" c +1+1 2"));
}

#[test]
fn whatsat_asks_around_the_most_recent_location() {
    let mut bench = Bench::linked(Strategy::Flood, 0);
    assert_eq!(bench.line("WHATSAT a 10 5", None), [Output::Refuse]);
    bench.line("AT Bona +0.1 a -1.5+002 1", Some(0));
    let [Output::Search(report, search)] = &bench.line("WHATSAT a 10 5", None)[..] else { panic!("it is known") };
    assert_eq!(report.line(), "AT Bona +0.1 a -1.5+002 1");
    assert_eq!(*search, Search { latitude: -1.5, longitude: 2.0, radius_km: 10, bound: 5 });
}

/// A node with the strategy `tree`, linked both ways with two neighbours for a while.
fn in_a_tree() -> Bench {
    let mut bench = Bench::linked(Strategy::Tree, 2);
    for link in bench.node.link_ids() {
        bench.input(Input::NeighbourSeen(link));
    }
    bench.after(1);
    bench
}

/// The announcement of a line.
fn have(line: &str) -> String {
    let Command::At(at) = parse(line.as_bytes()) else { panic!("{line}") };
    let mut have = ControlLine::have();
    assert!(have.push_version(Version::of(at), 1024));
    have.text().to_owned()
}

const KIWI: &str = "AT Bona +0.1 kiwi +1+1 1";
const LATER: &str = "AT Bona +0.1 kiwi +1+1 2";

#[test]
fn the_first_update_of_an_origin_floods_and_the_next_is_only_announced_where_it_came_twice() {
    let mut bench = in_a_tree();
    assert_eq!(bench.line(KIWI, Some(0)), [Output::Stored(RecordId(0)), ONE]);
    assert_eq!(bench.drain(1), [KIWI]);
    assert_eq!(bench.line(KIWI, Some(1)), [ONE]);
    assert_eq!((bench.node.owed(LinkId(1)), bench.drain(1)), (1, vec!["HERD 1 prune Bona".to_owned()]));
    // Nothing is to be written until announcements have gathered.
    assert_eq!(bench.line(LATER, Some(0)), [Output::Stored(RecordId(0)), Output::Timers]);
    assert_eq!((bench.node.owed(LinkId(1)), bench.drain(1)), (0, vec![]));
    assert_eq!((bench.node.is_waiting(), bench.node.deadline()), (true, Some(bench.now + Duration::from_millis(5))));
    assert_eq!(bench.after(5).input(Input::Deadline), [ONE, Output::Timers]);
    assert_eq!((bench.drain(1), bench.node.is_waiting()), (vec![have(LATER)], false));
}

#[test]
fn a_link_that_is_pruned_is_pruned_for_one_origin_only() {
    let mut bench = in_a_tree();
    assert_eq!(bench.line("HERD 1 prune Bona Nobody", Some(1)), []);
    assert_eq!(bench.line(KIWI, Some(0)), [Output::Stored(RecordId(0)), Output::Timers]);
    assert_eq!(bench.line("IAMAT mango +1+1 1", None)[..3], [Output::Stored(RecordId(1)), ZERO, ONE]);
    assert_eq!(bench.drain(1).len(), 1);
}

#[test]
fn how_a_record_leaves_is_decided_when_it_leaves() {
    let mut bench = in_a_tree();
    bench.line(KIWI, Some(0));
    bench.line("HERD 1 prune Bona", Some(1));
    assert_eq!(bench.drain(1), [have(KIWI)], "pruned while it waited, and nothing gathers");
    // Announcements gather, and meanwhile the client is with another server.
    bench.line(LATER, Some(0));
    let moved = "AT Clark +0.1 kiwi +1+1 3";
    assert_eq!(bench.line(moved, Some(0)), [Output::Stored(RecordId(0)), ONE]);
    assert_eq!(bench.drain(1), [moved]);
    assert_eq!(bench.after(5).input(Input::Deadline), [ONE, Output::Timers]);
    assert_eq!(bench.drain(1), [""; 0], "it was sent whole");
}

#[test]
fn what_is_announced_and_does_not_come_is_asked_for_at_the_first_announcer_and_then_at_the_next() {
    let mut bench = in_a_tree();
    assert_eq!(bench.line(&have(KIWI), Some(0)), [Output::Timers]);
    assert_eq!(bench.line(&have(KIWI), Some(1)), []);
    assert_eq!(bench.after(49).input(Input::Deadline), []);
    assert_eq!(bench.after(1).input(Input::Deadline), [ZERO, Output::Timers]);
    assert_eq!(bench.drain(0), ["HERD 1 want kiwi"]);
    assert_eq!(bench.after(50).input(Input::Deadline), [ONE, Output::Timers]);
    assert_eq!((bench.drain(1), bench.node.deadline()), (vec!["HERD 1 want kiwi".to_owned()], None));
    assert_eq!(bench.line(KIWI, Some(1)), [Output::Stored(RecordId(0)), ZERO]);
}

#[test]
fn what_comes_in_time_is_not_asked_for() {
    let mut bench = in_a_tree();
    bench.line(&have(KIWI), Some(1));
    assert_eq!(bench.line(KIWI, Some(0)), [Output::Stored(RecordId(0)), ONE, Output::Timers]);
    assert_eq!((bench.node.deadline(), bench.line(&have(KIWI), Some(1))), (None, vec![]));
}

#[test]
fn a_neighbour_that_asks_gets_what_is_held_now_and_further_updates_whole() {
    let mut bench = in_a_tree();
    bench.line("HERD 1 prune Bona", Some(1));
    bench.line(KIWI, Some(0));
    bench.line(LATER, Some(0));
    assert_eq!(bench.line("HERD 1 want kiwi unknown", Some(1)), [ONE]);
    assert_eq!(bench.drain(1), [LATER]);
    bench.line("AT Bona +0.1 kiwi +1+1 3", Some(0));
    assert_eq!(bench.drain(1), ["AT Bona +0.1 kiwi +1+1 3"]);
}

#[test]
fn a_request_that_was_lost_with_its_link_is_made_again_when_the_link_is_up() {
    let mut bench = in_a_tree();
    bench.line(&have(KIWI), Some(0));
    bench.after(50).input(Input::Deadline);
    assert_eq!(bench.input(Input::LinkLost(LinkId(0))), []);
    assert_eq!(bench.after(1).input(Input::LinkOpened(LinkId(0))), [Output::Timers]);
    bench.after(50).input(Input::Deadline);
    assert_eq!(bench.drain(0), ["HERD 1 want kiwi"]);
    // Its connection ends, and with it what it announced.
    bench.input(Input::NeighbourGone(LinkId(0)));
    bench.input(Input::LinkLost(LinkId(0)));
    assert_eq!(bench.after(1).input(Input::LinkOpened(LinkId(0))), []);
}

#[test]
fn a_link_that_comes_up_is_sent_everything_whole_and_what_is_replayed_prunes_nothing() {
    let mut bench = in_a_tree();
    bench.line("HERD 1 prune Bona", Some(1));
    bench.line(KIWI, Some(0));
    bench.after(1).input(Input::LinkLost(LinkId(1)));
    bench.input(Input::NeighbourGone(LinkId(1)));
    assert_eq!(bench.node.deadline(), Some(bench.now + Duration::from_millis(5)), "only the dial is due");
    bench.after(1).input(Input::LinkOpened(LinkId(1)));
    bench.input(Input::NeighbourSeen(LinkId(1)));
    assert_eq!(bench.drain(1), [KIWI]);
    assert_eq!(bench.after(1).line(KIWI, Some(1)), []);
    bench.line(LATER, Some(0));
    assert_eq!(bench.drain(1), [LATER]);
}

#[test]
fn versions_of_one_time_and_origin_are_told_apart_and_asked_for() {
    let mut bench = in_a_tree();
    bench.line(KIWI, Some(0));
    let older = "AT Bona +0.0 kiwi +1+1 1";
    assert_eq!(bench.line(&have(older), Some(1)), [Output::Timers]);
    bench.after(50).input(Input::Deadline);
    assert_eq!(bench.drain(1), ["HERD 1 want kiwi", KIWI]);
    assert_eq!(bench.line(older, Some(1)), []);
    assert_eq!(bench.after(1).input(Input::LinkOpened(LinkId(1)))[..], [ONE], "nothing is missing any more");
}

#[test]
fn no_more_clients_are_remembered_as_missing_than_there_is_room_for() {
    let mut bench = in_a_tree();
    bench.line(KIWI, Some(0));
    let announced = |client: &str| have(&format!("AT Bona +0.1 {client} +1+1 1"));
    for client in ["a", "b", "c", "d"] {
        bench.line(&announced(client), Some(1));
    }
    bench.drain(1);
    bench.after(50).input(Input::Deadline);
    assert_eq!(bench.drain(1), ["HERD 1 want a b"]);
}

#[test]
fn origins_that_are_no_servers_of_the_herd_flood() {
    let mut bench = in_a_tree();
    let line = "AT Nobody +0.1 kiwi +1+1 1";
    bench.line(line, Some(0));
    assert_eq!(bench.drain(1), [line]);
    assert_eq!(bench.line(line, Some(1)), []);
    assert_eq!(bench.line(&have(&line.replace("kiwi", "mango")), Some(1)), []);
}

#[test]
fn control_lines_are_refused_by_other_strategies_and_from_strangers_and_over_per_message_links() {
    let lines = [have(KIWI), "HERD 1 want kiwi".to_owned(), "HERD 1 prune Bona".to_owned()];
    for line in lines {
        assert_eq!(Bench::linked(Strategy::FloodSync, 1).line(&line, Some(0)), [Output::Refuse]);
        assert_eq!(in_a_tree().line(&line, None), [Output::Refuse]);
    }
    let mut bench = in_a_tree();
    for line in ["HERD 1 want", "HERD 2 want kiwi", "HERD 1 have kiwi 1 Bona 0"] {
        assert_eq!(bench.line(line, Some(0)), [Output::Refuse]);
    }
    let rules = bench.node.rules.clone();
    let config = NodeConfig {
        name: "Clark".into(),
        rules,
        links: vec![LinkMode::PerMessage; 2],
        clock_offset: 0,
        handshake: None,
    };
    let mut bench = Bench { node: Node::new(config), now: START };
    bench.input(Input::Started);
    assert_eq!(bench.line("HERD 1 prune Bona", Some(1)), [Output::Refuse]);
    bench.line(KIWI, Some(0));
    assert_eq!((bench.drain(1), bench.line(KIWI, Some(1)), bench.drain(1)), (vec![KIWI.to_owned()], vec![], vec![]));
}

/// A node in a process of its own, in the tree of its neighbour.
fn in_a_process(name: &str, neighbour: &str) -> Bench {
    let peer = Peer { name: neighbour.into(), secrets: Draws::new(name.len() as u64, 0) };
    let handshake = Handshake { name: name.into(), peers: vec![peer] };
    let rules = Bench::new(Strategy::Tree, 0).node.rules.clone();
    let links = vec![LinkMode::Persistent];
    let config = NodeConfig { name: name.into(), rules, links, clock_offset: 0, handshake: Some(handshake) };
    let mut bench = Bench { node: Node::new(config), now: START };
    bench.input(Input::Started);
    bench.input(Input::LinkOpened(LinkId(0)));
    bench
}

/// Carries everything that two nodes owe each other. `proven` tells of each whether it knows that the connection which it reads
/// is the other's.
fn carry(nodes: &mut [Bench; 2], proven: &mut [bool; 2]) -> Vec<String> {
    let mut carried = Vec::new();
    loop {
        let before = carried.len();
        for (from, to) in [(0, 1), (1, 0)] {
            for line in nodes[from].drain(0) {
                let outputs = nodes[to].line(&line, proven[to].then_some(0));
                proven[to] |= outputs.contains(&Output::Proven(LinkId(0)));
                assert!(!outputs.contains(&Output::Refuse), "{line}");
                carried.push(line);
            }
        }
        if carried.len() == before {
            return carried;
        }
    }
}

#[test]
fn two_processes_prove_to_each_other_who_they_are_before_they_prune() {
    let mut nodes = [in_a_process("Bona", "Clark"), in_a_process("Clark", "Bona")];
    nodes[0].line("IAMAT kiwi +1+1 1", None);
    let mut proven = [false; 2];
    let carried = carry(&mut nodes, &mut proven);
    assert!(carried[0].starts_with("HERD 1 hello Bona "), "{carried:?}");
    let count = |word: &str| carried.iter().filter(|line| line.starts_with(&format!("HERD 1 {word} "))).count();
    assert_eq!((proven, count("hello"), count("proof"), count("welcome")), ([true; 2], 2, 2, 2));
    // From now on they prune, announce and ask.
    nodes[0].line("HERD 1 prune Bona", Some(0));
    nodes[0].line("IAMAT kiwi +1+1 2", None);
    nodes[0].after(5).input(Input::Deadline);
    let announced = carry(&mut nodes, &mut proven);
    assert!(announced.len() == 1 && announced[0].starts_with("HERD 1 have kiwi 2 Bona "), "{announced:?}");
    nodes[1].after(50).input(Input::Deadline);
    let asked = carry(&mut nodes, &mut proven);
    assert_eq!((asked.len(), &*asked[0]), (2, "HERD 1 want kiwi"));
    assert_eq!(nodes[1].node.find("kiwi").expect("it came").report.line(), asked[1]);
}

#[test]
fn a_neighbour_that_dials_anew_has_to_be_welcomed_anew() {
    let mut nodes = [in_a_process("Bona", "Clark"), in_a_process("Clark", "Bona")];
    let mut proven = [false; 2];
    carry(&mut nodes, &mut proven);
    nodes[0].input(Input::LinkLost(LinkId(0)));
    nodes[1].input(Input::NeighbourGone(LinkId(0)));
    proven[1] = false;
    // Nothing but whole lines until then.
    nodes[1].line("HERD 1 prune Clark", Some(0));
    nodes[1].line("IAMAT kiwi +1+1 1", None);
    assert!(nodes[1].drain(0)[0].starts_with("AT Clark "));
    nodes[0].input(Input::LinkOpened(LinkId(0)));
    let carried = carry(&mut nodes, &mut proven);
    let secret = carried[0].rsplit(' ').next().expect("a hello has a secret");
    assert!(proven[1] && carried.contains(&format!("HERD 1 welcome {secret}")), "{carried:?}");
}

#[test]
fn who_claims_to_be_a_neighbour_and_cannot_prove_it_changes_nothing() {
    let mut bench = in_a_process("Bona", "Clark");
    bench.drain(0);
    assert_eq!(bench.line("HERD 1 hello Nobody 0000000000000001", None), [Output::Refuse]);
    assert_eq!(bench.line("HERD 1 proof 0000000000000001 0000000000000002", None), [Output::Refuse]);
    assert_eq!(bench.line("HERD 1 welcome 0000000000000001", None), [Output::Refuse]);
    assert_eq!(bench.line("HERD 1 prune Bona", None), [Output::Refuse]);
    for secret in 0..100 {
        assert_eq!(bench.line(ControlLine::hello("Clark", secret).text(), None), [ZERO]);
    }
    let proofs = bench.drain(0);
    assert!(proofs.len() == 4 && proofs.iter().all(|line| line.starts_with("HERD 1 proof ")), "{proofs:?}");
    bench.line("IAMAT kiwi +1+1 1", None);
    assert_eq!(bench.drain(0).len(), 1);
}

proptest! {
    #[test]
    fn any_order_and_duplication_of_the_same_lines_ends_in_the_same_records(
        lines in proptest::collection::vec(at_line(), 1..20),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let all = lines.iter().cloned();
        let shuffled: Vec<_> = order.iter().map(|index| index.get(&lines).clone()).chain(lines.iter().rev().cloned()).collect();
        prop_assert_eq!(final_records(all), final_records(shuffled));
    }

    #[test]
    fn a_node_survives_any_inputs_and_never_goes_back(
        inputs in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..200),
        strategy in prop::sample::select(Strategy::ALL.to_vec()),
    ) {
        let mut bench = Bench::new(strategy, 3);
        let mut newest: Option<Arc<Report>> = None;
        for (kind, link, time) in inputs {
            let link = LinkId(u32::from(link) % 3);
            let line = format!("AT Bona +0.{time} a +1+1 {time}");
            let control = match time % 3 {
                0 => have(&line),
                1 => "HERD 1 want a".to_owned(),
                _ => "HERD 1 prune Bona".to_owned(),
            };
            let input = match kind % 10 {
                0 => Input::LinkOpened(link),
                1 => Input::LinkLost(link),
                2 => Input::DialFailed(link),
                3 => Input::NeighbourSeen(link),
                4 => Input::Deadline,
                5 => Input::NeighbourGone(link),
                6 | 7 => Input::Command { command: parse(control.as_bytes()), from: Some(link) },
                _ => Input::Command { command: parse(line.as_bytes()), from: Some(link) },
            };
            bench.after(u64::from(time) % 7).input(input);
            if kind % 3 == 0 {
                bench.drain(link.0);
            }
            // Records, and control lines of three kinds.
            prop_assert!(bench.node.owed(link) <= 2 * bench.node.records().len() + 3);
            let now = bench.node.find("a").map(|record| record.report.clone());
            if let (Some(newest), Some(now)) = (&newest, &now) {
                prop_assert!(now.at().version_cmp(newest.at()).is_ge());
            }
            newest = now;
        }
    }
}

fn at_line() -> impl proptest::strategy::Strategy<Value = String> {
    let origin = prop::sample::select(vec!["Clark", "Bona"]);
    let skew = prop::sample::select(vec!["+0.1", "-0.25", "1"]);
    let location = prop::sample::select(vec!["+1+1", "+1.0+1", "-2+3"]);
    let time = prop::sample::select(vec!["1", "1.0", "1.5", "1.50", "2"]);
    let gap = prop::sample::select(vec![" ", "  ", "\t"]);
    (origin, skew, location, time, gap)
        .prop_map(|(origin, skew, location, time, gap)| format!("AT {origin}{gap}{skew} a {location} {time}"))
}

fn final_records(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut bench = Bench::linked(Strategy::Flood, 1);
    for line in lines {
        bench.line(&line, None);
    }
    bench.node.records().map(|record| record.report.line().to_owned()).collect()
}

#[test]
fn a_reply_waits_until_every_neighbour_has_taken_the_line() {
    let mut bench = Bench::patient(2);
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(7));
    assert_eq!((bench.drain(0).len(), bench.drain(1).len()), (1, 1));
    bench.taken(0, 1);
    assert_eq!((bench.settled(), bench.node.held()), (vec![], 1));
    bench.taken(1, 1);
    assert_eq!((bench.settled(), bench.node.held()), (vec![(7, Settled::Taken)], 0));
    assert!(!bench.hold(8), "nothing is owed");
}

#[test]
fn replies_never_wait_where_they_come_at_once() {
    let mut bench = Bench::linked(Strategy::FloodSync, 1);
    bench.line("IAMAT a +1+1 1", None);
    assert!(!bench.hold(1));
}

#[test]
fn a_reply_waits_for_a_place_in_the_order_of_lines_even_when_a_newer_version_takes_it() {
    let mut bench = Bench::patient(1);
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(1));
    bench.line("IAMAT a +1+1 2", None);
    bench.line("IAMAT b +1+1 1", None);
    assert!(bench.hold(2));
    assert_eq!(bench.drain(0).len(), 2);
    bench.taken(0, 1);
    assert_eq!(bench.settled(), [(1, Settled::Taken)]);
    bench.taken(0, 2);
    assert_eq!(bench.settled(), [(2, Settled::Taken)]);
}

#[test]
fn a_reply_waits_for_no_neighbour_that_sent_the_newer_version_itself() {
    let mut bench = Bench::patient(1);
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(1));
    bench.line("AT Bona +0.1 a +1+1 2", Some(0));
    assert_eq!((bench.drain(0).len(), bench.settled()), (0, vec![(1, Settled::Taken)]));
}

#[test]
fn a_reply_waits_for_no_link_that_is_down_or_is_lost() {
    let mut bench = Bench::patient(2);
    bench.input(Input::LinkLost(LinkId(1)));
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(1));
    bench.drain(0);
    bench.input(Input::LinkLost(LinkId(0)));
    assert_eq!(bench.settled(), [(1, Settled::Taken)]);
    bench.line("IAMAT a +1+1 2", None);
    assert!(!bench.hold(2));
}

#[test]
fn lines_of_an_earlier_connection_do_not_count_as_taken_on_the_next() {
    let mut bench = Bench::patient(1);
    bench.line("IAMAT a +1+1 1", None);
    bench.drain(0);
    bench.taken(0, 1);
    bench.input(Input::LinkLost(LinkId(0)));
    bench.input(Input::LinkOpened(LinkId(0)));
    bench.line("IAMAT b +1+1 1", None);
    assert!(bench.hold(1));
    // The fresh one leaves first, then the replay.
    assert_eq!(bench.drain(0).len(), 2);
    assert_eq!(bench.settled(), []);
    bench.taken(0, 1);
    assert_eq!(bench.settled(), [(1, Settled::Taken)]);
}

#[test]
fn a_reply_waits_no_longer_than_its_limit() {
    let mut bench = Bench::patient(2);
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(1));
    bench.drain(0);
    bench.taken(0, 1);
    assert_eq!(bench.node.deadline(), Some(START + LIMIT));
    bench.after(10).line("IAMAT b +1+1 1", None);
    assert!(bench.hold(2));
    bench.now = START + LIMIT;
    bench.input(Input::Deadline);
    assert_eq!(bench.settled(), [(1, Settled::Overdue)]);
    assert_eq!(bench.node.deadline(), Some(START + Duration::from_millis(10) + LIMIT));
    bench.drain(1);
    bench.taken(1, 2);
    bench.drain(0);
    bench.taken(0, 2);
    assert_eq!((bench.settled(), bench.node.deadline()), (vec![(2, Settled::Taken)], None));
}

#[test]
fn a_line_is_acknowledged_when_those_to_whom_it_goes_have_acknowledged_it() {
    let mut bench = Bench::replying(ReplyMode::Everywhere, 3);
    bench.line("AT Bona +0.1 a +1+1 1", Some(0));
    assert!(bench.hold_heard(1, 0));
    assert_eq!((bench.drain(0).len(), bench.drain(1).len(), bench.drain(2).len()), (0, 1, 1));
    bench.line("AT Bona +0.1 a +1+1 1", Some(1));
    assert!(!bench.hold_heard(2, 1), "it is known");
    bench.taken(1, 1);
    assert_eq!((bench.settled(), bench.node.held()), (vec![], 0));
    bench.taken(2, 1);
    assert_eq!(bench.settled(), [(1, Settled::Taken)]);
}

#[test]
fn an_older_version_is_acknowledged_with_the_newer_one() {
    let mut bench = Bench::replying(ReplyMode::Everywhere, 3);
    bench.line("AT Bona +0.1 a +1+1 2", Some(0));
    assert_eq!((bench.drain(1).len(), bench.drain(2).len()), (1, 1));
    bench.line("AT Bona +0.1 a +1+1 1", Some(1));
    assert!(bench.hold_heard(1, 1));
    bench.taken(2, 1);
    assert_eq!(bench.settled(), [(1, Settled::Taken)], "nothing waits for the neighbour that said it");
    bench.line("IAMAT a +1+1 1", None);
    assert!(bench.hold(2), "one neighbour has not acknowledged what is known");
    bench.taken(1, 1);
    assert_eq!(bench.settled(), [(2, Settled::Taken)]);
}

#[test]
fn a_reply_waits_for_its_own_lines_in_whatever_order_they_are_acknowledged() {
    let mut bench = Bench::replying(ReplyMode::Everywhere, 1);
    for (ticket, client) in ["a", "b"].into_iter().enumerate() {
        bench.line(&format!("IAMAT {client} +1+1 1"), None);
        assert!(bench.hold(ticket as u32));
    }
    bench.drain(0);
    bench.input(Input::Taken { link: LinkId(0), lines: 2..=2 });
    assert_eq!(bench.settled(), [(1, Settled::Taken)]);
    // Whatever else a neighbour acknowledges changes nothing.
    for lines in [0..=0, 2..=2, 3..=u64::MAX] {
        bench.input(Input::Taken { link: LinkId(0), lines });
    }
    assert_eq!(bench.settled(), []);
    bench.input(Input::Taken { link: LinkId(0), lines: 0..=u64::MAX });
    assert_eq!((bench.settled(), bench.node.deadline()), (vec![(0, Settled::Taken)], None));
}

#[test]
fn where_no_driver_knows_what_is_taken_a_link_asks_for_it_first() {
    let node = |reply| {
        let peers = vec![Peer { name: "Bona".into(), secrets: Draws::new(1, 0) }];
        let rules = Rules { reply, ..(*Bench::new(Strategy::Flood, 1).node.rules).clone() };
        let links = vec![LinkMode::Persistent];
        let handshake = Some(Handshake { name: "Clark".into(), peers });
        let config = NodeConfig { name: "Clark".into(), rules: Arc::new(rules), links, clock_offset: 0, handshake };
        Bench { node: Node::new(config), now: START }.up()
    };
    let mut bench = node(ReplyMode::Neighbours);
    bench.line("IAMAT a +1+1 1", None);
    assert_eq!((bench.node.owed(LinkId(0)), bench.drain(0).len()), (2, 2));
    assert_eq!(bench.node.line_number(LinkId(0)), 2);
    assert_eq!(bench.line("HERD 1 acknowledge", None), [Output::Acknowledge]);
    assert_eq!(bench.line("HERD 1 acknowledge everywhere", None), [Output::Refuse], "it promises less");
    assert_eq!(bench.line("HERD 1 took 1", None), [Output::Refuse]);
    let mut bench = node(ReplyMode::AtOnce);
    bench.line("IAMAT a +1+1 1", None);
    assert_eq!(bench.drain(0).len(), 1);
    assert_eq!(bench.line("HERD 1 acknowledge", Some(0)), [Output::Refuse]);
    assert_eq!(Bench::patient(1).line("HERD 1 acknowledge", None), [Output::Refuse], "its driver knows");
}
