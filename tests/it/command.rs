//! The real program, run as people run it, each test in directories of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The five servers of the course on ports that the system chooses.
const HERD: &str = r#"
links = [
    ["Clark", "Jaquez"], ["Clark", "Bona"], ["Campbell", "Bailey"],
    ["Campbell", "Bona"], ["Campbell", "Jaquez"], ["Bona", "Bailey"],
]
server = [
    { name = "Bailey", port = 0 }, { name = "Bona", port = 0 }, { name = "Campbell", port = 0 },
    { name = "Clark", port = 0 }, { name = "Jaquez", port = 0 },
]
"#;

/// Its servers, in their order.
pub(crate) const SERVERS: [&str; 5] = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];

/// Below the ports that systems give to connections, which other tests open all the time.
const FIXED_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A place to run the program in; herds that are still up when it goes are ended.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

/// A command that runs beside the test, killed when it goes.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Place {
    /// With the herd of the course as `herd.toml`.
    pub(crate) fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        place.write("herd.toml", HERD);
        place
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path().join(file), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `herdsim` with these words to its end.
    pub(crate) fn run(&self, words: &str) -> Said {
        self.run_words(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_words(&self, words: &[&str]) -> Said {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { out: text(stdout), err: text(stderr), code: status.code() }
    }

    /// Runs `herdsim` with these words to its end, which must be a good one; gives its output.
    pub(crate) fn out(&self, words: &str) -> String {
        let said = self.run(words);
        assert_eq!(said.code, Some(0), "{words}: {said:?}");
        said.out
    }

    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.out(words)).unwrap()
    }

    /// Starts `herdsim` with these words beside the test.
    pub(crate) fn start(&self, words: &str) -> Running {
        let words: Vec<_> = words.split_whitespace().collect();
        Running::spawn(&mut self.command(&words))
    }

    /// Gives the servers of the herd fixed ports and starts each in a process of its own.
    pub(crate) fn processes(&self) -> [Running; 5] {
        let herd = std::fs::read_to_string(self.path().join("herd.toml")).unwrap();
        let with_port = |herd: String, port| herd.replacen("port = 0", &format!("port = {port}"), 1);
        self.write("herd.toml", &free_ports(SERVERS.len()).into_iter().fold(herd, with_port));
        SERVERS.map(|name| self.process(name))
    }

    /// Starts one server in a process of its own, and waits until it listens.
    pub(crate) fn process(&self, name: &str) -> Running {
        let mut process = self.start(&format!("node {name}"));
        if process.line().is_empty() {
            panic!("{name} did not start: {:?}", process.end());
        }
        process
    }

    /// A herd in the background whose links are up.
    pub(crate) fn herd() -> Self {
        let place = Self::new();
        place.out("up -d --wait");
        place
    }

    /// One server in `ps`.
    pub(crate) fn server(&self, name: &str) -> Value {
        let status = self.json("ps --format json");
        let servers = status["servers"].as_array().unwrap();
        servers.iter().find(|server| server["server"] == name).unwrap_or_else(|| panic!("{name}: {status}")).clone()
    }

    /// The states of a client's record, in the order of the file's servers.
    pub(crate) fn states(&self, client: &str) -> Vec<String> {
        let answer = self.json(&format!("records --client {client} --format json"));
        let records = answer["records"].as_array().unwrap();
        records.iter().map(|record| record["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks again until the answer is as it should be; what is asked about is under way.
    pub(crate) fn until<T: PartialEq + std::fmt::Debug>(&self, ask: impl Fn(&Self) -> T, expected: &T) {
        let clock = herdsim::time::RealClock::start();
        let begun = clock.now();
        loop {
            let got = ask(self);
            if got == *expected {
                return;
            }
            assert!(clock.now().since(begun).as_secs() < 20, "still {got:?}, not {expected:?}");
        }
    }

    pub(crate) fn control_files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path().join("run/herdsim")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("herdsim"));
        let run = self.path().join("run");
        std::fs::create_dir_all(&run).unwrap();
        command
            .args(words)
            .current_dir(self.path())
            .env("XDG_RUNTIME_DIR", run)
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env_remove("GITHUB_ACTIONS")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for file in self.control_files() {
            if let Some(herd) = file.strip_suffix(".sock") {
                self.run_words(&["down", "--herd", herd]);
            }
        }
    }
}

/// Ports that nobody listens on. No two tests of a process are given the same, and each process begins at another.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    let tried = std::iter::repeat_with(|| TRIED.fetch_add(1, Ordering::Relaxed));
    let ports = tried.map(|tried| {
        let place = begin.wrapping_add(tried) % FIXED_PORTS.len() as u32;
        FIXED_PORTS.start + place as u16
    });
    let is_free = |&port: &u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    ports.filter(is_free).take(count).collect()
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, unless it has ended and been waited for.
    pub(crate) fn signal_if_there(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// Waits for its end; how it ended, and what it said on standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap(), err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Has ended, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
