//! Replies that wait until other servers have the update, on real sockets.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use herdsim::act::{Action, ServerVerb, SessionId, WayVerb};
use herdsim::config::{LinkMode, ReplyMode, ServerId, Topology};
use herdsim::history::{Event, Observation};

use crate::command::{Place, SERVERS};
use crate::support::*;

/// Replies wait for neighbours, and not for long.
fn patient(mode: LinkMode) -> Topology {
    with(steadfast(mode, ReplyMode::Neighbours), |topology| topology.limits.reply = Duration::from_millis(50))
}

/// Replies wait, and a limit that is reached would be a failure of its own.
fn steadfast(mode: LinkMode, reply: ReplyMode) -> Topology {
    with(five_servers(), |topology| {
        topology.reply = Some(reply);
        topology.limits.reply = Duration::from_secs(20);
        topology.links.iter_mut().for_each(|link| link.mode = mode);
    })
}

/// How the replies since an observation were let go, and how many there were.
fn replies(seen: &[Observation]) -> (Vec<bool>, usize) {
    let acknowledged = seen.iter().filter_map(|seen| match seen.event {
        Event::Acknowledged { overdue, .. } => Some(overdue),
        _ => None,
    });
    (acknowledged.collect(), seen.iter().filter(|seen| matches!(seen.event, Event::Replied { .. })).count())
}

const MODES: [LinkMode; 2] = [LinkMode::Persistent, LinkMode::PerMessage];

/// The settings with which replies wait.
const WAITING: [ReplyMode; 2] = [ReplyMode::Neighbours, ReplyMode::Everywhere];

#[tokio::test]
async fn eight_clients_that_ask_elsewhere_after_each_reply_find_every_update_there() {
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        let herd = Herd::start(steadfast(mode, reply)).await;
        let others = if reply == ReplyMode::Everywhere { &[BONA, CAMPBELL, BAILEY, JAQUEZ][..] } else { &[BONA] };
        let (clark, others) = (herd.port(CLARK), others.iter().map(|&other| herd.port(other)).collect::<Vec<_>>());
        let client = |number: usize| {
            let others = others.clone();
            async move {
                for time in 1..10 {
                    let name = format!("c{number}.{time}");
                    ask(clark, format!("IAMAT {name} +34.068930-118.445127 {time}\n").as_bytes()).await;
                    let other = others[time % others.len()];
                    let found = ask(other, format!("WHATSAT {name} 10 0\n").as_bytes()).await;
                    assert!(found.starts_with("AT Clark"), "{mode:?} {reply:?} {name}: {found}");
                }
            }
        };
        let clients: Vec<_> = (0..8).map(|number| tokio::spawn(client(number))).collect();
        for client in clients {
            client.await.expect("it finds everything");
        }
    }
}

/// In a ring the end of a line's connection waits for lines that other ways have not taken, and those for others.
#[tokio::test]
async fn however_many_lines_wait_for_each_other_in_a_ring_no_reply_is_late() {
    let ring = [BAILEY, BONA, CAMPBELL];
    let topology = with(steadfast(LinkMode::PerMessage, ReplyMode::Everywhere), |topology| {
        topology.links.retain(|link| link.ends.iter().all(|end| ring.contains(end)));
    });
    let mut herd = Herd::start(topology).await;
    for server in ring {
        let lines = (0..100).map(|number| format!("IAMAT c{}.{number} +1+1 1\n", server.index()));
        herd.send(server, lines.collect::<String>().trim_end()).await;
    }
    herd.settle().await;
    let (overdue, replied) = replies(&herd.seen);
    assert_eq!((overdue.iter().filter(|&&late| late).count(), replied), (0, 300));
}

/// As in a grader's run: eight clients of five processes.
#[test]
fn separate_processes_acknowledge_lines_to_each_other() {
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        let place = Place::new();
        let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
        let mode_name = if mode == LinkMode::Persistent { "persistent" } else { "per-message" };
        let keys = format!("reply = \"{}\"\nmode = \"{mode_name}\"\nlimits = {{ reply = \"20s\" }}\n", reply.name());
        place.write("herd.toml", &format!("{keys}{herd}"));
        let _nodes = place.processes();
        let status = |place: &Place, name: &str| {
            place.json(&format!("--herd herd.{name} ps --format json"))["servers"][0].clone()
        };
        let links_up = |place: &Place| SERVERS.map(|name| status(place, name)["links_up"].clone());
        place.until(links_up, &[2, 3, 3, 2, 2].map(Into::into));
        let port = |name: &str| status(&place, name)["port"].as_u64().unwrap() as u16;
        let (clark, others) = match reply {
            ReplyMode::Everywhere => (port("Clark"), ["Bona", "Campbell", "Bailey", "Jaquez"].map(port).to_vec()),
            _ => (port("Clark"), vec![port("Bona")]),
        };
        std::thread::scope(|scope| {
            for number in 0..8 {
                let others = &others;
                scope.spawn(move || {
                    for time in 1..6 {
                        let name = format!("c{number}.{time}");
                        ask_there(clark, &format!("IAMAT {name} +34.068930-118.445127 {time}\n"));
                        let found = ask_there(others[time % others.len()], &format!("WHATSAT {name} 10 0\n"));
                        assert!(found.starts_with("AT Clark"), "{mode:?} {reply:?} {name}: {found}");
                    }
                });
            }
        });
    }
}

/// One connection: writes, closes its writing side, reads to the end.
fn ask_there(port: u16, text: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.write_all(text.as_bytes()).expect("it is taken");
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[tokio::test]
async fn a_reply_waits_for_a_neighbour_that_takes_nothing_until_the_limit() {
    let ways = [way(CLARK, BONA), way(CLARK, JAQUEZ)];
    let breaks: [(&[_], &[_]); 3] = [
        (&[ServerVerb::Pause.on(BONA)], &[ServerVerb::Resume.on(BONA)]),
        (&[WayVerb::Hold.on(ways[0])], &[WayVerb::Release.on(ways[0])]),
        (&ways.map(|way| WayVerb::HalfOpen.on(way)), &ways.map(|way| WayVerb::Heal.on(way))),
    ];
    for (broken, mended) in breaks {
        let mut herd = Herd::start(patient(LinkMode::Persistent)).await;
        for action in broken {
            herd.apply(action.clone()).await;
        }
        let begun = herd.seen.len();
        herd.say(CLARK, "IAMAT late +1+1 1").await;
        assert_eq!(replies(&herd.seen[begun..]), (vec![true], 1), "{broken:?}");
        for action in mended {
            herd.apply(action.clone()).await;
        }
        herd.settle().await;
        let begun = herd.seen.len();
        herd.say(CLARK, "IAMAT soon +1+1 1").await;
        assert_eq!(replies(&herd.seen[begun..]), (vec![false], 1), "{broken:?}");
        assert_eq!((herd.holders("late", "1"), herd.holders("soon", "1")), (ALL.into(), ALL.into()), "{broken:?}");
    }
}

#[tokio::test]
async fn a_reply_waits_no_longer_for_a_neighbour_whose_way_is_severed() {
    let to_bona = way(CLARK, BONA);
    let cases = [
        (WayVerb::Hold.on(to_bona), WayVerb::Cut.on(to_bona)),
        (ServerVerb::Pause.on(BONA), WayVerb::Cut.on(to_bona)),
        (WayVerb::HalfOpen.on(to_bona), WayVerb::Heal.on(to_bona)),
        (WayVerb::Hold.on(to_bona), ServerVerb::Kill.on(BONA)),
        (ServerVerb::Pause.on(BONA), ServerVerb::Kill.on(BONA)),
    ];
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        for (broken, severed) in &cases {
            if (reply, broken, severed) == (ReplyMode::Everywhere, &cases[1].0, &cases[1].1) {
                // Campbell still waits for Bona.
                continue;
            }
            if mode == LinkMode::PerMessage && broken == &WayVerb::Hold.on(to_bona) {
                // The line has no connection that could be severed: it waits with Clark until the release.
                continue;
            }
            let topology = steadfast(mode, reply);
            let mut herd = Herd::start(topology).await;
            herd.apply(broken.clone()).await;
            herd.send(CLARK, "IAMAT kiwi +1+1 1").await;
            herd.until(|event| matches!(event, Event::Accepted { .. })).await;
            herd.apply(severed.clone()).await;
            herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
            assert_eq!(replies(&herd.seen).0, [false], "{mode:?} {reply:?} {broken:?} {severed:?}");
        }
    }
}

#[tokio::test]
async fn a_server_behind_a_neighbour_is_waited_for_until_it_cannot_be_reached_or_the_limit() {
    let ways = [way(BONA, BAILEY), way(CAMPBELL, BAILEY)];
    let cases: [(Vec<_>, Vec<_>); 4] = [
        (vec![ServerVerb::Pause.on(BAILEY)], vec![ServerVerb::Kill.on(BAILEY)]),
        (ways.map(|way| WayVerb::Hold.on(way)).into(), ways.map(|way| WayVerb::Cut.on(way)).into()),
        (ways.map(|way| WayVerb::HalfOpen.on(way)).into(), ways.map(|way| WayVerb::Heal.on(way)).into()),
        (vec![ServerVerb::Pause.on(BAILEY)], [BONA, CAMPBELL].map(|server| ServerVerb::Kill.on(server)).into()),
    ];
    for mode in MODES {
        for (broken, ended) in &cases {
            if mode == LinkMode::PerMessage && broken.contains(&WayVerb::Hold.on(ways[0])) {
                // The lines have no connections that could be severed: they wait with their senders until the release.
                continue;
            }
            let mut herd = Herd::start(steadfast(mode, ReplyMode::Everywhere)).await;
            for action in broken {
                herd.apply(action.clone()).await;
            }
            herd.send(CLARK, "IAMAT kiwi +1+1 1").await;
            herd.until(|event| matches!(event, Event::Accepted { .. })).await;
            // The others have it, and Bailey has not.
            while herd.holders("kiwi", "1") != [BONA, CAMPBELL, CLARK, JAQUEZ] {
                tokio::task::yield_now().await;
            }
            assert_eq!(replies(&herd.seen).0, [false; 0], "{mode:?} {broken:?}");
            for action in ended {
                herd.apply(action.clone()).await;
            }
            herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
            assert_eq!(replies(&herd.seen).0, [false], "{mode:?} {broken:?} {ended:?}");
        }
        let topology = with(steadfast(mode, ReplyMode::Everywhere), |topology| {
            topology.limits.reply = Duration::from_millis(50);
        });
        let mut herd = Herd::start(topology).await;
        herd.apply(ServerVerb::Pause.on(BAILEY)).await;
        herd.say(CLARK, "IAMAT kiwi +1+1 1").await;
        assert_eq!(replies(&herd.seen), (vec![true], 1), "{mode:?}");
    }
}

#[tokio::test]
async fn a_reply_waits_for_no_neighbour_that_is_down() {
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        let topology = steadfast(mode, reply);
        let mut herd = Herd::start(topology).await;
        herd.apply(ServerVerb::Kill.on(BONA)).await;
        herd.settle().await;
        for time in 1..20 {
            herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
        }
        let (overdue, replied) = replies(&herd.seen);
        assert_eq!((overdue, replied), (vec![false; 19], 19), "{mode:?} {reply:?}");
    }
}

#[tokio::test]
async fn a_paused_server_lets_its_replies_go_when_it_goes_on_and_a_stopped_one_at_once() {
    for (verb, late) in [(ServerVerb::Pause, false), (ServerVerb::Stop, true)] {
        let topology = steadfast(LinkMode::Persistent, ReplyMode::Neighbours);
        let mut herd = Herd::start(topology).await;
        // Nobody takes anything.
        for server in [BONA, JAQUEZ] {
            herd.apply(ServerVerb::Pause.on(server)).await;
        }
        herd.send(CLARK, "IAMAT kiwi +1+1 1").await;
        herd.until(|event| matches!(event, Event::Accepted { .. })).await;
        herd.apply(verb.on(CLARK)).await;
        for server in [BONA, JAQUEZ, CLARK] {
            herd.apply(ServerVerb::Resume.on(server)).await;
        }
        herd.settle().await;
        assert_eq!(replies(&herd.seen), (vec![late], 1), "{verb:?}");
    }
}

/// The links write when all has been read that came to a frozen server, and its clients wait for the links.
#[tokio::test]
async fn a_server_that_goes_on_does_not_wait_for_commands_of_clients_whose_replies_wait() {
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        let mut herd = Herd::start(steadfast(mode, reply)).await;
        herd.apply(ServerVerb::Pause.on(CLARK)).await;
        for (number, session) in [1000, 1001, 1000, 1001, 1000].map(SessionId).into_iter().enumerate() {
            let bytes = format!("IAMAT c{number} +1+1 1\n").into();
            herd.apply(Action::Send { session, server: CLARK, bytes, finish: false }).await;
        }
        herd.apply(ServerVerb::Resume.on(CLARK)).await;
        herd.settle().await;
        assert_eq!(replies(&herd.seen), (vec![false; 5], 5), "{mode:?} {reply:?}");
    }
}

#[tokio::test]
async fn lines_that_are_dropped_or_doubled_make_no_later_reply_wait() {
    for (mode, reply) in MODES.into_iter().flat_map(|mode| WAITING.map(|reply| (mode, reply))) {
        for verb in [WayVerb::Drop { nth: 1 }, WayVerb::Duplicate { nth: 1 }] {
            let topology = steadfast(mode, reply);
            let mut herd = Herd::start(topology).await;
            herd.apply(verb.on(way(CLARK, BONA))).await;
            for time in 1..5 {
                herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
            }
            assert_eq!(replies(&herd.seen), (vec![false; 4], 4), "{mode:?} {reply:?} {verb:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_reply_waits_leaves_nothing_behind() {
    let mut herd = Herd::start(patient(LinkMode::Persistent)).await;
    herd.apply(ServerVerb::Pause.on(BONA)).await;
    for time in 1..20 {
        use tokio::io::AsyncWriteExt as _;
        let mut client = connect(herd.port(CLARK)).await;
        client.write_all(format!("IAMAT kiwi +1+1 {time}\n").as_bytes()).await.expect("it is taken");
        herd.until(|event| matches!(event, Event::Accepted { .. })).await;
    }
    herd.settle().await;
    herd.apply(ServerVerb::Resume.on(BONA)).await;
    herd.settle().await;
    let last = ServerId(0);
    assert!(herd.driver.records(last).iter().any(|known| known.report.at().stated_time() == "19"));
}
