//! Lines in flight of a connection that its writer has closed: they arrive, whatever becomes of the writer.
//!
//! Each way knows those of its lines, so that what loses lines of the way loses these too. Not here: how a line leaves
//! ([`super::lane`]).

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use super::inbox::Bringer;
use super::lane::{Channel, Outgoing};
use super::messages::Deliveries;
use super::registry::Dialled;
use super::rest::{Flow, Recurring};
use super::{Shared, at, lock};
use crate::config::Way;
use crate::driver::stage::Stage;
use crate::history::Event;
use crate::time::Timestamp;
use crate::wire::write_line;

/// What is left of a connection that its writer has closed.
#[derive(Debug)]
pub(super) struct Leaving {
    way: Way,
    /// The number of the connection. On a per-message way, that of the last line.
    connection: u32,
    /// Counts the lines, when the neighbour is in this process.
    lines: Option<Arc<Flow>>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    stage: Stage<Outgoing>,
    /// Due until the last line has landed and the end of the connection is on its way.
    pending: Recurring,
    is_lost: bool,
}

impl Leaving {
    /// Takes over what a way's channel had in flight.
    pub(super) fn new(way: Way, channel: Channel) -> Self {
        let Channel { connection, lines, stage, pending, .. } = channel;
        pending.set(true);
        let state = Mutex::new(State { stage, pending, is_lost: false });
        Self { way, connection, lines, state, wake: Notify::new() }
    }

    /// Returns `true` if every line has landed.
    pub(super) fn has_landed(&self) -> bool {
        lock(&self.state).stage.is_empty()
    }

    /// Loses the lines that have not been read. Returns their number.
    pub(super) fn lose(&self) -> u64 {
        let mut state = lock(&self.state);
        let in_flight = state.stage.lose_in_flight().count() as u64;
        state.is_lost = true;
        state.pending.set(false);
        self.wake.notify_one();
        self.lines.as_ref().map_or(in_flight, |lines| lines.end())
    }

    /// Lets lines in flight land at once.
    pub(super) fn hurry(&self, now: Timestamp) {
        lock(&self.state).stage.hurry(now);
        self.wake.notify_one();
    }

    fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.is_lost || (state.stage.is_empty() && self.lines.as_ref().is_none_or(|lines| lines.is_idle()))
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(lock(&self.state)).filter(|state| !state.is_lost)
    }

    /// Writes the lines over their connection when they land, and ends it behind them.
    pub(super) async fn see_through(&self, shared: &Shared, mut dialled: Dialled) {
        loop {
            let mut buffer = Vec::new();
            let next = {
                let Some(mut state) = self.state() else { return };
                while let Some(outgoing) = state.stage.land(shared.clock.now()) {
                    shared.arrive(self.way.to, Bringer::Connection(self.way, self.connection), 1);
                    write_line(&mut buffer, outgoing.line.text().as_bytes());
                }
                state.stage.next_landing()
            };
            if !buffer.is_empty() {
                tokio::select! {
                    biased;
                    written = dialled.write_all(&buffer) => if written.is_err() {
                        return self.on_broken(shared);
                    },
                    () = self.lost() => return,
                }
            } else if next.is_some() {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = at(shared, next) => {}
                }
            } else {
                if dialled.finish().await.is_ok() {
                    shared.see_off(self.way.to, dialled);
                }
                return self.end();
            }
        }
    }

    /// Takes each line to the neighbour over a connection of its own when it lands, and waits for deliveries begun before.
    pub(super) async fn deliver(&self, shared: &Arc<Shared>, mut deliveries: Deliveries) {
        loop {
            let next = {
                let Some(mut state) = self.state() else { return };
                while let Some(outgoing) = state.stage.land(shared.clock.now()) {
                    shared.arrive(self.way.to, Bringer::Connection(self.way, outgoing.connection), 1);
                    deliveries.begin(shared, self.way, &outgoing, self.lines.clone(), ());
                }
                state.stage.next_landing()
            };
            if next.is_none() && deliveries.is_empty() {
                return self.end();
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = at(shared, next) => {}
                Some(_) = deliveries.next() => {}
            }
        }
    }

    /// Loses the lines of a connection that is gone before every line was written.
    fn on_broken(&self, shared: &Shared) {
        let lines_lost = self.lose();
        if lines_lost > 0 {
            let (way, connection) = (self.way, self.connection);
            shared.sink.push(&shared.clock, Event::LinkLost { way, connection, lines_lost });
        }
    }

    /// Waits until the lines are lost.
    async fn lost(&self) {
        while self.state().is_some() {
            self.wake.notified().await;
        }
    }

    fn end(&self) {
        lock(&self.state).pending.set(false);
    }
}

impl Shared {
    /// Makes lines known that are in flight on a connection which its writer has closed.
    pub(super) fn leave(&self, leaving: &Arc<Leaving>) {
        let mut all = lock(self.leaving(leaving.way));
        all.retain(|leaving| !leaving.is_over());
        all.push(leaving.clone());
    }

    /// Loses what is in flight on connections of a way that its writer has closed. Returns the number of lines.
    pub(super) fn lose_leaving(&self, way: Way) -> u64 {
        std::mem::take(&mut *lock(self.leaving(way))).iter().map(|leaving| leaving.lose()).sum()
    }

    /// Lets what is in flight on connections of a way that its writer has closed land at once.
    pub(super) fn hurry_leaving(&self, way: Way) {
        lock(self.leaving(way)).iter().for_each(|leaving| leaving.hurry(self.clock.now()));
    }
}
