//! Whether a server's tasks may work: they run, they are paused, or they are to come to an end.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// What a server's tasks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Everything.
    Running,
    /// Nothing.
    Paused,
    /// Finish what was begun, and end.
    Draining,
}

/// One server's mode, asked by all its tasks before they touch anything.
#[derive(Debug, Default)]
pub(super) struct Gate {
    mode: AtomicU8,
    changed: Notify,
}

impl Gate {
    pub(super) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Running,
            1 => Mode::Paused,
            _ => Mode::Draining,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.mode() == Mode::Paused
    }

    /// Sets the mode and wakes everybody. Returns `true` if it is another one than before. A server that is to come to an end
    /// stays so.
    pub(super) fn set(&self, mode: Mode) -> bool {
        if self.mode() == Mode::Draining {
            return false;
        }
        let code = match mode {
            Mode::Running => 0,
            Mode::Paused => 1,
            Mode::Draining => 2,
        };
        let before = self.mode.swap(code, Ordering::AcqRel);
        self.changed.notify_waiters();
        before != code
    }

    /// Waits while the server is paused.
    pub(super) async fn pass(&self) {
        self.until(|mode| mode != Mode::Paused).await;
    }

    /// Waits until the server is to come to an end.
    pub(super) async fn drained(&self) {
        self.until(|mode| mode == Mode::Draining).await;
    }

    async fn until(&self, wanted: impl Fn(Mode) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(self.mode()) {
                return;
            }
            changed.await;
        }
    }
}
