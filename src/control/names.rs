//! From the names in a request to the servers and ways of a herd.

use super::api::{Refusal, RefusalCode};
use crate::act::{Plan, Refused, Verb};
use crate::config::{ServerId, Topology, Wiring};
use crate::diagnostic::{did_you_mean, quoted};

/// The names of one herd.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    topology: &'a Topology,
    wiring: &'a Wiring,
}

impl<'a> Names<'a> {
    /// The names of a herd with this wiring.
    pub fn of(topology: &'a Topology, wiring: &'a Wiring) -> Self {
        Self { topology, wiring }
    }

    /// The server called `name`.
    pub fn server(self, name: &str) -> Result<ServerId, Refusal> {
        self.topology.server(name).ok_or_else(|| {
            let names = self.topology.servers.iter().map(|server| &*server.name);
            unknown_server(&self.topology.name, name, names)
        })
    }

    /// Returns the verb with servers for its names, and its plan.
    pub fn plan(self, verb: Verb<String>) -> Result<(Verb, Plan), Refusal> {
        let verb = verb.map(&mut |name: String| self.server(&name))?;
        let plan = verb.plan(self.topology, self.wiring).map_err(|refused| {
            let code = match refused {
                Refused::NotLinked(_) => RefusalCode::NotLinked,
                Refused::Twice(_) | Refused::OneGroup => RefusalCode::Invalid,
            };
            refusal(code, refused.told(self.topology, self.wiring))
        })?;
        Ok((verb, plan))
    }
}

/// The herd called `herd` has no server `name`, only `names`.
pub fn unknown_server<'a>(herd: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Refusal {
    let hint = did_you_mean(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    refusal(RefusalCode::UnknownServer, format!("the herd `{herd}` has no server {}{hint}", quoted(name)))
}

/// A refusal of this kind.
pub fn refusal(code: RefusalCode, error: impl Into<String>) -> Refusal {
    Refusal { code, error: error.into() }
}
