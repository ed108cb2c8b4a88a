//! How long lines take on this machine's loopback, as a link's delay that the simulator can take over.
//!
//! Not here: how links delay their lines ([`crate::driver::path`]). Nothing of this is needed to run a herd.
//!
//! On virtual time a server takes no time to handle a line, so what is measured of a hop is all the time from the moment at which
//! a server knows something to the moment at which its neighbour does: waking up, writing, the kernel, and reading. That the
//! model is right, or how far it is from that, is shown with what it was not fitted to: how late the farthest server knows.
//!
//! There is a limit to it. Where one thread runs all servers, lines wait for each other: the second line of an update always takes
//! longer than the first. Links of the model draw their delays independently, so that what it says of single lines and of the
//! middle of all updates is right, while its earliest and its latest updates lie farther apart than the measured ones.

mod fit;
mod show;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

pub use fit::{Fit, best, candidates};

use crate::act::{Action, ServerVerb, SessionId};
use crate::config::{Delay, LinkMode, ServerId, Topology};
use crate::driver::loopback::{Feed, LoopbackDriver, Options as LoopbackOptions};
use crate::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use crate::driver::{Driver, DriverError, Wait};
use crate::history::{Event, Observation};
use crate::places::Service;
use crate::time::Timestamp;

/// How long one update may take until nothing is under way any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Updates, one after the other; at least 1. As many again go before them and are not counted, at most
    /// [`Options::WARM_UP`].
    pub updates: u32,
    /// Restarts of a server, whose dials are timed.
    pub restarts: u32,
}

impl Options {
    /// Updates before those that count, at most.
    pub const WARM_UP: u32 = 200;
    /// What takes a second or two and is steady enough.
    pub const DEFAULT: Self = Self { updates: 2000, restarts: 100 };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why nothing can be said about this machine.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The herd cannot run.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// There is no link to measure.
    #[error("a herd without links has nothing to measure")]
    NoLinks,
    /// An update did not reach every server, as in a herd that is not connected.
    #[error("an update at {origin} reached {reached} of {servers} servers")]
    Unreached {
        /// Where the client was.
        origin: Arc<str>,
        /// How many servers knew it in the end.
        reached: usize,
        /// How many there are.
        servers: usize,
    },
}

/// Times that were measured, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lags(Vec<Duration>);

/// What was measured, and the model of it. In JSON times are nanoseconds, and of many only some quantiles are told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Servers of the herd.
    pub servers: usize,
    /// Updates that counted.
    pub updates: u32,
    /// On real sockets.
    pub measured: Times,
    /// The same updates on virtual time, with links as in [`Self::model`].
    pub simulated: Times,
    /// A delay of each kind, the simplest first.
    pub candidates: Vec<Fit>,
    /// The delay that was chosen: the simplest whose distance is within a hundredth of the least.
    pub model: Delay,
}

/// How long things took in one herd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Times {
    /// From a server's knowing something to its neighbour's reading it, for every line.
    pub hop: Lags,
    /// From the acknowledgement of an update to the moment at which the last server knew it.
    pub farthest: Lags,
    /// From a server's start to the opening of its way to a neighbour.
    pub dial: Lags,
}

impl Lags {
    /// Sorts what was measured.
    pub fn new(mut lags: Vec<Duration>) -> Self {
        lags.sort_unstable();
        Self(lags)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least that at least this part of them, 0 to 1, does not exceed; `None` when there are none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).or(self.0.last()).copied()
    }

    /// The Kolmogorov-Smirnov distance of two samples: the widest gap between the parts of both that do not exceed a limit, over
    /// all limits. From 0, the same, to 1; `None` when one of them is empty.
    pub fn distance(&self, other: &Self) -> Option<f64> {
        if self.is_empty() || other.is_empty() {
            return None;
        }
        let part = |lags: &Self, limit| lags.0.partition_point(|&lag| lag <= limit) as f64 / lags.len() as f64;
        let gaps = self.0.iter().chain(&other.0).map(|&limit| (part(self, limit) - part(other, limit)).abs());
        Some(gaps.fold(0.0, f64::max))
    }

    /// The part of them that is within a range, its end not included.
    fn share(&self, range: std::ops::Range<Duration>) -> f64 {
        let below = |limit: Duration| self.0.partition_point(|&lag| lag < limit);
        (below(range.end) - below(range.start)) as f64 / self.0.len().max(1) as f64
    }
}

impl Calibration {
    /// The lines of a herd file that give all its links the model's delay.
    pub fn toml(&self) -> String {
        show::toml(self.model)
    }
}

/// Measures a herd of this machine, and fits the delay of a simulated one to it.
///
/// The herd is the topology's, with ports that the system chooses, persistent links, and no delays of its own; everything runs on
/// the runtime of the caller, as a herd does.
///
/// # Errors
///
/// When the herd cannot run, has no links, or is not connected.
pub async fn measure(topology: &Topology, options: Options) -> Result<Calibration, CalibrateError> {
    let bare = Arc::new(with_delay(topology, Delay::default()));
    let loopback =
        LoopbackOptions { only: None, places: Arc::new(Service::offline()), feed: Feed::Lossless, calls: None };
    let mut driver = LoopbackDriver::start(bare.clone(), loopback).await?;
    let measured = times(&mut driver, &bare, options).await;
    driver.shut_down().await;
    let measured = measured?;
    let candidates = candidates(&measured.hop);
    let model = best(&candidates).ok_or(CalibrateError::NoLinks)?.delay;
    let simulated = simulate(topology, model, options).await?;
    let servers = topology.servers.len();
    Ok(Calibration { servers, updates: options.updates, measured, simulated, candidates, model })
}

/// What the same herd does on virtual time when all its links have this delay.
async fn simulate(topology: &Topology, model: Delay, options: Options) -> Result<Times, CalibrateError> {
    let topology = Arc::new(with_delay(topology, model));
    let mut driver = SimulatedDriver::new(topology.clone(), Settings::default(), PlacesAnswer::offline());
    times(&mut driver, &topology, options).await
}

fn with_delay(topology: &Topology, delay: Delay) -> Topology {
    let mut topology = topology.clone();
    // Also those that the strategy adds to the file's.
    topology.links = topology.effective_links();
    for server in &mut topology.servers {
        "127.0.0.1".clone_into(&mut server.host);
        server.listen = None;
        server.port = 0;
    }
    for link in &mut topology.links {
        (link.mode, link.delays) = (LinkMode::Persistent, [delay; 2]);
    }
    topology
}

/// The same on both drivers: lone updates at every server in turn, then restarts of every server in turn.
async fn times<D: Driver>(driver: &mut D, topology: &Topology, options: Options) -> Result<Times, CalibrateError> {
    settle(driver).await;
    let (mut hop, mut farthest, mut dial) = (Vec::new(), Vec::new(), Vec::new());
    let warm_up = options.updates.min(Options::WARM_UP);
    for number in 0..warm_up + options.updates {
        let origin = ServerId(number % topology.servers.len() as u32);
        let update = Update::seen(&say(driver, origin, number).await?, topology);
        update.check(topology, origin)?;
        if number >= warm_up {
            farthest.extend(update.farthest());
            hop.extend(update.hops);
        }
    }
    for number in 0..options.restarts {
        let server = ServerId(number % topology.servers.len() as u32);
        driver.apply(ServerVerb::Restart.on(server)).await?;
        dial.extend(dials(&settle(driver).await, server));
    }
    Ok(Times { hop: Lags::new(hop), farthest: Lags::new(farthest), dial: Lags::new(dial) })
}

/// One update, and everything that comes of it.
async fn say<D: Driver>(driver: &mut D, server: ServerId, number: u32) -> Result<Vec<Observation>, DriverError> {
    let time = 1_767_225_600 + u64::from(number);
    let bytes = Bytes::from(format!("IAMAT calibrate.example +34.068930-118.445127 {time}.5\n"));
    driver.apply(Action::Send { session: SessionId(server.0), server, bytes, finish: false }).await?;
    Ok(settle(driver).await)
}

/// Everything that happens until nothing is under way.
async fn settle<D: Driver>(driver: &mut D) -> Vec<Observation> {
    let limit = driver.now() + PATIENCE;
    let mut seen = Vec::new();
    while let Some(observation) = driver.next(Wait::Quiescent(limit)).await.seen() {
        seen.push(observation);
    }
    seen
}

/// How long the ways of a server took to open, counted from its start.
fn dials(seen: &[Observation], server: ServerId) -> Vec<Duration> {
    let started = seen.iter().find(|seen| matches!(seen.event, Event::Started { .. })).map(|seen| seen.at);
    let opened = seen.iter().filter(|seen| matches!(seen.event, Event::LinkUp { way, .. } if way.from == server));
    started.map_or_else(Vec::new, |started| opened.map(|seen| seen.at.since(started)).collect())
}

/// What was seen of one update.
struct Update {
    /// When each server knew it.
    known: Vec<Option<Timestamp>>,
    /// When it was acknowledged.
    accepted: Option<Timestamp>,
    hops: Vec<Duration>,
}

impl Update {
    fn seen(seen: &[Observation], topology: &Topology) -> Self {
        let mut update = Self { known: vec![None; topology.servers.len()], accepted: None, hops: Vec::new() };
        for Observation { at, event } in seen {
            match event {
                Event::Accepted { server, .. } => {
                    update.accepted = Some(*at);
                    update.known[server.index()] = Some(*at);
                }
                Event::Heard { server, from: Some(hop), newer, .. } => {
                    update.hops.extend(update.known[hop.server.index()].map(|known| at.since(known)));
                    if *newer {
                        update.known[server.index()] = Some(*at);
                    }
                }
                _ => {}
            }
        }
        update
    }

    fn farthest(&self) -> Option<Duration> {
        Some(self.known.iter().copied().max()??.since(self.accepted?))
    }

    fn check(&self, topology: &Topology, origin: ServerId) -> Result<(), CalibrateError> {
        let (reached, servers) = (self.known.iter().flatten().count(), self.known.len());
        match reached == servers {
            true => Ok(()),
            false => Err(CalibrateError::Unreached { origin: topology.name(origin).clone(), reached, servers }),
        }
    }
}

#[cfg(test)]
mod tests;
