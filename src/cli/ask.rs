//! Commands that do something to a herd that is up, and tell what they hit.

use std::io::Write;

use super::args::{Down, Global};
use super::terminal::{self, CYAN, styled};
use super::{Failure, Outcome, block_on};
use crate::act::Verb;
use crate::control::api::{DownRequest, VerbAnswer};
use crate::control::herd::Herd;
use crate::exit::Exit;
use crate::words::{count, nanoseconds};

/// Does something to a herd that is up.
pub(super) fn verb(global: &Global, verb: &Verb<String>) -> Outcome {
    block_on(async {
        let servers = match verb {
            Verb::Servers { on, .. } | Verb::RollingRestart { on } => on.as_slice(),
            Verb::Ways { .. } | Verb::Partition { .. } => &[],
        };
        let answer = herd(global, servers).await?.verb(verb).await?;
        tell(global, verb, &answer)?;
        Ok(Exit::Passed)
    })
}

/// Returns the herd that is meant. If none is named and several are up, that is the only one with these servers.
pub(super) async fn herd(global: &Global, servers: &[String]) -> Result<Herd, Failure> {
    Ok(Herd::find(global.herd.as_deref(), servers, global.request_timeout).await?)
}

/// `down`.
pub(super) fn down(global: &Global, down: &Down) -> Outcome {
    block_on(async {
        let mut limit = global.request_timeout;
        if let Some(timeout) = down.timeout {
            limit = limit.saturating_add(timeout);
        }
        let herd = herd(global, &[]).await?;
        let answer = herd.down(&DownRequest { timeout: down.timeout.map(nanoseconds) }, limit).await?;
        if !answer.in_order {
            terminal::warn("some servers did not end in time and were killed")?;
        }
        if !global.quiet {
            writeln!(terminal::out(), "{} is down", styled(CYAN, herd.name))?;
        }
        Ok(Exit::Passed)
    })
}

fn tell(global: &Global, verb: &Verb<String>, answer: &VerbAnswer) -> Result<(), Failure> {
    if let Some(warning) = &answer.warning {
        return Ok(terminal::warn(&format!("{warning}; nothing changed"))?);
    }
    if !global.quiet {
        let (did, targets) = (verb.spec().did, styled(CYAN, verb.targets()));
        writeln!(terminal::out(), "{did} {targets}{}{}", verb.manner(), hit(answer))?;
    }
    Ok(())
}

fn hit(answer: &VerbAnswer) -> String {
    let parts = [
        (answer.connections, "connection", "reset or closed"),
        (answer.lines_lost, "line", "lost in flight"),
        (answer.lines_released, "line", "that waited released"),
        (answer.records_lost, "record", "forgotten"),
    ];
    let told = parts.iter().filter(|&&(number, ..)| number > 0);
    let told: Vec<_> = told.map(|&(number, what, fate)| format!("{} {fate}", count(number, what))).collect();
    if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) }
}
