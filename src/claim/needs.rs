//! What has to be known of a run for a claim about it to be judged.
//!
//! Who asks servers for it is the runner; whether enough was seen, the checker decides.

use super::{Assertion, Metric, Scope};
use crate::config::ServerId;

/// What a claim needs to know of servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs<'a> {
    /// Nothing but what clients said and heard.
    Clients,
    /// What servers hold at the moment that the claim is about.
    Records {
        /// About this client; `None`: about every client of the run.
        client: Option<&'a str>,
        /// Whose records.
        scope: Scope,
    },
    /// What servers hold at that moment, and since when: they have to be asked all along.
    Changes {
        /// About this client; `None`: about every client of the run.
        client: Option<&'a str>,
        /// Whose records.
        scope: Scope,
    },
    /// Everything that servers do: each line that they send and read. Only they themselves can tell.
    Deeds,
}

impl Assertion {
    /// Returns what has to be known for it to be judged.
    pub fn needs(&self) -> Needs<'_> {
        let of = |client, on: &Vec<ServerId>| Needs::Records { client, scope: Scope::Servers(on.clone()) };
        match self {
            Self::NoInvention
            | Self::Monotone
            | Self::AckLocal
            | Self::NoEcho
            | Self::QueueBound { .. }
            | Self::NoMasked
            | Self::StaleArea { .. }
            | Self::Cost { .. } => Needs::Deeds,
            // Rest is told by the driver.
            Self::ReplyExact
            | Self::MonotonicReads
            | Self::ReadYourWrites
            | Self::Staleness { .. }
            | Self::Available { .. }
            | Self::Quiescent => Needs::Clients,
            Self::Converged { scope, within: None, by: None, .. } => {
                Needs::Records { client: None, scope: scope.clone() }
            }
            Self::Converged { scope, .. } => Needs::Changes { client: None, scope: scope.clone() },
            Self::HealedWithin { .. } | Self::Propagated { .. } => Needs::Changes { client: None, scope: Scope::Core },
            Self::NoLost | Self::Lost { .. } => Needs::Records { client: None, scope: Scope::Core },
            Self::AgreeLine { client, scope } => Needs::Records { client: client.as_deref(), scope: scope.clone() },
            // Stale is who holds less than another running server.
            Self::Stale { client, .. } => Needs::Records { client: Some(client), scope: Scope::Running },
            Self::Knows { client, on, .. } | Self::Lacks { client, on, .. } => of(Some(client), on),
        }
    }
}

impl Metric {
    /// Returns what has to be known for it to be measured.
    pub fn needs(self) -> Needs<'static> {
        let scope = Scope::Core;
        match self {
            Self::Convergence
            | Self::PropagationP50
            | Self::PropagationP95
            | Self::PropagationP99
            | Self::PropagationMax => Needs::Changes { client: None, scope },
            Self::Stable | Self::Stale | Self::Lost | Self::NeverRead => Needs::Records { client: None, scope },
            Self::LinesPerUpdate
            | Self::Lines
            | Self::Bytes
            | Self::Redundant
            | Self::ControlLines
            | Self::LateReplies
            | Self::StaleArea => Needs::Deeds,
            Self::Writes | Self::Reads | Self::Duration => Needs::Clients,
        }
    }
}
