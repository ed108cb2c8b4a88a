//! Lines in flight whose server has stopped: they arrive when their way says so, and their server does not wait for that.
//!
//! Not here: when a line arrives ([`super::super::path`]), and what a server still hands on before it stops ([`super::link`]).

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use super::link::{Channel, Lane, Message, Staged, at, deliver};
use super::registry::Dialled;
use super::rest::Flow;
use super::server::Life;
use super::{Shared, lock};
use crate::config::{LinkId, Way};
use crate::wire::write_line;

/// Connections and lines that outlive the server that began them, by the server that they lead to.
#[derive(Debug, Default)]
pub(super) struct Departed {
    /// Connections that were closed in order with lines of theirs unread: the server that accepts them must still know whose they
    /// are. No more than there are connections that no server has accepted or read to the end.
    pub(super) closed: Vec<Dialled>,
    /// Counts of lines in flight, by the way they take. No more than there were ways to stopped servers with lines in flight.
    carried: Vec<(Way, Arc<Flow>)>,
}

impl Departed {
    /// Loses everything. Returns the number of lines.
    pub(super) fn lose(self) -> u64 {
        let closed = self.closed.into_iter().map(Dialled::lose);
        closed.chain(self.carried.iter().map(|(_, flow)| flow.end())).sum()
    }
}

impl Shared {
    /// Loses the lines of stopped servers that are in flight on a way. Returns their number.
    pub(super) fn lose_carried(&self, way: Way) -> u64 {
        let departed = lock(&self.slots[way.to.index()].departed);
        let carried = departed.iter().flat_map(|departed| &departed.carried).filter(|(of, _)| *of == way);
        carried.map(|(_, flow)| flow.end()).sum()
    }

    /// Makes lines in flight known to the server that they lead to. They are lost if it does not run.
    fn carry(&self, way: Way, flow: &Arc<Flow>) {
        match &mut *lock(&self.slots[way.to.index()].departed) {
            Some(departed) => departed.carried.push((way, flow.clone())),
            None => {
                flow.end();
            }
        }
    }

    /// Forgets lines that have arrived.
    fn carried(&self, way: Way, flow: &Arc<Flow>) {
        if let Some(departed) = &mut *lock(&self.slots[way.to.index()].departed) {
            departed.carried.retain(|(_, of)| !Arc::ptr_eq(of, flow));
        }
    }
}

/// What is in flight on one way.
struct Courier {
    shared: Arc<Shared>,
    /// The life that has ended.
    life: Arc<Life>,
    link: LinkId,
    channel: Channel,
}

/// Takes over what is in flight on a way whose server stops. Lines that the way holds are lost. `dialled` is the connection of a
/// persistent way.
pub(super) fn take_over(shared: &Arc<Shared>, life: &Arc<Life>, lane: &Lane, dialled: Option<Dialled>) {
    let Some(channel) = lane.leave(shared) else { return };
    channel.lines.iter().for_each(|flow| shared.carry(lane.way, flow));
    let courier = Courier { shared: shared.clone(), life: life.clone(), link: lane.link, channel };
    tokio::spawn(courier.run(dialled));
}

impl Courier {
    async fn run(mut self, dialled: Option<Dialled>) {
        let (shared, lines) = (self.shared.clone(), self.channel.lines.clone());
        let way = self.lane().way;
        tokio::select! {
            // Lost with its reader or its way: what is dropped is reset.
            () = ended(lines.as_deref()) => {}
            () = async {
                match dialled {
                    Some(dialled) => self.over_connection(dialled).await,
                    None => self.one_by_one().await,
                }
            } => {}
        }
        lines.iter().for_each(|flow| shared.carried(way, flow));
    }

    fn lane(&self) -> &Lane {
        &self.life.lanes[self.link.index()]
    }

    /// Writes each line when it arrives, and then closes the connection.
    async fn over_connection(&mut self, mut dialled: Dialled) {
        let mut line = Vec::new();
        while let Some(staged) = self.next().await {
            line.clear();
            write_line(&mut line, staged.line.text().as_bytes());
            if dialled.write_all(&line).await.is_err() {
                if let Some(lines) = &self.channel.lines {
                    lines.end();
                }
                return;
            }
        }
        if dialled.finish().await.is_ok() {
            self.shared.see_off(self.lane().way.to, dialled);
        }
    }

    /// Takes each line to its reader over a connection of its own.
    async fn one_by_one(&mut self) {
        let dials = Semaphore::new(1);
        while let Some(staged) = self.next().await {
            let mut line = Vec::new();
            write_line(&mut line, staged.line.text().as_bytes());
            let message = Message { connection: staged.connection, lines: self.channel.lines.clone(), line };
            deliver(&self.shared, self.lane(), &message, &dials).await;
        }
    }

    /// Waits until the next line arrives.
    async fn next(&mut self) -> Option<Staged> {
        let staged = self.channel.stage.pop_front()?;
        at(&self.shared, staged.due).await;
        Some(staged)
    }
}

/// Waits until lines are lost. Never ends if they are not counted.
async fn ended(lines: Option<&Flow>) {
    match lines {
        Some(lines) => lines.ended().await,
        None => std::future::pending().await,
    }
}
