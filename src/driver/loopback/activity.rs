//! How much is under way in a herd, so that the moment is known at which nothing is.
//!
//! Everything that is bound to happen without a further action is counted from before it becomes possible until after all
//! that follows from it has been counted. Not here: dials that are due, which [`super::LoopbackDriver`] reads off the links.
//!
//! Tasks of one server may run at the same time, so a count is changed under the lock of what it counts: an outbox under that
//! of its node, a [`Flow`] and a [`Call`] under their own. Locks are taken in the order path, channel, flow of lines or
//! commands, node, flow of replies; a writer counts what it took from a node after it has given the node back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;
use crate::wire::Report;

/// Lines in flight that a flow keeps room for while none are.
const KEPT_LINES: usize = 256;

/// What is under way, by who has to do it.
#[derive(Debug)]
pub(super) struct Activity {
    /// One count for each server, and a last one for the clients of this driver.
    due: Vec<AtomicI64>,
    /// Counts additions, so that a look at all counts one after the other can be trusted.
    additions: AtomicU64,
    settled: Notify,
}

/// Who has to do something: a server, by its number, or the driver's own clients, by the number of servers.
pub(super) type Party = usize;

impl Activity {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            due: (0..=servers).map(|_| AtomicI64::new(0)).collect(),
            additions: AtomicU64::new(0),
            settled: Notify::new(),
        }
    }

    /// The clients of this driver.
    pub(super) fn clients(&self) -> Party {
        self.due.len() - 1
    }

    /// Counts what is about to become possible; called by whoever has a thing to do that is counted until this returns.
    pub(super) fn add(&self, party: Party, things: u64) {
        self.due[party].fetch_add(things as i64, Ordering::SeqCst);
        // Last: who has read the count too early reads the additions after it, and whoever adds goes on only then.
        self.additions.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn done(&self, party: Party, things: u64) {
        let before = self.due[party].fetch_sub(things as i64, Ordering::SeqCst);
        debug_assert!(before >= things as i64, "{party} had {before} due, and {things} are done");
        if before == things as i64 {
            self.settled.notify_one();
        }
    }

    /// Counts a thing as due until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>, party: Party) -> Begun {
        self.add(party, 1);
        Begun { activity: self.clone(), party }
    }

    /// Something else changed that [`Self::settled`] should look at.
    pub(super) fn look(&self) {
        self.settled.notify_one();
    }

    /// Whether nobody has anything to do, and did not all the while that `linked` took to tell that no dial is due. `asleep`
    /// tells whose work does not count.
    ///
    /// The counts are read one after the other, and things move meanwhile. But whoever moves one adds it before the old one is
    /// done, so without an addition between the first look and the last one nothing moved.
    pub(super) fn is_settled(&self, asleep: impl Fn(Party) -> bool, linked: impl FnOnce() -> bool) -> bool {
        let additions = self.additions.load(Ordering::SeqCst);
        let idle = |(party, due): (Party, &AtomicI64)| due.load(Ordering::SeqCst) == 0 || asleep(party);
        self.due.iter().enumerate().all(idle) && linked() && self.additions.load(Ordering::SeqCst) == additions
    }

    /// How much everybody has to do.
    pub(super) fn due(&self) -> impl Iterator<Item = (Party, i64)> {
        self.due.iter().map(|due| due.load(Ordering::SeqCst)).enumerate()
    }

    /// Waits until somebody has nothing to do any more.
    pub(super) async fn settled(&self) {
        self.settled.notified().await;
    }
}

/// A thing that is due until this is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Begun {
    activity: Arc<Activity>,
    party: Party,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.activity.done(self.party, 1);
    }
}

/// One direction of a connection inside this process: lines or bytes that were sent over it and not yet handled.
#[derive(Debug)]
pub(super) struct Flow {
    activity: Arc<Activity>,
    reader: Party,
    state: Mutex<FlowState>,
    over: Notify,
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
    pub(super) fn new(activity: Arc<Activity>, reader: Party) -> Self {
        Self { activity, reader, state: Mutex::default(), over: Notify::new() }
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
            self.activity.add(self.reader, things);
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
        self.activity.done(self.reader, handled);
        Some(result)
    }

    pub(super) fn reader(&self) -> Party {
        self.reader
    }

    /// Waits until what is sent is lost.
    pub(super) async fn ended(&self) {
        loop {
            let over = self.over.notified();
            if lock(&self.state).ended {
                return;
            }
            over.await;
        }
    }

    /// One thing that was sent will not arrive; whether that was not known.
    pub(super) fn lose_one(&self) -> bool {
        let mut state = lock(&self.state);
        let is_news = state.in_flight > 0;
        if is_news {
            state.in_flight -= 1;
            state.lines.pop_front();
            self.activity.done(self.reader, 1);
        }
        is_news
    }

    /// Ends the flow; what was in flight is lost, and counted here.
    pub(super) fn end(&self) -> u64 {
        let mut state = lock(&self.state);
        state.ended = true;
        state.lines = VecDeque::new();
        self.over.notify_waiters();
        let lost = std::mem::take(&mut state.in_flight);
        self.activity.done(self.reader, lost);
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
    activity: Arc<Activity>,
    reader: Party,
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
    pub(super) fn new(activity: Arc<Activity>, reader: Party) -> Self {
        activity.add(reader, 1);
        Self { activity, reader, state: Mutex::default() }
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
        let was_due = state.is_due();
        change(&mut state);
        match (was_due, state.is_due()) {
            (false, true) => self.activity.add(self.reader, 1),
            (true, false) => self.activity.done(self.reader, 1),
            _ => {}
        }
    }
}

impl Drop for Call {
    /// Nobody is left who could tell of it.
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(activity: &Activity) -> i64 {
        activity.due().map(|(_, due)| due).sum()
    }

    #[test]
    fn what_moves_while_one_looks_is_not_overlooked() {
        let activity = Activity::new(2);
        let awake = |_| false;
        assert!(activity.is_settled(awake, || true) && !activity.is_settled(awake, || false));
        // Something begins and ends between the look at the counts and the end of the look at the links.
        let passing = || {
            activity.add(0, 1);
            activity.done(0, 1);
            true
        };
        assert!(!activity.is_settled(awake, passing));
        activity.add(1, 1);
        assert!(!activity.is_settled(awake, || true) && activity.is_settled(|party| party == 1, || true));
    }

    #[test]
    fn a_flow_counts_nothing_once_it_has_ended_or_is_gone() {
        let activity = Arc::new(Activity::new(1));
        let flow = Flow::new(activity.clone(), 0);
        flow.sent(3);
        assert_eq!((flow.handle(|_| (1, ())), due(&activity)), (Some(()), 2));
        assert_eq!((flow.lose_one(), flow.end(), flow.lose_one(), due(&activity)), (true, 1, false, 0));
        flow.sent(1);
        assert_eq!((flow.handle(|_| (1, ())), due(&activity)), (None, 0));
        let unread = Flow::new(activity.clone(), 0);
        unread.sent(2);
        drop(unread);
        assert_eq!(due(&activity), 0);
    }

    #[test]
    fn a_call_is_due_until_its_reader_has_told_its_node_and_once_more_when_it_ends() {
        type Case = (&'static [fn(&Call)], i64);
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
            let activity = Arc::new(Activity::new(1));
            let call = Call::new(activity.clone(), 0);
            steps.iter().for_each(|step| step(&call));
            assert_eq!(due(&activity), *expected, "case {number}");
            drop(call);
            assert_eq!(due(&activity), 0, "case {number}");
        }
    }
}
