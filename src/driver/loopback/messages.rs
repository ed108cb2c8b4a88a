//! Lines that have connections of their own: dialling, writing one line, and waiting until it is read.
//!
//! Not here: when a line is sent and when it lands ([`super::lane`]).

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::inbox::Bringer;
use super::lane::{Lane, Next, Outgoing};
use super::link::dial;
use super::rest::Flow;
use super::server::Life;
use super::{Shared, at};
use crate::config::Way;
use crate::history::Event;
use crate::wire::write_line;

/// Lines of a way that are dialled and written at once. One after the other they keep their order.
const DIALS: usize = 1;

/// Lines of a way whose connections are open at once. In a ring the end of one may wait for a line that has not left yet, and that
/// one for the end of another: they need room for as many lines as clients wait for.
const DELIVERIES: usize = 1024;

/// What is read of a neighbour's answer before its connection is closed, in bytes. Nothing in it matters.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Runs a per-message way for as long as its server lives.
pub(super) async fn run(shared: &Arc<Shared>, life: &Life, lane: &Lane) {
    lane.open_for_messages(shared);
    let mut deliveries = Deliveries::new();
    loop {
        // There are descriptors for one; others take what no link needs.
        let more = if deliveries.is_empty() { None } else { shared.room_for_delivery() };
        // What goes to another process is this one's business until that has read it.
        let is_elsewhere = shared.flow_to(lane.way.to).is_none();
        let begun = is_elsewhere.then(|| shared.accounts.begin_for_long(lane.way.from.index()));
        let next = match deliveries.is_empty() || (deliveries.len() < DELIVERIES && more.is_some()) {
            true => lane.fill(shared, life, &mut Vec::new(), 0),
            false => Next::Wait(None),
        };
        if shared.is_patient() {
            lane.catch_up(shared, life, None);
        }
        match next {
            Next::Deliver(outgoing, lines) => deliveries.begin(shared, lane.way, &outgoing, lines, (more, begun)),
            Next::Wait(due) => {
                drop(begun);
                tokio::select! {
                    () = lane.wake.notified() => {}
                    Some(number) = deliveries.next() => lane.on_delivered(number),
                    () = at(shared, due) => {}
                }
            }
            Next::Close | Next::Reset | Next::GiveUp | Next::Write { .. } => break,
        }
    }
    if let Some(leaving) = lane.leave(shared, life) {
        let shared = shared.clone();
        tokio::spawn(async move { leaving.deliver(&shared, deliveries).await });
    }
}

/// Lines that are being delivered.
pub(super) struct Deliveries {
    /// Each gives the number of its line.
    running: FuturesUnordered<Pin<Box<dyn Future<Output = u64> + Send>>>,
    dials: Arc<Semaphore>,
}

/// A line that has a connection of its own.
#[derive(Debug)]
struct Message {
    way: Way,
    connection: u32,
    /// Where it is counted, if its neighbour is in this process.
    lines: Option<Arc<Flow>>,
    line: Vec<u8>,
}

/// How far a neighbour got with a message before its connection was closed.
#[derive(Debug)]
enum Answer {
    Complete,
    Outstanding,
    Unread,
}

impl Deliveries {
    fn new() -> Self {
        Self { running: FuturesUnordered::new(), dials: Arc::new(Semaphore::new(DIALS)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    fn len(&self) -> usize {
        self.running.len()
    }

    /// Waits until a line is delivered or lost. Returns its number, or `None` if none is on its way.
    pub(super) async fn next(&mut self) -> Option<u64> {
        self.running.next().await
    }

    /// Begins to take a line to the neighbour. Holds what is `held` until it is there.
    pub(super) fn begin(
        &mut self,
        shared: &Arc<Shared>,
        way: Way,
        outgoing: &Outgoing,
        lines: Option<Arc<Flow>>,
        held: impl Send + 'static,
    ) {
        let mut line = Vec::new();
        write_line(&mut line, outgoing.line.text().as_bytes());
        let message = Message { way, connection: outgoing.connection, lines, line };
        let (shared, dials, number) = (shared.clone(), self.dials.clone(), outgoing.number);
        self.running.push(Box::pin(async move {
            deliver(&shared, &message, &dials).await;
            drop(held);
            number
        }));
    }
}

impl Shared {
    /// Returns room for both ends of one more connection that carries one line, unless a client or the next connection of a
    /// server may need it.
    fn room_for_delivery(&self) -> Option<OwnedSemaphorePermit> {
        let spare = self.room.available_permits().checked_sub(self.slots.len() + 2);
        spare.and_then(|_| self.room.clone().try_acquire_many_owned(2).ok())
    }
}

/// Takes one line to the neighbour over a connection of its own. When that fails the line is lost, as the assignment's
/// servers lose it.
async fn deliver(shared: &Arc<Shared>, message: &Message, dials: &Semaphore) {
    let Message { way, connection, lines, .. } = message;
    let delivery = deliver_once(shared, message, dials);
    let delivered = match lines {
        Some(lines) => tokio::select! {
            biased;
            delivered = delivery => delivered,
            // The way was severed.
            () = lines.ended() => Err(io::ErrorKind::ConnectionReset.into()),
        },
        None => delivery.await,
    };
    match delivered {
        // A paused neighbour still has it before it.
        Ok(Answer::Complete | Answer::Outstanding) => {}
        Ok(Answer::Unread) | Err(_) => {
            let _begun = shared.accounts.begin(way.from.index());
            shared.never_arrives(way.to, |bringer| bringer == Bringer::Connection(*way, *connection));
            // Not once more what was lost with a server that was killed, or when the way was severed.
            if lines.as_ref().is_none_or(|lines| lines.lose_one()) {
                let event = Event::LinkLost { way: *way, connection: *connection, lines_lost: 1 };
                shared.sink.push(&shared.clock, event);
            }
        }
    }
}

async fn deliver_once(shared: &Arc<Shared>, message: &Message, dials: &Semaphore) -> io::Result<Answer> {
    let begun = dials.acquire().await;
    let mut dialled = dial(shared, message.way, message.connection, message.lines.clone(), None).await?;
    // A neighbour that does not read must not keep the way for ever: the line is lost then.
    timeout(shared.topology.redial.timeout, dialled.write_all(&message.line)).await??;
    dialled.finish().await?;
    drop(begun);
    let mut answer = (&mut **dialled).take(ANSWER_BYTES);
    match timeout(shared.answer_limit(), tokio::io::copy(&mut answer, &mut tokio::io::sink())).await {
        Ok(Err(error)) if message.lines.is_none() => Err(error),
        // Inside this process every end is a reset.
        Ok(_) => Ok(if dialled.was_read() { Answer::Complete } else { Answer::Unread }),
        Err(_) => {
            shared.see_off(message.way.to, dialled);
            Ok(Answer::Outstanding)
        }
    }
}
