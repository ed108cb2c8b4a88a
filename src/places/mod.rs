//! What is near a point: the answers to `WHATSAT`.
//!
//! Not here: the command and its limits ([`crate::wire`]), and whose location is asked about ([`crate::node`]).

mod nearby;
#[cfg(feature = "network")]
mod network;
mod offline;
mod sphere;

use std::path::PathBuf;

use crate::config::{self, Provider};
use crate::wire::{Answer, Search};

/// The environment variable with the key of a service; goes before the file of the topology.
pub const KEY_VARIABLE: &str = "HERDSIM_PLACES_KEY";

/// Who answers. Built once for a whole herd and shared by its servers, which share its budget of calls too.
#[derive(Debug)]
pub struct Service(Source);

#[derive(Debug)]
enum Source {
    Offline,
    #[cfg(feature = "network")]
    Network(std::sync::Arc<network::Network>),
}

/// Why no places service could be built.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// A network provider is asked of a program without them.
    #[error(
        "this herdsim is built without network services: set `provider = \"offline\"` under [places], or build it with \
         the feature `network`"
    )]
    NotBuiltIn,
    /// The service takes a key, and there is none.
    #[error(
        "this places service needs a key: set {KEY_VARIABLE}, or put the key into a file of mode 0600 and name it as \
         `key_file` under [places]"
    )]
    NoKey,
    /// What is there cannot be a key.
    #[error("{origin} holds no key: a key is 8 to 256 letters, digits, `-`, `_`, `.` and `~`")]
    NotAKey {
        /// The variable or the file.
        origin: String,
    },
    /// The key file cannot be read.
    #[error("cannot read the key file {path}: {source}", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The key file can be read by others.
    #[error("others may read the key file {path} (mode {mode:04o}): run `chmod 600 {path}`", path = path.display())]
    OpenKeyFile {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file belongs to another user.
    #[error("the key file {path} belongs to another user: copy the key into a file of your own", path = path.display())]
    ForeignKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The address of the topology cannot be used. It is not repeated, for it may hold a password.
    #[error("`base_url` under [places] is no address of a service: {reason}")]
    BaseUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// This machine cannot make HTTPS connections.
    #[error("cannot prepare connections to the places service: {reason}")]
    Client {
        /// The reason of the TLS library.
        reason: String,
    },
}

impl Service {
    /// The service that a topology asks for. Reads its key, and asks nobody anything yet.
    pub fn open(config: &config::Places) -> Result<Self, PlacesError> {
        match config.provider {
            Provider::Offline => Ok(Self::offline()),
            #[cfg(feature = "network")]
            Provider::Google => Self::network(network::Api::Google, config),
            #[cfg(feature = "network")]
            Provider::GoogleLegacy => Self::network(network::Api::GoogleLegacy, config),
            #[cfg(feature = "network")]
            Provider::Overpass => Self::network(network::Api::Overpass, config),
            #[cfg(not(feature = "network"))]
            Provider::Google | Provider::GoogleLegacy | Provider::Overpass => Err(PlacesError::NotBuiltIn),
        }
    }

    /// The places built into the program.
    pub fn offline() -> Self {
        offline::warm_up();
        Self(Source::Offline)
    }

    #[cfg(feature = "network")]
    fn network(api: network::Api, config: &config::Places) -> Result<Self, PlacesError> {
        let key =
            std::env::var_os(KEY_VARIABLE).map(|key| key.to_string_lossy().into_owned()).filter(|key| !key.is_empty());
        network::Network::open(api, config, key).map(|network| Self(Source::Network(network.into())))
    }

    /// The answer, when it takes no waiting: always with the `offline` provider (about 15 microseconds), and when nothing
    /// can be found. Otherwise `None`, and [`Service::search`] is the way.
    pub fn immediate(&self, search: &Search) -> Option<Answer> {
        match &self.0 {
            Source::Offline => Some(offline::answer(search)),
            #[cfg(feature = "network")]
            Source::Network(_) => search.is_empty().then(|| nearby::Nearby::<nearby::Place<'_>>::none().answer()),
        }
    }

    /// The answer, within the time that the topology gives it. Never fails: a service that does is an answer without
    /// results, with a `status` and an `error_message`. The same search made while one is under way joins it.
    ///
    /// Must be awaited inside a tokio runtime. Dropping it gives the search up, unless others wait for it too; a call
    /// that was made stays counted.
    pub async fn search(&self, search: &Search) -> Answer {
        match (self.immediate(search), &self.0) {
            (Some(answer), _) => answer,
            (None, Source::Offline) => unreachable!("the offline places are always at hand"),
            #[cfg(feature = "network")]
            (None, Source::Network(network)) => network.search(search).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UCLA: Search = Search { latitude: 34.068930, longitude: -118.445127, radius_km: 10, bound: 5 };

    #[tokio::test]
    async fn the_offline_service_answers_the_same_with_and_without_waiting() {
        let service = Service::open(&config::Places::default()).expect("needs nothing");
        let answer = service.immediate(&UCLA).expect("at hand");
        assert_eq!(service.search(&UCLA).await, answer);
    }

    #[cfg(not(feature = "network"))]
    #[test]
    fn without_the_feature_a_network_provider_is_refused() {
        let places = config::Places { provider: Provider::Overpass, ..config::Places::default() };
        assert!(matches!(Service::open(&places), Err(PlacesError::NotBuiltIn)));
    }
}
