//! What is measured on a herd without load: how soon an update is everywhere, memory, starts and restarts.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use herdsim::time::RealClock;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Plan;
use crate::load::{Ask, Load, ask, connect};
use crate::processes::{Processes, Role, Subject, numbers};
use crate::report::{Bound, Targets, median, print_table, with_unit};

/// Updates whose way is followed, each when the one before is long everywhere.
const UPDATES: usize = 300;

/// Connections that are opened to see what one costs.
const CONNECTIONS: usize = 2_000;

/// Servers of a big herd, each with four links.
const BIG: usize = 1_000;

/// Name and value of what was measured, to be printed.
type Figures = Vec<Vec<String>>;

pub(crate) fn measure(plan: &Plan, targets: &mut Targets) -> io::Result<()> {
    let mut figures = Figures::new();
    if plan.includes("propagation") {
        propagation(plan, &mut figures, targets)?;
    }
    if plan.includes("memory") {
        memory(plan, &mut figures, targets)?;
    }
    if plan.includes("start") {
        starts(plan, &mut figures, targets)?;
    }
    if plan.includes("restart") {
        let times = numbers(Role::Relinks { repeats: 40 * plan.repeats })?;
        let p50 = median(times.iter().map(|&time| time as f64 / 1e6).collect());
        figure(&mut figures, "a restarted server, until all its links are up, p50", p50, "ms");
        targets.add("restart until linked, p50", Bound::AtMost, 0.5, "ms", p50);
    }
    if !figures.is_empty() {
        print_table(&["without load", ""], &figures);
    }
    Ok(())
}

fn figure(figures: &mut Figures, name: &str, value: Option<f64>, unit: &str) {
    if let Some(value) = value {
        figures.push(vec![name.to_owned(), with_unit(value, unit)]);
    }
}

/// One update: how long its client waited for the reply, and how much later it was at the last server. Milliseconds.
#[derive(Debug, Clone, Copy)]
struct Spread {
    reply: f64,
    farthest: f64,
}

fn propagation(plan: &Plan, figures: &mut Figures, targets: &mut Targets) -> io::Result<()> {
    let mut spreads: BTreeMap<Subject, Vec<Vec<Spread>>> = BTreeMap::new();
    let mut subjects = vec![Subject::Herd];
    subjects.extend(plan.peers.then_some([Subject::Persistent, Subject::PerMessage]).into_iter().flatten());
    for repeat in 0..plan.repeats {
        for &subject in &subjects {
            eprintln!("{} of {}: propagation", repeat + 1, plan.repeats);
            let Some(processes) = subject.start(None)? else { continue };
            spreads.entry(subject).or_default().push(follow(subject, processes)?);
        }
    }
    for (subject, name) in [
        (Subject::Herd, "herd"),
        (Subject::Persistent, "asyncio, persistent links"),
        (Subject::PerMessage, "asyncio, a connection per message"),
    ] {
        let Some(repeats) = spreads.get(&subject) else { continue };
        let p50 = over(repeats, |spread| spread.farthest);
        figure(figures, &format!("reply until the update is at the farthest server, p50: {name}"), p50, "ms");
        if subject == Subject::Herd {
            let trips = over(repeats, |spread| spread.farthest / spread.reply);
            figure(figures, "the same in round trips of one IAMAT", trips, "");
            targets.add("propagation p50, in round trips", Bound::AtMost, 3.0, "", trips);
        }
    }
    Ok(())
}

/// The median over the repeats of their medians.
fn over(repeats: &[Vec<Spread>], what: impl Fn(&Spread) -> f64) -> Option<f64> {
    median(repeats.iter().filter_map(|spreads| median(spreads.iter().map(&what).collect())).collect())
}

fn follow(subject: Subject, mut processes: Processes) -> io::Result<Vec<Spread>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = RealClock::start();
    let updates = runtime.block_on(update(&clock, &processes.ports))?;
    let learned = match subject {
        Subject::Herd => learned_in_herd(&mut processes)?,
        _ => runtime.block_on(learned_in_asyncio(&processes.ports))?,
    };
    let spreads = updates.iter().enumerate().map(|(number, &(asked, replied))| Spread {
        reply: (replied - asked) as f64 / 1e6,
        // Often the update is everywhere before its client has read the reply.
        farthest: (learned[&client(number)] - replied).max(0) as f64 / 1e6,
    });
    Ok(spreads.collect())
}

fn client(number: usize) -> String {
    format!("client-{number:04}")
}

/// Sends the updates to the servers in turn; when each was asked and replied to.
async fn update(clock: &RealClock, ports: &[u16]) -> io::Result<Vec<(i64, i64)>> {
    let mut streams = Vec::new();
    for &port in ports {
        streams.push(connect(port).await?);
    }
    let mut times = Vec::new();
    for number in 0..UPDATES {
        let command = format!("IAMAT {} +34.068930-118.445127 1621464827.959498503\n", client(number));
        let asked = clock.now().nanoseconds();
        ask(&mut streams[number % ports.len()], &command).await?;
        times.push((asked, clock.now().nanoseconds()));
        sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

/// When the last server learned of each client.
fn learned_in_herd(processes: &mut Processes) -> io::Result<BTreeMap<String, i64>> {
    let mut learned = BTreeMap::new();
    for line in processes.order("learned")? {
        let (client, time) = line.split_once(' ').expect("a client and a time");
        let time: i64 = time.parse().expect("nanoseconds");
        let last = learned.entry(client.to_owned()).or_insert(time);
        *last = time.max(*last);
    }
    Ok(learned)
}

async fn learned_in_asyncio(ports: &[u16]) -> io::Result<BTreeMap<String, i64>> {
    let mut learned = BTreeMap::new();
    for &port in ports {
        let mut stream = connect(port).await?;
        for number in 0..UPDATES {
            let reply = ask(&mut stream, &format!("LEARNED {}\n", client(number))).await?;
            let time = reply.trim_end().strip_prefix("LEARNED ").expect("it knows the client");
            let time: i64 = time.parse().expect("nanoseconds");
            let last = learned.entry(client(number)).or_insert(time);
            *last = time.max(*last);
        }
    }
    Ok(learned)
}

fn memory(plan: &Plan, figures: &mut Figures, targets: &mut Targets) -> io::Result<()> {
    eprintln!("memory");
    let program = std::env::current_exe()?;
    let mut herd = Processes::of_role(&program, Role::Herd { servers: 5, reply: None })?;
    let places = herd.order("places")?.first().and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0);
    figure(figures, "the places that are built in, unpacked", Some(places), "B");
    let idle = herd.memory()? as f64 - places;
    figure(figures, "five idle servers, without them", Some(idle), "B");
    if plan.peers {
        let asyncio = Subject::Persistent.start(None)?.map(|processes| processes.memory()).transpose()?;
        let asyncio = asyncio.map(|bytes| bytes as f64);
        figure(figures, "five idle servers of asyncio", asyncio, "B");
        targets.add(
            "five idle servers, asyncio's memory",
            Bound::AtLeast,
            40.0,
            "x",
            asyncio.map(|bytes| bytes / idle),
        );
    }
    let connection = per_connection(&mut herd)?;
    figure(figures, "an idle connection that has asked once", Some(connection), "B");
    let record = per_record(plan, &mut herd)?;
    figure(figures, "a record, for each server that has it", Some(record), "B");
    targets.add("a record per server", Bound::AtMost, 100.0, "B", Some(record));
    let big = Processes::of_role(&program, Role::Herd { servers: BIG, reply: None })?;
    let server = (big.memory()? as f64 - places - idle) / (BIG - 5) as f64;
    figure(figures, "an idle server with four links", Some(server), "B");
    targets.add("an idle server with four links", Bound::AtMost, 12_000.0, "B", Some(server));
    Ok(())
}

fn per_connection(herd: &mut Processes) -> io::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Ask once beforehand, so that what all connections share is there.
    let ports = herd.ports.clone();
    let _first = runtime.block_on(ask_once(&ports, ports.len()))?;
    let before = herd.memory()?;
    let _streams = runtime.block_on(ask_once(&ports, CONNECTIONS))?;
    Ok((herd.memory()? as f64 - before as f64) / CONNECTIONS as f64)
}

async fn ask_once(ports: &[u16], connections: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for connection in 0..connections {
        let mut stream = connect(ports[connection % ports.len()]).await?;
        ask(&mut stream, "WHATSAT nobody 1 1\n").await?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Fills a herd with clients, each with one update.
fn per_record(plan: &Plan, herd: &mut Processes) -> io::Result<f64> {
    let load = Load { ask: Ask::Distinct, connections: 16, in_flight: 16 };
    let known = herd.order("learned")?.len();
    let before = herd.memory()?;
    load.run(&herd.ports, plan.time, true)?;
    herd.order("settle")?;
    let after = herd.memory()?;
    Ok((after as f64 - before as f64) / (herd.order("learned")?.len() - known) as f64)
}

fn starts(plan: &Plan, figures: &mut Figures, targets: &mut Targets) -> io::Result<()> {
    eprintln!("start");
    for (servers, limit) in [(5, 2.0), (BIG, 250.0)] {
        let times = numbers(Role::Starts { servers, repeats: plan.repeats })?;
        let p50 = median(times.iter().map(|&time| time as f64 / 1e6).collect());
        figure(figures, &format!("{servers} servers, from nothing until all links are up"), p50, "ms");
        targets.add(&format!("links up, {servers} servers"), Bound::AtMost, limit, "ms", p50);
    }
    Ok(())
}
