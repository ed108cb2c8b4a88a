//! Which life of a server and which connection of a way each event belongs to, on both drivers. Alone, because its servers are
//! restarted on their ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use herdsim::act::{Action, ServerVerb, SessionId, WayVerb};
use herdsim::config::{Delay, LinkMode, ServerId, Strategy, Topology, Way};
use herdsim::driver::loopback::{Feed, LoopbackDriver, Options};
use herdsim::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use herdsim::driver::{Driver, Wait};
use herdsim::history::Event;
use herdsim::places::Service;

use crate::support::*;
use crate::{alone, one_thread};

/// Two servers.
fn pair(mode: LinkMode) -> Topology {
    with(five_servers(), |topology| {
        topology.strategy = Strategy::Flood;
        topology.servers.truncate(2);
        topology.links.retain(|link| link.ends == [BONA, BAILEY]);
        topology.links[0].mode = mode;
    })
}

fn simulated(topology: &Topology) -> SimulatedDriver {
    SimulatedDriver::new(Arc::new(topology.clone()), Settings::default(), PlacesAnswer::offline())
}

async fn loopback(topology: &Topology) -> LoopbackDriver {
    let places = Arc::new(Service::open(&topology.places).expect("offline places open"));
    let options = Options { only: None, places, feed: Feed::Lossless, calls: None };
    LoopbackDriver::start(Arc::new(topology.clone()), options).await.expect("the herd starts")
}

/// Applies the actions one by one, each after what follows from the one before.
async fn play<D: Driver>(mut driver: D, actions: &[Action]) -> Vec<Event> {
    let mut seen = settle(&mut driver).await;
    for action in actions {
        driver.apply(action.clone()).await.expect("the action can be done");
        seen.extend(settle(&mut driver).await);
    }
    seen
}

/// Returns a write of a client at this time. Each is another session.
fn write(server: ServerId, time: u32) -> Action {
    let bytes = format!("IAMAT kiwi +34.0-118.0 {time}\n").into();
    Action::Send { session: SessionId(time), server, bytes, finish: true }
}

/// The epochs of a run, in the order of each server, writer and reader.
#[derive(Debug, Default, PartialEq, Eq)]
struct Epochs {
    lives: BTreeMap<ServerId, Vec<String>>,
    written: BTreeMap<Way, Vec<String>>,
    heard: BTreeMap<Way, Vec<u32>>,
}

impl Epochs {
    fn of(events: &[Event]) -> Self {
        let mut epochs = Self::default();
        for event in events {
            epochs.follow(event);
        }
        epochs
    }

    fn follow(&mut self, event: &Event) {
        match *event {
            Event::Started { server, life, .. } => self.live(server, "started", life),
            Event::Stopped { server, life, .. } => self.live(server, "stopped", life),
            Event::Killed { server, life, .. } => self.live(server, "killed", life),
            Event::Paused { server, life } => self.live(server, "paused", life),
            Event::Resumed { server, life } => self.live(server, "resumed", life),
            Event::LinkUp { way, connection } => self.write(way, "up", connection),
            Event::LinkLost { way, connection, .. } => self.write(way, "lost", connection),
            Event::Sent { way, connection, .. } | Event::Control { way, connection, .. } => {
                self.write(way, "sent", connection)
            }
            Event::Heard { server, from: Some(hop), .. } => {
                self.heard.entry(way(hop.server, server)).or_default().push(hop.connection);
            }
            _ => {}
        }
    }

    fn live(&mut self, server: ServerId, what: &str, life: u32) {
        self.lives.entry(server).or_default().push(format!("{what} {life}"));
    }

    fn write(&mut self, way: Way, what: &str, connection: u32) {
        self.written.entry(way).or_default().push(format!("{what} {connection}"));
    }
}

/// Plays the actions on both drivers. Returns the epochs, which are the same on both.
async fn on_both(topology: Topology, actions: &[Action]) -> Epochs {
    let on_sockets = play(loopback(&topology).await, actions).await;
    let on_virtual_time = play(simulated(&topology), actions).await;
    for events in [&on_sockets, &on_virtual_time] {
        assert_sound(&topology, events);
    }
    let epochs = Epochs::of(&on_virtual_time);
    assert_eq!(Epochs::of(&on_sockets), epochs, "the sockets on the left, virtual time on the right");
    epochs
}

/// Asserts that epochs count up, that events belong to the present one, and that lines are heard by the
/// connection by which they were sent.
fn assert_sound(topology: &Topology, events: &[Event]) {
    let per_message = |way: Way| {
        let is_of = |ends: [ServerId; 2]| ends == [way.from, way.to] || ends == [way.to, way.from];
        topology.links.iter().any(|link| is_of(link.ends) && link.mode == LinkMode::PerMessage)
    };
    let (mut lives, mut opened) = (BTreeMap::<ServerId, u32>::new(), BTreeMap::<Way, u32>::new());
    let mut sent = BTreeSet::new();
    for event in events {
        match *event {
            Event::Started { server, life, .. } => {
                let last = lives.insert(server, life).unwrap_or(0);
                assert_eq!(life, last + 1, "{event:?}");
            }
            Event::Stopped { server, life, .. }
            | Event::Killed { server, life, .. }
            | Event::Crashed { server, life, .. }
            | Event::Paused { server, life }
            | Event::Resumed { server, life }
            | Event::Accepted { server, life, .. }
            | Event::Acknowledged { server, life, .. }
            | Event::Answered { server, life, .. }
            | Event::Refused { server, life, .. }
            | Event::Missed { way: Way { from: server, .. }, life, .. } => {
                assert_eq!(lives.get(&server), Some(&life), "{event:?}");
            }
            Event::LinkUp { way, connection } => {
                // Not always the next one: on virtual time, a server that is killed while frozen announces none.
                let last = opened.insert(way, connection).unwrap_or(0);
                assert!(connection > last && !per_message(way), "{event:?}");
            }
            Event::LinkLost { way, connection, .. } => {
                let last = opened.entry(way).or_default();
                assert!(if per_message(way) { connection <= *last } else { connection >= *last }, "{event:?}");
                *last = connection.max(*last);
            }
            Event::Sent { way, connection, ref report } => {
                let last = opened.insert(way, connection).unwrap_or(0);
                assert_eq!(connection, last + u32::from(per_message(way)), "{event:?}");
                sent.insert((way, connection, report.line().to_owned()));
            }
            Event::Vanished { way, connection, ref report } => {
                assert!(sent.contains(&(way, connection, report.line().to_owned())), "{event:?}");
            }
            Event::Heard { server, life, from, ref report, .. } => {
                assert_eq!(lives.get(&server), Some(&life), "{event:?}");
                let line = from.map(|hop| (way(hop.server, server), hop.connection, report.line().to_owned()));
                assert!(line.is_none_or(|line| sent.contains(&line)), "{event:?}");
            }
            Event::Control { way, connection, .. } => assert_eq!(opened.get(&way), Some(&connection), "{event:?}"),
            Event::ClockSet { .. } | Event::Replied { .. } | Event::SessionLost { .. } => {}
        }
    }
}

/// Returns ways to end the connection from Bona to Bailey and to open another.
fn endings() -> [Vec<Action>; 8] {
    let there = way(BONA, BAILEY);
    [
        vec![WayVerb::Cut.on(there), WayVerb::Heal.on(there)],
        vec![WayVerb::Reset { after: 0 }.on(there)],
        vec![ServerVerb::Kill.on(BAILEY), ServerVerb::Start.on(BAILEY)],
        vec![ServerVerb::Restart.on(BAILEY)],
        vec![ServerVerb::Restart.on(BONA)],
        vec![ServerVerb::Stop.on(BAILEY), ServerVerb::Start.on(BAILEY)],
        vec![ServerVerb::Stop.on(BONA), ServerVerb::Start.on(BONA)],
        vec![WayVerb::HalfOpen.on(there), WayVerb::Heal.on(there)],
    ]
}

/// Returns a script that writes at Bona before the first ending, between all of them and after the last one.
fn writes_between_endings() -> Vec<Action> {
    let endings = endings().into_iter().chain([Vec::new()]);
    (1..).zip(endings).flat_map(|(time, ending)| [write(BONA, time)].into_iter().chain(ending)).collect()
}

#[test]
fn connections_count_up_whatever_ends_them_and_alike_on_both_drivers() {
    alone(one_thread(), async {
        let epochs = on_both(pair(LinkMode::Persistent), &writes_between_endings()).await;
        let there = way(BONA, BAILEY);
        let ended = (1..=8).flat_map(|number| ["up", "sent", "lost"].map(|what| format!("{what} {number}")));
        assert_eq!(epochs.written[&there], ended.chain(["up 9".into(), "sent 9".into()]).collect::<Vec<_>>());
        assert_eq!(epochs.heard[&there], (1..=9).collect::<Vec<_>>());
        // Only the ends of servers end the other way's connections too.
        assert_eq!(epochs.written[&there.back()].last().map(String::as_str), Some("up 6"));
    });
}

#[test]
fn every_line_of_a_per_message_link_has_a_connection_of_its_own_on_both_drivers() {
    alone(one_thread(), async {
        let there = way(BONA, BAILEY);
        let mut script = writes_between_endings();
        // Dropped, doubled, held: each is one more connection.
        script.extend([
            WayVerb::Drop { nth: 1 }.on(there),
            write(BONA, 10),
            WayVerb::Duplicate { nth: 1 }.on(there),
            write(BONA, 11),
        ]);
        script.extend([
            WayVerb::Hold.on(there),
            write(BONA, 12),
            write(BONA, 13),
            WayVerb::Release.on(there),
            write(BAILEY, 14),
        ]);
        let epochs = on_both(pair(LinkMode::PerMessage), &script).await;
        assert_eq!(epochs.written[&there], (1..=13).map(|number| format!("sent {number}")).collect::<Vec<_>>());
        assert_eq!(epochs.heard[&there], [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 11, 12, 13]);
        assert_eq!(epochs.heard[&there.back()], [1]);
    });
}

#[test]
fn lives_count_up_and_alike_on_both_drivers() {
    alone(one_thread(), async {
        let mut script = writes_between_endings();
        script.extend([
            ServerVerb::Pause.on(BAILEY),
            write(BONA, 10),
            ServerVerb::Clock(5).on(BAILEY),
            ServerVerb::Resume.on(BAILEY),
        ]);
        for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
            let epochs = on_both(pair(mode), &script).await;
            let bailey = ["started 1", "killed 1", "started 2", "killed 2", "started 3", "stopped 3", "started 4"];
            assert_eq!(epochs.lives[&BAILEY], [&bailey[..], &["paused 4", "resumed 4"]].concat());
            assert_eq!(epochs.lives[&BONA], ["started 1", "killed 1", "started 2", "stopped 2", "started 3"]);
        }
    });
}

#[test]
fn lines_lost_in_flight_are_lost_with_their_connection_or_the_last_of_several_on_both_drivers() {
    alone(one_thread(), async {
        let there = way(BONA, BAILEY);
        for (mode, written, heard) in [
            (LinkMode::Persistent, ["up 1", "sent 1", "sent 1", "lost 1", "up 2", "sent 2"].as_slice(), 2),
            (LinkMode::PerMessage, &["sent 1", "sent 2", "lost 2", "sent 3"], 3),
        ] {
            let reset = [WayVerb::Reset { after: 0 }.on(there), ServerVerb::Resume.on(BAILEY)];
            let lost = [ServerVerb::Pause.on(BAILEY), write(BONA, 1), write(BONA, 2)];
            let script: Vec<_> = lost.into_iter().chain(reset).chain([write(BONA, 3)]).collect();
            // How long the second message waits for the frozen server's answer to the first.
            let topology = with(pair(mode), |topology| topology.redial.timeout = Duration::from_millis(50));
            let epochs = on_both(topology, &script).await;
            assert_eq!(epochs.written[&there], written, "{mode:?}");
            assert_eq!(epochs.heard[&there], [heard], "{mode:?}");
        }
    });
}

/// Lets lines and faults cross each other. Returns everything seen.
async fn crossing(driver: &mut impl Driver) -> Vec<Event> {
    let mut seen = settle(driver).await;
    for round in 0..40 {
        let server = ALL[round as usize % ALL.len()];
        let faults = [
            WayVerb::Reset { after: 0 }.on(way(BONA, CLARK)),
            ServerVerb::Restart.on(CAMPBELL),
            WayVerb::Reset { after: 2 }.on(way(CAMPBELL, BONA)),
            ServerVerb::Pause.on(JAQUEZ),
            ServerVerb::Resume.on(JAQUEZ),
            WayVerb::Cut.on(way(CLARK, JAQUEZ)),
            WayVerb::Heal.on(way(CLARK, JAQUEZ)),
        ];
        let fault = faults[round as usize % faults.len()].clone();
        for action in [write(server, 2 * round + 1), fault, write(BONA, 2 * round + 2)] {
            driver.apply(action).await.expect("the action can be done");
            // Lets lines leave and arrive, or not.
            let until = driver.now() + Duration::from_millis(u64::from(round % 3));
            while let Some(observation) = driver.next(Wait::Until(until)).await.seen() {
                seen.push(observation.event);
            }
        }
    }
    driver.apply(ServerVerb::Resume.on(JAQUEZ)).await.expect("the action can be done");
    seen.extend(settle(driver).await);
    seen
}

#[test]
fn epochs_are_sound_on_both_drivers_while_lines_and_faults_cross() {
    alone(one_thread(), async {
        for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
            let topology = with(five_servers(), |topology| topology.links.iter_mut().for_each(|link| link.mode = mode));
            let slow = with(topology.clone(), |topology| {
                for (link, milliseconds) in topology.links.iter_mut().zip([3, 0, 7, 1, 2, 11]) {
                    let latency = Duration::from_millis(milliseconds);
                    link.delays = [Delay { latency, jitter: Duration::from_millis(2), ..Delay::default() }; 2];
                }
            });
            let on_sockets = crossing(&mut loopback(&topology).await).await;
            for (topology, seen) in [(&topology, on_sockets), (&slow, crossing(&mut simulated(&slow)).await)] {
                assert!(seen.iter().any(|event| matches!(event, Event::Heard { life, .. } if *life > 1)));
                assert_sound(topology, &seen);
            }
        }
    });
}
