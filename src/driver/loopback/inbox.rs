//! What comes to a server while it is frozen, in the order in which it comes: it is read in that order when the server goes on.
//!
//! The system keeps the bytes, one queue for each socket. Between the queues it keeps no order, so that this does, for
//! connections from inside this process: whoever hands something to a frozen server enters it here, and when the server goes
//! on, each connection and each task waits for its turn. A server that goes on reads all of it before its links write. Bounded as
//! the simulator's is: no more lines than ways bring, and no more commands than a script writes.
//!
//! Not here: the bytes, and what follows from them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::lock;
use crate::act::SessionId;
use crate::config::Way;

/// Who has something for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bringer {
    /// This connection of a neighbour's way: its beginning, or a line.
    Connection(Way, u32),
    /// A client of this driver: a line.
    Session(SessionId),
    /// A task of the server itself: news of a link.
    Task(u64),
}

/// What waits for one server.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Something waits, or comes to wait.
    is_open: AtomicBool,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The server is frozen: what comes is entered.
    is_frozen: bool,
    /// Things in order; of one bringer in a row, their number.
    waiting: VecDeque<(Bringer, u64)>,
    tasks: u64,
}

impl Inbox {
    /// Enters what comes from now on.
    pub(super) fn freeze(&self) {
        let mut state = lock(&self.state);
        state.is_frozen = true;
        self.is_open.store(true, Ordering::Release);
    }

    /// Enters nothing more. What waits is read, each in its turn.
    pub(super) fn thaw(&self) {
        let mut state = lock(&self.state);
        state.is_frozen = false;
        self.look(&state);
    }

    /// Returns `true` if something waits, or comes to wait.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Enters so many things, if the server is frozen.
    pub(super) fn enter(&self, bringer: Bringer, things: u64) {
        let mut state = lock(&self.state);
        if state.is_frozen && things > 0 {
            state.push(bringer, things);
        }
    }

    /// Enters news of a task, if the server is frozen or has something to read before it.
    pub(super) fn enter_task(&self) -> Option<Bringer> {
        if !self.is_open() {
            return None;
        }
        let mut state = lock(&self.state);
        if !state.is_frozen && state.waiting.is_empty() {
            return None;
        }
        state.tasks += 1;
        let task = Bringer::Task(state.tasks);
        state.push(task, 1);
        Some(task)
    }

    /// Returns how many things of a bringer may be read now: any number where nothing waits. A stranger is not in any order.
    pub(super) fn allowance(&self, bringer: Option<Bringer>) -> u64 {
        let Some(bringer) = bringer.filter(|_| self.is_open()) else { return u64::MAX };
        match lock(&self.state).waiting.front() {
            Some(&(first, things)) if first == bringer => things,
            Some(_) => 0,
            None => u64::MAX,
        }
    }

    /// Crosses out things of a bringer that have been read. Returns `true` if nothing waits any more.
    pub(super) fn took(&self, bringer: Option<Bringer>, things: u64) -> bool {
        let Some(bringer) = bringer.filter(|_| self.is_open()) else { return false };
        let mut state = lock(&self.state);
        let Some((_, left)) = state.waiting.front_mut().filter(|(first, _)| *first == bringer) else { return false };
        *left = left.saturating_sub(things);
        if *left > 0 {
            return false;
        }
        state.waiting.pop_front();
        self.look(&state);
        state.waiting.is_empty()
    }

    /// Crosses out what these bringers have entered, because it does not come. Returns `true` if nothing waits any more.
    pub(super) fn forget(&self, is_theirs: impl Fn(Bringer) -> bool) -> bool {
        if !self.is_open() {
            return false;
        }
        let mut state = lock(&self.state);
        if state.waiting.is_empty() {
            return false;
        }
        state.waiting.retain(|&(bringer, _)| !is_theirs(bringer));
        self.look(&state);
        state.waiting.is_empty()
    }

    /// Waits until a bringer's turn comes, or nothing waits.
    pub(super) async fn turn(&self, bringer: Option<Bringer>) {
        while self.allowance(bringer) == 0 {
            let changed = self.changed.notified();
            if self.allowance(bringer) == 0 {
                changed.await;
            }
        }
    }

    /// Waits until something of a bringer is what is to be read next.
    pub(super) async fn comes_to(&self, bringer: Bringer) {
        loop {
            let changed = self.changed.notified();
            if lock(&self.state).is_next(bringer) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until nothing waits, and nothing comes to wait.
    pub(super) async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            if !self.is_open() {
                return;
            }
            changed.await;
        }
    }

    /// Wakes everybody who waits for a turn.
    fn look(&self, state: &State) {
        self.is_open.store(state.is_frozen || !state.waiting.is_empty(), Ordering::Release);
        self.changed.notify_waiters();
    }
}

impl State {
    fn is_next(&self, bringer: Bringer) -> bool {
        !self.is_frozen && self.waiting.front().is_some_and(|&(first, _)| first == bringer)
    }

    fn push(&mut self, bringer: Bringer, things: u64) {
        match self.waiting.back_mut() {
            Some((last, count)) if *last == bringer => *count += things,
            _ => self.waiting.push_back((bringer, things)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerId;

    const CLIENT: Bringer = Bringer::Session(SessionId(1));

    fn neighbour(from: u32) -> Bringer {
        Bringer::Connection(Way { from: ServerId(from), to: ServerId(0) }, 1)
    }

    fn allowances(inbox: &Inbox) -> [u64; 3] {
        [neighbour(1), neighbour(2), CLIENT].map(|bringer| inbox.allowance(Some(bringer)))
    }

    #[test]
    fn what_came_to_a_frozen_server_is_read_in_the_order_in_which_it_came() {
        let inbox = Inbox::default();
        inbox.enter(neighbour(1), 1);
        assert_eq!((allowances(&inbox), inbox.enter_task()), ([u64::MAX; 3], None));
        inbox.freeze();
        for (bringer, things) in [(neighbour(2), 1), (CLIENT, 1), (neighbour(2), 1), (neighbour(2), 1)] {
            inbox.enter(bringer, things);
        }
        inbox.thaw();
        assert_eq!((allowances(&inbox), inbox.allowance(None)), ([0, 1, 0], u64::MAX));
        assert_eq!((inbox.took(Some(neighbour(2)), 1), allowances(&inbox)), (false, [0, 0, 1]));
        // Not in its turn.
        assert!(!inbox.took(Some(neighbour(2)), 1));
        let task = inbox.enter_task();
        assert_eq!((inbox.took(Some(CLIENT), 1), allowances(&inbox)), (false, [0, 2, 0]));
        assert!(!inbox.took(Some(neighbour(2)), 2) && inbox.is_open());
        assert_eq!((inbox.allowance(task), inbox.took(task, 1), inbox.is_open()), (1, true, false));
        assert_eq!(allowances(&inbox), [u64::MAX; 3]);
    }

    #[test]
    fn nobody_waits_for_what_does_not_come() {
        let inbox = Inbox::default();
        inbox.freeze();
        inbox.enter(neighbour(1), 3);
        inbox.enter(CLIENT, 1);
        inbox.thaw();
        assert!(!inbox.forget(|bringer| bringer == neighbour(1)));
        assert_eq!(inbox.allowance(Some(CLIENT)), 1);
        assert!(inbox.forget(|bringer| bringer == CLIENT) && !inbox.is_open());
    }
}
