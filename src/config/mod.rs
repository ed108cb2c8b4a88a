//! A herd's topology, validated: servers, links and how they behave.
//!
//! Not here: the text it is read from (`raw`), and anything that runs.

mod delay;
mod generate;
mod load;
mod raw;
mod template;
mod validate;
mod wiring;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use delay::DelayKeys;
pub use delay::{Bandwidth, BandwidthError, Delay, Distribution};
pub use load::{Identity, LoadError, Loaded, load, parse, parse_file, schema};
pub(crate) use raw::Herd as RawHerd;
pub use template::{Preset, template};
pub(crate) use validate::topology;
pub use wiring::{LinkId, Neighbour, Slowness, Way, Wiring};

/// A server of a topology, by its place in [`Topology::servers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

impl ServerId {
    /// The place in [`Topology::servers`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole herd. Every value has been checked: names are unique, links join two different servers of the herd and no pair
/// twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// What the herd is called; also names its control socket. Letters, digits, `-` and `_`.
    pub name: String,
    /// In the order of the file; never empty.
    pub servers: Vec<Server>,
    /// Two-way links, in the order of the file.
    pub links: Vec<Link>,
    /// How lines travel on links that the file does not list.
    pub unlisted: Unlisted,
    /// How updates travel.
    pub strategy: Strategy,
    /// When a server answers a client's `IAMAT`. `None` leaves it to the command.
    pub reply: Option<ReplyMode>,
    /// How long a server waits before it dials a neighbour again.
    pub redial: Redial,
    /// Where answers to `WHATSAT` come from.
    pub places: Places,
    /// What a server takes from its clients at most.
    pub limits: Limits,
    /// How many threads run the herd.
    pub threads: Threads,
    /// Of every random draw.
    pub seed: u64,
}

/// One server.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// A run of non-white-space without `,`, `>`, `:` and control characters; unique in the herd.
    pub name: Arc<str>,
    /// Address or host name by which others dial it. 127.0.0.1 unless the file says otherwise.
    pub host: String,
    /// Address or host name it listens on. `None`: `host`.
    pub listen: Option<String>,
    /// TCP port it listens on; 0 lets the system choose.
    pub port: u16,
    /// How far its clock is ahead of the machine's, in nanoseconds; negative when behind.
    pub clock_offset: i64,
}

impl Server {
    /// Returns the address or host name it listens on.
    pub fn listens_on(&self) -> &str {
        self.listen.as_deref().unwrap_or(&self.host)
    }
}

/// A two-way link.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its two ends, in the order of the file; different.
    pub ends: [ServerId; 2],
    /// How lines travel over it.
    pub mode: LinkMode,
    /// Delays of its two directions: from the first of `ends` to the second, and back.
    pub delays: [Delay; 2],
}

/// How lines travel on links that the file does not list.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Unlisted {
    /// How lines travel.
    pub mode: LinkMode,
    /// Delay of either direction.
    pub delay: Delay,
}

impl Link {
    /// Returns how long a dial takes at least: the latencies there and back.
    pub fn round_trip(&self) -> Duration {
        self.delays[0].latency.saturating_add(self.delays[1].latency)
    }

    /// Returns `true` if every dial takes longer than its timeout, so that nothing ever crosses the link.
    pub fn never_opens(&self, redial: &Redial) -> bool {
        self.round_trip() > redial.timeout
    }

    /// Returns both directions with their delays, in the order of `delays`.
    pub fn ways(&self) -> [(Way, Delay); 2] {
        let [from, to] = self.ends;
        let there = Way { from, to };
        [(there, self.delays[0]), (there.back(), self.delays[1])]
    }

    /// Returns `true` if the two directions have different delays.
    pub fn is_asymmetric(&self) -> bool {
        self.delays[0] != self.delays[1]
    }
}

/// How lines travel between two servers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LinkMode {
    /// One long connection per direction: A dials B, and only A writes on it.
    #[default]
    Persistent,
    /// Dial, one line, half-close, read to the end, close.
    PerMessage,
}

/// What decides how an update travels: spread when it is new, repair when nothing is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The server that hears from a client tells every other server, which tells nobody.
    Direct,
    /// Flooding over the links: forwarded when newer. Nothing is repaired.
    Flood,
    /// Flooding, and every record again whenever a link comes up.
    #[default]
    FloodSync,
    /// Along a tree for each origin, which comes out of flooding; every record again whenever a link comes up.
    Tree,
}

/// What a server does with a record that got newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The origin sends to every other server; nobody forwards.
    Direct,
    /// Over every link but the one it came by.
    Flood,
    /// Over the links of its origin's tree, and announced over the others.
    Tree,
}

/// What a server does when nothing is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    None,
    /// Sends every record when a dial of its own succeeds.
    All,
}

impl Spread {
    /// Returns the `AT` lines that an update costs in a herd of so many servers and links when nothing fails.
    ///
    /// Along a tree this holds from an origin's second update on: the first one floods. Control lines do not count.
    pub fn lines_per_update(self, servers: u64, links: u64) -> u64 {
        match self {
            Self::Flood => (2 * links + 1).saturating_sub(servers),
            Self::Direct | Self::Tree => servers.saturating_sub(1),
        }
    }
}

/// What holds of every run ([`Assertion::ALWAYS`](crate::claim::Assertion::ALWAYS)) holds under every strategy. Also of `tree`:
/// a server that is asked for a version does not send it to where it came from, so that nothing echoes, and what it announces
/// is not yet sent. What an update costs is [`Spread::lines_per_update`], and what was missed comes back as [`Repair`] says.
impl Strategy {
    /// Every strategy, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Flood, Self::FloodSync, Self::Tree];

    /// How it spreads what is new.
    pub fn spread(self) -> Spread {
        match self {
            Self::Direct => Spread::Direct,
            Self::Flood | Self::FloodSync => Spread::Flood,
            Self::Tree => Spread::Tree,
        }
    }

    /// How it repairs what was missed.
    pub fn repair(self) -> Repair {
        match self {
            Self::Direct | Self::Flood => Repair::None,
            Self::FloodSync | Self::Tree => Repair::All,
        }
    }

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Flood => "flood",
            Self::FloodSync => "flood-sync",
            Self::Tree => "tree",
        }
    }
}

/// When a server answers a client's `IAMAT`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyMode {
    /// As soon as the server has handed the update to its links.
    #[default]
    AtOnce,
    /// When every neighbour whose link is up has taken the update. Whoever then asks a neighbour finds it there.
    Neighbours,
    /// When every server that can be reached has the update. Whoever then asks any of them finds it there.
    Everywhere,
}

impl ReplyMode {
    /// Every setting, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::Neighbours, Self::Everywhere];

    /// Returns its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at-once",
            Self::Neighbours => "neighbours",
            Self::Everywhere => "everywhere",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Exponential backoff between two dials of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redial {
    /// Waited after the first failure; doubled after each further one. Above zero.
    pub first: Duration,
    /// Never waited longer; at least `first`. The longest part of repairing a healed link.
    pub cap: Duration,
    /// How long one dial may take before it counts as failed.
    pub timeout: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self { first: Duration::from_millis(5), cap: Duration::from_millis(250), timeout: Duration::from_secs(2) }
    }
}

/// Where answers to `WHATSAT` come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    /// Which service.
    pub provider: Provider,
    /// Address of the service, for tests and proxies; the service's own when `None`. Never with the `offline` provider.
    pub base_url: Option<String>,
    /// File with the key, mode 0600; the environment variable `HERDSIM_PLACES_KEY` goes before it.
    pub key_file: Option<PathBuf>,
    /// How long one answer may take in all, retries included. Above zero.
    pub timeout: Duration,
    /// How often a lookup is tried again where the service asks for it.
    pub retries: u32,
    /// Calls to the service in one run of the herd at most; the rest is answered as over quota. Counts nothing with the
    /// `offline` provider.
    pub budget: u64,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            provider: Provider::default(),
            base_url: None,
            key_file: None,
            timeout: Duration::from_secs(5),
            retries: 2,
            budget: 1000,
        }
    }
}

/// A Places service.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Towns and airports built into the program; needs no network.
    #[default]
    Offline,
    /// Google's Places API (New).
    Google,
    /// Google's Places API of before 2025, which new projects cannot enable.
    GoogleLegacy,
    /// OpenStreetMap by way of an Overpass server; needs no key.
    Overpass,
}

impl Provider {
    /// Returns its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Google => "google",
            Self::GoogleLegacy => "google-legacy",
            Self::Overpass => "overpass",
        }
    }
}

/// What a server takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line without its end; a longer one is refused and its connection closed. 128 to 16 MiB.
    pub line: usize,
    /// Connections of one server, its neighbours' included; a further one waits until another ends. At least 1. All servers of
    /// a process together have no more of clients than descriptors that links do not need.
    pub connections: usize,
    /// Bytes of replies that wait on one connection for its client to read; while more wait, the server reads no further
    /// command of that client. At least 1 KiB.
    pub queued_bytes: usize,
    /// How long a connection may stay silent before the server closes it, and how long it may take nothing of the replies
    /// that wait for it before it is reset; `None`: for ever. Connections of neighbours are exempt once they have sent a line.
    pub idle: Option<Duration>,
    /// Clients one server remembers; an `IAMAT` of a further one is refused, an `AT` ignored, and what is known stays. At
    /// least 1.
    pub records: usize,
    /// How long a reply waits for servers that do not take what they are owed. Above zero.
    pub reply: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 * 1024,
            connections: 20_000,
            queued_bytes: 64 * 1024,
            idle: None,
            records: 1_000_000,
            reply: Duration::from_secs(1),
        }
    }
}

/// How many threads run the herd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// One below [`Threads::MANY_SERVERS`] servers, one per core from there.
    #[default]
    Auto,
    /// This many; at least 1.
    Exactly(usize),
}

impl Threads {
    /// From this many servers on more than one thread is faster (measured: 1.4 to 2.9 times).
    pub const MANY_SERVERS: usize = 500;
}

impl Topology {
    /// The server called `name`.
    pub fn server(&self, name: &str) -> Option<ServerId> {
        self.servers.iter().position(|server| &*server.name == name).map(|index| ServerId(index as u32))
    }

    /// The name of a server.
    pub fn name(&self, server: ServerId) -> &Arc<str> {
        &self.servers[server.index()].name
    }

    /// All servers, in the order of the file.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ServerId> + use<> {
        (0..self.servers.len() as u32).map(ServerId)
    }

    /// Returns the links that the strategy uses: those of the file, and with `direct` also those of all other pairs, which are
    /// as the herd says of its links.
    pub fn effective_links(&self) -> Vec<Link> {
        let mut links = self.links.clone();
        let Unlisted { mode, delay } = self.unlisted;
        if self.strategy.spread() == Spread::Direct {
            let mut linked: Vec<_> = links.iter().map(|link| sorted(link.ends)).collect();
            linked.sort_unstable();
            for a in self.ids() {
                for b in self.ids().skip(a.index() + 1) {
                    if linked.binary_search(&[a, b]).is_err() {
                        links.push(Link { ends: [a, b], mode, delays: [delay; 2] });
                    }
                }
            }
        }
        links
    }
}

fn sorted([a, b]: [ServerId; 2]) -> [ServerId; 2] {
    if a <= b { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests;
