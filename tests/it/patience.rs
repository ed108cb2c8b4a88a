//! Replies that wait until the neighbours have taken the update, on real sockets.

use std::time::Duration;

use herdsim::act::{ServerVerb, WayVerb};
use herdsim::config::{LinkMode, ReplyMode, ServerId, Topology};
use herdsim::driver::Driver as _;
use herdsim::history::{Event, Observation};

use crate::support::*;

/// Replies wait for neighbours, and not for long.
fn patient(mode: LinkMode) -> Topology {
    with(five_servers(), |topology| {
        topology.reply = Some(ReplyMode::Neighbours);
        topology.limits.reply = Duration::from_millis(50);
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

#[tokio::test]
async fn eight_clients_that_ask_a_neighbour_after_each_reply_find_every_update_there() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        // A limit that is reached would be a failure of its own.
        let topology = with(patient(mode), |topology| topology.limits.reply = Duration::from_secs(20));
        let herd = Herd::start(topology).await;
        let (clark, bona) = (herd.port(CLARK), herd.port(BONA));
        let client = move |number: usize| async move {
            for time in 1..100 {
                let name = format!("c{number}.{time}");
                ask(clark, format!("IAMAT {name} +34.068930-118.445127 {time}\n").as_bytes()).await;
                let found = ask(bona, format!("WHATSAT {name} 10 0\n").as_bytes()).await;
                assert!(found.starts_with("AT Clark"), "{mode:?} {name}: {found}");
            }
        };
        let clients: Vec<_> = (0..8).map(|number| tokio::spawn(client(number))).collect();
        for client in clients {
            client.await.expect("it finds everything");
        }
    }
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
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        for (broken, severed) in &cases {
            let topology = with(patient(mode), |topology| topology.limits.reply = Duration::from_secs(20));
            let mut herd = Herd::start(topology).await;
            herd.apply(broken.clone()).await;
            herd.send(CLARK, "IAMAT kiwi +1+1 1").await;
            herd.until(|event| matches!(event, Event::Accepted { .. })).await;
            herd.apply(severed.clone()).await;
            herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
            assert_eq!(replies(&herd.seen).0, [false], "{mode:?} {broken:?} {severed:?}");
        }
    }
}

#[tokio::test]
async fn a_reply_waits_for_no_neighbour_that_is_down() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        let topology = with(patient(mode), |topology| topology.limits.reply = Duration::from_secs(20));
        let mut herd = Herd::start(topology).await;
        herd.apply(ServerVerb::Kill.on(BONA)).await;
        herd.settle().await;
        for time in 1..20 {
            herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
        }
        let (overdue, replied) = replies(&herd.seen);
        assert_eq!((overdue, replied), (vec![false; 19], 19), "{mode:?}");
    }
}

#[tokio::test]
async fn a_paused_server_lets_its_replies_go_when_it_goes_on_and_a_stopped_one_at_once() {
    for (verb, late) in [(ServerVerb::Pause, false), (ServerVerb::Stop, true)] {
        let topology = with(patient(LinkMode::Persistent), |topology| topology.limits.reply = Duration::from_secs(20));
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

#[tokio::test]
async fn lines_that_are_dropped_or_doubled_make_no_later_reply_wait() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        for verb in [WayVerb::Drop { nth: 1 }, WayVerb::Duplicate { nth: 1 }] {
            let topology = with(patient(mode), |topology| topology.limits.reply = Duration::from_secs(20));
            let mut herd = Herd::start(topology).await;
            herd.apply(verb.on(way(CLARK, BONA))).await;
            for time in 1..5 {
                herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
            }
            assert_eq!(replies(&herd.seen), (vec![false; 4], 4), "{mode:?} {verb:?}");
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
