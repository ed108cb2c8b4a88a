//! A case on a herd that other processes run.
//!
//! Not here: how they are reached ([`crate::driver::remote`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;

use super::work::{Attempt, Worker};
use super::{Case, Watcher};
use crate::config::{Link, Topology, Wiring};
use crate::control::api::{HerdStatus, ServerState};
use crate::control::herd::Herd;
use crate::control::socket::{Claim, SocketError};
use crate::driver::Driver;
use crate::driver::remote::RemoteDriver;
use crate::history::{DriverKind, History, Origin};
use crate::words::{count, list};

/// How long a request to a process of the herd may take.
const REQUEST: Duration = Duration::from_secs(10);

impl<W: Watcher> Worker<'_, W> {
    pub(super) fn on_processes(&self, number: usize, case: &Case) -> Attempt {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.on_processes_of(number, case)),
            Err(error) => Attempt::failed(format!("cannot start a runtime: {error}")),
        }
    }

    async fn on_processes_of(&self, number: usize, case: &Case) -> Attempt {
        let started = async {
            let herd =
                Herd::find(self.options.herd_of.as_deref(), &[], REQUEST).await.map_err(|error| error.to_string())?;
            let claim = Claim::take(&format!("{}.run", herd.name)).map_err(|error| match error {
                SocketError::AlreadyUp { .. } => {
                    format!("another scenario is being played on the herd `{}`", herd.name)
                }
                error => error.to_string(),
            })?;
            herd.status().await.map_err(|error| error.to_string()).and_then(|status| fresh(&status))?;
            let driver = RemoteDriver::attach(herd.clone()).await.map_err(|error| error.to_string())?;
            // Once more, now that the driver sees whatever comes: nothing was learned in between.
            let herd = herd.again().await.unwrap_or(herd);
            herd.status().await.map_err(|error| error.to_string()).and_then(|status| fresh(&status))?;
            Ok::<_, String>((driver, claim))
        };
        // Nobody else plays on the herd as long as it is claimed.
        let (mut driver, _claim) = match started.await {
            Ok(started) => started,
            Err(error) => return Attempt::failed(error),
        };
        let wanted = &case.script.topology;
        if let Some(difference) = difference(wanted, driver.topology(), &driver.history().origin) {
            return Attempt::failed(difference);
        }
        let topology = driver.topology().clone();
        let origin = Origin {
            strategy: driver.history().origin.strategy,
            reply: driver.history().origin.reply,
            links: topology.effective_links(),
            redial: topology.redial,
            sights: topology.ids().map(|server| driver.sight(server)).collect(),
            ..case.script.origin(DriverKind::Remote)
        };
        let absent: Vec<&str> =
            topology.ids().filter(|id| driver.is_absent(*id)).map(|id| &**topology.name(id)).collect();
        let missing =
            (!absent.is_empty()).then(|| format!("no process runs {}, and nobody listens there", list(&absent)));
        let history = History::new(Arc::new(origin), topology.seed, driver.started());
        let (history, error) = self.play(number, case, history, Arc::new(Wiring::of(&topology)), &mut driver).await;
        let mut notes = vec!["the herd stays as the scenario left it".into()];
        notes.extend(missing);
        Attempt { history: Some(history), records: Vec::new(), error, notes }
    }
}

/// Says what is wrong if a herd is not as its file says, or knows somebody.
fn fresh(status: &HerdStatus) -> Result<(), String> {
    let wrong = |text: String| {
        Err(format!("{text}; a scenario begins with a herd that is whole and knows nobody: end it, and start it anew"))
    };
    if let Some(fault) = status.faults.first() {
        return wrong(format!("the way from {} to {} is {}", fault.from, fault.to, fault.faults.join(" and ")));
    }
    for server in status.servers.iter().filter(|server| server.state != ServerState::Absent) {
        if server.state != ServerState::Up {
            return wrong(format!("{} is {}", server.server, server.state.name()));
        }
        if server.records > 0 {
            return wrong(format!("{} knows {}", server.server, count(server.records as u64, "client")));
        }
    }
    Ok(())
}

/// Returns what a scenario wants otherwise than the herd that is there.
fn difference(wanted: &Topology, there: &Topology, origin: &Origin) -> Option<String> {
    let names = |topology: &Topology| {
        topology.servers.iter().map(|server| server.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    let ends = |topology: &Topology, link: &Link| {
        let [a, b] = link.ends.map(|server| topology.name(server).clone());
        format!(
            "{a}-{b} ({})",
            if link.mode == crate::config::LinkMode::Persistent { "persistent" } else { "per message" }
        )
    };
    let links = |topology: &Topology| {
        let mut links: Vec<_> = topology.links.iter().map(|link| ends(topology, link)).collect();
        links.sort_unstable();
        links.join(", ")
    };
    let differ = |what: &str, wanted: String, there: String| {
        (wanted != there).then(|| format!("the scenario is about another herd: its {what} {wanted}, and here {there}"))
    };
    let delays = |topology: &Topology| {
        let delayed =
            |link: &&Link| link.delays.iter().any(|delay| !delay.latency.is_zero() || !delay.jitter.is_zero());
        if topology.links.iter().any(|link| delayed(&link)) { "have delays" } else { "have none" }.to_owned()
    };
    differ("servers are", names(wanted), names(there))
        .or_else(|| differ("links are", links(wanted), links(there)))
        .or_else(|| differ("strategy is", wanted.strategy.to_string(), origin.strategy.to_string()))
        .or_else(|| differ("links", delays(wanted), delays(there)))
        .or_else(|| {
            let reply = wanted.reply?;
            differ("servers reply", reply.name().to_owned(), origin.reply.name().to_owned())
        })
}
