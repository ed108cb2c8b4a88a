//! Histories written by hand, for tests: each call appends what a herd would have shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{DriverKind, Fact, History, Origin, Sight, Step};
use crate::act::{Action, Hit, ServerVerb, SessionId, WayVerb};
use crate::checker::{Cause, Explanation, Judgement, judge};
use crate::claim::{Assertion, Check, StepId, Verdict, When};
use crate::config::{Delay, Link, LinkMode, Redial, ReplyMode, ServerId, Strategy, Way};
use crate::history::{Event, Hop};
use crate::time::Timestamp;
use crate::wire::{Command, ControlLine, Report, Version, parse};

/// The servers of the assignment, in the order of their ports.
const SERVERS: [&str; 5] = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];

/// The links of the assignment.
const LINKS: [(&str, &str); 6] = [
    ("Clark", "Jaquez"),
    ("Bona", "Clark"),
    ("Campbell", "Bailey"),
    ("Campbell", "Bona"),
    ("Campbell", "Jaquez"),
    ("Bona", "Bailey"),
];

/// A history being written. Names that the herd does not have panic.
#[derive(Clone)]
pub(crate) struct Builder {
    origin: Origin,
    history: History,
    step: Option<StepId>,
    sessions: u32,
    /// The present life of every server, by place.
    lives: [u32; SERVERS.len()],
    /// The last connection of every way that came up. That of the others is their first.
    connections: BTreeMap<Way, u32>,
}

/// The five servers of the assignment under plain flooding.
pub(crate) fn herd() -> Builder {
    let id = |name: &str| ServerId(SERVERS.iter().position(|server| *server == name).unwrap() as u32);
    let link =
        |(a, b): (&str, &str)| Link { ends: [id(a), id(b)], mode: LinkMode::default(), delays: [Delay::default(); 2] };
    let origin = Origin {
        title: "a test".into(),
        scenario: Some("test.toml".into()),
        driver: DriverKind::Simulated,
        strategy: Strategy::Flood,
        reply: ReplyMode::AtOnce,
        servers: SERVERS.map(Arc::from).to_vec(),
        clocks: vec![0; SERVERS.len()],
        sights: vec![Sight::Inside; SERVERS.len()],
        links: LINKS.map(link).to_vec(),
        redial: Redial::default(),
        max_records: 1000,
        steps: Vec::new(),
        checks: Vec::new(),
        thresholds: Vec::new(),
    };
    let history = History::new(Arc::new(origin.clone()), 1, Timestamp::from_nanoseconds(1_621_464_827_000_000_000));
    Builder { origin, history, step: None, sessions: 0, lives: [1; SERVERS.len()], connections: BTreeMap::new() }
}

/// The line of a client's location, received by a server, of a time in whole seconds.
pub(crate) fn line(origin: &str, client: &str, time: u32) -> String {
    format!("AT {origin} +0.263873386 {client} +34.068930-118.445127 {time}")
}

impl Builder {
    pub(crate) fn strategy(mut self, strategy: Strategy) -> Self {
        self.origin.strategy = strategy;
        self
    }

    /// Replies wait for the neighbours.
    pub(crate) fn patient(mut self) -> Self {
        self.origin.reply = ReplyMode::Neighbours;
        self
    }

    /// Every server is seen from outside only.
    pub(crate) fn outside(mut self) -> Self {
        self.origin.sights.fill(Sight::Outside);
        self
    }

    /// A server is asked about clients: in `began`, in milliseconds, and it answers at `ended`.
    pub(crate) fn probed(self, server: &str, client: &str, time: Option<u32>, [began, ended]: [u64; 2]) -> Self {
        let report = time.map(|time| Self::report(&line("Bona", client, time)));
        let (id, client) = (self.server(server), Arc::from(client));
        let mut asked = 0;
        let herd = self.at(began, |herd| {
            asked = herd.history.entries.len() as u32;
            herd.push(Fact::Probing { server: id })
        });
        herd.at(ended, |herd| herd.push(Fact::Probed { server: id, asked, client, report }))
    }

    pub(crate) fn server(&self, name: &str) -> ServerId {
        self.origin.server(name).unwrap()
    }

    pub(crate) fn servers(&self, names: &[&str]) -> Vec<ServerId> {
        names.iter().map(|name| self.server(name)).collect()
    }

    pub(crate) fn way(&self, from: &str, to: &str) -> Way {
        Way { from: self.server(from), to: self.server(to) }
    }

    /// The time from here on, in milliseconds since the beginning.
    pub(crate) fn at(mut self, milliseconds: u64, what: impl FnOnce(Self) -> Self) -> Self {
        let fact = Fact::Waited(Duration::ZERO);
        self.history.push(self.history.started + Duration::from_millis(milliseconds), self.step, fact);
        what(self)
    }

    /// A step begins; what follows is its doing.
    pub(crate) fn step(mut self, text: &str) -> Self {
        let line = self.origin.steps.len() as u32 + 10;
        self.step = Some(StepId(self.origin.steps.len() as u32));
        self.origin.steps.push(Step { text: text.into(), file: None, line });
        self.push(Fact::StepBegan)
    }

    pub(crate) fn push(mut self, fact: Fact) -> Self {
        let now = self.history.ended();
        self.history.push(now, self.step, fact);
        self
    }

    pub(crate) fn saw(self, event: Event) -> Self {
        self.push(Fact::Saw(event))
    }

    pub(crate) fn did(self, action: Action, hit: Hit) -> Self {
        self.push(Fact::Did { action, hit })
    }

    pub(crate) fn report(line: &str) -> Arc<Report> {
        let Command::At(at) = parse(line.as_bytes()) else { panic!("{line} is not an AT line") };
        Arc::new(at.to_report())
    }

    /// The reply to a write is let go.
    pub(crate) fn acknowledged(self, server: &str, client: &str, time: u32) -> Self {
        let report = Self::report(&line(server, client, time));
        let server = self.server(server);
        let life = self.life(server);
        self.saw(Event::Acknowledged { server, life, session: None, report, overdue: false })
    }

    /// A write is taken.
    pub(crate) fn accepted(self, server: &str, client: &str, time: u32) -> Self {
        self.accepted_by(None, server, client, time, true)
    }

    pub(crate) fn accepted_by(self, session: Option<u32>, server: &str, client: &str, time: u32, newer: bool) -> Self {
        let report = Self::report(&line(server, client, time));
        let session = session.map(SessionId);
        let server = self.server(server);
        let life = self.life(server);
        self.saw(Event::Accepted { server, life, session, report, newer })
    }

    pub(crate) fn sent(self, from: &str, to: &str, line: &str) -> Self {
        let way = self.way(from, to);
        let connection = self.connection(way);
        self.saw(Event::Sent { way, connection, report: Self::report(line) })
    }

    /// A line is announced instead of sent.
    pub(crate) fn announced(self, from: &str, to: &str, line: &str) -> Self {
        let way = self.way(from, to);
        let connection = self.connection(way);
        let mut have = ControlLine::have();
        assert!(have.push_version(Version::of(Self::report(line).at()), usize::MAX));
        self.saw(Event::Control { way, connection, line: Arc::new(have) })
    }

    pub(crate) fn heard(self, from: &str, to: &str, line: &str, newer: bool) -> Self {
        let way = self.way(from, to);
        let from = Some(Hop { server: way.from, connection: self.connection(way) });
        let (server, life) = (way.to, self.life(way.to));
        self.saw(Event::Heard { server, life, from, report: Self::report(line), newer })
    }

    /// A line that was sent vanishes.
    pub(crate) fn vanished(self, from: &str, to: &str, line: &str) -> Self {
        let way = self.way(from, to);
        let connection = self.connection(way);
        self.saw(Event::Vanished { way, connection, report: Self::report(line) })
    }

    /// A line is sent and read, and is news.
    pub(crate) fn told(self, from: &str, to: &str, line: &str) -> Self {
        self.sent(from, to, line).heard(from, to, line, true)
    }

    pub(crate) fn missed(self, from: &str, to: &str, line: &str) -> Self {
        let way = self.way(from, to);
        let life = self.life(way.from);
        self.saw(Event::Missed { way, life, report: Self::report(line) })
    }

    /// Both ways of a link are cut, and lose their connections.
    pub(crate) fn cut(self, a: &str, b: &str) -> Self {
        [(a, b), (b, a)].into_iter().fold(self, |herd, (from, to)| {
            let way = herd.way(from, to);
            herd.did(WayVerb::Cut.on(way), Hit { connections: 1, ..Hit::default() }).lost(way, 0)
        })
    }

    /// Both ways of a link are healed, and come up.
    pub(crate) fn heal(self, a: &str, b: &str) -> Self {
        [(a, b), (b, a)].into_iter().fold(self, |herd, (from, to)| {
            let way = herd.way(from, to);
            herd.did(WayVerb::Heal.on(way), Hit::default()).up(way)
        })
    }

    /// The connection of a way is lost, and so many lines with it.
    pub(crate) fn lost(self, way: Way, lines_lost: u64) -> Self {
        let connection = self.connection(way);
        self.saw(Event::LinkLost { way, connection, lines_lost })
    }

    /// A way comes up, over another connection than before.
    pub(crate) fn up(mut self, way: Way) -> Self {
        let connection = self.connection(way) + 1;
        self.connections.insert(way, connection);
        self.saw(Event::LinkUp { way, connection })
    }

    pub(crate) fn pause(self, name: &str) -> Self {
        let server = self.server(name);
        let life = self.life(server);
        self.did(ServerVerb::Pause.on(server), Hit::default()).saw(Event::Paused { server, life })
    }

    /// Returns the present life of a server.
    fn life(&self, server: ServerId) -> u32 {
        self.lives[server.index()]
    }

    /// Returns the last connection of a way.
    fn connection(&self, way: Way) -> u32 {
        self.connections.get(&way).copied().unwrap_or(1)
    }

    pub(crate) fn kill(self, name: &str, records: u64) -> Self {
        let server = self.server(name);
        let life = self.life(server);
        let hit = Hit { connections: 4, records_lost: records, ..Hit::default() };
        self.did(ServerVerb::Kill.on(server), hit).saw(Event::Killed { server, life, records })
    }

    pub(crate) fn start(mut self, name: &str) -> Self {
        let server = self.server(name);
        self.lives[server.index()] += 1;
        let life = self.life(server);
        self.did(ServerVerb::Start.on(server), Hit::default()).saw(Event::Started { server, life, port: 0 })
    }

    /// A client sends a line, over a connection of its own, and reads a reply.
    pub(crate) fn asked(mut self, server: &str, command: &str, reply: Option<&str>) -> Self {
        self.sessions += 1;
        let session = self.sessions;
        self.asked_by(session, server, command, reply)
    }

    /// A client sends a line.
    pub(crate) fn says(self, session: u32, server: &str, command: &str) -> Self {
        let bytes = Bytes::from(format!("{command}\n"));
        let send = Action::Send { session: SessionId(session), server: self.server(server), bytes, finish: false };
        self.did(send, Hit::default())
    }

    /// A client reads a reply.
    pub(crate) fn hears(self, session: u32, reply: &str) -> Self {
        self.saw(Event::Replied { session: SessionId(session), reply: Bytes::from(reply.to_owned()) })
    }

    pub(crate) fn asked_by(self, session: u32, server: &str, command: &str, reply: Option<&str>) -> Self {
        let asked = self.says(session, server, command);
        match reply {
            Some(reply) => asked.hears(session, reply),
            None => asked,
        }
    }

    /// A client asks for another one and is answered with a line.
    pub(crate) fn read(self, session: u32, server: &str, client: &str, line: &str) -> Self {
        let reply = format!("{line}\n{{\"html_attributions\":[],\"results\":[],\"status\":\"ZERO_RESULTS\"}}\n\n");
        self.asked_by(session, server, &format!("WHATSAT {client} 10 5"), Some(&reply))
    }

    pub(crate) fn check(mut self, assertion: Assertion) -> Self {
        self.origin.checks.push(Check::new(assertion, When::End, None, &self.origin.servers));
        self
    }

    pub(crate) fn check_here(mut self, assertion: Assertion) -> Self {
        self.origin.checks.push(Check::new(assertion, When::Here, self.step, &self.origin.servers));
        self
    }

    pub(crate) fn violated(mut self, assertion: Assertion) -> Self {
        self.origin.checks.push(Check::new(assertion, When::End, None, &self.origin.servers).inverted());
        self
    }

    pub(crate) fn threshold(mut self, name: &str, bound: &str) -> Self {
        self.origin.thresholds.push(crate::claim::limit::parse(name, bound).unwrap());
        self
    }

    pub(crate) fn history(self) -> History {
        History { origin: Arc::new(self.origin), ..self.history }
    }

    /// Judges the history, and tests that all causes point into it.
    pub(crate) fn judge(self) -> Judgement {
        let history = self.history();
        let judgement = judge(&history);
        assert_causes_point_into(&history, &judgement);
        judgement
    }

    /// What becomes of one assertion at the end.
    pub(crate) fn verdict(self, assertion: Assertion) -> Verdict {
        self.check(assertion).judge().findings[0].verdict
    }

    /// Returns the headline of the first finding.
    pub(crate) fn headline(self, assertion: Assertion) -> String {
        let finding = self.check(assertion).judge().findings.remove(0);
        finding.explanation.map_or_else(|| format!("{:?}", finding.verdict), |why| why.headline)
    }

    /// Expected, actual and because of the first finding.
    pub(crate) fn explanation(self, assertion: Assertion) -> String {
        let finding = self.check(assertion).judge().findings.remove(0);
        let Some(why) = finding.explanation else { return format!("{:?}", finding.verdict) };
        let because = why.because.iter().map(|cause| format!("\n- {}", cause.text)).collect::<String>();
        format!("expected: {}\nactual: {}{because}", why.expected, why.actual)
    }
}

/// Tests that every headline and every cause of a judgement is well formed and points into the judged history.
pub(crate) fn assert_causes_point_into(history: &History, judgement: &Judgement) {
    let explanations = judgement.findings.iter().filter_map(|finding| finding.explanation.as_deref());
    for Explanation { headline, because, .. } in explanations {
        let is_sentence = |text: &str| !text.is_empty() && !text.ends_with(['.', ' ', ':']);
        assert!(is_sentence(headline) && headline.chars().count() <= 200, "{headline}");
        for cause in because {
            assert_points_into(history, cause);
            assert!(is_sentence(&cause.text) && is_sentence(&cause.title), "{cause:?}");
            assert!(cause.title.chars().count() < 60, "{cause:?}");
        }
    }
}

fn assert_points_into(history: &History, cause: &Cause) {
    assert!(!cause.entries.is_empty() || (cause.of.is_none() && cause.span.is_none()), "{cause:?}");
    assert!(cause.entries.is_sorted_by(|one, other| one < other), "{cause:?}");
    assert!(cause.entries.iter().all(|&entry| (entry as usize) < history.entries.len()), "{cause:?}");
    let is_server = |name: &Arc<str>| history.origin.servers.contains(name);
    assert!(cause.servers.iter().all(is_server), "{cause:?}");
    let way = |way: &Way<Arc<str>>| {
        let mut server = |name: Arc<str>| history.origin.server(&name).ok_or(());
        way.clone().map(&mut server).expect("a way joins servers")
    };
    let joined = |way: Way| {
        history.origin.links.iter().any(|link| [[way.from, way.to], [way.to, way.from]].contains(&link.ends))
    };
    assert!(cause.ways.iter().map(way).all(joined), "{cause:?}");
    let ended = (history.ended() - history.started).as_nanos();
    let ends = cause.span.map(|span| [span.from, span.until.unwrap_or(span.from)]);
    assert!(ends.is_none_or(|[from, until]| from <= until && u128::from(until) <= ended), "{cause:?}");
}
