//! Commands that do something to a herd that is up, and tell what they hit.

use std::io::Write;

use super::args::{Down, Global, Servers, Verb, nanoseconds};
use super::narrate::{count, signed_seconds};
use super::terminal::{self, CYAN, styled};
use super::{Failure, Outcome, block_on};
use crate::control::api::{DownRequest, NamedWays, VerbAnswer, VerbRequest};
use crate::control::client::Client;
use crate::exit::Exit;

/// A verb of a herd that is up.
pub(super) fn verb(global: &Global, verb: &Verb) -> Outcome {
    let requests = requests(verb).map_err(Failure::usage)?;
    block_on(async {
        // One by one: a name that is wrong stops those behind it, and is told in their order.
        for request in requests {
            let client = connect(global).await?;
            let answer = client.verb(&request).await?;
            tell(global, &request, &answer)?;
        }
        Ok(Exit::Passed)
    })
}

/// The herd that is meant.
pub(super) async fn connect(global: &Global) -> Result<Client, Failure> {
    Ok(Client::connect(global.herd.as_deref(), global.request_timeout).await?)
}

/// `down`.
pub(super) fn down(global: &Global, down: &Down) -> Outcome {
    block_on(async {
        let mut limit = global.request_timeout;
        if let Some(timeout) = down.timeout {
            limit = limit.saturating_add(timeout);
        }
        let client = Client::connect(global.herd.as_deref(), limit).await?;
        let herd = client.herd().to_owned();
        let answer = client.down(&DownRequest { timeout: down.timeout.map(nanoseconds) }).await?;
        if !answer.in_order {
            terminal::warn("some servers did not end in time and were killed")?;
        }
        if !global.quiet {
            writeln!(terminal::out(), "{} is down", styled(CYAN, herd))?;
        }
        Ok(Exit::Passed)
    })
}

fn requests(verb: &Verb) -> Result<Vec<VerbRequest>, String> {
    let each =
        |servers: &Servers, request: fn(String) -> VerbRequest| servers.nodes.iter().cloned().map(request).collect();
    Ok(match verb {
        Verb::Kill(servers) => each(servers, VerbRequest::Kill),
        Verb::Stop(servers) => each(servers, VerbRequest::Stop),
        Verb::Start(servers) => each(servers, VerbRequest::Start),
        Verb::Restart(servers) => each(servers, VerbRequest::Restart),
        Verb::Pause(servers) => each(servers, VerbRequest::Pause),
        Verb::Unpause(servers) => each(servers, VerbRequest::Unpause),
        Verb::Cut(link) => vec![VerbRequest::Cut(link.ways()?)],
        Verb::Heal(link) => vec![VerbRequest::Heal(link.ways()?)],
        Verb::Hold(link) => vec![VerbRequest::Hold(link.ways()?)],
        Verb::Release(link) => vec![VerbRequest::Release(link.ways()?)],
        Verb::HalfOpen(link) => vec![VerbRequest::HalfOpen(link.ways()?)],
        Verb::Slow(slow) => vec![VerbRequest::Slow { ways: slow.link.ways()?, delay: slow.delay(), rate: slow.rate }],
        Verb::Reset(reset) => vec![VerbRequest::Reset { ways: reset.link.ways()?, after: reset.after }],
        Verb::Partition(partition) => {
            vec![VerbRequest::Partition { groups: partition.groups(), mode: partition.mode() }]
        }
        Verb::Clock(clock) => vec![VerbRequest::Clock { server: clock.node.clone(), offset: clock.offset }],
        other => unreachable!("{other:?} is no verb of a herd"),
    })
}

fn tell(global: &Global, request: &VerbRequest, answer: &VerbAnswer) -> Result<(), Failure> {
    if let Some(warning) = &answer.warning {
        return Ok(terminal::warn(&format!("{warning}; nothing changed"))?);
    }
    if !global.quiet {
        writeln!(terminal::out(), "{}{}", done(request), hit(answer))?;
    }
    Ok(())
}

/// What was done, in the past tense.
fn done(request: &VerbRequest) -> String {
    let server = |done: &str, server: &str| format!("{done} {}", styled(CYAN, server));
    let ways = |done: &str, ways: &NamedWays| format!("{done} {}", styled(CYAN, shown(ways)));
    match request {
        VerbRequest::Kill(name) => server("killed", name),
        VerbRequest::Stop(name) => server("stopped", name),
        VerbRequest::Start(name) => server("started", name),
        VerbRequest::Restart(name) => server("restarted", name),
        VerbRequest::Pause(name) => server("paused", name),
        VerbRequest::Unpause(name) => server("unpaused", name),
        VerbRequest::Clock { server: name, offset } => {
            format!("{} to {}", server("set the clock of", name), signed_seconds(*offset))
        }
        VerbRequest::Cut(named) => ways("cut", named),
        VerbRequest::Heal(named) => ways("healed", named),
        VerbRequest::Hold(named) => ways("held", named),
        VerbRequest::Release(named) => ways("released", named),
        VerbRequest::HalfOpen(named) => ways("half-open:", named),
        VerbRequest::Slow { ways: named, .. } => ways("slowed", named),
        VerbRequest::Reset { ways: named, after: 0 } => ways("reset", named),
        VerbRequest::Reset { ways: named, after } => {
            format!("{} after {}", ways("will reset", named), count(*after, "further line"))
        }
        VerbRequest::Partition { groups, .. } => {
            let groups: Vec<_> = groups.iter().map(|group| group.join(",")).collect();
            format!("separated {}", styled(CYAN, groups.join(" | ")))
        }
    }
}

fn shown(ways: &NamedWays) -> String {
    match ways {
        NamedWays::Both(a, b) => format!("{a} {b}"),
        NamedWays::One(from, to) => format!("{from}->{to}"),
        NamedWays::All => "every link".into(),
    }
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
