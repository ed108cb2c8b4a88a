//! A small flooding server and its clients, as somebody who uses turmoil or madsim would write them: async tasks, text lines
//! over the library's TCP. The same code runs on both; what differs between them is in [`World`].

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};

use crate::scenario::{CLIENTS, LINKS, NAMES, Outcome, REDIAL, Round, SERVERS, check, is_split, server_of};

pub const PORT: u16 = 10_000;
pub const CLIENT: usize = 99;

/// What a simulation library offers.
pub trait World: 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    type Listener: 'static;
    /// Listens on [`PORT`].
    async fn bind() -> io::Result<Self::Listener>;
    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Stream, IpAddr)>;
    async fn connect(to: IpAddr) -> io::Result<Self::Stream>;
    fn spawn(task: impl Future<Output = ()> + 'static);
    async fn sleep(duration: Duration);
}

pub fn address(server: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + server as u8))
}

fn server_at(address: IpAddr) -> Option<usize> {
    (0..SERVERS).find(|&server| self::address(server) == address)
}

/// What all servers of a run share, for whoever looks at them from outside.
#[derive(Debug)]
pub struct Herd {
    /// For every server, what it knows: client, and the line about it.
    records: [Mutex<BTreeMap<String, Arc<str>>>; SERVERS],
    sent: AtomicU64,
    heard: AtomicU64,
    links_up: AtomicU64,
    /// Whether the herd is split.
    split: watch::Sender<bool>,
}

impl Default for Herd {
    fn default() -> Self {
        let split = watch::Sender::new(false);
        Self { records: Default::default(), sent: 0.into(), heard: 0.into(), links_up: 0.into(), split }
    }
}

impl Herd {
    /// Resets the connections between the two sides, as the time-outs of a real herd would. That nobody can dial the other
    /// side is up to the library.
    pub fn set_split(&self, split: bool) {
        self.split.send_replace(split);
    }

    /// What the run came to, after a look at what it computed.
    pub fn outcome(&self, simulator: &str) -> Outcome {
        for (server, records) in self.records.iter().enumerate() {
            let records = records.lock().unwrap();
            check(simulator, server, records.values().filter_map(|line| line.split(' ').nth(5)));
        }
        Outcome { deliveries: self.heard.load(Relaxed) }
    }

    /// Whether nothing is under way and `links` ways are open.
    fn is_settled(&self, links: u64) -> bool {
        self.links_up.load(Relaxed) == links && self.sent.load(Relaxed) == self.heard.load(Relaxed)
    }

    async fn settle<W: World>(&self, links: u64) {
        while !self.is_settled(links) {
            W::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One server.
struct Server {
    id: usize,
    herd: Arc<Herd>,
    links: Vec<(usize, mpsc::UnboundedSender<Arc<str>>)>,
}

/// Runs a server for ever.
pub async fn serve<W: World>(id: usize, herd: Arc<Herd>) -> io::Result<()> {
    let listener = W::bind().await?;
    let mut links = Vec::new();
    for to in neighbours(id) {
        let (sender, outgoing) = mpsc::unbounded_channel();
        links.push((to, sender));
        W::spawn(feed::<W>(id, to, herd.clone(), outgoing));
    }
    let server = Rc::new(Server { id, herd, links });
    loop {
        let (stream, peer) = W::accept(&listener).await?;
        let server = server.clone();
        W::spawn(async move {
            // A connection that is lost ends its task and nothing else.
            server.talk(stream, server_at(peer)).await.ok();
        });
    }
}

fn neighbours(id: usize) -> impl Iterator<Item = usize> {
    LINKS.into_iter().filter_map(move |[a, b]| if a == id { Some(b) } else { (b == id).then_some(a) })
}

impl Server {
    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin, from: Option<usize>) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            if let Some(reply) = self.on_line(line.trim_end(), from) {
                stream.get_mut().write_all(reply.as_bytes()).await?;
                stream.get_mut().flush().await?;
            }
            line.clear();
        }
        Ok(())
    }

    fn on_line(&self, line: &str, from: Option<usize>) -> Option<String> {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            ["IAMAT", client, location, time] => {
                let report = format!("AT {} +0.000000000 {client} {location} {time}", NAMES[self.id]);
                self.learn(client, &report, None);
                Some(report + "\n")
            }
            ["AT", _, _, client, _, _] => {
                self.herd.heard.fetch_add(1, Relaxed);
                self.learn(client, line, from);
                None
            }
            _ => Some(format!("? {line}\n")),
        }
    }

    /// Keeps what is newer, and hands it on to everybody but whom it came from.
    fn learn(&self, client: &str, report: &str, from: Option<usize>) {
        let mut records = self.herd.records[self.id].lock().unwrap();
        if records.get(client).is_some_and(|known| version(known) >= version(report)) {
            return;
        }
        let report: Arc<str> = report.into();
        records.insert(client.to_owned(), report.clone());
        for (_, link) in self.links.iter().filter(|(to, _)| Some(*to) != from) {
            link.send(report.clone()).ok();
        }
    }
}

/// What the newer of two lines has more of.
fn version(report: &str) -> Option<(u64, u32, &str)> {
    let fields: Vec<_> = report.split(' ').collect();
    let (seconds, nanoseconds) = fields.get(5)?.split_once('.')?;
    Some((seconds.parse().ok()?, nanoseconds.parse().ok()?, fields[1]))
}

/// Keeps a connection to a neighbour, and writes to it: first all records, then what is new.
async fn feed<W: World>(from: usize, to: usize, herd: Arc<Herd>, mut outgoing: mpsc::UnboundedReceiver<Arc<str>>) {
    let mut split = herd.split.subscribe();
    let mut backoff = REDIAL[0];
    loop {
        let Ok(mut stream) = W::connect(address(to)).await else {
            W::sleep(backoff).await;
            backoff = (backoff * 2).min(REDIAL[1]);
            continue;
        };
        backoff = REDIAL[0];
        // The records hold everything that waits.
        while outgoing.try_recv().is_ok() {}
        herd.links_up.fetch_add(1, Relaxed);
        tokio::select! {
            biased;
            () = severed(&mut split, is_split(from, to)) => {}
            _ = write_all(&herd, from, &mut stream, &mut outgoing) => {}
        }
        herd.links_up.fetch_sub(1, Relaxed);
    }
}

/// Waits until the herd is split, if that is of importance.
async fn severed(split: &mut watch::Receiver<bool>, matters: bool) {
    if !matters || split.wait_for(|split| *split).await.is_err() {
        std::future::pending().await
    }
}

async fn write_all(
    herd: &Herd,
    from: usize,
    stream: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut mpsc::UnboundedReceiver<Arc<str>>,
) -> io::Result<()> {
    let known: Vec<_> = herd.records[from].lock().unwrap().values().cloned().collect();
    for report in known {
        write(herd, stream, &report).await?;
    }
    while let Some(report) = outgoing.recv().await {
        write(herd, stream, &report).await?;
    }
    Ok(())
}

async fn write(herd: &Herd, stream: &mut (impl AsyncWrite + Unpin), report: &str) -> io::Result<()> {
    herd.sent.fetch_add(1, Relaxed);
    stream.write_all(format!("{report}\n").as_bytes()).await?;
    stream.flush().await
}

/// The clients: they talk, the herd is split, they talk again, the herd is mended. `split` does what the library does.
pub async fn script<W: World>(herd: &Herd, lasting: Duration, mut split: impl FnMut(bool)) -> io::Result<()> {
    let ways = 2 * LINKS.len() as u64;
    let across = 2 * LINKS.iter().filter(|[a, b]| is_split(*a, *b)).count() as u64;
    herd.settle::<W>(ways).await;
    let mut sessions = Vec::new();
    for server in 0..SERVERS {
        sessions.push(BufReader::new(W::connect(address(server)).await?));
    }
    say_all(&mut sessions, Round::Before).await?;
    herd.settle::<W>(ways).await;
    split(true);
    herd.set_split(true);
    say_all(&mut sessions, Round::During).await?;
    herd.settle::<W>(ways - across).await;
    W::sleep(lasting).await;
    split(false);
    herd.set_split(false);
    herd.settle::<W>(ways).await;
    Ok(())
}

/// Every client says where it is, and reads the reply.
async fn say_all(sessions: &mut [BufReader<impl AsyncRead + AsyncWrite + Unpin>], round: Round) -> io::Result<()> {
    for client in 0..CLIENTS {
        let session = sessions[server_of(client)].get_mut();
        session.write_all(round.command(client).as_bytes()).await?;
        session.flush().await?;
    }
    for client in 0..CLIENTS {
        let mut reply = String::new();
        sessions[server_of(client)].read_line(&mut reply).await?;
        assert!(reply.starts_with("AT "), "the reply is {reply:?}");
    }
    Ok(())
}
