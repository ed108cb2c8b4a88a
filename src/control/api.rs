//! What commands and herds say to each other: requests and responses, shared by both ends.
//!
//! Servers go by name here; [`super::names`] turns names into servers. Times are nanoseconds since the Unix epoch.

use serde::{Deserialize, Serialize};

use crate::config::Delay;
use crate::driver::Hit;

/// What a path begins with. Changes when a response loses or renames something.
pub const VERSION: &str = "/v1";

/// Records in one [`RecordsAnswer`] at most.
pub const MAX_RECORDS: usize = 100_000;

/// Something to do to the herd: `POST /v1/verb`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerbRequest {
    /// End a server at once.
    Kill(String),
    /// End a server in order.
    Stop(String),
    /// Start a server that does not run.
    Start(String),
    /// Kill a server and start it.
    Restart(String),
    /// Freeze a server.
    Pause(String),
    /// Let a frozen server go on.
    Unpause(String),
    /// Set how far a server's clock is ahead.
    Clock {
        /// Which.
        server: String,
        /// Nanoseconds; negative when behind.
        offset: i64,
    },
    /// Reset connections and refuse new ones.
    Cut(NamedWays),
    /// Mend what was cut, slowed or half-open.
    Heal(NamedWays),
    /// Let lines wait.
    Hold(NamedWays),
    /// Let lines that wait go on.
    Release(NamedWays),
    /// Lose everything in silence.
    HalfOpen(NamedWays),
    /// Delay every line.
    Slow {
        /// Where.
        ways: NamedWays,
        /// What every line waits, on top of the link's own: keys of this object, in nanoseconds and bytes a second.
        #[serde(flatten)]
        delay: Delay,
        /// Lines a second at most.
        rate: Option<u32>,
    },
    /// Reset connections.
    Reset {
        /// Where.
        ways: NamedWays,
        /// After that many further lines; at once when 0.
        after: u64,
    },
    /// Separate groups of servers.
    Partition {
        /// No server in two of them; servers in none are one more group.
        groups: Vec<Vec<String>>,
        /// How.
        mode: NamedMode,
    },
}

/// Which ways a verb is about, by names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedWays {
    /// Both ways between two servers.
    Both(String, String),
    /// From the first to the second.
    One(String, String),
    /// Every way of the herd.
    All,
}

/// How a partition separates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedMode {
    /// Lines in flight are lost, dials refused.
    Cut,
    /// Lines wait.
    Hold,
    /// Lines wait, and are lost after so many nanoseconds.
    HoldThenCut(u64),
}

/// What a verb did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerbAnswer {
    /// Connections that were reset or closed.
    pub connections: u64,
    /// Lines that were in flight and are lost.
    pub lines_lost: u64,
    /// Lines that waited and go on.
    pub lines_released: u64,
    /// Records that were forgotten.
    pub records_lost: u64,
    /// Single ways that the verb was about; 0 for verbs about servers.
    pub ways: u64,
    /// Why nothing changed, where nothing did.
    pub warning: Option<String>,
}

impl VerbAnswer {
    /// Adds what one action hit.
    pub fn add(&mut self, hit: Hit) {
        self.connections += hit.connections;
        self.lines_lost += hit.lines_lost;
        self.lines_released += hit.lines_released;
        self.records_lost += hit.records_lost;
    }
}

/// The herd as it stands: `GET /v1/herd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HerdStatus {
    /// What the herd is called.
    pub name: String,
    /// The process that runs it.
    pub pid: u32,
    /// The file it was read from.
    pub file: String,
    /// How updates travel.
    pub strategy: crate::config::Strategy,
    /// Directory of the servers' logs, where there is one.
    pub log_dir: Option<String>,
    /// Its servers, in the order of the file; only those this process runs.
    pub servers: Vec<ServerStatus>,
    /// Ways that do not do what the file says.
    pub faults: Vec<WayFault>,
}

/// One server as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub server: String,
    /// Whether it runs.
    pub state: ServerState,
    /// Why it crashed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Host it listens on.
    pub host: String,
    /// Port it listens on; that of the file when it is down.
    pub port: u16,
    /// Whom it is linked with.
    pub neighbours: Vec<String>,
    /// To how many of them the way is open.
    pub links_up: usize,
    /// Clients it knows.
    pub records: usize,
    /// How far its clock is ahead, in nanoseconds.
    pub clock_offset: i64,
}

/// Whether a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    /// It does.
    Up,
    /// It was killed or stopped.
    Down,
    /// It is frozen.
    Paused,
    /// It ended by an error of its own.
    Crashed,
}

impl ServerState {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::Crashed => "crashed",
        }
    }
}

/// What was done to one way and not taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayFault {
    /// Who writes.
    pub from: String,
    /// Who reads.
    pub to: String,
    /// `cut`, `held`, `slow`, `half-open`.
    pub faults: Vec<String>,
}

/// Which records: the query of `GET /v1/records`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordsQuery {
    /// Only this server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Only this client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// Who knows what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsAnswer {
    /// By client, then in the order of the file's servers.
    pub records: Vec<RecordStatus>,
    /// Records beyond [`MAX_RECORDS`], which are left out.
    pub left_out: usize,
}

/// What one server knows of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordStatus {
    /// The client.
    pub client: String,
    /// The server.
    pub server: String,
    /// Compared with what the herd knows.
    pub state: RecordState,
    /// What it knows; `None` when it knows nothing of this client.
    pub known: Option<KnownStatus>,
}

/// A record compared with the newest one of its client on any server that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// It is the newest.
    Newest,
    /// Another server has a newer one.
    Older,
    /// There is none.
    Missing,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStatus {
    /// The client's location.
    pub location: String,
    /// The client's time, as it wrote it.
    pub time: String,
    /// The server that heard it from the client.
    pub origin: String,
    /// When this server got it.
    pub since: i64,
    /// The neighbour it came from; `None`: the client or somebody unknown.
    pub from: Option<String>,
}

/// How to end the herd: `POST /v1/down`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DownRequest {
    /// Kill what has not drained after so many nanoseconds; `None`: as long as `up` was told.
    pub timeout: Option<u64>,
}

/// How the herd ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownAnswer {
    /// Every server did what it was asked and closed; otherwise some took too long and were killed.
    pub in_order: bool,
}

/// Which observations: the query of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventsQuery {
    /// Go on with what happens from now on.
    #[serde(default)]
    pub follow: bool,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: what is wrong, and what to do where that is known.
    pub error: String,
}

/// Kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The herd has no such server.
    UnknownServer,
    /// The two servers are not linked.
    NotLinked,
    /// The request is not one.
    Invalid,
    /// It was tried and did not work.
    CouldNot,
    /// The herd ends.
    Ending,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bandwidth, Distribution};

    #[test]
    fn a_way_is_slowed_in_nanoseconds_and_bytes_a_second() {
        let read = |text: &str| serde_json::from_str::<VerbRequest>(text).expect("it is a request");
        let [latency, jitter] = [1, 2].map(std::time::Duration::from_nanos);
        let slow = |delay| VerbRequest::Slow { ways: NamedWays::All, delay, rate: None };
        // What need not be said.
        let short = r#"{"slow":{"ways":"all","latency":1,"jitter":2,"rate":null}}"#;
        assert_eq!(read(short), slow(Delay { latency, jitter, ..Delay::default() }));
        let distribution = Distribution::LogNormal { sigma_percent: 50 };
        let whole = slow(Delay { latency, jitter, distribution, bandwidth: Bandwidth::from_bytes_a_second(64_000) });
        let text = r#"{"slow":{"ways":"all","latency":1,"jitter":2,"distribution":{"log-normal":50},"bandwidth":64000,"rate":null}}"#;
        assert_eq!((serde_json::to_string(&whole).expect("it is JSON").as_str(), read(text)), (text, whole));
        let thinnest = text.replace("64000", "0");
        assert!(serde_json::from_str::<VerbRequest>(&thinnest).is_err());
    }
}
