//! What hostile clients cost everybody else: `cargo bench --bench hostile` prints how long the replies to four ordinary
//! clients take, alone and under each attack.
//!
//! The herd runs in a process of its own, on one thread as `herdsim up` runs it; the ordinary clients and the attackers
//! share this one. An attack that keeps the herd's core busy is felt by everybody: how much is what is shown here.
#![expect(clippy::print_stdout, reason = "a table on standard output")]

use std::future::Future;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hdrhistogram::Histogram;
use herdsim::driver::loopback::{Feed, LoopbackDriver, Options};
use herdsim::places::Service;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout_at};

/// Records one server remembers: an attack cannot make the herd larger than this.
const RECORDS: usize = 100_000;

/// The herd of the assignment, on ports the system chooses.
const HERD: &str = r#"
name = "hostile"
links = [
    ["Clark", "Jaquez"], ["Clark", "Bona"], ["Campbell", "Bailey"],
    ["Campbell", "Bona"], ["Campbell", "Jaquez"], ["Bona", "Bailey"],
]
server = [
    { name = "Bailey", port = 0 }, { name = "Bona", port = 0 }, { name = "Campbell", port = 0 },
    { name = "Clark", port = 0 }, { name = "Jaquez", port = 0 },
]
"#;

/// Measures what hostile clients cost everybody else.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only attacks that have this in their name.
    #[arg(long)]
    only: Option<String>,
    /// How long each is measured, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Is the herd that is attacked.
    #[arg(long, hide = true)]
    serve: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

type Attack = (&'static str, Begin);

const ATTACKS: [Attack; 9] = [
    ("5,000 idle connections", |port| Box::pin(keep(port, 5000, b"", usize::MAX))),
    ("5,000 half lines", |port| Box::pin(keep(port, 5000, b"IAMAT half", usize::MAX))),
    ("1,000 that ask and never read", |port| Box::pin(keep(port, 1000, b"WHATSAT kiwi 50 20\n", 100_000))),
    ("invalid commands, 4 connections", |port| Box::pin(crowd(port, 4, flood))),
    ("lines too long, 4 connections", |port| Box::pin(crowd(port, 4, too_long))),
    ("connections opened and closed", |port| Box::pin(crowd(port, 4, open_and_close))),
    ("connections lost half-way", |port| Box::pin(crowd(port, 4, vanish))),
    ("AT lines of ever new clients", |port| Box::pin(crowd(port, 1, storm))),
    ("invalid commands, 100 a second", |port| Box::pin(crowd(port, 1, trickle))),
];

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let limit = getrlimit(Resource::Nofile);
    // Too few show later, as connections that cannot be made.
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).ok();
    if arguments.serve { serve() } else { measure(&arguments) }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Runs the herd until nobody is there any more.
fn serve() -> io::Result<()> {
    runtime().block_on(async {
        let mut topology = herdsim::config::parse("hostile.toml", HERD).expect("the file is right").topology;
        topology.limits.records = RECORDS;
        let places = Arc::new(Service::open(&topology.places).expect("offline places open"));
        let options = Options { only: None, places, feed: Feed::Lossy { capacity: 1024 }, calls: None };
        let ids = topology.ids();
        let driver = LoopbackDriver::start(Arc::new(topology), options).await.map_err(io::Error::other)?;
        driver.observe_traffic(false);
        let ports: Vec<_> = ids.filter_map(|id| driver.address(id)).map(|address| address.port().to_string()).collect();
        println!("{}", ports.join(" "));
        let ended = tokio::task::spawn_blocking(|| io::stdin().lock().read_line(&mut String::new()));
        ended.await.map_err(io::Error::other)?.map(drop)
    })
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    println!("{:<34} {:>10} {:>10} {:>8} {:>10}", "attack on one server", "p50", "p99", "x alone", "replies/s");
    let time = Duration::from_secs_f64(arguments.seconds);
    let alone = under(None, time)?;
    print("none", &alone, &alone, time);
    for (name, attack) in ATTACKS {
        if arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            print(name, &under(Some(attack), time)?, &alone, time);
        }
    }
    Ok(())
}

fn print(name: &str, times: &Histogram<u64>, alone: &Histogram<u64>, time: Duration) {
    let micros = |nanoseconds: u64| format!("{:.0} us", nanoseconds as f64 / 1e3);
    let (p50, p99) = (times.value_at_quantile(0.5), times.value_at_quantile(0.99));
    let ratio = p99 as f64 / alone.value_at_quantile(0.99) as f64;
    let rate = times.len() as f64 / time.as_secs_f64();
    println!("{name:<34} {:>10} {:>10} {ratio:>8.1} {rate:>10.0}", micros(p50), micros(p99));
}

/// A herd in a process of its own; it ends when this is dropped.
struct Herd(Child, Vec<u16>);

impl Herd {
    fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let ports = line.split_whitespace().map(|port| port.parse().map_err(io::Error::other));
        let ports = ports.collect::<io::Result<_>>()?;
        Ok(Self(child, ports))
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What is done to the server at a port.
type Begin = fn(u16) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// How long replies take at the attacked server and at another one, for `time`, once the attack is under way.
fn under(attack: Option<Begin>, time: Duration) -> io::Result<Histogram<u64>> {
    let herd = Herd::start()?;
    let [attacked, other] = [herd.1[3], herd.1[0]];
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let attacker = attack.map(|attack| {
        std::thread::spawn(move || {
            let runtime = runtime();
            let attack = runtime.spawn(attack(attacked));
            runtime.block_on(async {
                while ends.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            attack.abort();
        })
    });
    let times = runtime().block_on(async {
        // Until the attackers that only have to be there are there.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let until = Instant::now() + time;
        let clients = [attacked, other, attacked, other].map(|port| tokio::spawn(ordinary(port, until)));
        let mut all = Histogram::new(3).map_err(io::Error::other)?;
        for client in clients {
            all.add(client.await.map_err(io::Error::other)??).map_err(io::Error::other)?;
        }
        io::Result::Ok(all)
    })?;
    drop(end);
    if let Some(attacker) = attacker {
        attacker.join().map_err(|_| io::Error::other("the attack failed"))?;
    }
    io::stdout().flush()?;
    Ok(times)
}

/// A client that says where it is, asks what is there, and waits for each reply.
async fn ordinary(port: u16, until: Instant) -> io::Result<Histogram<u64>> {
    let mut times = Histogram::new(3).map_err(io::Error::other)?;
    let mut stream = connect(port).await?;
    let mut reply = vec![0; 64 << 10];
    for number in 0_u64.. {
        let start = Instant::now();
        if start >= until {
            break;
        }
        let line = match number % 2 {
            0 => format!("IAMAT kiwi +34.068930-118.445127 {number}\n"),
            _ => "WHATSAT kiwi 10 5\n".to_owned(),
        };
        stream.write_all(line.as_bytes()).await?;
        // Both replies come with one write.
        if stream.read(&mut reply).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        times.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Ok(times)
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens connections, says something on each, as often as the sockets take it, and keeps them.
async fn keep(port: u16, connections: usize, line: &'static [u8], times: usize) -> io::Result<()> {
    let words = if times == usize::MAX { line.to_vec() } else { line.repeat(times) };
    let mut kept = Vec::new();
    for _ in 0..connections {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
        stream.writable().await?;
        stream.try_write(&words).ok();
        kept.push(stream);
    }
    std::future::pending::<()>().await;
    drop(kept);
    Ok(())
}

/// Does the same again and again, so many times at once.
async fn crowd<F: Future<Output = io::Result<()>> + Send + 'static>(
    port: u16,
    size: usize,
    one: fn(u16) -> F,
) -> io::Result<()> {
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..size {
        crowd.spawn(async move {
            loop {
                // What becomes of one attack is nobody's business.
                one(port).await.ok();
                tokio::task::yield_now().await;
            }
        });
    }
    crowd.join_next().await;
    Ok(())
}

/// Ten thousand commands at once, all replies read.
async fn flood(port: u16) -> io::Result<()> {
    let (mut reader, mut writer) = connect(port).await?.into_split();
    let commands = b"X\n".repeat(10_000);
    tokio::spawn(async move { while writer.write_all(&commands).await.is_ok() {} });
    let mut replies = vec![0; 64 << 10];
    while reader.read(&mut replies).await? > 0 {}
    Ok(())
}

async fn too_long(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    stream.write_all(&[b'x'; 70_000]).await?;
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

async fn open_and_close(port: u16) -> io::Result<()> {
    let stream = connect(port).await?;
    // Ports would run out otherwise.
    stream.set_zero_linger()
}

async fn vanish(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    stream.write_all(b"IAMAT half +1+1").await?;
    stream.set_zero_linger()
}

async fn storm(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    for number in 0_u64.. {
        stream.write_all(format!("AT Nobody +0.1 c{number} +1+1 1\n").as_bytes()).await?;
    }
    Ok(())
}

async fn trickle(port: u16) -> io::Result<()> {
    let mut stream = connect(port).await?;
    let mut reply = [0; 16];
    let mut next = Instant::now();
    loop {
        next += Duration::from_millis(10);
        stream.write_all(b"X\n").await?;
        stream.read_exact(&mut reply[..4]).await?;
        // Nothing else comes before the time.
        timeout_at(next, stream.read(&mut reply)).await.ok();
    }
}
