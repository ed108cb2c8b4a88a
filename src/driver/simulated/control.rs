//! Control lines in flight. They lie beside the queue of coming events, whose entries have room for a report and no more.
//!
//! The time at which each arrives lives in the queue ([`Timer::Control`](super::queue::Timer::Control)).

use std::sync::Arc;

use crate::wire::ControlLine;

/// A control line in flight.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) control: Arc<ControlLine>,
    /// By its place among all pipes.
    pub(super) pipe: u32,
    /// The connection that it takes.
    pub(super) connection: u32,
}

/// All control lines in flight, by slot. Bounded as the queue is: each belongs to a line of a bounded window.
#[derive(Debug, Clone, Default)]
pub(super) struct Controls {
    slots: Vec<Option<InFlight>>,
    free: Vec<u32>,
}

impl Controls {
    /// Keeps a line. Returns its slot.
    pub(super) fn insert(&mut self, line: InFlight) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(line);
        slot
    }

    /// Returns the pipe of the line of a slot.
    pub(super) fn pipe(&self, slot: u32) -> u32 {
        self.slots[slot as usize].as_ref().expect("a slot is read before it is taken").pipe
    }

    /// Takes the line of a slot, which is free from then on.
    pub(super) fn take(&mut self, slot: u32) -> InFlight {
        self.free.push(slot);
        self.slots[slot as usize].take().expect("a slot is taken once")
    }

    /// Forgets everything, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
    }
}
