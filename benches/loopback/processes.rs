//! The processes that are measured, as the measuring one starts, asks and ends them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use herdsim::config::ReplyMode;

/// What a process of this program's own does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Role {
    /// Runs a herd: the assignment's for 5 servers, otherwise one in which every server has four links.
    Herd {
        /// How many servers.
        servers: usize,
        /// When it answers, if not at once.
        #[arg(long, value_parser = reply_mode)]
        reply: Option<ReplyMode>,
    },
    /// Sends back what comes.
    Echo {
        /// 1 for a current-thread runtime.
        threads: usize,
    },
    /// Starts herds and tells how long it took until their links were up.
    Starts {
        /// How many servers.
        servers: usize,
        /// How many herds, one after the other.
        repeats: usize,
    },
    /// Kills and restarts servers and tells how long it took until their links were up again.
    Relinks {
        /// How often.
        repeats: usize,
    },
}

fn reply_mode(name: &str) -> Result<ReplyMode, String> {
    let found = ReplyMode::ALL.into_iter().find(|mode| mode.name() == name);
    found.ok_or_else(|| format!("no server replies `{name}`"))
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Five servers of this herd.
    Herd,
    /// Five servers of this herd whose replies wait for the neighbours.
    Neighbours,
    /// Five servers whose replies wait for the whole herd.
    Everywhere,
    /// Five servers of another build of it.
    Other,
    /// Tokio, one worker a core.
    EchoMulti,
    /// Tokio, one thread.
    EchoCurrent,
    /// Five asyncio processes with lasting links.
    Persistent,
    /// Five asyncio processes that connect for every line.
    PerMessage,
    /// One Redis server.
    Redis,
}

/// The processes of one subject. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Processes {
    children: Vec<Speaker>,
    /// Where they listen.
    pub(crate) ports: Vec<u16>,
}

/// A process that is talked with over its standard streams.
#[derive(Debug)]
struct Speaker {
    child: Child,
    orders: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
}

/// The assignment's servers and who is linked with whom.
const NEIGHBOURS: [(&str, &[usize]); 5] =
    [("Bailey", &[2, 1]), ("Bona", &[3, 2, 0]), ("Campbell", &[0, 1, 4]), ("Clark", &[4, 1]), ("Jaquez", &[3, 2])];

impl Subject {
    /// Starts the subject; `None` when it is not installed or not given.
    pub(crate) fn start(self, other: Option<&Path>) -> io::Result<Option<Processes>> {
        let cores = std::thread::available_parallelism()?.get();
        let herd = |reply| Role::Herd { servers: 5, reply };
        let own = |reply| Processes::of_role(&std::env::current_exe()?, herd(reply)).map(Some);
        match self {
            Self::Herd => own(None),
            Self::Neighbours => own(Some(ReplyMode::Neighbours)),
            Self::Everywhere => own(Some(ReplyMode::Everywhere)),
            Self::Other => other.map(|other| Processes::of_role(other, herd(None))).transpose(),
            Self::EchoMulti => {
                Processes::of_role(&std::env::current_exe()?, Role::Echo { threads: cores.max(2) }).map(Some)
            }
            Self::EchoCurrent => Processes::of_role(&std::env::current_exe()?, Role::Echo { threads: 1 }).map(Some),
            Self::Persistent => asyncio("persistent").map(Some),
            Self::PerMessage => asyncio("per-message").map(Some),
            Self::Redis => redis(),
        }
    }

    /// Whether it passes updates on.
    pub(crate) fn is_herd(self) -> bool {
        use Subject::{Everywhere, Herd, Neighbours, Other, PerMessage, Persistent};
        matches!(self, Herd | Neighbours | Everywhere | Other | Persistent | PerMessage)
    }
}

impl Processes {
    /// Starts this program, or another build of it, in a role that listens.
    pub(crate) fn of_role(program: &Path, role: Role) -> io::Result<Self> {
        let mut speaker = Speaker::start(Command::new(program).args(role.arguments()))?;
        let ports = speaker.line()?.split_whitespace().map(parse).collect::<io::Result<_>>()?;
        Ok(Self { children: vec![speaker], ports })
    }

    /// Gives the first process an order; what it says until an empty line.
    pub(crate) fn order(&mut self, order: &str) -> io::Result<Vec<String>> {
        let speaker = &mut self.children[0];
        if let Some(orders) = &mut speaker.orders {
            writeln!(orders, "{order}")?;
        }
        let mut lines = Vec::new();
        loop {
            match speaker.line()? {
                line if line.is_empty() => return Ok(lines),
                line => lines.push(line),
            }
        }
    }

    /// Processor time used so far, by all processes and threads, in seconds.
    pub(crate) fn processor_time(&self) -> io::Result<f64> {
        self.children.iter().map(|speaker| processor_time(speaker.child.id())).sum()
    }

    /// Bytes of memory that are resident and the processes' own: not files mapped from disk.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        self.children.iter().map(|speaker| memory(speaker.child.id())).sum()
    }
}

/// Runs a role to its end; what it says, as numbers.
pub(crate) fn numbers(role: Role) -> io::Result<Vec<u64>> {
    let mut speaker = Speaker::start(Command::new(std::env::current_exe()?).args(role.arguments()))?;
    let lines = (&mut speaker.says).lines().map(|line| parse(&line?));
    lines.collect()
}

impl Role {
    fn arguments(self) -> Vec<OsString> {
        let words = match self {
            // Without the option, as earlier builds know it.
            Self::Herd { servers, reply: None } => format!("serve herd {servers}"),
            Self::Herd { servers, reply: Some(reply) } => format!("serve herd {servers} --reply {}", reply.name()),
            Self::Echo { threads } => format!("serve echo {threads}"),
            Self::Starts { servers, repeats } => format!("serve starts {servers} {repeats}"),
            Self::Relinks { repeats } => format!("serve relinks {repeats}"),
        };
        words.split(' ').map(OsString::from).collect()
    }
}

impl Speaker {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { orders: child.stdin.take(), says, child })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.says.read_line(&mut line)? == 0 {
            return Err(io::Error::other("a process that is to be measured has ended"));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Processes {
    /// All at once, so that none complains that others are gone.
    fn drop(&mut self) {
        self.children.iter_mut().for_each(|speaker| speaker.child.kill().unwrap_or_default());
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // It may have ended already; nobody is left to be told.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn asyncio(links: &str) -> io::Result<Processes> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/asyncio_herd.py");
    let start = |(name, _): &(&str, _)| Speaker::start(Command::new("python3").arg(&script).args([name, links]));
    let mut children = NEIGHBOURS.iter().map(start).collect::<io::Result<Vec<_>>>()?;
    let ports = children.iter_mut().map(|child| parse(&child.line()?)).collect::<io::Result<Vec<u16>>>()?;
    for (child, (_, neighbours)) in children.iter_mut().zip(NEIGHBOURS) {
        let links: Vec<_> = neighbours.iter().map(|&n| format!("{}:{}", NEIGHBOURS[n].0, ports[n])).collect();
        writeln!(child.orders.as_mut().expect("it is piped"), "{}", links.join(" "))?;
    }
    children.iter_mut().try_for_each(|child| child.line().map(drop))?;
    Ok(Processes { children, ports })
}

/// A Redis server that keeps nothing on disk, when there is one.
fn redis() -> io::Result<Option<Processes>> {
    let Some(program) = on_path("redis-server") else { return Ok(None) };
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let options = format!("--port {port} --bind 127.0.0.1 --appendonly no --daemonize no");
    let mut speaker = Speaker::start(Command::new(program).args(options.split(' ')).args(["--save", ""]))?;
    while !speaker.line()?.contains("Ready to accept connections") {}
    Ok(Some(Processes { children: vec![speaker], ports: vec![port] }))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The `RssAnon` of a process.
pub(crate) fn memory(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap_or_default();
    Ok(1024 * parse::<u64>(kilobytes)?)
}

/// What the scheduler counted for all threads of a process, in seconds.
fn processor_time(process: u32) -> io::Result<f64> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let counts = match fs::read_to_string(thread?.path().join("schedstat")) {
            // The thread has ended since the directory was read. Such threads wait for work and did next to none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            counts => counts?,
        };
        nanoseconds += parse::<u64>(counts.split(' ').next().unwrap_or_default())?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn parse<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> io::Result<T> {
    text.trim().parse().map_err(|error| io::Error::other(format!("{text:?}: {error}")))
}
