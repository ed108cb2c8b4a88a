//! What every fault does to a herd on real sockets.

use std::time::Duration;

use herdsim::act::{Action, ServerVerb, SessionId, Share, WayVerb};
use herdsim::config::{Bandwidth, Delay, LinkMode, ServerId, Slowness, Strategy};
use herdsim::driver::Driver as _;
use herdsim::history::{Event, Observation};

use crate::support::*;

fn with_strategy(strategy: Strategy) -> herdsim::config::Topology {
    with(five_servers(), |topology| topology.strategy = strategy)
}

#[tokio::test]
async fn an_update_reaches_everybody_with_one_line_per_way_and_not_back() {
    for (strategy, lines) in [(Strategy::Flood, 8), (Strategy::FloodSync, 8), (Strategy::Direct, 4)] {
        let mut herd = Herd::start(with_strategy(strategy)).await;
        for (time, server) in (1..).zip(ALL) {
            let before = herd.lines();
            herd.say(server, &format!("IAMAT a +1+1 {time}")).await;
            assert_eq!(herd.lines() - before, lines, "{strategy}");
            assert_eq!(herd.holders("a", &time.to_string()), ALL);
        }
    }
}

#[tokio::test]
async fn per_message_links_carry_one_line_a_connection_and_as_many_lines() {
    let topology =
        with(five_servers(), |topology| topology.links.iter_mut().for_each(|link| link.mode = LinkMode::PerMessage));
    let mut herd = Herd::start(topology).await;
    herd.say(CLARK, KIWI).await;
    assert_eq!((herd.lines(), herd.holders("kiwi.cs.ucla.edu", "1621464827.959498503")), (8, ALL.into()));
    let hit = herd.apply(ServerVerb::Kill.on(BONA)).await;
    assert_eq!(hit.records_lost, 1);
    herd.say(CLARK, "IAMAT b +1+1 1").await;
    assert_eq!(herd.holders("b", "1"), [BAILEY, CAMPBELL, CLARK, JAQUEZ]);
}

#[tokio::test]
async fn a_restarted_server_catches_up_with_flood_sync_and_not_with_flood() {
    for (strategy, holders) in [(Strategy::FloodSync, &ALL[..]), (Strategy::Flood, &[BAILEY, BONA, CAMPBELL, JAQUEZ])] {
        let mut herd = Herd::start(with_strategy(strategy)).await;
        herd.say(CLARK, "IAMAT before +1+1 1").await;
        let hit = herd.apply(ServerVerb::Kill.on(CLARK)).await;
        assert!(hit.connections >= 4 && hit.records_lost == 1, "{hit:?}");
        herd.settle().await;
        herd.say(BAILEY, "IAMAT during +1+1 2").await;
        herd.apply(ServerVerb::Start.on(CLARK)).await;
        herd.settle().await;
        assert_eq!(herd.holders("during", "2"), holders, "{strategy}");
        assert_eq!(herd.holders("before", "1"), holders, "{strategy}");
    }
}

#[tokio::test]
async fn a_killed_server_resets_its_clients_and_a_stopped_one_answers_them_first() {
    use tokio::io::AsyncReadExt as _;

    let mut herd = Herd::start(five_servers()).await;
    let mut client = connect(herd.port(CLARK)).await;
    herd.ask(CLARK, b"\n").await;
    let port = herd.port(CLARK);
    herd.apply(ServerVerb::Kill.on(CLARK)).await;
    let error = client.read(&mut [0; 8]).await.expect_err("a killed server closes nothing in order");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());

    herd.send(JAQUEZ, "IAMAT last +1+1 1").await;
    herd.until(|event| matches!(event, Event::Accepted { .. })).await;
    herd.apply(ServerVerb::Stop.on(JAQUEZ)).await;
    herd.settle().await;
    assert_eq!(herd.holders("last", "1"), [BAILEY, BONA, CAMPBELL]);
    assert!(herd.seen.iter().any(|seen| matches!(seen.event, Event::Replied { .. })));
}

#[tokio::test]
async fn a_cut_way_loses_updates_and_a_healed_one_is_repaired() {
    let mut herd = Herd::start(with_strategy(Strategy::FloodSync)).await;
    for neighbour in [BONA, JAQUEZ] {
        let hit = herd.apply(WayVerb::Cut.on(way(neighbour, CLARK))).await;
        assert_eq!(hit.connections, 1);
    }
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    assert_eq!(herd.holders("a", "1"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    let missed = herd.seen.iter().filter(|seen| matches!(seen.event, Event::Missed { .. })).count();
    assert_eq!(missed, 2);
    // The other way is whole.
    herd.say(CLARK, "IAMAT b +1+1 1").await;
    assert_eq!(herd.holders("b", "1"), ALL);
    herd.apply(WayVerb::Heal.on(way(BONA, CLARK))).await;
    herd.settle().await;
    assert_eq!(herd.holders("a", "1"), ALL);
}

#[tokio::test]
async fn a_held_way_loses_nothing_and_keeps_the_order() {
    let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
    for neighbour in [BONA, JAQUEZ] {
        herd.apply(WayVerb::Hold.on(way(neighbour, CLARK))).await;
    }
    for time in 1..=3 {
        herd.say(BAILEY, &format!("IAMAT a +1+1 {time}")).await;
    }
    assert_eq!(herd.holders("a", "3"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    let hit = herd.apply(WayVerb::Release.on(way(BONA, CLARK))).await;
    assert_eq!(hit.lines_released, 3);
    herd.settle().await;
    assert_eq!(herd.holders("a", "3"), ALL);
    let heard = herd.seen.iter().filter_map(|seen| match &seen.event {
        Event::Heard { server: CLARK, report, newer: true, .. } => Some(report.at().stated_time().to_owned()),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_paused_server_handles_nothing_and_then_everything() {
    let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
    herd.apply(ServerVerb::Pause.on(CLARK)).await;
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    herd.send(CLARK, "IAMAT b +1+1 1").await;
    herd.settle().await;
    assert_eq!(herd.holders("a", "1"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    assert_eq!(herd.holders("b", "1"), []);
    herd.apply(ServerVerb::Resume.on(CLARK)).await;
    herd.settle().await;
    assert_eq!((herd.holders("a", "1"), herd.holders("b", "1")), (ALL.into(), ALL.into()));
}

#[tokio::test]
async fn a_slow_way_delays_its_lines() {
    let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
    let delay = Delay { latency: Duration::from_millis(50), jitter: Duration::ZERO, ..Delay::default() };
    for neighbour in [BONA, JAQUEZ] {
        herd.apply(WayVerb::Slow(Slowness { delay, rate: None }).on(way(neighbour, CLARK))).await;
    }
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    let at = |wanted: &dyn Fn(&Event) -> bool| herd.seen.iter().find(|seen| wanted(&seen.event)).expect("seen").at;
    let sent = at(&|event| matches!(event, Event::Sent { way: w, .. } if w.to == CLARK));
    let heard = at(&|event| matches!(event, Event::Heard { server: CLARK, .. }));
    assert!(heard.since(sent) >= Duration::from_millis(50));
}

/// Compares the two directions of the only link with each other, not with a time.
#[tokio::test]
async fn a_link_is_slow_in_one_direction_and_fast_in_the_other() {
    let topology = with(with_strategy(Strategy::Flood), |topology| {
        topology.links.retain(|link| link.ends == [CLARK, BONA]);
        topology.links[0].delays[1].latency = Duration::from_millis(400);
    });
    let mut herd = Herd::start(topology).await;
    let mut times = Vec::new();
    for (from, to) in [(CLARK, BONA), (BONA, CLARK)] {
        herd.say(from, &format!("IAMAT from-{from:?} +1+1 1")).await;
        let at = |wanted: &dyn Fn(&Event) -> bool| herd.seen.iter().find(|seen| wanted(&seen.event)).expect("seen").at;
        let sent = at(&|event| matches!(event, Event::Sent { way: by, .. } if *by == way(from, to)));
        let heard = at(&|event| matches!(event, Event::Heard { server, .. } if *server == to));
        times.push(heard.since(sent));
    }
    assert!(2 * times[0] < times[1], "{times:?}");
}

/// Lower bounds only: real lines may be late, but never early.
#[tokio::test]
async fn a_bandwidth_is_not_exceeded_whether_it_is_the_links_or_a_fault() {
    let thin = Bandwidth::from_bytes_a_second(20_000).expect("it is within the range");
    let delay = Delay { bandwidth: Some(thin), ..Delay::default() };
    for (mode, is_fault) in [(LinkMode::Persistent, false), (LinkMode::Persistent, true), (LinkMode::PerMessage, false)]
    {
        let topology = with(with_strategy(Strategy::Flood), |topology| {
            topology.links.iter_mut().filter(|link| link.ends.contains(&CLARK)).for_each(|link| {
                link.mode = mode;
                link.delays = [if is_fault { Delay::default() } else { delay }; 2];
            });
        });
        let mut herd = Herd::start(topology).await;
        for neighbour in [BONA, JAQUEZ].into_iter().filter(|_| is_fault) {
            herd.apply(WayVerb::Slow(Slowness { delay, rate: None }).on(way(neighbour, CLARK))).await;
        }
        for client in 0..20 {
            herd.send(BAILEY, &format!("IAMAT client-{client} +1+1 1")).await;
        }
        herd.settle().await;
        for neighbour in [BONA, JAQUEZ] {
            let is_sent = |event: &Event| matches!(event, Event::Sent { way: w, .. } if *w == way(neighbour, CLARK));
            let mut out = herd.seen.iter().find(|seen| is_sent(&seen.event)).expect("lines were sent").at;
            let mut lines = 0;
            for seen in &herd.seen {
                let Event::Heard { server: CLARK, from: Some(hop), report, .. } = &seen.event else { continue };
                if hop.server == neighbour {
                    out = out + thin.time_of(report.written_len());
                    lines += 1;
                    assert!(seen.at >= out, "line {lines} is early: {mode:?}, fault: {is_fault}");
                }
            }
            assert_eq!(lines, 20, "{mode:?}, fault: {is_fault}");
        }
    }
}

#[tokio::test]
async fn a_half_open_way_swallows_lines_until_it_is_healed() {
    let mut herd = Herd::start(with_strategy(Strategy::FloodSync)).await;
    for neighbour in [BONA, JAQUEZ] {
        herd.apply(WayVerb::HalfOpen.on(way(neighbour, CLARK))).await;
    }
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    assert_eq!(herd.holders("a", "1"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    assert_eq!(herd.seen.iter().filter(|seen| matches!(seen.event, Event::LinkLost { .. })).count(), 0);
    let hit = herd.apply(WayVerb::Heal.on(way(JAQUEZ, CLARK))).await;
    assert_eq!(hit.connections, 1);
    herd.settle().await;
    assert_eq!(herd.holders("a", "1"), ALL);
}

#[tokio::test]
async fn a_reset_comes_after_as_many_lines_as_asked_and_the_link_comes_back() {
    let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
    herd.apply(WayVerb::Reset { after: 2 }.on(way(BONA, CLARK))).await;
    for time in 1..=3 {
        herd.say(BAILEY, &format!("IAMAT a +1+1 {time}")).await;
        let resets = herd.seen.iter().filter(|seen| matches!(seen.event, Event::LinkLost { .. })).count();
        assert_eq!(resets, usize::from(time >= 2));
    }
    assert_eq!(herd.holders("a", "3"), ALL);
    assert_eq!(herd.apply(WayVerb::Reset { after: 0 }.on(way(BONA, CLARK))).await.connections, 1);
}

#[tokio::test]
async fn single_lines_can_be_dropped_and_doubled() {
    let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
    herd.apply(WayVerb::Cut.on(way(JAQUEZ, CLARK))).await;
    herd.apply(WayVerb::Drop { nth: 1 }.on(way(BONA, CLARK))).await;
    herd.apply(WayVerb::Duplicate { nth: 2 }.on(way(BONA, CLARK))).await;
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    assert_eq!(herd.holders("a", "1"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    herd.say(BAILEY, "IAMAT a +1+1 2").await;
    let heard = herd.seen.iter().filter(|seen| matches!(seen.event, Event::Heard { server: CLARK, .. })).count();
    assert_eq!((heard, herd.holders("a", "2")), (2, ALL.into()));
}

#[tokio::test]
async fn what_vanishes_is_told_and_comes_back_with_the_next_replay() {
    let mut herd = Herd::start(with_strategy(Strategy::FloodSync)).await;
    for from in [BONA, JAQUEZ] {
        herd.apply(WayVerb::Lose(Share::ALL).on(way(from, CLARK))).await;
    }
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    assert_eq!(herd.holders("a", "1"), [BAILEY, BONA, CAMPBELL, JAQUEZ]);
    let vanished = herd.seen.iter().filter(|seen| matches!(seen.event, Event::Vanished { way, .. } if way.to == CLARK));
    assert_eq!(vanished.count(), 2);
    herd.apply(WayVerb::Heal.on(way(BONA, CLARK))).await;
    herd.apply(WayVerb::Reset { after: 0 }.on(way(BONA, CLARK))).await;
    herd.settle().await;
    assert_eq!(herd.holders("a", "1"), ALL);
}

#[tokio::test]
async fn a_clock_that_is_ahead_shows_in_the_skew() {
    let mut herd = Herd::start(five_servers()).await;
    let skew = async |herd: &Herd| -> f64 {
        let reply = herd.ask(CLARK, b"IAMAT a +1+1 0\n").await;
        reply.split(' ').nth(2).expect("a skew").parse().expect("a number")
    };
    let before = skew(&herd).await;
    herd.apply(ServerVerb::Clock(3_600_000_000_000).on(CLARK)).await;
    let after = skew(&herd).await;
    assert!((3600.0..3660.0).contains(&(after - before)), "{before} {after}");
}

#[tokio::test]
async fn four_pairs_of_dead_servers_in_the_ten_do_not_split_more_than_the_graph_says() {
    let pairs = ALL.iter().flat_map(|&a| ALL.iter().filter(move |&&b| a < b).map(move |&b| [a, b]));
    let mut agreeing = 0;
    for dead in pairs {
        let mut herd = Herd::start(with_strategy(Strategy::Flood)).await;
        for server in dead {
            herd.apply(ServerVerb::Kill.on(server)).await;
        }
        herd.settle().await;
        let alive: Vec<ServerId> = ALL.into_iter().filter(|server| !dead.contains(server)).collect();
        herd.say(alive[0], "IAMAT a +1+1 1").await;
        agreeing += usize::from(herd.holders("a", "1") == alive);
    }
    assert_eq!(agreeing, 7);
}

#[tokio::test]
async fn a_neighbour_that_did_not_read_for_long_gets_everything_once_it_does() {
    let mut herd = Herd::start(five_servers()).await;
    herd.apply(ServerVerb::Pause.on(BONA)).await;
    // Far more than the sockets between two servers hold, in lines that are written one by one.
    for number in 0..400 {
        let client = format!("{number}-{}", "x".repeat(40_000));
        herd.send(BAILEY, &format!("IAMAT {client} +1+1 1")).await;
        herd.until(|event| matches!(event, Event::Heard { server: CAMPBELL, .. })).await;
    }
    herd.apply(ServerVerb::Resume.on(BONA)).await;
    herd.settle().await;
    assert_eq!(herd.driver.records(BONA).len(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_servers_hear_an_update_over_exactly_as_many_lines_as_flooding_costs() {
    let text = "[generate]\nshape = 'random-regular'\nn = 1000\ndegree = 4\n";
    let topology = herdsim::config::parse("thousand", text).expect("it is valid").topology;
    let mut herd = Herd::start(topology).await;
    for (time, server) in [(1, 0), (2, 500)] {
        let before = herd.lines();
        herd.say(ServerId(server), &format!("IAMAT a +1+1 {time}")).await;
        assert_eq!(herd.lines() - before, 2 * 2000 - 1000 + 1);
        assert_eq!(herd.holders("a", &time.to_string()).len(), 1000);
    }
}

#[tokio::test]
async fn a_herd_is_at_rest_only_when_its_clients_know_that_their_connections_have_ended() {
    let lost = |herd: &Herd| herd.seen.iter().filter(|seen| matches!(seen.event, Event::SessionLost { .. })).count();
    let mut herd = Herd::start(five_servers()).await;
    let open = |session| Action::Send {
        session: SessionId(session),
        server: BONA,
        bytes: format!("{KIWI}\n").into(),
        finish: session == 1001,
    };
    herd.apply(open(1000)).await;
    herd.settle().await;
    assert_eq!(lost(&herd), 0);
    herd.apply(open(1001)).await;
    herd.settle().await;
    assert_eq!(lost(&herd), 1, "what a client has ended");
    herd.apply(ServerVerb::Kill.on(BONA)).await;
    herd.settle().await;
    assert_eq!(lost(&herd), 2, "what a server has ended");
}

#[tokio::test]
async fn a_way_that_is_to_be_reset_after_a_line_is_even_when_the_line_is_lost() {
    let mut herd = Herd::start(five_servers()).await;
    let way = way(CLARK, JAQUEZ);
    herd.apply(WayVerb::HalfOpen.on(way)).await;
    herd.apply(WayVerb::Reset { after: 1 }.on(way)).await;
    herd.say(CLARK, KIWI).await;
    assert!(herd.seen.iter().any(|seen| matches!(seen.event, Event::LinkLost { way: lost, .. } if lost == way)));
}

/// A way holds fewer lines than this; the others stay with its server.
#[tokio::test]
async fn more_lines_than_a_way_holds_all_go_on_once_it_is_released() {
    let mut herd = Herd::start(five_servers()).await;
    // The other way to there.
    herd.apply(WayVerb::Cut.on(way(CAMPBELL, JAQUEZ))).await;
    herd.apply(WayVerb::Hold.on(way(CLARK, JAQUEZ))).await;
    let bytes: String = (0..6000).map(|client| format!("IAMAT c{client} +1+1 1\n")).collect();
    herd.apply(Action::Send { session: SessionId(1000), server: CLARK, bytes: bytes.into(), finish: true }).await;
    herd.settle().await;
    assert_eq!(herd.driver.records(JAQUEZ).len(), 0);
    // Frozen while it is released: nothing of it may be forgotten.
    herd.apply(ServerVerb::Pause.on(CLARK)).await;
    herd.apply(WayVerb::Release.on(way(CLARK, JAQUEZ))).await;
    herd.settle().await;
    herd.apply(ServerVerb::Resume.on(CLARK)).await;
    herd.settle().await;
    assert_eq!(herd.driver.records(JAQUEZ).len(), 6000);
}

#[tokio::test]
async fn who_left_before_a_paused_server_accepted_him_is_not_taken_for_somebody_else() {
    let mut herd = Herd::start(five_servers()).await;
    herd.apply(ServerVerb::Pause.on(BONA)).await;
    let send = |session, client| Action::Send {
        session: SessionId(session),
        server: BONA,
        bytes: format!("IAMAT {client} +1+1 1\n").into(),
        finish: false,
    };
    for session in 1000..1100 {
        herd.apply(send(session, "left")).await;
        herd.apply(send(session + 1000, "stays")).await;
    }
    // All are connected: those who have the room have written.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
    for session in 1000..1100 {
        herd.apply(Action::Close(SessionId(session))).await;
    }
    herd.apply(ServerVerb::Resume.on(BONA)).await;
    herd.settle().await;
    let replied = |herd: &Herd| herd.seen.iter().filter(|seen| matches!(seen.event, Event::Replied { .. })).count();
    assert_eq!((replied(&herd), herd.holders("stays", "1"), herd.holders("left", "1")), (100, ALL.into(), vec![]));
}

fn send(session: u32, server: ServerId, bytes: &str, finish: bool) -> Action {
    Action::Send { session: SessionId(session), server, bytes: bytes.to_owned().into(), finish }
}

/// Commands that stay unanswered, for every end of this session.
fn unanswered(herd: &Herd, of: u32) -> Vec<u64> {
    let lost = |seen: &Observation| match seen.event {
        Event::SessionLost { session, unanswered } if session == SessionId(of) => Some(unanswered),
        _ => None,
    };
    herd.seen.iter().filter_map(lost).collect()
}

#[tokio::test]
async fn a_session_that_is_over_reaches_no_server_any_more() {
    let mut herd = Herd::start(five_servers()).await;
    herd.apply(send(1000, CLARK, "IAMAT a +1+1 1\n", false)).await;
    herd.settle().await;
    assert!(herd.driver.is_open(SessionId(1000)) && !herd.driver.is_open(SessionId(1001)));
    herd.apply(ServerVerb::Restart.on(CLARK)).await;
    assert!(!herd.driver.is_open(SessionId(1000)), "it ends with the life of its server");
    herd.apply(send(1000, CLARK, "IAMAT b +1+1 1\n\nWHATSAT b 1 1\nIAMAT", false)).await;
    herd.settle().await;
    let mut lost = unanswered(&herd, 1000);
    lost.sort_unstable();
    assert_eq!((lost, herd.holders("b", "1")), (vec![0, 3], vec![]));
    assert_eq!(herd.apply(Action::Close(SessionId(1000))).await.connections, 0);
    herd.apply(send(1001, CLARK, "IAMAT b +1+1 1\n", false)).await;
    herd.settle().await;
    assert_eq!(herd.holders("b", "1"), ALL, "another session reaches it");
}

#[tokio::test]
async fn a_session_whose_dial_was_refused_is_over() {
    let mut herd = Herd::start(five_servers()).await;
    herd.apply(ServerVerb::Kill.on(CLARK)).await;
    herd.apply(send(1000, CLARK, "IAMAT a +1+1 1\n", false)).await;
    herd.settle().await;
    herd.apply(ServerVerb::Start.on(CLARK)).await;
    herd.apply(send(1000, CLARK, "IAMAT a +1+1 1\n", false)).await;
    herd.settle().await;
    assert_eq!((unanswered(&herd, 1000), herd.holders("a", "1")), (vec![1, 1], vec![]));
}

#[tokio::test]
async fn a_session_is_one_clients_connection_to_one_server_until_the_client_ends_it() {
    let mut herd = Herd::start(five_servers()).await;
    let closed = |session| format!("the client of session {session} has closed it for writing");
    for (action, expected) in [
        (send(1000, CLARK, "", false), Ok(0)),
        (send(1000, BONA, "", false), Err("session 1000 is a connection to Clark".to_owned())),
        (send(1000, CLARK, "", true), Ok(0)),
        (send(1000, CLARK, "", false), Err(closed(1000))),
        (send(1001, CLARK, "", false), Ok(0)),
        (Action::Close(SessionId(1001)), Ok(1)),
        (send(1001, CLARK, "", false), Err(closed(1001))),
    ] {
        let done = herd.driver.apply(action.clone()).await;
        assert_eq!(done.map(|hit| hit.connections).map_err(|error| error.to_string()), expected, "{action:?}");
    }
}

#[tokio::test]
async fn a_dial_takes_the_latency_of_both_directions_and_is_heard_over_no_silent_way() {
    let (there, back) = (Duration::from_millis(30), Duration::from_millis(50));
    let topology = with(five_servers(), |topology| {
        for link in &mut topology.links {
            (link.delays[0].latency, link.delays[1].latency) = (there, back);
        }
    });
    let mut herd = Herd::start(topology).await;
    let begun = herd.driver.now();
    let to_bona = way(CLARK, BONA);
    herd.apply(WayVerb::Reset { after: 0 }.on(to_bona)).await;
    herd.settle().await;
    let is_up = |event: &Event| matches!(event, Event::LinkUp { way, .. } if *way == to_bona);
    let up = herd.seen.iter().rfind(|seen| is_up(&seen.event)).expect("the way comes up again");
    assert!(up.at.since(begun) >= there + back);
    // The connection that is there swallows, and no other comes up before the way is healed.
    herd.apply(WayVerb::HalfOpen.on(to_bona)).await;
    herd.apply(WayVerb::Reset { after: 0 }.on(to_bona)).await;
    herd.settle().await;
    let ups = |herd: &Herd| herd.seen.iter().filter(|seen| is_up(&seen.event)).count();
    let before = ups(&herd);
    herd.say(BONA, "IAMAT kiwi +1+1 1").await;
    assert_eq!(ups(&herd), before);
    herd.apply(WayVerb::Heal.on(to_bona)).await;
    herd.settle().await;
    assert_eq!(ups(&herd), before + 1);
}

#[tokio::test]
async fn a_reset_behind_a_line_lets_that_line_arrive() {
    for after in 1..3 {
        let mut herd = Herd::start(five_servers()).await;
        for server in [JAQUEZ, CAMPBELL, BAILEY] {
            // Bona hears of Clark by nobody else.
            herd.apply(ServerVerb::Kill.on(server)).await;
        }
        herd.apply(WayVerb::Reset { after }.on(way(CLARK, BONA))).await;
        let begun = herd.seen.len();
        for time in 1..=after {
            herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
        }
        let lost = herd.seen[begun..].iter().filter_map(|seen| match seen.event {
            Event::LinkLost { way: lost, lines_lost, .. } if lost == way(CLARK, BONA) => Some(lines_lost),
            _ => None,
        });
        assert_eq!((lost.collect::<Vec<_>>(), herd.holders("kiwi", &after.to_string()).len()), (vec![0], 2));
    }
}

#[tokio::test]
async fn what_a_way_holds_is_lost_when_its_server_stops() {
    let mut herd = Herd::start(five_servers()).await;
    herd.apply(WayVerb::Hold.on(way(CLARK, BONA))).await;
    herd.say(CLARK, "IAMAT kiwi +1+1 1").await;
    herd.apply(ServerVerb::Stop.on(CLARK)).await;
    herd.settle().await;
    let is_told =
        |event: &Event| matches!(event, Event::LinkLost { way: lost, lines_lost: 1, .. } if *lost == way(CLARK, BONA));
    assert!(herd.seen.iter().any(|seen| is_told(&seen.event)));
}

/// A herd with an update in flight from Jaquez to Clark, which takes half a minute.
async fn with_a_line_in_flight(mode: LinkMode) -> Herd {
    let topology = with(five_servers(), |herd| {
        herd.links.iter_mut().for_each(|link| link.mode = mode);
        // A line with a connection of its own dials first, which takes the latency, too.
        herd.redial.timeout = PATIENCE;
    });
    let mut herd = Herd::start(topology).await;
    let delay = Delay { latency: Duration::from_secs(3), ..Delay::default() };
    herd.apply(WayVerb::Slow(Slowness { delay, rate: None }).on(way(JAQUEZ, CLARK))).await;
    herd.apply(WayVerb::Cut.on(way(JAQUEZ, CAMPBELL))).await;
    herd.send(JAQUEZ, "IAMAT kiwi +1+1 1").await;
    herd.until(|event| matches!(event, Event::Sent { .. })).await;
    herd
}

/// A stop that waited for the line would lose it at its limit of 2 s.
#[tokio::test]
async fn a_stop_does_not_wait_for_lines_in_flight_which_are_lost_with_their_reader_or_their_way() {
    let kill = ServerVerb::Kill.on(CLARK);
    for (mode, end) in [
        (LinkMode::Persistent, kill.clone()),
        (LinkMode::PerMessage, kill),
        (LinkMode::Persistent, WayVerb::Cut.on(way(JAQUEZ, CLARK))),
        (LinkMode::PerMessage, WayVerb::Cut.on(way(JAQUEZ, CLARK))),
    ] {
        let mut herd = with_a_line_in_flight(mode).await;
        let hit = herd.apply(ServerVerb::Stop.on(JAQUEZ)).await;
        assert_eq!((hit.lines_lost, hit.records_lost), (0, 1), "{mode:?}");
        assert!(!herd.driver.is_quiescent(), "the line is still in flight");
        assert_eq!(herd.apply(end.clone()).await.lines_lost, 1, "{mode:?}, {end:?}");
        herd.settle().await;
    }
}

#[tokio::test]
async fn a_line_in_flight_arrives_though_its_server_has_stopped() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        let delay = Delay { latency: Duration::from_millis(20), ..Delay::default() };
        let mut herd = Herd::start(with(five_servers(), |herd| {
            herd.links.iter_mut().for_each(|link| (link.mode, link.delays) = (mode, [delay; 2]));
        }))
        .await;
        herd.send(JAQUEZ, "IAMAT kiwi +1+1 1").await;
        herd.until(|event| matches!(event, Event::Sent { .. })).await;
        assert_eq!(herd.apply(ServerVerb::Stop.on(JAQUEZ)).await.lines_lost, 0);
        herd.settle().await;
        assert_eq!(herd.holders("kiwi", "1"), [BAILEY, BONA, CAMPBELL, CLARK], "{mode:?}");
    }
}
