//! What the processes that are measured do: this program, started again with `--serve`.
//!
//! Each prints what it has to say on standard output, takes orders from standard input and ends with it.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use herdsim::act::ServerVerb;
use herdsim::config::{
    Delay, Limits, Link, LinkMode, Places, Redial, ReplyMode, Server, ServerId, Strategy, Threads, Topology, Unlisted,
};
use herdsim::driver::loopback::{Feed, LoopbackDriver, Options};
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::Event;
use herdsim::places::Service;
use herdsim::wire::Search;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::processes::Role;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays a role until standard input ends.
pub(crate) fn play(role: Role) {
    match role {
        Role::Herd { servers, reply } => runtime_of(servers).block_on(herd(servers, reply)),
        Role::Echo { threads } => runtime(threads).block_on(echo()),
        Role::Starts { servers, repeats } => runtime_of(servers).block_on(starts(servers, repeats)),
        Role::Relinks { repeats } => runtime_of(5).block_on(relinks(repeats)),
    }
}

/// One thread or one per core, as the size of the herd decides.
fn runtime_of(servers: usize) -> Runtime {
    let many = servers >= Threads::MANY_SERVERS;
    runtime(if many { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 })
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build().expect("a runtime starts")
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("somebody listens");
}

/// Lines of standard input, read by a thread of its own so that the measured runtime only runs what is measured.
fn orders() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.for_each(|line| sender.send(line).unwrap_or_default());
    });
    receiver
}

async fn echo() {
    let mut orders = orders();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    say(&listener.local_addr().expect("it is bound").port().to_string());
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(echo_to(accepted.expect("a connection").0))),
            order = orders.recv() => if order.is_none() { return },
        }
    }
}

async fn echo_to(mut stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let mut lines = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut lines).await {
        if stream.write_all(&lines[..read]).await.is_err() {
            return;
        }
    }
}

/// Runs a herd. `settle` waits until nothing is under way; `learned` tells of every client of every server since when it
/// is known; `places` tells how many bytes the places take that are built in. Each ends with an empty line.
async fn herd(servers: usize, reply: Option<ReplyMode>) {
    // Otherwise they are unpacked beside what is measured.
    let before = crate::processes::memory(std::process::id()).expect("this is Linux");
    let nowhere = Search { latitude: 0.0, longitude: 0.0, radius_km: 1, bound: 1 };
    Service::offline().immediate(&nowhere).expect("they are at hand");
    let places = crate::processes::memory(std::process::id()).expect("this is Linux") - before;
    let mut orders = orders();
    let mut driver = start(servers, reply).await;
    settle(&mut driver).await;
    driver.observe_traffic(false);
    let ports: Vec<_> = driver.topology().ids().map(|id| driver.port(id).expect("it is up").to_string()).collect();
    say(&ports.join(" "));
    while let Some(order) = orders.recv().await {
        match &*order {
            "settle" => settle(&mut driver).await,
            "places" => say(&places.to_string()),
            _ => tell_learned(&driver),
        }
        say("");
    }
}

fn tell_learned(driver: &LoopbackDriver) {
    for known in driver.topology().ids().flat_map(|id| driver.records(id)) {
        say(&format!("{} {}", known.report.client(), known.learned_at.nanoseconds()));
    }
}

async fn start(servers: usize, reply: Option<ReplyMode>) -> LoopbackDriver {
    let mut topology = if servers == 5 { five() } else { four_regular(servers) };
    topology.reply = reply;
    let places = Arc::new(Service::open(&topology.places).expect("the offline places open"));
    let options = Options { only: None, places, feed: Feed::Lossy { capacity: 100_000 }, calls: None };
    LoopbackDriver::start(Arc::new(topology), options).await.expect("the herd starts")
}

async fn settle(driver: &mut LoopbackDriver) {
    let until = driver.now() + PATIENCE;
    while driver.next(Wait::Quiescent(until)).await.seen().is_some() {}
    assert!(driver.is_quiescent(), "the herd does not come to rest");
}

/// Waits until so many ways have come up.
async fn until_linked(driver: &mut LoopbackDriver, mut ways: usize) {
    let until = driver.now() + PATIENCE;
    while ways > 0 {
        let observation = driver.next(Wait::Until(until)).await.seen().expect("the links come up");
        ways -= usize::from(matches!(observation.event, Event::LinkUp { .. }));
    }
}

/// Starts herds and tells how many nanoseconds each took until all its links were up.
async fn starts(servers: usize, repeats: usize) {
    let clock = herdsim::time::RealClock::start();
    for _ in 0..repeats {
        let begin = clock.now();
        let mut driver = start(servers, None).await;
        let ways = driver.wiring().ways().count();
        until_linked(&mut driver, ways).await;
        say(&(clock.now() - begin).as_nanos().to_string());
        settle(&mut driver).await;
        // Connections that are reset keep no port; closed ones would for a minute, and a big herd needs many.
        for server in driver.topology().clone().ids() {
            driver.apply(ServerVerb::Kill.on(server)).await.expect("it runs");
        }
    }
}

/// Kills and restarts servers of five in turn, and tells how many nanoseconds it took from the start until all their links
/// were up again.
async fn relinks(repeats: usize) {
    let mut driver = start(5, None).await;
    for server in (0..repeats).map(|repeat| ServerId(repeat as u32 % 5)) {
        settle(&mut driver).await;
        driver.apply(ServerVerb::Kill.on(server)).await.expect("it runs");
        settle(&mut driver).await;
        let ways = 2 * driver.wiring().neighbours(server).len();
        let start = driver.now();
        driver.apply(ServerVerb::Start.on(server)).await.expect("its port is free");
        until_linked(&mut driver, ways).await;
        say(&(driver.now() - start).as_nanos().to_string());
    }
}

/// The herd of the assignment.
fn five() -> Topology {
    let links = [(3, 4), (3, 1), (2, 0), (2, 1), (2, 4), (1, 0)];
    topology(["Bailey", "Bona", "Campbell", "Clark", "Jaquez"].map(String::from).into(), &links)
}

/// A ring in which everybody is also linked with who is 31 places further: every server has four links.
fn four_regular(servers: usize) -> Topology {
    let links: Vec<_> = (0..servers).flat_map(|n| [(n, (n + 1) % servers), (n, (n + 31) % servers)]).collect();
    topology((0..servers).map(|n| format!("s{n:05}")).collect(), &links)
}

fn topology(names: Vec<String>, links: &[(usize, usize)]) -> Topology {
    let server =
        |name: String| Server { name: name.into(), host: "127.0.0.1".into(), listen: None, port: 0, clock_offset: 0 };
    let link = |&(a, b): &(usize, usize)| Link {
        ends: [ServerId(a as u32), ServerId(b as u32)],
        mode: LinkMode::Persistent,
        delays: [Delay::default(); 2],
    };
    Topology {
        name: "bench".into(),
        servers: names.into_iter().map(server).collect(),
        links: links.iter().map(link).collect(),
        unlisted: Unlisted::default(),
        strategy: Strategy::FloodSync,
        reply: None,
        redial: Redial::default(),
        places: Places::default(),
        // More than a measurement can make.
        limits: Limits { records: 100_000_000, ..Limits::default() },
        threads: Threads::default(),
        seed: 1,
    }
}
