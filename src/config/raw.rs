//! A topology file as it is written: what each key may hold, and where it stands. The JSON Schema is made of these types.
//!
//! Not here: what goes together ([`super::validate`]).

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;

use super::{DelayKeys, LinkMode, Provider, ReplyMode, Strategy};
use crate::diagnostic::{Choice, DurationText, Located, OneOf, Problem, Table, Value};

/// A herd: servers that tell each other where clients are.
#[derive(Debug, Default, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "herdsim topology")]
pub(crate) struct Herd {
    /// What the herd is called; the name of the file unless given. Letters, digits, `-` and `_`.
    pub(super) name: Option<Located<String>>,
    /// How updates travel: `direct`, `flood`, `flood-sync` (the default) or `tree`.
    pub(super) strategy: Option<Located<Strategy>>,
    /// When a server answers a client's `IAMAT`: `neighbours` (when every neighbour whose link is up has taken the update,
    /// the default of `herdsim up`), `everywhere` (when every server that can be reached has it) or `at-once` (the default
    /// elsewhere).
    pub(super) reply: Option<ReplyMode>,
    /// How lines travel over links that do not say otherwise: `persistent` (the default) or `per-message`.
    pub(super) mode: Option<Located<LinkMode>>,
    /// Of links that do not say otherwise.
    #[serde(flatten)]
    pub(super) delay: DelayKeys,
    /// Of every random draw; 1 unless given.
    pub(super) seed: Option<u64>,
    /// Threads that run the herd; chosen by its size unless given.
    #[schemars(range(min = 1, max = 256))]
    pub(super) threads: Option<usize>,
    /// The servers.
    #[schemars(with = "Option<Vec<Server>>")]
    pub(super) server: Option<Vec<Located<Server>>>,
    /// Who talks with whom.
    #[schemars(with = "Option<Vec<OneOf<[String; 2], Link>>>")]
    pub(super) links: Option<Vec<Located<Link>>>,
    /// Makes servers and links by a rule, instead of `server` and `links`.
    #[schemars(with = "Option<Generate>")]
    pub(super) generate: Option<Located<Generate>>,
    /// How long a server waits before it dials a neighbour again.
    pub(super) redial: Option<Redial>,
    /// Where answers to `WHATSAT` come from.
    #[schemars(with = "Option<Places>")]
    pub(super) places: Option<Located<Places>>,
    /// What a server takes at most.
    pub(super) limits: Option<Limits>,
}

/// A server.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Server {
    /// A run of characters without white space, `,`, `>`, `:` and control characters.
    pub(super) name: Located<String>,
    /// TCP port; 0 lets the system choose.
    pub(super) port: Located<u16>,
    /// Address or host name by which others dial it; 127.0.0.1 unless given.
    pub(super) host: Option<Located<String>>,
    /// Address or host name it listens on, such as 0.0.0.0 or ::, every address of the machine; `host` unless given.
    pub(super) listen: Option<Located<String>>,
    /// How far its clock is ahead, or, with a `-` before it, behind; nothing unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) clock: Option<i64>,
}

/// A link with settings of its own.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Link {
    /// The two servers.
    #[schemars(with = "[String; 2]")]
    pub(super) ends: [Located<String>; 2],
    /// How lines travel.
    pub(super) mode: Option<LinkMode>,
    /// Its own.
    #[serde(flatten)]
    pub(super) delay: DelayKeys,
    /// Delay from the first of `ends` to the second; as for the whole link unless given.
    #[schemars(with = "Option<Direction>")]
    pub(super) there: DelayKeys,
    /// Delay from the second of `ends` to the first; as for the whole link unless given.
    #[schemars(with = "Option<Direction>")]
    pub(super) back: DelayKeys,
}

/// One direction of a link.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
#[expect(dead_code, reason = "it is there for the schema")]
struct Direction {
    /// Its own.
    #[serde(flatten)]
    delay: DelayKeys,
}

/// A rule that makes servers `s0001`, `s0002`.. and their links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Generate {
    /// What the links look like.
    pub(super) shape: Shape,
    /// How many servers.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) n: u32,
    /// Links of each server of `random-regular`; children of each server of `tree`, 2 unless given.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) degree: Option<u32>,
    /// Of the draws of `random-regular`; the herd's own unless given.
    pub(super) seed: Option<u64>,
    /// Port of the first server, the next ones following; the system chooses unless given.
    pub(super) first_port: Option<u16>,
}

/// What links look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shape {
    /// Each server with the next.
    Line,
    /// A line whose ends are linked.
    Ring,
    /// The first server with every other.
    Star,
    /// Every server with every other.
    Full,
    /// Rows as long as the square root, each server with its neighbours right and below.
    Grid,
    /// Each server with its parent.
    Tree,
    /// As many links at each server, drawn at random, connected.
    RandomRegular,
}

/// Exponential backoff between two dials of one neighbour.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Redial {
    /// Waited after the first failure, doubled after each further one; 5ms unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) first: Option<Duration>,
    /// Never waited longer; 250ms unless given. The longest part of repairing a healed link.
    #[schemars(with = "Option<DurationText>")]
    pub(super) cap: Option<Located<Duration>>,
    /// How long one dial may take; 2s unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) timeout: Option<Duration>,
}

/// Where answers to `WHATSAT` come from.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Places {
    /// Which service: `offline` (the default), `google`, `google-legacy` or `overpass`.
    pub(super) provider: Option<Provider>,
    /// Address of the service, for tests and proxies; the service's own unless given.
    pub(super) base_url: Option<Located<String>>,
    /// File with the key, mode 0600; the environment variable `HERDSIM_PLACES_KEY` goes before it.
    pub(super) key_file: Option<Located<PathBuf>>,
    /// How long one answer may take in all; 5s unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) timeout: Option<Duration>,
    /// How often a lookup is tried again where the service asks for it; 2 unless given.
    #[schemars(range(max = 10))]
    pub(super) retries: Option<u32>,
    /// Calls to the service in one run at most; 1000 unless given.
    pub(super) budget: Option<u64>,
}

/// What a server takes at most.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Limits {
    /// Bytes of one line; 65536 unless given.
    #[schemars(range(min = 128, max = 16_777_216))]
    pub(super) line: Option<usize>,
    /// Connections of one server; 20000 unless given.
    #[schemars(range(min = 1))]
    pub(super) connections: Option<usize>,
    /// Bytes of replies that wait for one client; 65536 unless given.
    #[schemars(range(min = 1024))]
    pub(super) queued_bytes: Option<usize>,
    /// How long a client may stay silent, or leave replies unread; for ever unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) idle: Option<Duration>,
    /// Clients one server remembers; 1000000 unless given.
    #[schemars(range(min = 1))]
    pub(super) records: Option<usize>,
    /// How long a reply waits for servers that do not take what they are owed; 1s unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(super) reply: Option<Duration>,
}

impl Choice for Strategy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("direct", Self::Direct), ("flood", Self::Flood), ("flood-sync", Self::FloodSync), ("tree", Self::Tree)];
}

impl Choice for LinkMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("persistent", Self::Persistent), ("per-message", Self::PerMessage)];
}

impl Choice for Provider {
    const WORDS: &'static [(&'static str, Self)] = &[
        (Self::Offline.name(), Self::Offline),
        (Self::Google.name(), Self::Google),
        (Self::GoogleLegacy.name(), Self::GoogleLegacy),
        (Self::Overpass.name(), Self::Overpass),
    ];
}

impl Choice for ReplyMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        (Self::AtOnce.name(), Self::AtOnce),
        (Self::Neighbours.name(), Self::Neighbours),
        (Self::Everywhere.name(), Self::Everywhere),
    ];
}

impl Choice for Shape {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("line", Self::Line),
        ("ring", Self::Ring),
        ("star", Self::Star),
        ("full", Self::Full),
        ("grid", Self::Grid),
        ("tree", Self::Tree),
        ("random-regular", Self::RandomRegular),
    ];
}

impl Herd {
    /// Reads a herd's keys. What is wrong with one of them is reported and leaves it out.
    pub(crate) fn read(table: &mut Table<'_>) -> Self {
        Self {
            name: table.optional("name", |value| value.located(owned)),
            strategy: table.optional("strategy", |value| value.located(Value::choice)),
            reply: table.optional("reply", Value::choice),
            mode: table.optional("mode", |value| value.located(Value::choice)),
            delay: DelayKeys::read(table),
            seed: table.optional("seed", |value| value.integer(0..=i64::MAX as u64)),
            threads: table.optional("threads", |value| value.integer(1..=256)),
            server: table
                .optional("server", |value| value.each(|entry| entry.located(|entry| entry.table(Server::read)))),
            links: table.optional("links", |value| value.each(|entry| entry.located(Link::read))),
            generate: table.optional("generate", |value| value.located(|value| value.table(Generate::read))),
            redial: table.optional("redial", |value| value.table(Redial::read)),
            places: table.optional("places", |value| value.located(|value| value.table(Places::read))),
            limits: table.optional("limits", |value| value.table(Limits::read)),
        }
    }
}

fn owned(value: Value<'_>) -> Option<String> {
    value.text().map(str::to_owned)
}

impl Server {
    fn read(table: &mut Table<'_>) -> Option<Self> {
        let name = table.required("name", |value| value.located(owned));
        let port = table.required("port", |value| value.located(|value| value.integer(0..=u16::MAX)));
        let host = table.optional("host", |value| value.located(owned));
        let listen = table.optional("listen", |value| value.located(owned));
        let clock = table.optional("clock", |value| value.signed_duration().map(nanoseconds));
        // A server whose port is wrong is still one that links can name.
        let port = port.unwrap_or(Located { value: 0, span: table.span() });
        Some(Self { name: name?, port, host, listen, clock })
    }
}

/// Durations of files are at most 100 years long.
fn nanoseconds(duration: jiff::SignedDuration) -> i64 {
    i64::try_from(duration.as_nanos()).expect("100 years fit")
}

impl Link {
    fn read(value: Value<'_>) -> Option<Self> {
        if value.is_list() {
            let [delay, there, back] = [DelayKeys::default(); 3];
            return Some(Self { ends: ends(value)?, mode: None, delay, there, back });
        }
        if !value.is_table() {
            return value.mismatch("two servers such as [\"Clark\", \"Bona\"], or a table with `ends`");
        }
        value.table(|table| {
            let ends = table.required("ends", ends);
            let mode = table.optional("mode", Value::choice);
            let delay = DelayKeys::read(table);
            let [there, back] = ["there", "back"].map(|key| table.optional(key, direction).unwrap_or_default());
            Some(Self { ends: ends?, mode, delay, there, back })
        })
    }
}

/// Reads one direction of a link. Refuses an empty table, and `mode`, which belongs to the link.
fn direction(value: Value<'_>) -> Option<DelayKeys> {
    value.table(|table| {
        if table.keys().is_empty() {
            let problem = table.error(format!("{} changes nothing", value.subject()));
            let problem = problem.help("give `latency`, `jitter`, `distribution` or `bandwidth`, or remove it");
            table.problems().push(problem);
        }
        if let (Some(span), Some(_)) = (table.key_span("mode"), table.refused("mode")) {
            let problem = Problem::error(span, "both directions of a link have the same `mode`");
            table.problems().push(problem.help(format!("move it out of {}, beside `ends`", value.subject())));
        }
        Some(DelayKeys::read(table))
    })
}

fn ends(value: Value<'_>) -> Option<[Located<String>; 2]> {
    let servers = value.each(|entry| entry.located(owned))?;
    match <[Located<String>; 2]>::try_from(servers) {
        Ok(ends) => Some(ends),
        Err(_) => {
            value.reject(value.error("a link has two ends").help("write two servers such as [\"Clark\", \"Bona\"]"))
        }
    }
}

impl Generate {
    fn read(table: &mut Table<'_>) -> Option<Self> {
        let shape = table.required("shape", Value::choice);
        let n = table.required("n", |value| value.integer(1..=1_000_000));
        let degree = table.optional("degree", |value| value.integer(1..=1000));
        let seed = table.optional("seed", |value| value.integer(0..=i64::MAX as u64));
        let first_port = table.optional("first-port", |value| value.integer(0..=u16::MAX));
        Some(Self { shape: shape?, n: n?, degree, seed, first_port })
    }
}

impl Redial {
    fn read(table: &mut Table<'_>) -> Option<Self> {
        Some(Self {
            first: table.optional("first", Value::positive_duration),
            cap: table.optional("cap", |value| value.located(Value::positive_duration)),
            timeout: table.optional("timeout", Value::positive_duration),
        })
    }
}

impl Places {
    fn read(table: &mut Table<'_>) -> Option<Self> {
        for name in ["key", "api-key", "api_key", "apikey", "token"] {
            if let Some(key) = table.refused(name) {
                refuse_key(key);
            }
        }
        Some(Self {
            provider: table.optional("provider", Value::choice),
            base_url: table.optional("base-url", |value| value.located(owned)),
            key_file: table.optional("key-file", |value| value.located(|value| owned(value).map(PathBuf::from))),
            timeout: table.optional("timeout", Value::positive_duration),
            retries: table.optional("retries", |value| value.integer(0..=10)),
            budget: table.optional("budget", |value| value.integer(0..=i64::MAX as u64)),
        })
    }
}

/// A key is not read and not shown: it is a mistake with one remedy.
fn refuse_key(key: Value<'_>) {
    key.problems().hide(key.span());
    key.problems()
        .push(key.error("a key does not belong in this file").help(
            "put it into the environment as HERDSIM_PLACES_KEY, or into a file of mode 0600 named by `key-file`",
        ));
}

impl Limits {
    fn read(table: &mut Table<'_>) -> Option<Self> {
        Some(Self {
            line: table.optional("line", |value| value.integer(128..=16 << 20)),
            connections: table.optional("connections", |value| value.integer(1..=1_000_000)),
            queued_bytes: table.optional("queued-bytes", |value| value.integer(1024..=1 << 30)),
            idle: table.optional("idle", Value::positive_duration),
            records: table.optional("records", |value| value.integer(1..=100_000_000)),
            reply: table.optional("reply", Value::positive_duration),
        })
    }
}
