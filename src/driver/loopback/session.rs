//! A client of this driver: a connection of its own to a server, over which a script talks.
//!
//! Not here: what a script says, and what it makes of the replies.

use std::io;
use std::sync::{Arc, Mutex, Weak};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::ReadHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::inbox::Bringer;
use super::registry::{Caller, Dialled};
use super::rest::Flow;
use super::server::Life;
use super::socket::{Socket, bound_for, connect};
use super::{Shared, lock};
use crate::act::SessionId;
use crate::config::ServerId;
use crate::driver::session::{Expected, Order, write};
use crate::history::Event;

/// A client's connection, as the driver holds it.
#[derive(Debug)]
pub(super) struct Session {
    orders: mpsc::UnboundedSender<Order>,
    line: Arc<Line>,
    task: AbortHandle,
    /// The server's life at the time of the dial. Empty if the server was down, or runs in another process.
    life: Weak<Life>,
}

/// What both halves of the connection know.
#[derive(Debug)]
struct Line {
    session: SessionId,
    server: ServerId,
    commands: Arc<Flow>,
    replies: Arc<Flow>,
    expected: Mutex<Expected>,
}

impl Session {
    /// Dials `server`; orders wait until the connection stands.
    pub(super) fn open(shared: &Arc<Shared>, session: SessionId, server: ServerId) -> Self {
        let flow = |reader| Arc::new(Flow::new(shared.accounts.clone(), reader));
        let line = Arc::new(Line {
            session,
            server,
            commands: flow(server.index()),
            replies: flow(shared.accounts.clients()),
            expected: Mutex::default(),
        });
        // Unbounded: what a script writes is bounded by the script, and a write must not wait for a server that does not read.
        let (orders, incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(shared.clone(), line.clone(), incoming)).abort_handle();
        Self { orders, line, task, life: life_of(shared, server) }
    }

    /// Returns `true` if neither the connection nor the life of its server is over.
    ///
    /// The client may notice later that its server's life is over. A server that was started since is not this client's.
    pub(super) fn is_open(&self, shared: &Shared) -> bool {
        Weak::ptr_eq(&self.life, &life_of(shared, self.line.server)) && !lock(&self.line.expected).over
    }

    /// Writes after everything written before. Returns `false`, and does nothing, if the session is over.
    pub(super) fn send(&self, shared: &Shared, bytes: Bytes, finish: bool) -> bool {
        let is_open = self.is_open(shared);
        let mut expected = lock(&self.line.expected);
        // The connection may have ended since.
        if !is_open || expected.over {
            return false;
        }
        // The end counts like a byte, and is handled when the server ends the connection.
        self.line.commands.sent(bytes.len() as u64 + u64::from(finish));
        let lines = expected.written(&bytes, finish);
        shared.arrive(self.line.server, Bringer::Session(self.line.session), lines);
        // Fails only when the connection ends right now, which has its own observation.
        self.orders.send(Order { bytes, finish }).ok();
        true
    }

    /// Closes the connection. Returns `false` if it had ended already.
    pub(super) fn close(self, shared: &Shared) -> bool {
        self.task.abort();
        self.line.end(shared)
    }
}

/// Returns the life that a server has now.
fn life_of(shared: &Shared, server: ServerId) -> Weak<Life> {
    shared.life(server).map_or_else(Weak::new, |life| Arc::downgrade(&life))
}

impl Line {
    /// Ends the connection, with nothing in flight any more. Returns `false` if it had ended already.
    fn end(&self, shared: &Shared) -> bool {
        let mut expected = lock(&self.expected);
        if std::mem::replace(&mut expected.over, true) {
            return false;
        }
        let unanswered = expected.unanswered();
        drop(expected);
        let event = Event::SessionLost { session: self.session, unanswered };
        shared.sink.push(&shared.clock, event);
        self.commands.end();
        self.replies.end();
        shared.never_arrives(self.server, |bringer| bringer == Bringer::Session(self.session));
        true
    }
}

async fn run(shared: Arc<Shared>, line: Arc<Line>, orders: mpsc::UnboundedReceiver<Order>) {
    // However it ends, the observation says so.
    talk(&shared, &line, orders).await.ok();
    line.end(&shared);
}

async fn talk(shared: &Arc<Shared>, line: &Line, orders: mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    let target = shared.dial_address(line.server);
    let socket = bound_for(target)?;
    let (commands, replies) = (line.commands.clone(), line.replies.clone());
    let caller = Caller::Client { session: line.session, commands, replies };
    let registration = shared.registry.register(socket.local_addr()?, caller);
    let stream = connect(socket, target).await?;
    let mut dialled = Dialled::new(Socket::of_client(stream), Some(registration));
    let (reader, writer) = dialled.split();
    tokio::select! {
        read = read(shared, line, reader) => read,
        written = write(writer, orders) => match written {
            Err(error) => Err(error),
            Ok(never) => match never {},
        },
    }
}

async fn read(shared: &Shared, line: &Line, mut reader: ReadHalf<'_>) -> io::Result<()> {
    let mut unread = BytesMut::new();
    loop {
        let count = reader.read_buf(&mut unread).await?;
        let mut expected = lock(&line.expected);
        while let Some(length) = expected.reply_length(&unread, count == 0) {
            let reply = unread.split_to(length).freeze();
            shared.sink.push(&shared.clock, Event::Replied { session: line.session, reply });
        }
        drop(expected);
        line.replies.handled(count as u64);
        if count == 0 {
            return Ok(());
        }
    }
}
