//! The meaning of a [`SessionId`] on all drivers: one client's connection to one server, for ever; and which replies it waits for.
//!
//! The connections live in [`loopback`](super::loopback), [`remote`](super::remote) and [`simulated`](super::simulated).

use std::collections::{BTreeMap, VecDeque};
use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::WriteHalf;
use tokio::sync::mpsc;

use super::DriverError;
use crate::act::SessionId;
use crate::config::{ServerId, Topology};
use crate::wire::{self, Shape, lines, reply_shape};

/// All sessions that a driver has had.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    // One small entry for each connection that a script opens.
    known: BTreeMap<SessionId, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    server: ServerId,
    /// Whether the client has closed its writing side or the connection.
    finished: bool,
}

impl Ledger {
    /// Records that a client writes. Returns `true` if the session is new and its connection must be opened.
    ///
    /// # Errors
    ///
    /// If the session is a connection to another server, or its client can write no more.
    pub(super) fn write(
        &mut self,
        session: SessionId,
        server: ServerId,
        finish: bool,
        topology: &Topology,
    ) -> Result<bool, DriverError> {
        let Some(entry) = self.known.get_mut(&session) else {
            self.known.insert(session, Entry { server, finished: finish });
            return Ok(true);
        };
        if entry.server != server {
            return Err(DriverError::OtherServer { session: session.0, server: topology.name(entry.server).clone() });
        }
        if entry.finished {
            return Err(DriverError::Finished { session: session.0 });
        }
        entry.finished = finish;
        Ok(false)
    }

    /// Records that a client closes its connection.
    pub(super) fn close(&mut self, session: SessionId) {
        if let Some(entry) = self.known.get_mut(&session) {
            entry.finished = true;
        }
    }

    /// Returns `true` if the client of a session that was opened has closed neither its writing side nor the connection.
    pub(super) fn may_write(&self, session: SessionId) -> bool {
        self.known.get(&session).is_some_and(|entry| !entry.finished)
    }
}

/// Returns the number of commands in `bytes` that want a reply. A line without its end counts too.
pub(super) fn commands(bytes: &[u8]) -> u64 {
    wire::lines(bytes, true).filter_map(wire::reply_shape).count() as u64
}

/// What a client does next.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) bytes: Bytes,
    pub(super) finish: bool,
}

/// Writes what a client does, in order. Returns only if the connection fails.
pub(super) async fn write(
    mut writer: WriteHalf<'_>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> io::Result<std::convert::Infallible> {
    while let Some(order) = orders.recv().await {
        writer.write_all(&order.bytes).await?;
        if order.finish {
            writer.shutdown().await?;
        }
    }
    std::future::pending().await
}

/// Which replies a client waits for: the commands do not say where a reply ends, so it must know what it asked.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// The beginning of a line whose end has not been written.
    unfinished: Vec<u8>,
    replies: VecDeque<Shape>,
    /// The connection is gone: nobody waits any more.
    pub(super) over: bool,
}

impl Expected {
    /// Expects the replies to the lines that these bytes complete. Returns the number of those lines.
    pub(super) fn written(&mut self, bytes: &[u8], finish: bool) -> u64 {
        self.unfinished.extend_from_slice(bytes);
        let mut lines = lines(&self.unfinished, finish);
        let mut complete = 0;
        self.replies.extend(lines.by_ref().inspect(|_| complete += 1).filter_map(reply_shape));
        let rest = lines.rest().len();
        self.unfinished.drain(..self.unfinished.len() - rest);
        complete
    }

    /// Returns the number of commands without a reply. A command whose end was not written is one of them.
    pub(super) fn unanswered(&self) -> u64 {
        self.replies.len() as u64 + u64::from(reply_shape(&self.unfinished).is_some())
    }

    /// Returns `true` if every command has its reply.
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered() == 0
    }

    /// Takes the first reply in `unread` off the expected ones if it is whole. Returns its length. At the end of the
    /// connection all that is left is a reply.
    pub(super) fn reply_length(&mut self, unread: &[u8], at_end: bool) -> Option<usize> {
        let whole = self.replies.front().unwrap_or(&Shape::Line).length(unread);
        let length = whole.or_else(|| Some(unread.len()).filter(|&rest| at_end && rest > 0))?;
        self.replies.pop_front();
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_cut_where_the_commands_say_that_they_end() {
        let mut expected = Expected::default();
        expected.written(b"IAMAT a +1+1 1\nWHATSAT a 1 1\nWHATS", false);
        expected.written(b"UP\n\nAT x +0 a +1+1 1\n", true);
        assert_eq!(expected.replies, [Shape::Line, Shape::Found, Shape::Line]);
        let unread = b"AT 1\nAT 1\n{\n}\n\n? WHATSUP\n";
        assert_eq!(expected.reply_length(&unread[..3], false), None);
        assert_eq!(expected.reply_length(unread, false), Some(5));
        assert_eq!(expected.reply_length(&unread[5..12], false), None);
        assert_eq!(expected.reply_length(&unread[5..], false), Some(10));
        assert_eq!(expected.reply_length(&unread[15..], false), Some(10));
        assert_eq!(expected.reply_length(&unread[25..], true), None);
    }
}
