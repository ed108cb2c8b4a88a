//! Which life of a server and which connection of a way an event belongs to.

use super::*;
use crate::act::{ServerVerb, WayVerb};
use crate::config::Slowness;

/// Two servers, 10 ms apart.
fn pair(mode: LinkMode) -> Run {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
    topology.links[0].mode = mode;
    Run::of(topology)
}

/// Returns what happened to the connections of a way: at its writer, and at its reader.
fn connections(run: &Run, way: Way) -> (Vec<String>, Vec<u32>) {
    let events = || run.seen.iter().map(|seen| &seen.event);
    let written = events().filter_map(|event| match *event {
        Event::LinkUp { way: by, connection } if by == way => Some(format!("up {connection}")),
        Event::LinkLost { way: by, connection, .. } if by == way => Some(format!("lost {connection}")),
        Event::Sent { way: by, connection, .. } if by == way => Some(format!("sent {connection}")),
        _ => None,
    });
    let heard = events().filter_map(|event| match *event {
        Event::Heard { server, from: Some(hop), .. } if server == way.to && hop.server == way.from => {
            Some(hop.connection)
        }
        _ => None,
    });
    (written.collect(), heard.collect())
}

#[test]
fn the_lives_of_a_server_count_up_and_each_event_names_its_own() {
    let mut run = pair(LinkMode::Persistent);
    let server = ServerId(1);
    let write = |run: &mut Run, time| {
        run.iamat(0, "kiwi", time);
        run.settle();
    };
    write(&mut run, 1);
    run.act(ServerVerb::Restart.on(server));
    run.settle();
    run.act(ServerVerb::Pause.on(server));
    run.act(ServerVerb::Resume.on(server));
    run.act(ServerVerb::Stop.on(server));
    run.act(ServerVerb::Clock(5).on(server));
    run.act(ServerVerb::Start.on(server));
    run.settle();
    run.send(1, "IAMAT lime +34.0-118.0 5\nWHATSAT lime 10 5\nnonsense\n", true);
    run.settle();
    let lives = run.seen.iter().filter_map(|seen| match seen.event {
        Event::Started { server: ServerId(1), life, .. } => Some(("started", life)),
        Event::Stopped { server: ServerId(1), life, .. } => Some(("stopped", life)),
        Event::Killed { server: ServerId(1), life, .. } => Some(("killed", life)),
        Event::Paused { server: ServerId(1), life } => Some(("paused", life)),
        Event::Resumed { server: ServerId(1), life } => Some(("resumed", life)),
        Event::Heard { server: ServerId(1), life, .. } => Some(("heard", life)),
        Event::Accepted { server: ServerId(1), life, .. } => Some(("accepted", life)),
        Event::Answered { server: ServerId(1), life, .. } => Some(("answered", life)),
        Event::Refused { server: ServerId(1), life, .. } => Some(("refused", life)),
        _ => None,
    });
    let expected = [
        ("started", 1),
        ("heard", 1),
        ("killed", 1),
        ("started", 2),
        ("paused", 2),
        ("resumed", 2),
        ("stopped", 2),
        ("started", 3),
        ("accepted", 3),
        ("refused", 3),
        ("answered", 3),
    ];
    assert_eq!(lives.collect::<Vec<_>>(), expected);
    // A driver that is as new counts from 1 again.
    run.seen.clear();
    let topology = run.driver.topology().clone();
    run.driver.reset(&topology, 1);
    run.settle();
    assert!(run.seen.iter().any(|seen| seen.event == Event::Started { server, life: 1, port: 0 }));
    assert_eq!(connections(&run, way(1, 0)).0, ["up 1"]);
}

#[test]
fn what_is_missed_belongs_to_the_life_of_the_server_that_could_not_send() {
    let mut run = pair(LinkMode::Persistent);
    run.act(ServerVerb::Restart.on(ServerId(0)));
    run.act(WayVerb::Cut.on(way(0, 1)));
    run.settle();
    run.iamat(0, "kiwi", 1);
    let events = run.settle();
    assert!(events.iter().any(|event| matches!(event, Event::Missed { way: by, life: 2, .. } if *by == way(0, 1))));
}

/// Returns ways to end the connection from server 0 to server 1 and to open another.
fn endings() -> [Vec<Action>; 6] {
    let (there, [a, b]) = (way(0, 1), [0, 1].map(ServerId));
    [
        vec![WayVerb::Cut.on(there), WayVerb::Heal.on(there)],
        vec![WayVerb::Reset { after: 0 }.on(there)],
        vec![ServerVerb::Restart.on(a)],
        vec![ServerVerb::Restart.on(b)],
        vec![ServerVerb::Stop.on(b), ServerVerb::Start.on(b)],
        vec![WayVerb::HalfOpen.on(there), WayVerb::Heal.on(there)],
    ]
}

/// Sends a line from server 0 to server 1 before the first ending, between all of them and after the last one.
fn write_between_endings(run: &mut Run) {
    for (time, actions) in (1..).zip(endings().into_iter().chain([Vec::new()])) {
        run.iamat(0, "kiwi", time);
        run.settle();
        for action in actions {
            run.act(action);
            run.settle();
        }
    }
}

#[test]
fn the_connections_of_a_way_count_up_whatever_ends_them() {
    let mut run = pair(LinkMode::Persistent);
    write_between_endings(&mut run);
    let (written, heard) = connections(&run, way(0, 1));
    let ended = (1..=6).flat_map(|number| ["up", "sent", "lost"].map(|what| format!("{what} {number}")));
    assert_eq!(written, ended.chain(["up 7".into(), "sent 7".into()]).collect::<Vec<_>>());
    assert_eq!(heard, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn every_line_of_a_per_message_link_has_a_connection_of_its_own() {
    let mut run = pair(LinkMode::PerMessage);
    write_between_endings(&mut run);
    run.act(WayVerb::Duplicate { nth: 1 }.on(way(0, 1)));
    run.iamat(0, "kiwi", 8);
    run.settle();
    let (written, heard) = connections(&run, way(0, 1));
    assert_eq!(written, (1..=8).map(|number| format!("sent {number}")).collect::<Vec<_>>());
    assert_eq!(heard, [1, 2, 3, 4, 5, 6, 7, 8, 8]);
    // Both lines are dialled for in 20 ms, and then 5 ms on their way.
    run.iamat(0, "kiwi", 9);
    run.iamat(0, "lime", 9);
    run.pass(25 * MILLISECOND);
    run.act(WayVerb::Reset { after: 0 }.on(way(0, 1)));
    run.iamat(0, "kiwi", 10);
    run.settle();
    let (written, heard) = connections(&run, way(0, 1));
    assert_eq!(written[8..], ["sent 9", "sent 10", "lost 10", "sent 11"]);
    assert_eq!(heard[9..], [11]);
}

#[test]
fn a_line_that_arrives_after_the_next_connection_opened_names_its_own() {
    for is_lost in [false, true] {
        let mut run = pair(LinkMode::Persistent);
        let delay = Delay { latency: Duration::from_secs(1), ..Delay::default() };
        run.act(WayVerb::Slow(Slowness { delay, rate: None }).on(way(0, 1)));
        run.act(WayVerb::Reset { after: 1 }.on(way(0, 1)));
        run.iamat(0, "kiwi", 1);
        // Slow by less. Healed, the line would arrive at once.
        let delay = Delay { latency: MILLISECOND, ..Delay::default() };
        run.act(WayVerb::Slow(Slowness { delay, rate: None }).on(way(0, 1)));
        run.pass(500 * MILLISECOND);
        run.iamat(0, "kiwi", 2);
        run.pass(100 * MILLISECOND);
        let mut expected = vec!["up 1", "sent 1", "lost 1", "up 2", "sent 2"];
        if is_lost {
            run.act(WayVerb::Reset { after: 0 }.on(way(0, 1)));
            expected.extend(["lost 2", "up 3"]);
        }
        run.settle();
        let (written, heard) = connections(&run, way(0, 1));
        assert_eq!(written, expected);
        assert_eq!(heard, if is_lost { vec![2] } else { vec![2, 1] });
    }
}

#[test]
fn a_frozen_server_that_thaws_hears_what_came_by_each_connection() {
    let mut run = pair(LinkMode::Persistent);
    run.act(ServerVerb::Pause.on(ServerId(1)));
    run.iamat(0, "kiwi", 1);
    run.settle();
    run.act(WayVerb::Reset { after: 1 }.on(way(0, 1)));
    run.iamat(0, "kiwi", 2);
    run.pass(500 * MILLISECOND);
    run.iamat(0, "kiwi", 3);
    run.settle();
    run.act(ServerVerb::Resume.on(ServerId(1)));
    run.settle();
    let (written, heard) = connections(&run, way(0, 1));
    assert_eq!(written, ["up 1", "sent 1", "sent 1", "lost 1", "up 2", "sent 2"]);
    assert_eq!(heard, [1, 1, 2]);
}
