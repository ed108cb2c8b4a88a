//! What people do to the herd, action by action.
//!
//! Not here: what follows from it between servers ([`super::network`]).

use std::ops::AddAssign;

use super::SimulatedDriver;
use crate::config::{ServerId, Way};
use crate::driver::{Action, DriverError, Event, Hit};
use crate::node::Input;

impl SimulatedDriver {
    /// Does something to the herd; see [`Driver::apply`](crate::driver::Driver::apply).
    pub fn act(&mut self, action: Action) -> Result<Hit, DriverError> {
        Ok(match action {
            Action::Kill(server) => self.kill(server),
            Action::Stop(server) => self.stop(server),
            Action::Start(server) => self.start(server),
            Action::Restart(server) => self.restart(server),
            Action::Pause(server) => self.pause(server),
            Action::Resume(server) => self.resume(server),
            Action::SetClock(server, offset) => self.set_clock(server, offset),
            Action::Cut(way) => self.cut(self.pipe(way)?),
            Action::Heal(way) => self.heal(self.pipe(way)?),
            Action::Hold(way) => self.hold(self.pipe(way)?),
            Action::Release(way) => self.release_held(self.pipe(way)?),
            Action::Reset(way, after) => self.reset_after(self.pipe(way)?, after),
            Action::HalfOpen(way) => self.half_open(self.pipe(way)?),
            Action::Slow(way, slowness) => self.on_path(way, |path| path.slow(slowness))?,
            Action::Drop(way, nth) => self.on_path(way, |path| path.drop_line(nth))?,
            Action::Duplicate(way, nth) => self.on_path(way, |path| path.duplicate_line(nth))?,
            Action::Send { session, server, bytes, finish } => {
                self.client_writes(session, server, bytes, finish)?;
                Hit::default()
            }
            Action::Close(session) => Hit { connections: self.client_closes(session), ..Hit::default() },
        })
    }

    /// The pipe of a way.
    fn pipe(&self, way: Way) -> Result<u32, DriverError> {
        let pipes = self.host(way.from).pipes();
        pipes.into_iter().find(|&pipe| self.pipes[pipe as usize].to == way.to.0).ok_or_else(|| {
            let [from, to] = [way.from, way.to].map(|server| self.topology.name(server).clone());
            DriverError::NoLink { from, to }
        })
    }

    fn on_path(&mut self, way: Way, change: impl FnOnce(&mut super::Path)) -> Result<Hit, DriverError> {
        let pipe = self.pipe(way)?;
        change(&mut self.pipes[pipe as usize].path);
        Ok(Hit::default())
    }

    fn kill(&mut self, server: ServerId) -> Hit {
        if !self.host(server).up {
            return Hit::default();
        }
        let records = self.host(server).node.records().len() as u64;
        self.observe(|| Event::Killed { server, records });
        let mut hit = Hit { records_lost: records, connections: self.reset_clients(server), ..Hit::default() };
        for pipe in self.host(server).pipes() {
            hit += self.lose_writer(pipe);
        }
        hit += self.leave_neighbours(server);
        hit
    }

    /// A server that is frozen goes on before it stops, or it could finish nothing. Lines that wait on a way that is held
    /// are lost with their connection.
    fn stop(&mut self, server: ServerId) -> Hit {
        if !self.host(server).up {
            return Hit::default();
        }
        self.resume(server);
        let records = self.host(server).node.records().len() as u64;
        let mut hit = Hit { records_lost: records, connections: self.dismiss_clients(server), ..Hit::default() };
        self.flush(server);
        self.observe(|| Event::Stopped { server, records });
        for pipe in self.host(server).pipes() {
            hit.connections += self.close(pipe);
        }
        hit += self.leave_neighbours(server);
        hit
    }

    /// A server no longer runs, and its neighbours cannot reach it.
    fn leave_neighbours(&mut self, server: ServerId) -> (u64, u64) {
        let mut lost = Hit::default();
        self.host_mut(server).reset();
        for pipe in self.host(server).pipes() {
            lost += self.lose_reader(self.pipes[pipe as usize].back);
        }
        self.recount_around(server);
        (lost.connections, lost.lines_lost)
    }

    pub(super) fn start(&mut self, server: ServerId) -> Hit {
        if !self.host(server).up {
            self.host_mut(server).up = true;
            self.observe(|| Event::Started { server, port: 0 });
            self.tell(server, Input::Started);
            self.recount_around(server);
        }
        Hit::default()
    }

    fn restart(&mut self, server: ServerId) -> Hit {
        let hit = self.kill(server);
        self.start(server);
        hit
    }

    fn pause(&mut self, server: ServerId) -> Hit {
        let host = self.host_mut(server);
        if host.up && !host.paused {
            host.paused = true;
            self.recount_around(server);
            self.observe(|| Event::Paused(server));
        }
        Hit::default()
    }

    fn resume(&mut self, server: ServerId) -> Hit {
        if self.host(server).paused {
            self.observe(|| Event::Resumed(server));
            self.thaw(server);
        }
        Hit::default()
    }

    fn set_clock(&mut self, server: ServerId, offset: i64) -> Hit {
        self.tell(server, Input::ClockSet(offset));
        self.observe(|| Event::ClockSet { server, offset });
        Hit::default()
    }

    fn cut(&mut self, pipe: u32) -> Hit {
        let mut hit = Hit::default();
        if self.pipes[pipe as usize].path.cut() {
            hit += self.reset_pipe(pipe);
        }
        self.recount(pipe);
        hit
    }

    fn heal(&mut self, pipe: u32) -> Hit {
        let mut hit = Hit::default();
        let was_half_open = self.pipes[pipe as usize].path.is_half_open();
        self.pipes[pipe as usize].path.heal();
        if was_half_open {
            if self.pipes[pipe as usize].is_dialing() {
                // The dialler has been asking again and again all the time; now it is heard.
                self.dial(pipe);
            } else {
                hit += self.reset_pipe(pipe);
            }
        }
        self.recount(pipe);
        hit
    }

    /// Lines in flight have left and arrive; those written from now on wait with their sender.
    fn hold(&mut self, pipe: u32) -> Hit {
        self.pipes[pipe as usize].path.hold();
        Hit::default()
    }

    fn release_held(&mut self, pipe: u32) -> Hit {
        let was_held = self.pipes[pipe as usize].path.release();
        Hit { lines_released: if was_held { self.release(pipe) } else { 0 }, ..Hit::default() }
    }

    fn reset_after(&mut self, pipe: u32, after: u64) -> Hit {
        let mut hit = Hit::default();
        match after {
            0 => hit += self.reset_pipe(pipe),
            lines => self.pipes[pipe as usize].path.reset_after(lines),
        }
        hit
    }

    fn half_open(&mut self, pipe: u32) -> Hit {
        self.pipes[pipe as usize].path.half_open();
        self.recount(pipe);
        Hit::default()
    }
}

/// Adds connections and lines that were lost.
impl AddAssign<(u64, u64)> for Hit {
    fn add_assign(&mut self, (connections, lines): (u64, u64)) {
        self.connections += connections;
        self.lines_lost += lines;
    }
}
