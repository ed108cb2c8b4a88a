//! Steps in which clients talk.

use std::sync::Arc;

use bytes::Bytes;

use super::names::Names;
use super::reply::{Expectation, Field};
use super::{ClientTime, Keys, Said, SessionKey, Talk, Workload};
use crate::config::ServerId;
use crate::diagnostic::{Choice, Table, Value, quoted};
use crate::wire::{Command, MAX_BOUND, MAX_RADIUS_KM, lines, parse, reply_shape};

/// The radius and the bound of a `WHATSAT` that does not say.
const RADIUS_KM: u8 = 10;
const BOUND: u8 = 5;

impl Choice for Keys {
    const WORDS: &'static [(&'static str, Self)] =
        &[("random", Self::Random), ("skewed", Self::Skewed), ("sequential", Self::Sequential)];
}

/// Who talks, to whom, and what must come of it: the keys that all talk shares.
struct Common {
    session: SessionKey,
    expect: Option<Expectation>,
    finish: bool,
}

impl Common {
    fn read(table: &mut Table<'_>, names: &Names<'_>) -> Option<Self> {
        let session = session(table, names);
        let expect = table.optional("expect", |value| expectation(value, names));
        let finish = table.optional("finish", Value::boolean).unwrap_or(false);
        Some(Self { session: session?, expect, finish })
    }

    fn talk(self, said: Said, replies: u64) -> Talk {
        Talk { session: self.session, said, finish: self.finish, replies, expect: self.expect }
    }
}

/// `iamat = { client, at, via, .. }`.
pub(super) fn iamat(value: Value<'_>, names: &Names<'_>) -> Option<Talk> {
    value.table(|table| {
        let client = table.required("client", |value| names.client(value));
        let location = table.required("at", location);
        let time = table.optional("time", time);
        let ahead = table.optional("ahead", Value::signed_duration);
        let common = Common::read(table, names);
        let ahead = ahead.and_then(|ahead| i64::try_from(ahead.as_nanos()).ok()).unwrap_or(0);
        let time = time.map_or(ClientTime::Clock(ahead), ClientTime::Text);
        Some(common?.talk(Said::Iamat { client: client?, location: location?, time }, 1))
    })
}

fn location(value: Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    if let Command::Iamat { .. } = parse(format!("IAMAT x {text} 1").as_bytes()) {
        return Some(text.into());
    }
    let problem = value.error(format!("{} is no location", quoted(text)));
    value.reject(problem.help("write latitude and longitude with both signs, like +34.068930-118.445127"))
}

fn time(value: Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    if let Command::Iamat { .. } = parse(format!("IAMAT x +1+1 {text}").as_bytes()) {
        return Some(text.into());
    }
    let problem = value.error(format!("{} is no time", quoted(text)));
    value.reject(problem.help("write POSIX seconds with at most nine decimals, like 1621464827.959498503"))
}

/// `whatsat = { client, radius, bound, via, .. }`.
pub(super) fn whatsat(value: Value<'_>, names: &Names<'_>) -> Option<Talk> {
    value.table(|table| {
        let client = table.required("client", |value| value.text());
        let radius = table.optional("radius", |value| value.integer(0..=MAX_RADIUS_KM)).unwrap_or(RADIUS_KM);
        let bound = table.optional("bound", |value| value.integer(0..=MAX_BOUND)).unwrap_or(BOUND);
        let common = Common::read(table, names);
        let line = format!("WHATSAT {} {radius} {bound}\n", client?);
        Some(common?.talk(Said::Bytes(line.into()), 1))
    })
}

/// `send = { line | bytes, via, .. }`.
pub(super) fn send(value: Value<'_>, names: &Names<'_>) -> Option<Talk> {
    value.table(|table| {
        let said = table.one_of(&["line", "bytes"]);
        let common = Common::read(table, names);
        let bytes = match said? {
            ("line", value) => format!("{}\n", value.text()?).into_bytes(),
            (_, value) => value.each(|byte| byte.integer(0..=u8::MAX))?,
        };
        let common = common?;
        let replies = replies(&bytes, common.finish, names);
        if replies == 0 && common.expect.is_some() {
            return value.reject(value.error("nothing answers this, so nothing can be expected of the reply"));
        }
        Some(common.talk(Said::Bytes(Bytes::from(bytes)), replies))
    })
}

/// Mentions the clients that these bytes place somewhere. Returns the number of replies to the bytes.
fn replies(bytes: &[u8], finish: bool, names: &Names<'_>) -> u64 {
    for line in lines(bytes, finish) {
        match parse(line) {
            Command::Iamat { client, .. } => names.mention(client.into()),
            Command::At(at) => names.mention(at.client().into()),
            _ => {}
        }
    }
    lines(bytes, finish).filter_map(reply_shape).count() as u64
}

fn expectation(value: Value<'_>, names: &Names<'_>) -> Option<Expectation> {
    if value.is_text() {
        return Some(Expectation { pattern: Some(pattern(value)?), ..Expectation::default() });
    }
    value.table(|table| {
        let pattern = table.optional("reply", pattern);
        let server = table.optional("server", |value| names.server(value));
        let server = server.map(|server| names.topology.name(server).to_string());
        let mut text = |key| table.optional(key, Value::text).map(str::to_owned);
        let fields = [
            (Field::Server, server),
            (Field::Client, text("client")),
            (Field::Location, text("location")),
            (Field::Time, text("time")),
        ];
        Some(Expectation {
            pattern,
            fields: fields.into_iter().filter_map(|(field, value)| Some((field, value?))).collect(),
            status: table.optional("status", Value::text).map(str::to_owned),
            results: table.optional("results", |value| value.integer(0..=usize::from(MAX_BOUND))),
            refused: table.optional("refused", Value::boolean),
            lost: table.optional("lost", Value::boolean).unwrap_or(false),
        })
    })
}

fn pattern(value: Value<'_>) -> Option<glob::Pattern> {
    let text = value.text()?;
    match glob::Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => value.reject(value.error(format!("{} is no pattern: {}", quoted(text), error.msg))),
    }
}

/// `close = { via, session }`.
pub(super) fn close(value: Value<'_>, names: &Names<'_>) -> Option<SessionKey> {
    value.table(|table| session(table, names))
}

fn session(table: &mut Table<'_>, names: &Names<'_>) -> Option<SessionKey> {
    let via = table.required("via", |value| names.server(value));
    let name = table.optional("session", Value::text).map(Arc::from);
    Some(SessionKey { name, via: via? })
}

/// `workload = { rate, count | duration, clients, .. }`.
pub(super) fn workload(value: Value<'_>, names: &Names<'_>) -> Option<Workload> {
    value.table(|table| {
        let rate = table.required("rate", |value| value.number(0.001..=1e6));
        let length = table.one_of(&["count", "duration"]);
        let clients = table.optional("clients", |value| value.integer(1..=1_000_000)).unwrap_or(1);
        let prefix: Arc<str> = table.optional("prefix", |value| names_prefix(value)).unwrap_or_else(|| "client".into());
        let all = || names.topology.ids().collect::<Vec<ServerId>>();
        let via = table.optional("via", |value| names.servers(value)).unwrap_or_else(all);
        let reads = table.optional("reads", |value| value.number(0.0..=1.0)).unwrap_or(0.0);
        let keys = table.optional("keys", Value::choice).unwrap_or_default();
        let moves = table.optional("moves", |value| value.number(0.0..=1.0)).unwrap_or(0.0);
        let background = table.optional("background", Value::boolean).unwrap_or(false);
        names.mention_prefix(prefix.clone());
        let rate = rate?;
        let count = match length? {
            ("count", value) => value.integer(1..=10_000_000)?,
            (_, value) => (value.positive_duration()?.as_secs_f64() * rate).round().max(1.0) as u64,
        };
        Some(Workload { rate, count, clients, prefix, via, reads, keys, moves, background })
    })
}

fn names_prefix(value: Value<'_>) -> Option<Arc<str>> {
    let text = value.text()?;
    if text.is_empty() || text.contains(char::is_whitespace) {
        return value.reject(value.error("a prefix of clients' names is not empty and has no white space"));
    }
    Some(text.into())
}
