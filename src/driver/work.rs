//! What a process of a herd has to do, as it tells others, and whether several processes together are at rest.
//!
//! Each process looks at its own accounts ([`super::loopback`]). Between processes lines are compared by live connection: sums over
//! processes are of no use, for a process that was killed takes its part of them with it. All processes are asked twice. What
//! was the same both times was so all along, and so at the moment between the two rounds, for all of them at once.
//! An exhaustive model shows that this finds no false rest, and that each of its rules is needed.
//!
//! Not here: how processes are asked.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::{ServerId, Way};

/// What one process has to do. `S` tells servers apart: by number in memory, by name in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work<S = ServerId> {
    /// The servers of this process.
    pub servers: Vec<S>,
    /// Those of them that are paused: what waits for them does not count.
    pub paused: Vec<S>,
    /// Nothing waits in this process but what other fields tell.
    pub is_idle: bool,
    /// Things that were begun in this process since it started. They change whenever anything happens.
    pub begun: u64,
    /// Ways to servers of other processes that are not open, and are dialled again and again.
    pub dials: Vec<Way<S>>,
    /// Live connections that this process dialled to servers of other processes, and lines that were sent over them.
    pub sent: Vec<Wire<S>>,
    /// Live connections that it accepted from such servers, and lines that it has read from them and handled.
    pub handled: Vec<Wire<S>>,
}

/// Lines of one live connection between two processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire<S = ServerId> {
    /// The way that they take.
    pub way: Way<S>,
    /// Address from which the connection was dialled. No other live connection of the machine to the same server has it.
    pub address: SocketAddr,
    /// Lines.
    pub lines: u64,
}

impl<S> Work<S> {
    /// Returns the same with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `name`.
    pub fn map<T, E>(self, name: &mut impl FnMut(S) -> Result<T, E>) -> Result<Work<T>, E> {
        let Self { servers, paused, is_idle, begun, dials, sent, handled } = self;
        let wires = |wires: Vec<Wire<S>>, name: &mut dyn FnMut(S) -> Result<T, E>| {
            let wire = |Wire { way, address, lines }: Wire<S>| {
                Ok(Wire { way: Way { from: name(way.from)?, to: name(way.to)? }, address, lines })
            };
            wires.into_iter().map(wire).collect::<Result<_, _>>()
        };
        Ok(Work {
            sent: wires(sent, name)?,
            handled: wires(handled, name)?,
            dials: dials.into_iter().map(|way| way.map(name)).collect::<Result<_, _>>()?,
            servers: servers.into_iter().map(&mut *name).collect::<Result<_, _>>()?,
            paused: paused.into_iter().map(name).collect::<Result<_, _>>()?,
            is_idle,
            begun,
        })
    }
}

/// Returns `true` if a herd of several processes was at rest between two rounds of questions, of which the first was over when the
/// second began. `can_answer` tells whether a server runs and can be reached by dials.
///
/// Connections from and to servers of no process that was asked are not looked at.
pub fn are_at_rest<S: PartialEq>(first: &[Work<S>], second: &[Work<S>], can_answer: impl Fn(&S) -> bool) -> bool {
    let is_steady = first == second && first.iter().all(|work| work.is_idle);
    let dials = second.iter().flat_map(|work| &work.dials);
    is_steady && !dials.into_iter().any(|way| can_answer(&way.to)) && lines_are_handled(second)
}

/// Returns `true` if no line is on its way between two processes, nor a connection about to be accepted or to end.
fn lines_are_handled<S: PartialEq>(all: &[Work<S>]) -> bool {
    let is_known = |server: &S| all.iter().any(|work| work.servers.contains(server));
    let is_paused = |server: &S| all.iter().any(|work| work.paused.contains(server));
    let counts = |wire: &&Wire<S>| is_known(&wire.way.from) && is_known(&wire.way.to) && !is_paused(&wire.way.to);
    let sent: Vec<_> = all.iter().flat_map(|work| &work.sent).filter(counts).collect();
    let handled: Vec<_> = all.iter().flat_map(|work| &work.handled).filter(counts).collect();
    sent.len() == handled.len() && sent.iter().all(|wire| handled.contains(wire))
}

#[cfg(test)]
mod model {
    //! Every order in which two processes, and one who asks them, can do their steps.
    //!
    //! A and B send each other lines. B may be killed and started again. A rule that is taken away lets the one who asks find rest
    //! where there is none.

    use std::collections::VecDeque;
    use std::net::{Ipv4Addr, SocketAddr};

    use hashbrown::HashSet;

    use super::*;

    /// What may be taken away.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Rule {
        /// Lines are compared by live connection, not in sum.
        ByConnection,
        /// The processes are asked twice, the second time after all have answered.
        Twice,
        /// Both rounds have to tell the same.
        Steady,
    }

    /// Two processes, A and B, and what the one who asks has heard.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    struct State {
        /// Whether each has a command to take, whose line goes to the other.
        commands: [bool; 2],
        /// Lines that each process owes the other.
        owed: [u8; 2],
        /// The way from each process to the other: the connection's number, lines sent, lines in flight, lines handled.
        wires: [Wired; 2],
        /// Lines that each process has sent and handled in its life.
        sums: [(u8, u8); 2],
        begun: [u8; 2],
        may_die: bool,
        /// Lines that may be answered with another one when they are handled.
        echoes: u8,
        /// Nothing was to be done at some moment while the processes were asked.
        had_rest: bool,
        /// The answers, by round and process: what is compared.
        heard: [[Option<Heard>; 2]; 2],
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    struct Wired {
        number: u8,
        sent: u8,
        in_flight: u8,
        handled: u8,
    }

    /// What a process answers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Heard {
        is_idle: bool,
        begun: u8,
        /// Its connection to the other, and lines sent over it.
        sent: (u8, u8),
        /// Its connection from the other, and lines handled of it.
        handled: (u8, u8),
        sums: (u8, u8),
    }

    impl State {
        fn first() -> Self {
            Self {
                commands: [true; 2],
                owed: [0; 2],
                wires: [Wired::default(); 2],
                sums: [(0, 0); 2],
                begun: [0; 2],
                may_die: true,
                echoes: 2,
                had_rest: false,
                heard: [[None; 2]; 2],
            }
        }

        fn is_being_asked(&self) -> bool {
            self.heard[0].iter().any(Option::is_some)
        }

        fn has_work(&self) -> bool {
            self.owed != [0; 2] || self.wires.iter().any(|wire| wire.in_flight > 0)
        }

        /// What the processes may do next.
        fn work(&self) -> Vec<Self> {
            let mut next = Vec::new();
            for process in 0..2 {
                if self.commands[process] {
                    let mut state = self.clone();
                    state.commands[process] = false;
                    state.owed[process] += 1;
                    state.begun[process] += 1;
                    next.push(state);
                }
                if self.owed[process] > 0 {
                    let mut state = self.clone();
                    state.owed[process] -= 1;
                    state.wires[process].sent += 1;
                    state.wires[process].in_flight += 1;
                    state.sums[process].0 += 1;
                    next.push(state);
                }
                if self.wires[process].in_flight > 0 {
                    let mut state = self.clone();
                    state.wires[process].in_flight -= 1;
                    state.wires[process].handled += 1;
                    state.sums[1 - process].1 += 1;
                    state.begun[1 - process] += 1;
                    next.push(state.clone());
                    if state.echoes > 0 {
                        state.echoes -= 1;
                        state.owed[1 - process] += 1;
                        next.push(state);
                    }
                }
            }
            if self.may_die {
                // B ends and starts again at once. Both ways have new connections, and it counts from 0.
                let mut state = self.clone();
                state.may_die = false;
                for wire in &mut state.wires {
                    *wire = Wired { number: wire.number + 1, ..Wired::default() };
                }
                (state.owed[1], state.sums[1], state.begun[1]) = (0, (0, 0), 0);
                next.push(state);
            }
            next
        }

        /// What the one who asks may do next: hear one process.
        fn ask(&self, without: Option<Rule>) -> Vec<Self> {
            let round = usize::from(self.heard[0].iter().all(Option::is_some));
            if round == 1 && without == Some(Rule::Twice) {
                return Vec::new();
            }
            let unheard = (0..2).filter(|&process| self.heard[round][process].is_none());
            let hear = |process: usize| {
                let (to, from) = (self.wires[process], self.wires[1 - process]);
                let mut state = self.clone();
                state.heard[round][process] = Some(Heard {
                    is_idle: self.owed[process] == 0,
                    begun: self.begun[process],
                    sent: (to.number, to.sent),
                    handled: (from.number, from.handled),
                    sums: self.sums[process],
                });
                state
            };
            unheard.map(hear).collect()
        }

        /// Whether the one who asks finds rest.
        fn is_found_at_rest(&self, without: Option<Rule>) -> bool {
            let round = |round: usize| -> Option<[Heard; 2]> { Some([self.heard[round][0]?, self.heard[round][1]?]) };
            let Some(first) = round(0) else { return false };
            let second = if without == Some(Rule::Twice) { Some(first) } else { round(1) };
            let Some(second) = second else { return false };
            let first = if without == Some(Rule::Steady) { second } else { first };
            if without == Some(Rule::ByConnection) {
                let sum = |of: fn(&Heard) -> u8| second.iter().map(of).sum::<u8>();
                let is_idle = first == second && second.iter().all(|heard| heard.is_idle);
                return is_idle && sum(|heard| heard.sums.0) == sum(|heard| heard.sums.1);
            }
            are_at_rest(&told(first), &told(second), |_| true)
        }
    }

    /// Returns the answers as processes give them.
    fn told(heard: [Heard; 2]) -> Vec<Work> {
        let [a, b] = [ServerId(0), ServerId(1)];
        let wire = |way: Way, (number, lines): (u8, u8)| {
            vec![Wire { way, address: SocketAddr::from((Ipv4Addr::LOCALHOST, number.into())), lines: lines.into() }]
        };
        let work = |(heard, [own, other]): (Heard, [ServerId; 2])| Work {
            servers: vec![own],
            paused: Vec::new(),
            is_idle: heard.is_idle,
            begun: heard.begun.into(),
            dials: Vec::new(),
            sent: wire(Way { from: own, to: other }, heard.sent),
            handled: wire(Way { from: other, to: own }, heard.handled),
        };
        heard.into_iter().zip([[a, b], [b, a]]).map(work).collect()
    }

    /// Follows every order of steps. Returns whether rest is found where there was some, and whether where there was none.
    fn explore(without: Option<Rule>) -> [bool; 2] {
        let mut seen: HashSet<State> = HashSet::from([State::first()]);
        let mut open = VecDeque::from([State::first()]);
        let mut found = [false; 2];
        while let Some(state) = open.pop_front() {
            if state.is_found_at_rest(without) {
                found[usize::from(!state.had_rest)] = true;
                continue;
            }
            for mut next in state.work().into_iter().chain(state.ask(without)) {
                next.had_rest |= next.is_being_asked() && !next.has_work();
                if seen.insert(next.clone()) {
                    open.push_back(next);
                }
            }
        }
        assert!(seen.len() > 1_000, "{}", seen.len());
        found
    }

    #[test]
    fn two_rounds_find_rest_where_there_is_rest_and_nowhere_else() {
        assert_eq!(explore(None), [true, false]);
    }

    #[test]
    fn without_any_of_its_rules_rest_is_found_where_there_is_none() {
        for rule in [Rule::ByConnection, Rule::Twice, Rule::Steady] {
            assert!(explore(Some(rule))[1], "{rule:?}");
        }
    }
}
