//! Whether a run that is seen from outside is judged as one that is seen from inside would be, or not at all.
//!
//! A driver hides what servers of the simulator tell, and answers questions as a server across a wire does. What it hid is put
//! back into the history afterwards, which is then judged once more.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::*;
use crate::act::{Hit, SessionId, WayFaults};
use crate::checker::judge;
use crate::config::{ServerId, Way};
use crate::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use crate::driver::{Next, Unseen};
use crate::history::{DriverKind, Entry, Sight};
use crate::scenario::{Overrides, Variables, load};
use crate::wire::Report;

/// How long a question, and an answer, are on their way.
const WAY: Duration = Duration::from_micros(700);

/// A driver that sees some servers from outside only.
struct Outside {
    inner: SimulatedDriver,
    is_outside: fn(ServerId) -> bool,
    /// What is not told, each with the number of observations that were told before.
    hidden: Vec<(usize, Observation)>,
    told: usize,
    /// What was seen while a server was asked.
    waiting: VecDeque<Observation>,
}

impl Outside {
    /// Returns `true` if only a server that is seen from outside could tell of an event.
    fn is_hidden(&self, event: &Event) -> bool {
        match event {
            Event::Started { .. }
            | Event::Stopped { .. }
            | Event::Killed { .. }
            | Event::Crashed { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::ClockSet { .. }
            | Event::Replied { .. }
            | Event::SessionLost { .. } => false,
            Event::LinkUp { way, .. } | Event::LinkLost { way, .. } => (self.is_outside)(way.from),
            _ => event.servers().into_iter().any(|&server| (self.is_outside)(server)),
        }
    }

    /// Lets time pass.
    async fn pass(&mut self, time: Duration) {
        let until = self.inner.now() + time;
        while let Next::Seen(observation) = self.inner.next(Wait::Until(until)).await {
            match self.is_hidden(&observation.event) {
                true => self.hidden.push((self.told + self.waiting.len(), observation)),
                false => self.waiting.push_back(observation),
            }
        }
    }
}

impl Driver for Outside {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn check(&self, action: &Action) -> Result<(), DriverError> {
        self.inner.check(action)
    }

    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError> {
        self.inner.apply(action).await
    }

    async fn next(&mut self, wait: Wait) -> Next {
        if let Some(observation) = self.waiting.pop_front() {
            self.told += 1;
            return Next::Seen(observation);
        }
        loop {
            let next = self.inner.next(wait).await;
            match next {
                Next::Seen(observation) if self.is_hidden(&observation.event) => {
                    self.hidden.push((self.told, observation));
                }
                next => {
                    self.told += usize::from(matches!(next, Next::Seen(_)));
                    return next;
                }
            }
        }
    }

    fn sight(&self, server: ServerId) -> Sight {
        if (self.is_outside)(server) { Sight::Outside } else { Sight::Inside }
    }

    async fn probe(&mut self, server: ServerId, clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen> {
        self.pass(WAY).await;
        let answer = match self.inner.is_paused(server) {
            true => Err(Unseen::NoAnswer("it is frozen".into())),
            false => self.inner.probe(server, clients).await,
        };
        self.pass(WAY).await;
        answer
    }

    fn is_linked(&self, server: ServerId) -> bool {
        self.inner.is_linked(server)
    }

    fn is_open(&self, session: SessionId) -> bool {
        self.inner.is_open(session)
    }

    fn faults(&self, way: Way) -> WayFaults {
        self.inner.faults(way)
    }

    fn is_paused(&self, server: ServerId) -> bool {
        self.inner.is_paused(server)
    }

    fn clock_offset(&self, server: ServerId) -> i64 {
        self.inner.clock_offset(server)
    }

    fn port(&self, server: ServerId) -> Option<u16> {
        self.inner.port(server)
    }
}

/// Runs a script and returns its history as it was seen, and as it was.
fn replay(script: &Script, seed: u64, is_outside: fn(ServerId) -> bool) -> Option<[History; 2]> {
    let mut inner = SimulatedDriver::new(script.topology.clone(), Settings::default(), PlacesAnswer::offline());
    inner.reset(&script.topology, seed);
    let mut driver = Outside { inner, is_outside, hidden: Vec::new(), told: 0, waiting: VecDeque::new() };
    let mut origin = script.origin(DriverKind::Simulated);
    let inside = History::new(Arc::new(origin.clone()), seed, driver.now());
    origin.sights = script.topology.ids().map(|server| driver.sight(server)).collect();
    let history = History::new(Arc::new(origin), seed, driver.now());
    let wiring = Arc::new(Wiring::of(&script.topology));
    let mut runner = Runner::new(script, history, wiring, &mut driver);
    let ended = runner.run(&()).now_or_never().expect("virtual time waits for nobody");
    let seen = runner.into_history();
    match ended {
        Err(RunError::Unseen { .. }) => return None,
        ended => ended.expect("the driver can do it"),
    }
    let mut hidden = driver.hidden.into_iter().peekable();
    let (mut entries, mut told) = (Vec::new(), 0);
    for entry in &seen.entries {
        let is_told = matches!(entry.fact, Fact::Saw(_));
        let is_before = |hidden: &(usize, Observation)| hidden.0 <= told && (is_told || hidden.1.at < entry.at);
        while let Some((_, Observation { at, event })) = hidden.next_if(is_before) {
            entries.push(Entry { at, step: entry.step, fact: Fact::Saw(event) });
        }
        told += usize::from(is_told);
        let is_question = matches!(entry.fact, Fact::Probing { .. } | Fact::Probed { .. } | Fact::Unanswered { .. });
        entries.extend((!is_question).then(|| entry.clone()));
    }
    entries.extend(hidden.map(|(_, Observation { at, event })| Entry { at, step: None, fact: Fact::Saw(event) }));
    let was = History { entries, linked: seen.linked, ..inside };
    Some([seen, was])
}

/// Returns every case of every scenario that ships.
fn scripts() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = std::fs::read_dir(directory).expect("they ship").map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let read =
        |file| load(file, &Variables::new(), &Overrides::default()).map(|cases| cases.scripts).unwrap_or_default();
    files.iter().flat_map(|file| read(file)).filter(|script| script.drivers.contains(&DriverKind::Simulated)).collect()
}

/// Returns scripts whose claims about times hold or not, as `bound` is large or small.
fn bounded(bound: Duration) -> Vec<Script> {
    let servers = "[{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]";
    let herd = format!("herd = {{ latency = '20ms', links = [['A', 'B'], ['B', 'C']], server = {servers} }}");
    let write = |via: char| format!("[[step]]\niamat = {{ client = 'k', at = '+1+1', via = '{via}' }}\n");
    let rest = "[[step]]\nuntil = 'quiescent'\n";
    let bound = format!("{}us", bound.as_micros());
    let expect = format!(
        "[expect]\nconverged = {{ within = '{bound}' }}\npropagated = {{ within = '{bound}' }}\nno_lost = true\n\
         'convergence' = '<{bound}'\n'propagation max' = '<{bound}'\n"
    );
    let scripts = [
        format!("{}{rest}{}", write('A'), write('C')),
        format!("{}{}{rest}", write('B'), write('A')),
        format!("[[step]]\ncut = ['A', 'B']\n{}{rest}[[step]]\nheal = ['A', 'B']\n{rest}", write('A')),
        format!("{}[[step]]\nwait = '{bound}'\n[[step]]\ncheck = {{ knows = 'k', on = ['C'] }}\n", write('A')),
        format!("{}{rest}[[step]]\nrestart = 'C'\n{rest}", write('A')),
    ];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("x.toml");
    let read = |script: String| {
        std::fs::write(&file, format!("title = 'x'\nstrategy = 'flood-sync'\n{herd}\n{script}{expect}"))
            .expect("it is written");
        let cases = load(&file, &Variables::new(), &Overrides::default());
        cases.unwrap_or_else(|error| panic!("{error}")).scripts.remove(0)
    };
    scripts.into_iter().map(read).collect()
}

/// Runs a script, and tests that what was seen of it from outside is so. Returns how many findings passed, failed, and are
/// unproven though they could be told from inside.
fn judged(script: &Script, seed: u64, is_outside: fn(ServerId) -> bool) -> [usize; 3] {
    let Some([seen, was]) = replay(script, seed, is_outside) else { return [0; 3] };
    let (seen, was) = (judge(&seen), judge(&was));
    assert_eq!(seen.findings.len(), was.findings.len());
    let mut counts = [0; 3];
    for (seen, was) in seen.findings.iter().zip(&was.findings) {
        let is_same = seen.verdict == Verdict::Unproven || seen.verdict == was.verdict;
        assert!(is_same, "{} seed {seed}:\n{seen:?}\n{was:?}", script.file.display());
        counts[0] += usize::from(seen.verdict == Verdict::Passed);
        counts[1] += usize::from(seen.verdict == Verdict::Failed);
        counts[2] += usize::from(seen.verdict != was.verdict);
    }
    counts
}

/// Runs scripts with a few seeds, seen from outside whole and in part.
fn all_judged(scripts: &[Script], seeds: u64) -> [usize; 3] {
    let mut counts = [0; 3];
    for script in scripts {
        for seed in 1..=seeds {
            for is_outside in [(|_| true) as fn(ServerId) -> bool, |server| server == ServerId(1)] {
                let more = judged(script, seed, is_outside);
                counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            }
        }
    }
    counts
}

#[test]
fn what_is_proven_of_a_scenario_from_outside_is_so() {
    let [passed, ..] = all_judged(&scripts(), 2);
    assert!(passed > 0);
}

#[test]
fn times_are_proven_from_outside_where_they_are_clear_of_the_bound() {
    let (mut passed, mut failed, mut unproven) = (0, 0, 0);
    for bound in (1..=100).map(|step| step * Duration::from_micros(997)) {
        let counts = all_judged(&bounded(bound), 1);
        (passed, failed, unproven) = (passed + counts[0], failed + counts[1], unproven + counts[2]);
    }
    assert!(passed > 1000 && failed > 1000, "{passed} passed, {failed} failed, {unproven} unproven");
}
