//! A client of this driver: a connection of its own to a server of another process.
//!
//! Not here: which replies belong to which commands ([`crate::driver::session`]).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::act::SessionId;
use crate::config::ServerId;
use crate::driver::session::{Expected, Order, write};
use crate::history::Event;
use crate::time::{RealClock, Timestamp};
use crate::wire::{Command, Report, lines, parse, reply_shape};

/// What a client sees.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) at: Timestamp,
    pub(super) event: Event,
}

/// A client's connection, as the driver holds it.
#[derive(Debug)]
pub(super) struct Client {
    /// The server, and its life when the connection was opened.
    pub(super) server: (ServerId, u64),
    orders: mpsc::UnboundedSender<Order>,
    line: Arc<Line>,
    task: AbortHandle,
    /// The beginning of a line whose end has not been written.
    unfinished: Vec<u8>,
    /// Commands that the server has not told about yet, in order.
    untold: VecDeque<Box<[u8]>>,
    /// Updates that the server took from this client, and may acknowledge later.
    wrote: VecDeque<Arc<Report>>,
    /// When a line was written last that gets no reply.
    pub(super) silent_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Line {
    session: SessionId,
    clock: RealClock,
    expected: Mutex<Expected>,
    says: mpsc::UnboundedSender<Said>,
}

impl Client {
    /// Dials a server. Orders wait until the connection stands.
    pub(super) fn open(
        session: SessionId,
        address: (String, u16),
        server: (ServerId, u64),
        clock: RealClock,
        says: mpsc::UnboundedSender<Said>,
    ) -> Self {
        let line = Arc::new(Line { session, clock, expected: Mutex::default(), says });
        // Unbounded: what a script writes is bounded by the script, and a write must not wait for a server that does not read.
        let (orders, incoming) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(line.clone(), address, incoming)).abort_handle();
        Self {
            server,
            orders,
            line,
            task,
            unfinished: Vec::new(),
            untold: VecDeque::new(),
            wrote: VecDeque::new(),
            silent_since: None,
        }
    }

    /// Returns `true` if the connection has not ended.
    pub(super) fn is_open(&self) -> bool {
        !self.line.expected().over
    }

    /// Returns `true` if no reply is missing.
    pub(super) fn is_answered(&self) -> bool {
        let expected = self.line.expected();
        expected.over || expected.is_answered()
    }

    /// Writes after everything written before. Returns `false`, and does nothing, if the connection has ended.
    pub(super) fn send(&mut self, bytes: Bytes, finish: bool) -> bool {
        let mut expected = self.line.expected();
        if expected.over {
            return false;
        }
        expected.written(&bytes, finish);
        drop(expected);
        self.note_written(&bytes, finish);
        // Fails only when the connection ends right now, which has its own observation.
        self.orders.send(Order { bytes, finish }).ok();
        true
    }

    fn note_written(&mut self, bytes: &[u8], finish: bool) {
        self.unfinished.extend_from_slice(bytes);
        let written = std::mem::take(&mut self.unfinished);
        let mut lines = lines(&written, finish);
        for line in lines.by_ref() {
            match reply_shape(line) {
                Some(_) => self.untold.push_back(line.into()),
                None => self.silent_since = Some(self.line.clock.now()),
            }
        }
        self.unfinished = lines.rest().to_vec();
    }

    /// Returns `true` if this client sent the command that its server tells about in an event. To the server's process, the
    /// client is a stranger.
    pub(super) fn is_told_about(&mut self, event: &Event) -> bool {
        match event {
            Event::Accepted { report, .. } => {
                let is_it = self.take_told(|line| is_write(line, report));
                self.wrote.extend(is_it.then(|| report.clone()));
                is_it
            }
            Event::Acknowledged { report, .. } => {
                let place = self.wrote.iter().position(|wrote| wrote.line() == report.line());
                place.is_some_and(|place| self.wrote.drain(..=place).len() > 0)
            }
            Event::Answered { report, .. } => self.take_told(|line| is_read(line, report)),
            Event::Refused { command, .. } => self.take_told(|line| line == command),
            _ => false,
        }
    }

    /// Takes the first command that is the one that a server tells about, if there is one. Commands before it will not be told
    /// about any more.
    fn take_told(&mut self, is_it: impl Fn(&[u8]) -> bool) -> bool {
        let Some(place) = self.untold.iter().position(|line| is_it(line)) else { return false };
        self.untold.drain(..=place);
        true
    }

    /// Closes the connection. Returns `false` if it had ended already.
    pub(super) fn close(self) -> bool {
        self.task.abort();
        self.line.end()
    }
}

/// Returns `true` if `line` is an `IAMAT` that became this report.
fn is_write(line: &[u8], report: &Report) -> bool {
    let at = report.at();
    match parse(line) {
        Command::Iamat { client, location, stated, .. } => {
            (client, location, stated) == (at.client(), at.location(), at.stated_time())
        }
        _ => false,
    }
}

/// Returns `true` if `line` is a `WHATSAT` that is answered with this report.
fn is_read(line: &[u8], report: &Report) -> bool {
    matches!(parse(line), Command::Whatsat { client, .. } if client == report.client())
}

impl Line {
    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, event: Event) {
        // Fails when the driver has gone.
        let _ = self.says.send(Said { at: self.clock.now(), event });
    }

    /// Ends the connection. Returns `false` if it had ended already.
    fn end(&self) -> bool {
        let mut expected = self.expected();
        if std::mem::replace(&mut expected.over, true) {
            return false;
        }
        self.say(Event::SessionLost { session: self.session, unanswered: expected.unanswered() });
        true
    }
}

async fn run(line: Arc<Line>, address: (String, u16), orders: mpsc::UnboundedReceiver<Order>) {
    // However it ends, the observation says so.
    talk(&line, address, orders).await.ok();
    line.end();
}

async fn talk(line: &Line, address: (String, u16), orders: mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.split();
    tokio::select! {
        read = read(line, reader) => read,
        written = write(writer, orders) => match written {
            Err(error) => Err(error),
            Ok(never) => match never {},
        },
    }
}

async fn read(line: &Line, mut reader: ReadHalf<'_>) -> io::Result<()> {
    let mut unread = BytesMut::new();
    loop {
        let count = reader.read_buf(&mut unread).await?;
        let mut expected = line.expected();
        while let Some(length) = expected.reply_length(&unread, count == 0) {
            line.say(Event::Replied { session: line.session, reply: unread.split_to(length).freeze() });
        }
        if count == 0 {
            return Ok(());
        }
    }
}
