//! Herds and clients for tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use herdsim::act::{Action, SessionId};
use herdsim::config::{
    Delay, Limits, Link, LinkMode, Places, Redial, Server, ServerId, Strategy, Threads, Topology, Unlisted, Way,
};
use herdsim::driver::loopback::{Feed, LoopbackDriver, Options};
use herdsim::driver::{Driver, Next, Rest, Wait};
use herdsim::history::{Event, Observation};
use herdsim::places::Service;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a test waits for what must happen before it fails. No test takes this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const BAILEY: ServerId = ServerId(0);
pub(crate) const BONA: ServerId = ServerId(1);
pub(crate) const CAMPBELL: ServerId = ServerId(2);
pub(crate) const CLARK: ServerId = ServerId(3);
pub(crate) const JAQUEZ: ServerId = ServerId(4);
pub(crate) const ALL: [ServerId; 5] = [BAILEY, BONA, CAMPBELL, CLARK, JAQUEZ];

pub(crate) const KIWI: &str = "IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503";

/// Returns everything that happens until nothing is in flight.
pub(crate) async fn settle<D: Driver>(driver: &mut D) -> Vec<Event> {
    let until = driver.now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        match driver.next(Wait::Quiescent(until)).await {
            Next::Seen(observation) => seen.push(observation.event),
            Next::Rested(Rest::Certain) => return seen,
            other => panic!("the herd does not come to rest: {other:?}"),
        }
    }
}

/// The herd of the assignment, on ports the system chooses.
pub(crate) fn five_servers() -> Topology {
    let names = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];
    let server =
        |name: &str| Server { name: name.into(), host: "127.0.0.1".into(), listen: None, port: 0, clock_offset: 0 };
    let links =
        [(CLARK, JAQUEZ), (CLARK, BONA), (CAMPBELL, BAILEY), (CAMPBELL, BONA), (CAMPBELL, JAQUEZ), (BONA, BAILEY)];
    let link = |(a, b)| Link { ends: [a, b], mode: LinkMode::Persistent, delays: [Delay::default(); 2] };
    Topology {
        name: "five".into(),
        servers: names.map(server).into(),
        links: links.map(link).into(),
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

pub(crate) fn with(mut topology: Topology, change: impl FnOnce(&mut Topology)) -> Topology {
    change(&mut topology);
    topology
}

/// A herd that runs, and everything seen of it.
pub(crate) struct Herd {
    pub(crate) driver: LoopbackDriver,
    pub(crate) seen: Vec<Observation>,
    sessions: u32,
}

impl Herd {
    /// Starts a herd and waits until all its links are up.
    pub(crate) async fn start(topology: Topology) -> Self {
        let places = Arc::new(Service::open(&topology.places).expect("offline places open"));
        let options = Options { only: None, places, feed: Feed::Lossless, calls: None };
        let driver = LoopbackDriver::start(Arc::new(topology), options).await.expect("the herd starts");
        let mut herd = Self { driver, seen: Vec::new(), sessions: 0 };
        herd.settle().await;
        herd
    }

    /// Starts one server of a herd whose others are not in this process.
    pub(crate) async fn start_only(topology: Topology, only: ServerId) -> Self {
        let places = Arc::new(Service::open(&topology.places).expect("offline places open"));
        let options = Options { only: Some(only), places, feed: Feed::Lossless, calls: None };
        let driver = LoopbackDriver::start(Arc::new(topology), options).await.expect("the server starts");
        Self { driver, seen: Vec::new(), sessions: 0 }
    }

    /// Waits until nothing is under way.
    pub(crate) async fn settle(&mut self) {
        let until = self.driver.now() + PATIENCE;
        while let Some(observation) = self.driver.next(Wait::Quiescent(until)).await.seen() {
            self.seen.push(observation);
        }
        // Not asked once more: a way's task that looks and finds nothing to do counts as busy while it looks.
        assert!(self.driver.now() < until, "the herd does not come to rest: {:?}", self.driver.unrest());
    }

    /// Waits for an observation.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) {
        let until = self.driver.now() + PATIENCE;
        loop {
            let observation = self.driver.next(Wait::Until(until)).await.seen().expect("it happens in time");
            self.seen.push(observation.clone());
            if wanted(&observation.event) {
                return;
            }
        }
    }

    pub(crate) async fn apply(&mut self, action: Action) -> herdsim::act::Hit {
        self.driver.apply(action).await.expect("the action can be done")
    }

    /// Sends a line as a client of the driver and waits until nothing is under way.
    pub(crate) async fn say(&mut self, server: ServerId, line: &str) {
        self.send(server, line).await;
        self.settle().await;
    }

    pub(crate) async fn send(&mut self, server: ServerId, line: &str) {
        self.sessions += 1;
        let (session, bytes) = (SessionId(self.sessions), Bytes::from(format!("{line}\n")));
        self.apply(Action::Send { session, server, bytes, finish: true }).await;
    }

    /// The servers that hold a report with this time of this client.
    pub(crate) fn holders(&self, client: &str, time: &str) -> Vec<ServerId> {
        let holds = |&server: &ServerId| {
            let known = self.driver.records(server);
            known.iter().any(|known| known.report.client() == client && known.report.at().stated_time() == time)
        };
        self.driver.topology().ids().filter(holds).collect()
    }

    /// How many lines were sent since the start.
    pub(crate) fn lines(&self) -> usize {
        self.seen.iter().filter(|seen| matches!(seen.event, Event::Sent { .. })).count()
    }

    pub(crate) fn port(&self, server: ServerId) -> u16 {
        self.driver.port(server).expect("the server is up")
    }

    /// One connection: writes, closes its writing side, reads to the end.
    pub(crate) async fn ask(&self, server: ServerId, bytes: &[u8]) -> String {
        ask(self.port(server), bytes).await
    }
}

pub(crate) async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens")
}

/// One connection: writes, closes its writing side, reads to the end.
pub(crate) async fn ask(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port).await;
    stream.write_all(bytes).await.expect("the server reads");
    stream.shutdown().await.expect("the connection stands");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("the server answers");
    String::from_utf8_lossy(&reply).into_owned()
}

pub(crate) fn way(from: ServerId, to: ServerId) -> Way {
    Way { from, to }
}

impl Herd {
    /// Waits until every server knows a client.
    pub(crate) async fn until_held_everywhere(&mut self, client: &str) {
        let missing = |herd: &Self| {
            let holds = |server| herd.driver.records(server).iter().any(|known| known.report.client() == client);
            herd.driver.topology().ids().any(|server| !holds(server))
        };
        while missing(self) {
            self.until(|event| matches!(event, Event::Heard { .. })).await;
        }
    }
}

/// Why a herd does not start.
pub(crate) async fn start_fails(topology: Topology) -> String {
    let places = Arc::new(Service::open(&topology.places).expect("offline places open"));
    let options = Options { only: None, places, feed: Feed::Lossless, calls: None };
    LoopbackDriver::start(Arc::new(topology), options).await.expect_err("it cannot start").to_string()
}
