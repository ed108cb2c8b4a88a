//! What clients of a run said, and which reply belongs to which command.
//!
//! Not here: what servers did about it ([`super::run`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::act::{Action, SessionId};
use crate::config::ServerId;
use crate::history::{Event, Fact, History};
use crate::wire::{Shape, lines, reply_shape};

/// A command of a client that this run sent, and its reply.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Where the last of its bytes was sent.
    pub(crate) entry: usize,
    pub(crate) session: SessionId,
    pub(crate) server: ServerId,
    /// Without its line end.
    pub(crate) line: Vec<u8>,
    /// Where its reply was read, when it has one.
    pub(crate) reply: Option<usize>,
    /// Whether it is a `WHATSAT`.
    pub(super) is_read: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// In the order in which they were sent.
    pub(crate) asked: Vec<Asked>,
    /// Replies that no command had asked for, by place in the history.
    pub(crate) unasked: Vec<usize>,
    pub(super) talkers: BTreeMap<SessionId, Arc<str>>,
}

impl Sessions {
    pub(super) fn of(history: &History) -> Self {
        let mut sessions = Self::default();
        let mut open: BTreeMap<SessionId, Conversation> = BTreeMap::new();
        for (index, entry) in history.entries.iter().enumerate() {
            match &entry.fact {
                Fact::Opened { session, talker } => {
                    sessions.talkers.insert(*session, talker.clone());
                }
                Fact::Did { action: Action::Send { session, server, bytes, finish }, .. } => {
                    let asked = &mut sessions.asked;
                    open.entry(*session).or_default().ask(asked, index, *session, *server, bytes, *finish);
                }
                Fact::Saw(Event::Replied { session, .. }) => {
                    let waiting = open.get_mut(session).and_then(|conversation| conversation.next());
                    match waiting {
                        Some(place) => sessions.asked[place].reply = Some(index),
                        None => sessions.unasked.push(index),
                    }
                }
                _ => {}
            }
        }
        sessions
    }
}

/// Returns the bytes of a reply that was read at an entry.
pub(super) fn reply(history: &History, entry: usize) -> Option<&[u8]> {
    match &history.entries[entry].fact {
        Fact::Saw(Event::Replied { reply, .. }) => Some(reply),
        _ => None,
    }
}

/// Until the first line end.
pub(crate) fn first_line(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())]
}

/// What was written on one connection and what still waits for a reply.
#[derive(Debug, Default)]
struct Conversation {
    partial: Vec<u8>,
    /// Places in [`Sessions::asked`], in order; those before `answered` have their reply.
    asked: Vec<usize>,
    answered: usize,
}

impl Conversation {
    fn ask(
        &mut self,
        asked: &mut Vec<Asked>,
        entry: usize,
        session: SessionId,
        server: ServerId,
        bytes: &[u8],
        finish: bool,
    ) {
        self.partial.extend_from_slice(bytes);
        let written = std::mem::take(&mut self.partial);
        let mut lines = lines(&written, finish);
        for line in lines.by_ref() {
            if let Some(shape) = reply_shape(line) {
                self.asked.push(asked.len());
                let is_read = shape == Shape::Found;
                asked.push(Asked { entry, session, server, line: line.to_vec(), reply: None, is_read });
            }
        }
        self.partial = lines.rest().to_vec();
    }

    /// The command that the next reply belongs to.
    fn next(&mut self) -> Option<usize> {
        let place = *self.asked.get(self.answered)?;
        self.answered += 1;
        Some(place)
    }
}
