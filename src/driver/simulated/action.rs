//! What people do to the herd, action by action.
//!
//! Not here: what follows from it between servers ([`super::network`]).

use std::ops::AddAssign;

use super::SimulatedDriver;
use crate::act::{Action, Hit, ServerVerb, WayVerb};
use crate::config::{ServerId, Way};
use crate::driver::DriverError;
use crate::history::Event;
use crate::node::Input;

impl SimulatedDriver {
    /// Does something to the herd; see [`Driver::apply`](crate::driver::Driver::apply).
    pub fn act(&mut self, action: Action) -> Result<Hit, DriverError> {
        Ok(match action {
            Action::Server(server, verb) => self.act_on_server(server, verb),
            Action::Way(way, verb) => {
                let pipe = self.pipe(way)?;
                self.act_on_pipe(pipe, verb)
            }
            Action::Send { session, server, bytes, finish } => {
                self.client_writes(session, server, bytes, finish)?;
                Hit::default()
            }
            Action::Close(session) => Hit { connections: self.client_closes(session), ..Hit::default() },
        })
    }

    fn act_on_server(&mut self, server: ServerId, verb: ServerVerb) -> Hit {
        match verb {
            ServerVerb::Kill => self.kill(server),
            ServerVerb::Stop => self.stop(server),
            ServerVerb::Start => self.start(server),
            ServerVerb::Restart => self.restart(server),
            ServerVerb::Pause => self.pause(server),
            ServerVerb::Resume => self.resume(server),
            ServerVerb::Clock(offset) => self.set_clock(server, offset),
        }
    }

    /// Does `verb` to a way. Lines in flight on a way that is held have left and arrive; those written from then on wait with
    /// their sender.
    fn act_on_pipe(&mut self, pipe: u32, verb: WayVerb) -> Hit {
        let mut hit = Hit::default();
        let effect = self.pipes[pipe as usize].path.apply(verb);
        if effect.answers && self.pipes[pipe as usize].is_dialing() {
            // The dialler has been asking again and again all the time; now it is heard.
            self.dial(pipe);
        } else if effect.severs {
            hit += self.reset_pipe(pipe);
        }
        if effect.answers {
            self.redial_messages(pipe);
        }
        if effect.hurries {
            self.hurry(pipe);
        }
        if effect.frees {
            hit.lines_released = self.release(pipe);
        }
        self.recount(pipe);
        hit
    }

    /// Returns the pipe of a way.
    pub(super) fn pipe(&self, way: Way) -> Result<u32, DriverError> {
        let pipes = self.host(way.from).pipes();
        pipes.into_iter().find(|&pipe| self.pipes[pipe as usize].to == way.to.0).ok_or_else(|| {
            let [from, to] = [way.from, way.to].map(|server| self.topology.name(server).clone());
            DriverError::NoLink { from, to }
        })
    }

    fn kill(&mut self, server: ServerId) -> Hit {
        if !self.host(server).up {
            return Hit::default();
        }
        let (life, records) = (self.host(server).life, self.host(server).node.records().len() as u64);
        self.observe(|| Event::Killed { server, life, records });
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
        let (life, records) = (self.host(server).life, self.host(server).node.records().len() as u64);
        let mut hit = Hit { records_lost: records, connections: self.dismiss_clients(server), ..Hit::default() };
        self.flush(server);
        self.observe(|| Event::Stopped { server, life, records });
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
        self.forget_lines_of(server);
        for pipe in self.host(server).pipes() {
            lost += self.lose_reader(self.pipes[pipe as usize].back);
        }
        self.recount_around(server);
        (lost.connections, lost.lines_lost)
    }

    pub(super) fn start(&mut self, server: ServerId) -> Hit {
        if !self.host(server).up {
            let host = self.host_mut(server);
            host.up = true;
            host.life += 1;
            let life = host.life;
            self.observe(|| Event::Started { server, life, port: 0 });
            self.host(server).pipes().for_each(|pipe| self.begin_counting(pipe));
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
            let (life, held) = (host.life, host.held);
            self.held -= u64::from(held);
            self.recount_around(server);
            self.observe(|| Event::Paused { server, life });
        }
        Hit::default()
    }

    fn resume(&mut self, server: ServerId) -> Hit {
        if self.host(server).paused {
            let life = self.host(server).life;
            self.observe(|| Event::Resumed { server, life });
            self.thaw(server);
        }
        Hit::default()
    }

    fn set_clock(&mut self, server: ServerId, offset: i64) -> Hit {
        self.tell(server, Input::ClockSet(offset));
        self.observe(|| Event::ClockSet { server, offset });
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
