//! From the names in a request to the servers and ways of a herd.

use super::api::{Refusal, RefusalCode, ServerState};
use crate::act::{Action, Plan, Refused, ServerVerb, Verb, WayVerb};
use crate::config::{ServerId, Topology, Wiring};
use crate::diagnostic::{did_you_mean, quoted};
use crate::words::percent_encoded;

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

    /// Returns actions with servers for their names.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd has no server of a name.
    pub fn actions(self, actions: Vec<Action<String>>) -> Result<Vec<Action>, Refusal> {
        actions.into_iter().map(|action| action.map(&mut |name: String| self.server(&name))).collect()
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

/// Returns the control name of a process that runs one server of a herd: `herd.Clark`.
pub fn of_node(herd: &str, server: &str) -> String {
    // A herd's own name has no point, and neither has what is encoded.
    format!("{herd}.{}", percent_encoded(server))
}

/// Returns `true` if a process of this control name runs `server` and no other. `None`: the name does not tell.
///
/// When two processes want one name, the later one has a number behind it, as in `herd.Clark.2`.
pub fn is_node_of(control: &str, server: &str) -> Option<bool> {
    control.split('.').nth(1).map(|encoded| encoded == percent_encoded(server))
}

/// Says why a verb changed nothing.
pub fn why_nothing(verb: &Verb<String>, state: impl Fn(&str) -> ServerState) -> String {
    match verb {
        Verb::Servers { verb: ServerVerb::Clock(_), on } => format!("the clock of {} is so already", on.join(", ")),
        Verb::Servers { on, .. } | Verb::RollingRestart { on } => {
            let states: Vec<_> = on.iter().map(|server| state(server).name()).collect();
            format!("{} {} {} already", on.join(", "), if on.len() == 1 { "is" } else { "are" }, states.join(", "))
        }
        Verb::Ways { verb: WayVerb::Reset { .. }, .. } => "there was no connection to reset".into(),
        Verb::Ways { verb, .. } => match verb.spec().state {
            Some(state) => format!("all of it is {state} already"),
            None => format!("there was nothing to {}", verb.spec().word),
        },
        Verb::Partition { .. } => "no link leads from one group to another, or all are separated already".into(),
    }
}

/// Says that a server of a herd whose servers have processes of their own has none.
pub fn absent(server: &str) -> String {
    format!("{server} has no process; `herdsim node {server}` starts one")
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
