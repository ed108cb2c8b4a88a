//! Replies a second and how long they take, for each number of connections and commands in flight, beside the peers.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::Plan;
use crate::load::{Ask, Load, Yield};
use crate::processes::Subject;
use crate::report::{Bound, Targets, median, milliseconds, print_table, short};

/// What every subject yielded, by repeat.
type Yields = BTreeMap<Subject, Vec<Measured>>;

/// One repeat.
#[derive(Debug, Clone, Copy)]
struct Measured {
    yielded: Yield,
    /// Processor time of a subject for one reply, in seconds. Hardly disturbed by what else a machine does.
    cost: f64,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    load: Load,
    yields: Yields,
}

/// Whom the table compares with, by column.
const PEERS: [(Subject, &str); 8] = [
    (Subject::Neighbours, "reply = neighbours"),
    (Subject::Everywhere, "reply = everywhere"),
    (Subject::EchoMulti, "tokio echo, multi-thread"),
    (Subject::EchoCurrent, "tokio echo, current-thread"),
    (Subject::Persistent, "asyncio, persistent links"),
    (Subject::PerMessage, "asyncio, a connection per message"),
    (Subject::Redis, "Redis SET"),
    (Subject::Other, "other build"),
];

/// Ratios that are wanted.
const TARGETS: [(Ask, usize, usize, Subject, f64); 10] = [
    (Ask::Repeated, 256, 1, Subject::EchoMulti, 0.85),
    (Ask::Repeated, 256, 16, Subject::EchoMulti, 0.6),
    (Ask::Distinct, 256, 16, Subject::EchoMulti, 0.4),
    (Ask::Repeated, 256, 1, Subject::Persistent, 10.0),
    (Ask::Repeated, 256, 16, Subject::Persistent, 80.0),
    (Ask::Distinct, 256, 16, Subject::Persistent, 40.0),
    (Ask::Repeated, 256, 1, Subject::PerMessage, 80.0),
    (Ask::Repeated, 256, 1, Subject::Redis, 1.0),
    (Ask::Repeated, 50, 16, Subject::Redis, 1.3),
    (Ask::Repeated, 256, 1, Subject::Other, 1.0),
];

pub(crate) fn measure(plan: &Plan, targets: &mut Targets) -> io::Result<()> {
    let mut rows: Vec<_> = rows().into_iter().filter(|row| plan.includes(&row.name())).collect();
    for repeat in 0..plan.repeats {
        for row in &mut rows {
            eprintln!("{} of {}: {}", repeat + 1, plan.repeats, row.name());
            row.measure(plan, repeat)?;
        }
    }
    print(&rows);
    for (ask, connections, in_flight, peer, ratio) in TARGETS {
        let load = Load { ask, connections, in_flight };
        if let Some(row) = rows.iter().find(|row| row.load == load) {
            let name = format!("{}, against {}", row.name(), name(peer));
            targets.add(&name, Bound::AtLeast, ratio, "times", ratio_to(&row.yields, peer));
        }
    }
    Ok(())
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for ask in [Ask::Repeated, Ask::Distinct, Ask::Whatsat] {
        for (connections, in_flight) in [(1, 1), (16, 1), (256, 1), (1, 16), (16, 16), (50, 16), (256, 16)] {
            if connections != 50 || ask == Ask::Repeated {
                rows.push(Row { load: Load { ask, connections, in_flight }, yields: Yields::new() });
            }
        }
    }
    rows
}

impl Row {
    fn name(&self) -> String {
        let Load { ask, connections, in_flight } = self.load;
        let (command, clients) = match ask {
            Ask::Distinct => ("iamat", ", distinct clients"),
            Ask::Whatsat => ("whatsat", ""),
            Ask::Repeated | Ask::Set => ("iamat", ", repeated clients"),
        };
        format!("{command} {connections}/{in_flight}{clients}")
    }

    /// Which subjects say something about this row.
    fn subjects(&self, plan: &Plan) -> Vec<Subject> {
        let Load { ask, connections, in_flight } = self.load;
        let mut subjects = vec![Subject::Herd];
        if ask != Ask::Whatsat {
            subjects.extend([Subject::Neighbours, Subject::Everywhere]);
        }
        subjects.extend(plan.other.is_some().then_some(Subject::Other));
        if plan.peers {
            subjects.extend([Subject::EchoMulti, Subject::EchoCurrent, Subject::Persistent]);
            // Pipelined it only queues connections, and a question opens none.
            subjects.extend((in_flight == 1 && ask == Ask::Repeated).then_some(Subject::PerMessage));
            let redis = ask == Ask::Repeated && matches!((connections, in_flight), (256, 1) | (50, 16));
            subjects.extend(redis.then_some(Subject::Redis));
        }
        subjects
    }

    fn measure(&mut self, plan: &Plan, repeat: usize) -> io::Result<()> {
        let mut subjects = self.subjects(plan);
        if repeat % 2 == 1 {
            // Nobody always comes first.
            subjects.reverse();
        }
        for subject in subjects {
            let Some(processes) = subject.start(plan.other.as_deref())? else {
                eprintln!("  {} is not installed: skipped", name(subject));
                continue;
            };
            let ask = match subject {
                Subject::Redis => Ask::Set,
                // Whatever the question is, it sends back one line.
                Subject::EchoMulti | Subject::EchoCurrent => Ask::Repeated,
                _ => self.load.ask,
            };
            let spread = subject.is_herd() && ask != Ask::Whatsat;
            let before = processes.processor_time()?;
            let yielded = Load { ask, ..self.load }.run(&processes.ports, plan.time, spread)?;
            let cost = (processes.processor_time()? - before) / yielded.replies as f64;
            self.yields.entry(subject).or_default().push(Measured { yielded, cost });
        }
        Ok(())
    }
}

fn name(subject: Subject) -> &'static str {
    PEERS.iter().find(|(peer, _)| *peer == subject).map_or("herd", |(_, name)| name)
}

/// How many times the peer's rate the herd's is: the median of the ratios of each repeat.
fn ratio_to(yields: &Yields, peer: Subject) -> Option<f64> {
    let pairs = yields.get(&Subject::Herd)?.iter().zip(yields.get(&peer)?);
    median(pairs.map(|(herd, peer)| herd.yielded.rate / peer.yielded.rate).collect())
}

fn print(rows: &[Row]) {
    let measured = |peer: Subject| rows.iter().any(|row| row.yields.contains_key(&peer));
    let peers: Vec<_> = PEERS.into_iter().filter(|(peer, _)| measured(*peer)).collect();
    let mut heading = vec!["connections/in flight", "herd, a second", "p50 / p99, ms", "CPU, us"];
    heading.extend(peers.iter().map(|(_, name)| name));
    let cells = |row: &Row| {
        let herd = &row.yields[&Subject::Herd];
        let latency = format!("{} / {}", latency(herd, |one| one.p50), latency(herd, |one| one.p99));
        let own = [row.name(), rate(herd), latency, cost(herd)];
        own.into_iter().chain(peers.iter().map(|(peer, _)| compared(&row.yields, *peer))).collect()
    };
    if !rows.is_empty() {
        print_table(&heading, &rows.iter().map(cells).collect::<Vec<Vec<_>>>());
    }
}

fn rate(yields: &[Measured]) -> String {
    median(yields.iter().map(|one| one.yielded.rate).collect()).map_or_else(String::new, short)
}

fn latency(yields: &[Measured], which: impl Fn(&Yield) -> Duration) -> String {
    let median = median(yields.iter().map(|one| which(&one.yielded).as_secs_f64()).collect());
    median.map_or_else(String::new, |seconds| milliseconds(Duration::from_secs_f64(seconds)))
}

fn cost(yields: &[Measured]) -> String {
    median(yields.iter().map(|one| one.cost * 1e6).collect()).map_or_else(String::new, short)
}

fn compared(yields: &Yields, peer: Subject) -> String {
    let Some(ratio) = ratio_to(yields, peer) else { return String::new() };
    let yields = &yields[&peer];
    format!("{} ({}x), {}", rate(yields), short(ratio), cost(yields))
}
