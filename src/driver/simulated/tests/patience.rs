//! Replies that wait until other servers have the update.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::script::{Mix, Script, Step};
use super::*;
use crate::act::{ServerVerb, WayVerb};
use crate::config::ReplyMode;
use crate::wire::Report;

fn patient(servers: usize, links: &[(u32, u32, u64)], mode: LinkMode) -> Topology {
    replying(ReplyMode::Neighbours, servers, links, mode)
}

fn replying(reply: ReplyMode, servers: usize, links: &[(u32, u32, u64)], mode: LinkMode) -> Topology {
    let mut topology = herd(servers, links, Strategy::FloodSync);
    topology.reply = Some(reply);
    topology.links.iter_mut().for_each(|link| link.mode = mode);
    topology
}

/// When each reply came, counted from `begun`, in milliseconds.
fn replies(run: &Run, begun: Timestamp) -> Vec<u128> {
    let replied = run.seen.iter().filter(|seen| matches!(seen.event, Event::Replied { .. }));
    replied.map(|seen| seen.at.since(begun).as_millis()).collect()
}

fn overdue(run: &Run) -> Vec<bool> {
    let acknowledged = run.seen.iter().filter_map(|seen| match seen.event {
        Event::Acknowledged { overdue, .. } => Some(overdue),
        _ => None,
    });
    acknowledged.collect()
}

const LINKS: [(u32, u32, u64); 2] = [(0, 1, 10), (0, 2, 30)];

#[test]
fn a_reply_comes_when_the_farthest_neighbour_has_told_that_it_took_the_line() {
    let mut run = Run::of(patient(3, &LINKS, LinkMode::Persistent));
    let begun = run.driver.now();
    run.send(0, "IAMAT a +1+1 1\nWHATSAT a 10 1\nIAMAT b +1+1 1\n", false);
    run.settle();
    assert_eq!((replies(&run, begun), overdue(&run)), (vec![60, 60, 60], vec![false, false]));
    // Nothing is new.
    let begun = run.driver.now();
    run.send(0, "IAMAT a +1+1 0\n", false);
    run.settle();
    assert_eq!(replies(&run, begun)[3..], [0]);
}

#[test]
fn over_connections_of_one_line_it_comes_when_the_last_of_them_is_closed() {
    let mut run = Run::of(patient(3, &LINKS, LinkMode::PerMessage));
    let begun = run.driver.now();
    run.iamat(0, "a", 1);
    run.settle();
    // A dial, the line, and the end.
    assert_eq!((replies(&run, begun), overdue(&run)), (vec![120], vec![false]));
    run.act(ServerVerb::Kill.on(ServerId(2)));
    let begun = run.driver.now();
    run.iamat(0, "a", 2);
    run.settle();
    // The dial of the killed server is refused meanwhile.
    assert_eq!((replies(&run, begun)[1..].to_vec(), overdue(&run)[1..].to_vec()), (vec![60], vec![false]));
}

/// A chain.
const CHAIN: [(u32, u32, u64); 2] = [(0, 1, 10), (1, 2, 30)];

#[test]
fn a_reply_from_everywhere_comes_when_the_last_server_has_told_back_along_the_way_of_the_line() {
    for (mode, expected) in [(LinkMode::Persistent, 80), (LinkMode::PerMessage, 160)] {
        let mut run = Run::of(replying(ReplyMode::Everywhere, 3, &CHAIN, mode));
        let begun = run.driver.now();
        run.iamat(0, "a", 1);
        run.settle();
        assert_eq!((replies(&run, begun), overdue(&run)), (vec![expected], vec![false]), "{mode:?}");
        // Nothing is new.
        let begun = run.driver.now();
        run.iamat(0, "a", 0);
        run.settle();
        assert_eq!(replies(&run, begun)[1..], [0]);
    }
}

#[test]
fn everywhere_means_every_server_under_every_strategy_when_a_link_is_gone() {
    let ring = [(0, 1, 5), (1, 2, 5), (2, 3, 5), (3, 0, 5)];
    for strategy in Strategy::ALL {
        let topology = Topology { strategy, ..replying(ReplyMode::Everywhere, 4, &ring, LinkMode::Persistent) };
        for cut in ring {
            let mut run = Run::of(topology.clone());
            for time in 1..3 {
                run.iamat(0, "a", time);
                run.settle();
            }
            for (from, to) in [(cut.0, cut.1), (cut.1, cut.0)] {
                run.act(WayVerb::Cut.on(Way { from: ServerId(from), to: ServerId(to) }));
            }
            run.iamat(0, "a", 3);
            while overdue(&run).len() < 3 {
                run.pass(MILLISECOND);
            }
            let holders = (0..4).filter(|&server| run.knows(server, "a") == Some(3)).count();
            // Sent directly, it takes the link that is cut and no other.
            let expected = if strategy == Strategy::Direct { 3..=4 } else { 4..=4 };
            assert!(expected.contains(&holders), "{strategy} {cut:?}: {holders}");
        }
    }
}

#[test]
fn a_server_behind_a_neighbour_is_waited_for_until_it_cannot_be_reached_or_the_limit() {
    let (relay, last) = (ServerId(1), ServerId(2));
    let way = Way { from: relay, to: last };
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        let cases: [(Action, Action); 5] = [
            (ServerVerb::Pause.on(last), ServerVerb::Kill.on(last)),
            (ServerVerb::Pause.on(last), ServerVerb::Kill.on(relay)),
            (ServerVerb::Pause.on(last), ServerVerb::Stop.on(relay)),
            (WayVerb::Hold.on(way), WayVerb::Cut.on(way)),
            (WayVerb::HalfOpen.on(way), WayVerb::Heal.on(way)),
        ];
        for (broken, ended) in cases {
            for is_ended in [true, false] {
                if mode == LinkMode::PerMessage && matches!(broken, Action::Way(..)) {
                    // What has not left waits for the release of the way, or for the end of its dial.
                    continue;
                }
                let mut run = Run::of(replying(ReplyMode::Everywhere, 3, &CHAIN, mode));
                run.act(broken.clone());
                let begun = run.driver.now();
                run.iamat(0, "a", 1);
                run.pass(MILLISECOND * 300);
                assert_eq!(replies(&run, begun), [0; 0]);
                if is_ended {
                    run.act(ended.clone());
                }
                run.settle();
                let (when, is_overdue) = (replies(&run, begun), overdue(&run));
                assert_eq!(is_overdue, [!is_ended], "{mode:?} {broken:?} {ended:?}");
                assert!(when[0] <= if is_ended { 400 } else { 1000 }, "{mode:?} {broken:?} {ended:?} {when:?}");
            }
        }
    }
}

#[test]
fn a_server_reads_no_further_command_of_a_client_whose_reply_waits() {
    let mut run = Run::of(patient(2, &[(0, 1, 10)], LinkMode::Persistent));
    let begun = run.driver.now();
    run.iamat(0, "a", 1);
    run.pass(MILLISECOND);
    run.iamat(0, "b", 1);
    run.pass(MILLISECOND);
    assert_eq!(run.knows(0, "b"), None);
    run.settle();
    assert_eq!(replies(&run, begun), [20, 40]);
}

#[test]
fn a_herd_comes_to_rest_where_an_answer_that_takes_time_waits_behind_replies() {
    for link in [0, 10] {
        for ends in [false, true] {
            let mut run = Run::of(patient(2, &[(0, 1, link)], LinkMode::Persistent));
            run.iamat(0, "a", 1);
            run.settle();
            // The answer about places is to come when the next update is read, whose reply waits.
            run.send(0, "WHATSAT a 10 1\n", false);
            run.send(0, "IAMAT b +1+1 1\n", ends);
            run.settle();
            assert_eq!(overdue(&run), [false, false], "{link} ms, the client ends: {ends}");
        }
    }
}

#[test]
fn a_reply_waits_a_second_for_a_neighbour_that_takes_nothing() {
    let second = ServerId(1);
    let breaks: [&[Action]; 3] = [
        &[ServerVerb::Pause.on(second)],
        &[WayVerb::Hold.on(Way { from: ServerId(0), to: second })],
        &[WayVerb::HalfOpen.on(Way { from: ServerId(0), to: second })],
    ];
    for actions in breaks {
        let mut run = Run::of(patient(3, &LINKS, LinkMode::Persistent));
        for action in actions {
            run.act(action.clone());
        }
        let begun = run.driver.now();
        run.iamat(0, "a", 1);
        run.settle();
        assert_eq!((replies(&run, begun), overdue(&run)), (vec![1000], vec![true]), "{actions:?}");
        // Behind what was not taken nothing is.
        run.iamat(0, "b", 1);
        run.settle();
        assert_eq!((replies(&run, begun), overdue(&run)), (vec![1000, 2000], vec![true, true]), "{actions:?}");
    }
}

#[test]
fn a_frozen_server_lets_its_replies_go_when_it_goes_on() {
    let mut run = Run::of(patient(2, &[(0, 1, 10)], LinkMode::Persistent));
    let begun = run.driver.now();
    run.iamat(0, "a", 1);
    run.act(ServerVerb::Pause.on(ServerId(0)));
    run.settle();
    assert_eq!(replies(&run, begun), [0; 0]);
    run.pass(MILLISECOND * 50);
    run.act(ServerVerb::Resume.on(ServerId(0)));
    run.settle();
    assert_eq!((replies(&run, begun).len(), overdue(&run)), (1, vec![false]));
}

#[test]
fn a_stopped_server_answers_first_and_a_killed_one_never() {
    for (verb, replied) in [(ServerVerb::Stop, 1), (ServerVerb::Kill, 0)] {
        let mut run = Run::of(patient(2, &[(0, 1, 10)], LinkMode::Persistent));
        let begun = run.driver.now();
        run.iamat(0, "a", 1);
        run.act(verb.on(ServerId(0)));
        run.act(ServerVerb::Start.on(ServerId(0)));
        run.settle();
        assert_eq!((replies(&run, begun).len(), overdue(&run)), (replied, vec![true; replied]));
        run.iamat(0, "b", 1);
        run.settle();
        assert_eq!(overdue(&run)[replied..], [false]);
    }
}

#[test]
fn lines_that_are_dropped_or_doubled_make_no_later_reply_wait() {
    let way = Way { from: ServerId(0), to: ServerId(1) };
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        for verb in [WayVerb::Drop { nth: 1 }, WayVerb::Duplicate { nth: 1 }] {
            for reply in [ReplyMode::Neighbours, ReplyMode::Everywhere] {
                let mut run = Run::of(replying(reply, 2, &[(0, 1, 10)], mode));
                run.act(verb.on(way));
                for time in 1..5 {
                    run.iamat(0, "a", time);
                    run.settle();
                }
                assert_eq!(overdue(&run), [false; 4], "{mode:?} {verb:?} {reply:?}");
            }
        }
    }
}

/// Returns `true` if a server of the herd knows the client of a report, at least as new.
fn holds(driver: &SimulatedDriver, server: ServerId, report: &Report) -> bool {
    let is_as_new =
        |known: &Known| known.report.client() == report.client() && known.report.at().version_cmp(report.at()).is_ge();
    driver.records(server).iter().any(is_as_new)
}

fn reply_mode(everywhere: bool) -> ReplyMode {
    if everywhere { ReplyMode::Everywhere } else { ReplyMode::Neighbours }
}

fn link_mode(per_message: bool) -> LinkMode {
    if per_message { LinkMode::PerMessage } else { LinkMode::Persistent }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_client_that_has_its_reply_finds_the_update_where_it_was_promised(
        seed in any::<u64>(),
        per_message in any::<bool>(),
        everywhere in any::<bool>(),
    ) {
        let links = [(0, 1, 3), (1, 2, 0), (2, 3, 40), (0, 3, 7), (3, 4, 1), (4, 5, 20)];
        let topology = replying(reply_mode(everywhere), 6, &links, link_mode(per_message));
        let wiring = Wiring::of(&topology);
        let script = Script::random(&topology, &Mix { steps: 60, updates_percent: 100, ..Mix::default() }, seed);
        let mut driver = SimulatedDriver::new(Arc::new(topology), Settings::default(), no_places());
        drain(&mut driver, Wait::Quiescent(Timestamp::MAX), &mut |_, _| {});
        // Updates of a client that have not been acknowledged, and whether there have been two at once since there were none.
        let mut open: BTreeMap<String, (u32, bool)> = BTreeMap::new();
        let mut acknowledged = 0;
        let observe = |driver: &SimulatedDriver, observation: Observation| match observation.event {
            Event::Accepted { report, .. } => {
                let (count, were_two) = open.entry(report.client().to_owned()).or_default();
                *count += 1;
                *were_two |= *count > 1;
            }
            Event::Acknowledged { server, report, overdue, .. } => {
                let neighbours = wiring.neighbours(server).iter().map(|neighbour| neighbour.server);
                let promised: Vec<_> = if everywhere { (0..6).map(ServerId).collect() } else { neighbours.collect() };
                let (count, were_two) = open.get_mut(report.client()).expect("it was accepted");
                let is_kept = promised.iter().all(|&other| holds(driver, other, &report));
                assert!(!overdue && (is_kept || everywhere && *were_two), "{overdue} {is_kept} {report:?}");
                *count -= 1;
                *were_two &= *count > 0;
                acknowledged += 1;
            }
            _ => {}
        };
        script.play(&mut driver, Duration::from_secs(3600), observe).expect("the herd has all ways");
        prop_assert_eq!(acknowledged, 60);
    }

    #[test]
    fn any_script_comes_to_rest_and_answers_or_ends_every_session(
        seed in any::<u64>(),
        per_message in any::<bool>(),
        everywhere in any::<bool>(),
        strategy in 0..4_usize,
        is_brief in any::<bool>(),
        losses in proptest::collection::vec((0..60_usize, 0..8_usize, 0..4_u8), 0..6),
    ) {
        let links = [(0, 1, 3), (1, 2, 0), (2, 3, 40), (0, 3, 7)];
        let mut topology = replying(reply_mode(everywhere), 4, &links, link_mode(per_message));
        topology.strategy = Strategy::ALL[strategy];
        if is_brief {
            topology.limits.reply = MILLISECOND * 5;
        }
        let mut script = Script::random(&topology, &Mix { steps: 60, ..Mix::default() }, seed);
        let ways: Vec<_> = Wiring::of(&topology).ways().collect();
        for (place, way, kind) in losses {
            let verb = match kind {
                0 => WayVerb::Drop { nth: 1 },
                1 => WayVerb::Duplicate { nth: 1 },
                _ => WayVerb::Lose("50%".parse().expect("a share")),
            };
            let at = script.steps[place].at;
            script.steps.insert(place, Step { at, action: verb.on(ways[way]) });
        }
        let mut driver = SimulatedDriver::new(Arc::new(topology), Settings::default(), no_places());
        let mut seen = Vec::new();
        let observe = |_: &SimulatedDriver, observation: Observation| seen.push(observation.event);
        script.play(&mut driver, Duration::from_secs(3600), observe).expect("the herd has all ways");
        prop_assert!(driver.is_quiescent());
        assert_counts_are_right(&driver);
        let count = |is: fn(&Event) -> bool| seen.iter().filter(|event| is(event)).count();
        let accepted = count(|event| matches!(event, Event::Accepted { .. }));
        let acknowledged = count(|event| matches!(event, Event::Acknowledged { .. }));
        let replied = count(|event| matches!(event, Event::Replied { .. }));
        prop_assert!(acknowledged <= accepted);
        // The clients of the script only say where they are. What is accepted and not answered was cut off.
        prop_assert_eq!(acknowledged, replied);
    }
}
