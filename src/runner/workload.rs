//! Many clients that talk at a steady rate, drawn by key so that the same seed says the same.

use std::sync::Arc;

use bytes::Bytes;

use super::{Planned, Runner};
use crate::claim::StepId;
use crate::config::ServerId;
use crate::draws::Draws;
use crate::driver::{Driver, DriverError};
use crate::scenario::{Keys, SessionKey, Workload};
use crate::time::Timestamp;

/// Where clients are about: Westwood, in degrees.
const HOME: (f64, f64) = (34.068_93, -118.445_127);

/// How far from there clients go, in degrees.
const RANGE: f64 = 0.2;

/// What a read asks for.
const READ: &str = "10 5";

/// Which of a command's draws is which.
#[derive(Clone, Copy)]
enum Stream {
    Reads,
    Client,
    Moves,
    Server,
    Latitude,
    Longitude,
}

/// A workload under way.
#[derive(Debug)]
pub(super) struct Running {
    workload: Workload,
    draws: Draws,
    begun: Timestamp,
    /// Commands said so far.
    said: u64,
    /// Where each client is: a place in the workload's servers.
    places: Vec<u32>,
    names: Vec<Arc<str>>,
    /// Sums of 1/n, for [`Keys::Skewed`]; empty otherwise.
    weights: Vec<f64>,
}

impl Running {
    pub(super) fn new(workload: &Workload, step: StepId, seed: u64, begun: Timestamp) -> Self {
        let weights = (1..=workload.clients).scan(0.0, |sum, n| {
            *sum += 1.0 / f64::from(n);
            Some(*sum)
        });
        Self {
            draws: Draws::new(seed, u64::from(step.0) << 32 | 0x1057),
            begun,
            said: 0,
            places: (0..workload.clients).map(|client| client % workload.via.len() as u32).collect(),
            names: (1..=workload.clients).map(|n| format!("{}-{n}", workload.prefix).into()).collect(),
            weights: if workload.keys == Keys::Skewed { weights.collect() } else { Vec::new() },
            workload: workload.clone(),
        }
    }

    /// When the next command is said.
    pub(super) fn due(&self) -> Timestamp {
        self.begun + self.workload.planned(self.said)
    }

    pub(super) fn is_over(&self) -> bool {
        self.said >= self.workload.count
    }

    fn draw(&self, stream: Stream) -> f64 {
        self.draws.unit(self.said, stream as u64)
    }

    fn client(&self) -> usize {
        let clients = self.names.len();
        let drawn = match self.workload.keys {
            Keys::Sequential => (self.said % clients as u64) as usize,
            Keys::Random => (self.draw(Stream::Client) * clients as f64) as usize,
            Keys::Skewed => {
                let target = self.draw(Stream::Client) * self.weights.last().copied().unwrap_or(0.0);
                self.weights.partition_point(|&sum| sum <= target)
            }
        };
        drawn.min(clients - 1)
    }

    fn server(&self) -> u32 {
        let servers = self.workload.via.len();
        ((self.draw(Stream::Server) * servers as f64) as usize).min(servers - 1) as u32
    }

    /// Where a client says it is.
    fn location(&self) -> String {
        let around = |home: f64, stream| home + RANGE * (2.0 * self.draw(stream) - 1.0);
        let (latitude, longitude) = (around(HOME.0, Stream::Latitude), around(HOME.1, Stream::Longitude));
        format!("{latitude:+.6}{longitude:+.6}")
    }

    /// Who says the next command, to whom, and where it says it is, unless it only asks.
    fn next(&mut self) -> (Arc<str>, ServerId, Option<String>) {
        let client = self.client();
        let reads = self.draw(Stream::Reads) < self.workload.reads;
        if reads {
            let server = self.workload.via[self.server() as usize];
            return (self.names[client].clone(), server, None);
        }
        if self.draw(Stream::Moves) < self.workload.moves {
            self.places[client] = self.server();
        }
        let server = self.workload.via[self.places[client] as usize];
        (self.names[client].clone(), server, Some(self.location()))
    }
}

impl<D: Driver> Runner<'_, D> {
    /// Says the next command of a workload and plans the one after it.
    pub(super) async fn say_next(&mut self, step: StepId) -> Result<(), DriverError> {
        let Some(running) = self.workloads.get_mut(&step).filter(|running| !running.is_over()) else { return Ok(()) };
        let (client, via, location) = running.next();
        running.said += 1;
        let due = running.due();
        if !running.is_over() {
            self.plan(due, Planned::Command(step));
        }
        let bytes = match location {
            Some(location) => self.iamat(&client, &location, 0),
            None => Bytes::from(format!("WHATSAT {client} {READ}\n")),
        };
        self.send(step, &SessionKey { name: Some(client), via }, bytes, false, 1).await
    }
}
