//! A herd that is broken and mended all the time, under load; afterwards everything is as it should be.
//!
//! A few seconds long, or as long as `HERDSIM_SOAK_SECONDS` says.

use std::time::Duration;

use bytes::Bytes;
use herdsim::act::{Action, ServerVerb, SessionId, WayVerb};
use herdsim::config::{Delay, LinkMode, ReplyMode, ServerId, Slowness, Way};
use herdsim::draws::Draws;
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::Event;
use herdsim::time::Timestamp;
use herdsim::wire::PosixTime;

use crate::support::*;
use crate::{alone, one_thread, threads};

/// Servers that are never killed or stopped: whatever they acknowledge must survive.
const CORE: [ServerId; 2] = [BONA, CAMPBELL];
const OTHERS: [ServerId; 3] = [BAILEY, CLARK, JAQUEZ];
const CLIENTS: u64 = 50;

/// Draws by key, so that a run is told by its seed.
struct Choices {
    draws: Draws,
    made: u64,
}

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.made += 1;
        (self.draws.unit(self.made, 0) * limit as f64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn action(&mut self, ways: &[Way]) -> Action {
        let way = self.of(ways);
        let delay = Delay { latency: Duration::from_millis(3), jitter: Duration::from_millis(3), ..Delay::default() };
        match self.below(16) {
            0 => ServerVerb::Kill.on(self.of(&OTHERS)),
            1 => ServerVerb::Stop.on(self.of(&OTHERS)),
            2 | 3 => ServerVerb::Start.on(self.of(&OTHERS)),
            4 | 5 => ServerVerb::Restart.on(self.of(&OTHERS)),
            6 => ServerVerb::Pause.on(self.of(&ALL)),
            7 => ServerVerb::Resume.on(self.of(&ALL)),
            8 => WayVerb::Cut.on(way),
            9 => WayVerb::Heal.on(way),
            10 => WayVerb::Hold.on(way),
            11 => WayVerb::Release.on(way),
            12 => WayVerb::Slow(Slowness { delay, rate: None }).on(way),
            13 => WayVerb::Reset { after: self.below(3) as u64 }.on(way),
            14 => WayVerb::HalfOpen.on(way),
            _ => ServerVerb::Clock(self.below(1_000_000) as i64).on(self.of(&ALL)),
        }
    }
}

/// What the process holds on to.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    tasks: usize,
}

fn held() -> Held {
    Held {
        descriptors: std::fs::read_dir("/proc/self/fd").expect("this is Linux").count(),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }
}

impl Herd {
    /// Mends everything, and waits for rest.
    async fn mend(&mut self, ways: &[Way]) {
        for server in ALL {
            self.apply(ServerVerb::Resume.on(server)).await;
            self.apply(ServerVerb::Start.on(server)).await;
        }
        for &way in ways {
            self.apply(WayVerb::Heal.on(way)).await;
            self.apply(WayVerb::Release.on(way)).await;
        }
        self.settle().await;
    }

    /// Takes what was observed; times acknowledged by the core, by client.
    fn acknowledged(&mut self, newest: &mut std::collections::BTreeMap<String, String>) {
        for seen in std::mem::take(&mut self.seen) {
            let Event::Accepted { server, report, .. } = seen.event else { continue };
            if CORE.contains(&server) {
                let time = report.at().stated_time().to_owned();
                let known = newest.entry(report.client().to_owned()).or_default();
                if known.is_empty() || report.at().time() > PosixTime::parse(known).expect("it was a time") {
                    *known = time;
                }
            }
        }
    }

    async fn observe_until(&mut self, until: Timestamp) {
        while let Some(observation) = self.driver.next(Wait::Until(until)).await.seen() {
            self.seen.push(observation);
        }
    }
}

#[test]
fn what_the_core_acknowledged_is_everywhere_after_thousands_of_faults() {
    alone(one_thread(), soak(LinkMode::Persistent, ReplyMode::AtOnce));
}

#[test]
fn what_the_core_acknowledged_is_everywhere_on_several_threads_too() {
    alone(threads(), soak(LinkMode::Persistent, ReplyMode::AtOnce));
}

#[test]
fn a_herd_that_dials_for_every_line_comes_to_rest_after_thousands_of_faults() {
    alone(one_thread(), soak(LinkMode::PerMessage, ReplyMode::AtOnce));
}

#[test]
fn a_herd_that_dials_for_every_line_comes_to_rest_on_several_threads_too() {
    alone(threads(), soak(LinkMode::PerMessage, ReplyMode::AtOnce));
}

#[test]
fn replies_that_wait_all_come_to_an_end_after_thousands_of_faults() {
    alone(one_thread(), soak(LinkMode::PerMessage, ReplyMode::Neighbours));
}

#[test]
fn replies_that_wait_all_come_to_an_end_on_several_threads_too() {
    alone(threads(), soak(LinkMode::Persistent, ReplyMode::Neighbours));
}

#[test]
fn replies_that_wait_for_the_whole_herd_all_come_to_an_end_after_thousands_of_faults() {
    alone(one_thread(), soak(LinkMode::Persistent, ReplyMode::Everywhere));
}

#[test]
fn replies_that_wait_for_the_whole_herd_all_come_to_an_end_on_several_threads_too() {
    alone(threads(), soak(LinkMode::PerMessage, ReplyMode::Everywhere));
}

#[expect(clippy::print_stdout, reason = "shown when the test fails, to run it again")]
async fn soak(mode: LinkMode, reply: ReplyMode) {
    let seconds = std::env::var("HERDSIM_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let seed = std::env::var("HERDSIM_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("HERDSIM_SOAK_SECONDS={seconds} HERDSIM_SOAK_SEED={seed}");
    let topology = with(five_servers(), |herd| {
        herd.links.iter_mut().for_each(|link| link.mode = mode);
        herd.reply = Some(reply);
        herd.limits.reply = Duration::from_millis(20);
    });
    let mut herd = Herd::start(topology).await;
    let ways: Vec<_> = herd.driver.wiring().ways().collect();
    let mut choices = Choices { draws: Draws::new(seed, 0x50a4), made: 0 };
    let mut newest = std::collections::BTreeMap::new();
    let before = held();
    let end = herd.driver.now() + Duration::from_secs(seconds);
    let (mut said, mut faults) = (0_u64, 0_u64);
    // The newest session of each client with each server, and the number of all sessions.
    let (mut sessions, mut opened) = (std::collections::BTreeMap::new(), 1000);
    // On a busy machine it takes longer until enough has happened.
    let is_enough = |faults, clients| faults > 200 && clients as u64 == CLIENTS;
    while herd.driver.now() < end || !is_enough(faults, newest.len()) {
        for _ in 0..200 {
            said += 1;
            let (client, server) = (choices.below(40), choices.of(&ALL));
            let session = sessions.entry((client, server)).or_insert(SessionId(u32::MAX));
            if !herd.driver.is_open(*session) {
                *session = SessionId(opened);
                opened += 1;
            }
            let session = *session;
            let bytes = Bytes::from(format!("IAMAT c{} +34.0-118.0 {said}\n", said % CLIENTS));
            herd.apply(Action::Send { session, server, bytes, finish: choices.below(4) == 0 }).await;
            if choices.below(2) == 0 {
                let action = choices.action(&ways);
                herd.apply(action).await;
                faults += 1;
            }
            let pause = Duration::from_micros(choices.below(400) as u64);
            let until = herd.driver.now() + pause;
            herd.observe_until(until).await;
        }
        herd.acknowledged(&mut newest);
        // From time to time all has to come to rest in between.
        herd.mend(&ways).await;
        herd.acknowledged(&mut newest);
        // A line that has no connection of its own is lost for good when its dial fails.
        for (client, time) in newest.iter().filter(|_| mode == LinkMode::Persistent) {
            let holders = herd.holders_of_at_least(client, time);
            assert_eq!(holders, ALL, "{client} {time} after {faults} faults, seed {seed}");
        }
    }
    for session in 1000..opened {
        herd.apply(Action::Close(SessionId(session))).await;
    }
    herd.settle().await;
    let after = herd.rested(&before).await;
    assert_eq!(after, before, "after {faults} faults, seed {seed}");
}

impl Herd {
    fn holders_of_at_least(&self, client: &str, time: &str) -> Vec<ServerId> {
        let wanted = PosixTime::parse(time).expect("it was a time");
        let holds = |&server: &ServerId| {
            let known = self.driver.records(server);
            known.iter().any(|known| known.report.client() == client && known.report.at().time() >= wanted)
        };
        ALL.into_iter().filter(holds).collect()
    }

    /// What is held once connections that were closed are gone, which is up to the servers' tasks.
    async fn rested(&mut self, expected: &Held) -> Held {
        let until = self.driver.now() + PATIENCE;
        while held() != *expected && self.driver.now() < until {
            tokio::task::yield_now().await;
            let soon = self.driver.now() + Duration::from_millis(1);
            self.observe_until(soon).await;
        }
        held()
    }
}
