//! Whether a herd is at rest: nothing in it happens without a further action. All counters of that are here.
//!
//! After Mattern, "Algorithms for distributed termination detection" (1987). Each server has an account, and the clients of the
//! driver share one, and the network has one. What has to be done is **begun** on the account of who has to do it, before it can be done, and **ended**
//! after all that follows from it is begun and observed. Nothing begins but through something begun, an action or a stranger.
//!
//! So what has ended is never more than what has begun. Who adds up all that has ended, then looks at the dials, and then adds up
//! all that has begun, and finds equal sums, knows: at the moment of the look at the dials nothing was left to be done. An
//! exhaustive model ([`model`]) shows that, and that each rule is needed.
//!
//! Work waits in these places, and in no others: the start of a server, outboxes, lines on their way and the bytes of clients
//! ([`Flow`]), the beginning and the end of a connection ([`Call`]), a timer of a strategy, replies that wait, and what a way
//! delays: the dial of a line, lines in flight, the news that a reader is gone. The network does those by itself, though both
//! servers are frozen. Not here: dials of whole connections that are due, which [`super::LoopbackDriver`] reads off the links.
//!
//! Tasks of one server may run at the same time, so a thing is begun and ended under the lock of what it is about: an outbox under
//! that of its node, a [`Flow`] and a [`Call`] under their own. Locks are taken in the order path, channel, flow of lines or
//! commands, node, flow of replies; a writer counts what it took from a node after it has given the node back.

mod between;
#[cfg(test)]
mod model;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;
use crate::wire::Report;

pub(super) use between::{Between, Wire};

/// Lines in flight that a flow keeps room for while none are.
const KEPT_LINES: usize = 256;

/// What is to be done, by who has to do it.
#[derive(Debug)]
pub(super) struct Accounts {
    /// One for each server, one for the clients of this driver, and a last one for the network.
    accounts: Box<[Account]>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Account {
    begun: AtomicU64,
    ended: AtomicU64,
    /// What comes to it waits.
    is_frozen: AtomicBool,
}

/// Who has to do something: a server, by its number, or one of the two behind them: the driver's own clients, and the network.
pub(super) type Party = usize;

impl Accounts {
    pub(super) fn new(servers: usize) -> Self {
        Self { accounts: (0..servers + 2).map(|_| Account::default()).collect(), settled: Notify::new() }
    }

    /// The clients of this driver.
    pub(super) fn clients(&self) -> Party {
        self.accounts.len() - 2
    }

    /// The network, which is never asleep: what it does by itself, when its time has come.
    pub(super) fn network(&self) -> Party {
        self.accounts.len() - 1
    }

    /// Says whether what comes to a party waits.
    pub(super) fn freeze(&self, party: Party, is_frozen: bool) {
        self.accounts[party].is_frozen.store(is_frozen, Ordering::Release);
    }

    /// Returns `true` if what comes to a party waits.
    #[inline]
    pub(super) fn is_frozen(&self, party: Party) -> bool {
        self.accounts[party].is_frozen.load(Ordering::Acquire)
    }

    /// Begins a thing, which ends when what is returned is dropped.
    pub(super) fn begin(&self, party: Party) -> Begun<&Self> {
        self.begin_things(party, 1);
        Begun { accounts: self, party }
    }

    /// As [`Self::begin`], for a thing that outlives the caller.
    pub(super) fn begin_for_long(self: &Arc<Self>, party: Party) -> Begun<Arc<Self>> {
        self.begin_things(party, 1);
        Begun { accounts: self.clone(), party }
    }

    fn begin_things(&self, party: Party, things: u64) {
        self.accounts[party].begun.fetch_add(things, Ordering::SeqCst);
    }

    fn end_things(&self, party: Party, things: u64) {
        let Account { begun, ended, .. } = &self.accounts[party];
        let ended = ended.fetch_add(things, Ordering::SeqCst) + things;
        let begun = begun.load(Ordering::SeqCst);
        debug_assert!(ended <= begun, "{party} has begun {begun} and ended {ended}");
        if ended == begun && things > 0 {
            self.settled.notify_one();
        }
    }

    /// Something else changed that [`Self::settled`] should look at.
    pub(super) fn look(&self) {
        self.settled.notify_one();
    }

    /// Returns `true` if nobody had anything to do at the moment at which `linked` told that no dial is due. `asleep` tells whose
    /// work does not count.
    pub(super) fn is_certain(&self, asleep: impl Fn(Party) -> bool, linked: impl FnOnce() -> bool) -> bool {
        let awake =
            || self.accounts.iter().enumerate().filter(|(party, _)| !asleep(*party)).map(|(_, account)| account);
        let ended: u64 = awake().map(|account| account.ended.load(Ordering::SeqCst)).sum();
        linked() && awake().map(|account| account.begun.load(Ordering::SeqCst)).sum::<u64>() == ended
    }

    /// Returns how many things were begun by those who are not `asleep`.
    pub(super) fn begun(&self, asleep: impl Fn(Party) -> bool) -> u64 {
        let awake = self.accounts.iter().enumerate().filter(|(party, _)| !asleep(*party));
        awake.map(|(_, account)| account.begun.load(Ordering::SeqCst)).sum()
    }

    /// How much everybody has to do, about: things begin and end meanwhile.
    pub(super) fn due(&self) -> impl Iterator<Item = (Party, u64)> {
        let due = |account: &Account| {
            let ended = account.ended.load(Ordering::SeqCst);
            account.begun.load(Ordering::SeqCst) - ended
        };
        self.accounts.iter().map(due).enumerate()
    }

    /// Waits until the network has nothing to do.
    pub(super) async fn network_rests(&self) {
        while self.due().any(|(party, due)| party == self.network() && due > 0) {
            self.settled().await;
        }
    }

    /// Waits until somebody has nothing to do any more.
    pub(super) async fn settled(&self) {
        self.settled.notified().await;
    }
}

/// A thing that was begun. It ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Begun<A: Deref<Target = Accounts>> {
    accounts: A,
    party: Party,
}

impl<A: Deref<Target = Accounts>> Drop for Begun<A> {
    fn drop(&mut self) {
        self.accounts.end_things(self.party, 1);
    }
}

/// A thing that is to be done at some times and not at others. Changed only under the lock of what it is about.
#[derive(Debug)]
pub(super) struct Recurring {
    accounts: Arc<Accounts>,
    party: Party,
    is_due: AtomicBool,
}

impl Recurring {
    pub(super) fn new(accounts: Arc<Accounts>, party: Party) -> Self {
        Self { accounts, party, is_due: AtomicBool::new(false) }
    }

    pub(super) fn set(&self, is_due: bool) {
        match (self.is_due.swap(is_due, Ordering::Relaxed), is_due) {
            (false, true) => self.accounts.begin_things(self.party, 1),
            (true, false) => self.accounts.end_things(self.party, 1),
            _ => {}
        }
    }
}

impl Drop for Recurring {
    /// Nobody is left who could do it.
    fn drop(&mut self) {
        self.set(false);
    }
}

/// One direction of a connection inside this process: lines or bytes that were sent over it and not yet handled.
#[derive(Debug)]
pub(super) struct Flow {
    accounts: Arc<Accounts>,
    reader: Party,
    state: Mutex<FlowState>,
    /// Rings when the flow ends, and when things are handled from which nothing follows.
    changed: Notify,
}

#[derive(Debug, Default)]
struct FlowState {
    in_flight: u64,
    /// The lines in flight, in order, when it is lines that are counted.
    lines: VecDeque<InFlight>,
    ended: bool,
}

/// A line in flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Its reader need neither parse nor copy it, and all servers of the process share one report. A control line has none.
    pub(super) report: Option<Arc<Report>>,
    /// Its writer's number ([`crate::node::Node::line_number`]).
    pub(super) number: u64,
}

impl Flow {
    pub(super) fn new(accounts: Arc<Accounts>, reader: Party) -> Self {
        Self { accounts, reader, state: Mutex::default(), changed: Notify::new() }
    }

    /// Counts what is about to be written. Nothing once the flow has ended: it will not be read.
    pub(super) fn sent(&self, things: u64) {
        self.count(things, []);
    }

    /// Counts lines that are about to be written, in this order, and takes them out of `lines`.
    pub(super) fn sent_lines(&self, lines: &mut Vec<InFlight>) {
        self.count(lines.len() as u64, lines.drain(..));
    }

    fn count(&self, things: u64, lines: impl IntoIterator<Item = InFlight>) {
        let mut state = lock(&self.state);
        if !state.ended {
            state.in_flight += things;
            state.lines.extend(lines);
            self.accounts.begin_things(self.reader, things);
        }
    }

    /// Lets `handle` do what follows from what was read, and counts as many things as it says as handled; `None`, and nothing
    /// is done, when the flow has ended. `handle` takes the lines it reads out of those in flight.
    pub(super) fn handle<T>(&self, handle: impl FnOnce(&mut VecDeque<InFlight>) -> (u64, T)) -> Option<T> {
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        let (things, result) = handle(&mut state.lines);
        if state.lines.is_empty() && state.lines.capacity() > KEPT_LINES {
            state.lines = VecDeque::new();
        }
        let handled = things.min(state.in_flight);
        state.in_flight -= handled;
        self.accounts.end_things(self.reader, handled);
        Some(result)
    }

    pub(super) fn reader(&self) -> Party {
        self.reader
    }

    /// Counts things as handled from which nothing follows, and wakes whoever waits until all are.
    pub(super) fn handled(&self, things: u64) {
        self.handle(|_| (things, ()));
        self.changed.notify_waiters();
    }

    /// Returns `true` if nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.state).in_flight == 0
    }

    /// Waits until what is sent is lost.
    pub(super) async fn ended(&self) {
        self.until(|state| state.ended).await;
    }

    /// Waits until all that was sent is [`handled`](Self::handled) or lost.
    pub(super) async fn emptied(&self) {
        self.until(|state| state.ended || state.in_flight == 0).await;
    }

    async fn until(&self, is_so: impl Fn(&FlowState) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }

    /// One thing that was sent will not arrive; whether that was not known.
    pub(super) fn lose_one(&self) -> bool {
        let mut state = lock(&self.state);
        let is_news = state.in_flight > 0;
        if is_news {
            state.in_flight -= 1;
            state.lines.pop_front();
            self.accounts.end_things(self.reader, 1);
        }
        is_news
    }

    /// Ends the flow; what was in flight is lost, and counted here.
    pub(super) fn end(&self) -> u64 {
        let mut state = lock(&self.state);
        state.ended = true;
        state.lines = VecDeque::new();
        self.changed.notify_waiters();
        let lost = std::mem::take(&mut state.in_flight);
        self.accounts.end_things(self.reader, lost);
        lost
    }
}

impl Drop for Flow {
    /// With its writer and its reader gone, nobody can handle what is in flight.
    fn drop(&mut self) {
        self.end();
    }
}

/// A connection between two servers of this process, as long as the node that is called has to be told of it: that it is
/// there, and that it has ended. Each is counted as due from before it is so until what follows from it has been counted.
#[derive(Debug)]
pub(super) struct Call {
    due: Recurring,
    state: Mutex<CallState>,
}

#[derive(Debug, Default)]
struct CallState {
    /// The reader has accepted it, and so it will tell its node.
    accepted: bool,
    /// The reader's node knows that it is there.
    seen: bool,
    /// The reader has read a line.
    read: bool,
    /// The caller has ended it.
    ended: bool,
    /// The caller is not known any more: who has not accepted it yet will not learn from whom it is.
    forgotten: bool,
    /// The reader has done with it.
    over: bool,
}

impl CallState {
    fn is_due(&self) -> bool {
        let end_is_due = self.ended || !self.seen;
        !self.over && if self.accepted { end_is_due } else { !self.forgotten }
    }
}

impl Call {
    /// A call that is about to be made.
    pub(super) fn new(accounts: Arc<Accounts>, reader: Party) -> Self {
        let due = Recurring::new(accounts, reader);
        due.set(true);
        Self { due, state: Mutex::default() }
    }

    pub(super) fn accept(&self) {
        self.change(|state| state.accepted = true);
    }

    pub(super) fn see(&self) {
        self.change(|state| state.seen = true);
    }

    pub(super) fn read(&self) {
        lock(&self.state).read = true;
    }

    pub(super) fn was_read(&self) -> bool {
        lock(&self.state).read
    }

    pub(super) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    pub(super) fn forget(&self) {
        self.change(|state| (state.ended, state.forgotten) = (true, true));
    }

    pub(super) fn finish(&self) {
        self.change(|state| state.over = true);
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).over
    }

    fn change(&self, change: impl FnOnce(&mut CallState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.due.set(state.is_due());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn due(accounts: &Accounts) -> u64 {
        accounts.due().map(|(_, due)| due).sum()
    }

    #[test]
    fn what_moves_while_one_looks_is_not_overlooked() {
        let accounts = Accounts::new(2);
        let awake = |_| false;
        assert!(accounts.is_certain(awake, || true) && !accounts.is_certain(awake, || false));
        // Something begins and ends between the two looks at the accounts.
        let passing = || {
            drop(accounts.begin(0));
            true
        };
        assert!(!accounts.is_certain(awake, passing));
        let _begun = accounts.begin(1);
        assert!(!accounts.is_certain(awake, || true) && accounts.is_certain(|party| party == 1, || true));
    }

    #[test]
    fn what_recurs_is_begun_once_and_ends_with_whoever_would_do_it() {
        let accounts = Arc::new(Accounts::new(1));
        let recurring = Recurring::new(accounts.clone(), 0);
        for (is_due, expected) in [(true, 1), (true, 1), (false, 0), (false, 0), (true, 1)] {
            recurring.set(is_due);
            assert_eq!(due(&accounts), expected);
        }
        drop(recurring);
        assert_eq!(due(&accounts), 0);
    }

    #[test]
    fn a_flow_counts_nothing_once_it_has_ended_or_is_gone() {
        let accounts = Arc::new(Accounts::new(1));
        let flow = Flow::new(accounts.clone(), 0);
        flow.sent(3);
        assert_eq!((flow.handle(|_| (1, ())), due(&accounts)), (Some(()), 2));
        assert_eq!((flow.lose_one(), flow.end(), flow.lose_one(), due(&accounts)), (true, 1, false, 0));
        flow.sent(1);
        assert_eq!((flow.handle(|_| (1, ())), due(&accounts)), (None, 0));
        let unread = Flow::new(accounts.clone(), 0);
        unread.sent(2);
        drop(unread);
        assert_eq!(due(&accounts), 0);
    }

    #[test]
    fn a_flow_is_emptied_when_all_is_handled_or_it_ends() {
        let flow = Flow::new(Arc::new(Accounts::new(1)), 0);
        let is_emptied = || flow.emptied().now_or_never().is_some();
        assert!(is_emptied());
        flow.sent(2);
        flow.handled(1);
        assert!(!is_emptied());
        flow.handled(1);
        assert!(is_emptied());
        flow.sent(1);
        flow.end();
        assert!(is_emptied());
    }

    #[test]
    fn a_call_is_due_until_its_reader_has_told_its_node_and_once_more_when_it_ends() {
        type Case = (&'static [fn(&Call)], u64);
        let cases: [Case; 9] = [
            (&[], 1),
            (&[Call::accept], 1),
            (&[Call::accept, Call::see], 0),
            (&[Call::accept, Call::see, Call::end], 1),
            (&[Call::accept, Call::end, Call::see], 1),
            (&[Call::accept, Call::see, Call::forget, Call::finish], 0),
            // Never accepted, and who accepts it will not know it.
            (&[Call::forget], 0),
            // Closed in order, and still to be accepted.
            (&[Call::end], 1),
            // The reader was killed, and the caller sees it later.
            (&[Call::accept, Call::finish, Call::forget], 0),
        ];
        for (number, (steps, expected)) in cases.iter().enumerate() {
            let accounts = Arc::new(Accounts::new(1));
            let call = Call::new(accounts.clone(), 0);
            steps.iter().for_each(|step| step(&call));
            assert_eq!(due(&accounts), *expected, "case {number}");
            drop(call);
            assert_eq!(due(&accounts), 0, "case {number}");
        }
    }
}
