//! What commands and herds say to each other: requests and responses, shared by both ends.
//!
//! Servers go by name here; [`super::names`] turns names into servers. Times are nanoseconds since the Unix epoch.

use serde::{Deserialize, Serialize};

use crate::act::{Hit, WayFaults};
use crate::config::{Identity, Strategy};

/// What a path begins with. Changes when a response loses or renames something.
pub const VERSION: &str = "/v1";

/// Records in one [`RecordsAnswer`] at most.
pub const MAX_RECORDS: usize = 100_000;

/// What a [`Verb`](crate::act::Verb) did, which is the body of `POST /v1/verb`.
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
    /// Adds what another part of the verb hit.
    pub fn add(&mut self, more: Self) {
        self.hit(more.hits());
        self.ways += more.ways;
    }

    /// Returns what it hit.
    pub fn hits(&self) -> Hit {
        let &Self { connections, lines_lost, lines_released, records_lost, .. } = self;
        Hit { connections, lines_lost, lines_released, records_lost }
    }

    /// Adds what one action hit.
    pub fn hit(&mut self, hit: Hit) {
        self.connections += hit.connections;
        self.lines_lost += hit.lines_lost;
        self.lines_released += hit.lines_released;
        self.records_lost += hit.records_lost;
    }
}

/// The herd as it stands: `GET /v1/herd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HerdStatus {
    /// What the herd is called, or the process that runs one server of it.
    pub name: String,
    /// The process that runs it. `None`: each server has a process of its own.
    pub pid: Option<u32>,
    /// The file it was read from.
    pub file: String,
    /// What tells that file from others.
    #[serde(default)]
    pub identity: Identity,
    /// The one server that this process runs, the others having processes of their own. `None`: it runs all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<String>,
    /// How updates travel.
    pub strategy: Strategy,
    /// Directory of the servers' logs, where there is one.
    pub log_dir: Option<String>,
    /// Its servers, in the order of the file. A process lists those that it runs.
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
    /// Host by which others dial it.
    pub host: String,
    /// Host it listens on, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Port it listens on; that of the file when it is down.
    pub port: u16,
    /// Whom it is linked with.
    pub neighbours: Vec<String>,
    /// To how many of them the way is open.
    pub links_up: usize,
    /// Those of them to which a connection is open.
    #[serde(default)]
    pub open: Vec<String>,
    /// Clients it knows.
    pub records: usize,
    /// How far its clock is ahead, in nanoseconds.
    pub clock_offset: i64,
    /// Connections whose replies wait for neighbours.
    pub replies_waiting: usize,
    /// The process that runs it, where each server has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessStatus>,
}

/// A process that runs one server of a herd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Name of its control socket.
    pub name: String,
    /// Its number. `None`: it does not answer.
    pub pid: Option<u32>,
}

impl ServerStatus {
    /// Returns the host by which a client on the server's machine reaches it.
    pub fn host_here(&self) -> &str {
        match self.listen.as_deref().unwrap_or(&self.host) {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        }
    }
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
    /// It has a process of its own, which is not there.
    Absent,
    /// It has a process of its own, which does not answer.
    Silent,
}

impl ServerState {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::Crashed => "crashed",
            Self::Absent => "absent",
            Self::Silent => "silent",
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
    /// What the way is because of its faults: `cut`, `held`, `slowed`.
    pub faults: Vec<String>,
    /// The faults themselves, with their amounts.
    #[serde(default)]
    pub standing: WayFaults,
}

/// The file that a herd was read from: `GET /v1/file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAnswer {
    /// Its path.
    pub path: String,
    /// Its text when the herd was brought up.
    pub text: String,
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
    /// The whole line.
    pub line: String,
    /// The client's location.
    pub location: String,
    /// The client's time, as it wrote it.
    pub time: String,
    /// The server that heard it from the client.
    pub origin: String,
    /// When this server got it.
    pub since: i64,
    /// The neighbour it came from. `None`: the client. [`A_SERVER`]: a server that has not proved which one it is.
    pub from: Option<String>,
}

/// Stands in [`KnownStatus::from`] for a server whose name is not known. No server has this name, because names have no space.
pub const A_SERVER: &str = "a server";

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
    /// Most entries of the past. `None`: all that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
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
