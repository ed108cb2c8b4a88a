//! Clients that keep a number of commands in flight on each of their connections, and count and time the replies.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// How long updates may take to spread after the load.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// `IAMAT`, on every connection of the same client with a later time.
    Repeated,
    /// `IAMAT`, every time of a client nobody has heard of.
    Distinct,
    /// `WHATSAT` about one client.
    Whatsat,
    /// Redis' `SET` of what an `IAMAT` says, one key a connection.
    Set,
}

/// How much the clients ask at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// What.
    pub(crate) ask: Ask,
    /// Connections, spread evenly over the servers.
    pub(crate) connections: usize,
    /// Commands in flight on each.
    pub(crate) in_flight: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Yield {
    /// Replies a second; when updates had to spread, until all had reached all servers: a herd that answers faster than it
    /// spreads gains nothing.
    pub(crate) rate: f64,
    /// All replies.
    pub(crate) replies: u64,
    /// Half of the replies took no longer.
    pub(crate) p50: Duration,
    /// 99 of 100 replies took no longer.
    pub(crate) p99: Duration,
}

/// Replies counted, and what the next command says.
struct Tally {
    next: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

impl Load {
    /// Keeps the servers on `ports` busy for `time`. When they `spread` updates, it also lasts until they have.
    pub(crate) fn run(self, ports: &[u16], time: Duration, spread: bool) -> io::Result<Yield> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.measure(ports, time, spread))
    }

    async fn measure(self, ports: &[u16], time: Duration, spread: bool) -> io::Result<Yield> {
        if self.ask == Ask::Whatsat {
            introduce(ports).await?;
        }
        let mut streams = Vec::new();
        for connection in 0..self.connections {
            streams.push(connect(ports[connection % ports.len()]).await?);
        }
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
        let tally = Rc::new(Tally { next: Cell::new(0), latencies: RefCell::new(latencies) });
        let start = Instant::now();
        let mut clients = JoinSet::new();
        for (connection, stream) in streams.into_iter().enumerate() {
            clients.spawn_local(self.talk(connection, stream, tally.clone()));
        }
        tokio::select! {
            Some(ended) = clients.join_next() => return Err(ended.expect("a client does not panic").unwrap_err()),
            () = sleep(time) => {}
        }
        clients.shutdown().await;
        if spread {
            timeout(PATIENCE, until_spread(ports)).await??;
        }
        let latencies = tally.latencies.borrow();
        let quantile = |quantile| Duration::from_nanos(latencies.value_at_quantile(quantile));
        let replies = latencies.len();
        let rate = replies as f64 / start.elapsed().as_secs_f64();
        Ok(Yield { rate, replies, p50: quantile(0.5), p99: quantile(0.99) })
    }

    /// Ends only with an error.
    async fn talk(self, connection: usize, mut stream: TcpStream, tally: Rc<Tally>) -> io::Result<()> {
        let template = Template::of(self.ask, connection);
        let (mut commands, mut replies) = (Vec::new(), vec![0; 64 * 1024]);
        let mut asked = VecDeque::with_capacity(self.in_flight);
        let mut cutter = Cutter { ask: self.ask, line: 0 };
        let mut due = self.in_flight;
        loop {
            commands.clear();
            for _ in 0..due {
                template.write_to(&mut commands, tally.next.replace(tally.next.get() + 1));
            }
            let now = Instant::now();
            asked.extend(std::iter::repeat_n(now, due));
            stream.write_all(&commands).await?;
            due = 0;
            while due == 0 {
                let read = stream.read(&mut replies).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                due = cutter.count(&replies[..read])?;
            }
            let now = Instant::now();
            let mut latencies = tally.latencies.borrow_mut();
            asked.drain(..due).for_each(|start| latencies.saturating_record((now - start).as_nanos() as u64));
        }
    }
}

pub(crate) async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tells every server about the client that is asked about.
async fn introduce(ports: &[u16]) -> io::Result<()> {
    for &port in ports {
        let mut stream = connect(port).await?;
        ask(&mut stream, "IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503\n").await?;
    }
    Ok(())
}

/// Waits until what every server was told is at all others: lines of a link stay in order, so one more update at each
/// server comes last.
async fn until_spread(ports: &[u16]) -> io::Result<()> {
    let mut streams = Vec::new();
    for &port in ports {
        streams.push(connect(port).await?);
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        ask(stream, &format!("IAMAT last-{number} +34.068930-118.445127 1621464827.959498503\n")).await?;
    }
    for stream in &mut streams {
        for number in 0..ports.len() {
            while ask(stream, &format!("WHATSAT last-{number} 0 0\n")).await?.starts_with('?') {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
    Ok(())
}

/// One command, and what comes back first.
pub(crate) async fn ask(stream: &mut TcpStream, command: &str) -> io::Result<String> {
    stream.write_all(command.as_bytes()).await?;
    let mut reply = [0; 1024];
    let read = stream.read(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply[..read]).into_owned())
}

/// Commands that differ in a number or two.
struct Template {
    bytes: Vec<u8>,
    /// Where the digits of the command's number go.
    digits: Vec<std::ops::Range<usize>>,
}

impl Template {
    fn of(ask: Ask, connection: usize) -> Self {
        let client = format!("client-{connection:09}");
        let text = match ask {
            Ask::Repeated => format!("IAMAT {client} +34.068930-118.445127 1621464827.#########\n"),
            Ask::Distinct => "IAMAT client-######### +34.068930-118.445127 1621464827.#########\n".to_owned(),
            Ask::Whatsat => "WHATSAT kiwi.cs.ucla.edu 10 5\n".to_owned(),
            Ask::Set => {
                format!("*3\r\n$3\r\nSET\r\n$16\r\n{client}\r\n$41\r\n+34.068930-118.445127 1621464827.#########\r\n")
            }
        };
        let digits = text.match_indices("#########").map(|(start, run)| start..start + run.len()).collect();
        Self { bytes: text.into_bytes(), digits }
    }

    fn write_to(&self, buffer: &mut Vec<u8>, number: u64) {
        let start = buffer.len();
        buffer.extend_from_slice(&self.bytes);
        for digits in &self.digits {
            let mut rest = number;
            for digit in buffer[start + digits.start..start + digits.end].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }
}

/// Finds the ends of replies.
struct Cutter {
    ask: Ask,
    /// Bytes of the present line that came with earlier reads.
    line: usize,
}

impl Cutter {
    /// How many replies end in `bytes`; an error when one is a refusal.
    fn count(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut start, mut replies) = (0, 0);
        for end in memchr::memchr_iter(b'\n', bytes) {
            let is_empty = self.line + end - start == 0;
            // A refusal begins with `?`, an error of Redis with `-`.
            if self.line == 0 && matches!(bytes[start], b'?' | b'-') {
                let refusal = String::from_utf8_lossy(&bytes[start..end]).into_owned();
                return Err(io::Error::other(refusal));
            }
            replies += usize::from(self.ask != Ask::Whatsat || is_empty);
            (start, self.line) = (end + 1, 0);
        }
        self.line += bytes.len() - start;
        Ok(replies)
    }
}
