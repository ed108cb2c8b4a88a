//! From what a file says to a herd that can run: what goes together, and what does not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::raw::{self, Herd};
use super::{
    Limits, Link, LinkMode, Places, Provider, Redial, Repair, Server, ServerId, Spread, Strategy, Threads, Topology,
    Unlisted, generate, sorted,
};
use crate::diagnostic::{Located, Problem, Problems, quoted};

/// Where a server listens and is dialled when the file does not say.
const LOOPBACK: &str = "127.0.0.1";

/// Reads a topology from the keys of `table`, which may be a whole file or a part of one; `None` after reporting why not.
pub(crate) fn topology(table: &mut crate::diagnostic::Table<'_>, default_name: &str) -> Option<Topology> {
    let (problems, whole) = (table.problems(), table.span());
    let raw = Herd::read(table);
    let before = problems.errors();
    let validator = Validator { raw: &raw, problems, whole };
    let topology = validator.topology(default_name);
    (problems.errors() == before).then_some(topology)
}

struct Validator<'a> {
    raw: &'a Herd,
    problems: &'a Problems,
    /// The table of the herd, for what is missing.
    whole: Range<usize>,
}

impl Validator<'_> {
    fn topology(&self, default_name: &str) -> Topology {
        let (servers, links) = self.graph();
        let strategy = self.raw.strategy.as_ref().map_or_else(Strategy::default, |strategy| strategy.value);
        self.warn_of_repair(strategy, &links);
        let redial = self.redial();
        self.warn_of_dials(&redial, &servers, &links);
        Topology {
            name: self.name(default_name),
            servers,
            links,
            unlisted: self.unlisted(),
            strategy,
            reply: self.raw.reply,
            redial,
            places: self.places(),
            limits: self.limits(),
            threads: self.raw.threads.map_or(Threads::Auto, Threads::Exactly),
            seed: self.raw.seed.unwrap_or(1),
        }
    }

    fn error(&self, span: &Range<usize>, title: impl Into<String>) -> Problem {
        Problem::error(span.clone(), title)
    }

    fn name(&self, default: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let Some(name) = &self.raw.name else {
            let name: String = default.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
            return if name.is_empty() { "herd".into() } else { name };
        };
        if name.value.is_empty() || name.value.len() > 64 || !name.value.chars().all(allowed) {
            let problem = self.error(&name.span, format!("{} is no name of a herd", quoted(&name.value)));
            self.problems.push(problem.help("use up to 64 letters, digits, `-` and `_`"));
        }
        name.value.clone()
    }

    fn graph(&self) -> (Vec<Server>, Vec<Link>) {
        match (&self.raw.generate, &self.raw.server) {
            (Some(rule), None) if self.raw.links.is_none() => self.generated(rule),
            (Some(rule), _) => {
                let problem = self.error(&rule.span, "`generate` makes all servers and links");
                self.problems.push(problem.help("remove `server` and `links`, or `generate`"));
                Default::default()
            }
            (None, Some(servers)) if !servers.is_empty() => {
                let servers = self.servers(servers);
                let links = self.links(&servers);
                (servers, links)
            }
            (None, _) => {
                let problem = self.error(&self.whole, "this herd has no servers");
                self.problems
                    .push(problem.help("write a `[[server]]` with `name` and `port` for each, or a `[generate]`"));
                Default::default()
            }
        }
    }

    fn generated(&self, rule: &Located<raw::Generate>) -> (Vec<Server>, Vec<Link>) {
        let first_port = rule.value.first_port.filter(|&port| port != 0).map(u32::from);
        if first_port.is_some_and(|first| first + rule.value.n - 1 > u32::from(u16::MAX)) {
            let problem = self.error(&rule.span, format!("{} ports do not fit above the first", rule.value.n));
            self.problems.push(problem.help("lower `first-port`, or leave it out: the system then chooses"));
            return Default::default();
        }
        let port = |place: u32| first_port.map_or(0, |first| (first + place) as u16);
        let server = |(place, name): (u32, String)| server(name, LOOPBACK.into(), None, port(place), 0);
        let servers = (0..).zip(generate::names(rule.value.n)).map(server).collect();
        let links = generate::links(rule.value, self.raw.seed.unwrap_or(1)).unwrap_or_else(|reason| {
            self.problems.push(self.error(&rule.span, reason));
            Vec::new()
        });
        (servers, links.into_iter().map(|ends| self.link(ends.map(ServerId), None)).collect())
    }

    fn servers(&self, raw: &[Located<raw::Server>]) -> Vec<Server> {
        let mut names = BTreeMap::new();
        for Located { value, .. } in raw {
            self.check_name(&value.name);
            self.check_unique(&mut names, value.name.value.clone(), &value.name.span, "server", &value.name.value);
            value.host.iter().chain(&value.listen).for_each(|host| self.check_host(host));
            self.check_listens_where_dialled(value);
        }
        self.check_ports(raw);
        let made = raw.iter().map(|Located { value, .. }| {
            let listen = value.listen.as_ref().map(|listen| listen.value.clone());
            server(value.name.value.clone(), host(value).to_owned(), listen, value.port.value, value.clock.unwrap_or(0))
        });
        made.collect()
    }

    fn check_host(&self, host: &Located<String>) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.value.is_empty() && host.value.chars().all(allowed);
        if !is_name && host.value.parse::<IpAddr>().is_err() {
            let problem = self.error(&host.span, format!("{} is no address and no host name", quoted(&host.value)));
            self.problems
                .push(problem.help("write an address such as 127.0.0.1 or ::1, or a name; `port` is a key of its own"));
        }
    }

    /// Refuses a server that others dial on this machine, but that listens on an address where no such dial arrives.
    fn check_listens_where_dialled(&self, server: &raw::Server) {
        let Some(listen) = &server.listen else { return };
        let host = host(server);
        if !is_dialled_on_this_machine(host) || takes_dials_of(&listen.value, host) {
            return;
        }
        let title = format!("others dial {}, and this server does not listen there", quoted(host));
        let problem = self.error(&listen.span, title);
        self.problems.push(match &server.host {
            Some(host) => problem.related(host.span.clone(), "by this").help("listen on this address, or on ::"),
            None => problem.help("give `host`, the address or name by which others dial it"),
        });
    }

    fn check_ports(&self, raw: &[Located<raw::Server>]) {
        let mut by_port: BTreeMap<u16, Vec<&raw::Server>> = BTreeMap::new();
        for server in raw.iter().map(|server| &server.value).filter(|server| server.port.value != 0) {
            let others = by_port.entry(server.port.value).or_default();
            if let Some(other) = others.iter().find(|other| clash(other, server)) {
                let address = quoted(&format!("{}:{}", host(server), server.port.value));
                let problem = self.error(&server.port.span, format!("address {address} is taken"));
                self.problems.push(problem.related(other.port.span.clone(), "by this one"));
            }
            others.push(server);
        }
    }

    fn check_name(&self, name: &Located<String>) {
        let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '>' | ':');
        if name.value.is_empty() || name.value.contains(refused) {
            let problem = self.error(&name.span, format!("{} is no name of a server", quoted(&name.value)));
            self.problems.push(problem.help(
                "names stand in `AT` lines and in ways like `a->b` or `a:b`: no white space, no `,`, no `>`, no `:`",
            ));
        }
    }

    fn check_unique<K: Ord>(
        &self,
        seen: &mut BTreeMap<K, Range<usize>>,
        key: K,
        span: &Range<usize>,
        what: &str,
        shown: &str,
    ) {
        if let Some(first) = seen.get(&key) {
            let problem = self.error(span, format!("{what} {} is taken", quoted(shown)));
            self.problems.push(problem.related(first.clone(), "by this one"));
        } else {
            seen.insert(key, span.clone());
        }
    }

    fn links(&self, servers: &[Server]) -> Vec<Link> {
        let mut seen = BTreeMap::new();
        let mut links = Vec::new();
        for Located { value, span } in self.raw.links.iter().flatten() {
            let [Some(a), Some(b)] = [0, 1].map(|end| self.end(&value.ends[end], servers)) else { continue };
            if a == b {
                let problem = self.error(span, format!("{} is linked with itself", quoted(&value.ends[0].value)));
                self.problems.push(problem.help("a link joins two different servers"));
                continue;
            }
            let shown = value.ends.each_ref().map(|end| end.value.as_str()).join("-");
            self.check_unique(&mut seen, sorted([a, b]), span, "the link", &shown);
            links.push(self.link([a, b], Some(value)));
        }
        links
    }

    fn end(&self, end: &Located<String>, servers: &[Server]) -> Option<ServerId> {
        let found = servers.iter().position(|server| *server.name == *end.value);
        if found.is_none() {
            let names = || servers.iter().map(|server| &*server.name);
            let all = names().take(10).collect::<Vec<_>>().join(", ");
            let problem = self.error(&end.span, format!("unknown server {}", quoted(&end.value)));
            self.problems.push(problem.suggest(&end.value, names(), format!("servers of this herd: {all}")));
        }
        found.map(|place| ServerId(place as u32))
    }

    /// Returns what the herd says of all its links.
    fn unlisted(&self) -> Unlisted {
        let mode = self.raw.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
        Unlisted { mode, delay: self.raw.delay.delay() }
    }

    fn link(&self, ends: [ServerId; 2], own: Option<&raw::Link>) -> Link {
        let mode = own.and_then(|own| own.mode).unwrap_or(self.unlisted().mode);
        let directions = own.map(|own| [own.there, own.back].map(|direction| direction.or(own.delay)));
        let delays = directions.unwrap_or_default().map(|direction| direction.or(self.raw.delay).delay());
        Link { ends, mode, delays }
    }

    fn warn_of_repair(&self, strategy: Strategy, links: &[Link]) {
        let per_message = links.iter().filter(|link| link.mode == LinkMode::PerMessage).count();
        if strategy.repair() == Repair::All && per_message > 0 {
            let span = self.raw.mode.as_ref().map(|mode| mode.span.clone());
            let span = span.or_else(|| self.raw.strategy.as_ref().map(|strategy| strategy.span.clone()));
            let does = if strategy.spread() == Spread::Tree { "floods and repairs nothing" } else { "repairs nothing" };
            let title = format!("{strategy} {does} over {per_message} of {} links", links.len());
            let problem = Problem::warning(span.unwrap_or_else(|| self.whole.clone()), title);
            let problem = problem.note("a per-message link has no connection whose opening could be noticed");
            self.problems.push(problem.help("use strategy = \"flood\" to say so, or mode = \"persistent\""));
        }
    }

    fn warn_of_dials(&self, redial: &Redial, servers: &[Server], links: &[Link]) {
        let never = |link: &&Link| link.never_opens(redial);
        let Some(first) = links.iter().find(never) else { return };
        let [one, other] = first.ends.map(|end| &servers[end.index()].name);
        let (count, trip, timeout) = (links.iter().filter(never).count(), first.round_trip(), redial.timeout);
        let title = format!("{count} of {} links can never come up: a dial takes longer than its timeout", links.len());
        let problem = Problem::warning(self.whole.clone(), title);
        let problem = problem
            .note(format!("a dial of {one}-{other} takes {trip:?}, there and back, and times out after {timeout:?}"));
        self.problems.push(problem.help("raise `timeout` of `[redial]`, or lower the latency"));
    }

    fn redial(&self) -> Redial {
        let default = Redial::default();
        let Some(raw) = &self.raw.redial else { return default };
        let first = raw.first.unwrap_or(default.first);
        let cap = raw.cap.as_ref().map_or(default.cap.max(first), |cap| cap.value);
        if let Some(named) = raw.cap.as_ref().filter(|_| cap < first) {
            self.problems
                .push(self.error(&named.span, "`cap` is shorter than `first`").help("raise `cap`, or lower `first`"));
        }
        Redial { first, cap, timeout: raw.timeout.unwrap_or(default.timeout) }
    }

    fn places(&self) -> Places {
        let default = Places::default();
        let Some(Located { value: raw, .. }) = &self.raw.places else { return default };
        let provider = raw.provider.unwrap_or_default();
        if let Some(url) = &raw.base_url {
            self.check_base_url(url, provider);
        }
        if let Some(file) = raw.key_file.as_ref().filter(|_| matches!(provider, Provider::Offline | Provider::Overpass))
        {
            self.problems.push(
                self.error(&file.span, "this provider needs no key")
                    .help("remove `key-file`, or choose another `provider`"),
            );
        }
        Places {
            provider,
            base_url: raw.base_url.as_ref().map(|url| url.value.clone()),
            key_file: raw.key_file.as_ref().map(|file| file.value.clone()),
            timeout: raw.timeout.unwrap_or(default.timeout),
            retries: raw.retries.unwrap_or(default.retries),
            budget: raw.budget.unwrap_or(default.budget),
        }
    }

    fn check_base_url(&self, url: &Located<String>, provider: Provider) {
        if provider == Provider::Offline {
            let problem = self.error(&url.span, "the offline places have no address");
            self.problems.push(problem.help("remove `base-url`, or choose another `provider`"));
        } else if !["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme)) {
            let problem = self.error(&url.span, format!("{} is no address of a service", quoted(&url.value)));
            self.problems.push(problem.help("write http://.. or https://.."));
        }
    }

    fn limits(&self) -> Limits {
        let default = Limits::default();
        let Some(raw) = &self.raw.limits else { return default };
        Limits {
            line: raw.line.unwrap_or(default.line),
            connections: raw.connections.unwrap_or(default.connections),
            queued_bytes: raw.queued_bytes.unwrap_or(default.queued_bytes),
            idle: raw.idle.or(default.idle),
            records: raw.records.unwrap_or(default.records),
            reply: raw.reply.unwrap_or(default.reply),
        }
    }
}

/// Returns the address or name by which others dial a server of the file.
fn host(server: &raw::Server) -> &str {
    server.host.as_ref().map_or(LOOPBACK, |host| &host.value)
}

/// Returns where a server of the file listens.
fn listens_on(server: &raw::Server) -> &str {
    server.listen.as_ref().map_or(host(server), |listen| &listen.value)
}

/// Returns `true` if two servers of one port are dialled at one address, or listen on one address of one machine.
///
/// Servers with different host names may run on different machines, each on every address of its own.
fn clash(a: &raw::Server, b: &raw::Server) -> bool {
    let are_here = || [a, b].iter().all(|server| is_dialled_on_this_machine(host(server)));
    share_ports(host(a), host(b)) || are_here() && share_ports(listens_on(a), listens_on(b))
}

/// Returns `true` if a dial of `host` ends on the machine that it comes from.
fn is_dialled_on_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns `true` if a server that listens on `listen` may get the connections of those who dial `host`, which is a loopback
/// address or `localhost`.
fn takes_dials_of(listen: &str, host: &str) -> bool {
    match (listen.parse::<IpAddr>(), host.parse::<IpAddr>()) {
        // `::` takes the connections of both families, 0.0.0.0 those of its own.
        (Ok(listen), Ok(host)) if listen.is_unspecified() => listen.is_ipv6() || host.is_ipv4(),
        (Ok(listen), Ok(host)) => listen == host,
        (Ok(listen), Err(_)) => listen.is_unspecified() || listen.is_loopback(),
        // A name's addresses are not known here.
        (Err(_), _) => true,
    }
}

/// Whether a port cannot be had on both hosts: they are one, or one of them is every address of the machine.
fn share_ports(a: &str, b: &str) -> bool {
    let one_name =
        |host: &str| if host.eq_ignore_ascii_case("localhost") { LOOPBACK.into() } else { host.to_lowercase() };
    let is_every_address = |host: &str| host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    one_name(a) == one_name(b) || is_every_address(a) || is_every_address(b)
}

fn server(name: String, host: String, listen: Option<String>, port: u16, clock_offset: i64) -> Server {
    Server { name: Arc::from(name), host, listen, port, clock_offset }
}
