//! An exhaustive model of the look at the accounts: every order in which the steps of a small herd, of a connection that breaks and
//! of the one who looks can come.
//!
//! The herd is a chain of three servers, A, B and C, with one command at A. B's link to C may not be up yet, and A's connection to
//! B may break. A rule that is taken away lets the look find rest where there is none, or never.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

/// What is begun and ended. Who has to do it does not matter, since the looks add up.
#[derive(Clone, Copy)]
enum What {
    Command,
    OutboxA,
    OutboxB,
    TurnA,
    TurnB,
    WireAb,
    WireBc,
}

const WHATS: usize = 7;

/// What may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What waits in an outbox, or has left it and is on no wire yet, is on an account too.
    EveryPlaceIsCounted,
    /// A line is handled under the lock of its wire, and what is in flight is written off under that lock, at once.
    UnderTheWiresLock,
    /// The look asks between its two passes whether a dial is due.
    DialsAreAsked,
    /// The first pass reads what has ended, the second what has begun.
    EndedBeforeBegun,
}

/// A herd, and how far the look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct State {
    begun: [u8; WHATS],
    ended: [u8; WHATS],
    /// The command at A: waits, is stored, is handled.
    command: u8,
    /// By wire.
    wires: [Wire; 2],
    /// The connection from A to B is whole, is being written off (then how much), or is closed.
    broken: Broken,
    is_linked: bool,
    /// B holds the record.
    is_stored: bool,
    look: Look,
}

/// One way: from A to B, or from B to C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Wire {
    owes: bool,
    /// The writer: idle, has taken the line, has disarmed, has counted it, has written it.
    writer: u8,
    in_flight: u8,
    /// The reader: idle, has read, has stored.
    reader: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Broken {
    #[default]
    Whole,
    /// What was in flight has been counted and is not written off.
    Counted(u8),
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Look {
    pass: u8,
    /// The accounts that this pass has read, as bits.
    read: u8,
    sums: [u8; 2],
    /// It has found that a dial is due, and gives up.
    is_over: bool,
}

/// The herd as it is with some rules and without others.
#[derive(Clone, Copy)]
struct Model {
    without: Option<Rule>,
    breaks: bool,
    dials: bool,
}

impl State {
    fn begin(&mut self, what: What) {
        self.begun[what as usize] += 1;
    }

    fn end(&mut self, what: What) {
        self.ended[what as usize] += 1;
    }

    fn due(&self, what: What) -> u8 {
        self.begun[what as usize] - self.ended[what as usize]
    }

    fn look_is_content(&self) -> bool {
        self.look.pass == 2 && self.look.sums[0] == self.look.sums[1]
    }
}

impl Model {
    fn has(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// What the herd itself may do next.
    fn work(self, state: State) -> Vec<State> {
        let mut next = Vec::new();
        let mut step = |change: &dyn Fn(&mut State)| {
            let mut state = state;
            change(&mut state);
            next.push(state);
        };
        match state.command {
            0 => step(&|state| {
                self.owe(state, 0);
                state.command = 1;
            }),
            1 => step(&|state| {
                state.end(What::Command);
                state.command = 2;
            }),
            _ => {}
        }
        for wire in 0..2 {
            self.work_on(wire, state, &mut step);
        }
        if self.dials && !state.is_linked {
            step(&|state| {
                state.is_linked = true;
                if state.is_stored {
                    self.owe(state, 1);
                }
            });
        }
        next
    }

    fn work_on(self, number: usize, state: State, step: &mut impl FnMut(&dyn Fn(&mut State))) {
        let (outbox, turn, on_wire) =
            [(What::OutboxA, What::TurnA, What::WireAb), (What::OutboxB, What::TurnB, What::WireBc)][number];
        let is_counted = self.has(Rule::EveryPlaceIsCounted);
        let is_closed = number == 0 && state.broken != Broken::Whole;
        let wire = state.wires[number];
        match wire.writer {
            0 if wire.owes && (number == 0 || state.is_linked) => step(&|state| {
                if is_counted {
                    state.begin(turn);
                }
                state.wires[number].owes = false;
                state.wires[number].writer = 1;
            }),
            1 => step(&|state| {
                if is_counted {
                    state.end(outbox);
                }
                state.wires[number].writer = 2;
            }),
            2 => step(&|state| {
                if !is_closed {
                    state.begin(on_wire);
                    state.wires[number].in_flight += 1;
                }
                state.wires[number].writer = 3;
            }),
            3 => step(&|state| {
                if is_counted {
                    state.end(turn);
                }
                state.wires[number].writer = 0;
            }),
            _ => {}
        }
        match wire.reader {
            0 if wire.in_flight > 0 => step(&|state| {
                state.wires[number].in_flight -= 1;
                state.wires[number].reader = 1;
            }),
            // A line of a closed connection is dropped.
            1 if is_closed && self.has(Rule::UnderTheWiresLock) => step(&|state| state.wires[number].reader = 0),
            1 => step(&|state| {
                if number == 0 {
                    state.is_stored = true;
                    if state.is_linked {
                        self.owe(state, 1);
                    }
                }
                state.wires[number].reader = 2;
            }),
            2 => step(&|state| {
                // Written off already, if the connection broke meanwhile.
                if state.due(on_wire) > 0 {
                    state.end(on_wire);
                }
                state.wires[number].reader = 0;
            }),
            _ => {}
        }
    }

    /// A server owes a line.
    fn owe(self, state: &mut State, wire: usize) {
        if self.has(Rule::EveryPlaceIsCounted) {
            state.begin([What::OutboxA, What::OutboxB][wire]);
        }
        state.wires[wire].owes = true;
    }

    /// What somebody outside may do to the herd next: the connection from A to B breaks.
    fn act(self, state: State) -> Option<State> {
        let mut next = state;
        let is_locked = self.has(Rule::UnderTheWiresLock);
        match state.broken {
            Broken::Whole if !self.breaks || is_locked && state.wires[0].reader == 2 => return None,
            Broken::Whole if is_locked => {
                (0..state.due(What::WireAb)).for_each(|_| next.end(What::WireAb));
                next.broken = Broken::Closed;
                next.wires[0].in_flight = 0;
            }
            Broken::Whole => {
                next.broken = Broken::Counted(state.due(What::WireAb));
                next.wires[0].in_flight = 0;
            }
            Broken::Counted(lines) => {
                (0..lines).for_each(|_| next.end(What::WireAb));
                next.broken = Broken::Closed;
            }
            Broken::Closed => return None,
        }
        Some(next)
    }

    /// What the one who looks may do next: the accounts of a pass in any order, and the dials at once.
    fn look(self, state: State) -> Vec<State> {
        if state.look.pass == 2 || state.look.is_over {
            return Vec::new();
        }
        let mut next = Vec::new();
        if state.look.read == (1 << WHATS) - 1 {
            let mut state = state;
            let asks = state.look.pass == 0 && self.has(Rule::DialsAreAsked);
            state.look.is_over = asks && !state.is_linked;
            (state.look.pass, state.look.read) = (state.look.pass + 1, 0);
            return vec![state];
        }
        for account in (0..WHATS).filter(|account| state.look.read >> account & 1 == 0) {
            let mut state = state;
            let is_ended = (state.look.pass == 0) == self.has(Rule::EndedBeforeBegun);
            let counts = if is_ended { state.ended } else { state.begun };
            state.look.sums[usize::from(state.look.pass)] += counts[account];
            state.look.read |= 1 << account;
            next.push(state);
        }
        next
    }

    /// Follows every order of steps. Returns how many states there are, or the steps to one in which the look is wrong.
    fn explore(self) -> Result<usize, Vec<State>> {
        let mut first = State { is_linked: !self.dials, ..State::default() };
        first.begin(What::Command);
        let mut before: HashMap<State, State> = HashMap::from([(first, first)]);
        let mut open = VecDeque::from([first]);
        while let Some(state) = open.pop_front() {
            let work = self.work(state);
            // A herd with nothing to do has to be found at rest, and no other one.
            let is_idle = work.is_empty() && !matches!(state.broken, Broken::Counted(_));
            let drops_only = work.iter().all(|next| next.begun == state.begun && next.ended == state.ended);
            let is_at_rest = is_idle || drops_only && self.is_idle_soon(state);
            let wrong_rest = state.look_is_content() && !is_at_rest;
            let never_rests = is_idle && state.begun != state.ended;
            if wrong_rest || never_rests {
                let way =
                    std::iter::successors(Some(state), |state| before.get(state).filter(|it| *it != state).copied());
                return Err(way.collect());
            }
            for next in work.into_iter().chain(self.act(state)).chain(self.look(state)) {
                before.entry(next).or_insert_with(|| {
                    open.push_back(next);
                    state
                });
            }
        }
        Ok(before.len())
    }

    /// Returns `true` if all that the herd still does is on no account: a reader drops what it has read of a closed connection.
    fn is_idle_soon(self, state: State) -> bool {
        let mut open = vec![state];
        let mut seen: HashSet<State> = HashSet::new();
        while let Some(now) = open.pop() {
            let changes = now.begun != state.begun || now.ended != state.ended || now.is_stored != state.is_stored;
            if changes || now.is_linked != state.is_linked {
                return false;
            }
            open.extend(self.work(now).into_iter().filter(|next| seen.insert(*next)));
        }
        true
    }
}

const WHOLE: Model = Model { without: None, breaks: true, dials: true };

#[test]
fn the_look_finds_rest_where_there_is_rest_and_nowhere_else() {
    let states = WHOLE.explore();
    assert!(states.as_ref().is_ok_and(|&states| states > 100_000), "{states:?}");
}

#[test]
fn without_any_of_its_rules_the_look_is_wrong() {
    let cases = [
        // A has handled the command and owes B a line, which is on no wire.
        (Rule::EveryPlaceIsCounted, false, false),
        // A connection breaks while its reader handles a line.
        (Rule::UnderTheWiresLock, true, false),
        // B is about to dial C.
        (Rule::DialsAreAsked, false, true),
        // What begins and ends between the two passes is in one of them only.
        (Rule::EndedBeforeBegun, false, false),
    ];
    for (rule, breaks, dials) in cases {
        assert!(Model { without: None, breaks, dials }.explore().is_ok(), "{rule:?}");
        assert!(Model { without: Some(rule), breaks, dials }.explore().is_err(), "{rule:?}");
    }
}
