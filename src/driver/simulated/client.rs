//! Clients' sessions: their bytes into lines, the answers in order, and what is left unanswered.
//!
//! Not here: what a server does about a command ([`super::network`]). Clients sit beside their servers: what they write is
//! there at once, and only a server that is frozen lets it wait. The reply to an update follows the lines that the update sends
//! out: where links take no time, a client that has the reply finds the update at the neighbours.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::SimulatedDriver;
use super::host::Deferred;
use super::queue::{Due, Timer};
use crate::act::SessionId;
use crate::config::ServerId;
use crate::driver::DriverError;
use crate::driver::session::{Ledger, commands};
use crate::history::Event;
use crate::node::{Input, Output, Ticket};
use crate::time::Timestamp;
use crate::wire::{Command, Reply, Report, Search, last_line, next_line, parse, reply_shape};

/// All clients of a herd.
#[derive(Debug, Clone, Default)]
pub(super) struct Clients {
    ledger: Ledger,
    /// Slots of the sessions that are not over.
    open: BTreeMap<SessionId, u32>,
    sessions: Vec<Session>,
    free: Vec<u32>,
}

/// One client's connection to one server. Its queues hold what the client itself wrote, and no more answers than that.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) server: ServerId,
    /// The beginning of a line whose end has not been written; at most the limit of a line.
    partial: Vec<u8>,
    /// Whether the client has closed its writing side.
    finished: bool,
    /// Whether the client has closed altogether: nobody reads the answers.
    gone: bool,
    unread: VecDeque<Written>,
    pub(super) answers: VecDeque<Answer>,
    pub(super) hold: Hold,
    /// Updates that were accepted and not acknowledged, where replies wait.
    pub(super) accepted: Vec<Arc<Report>>,
}

/// Whether the answers of a session wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Hold {
    /// They do not.
    #[default]
    No,
    /// Until the server has read what there is.
    Turn,
    /// Until this ticket is settled. The server reads nothing until then.
    Until(Ticket),
}

/// What a client wrote, piece by piece.
#[derive(Debug, Clone)]
enum Written {
    Line(Bytes),
    /// The beginning of a line over the limit: the server refuses it and closes.
    TooLong(Bytes),
    End,
}

/// What a server has still to say.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    at: Timestamp,
    /// It is said on a turn of its own, behind what was due before it.
    has_turn: bool,
    /// `None`: nothing more; the connection closes.
    said: Option<Said>,
}

/// One reply.
#[derive(Debug, Clone)]
struct Said {
    /// What is observed of the server when it is given.
    event: Option<Event>,
    reply: Bytes,
}

impl Clients {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn session(&mut self, slot: u32) -> &mut Session {
        &mut self.sessions[slot as usize]
    }

    /// Returns `true` if the client of a session can write.
    pub(super) fn is_open(&self, id: SessionId) -> bool {
        self.ledger.may_write(id) && self.open.contains_key(&id)
    }

    /// Opens a session. Returns its slot.
    fn open(&mut self, id: SessionId, server: ServerId) -> u32 {
        let session = Session::new(id, server);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.sessions[slot as usize] = session;
                slot
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() as u32 - 1
            }
        };
        self.open.insert(id, slot);
        slot
    }

    /// Returns the slots of a server's open sessions, in the order of their numbers.
    fn of_server(&self, server: ServerId) -> Vec<u32> {
        self.open.values().copied().filter(|&slot| self.sessions[slot as usize].server == server).collect()
    }

    /// Forgets a session from which nothing more is to be read.
    fn forget(&mut self, slot: u32) {
        let session = self.session(slot);
        session.unread.clear();
        session.answers.clear();
        session.accepted.clear();
        session.hold = Hold::No;
        self.free.push(slot);
    }
}

impl Session {
    fn new(id: SessionId, server: ServerId) -> Self {
        Self {
            id,
            server,
            partial: Vec::new(),
            finished: false,
            gone: false,
            unread: VecDeque::new(),
            answers: VecDeque::new(),
            hold: Hold::No,
            accepted: Vec::new(),
        }
    }

    /// Cuts the client's bytes into lines, as a server reads them.
    fn write(&mut self, mut bytes: Bytes, finish: bool, limit: usize) {
        let mut scanned = self.partial.len();
        if scanned > 0 {
            self.partial.extend_from_slice(&bytes);
            bytes = std::mem::take(&mut self.partial).into();
        }
        while let Some((line, taken)) = next_line(&bytes, scanned) {
            let length = line.len();
            let mut line = bytes.split_to(taken);
            line.truncate(length);
            self.end_line(line, limit);
            scanned = 0;
        }
        let length = last_line(&bytes).len();
        if length > limit || (finish && !bytes.is_empty()) {
            bytes.truncate(length);
            self.end_line(bytes, limit);
        } else {
            self.partial = bytes.into();
        }
        if finish {
            self.finished = true;
            self.unread.push_back(Written::End);
        }
    }

    /// Gives the server a line to read.
    fn end_line(&mut self, mut line: Bytes, limit: usize) {
        if line.len() > limit {
            line.truncate(limit);
            return self.unread.push_back(Written::TooLong(line));
        }
        self.unread.push_back(Written::Line(line));
    }

    /// Returns `true` if the server has not read everything.
    pub(super) fn is_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Returns the number of commands that wait for a reply.
    fn unanswered(&self) -> u64 {
        let unread = self.unread.iter().filter(|written| match written {
            Written::Line(line) => reply_shape(line).is_some(),
            Written::TooLong(_) => true,
            Written::End => false,
        });
        let partial = usize::from(reply_shape(&self.partial).is_some());
        (unread.count() + partial + self.answers.iter().filter(|answer| answer.said.is_some()).count()) as u64
    }
}

impl SimulatedDriver {
    /// Writes a client's bytes over its session, which is opened if it is new. No server reads them if the dial is refused
    /// or the session is over.
    pub(super) fn client_writes(
        &mut self,
        id: SessionId,
        server: ServerId,
        bytes: Bytes,
        finish: bool,
    ) -> Result<(), DriverError> {
        let is_new = self.clients.ledger.write(id, server, finish, &self.topology)?;
        let slot = match self.clients.open.get(&id) {
            Some(&slot) => slot,
            None if is_new && self.host(server).up => self.clients.open(id, server),
            None => {
                self.observe(|| Event::SessionLost { session: id, unanswered: commands(&bytes) });
                return Ok(());
            }
        };
        self.deliver_bytes(slot, bytes, finish);
        Ok(())
    }

    /// What a client writes reaches its server, which reads it unless it is frozen.
    fn deliver_bytes(&mut self, slot: u32, bytes: Bytes, finish: bool) {
        let limit = self.topology.limits.line;
        let session = self.clients.session(slot);
        let waits = !session.unread.is_empty();
        session.write(bytes, finish, limit);
        let server = session.server;
        let host = self.host_mut(server);
        match host.paused {
            false => self.read_session(slot),
            true if waits => {}
            true => host.inbox.push(Deferred::Written(slot)),
        }
    }

    /// Closes a client's connection. Returns the number of connections closed. The server still reads what the client wrote.
    pub(super) fn client_closes(&mut self, id: SessionId) -> u64 {
        self.clients.ledger.close(id);
        let Some(&slot) = self.clients.open.get(&id) else { return 0 };
        let was_held = self.clients.session(slot).hold != Hold::No;
        self.lose_session(slot);
        let session = self.clients.session(slot);
        session.gone = true;
        let (server, is_unread) = (session.server, session.is_unread());
        if !session.finished {
            self.deliver_bytes(slot, Bytes::new(), true);
        } else if !is_unread {
            self.clients.forget(slot);
        }
        // What its replies kept from being read is read now.
        if was_held && is_unread {
            self.bring(server.0, Deferred::Written(slot));
        }
        1
    }

    /// The connections of all clients of a server are reset, and what had waited for it is forgotten; how many connections
    /// there were.
    pub(super) fn reset_clients(&mut self, server: ServerId) -> u64 {
        let slots = self.clients.of_server(server);
        for &slot in &slots {
            self.lose_session(slot);
            self.clients.forget(slot);
        }
        for deferred in std::mem::take(&mut self.host_mut(server).inbox) {
            match deferred {
                Deferred::Written(slot) if self.clients.session(slot).gone => self.clients.forget(slot),
                _ => {}
            }
        }
        slots.len() as u64
    }

    /// A server says at once what it has still to say to its clients, and closes; how many there were.
    pub(super) fn dismiss_clients(&mut self, server: ServerId) -> u64 {
        let slots = self.clients.of_server(server);
        for &slot in &slots {
            self.let_go_all(slot);
            while let Some(answer) = self.clients.session(slot).answers.pop_front() {
                self.busy -= 1;
                let id = self.clients.session(slot).id;
                self.say(id, answer.said);
            }
        }
        self.reset_clients(server)
    }

    /// The client of a session hears nothing more.
    fn lose_session(&mut self, slot: u32) {
        let session = self.clients.session(slot);
        let (id, unanswered) = (session.id, session.unanswered());
        if session.hold == Hold::No {
            self.busy -= session.answers.len() as u64;
        }
        session.answers.clear();
        session.accepted.clear();
        self.forget_ticket(slot);
        self.clients.open.remove(&id);
        self.observe(|| Event::SessionLost { session: id, unanswered });
    }

    /// The server reads everything that a client wrote.
    pub(super) fn read_session(&mut self, slot: u32) {
        let session = self.clients.session(slot);
        if session.hold != Hold::No {
            return;
        }
        if self.patience.is_some() && !session.gone {
            session.hold = Hold::Turn;
            // Those that are still to come wait, too, and are counted again when they no longer do.
            self.busy -= session.answers.len() as u64;
        }
        while let Some(written) = self.clients.session(slot).unread.pop_front() {
            match written {
                Written::Line(line) => self.read_line(slot, &line),
                Written::TooLong(line) => {
                    self.refuse(slot, &line);
                    self.clients.session(slot).unread.clear();
                    self.close_session(slot);
                }
                Written::End => self.close_session(slot),
            }
        }
        if self.patience.is_some() {
            self.end_turn(slot);
        }
    }

    fn read_line(&mut self, slot: u32, line: &Bytes) {
        let (server, command) = (self.clients.session(slot).server, parse(line));
        let at = match command {
            Command::At(at) => Some(Arc::new(at.to_report())),
            _ => None,
        };
        if let Some(report) = at {
            return self.hear(server, report, None);
        }
        let mut outputs = self.handle(server, Input::Command { command, from: None });
        let newer = matches!(outputs.first(), Some(Output::Stored(_)));
        let mut stored = None;
        for output in outputs.drain(..) {
            match output {
                Output::Reply(report) => self.accept(slot, report, newer),
                Output::Search(report, search) => self.find_places(slot, report, &search),
                Output::Refuse => self.refuse(slot, line),
                other => self.carry_out(server, other, &mut stored),
            }
        }
        self.give_back(outputs);
    }

    fn accept(&mut self, slot: u32, report: Arc<Report>, newer: bool) {
        let Session { id, server, .. } = *self.clients.session(slot);
        let reply = self.reply(Reply::At(report.line()));
        let life = self.host(server).life;
        if self.patience.is_some() {
            self.clients.session(slot).accepted.push(report.clone());
        }
        self.observe(|| Event::Accepted { server, life, session: Some(id), report, newer });
        // Where replies wait for neighbours, tickets say when they go out.
        let has_turn = newer && self.patience.is_none();
        self.answer(slot, self.now, has_turn, Said { event: None, reply });
    }

    fn refuse(&mut self, slot: u32, command: &Bytes) {
        let Session { id, server, .. } = *self.clients.session(slot);
        let reply = self.reply(Reply::Refused(command));
        let life = self.host(server).life;
        self.observe(|| Event::Refused { server, life, session: Some(id), command: command.clone() });
        self.answer(slot, self.now, false, Said { event: None, reply });
    }

    fn find_places(&mut self, slot: u32, report: Arc<Report>, search: &Search) {
        let Session { id, server, .. } = *self.clients.session(slot);
        let found = (self.places.0)(search);
        let reply = self.reply(Reply::Found(report.line(), &found));
        let life = self.host(server).life;
        let event = Some(Event::Answered { server, life, session: Some(id), report });
        self.answer(slot, self.now + self.settings.places_latency, false, Said { event, reply });
    }

    fn reply(&self, reply: Reply<'_>) -> Bytes {
        if !self.is_observed() {
            return Bytes::new();
        }
        let mut buffer = Vec::new();
        reply.write_to(&mut buffer);
        buffer.into()
    }

    /// The server ends the connection once it has said everything.
    fn close_session(&mut self, slot: u32) {
        if self.clients.session(slot).gone {
            return self.clients.forget(slot);
        }
        self.queue_answer(slot, self.now, false, None);
    }

    fn answer(&mut self, slot: u32, at: Timestamp, has_turn: bool, said: Said) {
        if !self.clients.session(slot).gone {
            self.queue_answer(slot, at, has_turn, Some(said));
        } else if let Some(event) = said.event {
            self.observe(|| event);
        }
    }

    /// Answers come in the order of the commands, so none comes before the one ahead of it.
    fn queue_answer(&mut self, slot: u32, at: Timestamp, has_turn: bool, said: Option<Said>) {
        let now = self.now;
        let session = self.clients.session(slot);
        let at = session.answers.back().map_or(at, |last| last.at.max(at));
        let has_turn = has_turn || at > now;
        session.answers.push_back(Answer { at, has_turn, said });
        if session.hold == Hold::No {
            self.busy += 1;
        }
        if has_turn {
            self.queue.push(at, Due::Timer(Timer::Answered(slot)));
        } else {
            self.say_what_is_due(slot);
        }
    }

    /// The turn of an answer of a session has come, unless the session is over.
    pub(super) fn on_answered(&mut self, slot: u32) {
        let now = self.now;
        let mut answers = self.clients.session(slot).answers.iter_mut();
        if let Some(first) = answers.find(|answer| answer.has_turn && answer.at <= now) {
            first.has_turn = false;
        }
        self.say_what_is_due(slot);
    }

    /// Says what is due on a session, up to the first answer that has a turn of its own.
    pub(super) fn say_what_is_due(&mut self, slot: u32) {
        let now = self.now;
        if self.clients.session(slot).hold != Hold::No {
            return;
        }
        let is_due = |answer: &mut Answer| answer.at <= now && !answer.has_turn;
        while let Some(answer) = self.clients.session(slot).answers.pop_front_if(is_due) {
            self.busy -= 1;
            let id = self.clients.session(slot).id;
            if answer.said.is_none() {
                self.lose_session(slot);
                self.clients.forget(slot);
            }
            self.say(id, answer.said);
        }
    }

    fn say(&mut self, session: SessionId, said: Option<Said>) {
        let Some(Said { event, reply }) = said else { return };
        if let Some(event) = event {
            self.observe(|| event);
        }
        self.observe(|| Event::Replied { session, reply });
    }
}
