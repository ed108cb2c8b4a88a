//! What happens between servers: dials, lines on their way, connections that end.
//!
//! Not here: what people do to the network ([`super::action`]), and clients ([`super::client`]).
//!
//! Connections are as in TCP. A dial takes a round trip and is refused when nobody listens; the lines of one connection keep
//! their order; a reset loses what is in flight. A writer whose reader is gone learns of it after the latency of the way
//! back, and what it writes until then is lost. A connection that its writer closes loses nothing.

use std::sync::Arc;

use super::SimulatedDriver;
use super::control::InFlight;
use super::host::Deferred;
use super::pipe::{Connection, Staged};
use super::queue::{Due, Timer};
use crate::config::{LinkId, LinkMode, ServerId, Way};
use crate::driver::path::{Dial, Passage};
use crate::driver::stage::Dialled;
use crate::history::{Event, Hop};
use crate::node::{Input, Output, RecordId};
use crate::time::Timestamp;
use crate::wire::{ControlLine, Line, Report, parse};

impl SimulatedDriver {
    /// A line reaches the far end of its pipe.
    #[inline]
    pub(super) fn on_line(&mut self, report: Arc<Report>, pipe: u32, connection: u32) {
        if self.arrives(pipe, connection) {
            self.read_report(report, pipe, connection);
        } else {
            self.defer(Line::At(report), pipe, connection);
        }
    }

    /// A control line reaches the far end of its pipe.
    pub(super) fn on_control(&mut self, slot: u32) {
        let InFlight { control, pipe, connection } = self.controls.take(slot);
        if self.arrives(pipe, connection) {
            self.read(Line::Control(control), pipe, connection);
        } else {
            self.defer(Line::Control(control), pipe, connection);
        }
    }

    /// A line has reached the far end of its pipe. Returns `true` if a server reads it now.
    #[inline]
    fn arrives(&mut self, pipe: u32, connection: u32) -> bool {
        let state = &mut self.pipes[pipe as usize];
        if connection <= state.lost_through {
            return false;
        }
        state.in_flight -= 1;
        self.busy -= 1;
        !self.hosts[state.to as usize].paused
    }

    /// Keeps a line for a frozen server, unless it is lost.
    #[cold]
    fn defer(&mut self, line: Line, pipe: u32, connection: u32) {
        let state = &mut self.pipes[pipe as usize];
        if connection > state.lost_through {
            state.unread += 1;
            self.hosts[state.to as usize].inbox.push(Deferred::Line { line, pipe, connection });
        }
    }

    /// A server reads a line from a neighbour.
    fn read(&mut self, line: Line, pipe: u32, connection: u32) {
        match line {
            Line::At(report) => self.read_report(report, pipe, connection),
            Line::Control(control) => {
                let reader = ServerId(self.pipes[pipe as usize].to);
                self.heed(reader, &control, pipe, connection);
                self.pull_if_owing(pipe);
            }
        }
    }

    /// A server reads an `AT` line from a neighbour, and room for another line is on the pipe.
    #[inline]
    fn read_report(&mut self, report: Arc<Report>, pipe: u32, connection: u32) {
        self.hear(ServerId(self.pipes[pipe as usize].to), report, Some((pipe, connection)));
        self.pull_if_owing(pipe);
    }

    /// A server reads a control line from a neighbour.
    fn heed(&mut self, server: ServerId, control: &ControlLine, pipe: u32, connection: u32) {
        let from = Some(LinkId(self.pipes[pipe as usize].back - self.host(server).first_pipe));
        let command = parse(control.text().as_bytes());
        let mut outputs = self.handle(server, Input::Command { command, from });
        self.take_line(pipe, connection);
        self.carry_out_read(server, &mut outputs, Some(pipe));
        self.give_back(outputs);
    }

    /// A server reads an `AT` line, by a connection of a pipe or from a client.
    pub(super) fn hear(&mut self, server: ServerId, report: Arc<Report>, by: Option<(u32, u32)>) {
        let first = self.host(server).first_pipe;
        let from = by.map(|(pipe, _)| LinkId(self.pipes[pipe as usize].back - first));
        let seen = self.is_observed().then(|| report.clone());
        let mut outputs = self.handle(server, Input::Shared { report, from, heeds_known: self.heeds_known });
        let newer = outputs.iter().any(|output| matches!(output, Output::Stored(_)));
        self.counts.heard += 1;
        self.counts.newer += u64::from(newer);
        if let Some((pipe, connection)) = by {
            self.take_line(pipe, connection);
        }
        if let Some(report) = seen {
            let life = self.host(server).life;
            let from = by.map(|(pipe, connection)| Hop { server: self.way(pipe).from, connection });
            self.observe(|| Event::Heard { server, life, from, report, newer });
        }
        if !outputs.is_empty() {
            self.carry_out_read(server, &mut outputs, by.map(|(pipe, _)| pipe));
        }
        self.give_back(outputs);
    }

    /// Gives a node an input about one of its links, or its start, or its deadline.
    pub(super) fn tell(&mut self, server: ServerId, input: Input<'_>) {
        let mut outputs = self.handle(server, input);
        self.carry_out_all(server, &mut outputs);
        self.give_back(outputs);
        self.settle_soon(server.0);
        self.queue_wake(server);
    }

    fn carry_out_all(&mut self, server: ServerId, outputs: &mut Vec<Output>) {
        let mut stored = None;
        for output in outputs.drain(..) {
            self.carry_out(server, output, &mut stored);
        }
    }

    /// Does what a node wants done that has read a line of a neighbour. It reads everything that arrives at one time before its
    /// links write, as a server does that finds several sockets ready: of two versions of a record that have come, one goes on.
    /// A line with a connection of its own is accepted, and read, for itself.
    fn carry_out_read(&mut self, server: ServerId, outputs: &mut Vec<Output>, pipe: Option<u32>) {
        let is_alone = pipe.is_some_and(|pipe| self.pipes[pipe as usize].mode == LinkMode::PerMessage);
        let reads_on = self.thaws || (!is_alone && self.queue.is_due(self.now));
        let mut stored = None;
        for output in outputs.drain(..) {
            match output {
                Output::Ready(link) if reads_on => self.pull_soon(self.host(server).first_pipe + link.0),
                other => self.carry_out(server, other, &mut stored),
            }
        }
    }

    /// Lets the writer of a pipe write when it has read everything that is there.
    fn pull_soon(&mut self, pipe: u32) {
        if !std::mem::replace(&mut self.pipes[pipe as usize].pulls, true) {
            self.busy += 1;
            self.queue.push(self.now, Due::Timer(Timer::Pull(pipe)));
        }
    }

    pub(super) fn on_pull(&mut self, pipe: u32) {
        self.busy -= 1;
        self.pipes[pipe as usize].pulls = false;
        self.pull(pipe);
    }

    /// Does what a node wants done. `stored` is the record of the last [`Output::Stored`].
    pub(super) fn carry_out(&mut self, server: ServerId, output: Output, stored: &mut Option<RecordId>) {
        let pipe = |link: LinkId| self.host(server).first_pipe + link.0;
        match output {
            Output::Stored(record) => *stored = Some(record),
            Output::Ready(link) if self.thaws => self.pull_soon(pipe(link)),
            Output::Ready(link) => self.pull(pipe(link)),
            Output::Missed(link) => {
                let record = stored.expect("a node stores a record before it misses a link");
                let report = self.host(server).node.record(record).report.clone();
                self.miss(pipe(link), report);
            }
            Output::Dial(link) => self.dial(pipe(link)),
            Output::Timers => {
                self.recount_waiting(server);
                self.queue_wake(server);
            }
            Output::Proven(_) => unreachable!("no neighbour has to prove itself"),
            Output::Acknowledge => unreachable!("no neighbour has to be told in a line"),
            Output::Reply(_) | Output::Search(..) | Output::Refuse => unreachable!("no neighbour is answered"),
        }
    }

    /// Takes from a node what one of its links owes, as long as the pipe has room.
    pub(super) fn pull(&mut self, pipe: u32) {
        loop {
            let state = &mut self.pipes[pipe as usize];
            let writer = &mut self.hosts[state.from as usize];
            let link = LinkId(pipe - writer.first_pipe);
            state.owing = writer.paused || state.load() >= self.settings.window;
            if state.owing {
                return;
            }
            let Some(line) = writer.node.next_line(link) else {
                let writer = state.from;
                return self.settle_soon(writer);
            };
            let (owes_more, number, writer) = (writer.node.owed(link) > 0, writer.node.line_number(link), state.from);
            self.write(pipe, line, number);
            if !owes_more {
                return self.settle_soon(writer);
            }
        }
    }

    /// A server writes a line.
    #[inline]
    pub(super) fn write(&mut self, pipe: u32, line: Line, number: u64) {
        let state = &mut self.pipes[pipe as usize];
        if state.mode == LinkMode::PerMessage {
            return self.dial_message(pipe, line, number);
        }
        let (is_up, is_held) = (state.connection == Connection::Up, state.path.is_held());
        self.observe_written(pipe, &line);
        let state = &mut self.pipes[pipe as usize];
        if !is_up {
            state.lost += 1;
            self.counts.lost += 1;
        } else if is_held {
            state.stage().park(Staged { line, number });
        } else {
            self.leave(pipe, line, number);
        }
    }

    #[inline]
    fn observe_written(&mut self, pipe: u32, line: &Line) {
        match line {
            Line::At(_) => self.counts.sent += 1,
            Line::Control(_) => self.counts.control += 1,
        }
        if self.is_observed() {
            self.record_written(pipe, line);
        }
    }

    fn record_written(&mut self, pipe: u32, line: &Line) {
        let state = &self.pipes[pipe as usize];
        let (way, connection) = (state.way(), state.opened);
        self.observe(|| Event::written(way, connection, line.clone()));
    }

    fn miss(&mut self, pipe: u32, report: Arc<Report>) {
        self.counts.missed += 1;
        let way = self.way(pipe);
        let life = self.host(way.from).life;
        self.observe(|| Event::Missed { way, life, report });
    }

    /// A line goes out on the network.
    #[inline]
    pub(super) fn leave(&mut self, pipe: u32, line: Line, number: u64) {
        let state = &mut self.pipes[pipe as usize];
        match state.path.send(self.now, || line.written_len()) {
            Passage::Arrives(at) => self.travel(at, line, number, pipe),
            Passage::Twice(at) => {
                self.travel(at, line.clone(), number, pipe);
                self.travel(at, line, number, pipe);
            }
            Passage::Lost => self.swallow(pipe, number),
            Passage::Vanishes => self.vanish(pipe, line, number),
        }
        self.reset_if_due(pipe);
    }

    /// A line is under way.
    #[inline]
    fn travel(&mut self, at: Timestamp, line: Line, number: u64, pipe: u32) {
        let state = &mut self.pipes[pipe as usize];
        let connection = state.opened;
        debug_assert!(connection > state.lost_through, "a line on a connection whose lines are lost");
        state.in_flight += 1;
        self.busy += 1;
        self.send_out(pipe, connection, number);
        self.queue_line(at, line, pipe, connection);
    }

    /// A line that went out is lost, and nothing tells of it.
    #[cold]
    fn swallow(&mut self, pipe: u32, number: u64) {
        let state = &self.pipes[pipe as usize];
        let (is_silent, connection) = (state.path.is_silent(), state.opened);
        self.counts.lost += 1;
        if is_silent {
            self.send_out(pipe, connection, number);
        } else {
            self.take_lost(pipe, number);
        }
    }

    #[inline]
    fn queue_line(&mut self, at: Timestamp, line: Line, pipe: u32, connection: u32) {
        let due = match line {
            Line::At(report) => Due::Line { report, pipe, connection },
            Line::Control(control) => {
                Due::Timer(Timer::Control(self.controls.insert(InFlight { control, pipe, connection })))
            }
        };
        self.queue.push(at, due);
    }

    /// A line that went out vanishes.
    #[cold]
    fn vanish(&mut self, pipe: u32, line: Line, number: u64) {
        let state = &self.pipes[pipe as usize];
        let (way, connection) = (state.way(), state.opened);
        self.counts.lost += 1;
        // A control line that vanishes is seen by what it fails to bring.
        if let Line::At(report) = line {
            self.observe(|| Event::Vanished { way, connection, report });
        }
        self.take_lost(pipe, number);
    }

    /// Resets the connection if the line that went out was the last one before a reset.
    #[inline]
    fn reset_if_due(&mut self, pipe: u32) {
        let state = &mut self.pipes[pipe as usize];
        if state.path.resets_now() && state.is_connected() {
            self.hang_up(pipe);
        }
    }

    /// Begins a dial.
    pub(super) fn dial(&mut self, pipe: u32) {
        let dial = self.dial_end(pipe);
        self.pipes[pipe as usize].connection = Connection::Dialing(dial);
        self.queue.push(dial.until, Due::Timer(Timer::Dial(pipe)));
        self.recount(pipe);
    }

    /// Returns the dial that begins now.
    fn dial_end(&mut self, pipe: u32) -> Dial {
        self.counts.dials += 1;
        let state = &mut self.pipes[pipe as usize];
        state.dials += 1;
        let (number, back) = (u64::from(state.dials), state.back);
        let back = self.pipes[back as usize].path.spans();
        self.pipes[pipe as usize].path.dial(self.now, number, back, self.topology.redial.timeout)
    }

    /// Whether somebody answers a dial at this moment.
    fn answers(&self, pipe: u32) -> bool {
        let state = &self.pipes[pipe as usize];
        self.hosts[state.to as usize].up && !state.path.is_unreachable()
    }

    /// A dial ends, unless it is no longer the one under way.
    pub(super) fn on_dial(&mut self, pipe: u32) {
        let Connection::Dialing(dial) = self.pipes[pipe as usize].connection else { return };
        if dial.until != self.now {
            return;
        }
        let opened = !dial.times_out && self.answers(pipe);
        let state = &mut self.pipes[pipe as usize];
        let (from, to, back) = (state.from, state.to, state.back);
        if !opened {
            state.connection = Connection::Down;
            return self.bring(from, Deferred::DialFailed(pipe));
        }
        state.connection = Connection::Up;
        state.opened += 1;
        state.path.connected();
        let (way, connection) = (state.way(), state.opened);
        self.observe(|| Event::LinkUp { way, connection });
        self.recount(pipe);
        self.bring(from, Deferred::Opened(pipe));
        self.bring(to, Deferred::Seen(back));
    }

    /// The writer of a pipe learns that its reader is gone, unless it has learnt of it in another way.
    pub(super) fn on_notice(&mut self, pipe: u32) {
        if self.pipes[pipe as usize].connection == (Connection::Broken { until: self.now }) {
            self.busy -= 1;
            self.hang_up(pipe);
        }
    }

    /// The reader of a pipe reads the end of a connection, unless its own end came first.
    pub(super) fn on_end(&mut self, pipe: u32, losses: u16) {
        let state = &mut self.pipes[pipe as usize];
        if state.losses as u16 == losses {
            state.ending -= 1;
            self.busy -= 1;
            let (reader, back) = (state.to, state.back);
            self.bring(reader, Deferred::Gone(back));
        }
    }

    /// The end of a connection goes to its reader, behind all its lines.
    fn send_end(&mut self, pipe: u32) {
        let state = &mut self.pipes[pipe as usize];
        if state.connection == Connection::Up {
            let (at, losses) = (state.path.last_arrival().max(self.now), state.losses as u16);
            state.ending += 1;
            self.busy += 1;
            self.queue.push(at, Due::Timer(Timer::End { pipe, losses }));
        }
    }

    /// A node's deadline may be reached.
    pub(super) fn on_wake(&mut self, server: ServerId) {
        let now = self.now;
        let host = self.host_mut(server);
        if host.wakes_at <= now {
            host.wakes_at = Timestamp::MAX;
        }
        if !host.paused {
            self.meet_deadline(server);
        }
    }

    fn meet_deadline(&mut self, server: ServerId) {
        match self.host(server).node.deadline() {
            Some(deadline) if deadline <= self.now => self.tell(server, Input::Deadline),
            _ => self.queue_wake(server),
        }
    }

    pub(super) fn queue_wake(&mut self, server: ServerId) {
        let host = self.host_mut(server);
        let Some(deadline) = host.node.deadline() else { return };
        if deadline < host.wakes_at {
            host.wakes_at = deadline;
            self.queue.push(deadline.max(self.now), Due::Timer(Timer::Wake(server.0)));
        }
    }

    /// Something happens to a server: now, or when it is no longer frozen.
    pub(super) fn bring(&mut self, server: u32, what: Deferred) {
        let host = &mut self.hosts[server as usize];
        if host.paused {
            host.inbox.push(what);
        } else {
            self.deal_with(what);
        }
    }

    fn deal_with(&mut self, what: Deferred) {
        match what {
            Deferred::Line { line, pipe, connection } => {
                let state = &mut self.pipes[pipe as usize];
                if connection > state.lost_through {
                    state.unread -= 1;
                    self.read(line, pipe, connection);
                }
            }
            Deferred::Opened(pipe) => self.tell_writer(pipe, Input::LinkOpened),
            Deferred::DialFailed(pipe) => self.tell_writer(pipe, Input::DialFailed),
            Deferred::Lost(pipe) => self.tell_writer(pipe, Input::LinkLost),
            Deferred::Taken(pipe, number) => self.tell_taken(pipe, number),
            Deferred::Seen(pipe) => self.tell_writer(pipe, Input::NeighbourSeen),
            Deferred::Gone(pipe) => self.tell_writer(pipe, Input::NeighbourGone),
            Deferred::Written(slot) => self.read_session(slot),
        }
    }

    fn tell_writer(&mut self, pipe: u32, input: fn(LinkId) -> Input<'static>) {
        let writer = ServerId(self.pipes[pipe as usize].from);
        let link = LinkId(pipe - self.host(writer).first_pipe);
        self.tell(writer, input(link));
    }

    fn observe_lost(&mut self, pipe: u32) {
        let state = &mut self.pipes[pipe as usize];
        let (way, connection, lines_lost) = (state.way(), state.opened, u64::from(std::mem::take(&mut state.lost)));
        self.observe(|| Event::LinkLost { way, connection, lines_lost });
    }

    /// A server goes on: what happened to it meanwhile happens now.
    pub(super) fn thaw(&mut self, server: ServerId) {
        let host = self.host_mut(server);
        host.paused = false;
        let held = host.held;
        self.held += u64::from(held);
        let mut inbox = std::mem::take(&mut self.host_mut(server).inbox);
        self.thaws = true;
        inbox.drain(..).for_each(|what| self.deal_with(what));
        self.thaws = false;
        self.host_mut(server).inbox = inbox;
        self.meet_deadline(server);
        self.settle(server);
        for pipe in self.host(server).pipes() {
            if self.pipes[pipe as usize].owing {
                self.pull(pipe);
            }
        }
        self.recount_around(server);
    }

    /// The writer's side of a connection ends. What is in flight arrives; what has not left is lost.
    pub(super) fn hang_up(&mut self, pipe: u32) {
        self.lose_stage(pipe);
        self.send_end(pipe);
        let state = &mut self.pipes[pipe as usize];
        state.connection = Connection::Down;
        state.owing = false;
        let writer = state.from;
        self.observe_lost(pipe);
        self.recount(pipe);
        self.bring(writer, Deferred::Lost(pipe));
    }

    /// Both ends of a connection are reset; connections and lines that were lost.
    pub(super) fn reset_pipe(&mut self, pipe: u32) -> (u64, u64) {
        let was_connected = self.pipes[pipe as usize].is_connected();
        let (messages, lost) = self.lose_lines(pipe);
        if was_connected {
            self.forget_notice(pipe);
            self.hang_up(pipe);
        }
        (messages + u64::from(was_connected), lost)
    }

    /// The writer of a pipe is gone, and what it wrote with it; connections and lines that were lost.
    pub(super) fn lose_writer(&mut self, pipe: u32) -> (u64, u64) {
        let was_connected = self.pipes[pipe as usize].is_connected();
        let (messages, lost) = self.lose_lines(pipe);
        self.lose_stage(pipe);
        self.close(pipe);
        (messages + u64::from(was_connected), lost)
    }

    /// The writer of a pipe ends its connection and is gone. What is in flight arrives.
    pub(super) fn close(&mut self, pipe: u32) -> u64 {
        let was_connected = self.pipes[pipe as usize].is_connected();
        self.forget_notice(pipe);
        self.send_end(pipe);
        match self.pipes[pipe as usize].mode {
            LinkMode::Persistent => drop(self.lose_stage(pipe)),
            LinkMode::PerMessage => self.miss_parked(pipe),
        }
        if was_connected {
            self.observe_lost(pipe);
        }
        self.pipes[pipe as usize].connection = Connection::Down;
        self.pipes[pipe as usize].owing = false;
        u64::from(was_connected)
    }

    /// The reader of a pipe is gone; connections and lines that were lost. The writer learns of it after the latency of
    /// the way back, and not at all when the pipe swallows everything.
    pub(super) fn lose_reader(&mut self, pipe: u32) -> (u64, u64) {
        let (messages, lost) = self.lose_lines(pipe);
        let state = &self.pipes[pipe as usize];
        if state.connection != Connection::Up {
            return (messages, lost);
        }
        if !state.path.is_silent() {
            let until = self.now + self.pipes[state.back as usize].path.latency();
            self.pipes[pipe as usize].connection = Connection::Broken { until };
            self.queue.push(until, Due::Timer(Timer::Notice(pipe)));
            self.busy += 1;
        }
        (messages + 1, lost)
    }

    /// A writer that was to learn that its reader is gone learns it now, or is gone itself.
    fn forget_notice(&mut self, pipe: u32) {
        if let Connection::Broken { .. } = self.pipes[pipe as usize].connection {
            self.busy -= 1;
        }
    }

    /// Everything on a connection is lost; for a per-message pipe, how many connections that were, and how many lines it is.
    fn lose_lines(&mut self, pipe: u32) -> (u64, u64) {
        let state = &mut self.pipes[pipe as usize];
        let lost = state.in_flight + state.unread;
        let ended = std::mem::take(&mut state.ending);
        self.busy -= u64::from(state.in_flight) + u64::from(ended);
        (state.in_flight, state.unread) = (0, 0);
        state.path.emptied(self.now);
        // Nothing sent on the last connection from now on arrives: it is gone, broken, or half-open until it is reset.
        state.lost_through = state.opened;
        state.losses = state.losses.wrapping_add(1);
        state.lost += lost;
        let is_persistent = state.mode == LinkMode::Persistent;
        let (reader, back) = (state.to, state.back);
        self.lose_unacknowledged(pipe);
        self.counts.lost += u64::from(lost);
        if self.hosts[reader as usize].up {
            (0..ended).for_each(|_| self.bring(reader, Deferred::Gone(back)));
        }
        let staged = if is_persistent { self.lose_stage(pipe) } else { 0 };
        // No connection is left whose loss would tell of them.
        if lost > 0 && !self.pipes[pipe as usize].is_connected() {
            self.observe_lost(pipe);
        }
        (if is_persistent { 0 } else { u64::from(lost) }, u64::from(lost) + staged)
    }

    /// Loses what has not left. Returns the number of lines that were written; on a per-message pipe, none was.
    fn lose_stage(&mut self, pipe: u32) -> u64 {
        let state = &mut self.pipes[pipe as usize];
        let Some(mut stage) = state.stage.take() else { return 0 };
        self.busy -= stage.dialing() as u64;
        if state.mode == LinkMode::PerMessage {
            return 0;
        }
        let lost = stage.lose_waiting().count();
        state.lost += lost as u32;
        self.counts.lost += lost as u64;
        lost as u64
    }

    /// Begins the dial for one line.
    fn dial_message(&mut self, pipe: u32, line: Line, number: u64) {
        let dial = self.dial_end(pipe);
        let until = self.pipes[pipe as usize].stage().dial(Staged { line, number }, dial);
        self.busy += 1;
        self.queue.push(until, Due::Timer(Timer::Message(pipe)));
    }

    /// Begins the dials of a per-message pipe anew that the pipe, which was healed, answers earlier now or at all.
    pub(super) fn redial_messages(&mut self, pipe: u32) {
        if self.pipes[pipe as usize].stage.as_ref().is_none_or(|stage| stage.dialing() == 0) {
            return;
        }
        let dial = self.dial_end(pipe);
        for _ in 0..self.pipes[pipe as usize].stage().redial(dial) {
            self.queue.push(dial.until, Due::Timer(Timer::Message(pipe)));
        }
    }

    /// The dial for a line ends: the line goes, or waits on a pipe that is held, or nobody takes it.
    pub(super) fn on_message(&mut self, pipe: u32) {
        let (now, state) = (self.now, &mut self.pipes[pipe as usize]);
        let (is_held, Some(stage)) = (state.path.is_held(), &mut state.stage) else { return };
        let dialing = stage.dialing();
        let ended = stage.dialled(now, is_held);
        self.busy -= (dialing - stage.dialing()) as u64;
        match ended {
            Some(Dialled::Ready(staged)) => self.send_message(pipe, staged),
            Some(Dialled::TimedOut(staged)) => self.miss_message(pipe, staged),
            None => return,
        }
        self.pull_if_owing(pipe);
    }

    fn send_message(&mut self, pipe: u32, staged: Staged) {
        if !self.answers(pipe) {
            return self.miss_message(pipe, staged);
        }
        let Staged { line, number } = staged;
        let state = &mut self.pipes[pipe as usize];
        state.path.connected();
        state.opened += 1;
        self.observe_written(pipe, &line);
        self.leave(pipe, line, number);
    }

    /// Misses a line of a per-message pipe that nobody takes.
    fn miss_message(&mut self, pipe: u32, Staged { line, number }: Staged) {
        self.take_back(pipe, number);
        line.into_report().into_iter().for_each(|report| self.miss(pipe, report));
    }

    /// Lets the lines that wait on a pipe go out. Returns their number.
    pub(super) fn release(&mut self, pipe: u32) -> u64 {
        let state = &self.pipes[pipe as usize];
        let mode = state.mode;
        let parked = state.stage.as_ref().map_or(0, |stage| stage.parked());
        for _ in 0..parked {
            // None when the connection ended behind a line before, and took the others with it.
            let stage = self.pipes[pipe as usize].stage.as_mut();
            let Some(staged) = stage.and_then(|stage| stage.released()) else { break };
            match mode {
                LinkMode::PerMessage => self.send_message(pipe, staged),
                LinkMode::Persistent => self.leave(pipe, staged.line, staged.number),
            }
        }
        self.pull_if_owing(pipe);
        parked as u64
    }

    /// Misses what waits on a held per-message pipe whose writer stops.
    fn miss_parked(&mut self, pipe: u32) {
        while let Some(staged) = self.pipes[pipe as usize].stage.as_mut().and_then(|stage| stage.released()) {
            self.miss_message(pipe, staged);
        }
    }

    /// Lets everything in flight on a pipe arrive at once, in order, and dials end that the pipe delayed.
    pub(super) fn hurry(&mut self, pipe: u32) {
        let Self { queue, controls, .. } = self;
        let is_its = |due: &Due| match *due {
            Due::Line { pipe: of, .. } | Due::Timer(Timer::End { pipe: of, .. }) => of == pipe,
            Due::Timer(Timer::Control(slot)) => controls.pipe(slot) == pipe,
            Due::Timer(_) => false,
        };
        for due in queue.take(is_its) {
            queue.push(self.now, due);
        }
        self.redial_messages(pipe);
    }

    #[inline]
    fn pull_if_owing(&mut self, pipe: u32) {
        if self.pipes[pipe as usize].owing {
            self.pull(pipe);
        }
    }

    /// Hands on everything a server owes, however full its pipes are.
    pub(super) fn flush(&mut self, server: ServerId) {
        for (link, pipe) in (0..).map(LinkId).zip(self.host(server).pipes()) {
            while let Some(line) = self.host_mut(server).node.next_line(link) {
                let number = self.host(server).node.line_number(link);
                self.write(pipe, line, number);
            }
        }
    }

    /// Counts whether this pipe will dial without any further action.
    pub(super) fn recount(&mut self, pipe: u32) {
        let state = &self.pipes[pipe as usize];
        let (writer, reader) = (&self.hosts[state.from as usize], &self.hosts[state.to as usize]);
        let runs = writer.up && !writer.paused && reader.up;
        let dials = state.mode == LinkMode::Persistent && !state.is_connected() && !state.path.is_unreachable();
        let expected = runs && dials;
        if std::mem::replace(&mut self.pipes[pipe as usize].expected, expected) != expected {
            self.expected = if expected { self.expected + 1 } else { self.expected - 1 };
        }
    }

    /// Counts whether a server waits for a timer of its node, and will do something then without any further action.
    pub(super) fn recount_waiting(&mut self, server: ServerId) {
        let host = self.host_mut(server);
        let waits = host.up && !host.paused && host.node.is_waiting();
        if std::mem::replace(&mut host.waits, waits) != waits {
            self.waiting = if waits { self.waiting + 1 } else { self.waiting - 1 };
        }
    }

    /// Counts again after a change of a server.
    pub(super) fn recount_around(&mut self, server: ServerId) {
        self.recount_waiting(server);
        for pipe in self.host(server).pipes() {
            self.recount(pipe);
            self.recount(self.pipes[pipe as usize].back);
        }
    }

    /// The way that a pipe is.
    pub(super) fn way(&self, pipe: u32) -> Way {
        self.pipes[pipe as usize].way()
    }
}
