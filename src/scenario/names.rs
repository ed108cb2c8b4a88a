//! Servers, links and clients of a scenario, by the names its file uses.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::act::{Ends, Ways, not_linked, split_way};
use crate::config::{ServerId, Topology, Way, Wiring};
use crate::diagnostic::{Problem, Value, quoted};

/// The herd that a script is checked against, and what the script mentions.
pub(super) struct Names<'a> {
    pub(super) topology: &'a Topology,
    pub(super) wiring: Wiring,
    /// Clients that some step says something about; those of workloads by what they begin with.
    clients: RefCell<BTreeSet<Arc<str>>>,
    prefixes: RefCell<Vec<Arc<str>>>,
    /// Clients that a check asks about, and where.
    asked: RefCell<Vec<(Arc<str>, Range<usize>)>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        Self {
            topology,
            wiring: Wiring::of(topology),
            clients: RefCell::default(),
            prefixes: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.topology.servers.iter().map(|server| &*server.name)
    }

    /// A server.
    pub(super) fn server(&self, value: Value<'_>) -> Option<ServerId> {
        let name = value.text()?;
        self.named(name).or_else(|| value.reject(self.unknown(value, name)))
    }

    fn named(&self, name: &str) -> Option<ServerId> {
        self.topology.server(name)
    }

    fn unknown(&self, value: Value<'_>, name: &str) -> Problem {
        let all = self.all().take(10).collect::<Vec<_>>().join(", ");
        let problem = value.error(format!("unknown server {}", quoted(name)));
        problem.suggest(name, self.all(), format!("servers of this herd: {all}"))
    }

    /// One server, or a list of them.
    pub(super) fn servers(&self, value: Value<'_>) -> Option<Vec<ServerId>> {
        if !value.is_list() {
            return Some(vec![self.server(value)?]);
        }
        let servers = value.each(|entry| self.server(entry))?;
        if servers.is_empty() {
            value.reject(value.error("a list of servers needs at least one"))
        } else {
            Some(servers)
        }
    }

    /// Reads one way: `"a->b"` or `"a:b"`.
    pub(super) fn one_way(&self, value: Value<'_>) -> Option<Ends> {
        let text = value.text()?;
        let Some((from, to)) = split_way(text) else {
            let problem = value.error(format!("{} is no way", quoted(text)));
            return value.reject(problem.help("write \"Clark->Bona\" or \"Clark:Bona\""));
        };
        let end = |name| self.named(name).or_else(|| value.reject(self.unknown(value, name)));
        let (from, to) = (end(from), end(to));
        let way = Way { from: from?, to: to? };
        self.linked(value, way).then_some(Ends::One(way.from, way.to))
    }

    fn linked(&self, value: Value<'_>, way: Way) -> bool {
        let linked = self.wiring.link(way).is_some();
        if !linked {
            value.problems().push(value.error(not_linked(self.topology, &self.wiring, way)));
        }
        linked
    }

    /// Reads `"all"`, `"a->b"`, `["a", "b"]` for both ways, or a list of the last two.
    pub(super) fn ways(&self, value: Value<'_>) -> Option<Ways> {
        if value.peek_text() == Some("all") { Some(Ways::All) } else { self.ends(value).map(Ways::These) }
    }

    fn ends(&self, value: Value<'_>) -> Option<Vec<Ends>> {
        if value.is_text() {
            return Some(vec![self.one_way(value)?]);
        }
        let entries: Vec<_> = value.list()?.collect();
        match entries.as_slice() {
            [a, b] if is_name(*a) && is_name(*b) => Some(vec![self.both(value, *a, *b)?]),
            [] => value.reject(value.error("a list of links needs at least one")),
            _ => Some(entries.into_iter().filter_map(|entry| self.ends(entry)).flatten().collect()),
        }
    }

    fn both(&self, value: Value<'_>, a: Value<'_>, b: Value<'_>) -> Option<Ends> {
        let (a, b) = (self.server(a), self.server(b));
        let way = Way { from: a?, to: b? };
        self.linked(value, way).then_some(Ends::Both(way.from, way.to))
    }

    /// A client that a step says something about.
    pub(super) fn client(&self, value: Value<'_>) -> Option<Arc<str>> {
        let client: Arc<str> = self.client_name(value)?;
        self.mention(client.clone());
        Some(client)
    }

    pub(super) fn mention(&self, client: Arc<str>) {
        self.clients.borrow_mut().insert(client);
    }

    pub(super) fn mention_prefix(&self, prefix: Arc<str>) {
        self.prefixes.borrow_mut().push(prefix);
    }

    /// A client that a check or a wait asks about.
    pub(super) fn asked_client(&self, value: Value<'_>) -> Option<Arc<str>> {
        let client = self.client_name(value)?;
        self.asked.borrow_mut().push((client.clone(), value.span()));
        Some(client)
    }

    fn client_name(&self, value: Value<'_>) -> Option<Arc<str>> {
        let name = value.text()?;
        if name.is_empty() || name.contains(|c: char| c.is_ascii_whitespace() || c == '\u{b}') {
            let problem = value.error(format!("{} is no client", quoted(name)));
            return value.reject(problem.help("a client's name is not empty and has no white space"));
        }
        Some(name.into())
    }

    /// Asks about clients that nobody ever says anything about.
    pub(super) fn never_mentioned(&self) -> Vec<Problem> {
        let (clients, prefixes) = (self.clients.borrow(), self.prefixes.borrow());
        let mentioned = |client: &str| {
            clients.contains(client) || prefixes.iter().any(|prefix| client.starts_with(&format!("{prefix}-")))
        };
        let asked = self.asked.borrow();
        let strays = asked.iter().filter(|(client, _)| !mentioned(client));
        let problem = |(client, span): &(Arc<str>, Range<usize>)| {
            let problem = Problem::error(span.clone(), format!("no step says where {} is", quoted(client)));
            let known = clients.iter().map(|client| &**client);
            problem.suggest(client, known, "this could never be seen to hold or not")
        };
        strays.map(problem).collect()
    }
}

fn is_name(value: Value<'_>) -> bool {
    value.peek_text().is_some_and(|text| split_way(text).is_none())
}
