//! Lines of one connection that its reader has acknowledged, until its writer learns of it.
//!
//! How the writer learns it: in this process its node is told, between processes a control line goes back over the connection,
//! and a connection that carries one line is closed.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;
use crate::node::Settled;
use crate::numbers::Numbers;
use crate::wire::ControlLine;

/// The number of every line where nobody asks which lines are acknowledged, so that they take no memory. No line has it.
pub(super) const NOBODY_ASKS: u64 = 0;

/// Acknowledgements of one connection. Locked behind everything else.
#[derive(Debug)]
pub(super) struct Acks {
    state: Mutex<State>,
    /// Rings when a line is acknowledged that was held.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Acknowledged, and the writer does not know it.
    taken: Numbers,
    /// How many lines are held.
    held: u64,
}

impl Acks {
    pub(super) fn new(bell: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), bell })
    }

    /// Acknowledges a line.
    pub(super) fn add(&self, line: u64) {
        lock(&self.state).taken.insert(line..=line);
    }

    /// Acknowledges lines, which are taken out of `lines`.
    pub(super) fn append(&self, lines: &mut Numbers) {
        if !lines.is_empty() {
            let mut state = lock(&self.state);
            lines.drain().for_each(|lines| state.taken.insert(lines));
        }
    }

    /// A line is read and will be acknowledged later.
    pub(super) fn hold(&self) {
        lock(&self.state).held += 1;
    }

    /// A line that was held is held no longer. It is acknowledged if all have it that it waited for.
    pub(super) fn release(&self, line: u64, how: Settled) {
        {
            let mut state = lock(&self.state);
            if how == Settled::Taken {
                state.taken.insert(line..=line);
            }
            state.held -= 1;
        }
        self.bell.notify_one();
    }

    /// Takes what the writer does not know.
    pub(super) fn take(&self) -> Numbers {
        std::mem::take(&mut lock(&self.state).taken)
    }

    /// Takes what the writer does not know, as lines of at most `limit` bytes.
    pub(super) fn take_lines(&self, limit: usize) -> impl Iterator<Item = ControlLine> {
        let mut ranges = self.take().drain().collect::<Vec<_>>().into_iter().peekable();
        std::iter::from_fn(move || {
            let mut line = ControlLine::took();
            while ranges.next_if(|range| line.push_lines(range, limit)).is_some() {}
            Some(line).filter(|line| !line.is_bare())
        })
    }

    /// Waits until a line is acknowledged that was held.
    pub(super) async fn released(&self) {
        self.bell.notified().await;
    }

    /// Waits until no line is held.
    pub(super) async fn all_released(&self) {
        while lock(&self.state).held > 0 {
            self.released().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_which_nobody_asks_take_no_memory() {
        let acks = Acks::new(Arc::default());
        for _ in 0..1000 {
            acks.hold();
            acks.release(NOBODY_ASKS, Settled::Taken);
        }
        assert_eq!(acks.take().ranges().count(), 1);
    }
}
