//! How fast the simulator is: delivered lines and scenarios a second on one core, and memory a server.
//!
//! Floods over random 4-regular graphs whose links take 1 to 10 ms; medians of several repeats. Seconds are those that the
//! processor worked, so that other programs lengthen them little; only the gain of a second core is by the clock on the wall.
//! Run with `cargo bench --bench simulator`, or with the number of servers behind that for one row only, or
//! with `memory`, `scenarios` or `tree`. The last one shows what updates cost along a tree and by flooding.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use herdsim::act::{Action, PartitionMode, SessionId, Verb, WayVerb, Ways};
use herdsim::claim::{Assertion, Check, ConvergedMode, Scope, When};
use herdsim::config::{
    Delay, Limits, Link, LinkMode, Places, Redial, Server, ServerId, Strategy, Threads, Topology, Unlisted, Way,
};
use herdsim::draws::Draws;
use herdsim::driver::simulated::{Interest, PlacesAnswer, QueueKind, Settings, SimulatedDriver};
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::{self, DriverKind, Event};
use herdsim::report::Status;
use herdsim::scenario::{self, ClientTime, STEP_DEADLINE, Said, Script, SessionKey, Step, Talk, Task, Until};
use herdsim::suite::{self, Case, CaseDriver};
use herdsim::time::RealClock;
use herdsim::wire::Answer;
use tokio_util::sync::CancellationToken;

const REPEATS: usize = 7;

fn main() {
    let only = std::env::args().nth(1).filter(|only| only != "--bench");
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    if wanted("memory") {
        // First, so that nothing that was freed before is counted as there.
        println!("bytes a server at 100,000, without its topology: {}\n", memory());
    }
    println!("deliveries a second of one core, in millions (median of {REPEATS}; least, most)");
    println!("{:>8}  {:>20}  {:>20}  {:>20}", "servers", "heap", "wheel", "all observed");
    for (servers, updates) in [(5, 40_000), (1_000, 300), (10_000, 20), (100_000, 3)] {
        if !wanted(&servers.to_string()) {
            continue;
        }
        let topology = Arc::new(herd(servers));
        let [heap, wheel, observed] = [
            (QueueKind::Heap, Interest::Counts),
            (QueueKind::Wheel, Interest::Counts),
            (QueueKind::Auto, Interest::Everything),
        ]
        .map(|(queue, interest)| deliveries(&topology, Settings { queue, interest, ..Settings::default() }, updates));
        println!("{servers:>8}  {:>20}  {:>20}  {:>20}", spread(heap), spread(wheel), spread(observed));
    }
    if wanted("tree") {
        println!("\nan update among 1,000 servers, on average over {UPDATES} of 10 origins, after one of each");
        println!(
            "{:>11} {:>24} {:>8} {:>8} {:>9} {:>9} {:>10}",
            "", "", "lines", "bytes", "control", "bytes", "last, ms"
        );
        [Strategy::FloodSync, Strategy::Tree].into_iter().for_each(compare);
    }
    if wanted("scenarios") {
        println!("\nfive-server partition-and-heal scenarios a second of one core (median of {REPEATS}; least, most)");
        println!("simulator, all observed                      {}", spread(scenarios()));
        let (one, two) = whole_program();
        println!("whole program, with its checks               {}", spread(one));
        println!("two cores over one, by the clock on the wall {}", spread(two));
    }
}

/// Median, least and most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let digits = if values[0] < 1000.0 { 2 } else { 0 };
    let [median, least, most] = [values[values.len() / 2], values[0], values[values.len() - 1]];
    format!("{median:.digits$} ({least:.digits$}, {most:.digits$})")
}

/// The five servers of the assignment, or a random 4-regular graph: two rings over all servers in random order.
fn herd(servers: u32) -> Topology {
    let delay = Delay { latency: ms(1), jitter: ms(9), ..Delay::default() };
    let links = if servers == 5 { vec![[3, 4], [3, 1], [2, 0], [2, 1], [2, 4], [1, 0]] } else { two_rings(servers) };
    let link = |ends: [u32; 2]| Link { ends: ends.map(ServerId), mode: LinkMode::Persistent, delays: [delay; 2] };
    let server = |place| Server {
        name: format!("server-{place}").into(),
        host: "127.0.0.1".to_owned(),
        listen: None,
        port: 0,
        clock_offset: 0,
    };
    Topology {
        name: "bench".to_owned(),
        servers: (0..servers).map(server).collect(),
        links: links.into_iter().map(link).collect(),
        unlisted: Unlisted::default(),
        strategy: Strategy::FloodSync,
        reply: None,
        redial: Redial::default(),
        places: Places::default(),
        limits: Limits::default(),
        threads: Threads::default(),
        seed: 1,
    }
}

fn two_rings(servers: u32) -> Vec<[u32; 2]> {
    let mut links: Vec<_> = (0..2).flat_map(|ring| ring_of(servers, ring)).collect();
    links.sort_unstable();
    links.dedup();
    links
}

fn ring_of(servers: u32, ring: u64) -> Vec<[u32; 2]> {
    let draws = Draws::new(7, ring);
    let mut order: Vec<_> = (0..servers).collect();
    order.sort_by_key(|&server| draws.bits(u64::from(server), 0));
    let next = order.iter().cycle().skip(1);
    order.iter().zip(next).map(|(&a, &b)| [a.min(b), a.max(b)]).collect()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn simulator(topology: &Arc<Topology>, settings: Settings) -> SimulatedDriver {
    let places = PlacesAnswer::new(|_| Answer { json: Bytes::from_static(b"{}") });
    SimulatedDriver::new(topology.clone(), settings, places)
}

fn settle(driver: &mut SimulatedDriver) {
    let limit = driver.now() + Duration::from_secs(3600);
    while let Some(observation) = driver.observe_next(Wait::Quiescent(limit)).seen() {
        black_box(observation);
    }
}

fn iamat(driver: &mut SimulatedDriver, server: u32, client: u64, time: u64) {
    write(driver, server, line(client, time));
}

fn line(client: u64, time: u64) -> Bytes {
    Bytes::from(format!("IAMAT client-{client}.example +34.068930-118.445127 {time}.5\n"))
}

fn write(driver: &mut SimulatedDriver, server: u32, bytes: Bytes) {
    let action = Action::Send { session: SessionId(server), server: ServerId(server), bytes, finish: false };
    driver.act(action).expect("a client can always write");
}

/// Millions a second while `updates` of 16 clients flood the herd, one a millisecond.
fn deliveries(topology: &Arc<Topology>, settings: Settings, updates: u64) -> Vec<f64> {
    let mut driver = simulator(topology, settings);
    let servers = topology.servers.len() as u64;
    let lines: Vec<_> = (0..updates).map(|update| line(update % 16, 1_700_000_000 + update)).collect();
    let mut repeat = || {
        driver.reset(topology, 1);
        settle(&mut driver);
        let start = cpu_seconds();
        for (update, line) in (0..).zip(&lines) {
            write(&mut driver, (update * 7919 % servers) as u32, line.clone());
            let until = driver.now() + ms(1);
            while let Some(observation) = driver.observe_next(Wait::Until(until)).seen() {
                black_box(observation);
            }
        }
        settle(&mut driver);
        driver.counts().heard as f64 / (cpu_seconds() - start) / 1e6
    };
    repeat();
    (0..REPEATS).map(|_| repeat()).collect()
}

/// Updates that [`compare`] sends in each of its parts.
const UPDATES: u64 = 100;

/// What updates cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    lines: u64,
    bytes: u64,
    control: u64,
    control_bytes: u64,
    /// Until the last server knew an update, added up.
    last: Duration,
}

/// Shows what updates of ten origins cost: alone, after a partition that cut the herd into halves and had an update on each
/// side, and once a replay has gone round.
fn compare(strategy: Strategy) {
    let topology = Arc::new(Topology { strategy, ..herd(1_000) });
    let mut driver = simulator(&topology, Settings::default());
    settle(&mut driver);
    let mut time = 1_700_000_000;
    let show = |part: &str, cost: Cost, updates: u64| {
        let each = |sum: u64| sum as f64 / updates as f64;
        println!(
            "{:>11} {part:>24} {:>8.0} {:>8.0} {:>9.0} {:>9.0} {:>10.1}",
            strategy.name(),
            each(cost.lines),
            each(cost.bytes),
            each(cost.control),
            each(cost.control_bytes),
            1e3 * cost.last.as_secs_f64() / updates as f64
        );
    };
    let mut updates = |driver: &mut SimulatedDriver, count: u64| {
        let mut sum = Cost::default();
        for update in 0..count {
            time += 1;
            iamat(driver, 97 * (update % 10) as u32, update % 10, time);
            sum = sum.and(cost(driver));
        }
        sum
    };
    show("the first of an origin", updates(&mut driver, 10), 10);
    show("from the second on", updates(&mut driver, UPDATES), UPDATES);
    let ways: Vec<_> = topology.links.iter().flat_map(Link::ways).map(|(way, _)| way).collect();
    let between: Vec<_> = ways.into_iter().filter(|way| (way.from.0 < 500) != (way.to.0 < 500)).collect();
    let all = |driver: &mut SimulatedDriver, verb: WayVerb| {
        between.iter().for_each(|&way| black_box(driver.act(verb.on(way)).map(drop)).expect("linked"));
    };
    all(&mut driver, WayVerb::Cut);
    updates(&mut driver, 10);
    all(&mut driver, WayVerb::Heal);
    show("a heal of 2 x 500", cost(&mut driver), 1);
    show("the first after that", updates(&mut driver, 10), 10);
    show("later", updates(&mut driver, UPDATES), UPDATES);
}

/// Lets the herd come to rest. Returns what that cost.
fn cost(driver: &mut SimulatedDriver) -> Cost {
    let (begun, mut cost) = (driver.now(), Cost::default());
    let limit = begun + Duration::from_secs(3600);
    while let Some(seen) = driver.observe_next(Wait::Quiescent(limit)).seen() {
        match seen.event {
            Event::Sent { report, .. } => {
                (cost.lines, cost.bytes) = (cost.lines + 1, cost.bytes + report.written_len() as u64);
            }
            Event::Control { line, .. } => {
                (cost.control, cost.control_bytes) =
                    (cost.control + 1, cost.control_bytes + line.text().len() as u64 + 1);
            }
            Event::Heard { newer: true, .. } => cost.last = seen.at.since(begun),
            _ => {}
        }
    }
    cost
}

impl Cost {
    fn and(self, other: Self) -> Self {
        Self {
            lines: self.lines + other.lines,
            bytes: self.bytes + other.bytes,
            control: self.control + other.control,
            control_bytes: self.control_bytes + other.control_bytes,
            last: self.last + other.last,
        }
    }
}

/// Resident bytes a server: linked, and after a flood of one client.
fn memory() -> String {
    let topology = Arc::new(herd(100_000));
    let before = resident();
    let mut driver = simulator(&topology, Settings { interest: Interest::Counts, ..Settings::default() });
    settle(&mut driver);
    let linked = resident() - before;
    iamat(&mut driver, 0, 0, 1_700_000_000);
    settle(&mut driver);
    let flooded = resident() - before;
    format!("{} linked, {} after a flood", linked / 100_000, flooded / 100_000)
}

/// Seconds this thread has run, which other programs on the machine do not lengthen.
fn cpu_seconds() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0) as f64 / 1e9
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// A second of one core, in one simulator: link up, update, partition, update on both sides, heal, settle.
fn scenarios() -> Vec<f64> {
    let topology = Arc::new(herd(5));
    let mut driver = simulator(&topology, Settings::default());
    let cut = [[3, 1], [2, 4]].map(|ends: [u32; 2]| ends.map(ServerId));
    let ways = cut.map(|[from, to]| [Way { from, to }, Way { from: to, to: from }]).concat();
    let mut scenario = |seed| {
        driver.reset(&topology, seed);
        settle(&mut driver);
        (0..10).for_each(|client| iamat(&mut driver, client as u32 % 5, client, 1_700_000_000));
        settle(&mut driver);
        ways.iter().for_each(|&way| black_box(driver.act(WayVerb::Cut.on(way)).map(drop)).expect("linked"));
        (0..10).for_each(|client| iamat(&mut driver, client as u32 % 5, client, 1_700_000_001));
        settle(&mut driver);
        ways.iter().for_each(|&way| black_box(driver.act(WayVerb::Heal.on(way)).map(drop)).expect("linked"));
        settle(&mut driver);
    };
    let mut repeat = || {
        let start = cpu_seconds();
        (0..5_000).for_each(&mut scenario);
        5_000.0 / (cpu_seconds() - start)
    };
    (0..REPEATS).map(|_| repeat()).collect()
}

/// The same five-server partition and heal as a script, run, recorded and judged as `herdsim run --seeds` does: a second of
/// one core, and how much more two cores do.
fn whole_program() -> (Vec<f64>, Vec<f64>) {
    let script = Arc::new(partition());
    let case = |seed| Case { script: script.clone(), seed, driver: CaseDriver::One(DriverKind::Simulated) };
    let cases: Vec<_> = (0..4_000).map(case).collect();
    let (mut one, mut gain) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let alone = run_cases(&cases, 1);
        one.push(cases.len() as f64 / alone.cpu);
        gain.push(alone.wall / run_cases(&cases, 2).wall);
    }
    (one, gain)
}

/// Seconds that something took.
struct Took {
    cpu: f64,
    wall: f64,
}

fn run_cases(cases: &[Case], jobs: usize) -> Took {
    let options = suite::Options {
        jobs,
        retries: 0,
        fail_fast: false,
        max_time: None,
        check_determinism: false,
        herd_of: None,
        histories: None,
    };
    let (cpu, clock) = (cpu_seconds_of_all_threads(), RealClock::start());
    let begun = clock.now();
    let results = suite::run(cases, &options, &(), &CancellationToken::new());
    let took = Took { cpu: cpu_seconds_of_all_threads() - cpu, wall: (clock.now() - begun).as_secs_f64() };
    assert!(results.len() == cases.len() && results.iter().all(|result| result.status == Status::Passed));
    took
}

/// In steps of 10 ms.
fn cpu_seconds_of_all_threads() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn partition() -> Script {
    let topology = Arc::new(herd(5));
    let talks = || (0..10_u32).map(talk);
    let partition = Verb::Partition { groups: vec![vec![ServerId(3), ServerId(4)]], mode: PartitionMode::Cut };
    let heal = Verb::Ways { verb: WayVerb::Heal, on: Ways::All };
    let settle = || std::iter::once(Task::Until(Until::Quiescent));
    let tasks = talks().chain(settle());
    let tasks = tasks.chain([Task::Herd(partition)]).chain(talks()).chain(settle());
    let tasks = tasks.chain([Task::Herd(heal)]).chain(settle());
    let servers: Vec<_> = topology.servers.iter().map(|server| server.name.clone()).collect();
    let converged =
        Assertion::Converged { mode: ConvergedMode::Acknowledged, scope: Scope::Core, within: None, by: None };
    let assertions = [Assertion::NoInvention, Assertion::Monotone, Assertion::ReplyExact, Assertion::NoEcho, converged];
    Script {
        title: "A partition heals".to_owned(),
        teaches: None,
        file: "partition.toml".into(),
        case: String::new(),
        drivers: vec![DriverKind::Simulated],
        deadline: None,
        steps: (1..).zip(tasks).map(|(line, task)| step(line, task)).collect(),
        checks: assertions.map(|assertion| Check::new(assertion, When::End, None, &servers)).into(),
        thresholds: Vec::new(),
        topology,
    }
}

fn talk(client: u32) -> Task {
    let said = Said::Iamat {
        client: format!("client-{client}.example").into(),
        location: "+34.068930-118.445127".into(),
        time: ClientTime::Clock(0),
    };
    let session = SessionKey { name: None, via: ServerId(client % 5) };
    Task::Talk(Talk { session, said, finish: false, replies: 1, expect: None })
}

fn step(line: u32, task: Task) -> Step {
    Step {
        shown: history::Step { text: format!("step {line}"), file: None, line },
        span: 0..0,
        when: scenario::When::InTurn,
        task,
        lasting: None,
        deadline: STEP_DEADLINE,
    }
}
