//! Tests of the simulated driver, one module per question.

mod conformance;
mod determinism;
mod epochs;
mod patience;
mod properties;
mod script;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pipe::Connection;
use super::*;
use crate::act::SessionId;
use crate::config::{Delay, Limits, Link, LinkMode, Places, Redial, Server, Strategy, Threads, Unlisted, Way};
use script::drain;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Servers `0..servers` with these links, each with its latency in milliseconds.
fn herd(servers: usize, links: &[(u32, u32, u64)], strategy: Strategy) -> Topology {
    let link = |&(a, b, latency): &(u32, u32, u64)| Link {
        ends: [ServerId(a), ServerId(b)],
        mode: LinkMode::Persistent,
        delays: [Delay { latency: Duration::from_millis(latency), ..Delay::default() }; 2],
    };
    let server = |place| Server {
        name: format!("s{place}").into(),
        host: "127.0.0.1".to_owned(),
        listen: None,
        port: 0,
        clock_offset: 0,
    };
    Topology {
        name: "test".to_owned(),
        servers: (0..servers).map(server).collect(),
        links: links.iter().map(link).collect(),
        unlisted: Unlisted::default(),
        strategy,
        reply: None,
        redial: Redial::default(),
        places: Places::default(),
        limits: Limits::default(),
        threads: Threads::default(),
        seed: 1,
    }
}

fn no_places() -> PlacesAnswer {
    PlacesAnswer::new(|search| Answer { json: format!("{{\"bound\": {}}}", search.bound).into() })
}

/// A herd that runs, and everything seen of it.
struct Run {
    driver: SimulatedDriver,
    seen: Vec<Observation>,
    /// All sessions so far, with their servers.
    sessions: Vec<(u32, SessionId)>,
}

impl Run {
    /// All links are up.
    fn of(topology: Topology) -> Self {
        let mut run = Self::unsettled(topology, Settings::default());
        run.settle();
        run
    }

    fn unsettled(topology: Topology, settings: Settings) -> Self {
        let driver = SimulatedDriver::new(Arc::new(topology), settings, no_places());
        Self { driver, seen: Vec::new(), sessions: Vec::new() }
    }

    /// Until the herd is quiescent; what was seen meanwhile.
    fn settle(&mut self) -> Vec<Event> {
        let limit = self.driver.now() + Duration::from_secs(3600);
        let events = self.take(Wait::Quiescent(limit));
        assert!(self.driver.is_quiescent(), "the herd settles");
        assert_counts_are_right(&self.driver);
        events
    }

    fn pass(&mut self, time: Duration) -> Vec<Event> {
        self.take(Wait::Until(self.driver.now() + time))
    }

    fn take(&mut self, wait: Wait) -> Vec<Event> {
        let before = self.seen.len();
        drain(&mut self.driver, wait, &mut |_, observation| self.seen.push(observation));
        self.seen[before..].iter().map(|observation| observation.event.clone()).collect()
    }

    fn act(&mut self, action: Action) -> Hit {
        self.driver.act(action).expect("the herd has such a way")
    }

    /// A client says where it is, at this time of its own clock.
    fn iamat(&mut self, server: u32, client: &str, time: u32) {
        self.send(server, &format!("IAMAT {client} +34.0-118.0 {time}\n"), false);
    }

    /// Writes over the open session of a server, or over a new one.
    fn send(&mut self, server: u32, bytes: &str, finish: bool) {
        let is_open = |&(at, session): &(u32, SessionId)| at == server && self.driver.is_open(session);
        let open = self.sessions.iter().copied().find(is_open);
        let (_, session) = open.unwrap_or_else(|| {
            self.sessions.push((server, SessionId(self.sessions.len() as u32)));
            self.sessions[self.sessions.len() - 1]
        });
        self.act(send(session.0, server, bytes, finish));
    }

    /// The time that a server knows of a client.
    fn knows(&self, server: u32, client: &str) -> Option<i64> {
        let records = self.driver.records(ServerId(server));
        let known = records.iter().find(|known| known.report.client() == client)?;
        Some(known.report.at().time().seconds)
    }
}

/// What is counted along the way is what a walk over everything finds. A settled herd has nothing in flight.
fn assert_counts_are_right(driver: &SimulatedDriver) {
    let in_flight: u64 = driver.pipes.iter().map(|pipe| u64::from(pipe.in_flight)).sum();
    let expected = driver.pipes.iter().filter(|pipe| pipe.expected).count() as u64;
    assert_eq!(expected, driver.expected, "pipes that will dial");
    assert!(in_flight <= driver.busy, "lines in flight are busy");
    if driver.is_quiescent() {
        assert!(
            driver
                .pipes
                .iter()
                .all(|pipe| pipe.in_flight == 0 && !matches!(pipe.connection, Connection::Broken { .. }))
        );
    }
}

fn send(session: u32, server: u32, bytes: &str, finish: bool) -> Action {
    let bytes = Bytes::copy_from_slice(bytes.as_bytes());
    Action::Send { session: SessionId(session), server: ServerId(server), bytes, finish }
}

fn way(from: u32, to: u32) -> Way {
    Way { from: ServerId(from), to: ServerId(to) }
}

/// The lines among the events that went this way.
fn sent(events: &[Event], way: Way) -> usize {
    events.iter().filter(|event| matches!(event, Event::Sent { way: by, .. } if *by == way)).count()
}

/// The lines among the events that were read from this way.
fn heard(events: &[Event], way: Way) -> usize {
    let is_heard = |event: &&Event| matches!(event, Event::Heard { server, from, .. } if *server == way.to && from.is_some_and(|hop| hop.server == way.from));
    events.iter().filter(is_heard).count()
}

fn replies(events: &[Event]) -> Vec<String> {
    let reply = |event: &Event| match event {
        Event::Replied { reply, .. } => Some(String::from_utf8_lossy(reply).into_owned()),
        _ => None,
    };
    events.iter().filter_map(reply).collect()
}

#[test]
fn what_a_big_herd_has_many_of_is_small() {
    assert_eq!(std::mem::size_of::<Pipe>(), 128);
}

#[test]
fn what_virtual_time_does_without_is_said_if_a_herd_asks_for_it() {
    let mut topology = herd(1, &[], Strategy::Flood);
    assert!(left_out(&topology).is_empty());
    topology.limits.connections = 2;
    topology.places.provider = Provider::Overpass;
    let told = left_out(&topology);
    assert!(told[0].contains("`connections`") && told[1].contains("overpass") && told.len() == 2, "{told:?}");
}
