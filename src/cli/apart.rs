//! `up` of a herd whose servers run in processes of their own: it starts none, and can wait for those that are there.
//!
//! Not here: how such processes are found ([`crate::control::herd`]), and a herd in one process ([`super::up`]).

use std::io::Write;
use std::time::Duration;

use super::args::{Global, Up};
use super::terminal::{self, CYAN, styled};
use super::up::write_addresses;
use super::{Failure, Outcome, block_on};
use crate::config::Identity;
use crate::control::api::{HerdStatus, ServerState, ServerStatus};
use crate::control::herd::Herd;
use crate::exit::Exit;
use crate::time::RealClock;
use crate::words::{list, short};

/// How often processes are asked whether their links are up.
const LOOK: Duration = Duration::from_millis(20);

/// Returns what becomes of `up` if processes run servers of the file, or `None` if there are none.
pub(super) fn up(global: &Global, up: &Up, file: &Identity) -> Option<Outcome> {
    block_on(async {
        let Some(herd) = find(global, file).await else { return Ok(None) };
        if !up.wait {
            return Err(Failure::could_not(format!(
                "servers of the herd `{}` run in processes of their own: {}; `herdsim down` ends them, `herdsim up --wait` waits \
                 until all links are up",
                herd.name,
                list(&herd.processes.iter().map(|process| process.control.as_str()).collect::<Vec<_>>())
            )));
        }
        wait(global, up, file).await.map(Some)
    })
    .transpose()
}

async fn find(global: &Global, file: &Identity) -> Option<Herd> {
    let is_same = |status: &HerdStatus| status.identity.is_same(file);
    let herds = Herd::all(global.request_timeout).await;
    herds.into_iter().find(|herd| herd.is_apart() && herd.statuses().any(is_same))
}

/// Waits until every server has a process and all links are up.
async fn wait(global: &Global, up: &Up, file: &Identity) -> Outcome {
    let clock = RealClock::start();
    loop {
        let status = match find(global, file).await {
            Some(herd) => herd.status().await?,
            None => return Err(Failure::could_not("the processes of this herd have ended")),
        };
        let missing: Vec<&str> =
            status.servers.iter().filter(|server| !is_linked(server)).map(|server| server.server.as_str()).collect();
        if missing.is_empty() {
            return told(global, &status);
        }
        if clock.now().since(clock.started()) >= up.wait_timeout {
            let (missing, limit) = (list(&missing), short(up.wait_timeout));
            return Err(Failure::could_not(format!(
                "after {limit} not all links are up, or no process runs the server: {missing}; `herdsim ps` shows the herd"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_linked(server: &ServerStatus) -> bool {
    server.state == ServerState::Up && server.links_up == server.neighbours.len()
}

fn told(global: &Global, status: &HerdStatus) -> Outcome {
    if !global.quiet {
        write_addresses(status)?;
        let (herd, processes) = (styled(CYAN, &status.name), status.servers.len());
        writeln!(terminal::err(), "{herd} is up, in {processes} processes; `herdsim down` ends it")?;
    }
    Ok(Exit::Passed)
}
