//! What is near a point: the answers to `WHATSAT`.
//!
//! Not here: the command and its limits ([`crate::wire`]), and whose location is asked about ([`crate::node`]).

mod nearby;
mod offline;
mod sphere;

use crate::config::{self, Provider};

/// A question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Degrees, -90 to 90.
    pub latitude: f64,
    /// Degrees, -180 to 180.
    pub longitude: f64,
    /// 0 to 50 kilometres.
    pub radius_km: u8,
    /// 0 to 20 places.
    pub bound: u8,
}

impl Search {
    /// Whether no place can be an answer, so that nobody needs to be asked.
    pub fn is_empty(&self) -> bool {
        self.radius_km == 0 || self.bound == 0
    }
}

/// The JSON text of a Nearby Search reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// No run of two or more newlines, and none at the end.
    pub json: bytes::Bytes,
}

/// Who answers. Built once for a whole herd and shared by its servers.
#[derive(Debug)]
pub struct Service(Source);

#[derive(Debug)]
enum Source {
    Offline,
}

/// Why no places service could be built.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// A network provider is asked of a program without them.
    #[error(
        "this herdsim is built without network services: use the `offline` provider, or build it with the `network` feature"
    )]
    NotBuiltIn,
}

impl Service {
    /// The service that a topology asks for. Reads its key, and asks nobody anything yet.
    pub fn open(config: &config::Places) -> Result<Self, PlacesError> {
        match config.provider {
            Provider::Offline => Ok(Self::offline()),
            _ => Err(PlacesError::NotBuiltIn),
        }
    }

    /// The places built into the program.
    pub fn offline() -> Self {
        offline::warm_up();
        Self(Source::Offline)
    }

    /// The answer, when it takes no waiting: always with the `offline` provider (about 15 microseconds), and when nothing
    /// can be found. Otherwise `None`, and [`Service::search`] is the way.
    pub fn immediate(&self, search: &Search) -> Option<Answer> {
        match &self.0 {
            Source::Offline => Some(offline::answer(search)),
        }
    }

    /// The answer, within the time that the topology gives it. Never fails: a service that does is an answer without
    /// results, with a `status` and an `error_message`.
    pub async fn search(&self, search: &Search) -> Answer {
        match &self.0 {
            Source::Offline => offline::answer(search),
        }
    }
}
