//! A tree for each origin, cut out of flooding: Plumtree (Leitão, Pereira and Rodrigues, "Epidemic broadcast trees", 2007)
//! with one tree for each server that clients talk to.
//!
//! The first update of an origin floods. A server that hears it once more prunes the link it came by: from then on, updates
//! of this origin are only announced there ([`Control::Have`]). What remains is a tree, and an update costs N-1 lines. A server
//! that lacks what was announced to it waits a little, because it mostly comes by another link. Then the server asks for it
//! ([`Control::Want`]), and with that the link is part of the tree again.
//!
//! For every link that is open, and every version that its writer holds, one of these is true, so that two servers with an open
//! link end with the same records:
//! * The version came by this link, or it goes over it as a line: fresh, replayed, or asked for.
//! * It is announced, and the reader remembers the announcement until it holds that version or a newer one, or until the
//!   connection that brought it ends. After that the link is repaired ([`crate::node::repair`]).
//!
//! A version that comes once more because it is replayed prunes nothing: that says nothing about who was faster.
//!
//! Bounds:
//! * For each link, a bit for each server of the herd, and one for each record. Only servers of the herd are origins that are
//!   pruned. An update that names another origin floods.
//! * Announcements of no more clients than the server has room for, known and unknown ones, with one for each link. Others are
//!   ignored, as updates of clients are for which there is no room.
//! * Announcements, requests and prunings of a link that wait are sets. Lines are made of them when they leave.
//!
//! Where replies wait for the neighbours, a server sends what its own clients say whole to all of them. Where they wait for the
//! whole herd, updates flood.
//!
//! Per-message links, and neighbours that have not proved that they know control lines ([`super::greeting`]), are flooded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Around;
use super::greeting::Greeting;
use crate::config::{LinkId, LinkMode, ReplyMode};
use crate::node::bit_set::BitSet;
use crate::node::links::Link;
use crate::node::records::Records;
use crate::node::timers::Timers;
use crate::node::{Handshake, Output, Record, RecordId, Rules, Source};
use crate::time::Timestamp;
use crate::wire::{AtLine, Control, ControlLine, PosixTime, Version};

/// How long announcements gather before they are written as one line.
const BATCH: Duration = Duration::from_millis(5);

/// How long a server waits for what was announced before it asks a neighbour for it, and then before it asks the next one.
const GRAFT: Duration = Duration::from_millis(50);

/// The trees of one node.
#[derive(Debug, Clone)]
pub(in crate::node) struct Tree {
    /// The node's name, where it has to prove who it is.
    name: Option<Arc<str>>,
    /// By link.
    branches: Box<[Branch]>,
    /// By client.
    missing: BTreeMap<Arc<str>, Missing>,
    /// Clients in `missing` that the node does not know.
    unknown: usize,
    batches: Timers<LinkId>,
    grafts: Timers<Arc<str>>,
}

/// What a node remembers about one link.
#[derive(Debug, Clone, Default)]
struct Branch {
    /// The neighbour understands control lines if it has proved itself, or need not.
    native: bool,
    /// What it has to prove and has proved. `None` if the driver knows the neighbour.
    greeting: Option<Box<Greeting>>,
    /// Records that have not been updated since the neighbour's connection was seen: it may bring them as a replay.
    replayable: BitSet,
    /// Origins whose updates are announced on this link instead of sent.
    lazy: BitSet,
    /// When the announcements that gather are due. `None` if those in `have` are due already.
    batch: Option<Timestamp>,
    /// Records that are to be announced.
    have: BTreeSet<RecordId>,
    /// Clients that the neighbour is to be asked about.
    want: BTreeSet<Arc<str>>,
    /// Origins that the neighbour is to announce from now on.
    prune: BitSet,
    /// Records that the neighbour asked for, and that wait in the outbox.
    asked_for: BTreeSet<RecordId>,
}

/// What neighbours announced of one client, and the node lacks. Never empty.
#[derive(Debug, Clone)]
struct Missing {
    /// In the order in which they came, one for each link.
    announced: Vec<Announced>,
    /// When the next neighbour is asked. `None` if no neighbour that can be asked is left.
    due: Option<Timestamp>,
    /// The node knows no record of the client.
    unknown: bool,
}

/// One announcement.
#[derive(Debug, Clone)]
struct Announced {
    link: LinkId,
    time: PosixTime,
    /// Index into [`Rules::servers`].
    origin: usize,
    hash: u64,
    /// The neighbour was asked over the connection that is open, or over the last one.
    asked: bool,
}

impl Tree {
    pub(super) fn new(links: &[LinkMode], handshake: Option<Handshake>) -> Self {
        let branch = |&mode| Branch { native: mode == LinkMode::Persistent, ..Branch::default() };
        let mut branches: Box<[Branch]> = links.iter().map(branch).collect();
        let name = handshake.as_ref().map(|handshake| handshake.name.clone());
        let peers = handshake.into_iter().flat_map(|handshake| handshake.peers);
        for (branch, peer) in branches.iter_mut().zip(peers).filter(|(branch, _)| branch.native) {
            branch.greeting = Some(Box::new(Greeting::new(peer)));
        }
        Self {
            name,
            branches,
            missing: BTreeMap::new(),
            unknown: 0,
            batches: Timers::new(BATCH),
            grafts: Timers::new(GRAFT),
        }
    }

    /// Forgets everything but which neighbours are native or have to prove that.
    pub(super) fn forget(&mut self) {
        self.branches.iter_mut().for_each(Branch::lose);
        self.branches.iter_mut().for_each(|branch| branch.replayable.clear());
        self.missing.clear();
        self.unknown = 0;
        (self.batches, self.grafts) = (Timers::new(BATCH), Timers::new(GRAFT));
    }

    /// Returns the earliest time at which [`Self::on_deadline`] does something.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.batches.next().into_iter().chain(self.grafts.next()).min()
    }

    /// Passes on a record that was updated: over a link of the origin's tree as a line, over another as an announcement.
    #[inline(never)]
    pub(super) fn on_new(&mut self, around: &mut Around<'_>, record: RecordId, source: Source) {
        let before = self.deadline();
        let held = around.records.get(record);
        let origin = around.rules.announced_origin(held.report.at());
        let goes_whole = goes_whole(held, around.rules);
        self.settle_stored(around.rules, held.report.at());
        let ids = (0..).map(LinkId);
        for ((id, link), branch) in ids.zip(around.links.iter_mut()).zip(&mut self.branches) {
            branch.replayable.remove(record.index());
            if source == Source::Link(id) {
                if let Some(origin) = origin {
                    branch.lazy.remove(origin);
                }
            } else if !link.is_up() {
                around.outputs.push(Output::Missed(id));
            } else if !goes_whole && origin.is_some_and(|origin| branch.lazy.contains(origin)) {
                branch.have.insert(record);
                branch.batch.get_or_insert_with(|| self.batches.arm(around.now, id));
            } else {
                if link.outbox.is_empty() {
                    around.outputs.push(Output::Ready(id));
                }
                link.outbox.push(record);
            }
        }
        self.finish(before, around);
    }

    /// Learns from a line that is not newer than the record.
    pub(super) fn on_known(&mut self, around: &mut Around<'_>, record: RecordId, line: AtLine<'_>, link: LinkId) {
        let before = self.deadline();
        let (held, branch) = (around.records.get(record), &mut self.branches[link.index()]);
        let is_fresh = !branch.replayable.contains(record.index());
        // What comes twice by one link says nothing about the others.
        let came_by_another = held.source != Source::Link(link);
        let can_prune = branch.can_ask(&around.links[link.index()]);
        if can_prune
            && is_fresh
            && came_by_another
            && held.report.at().version_cmp(line).is_eq()
            && let Some(origin) = around.rules.announced_origin(line)
        {
            branch.lazy.insert(origin);
            branch.prune.insert(origin);
            around.ready(link);
        }
        self.settle(around.rules, line, |announced| announced.link == link);
        self.finish(before, around);
    }

    /// Heeds a control line. Returns `false` if the neighbour is not known to be one that sends any.
    pub(super) fn on_control(&mut self, around: &mut Around<'_>, control: Control<'_>, link: LinkId) -> bool {
        let before = self.deadline();
        let branch = &mut self.branches[link.index()];
        if !branch.native {
            return false;
        }
        match control {
            Control::Have(versions) => versions.iter().for_each(|version| self.on_have(around, version, link)),
            Control::Want(clients) => clients.iter().for_each(|client| self.on_want(around, client, link)),
            Control::Prune(origins) => {
                // What is announced has to be heeded, and the request for it too.
                let can_announce = branch.can_ask(&around.links[link.index()]);
                for origin in origins.iter().filter(|_| can_announce).filter_map(|name| around.rules.server(name)) {
                    branch.lazy.insert(origin);
                }
            }
            Control::Hello { .. } | Control::Proof { .. } | Control::Welcome { .. } => return false,
            Control::Acknowledge { .. } | Control::Took(_) => return false,
        }
        self.finish(before, around);
        true
    }

    /// Remembers that a neighbour holds a version, if the node lacks it.
    fn on_have(&mut self, around: &Around<'_>, version: Version<'_>, link: LinkId) {
        let Some(origin) = around.rules.server(version.origin) else { return };
        let held = around.records.find(version.client);
        if held.is_some_and(|held| version.is_covered_by(around.records.get(held).report.at())) {
            return;
        }
        let client: Arc<str> = match self.missing.get_key_value(version.client) {
            Some((client, _)) => client.clone(),
            None if held.is_none() && around.records.len() + self.unknown >= around.rules.max_records => return,
            None => {
                self.unknown += usize::from(held.is_none());
                version.client.into()
            }
        };
        let new = || Missing { announced: Vec::new(), due: None, unknown: held.is_none() };
        let missing = self.missing.entry(client.clone()).or_insert_with(new);
        let announced = Announced { link, time: version.time, origin, hash: version.hash, asked: false };
        match missing.announced.iter_mut().find(|announced| announced.link == link) {
            Some(earlier) => *earlier = announced,
            None => missing.announced.push(announced),
        }
        if self.branches[link.index()].can_ask(&around.links[link.index()]) {
            missing.due.get_or_insert_with(|| self.grafts.arm(around.now, client));
        }
    }

    /// Sends a neighbour what the node holds of a client, and further updates of that origin too.
    fn on_want(&mut self, around: &mut Around<'_>, client: &str, link: LinkId) {
        let (Some(record), state) = (around.records.find(client), &mut around.links[link.index()]) else { return };
        let branch = &mut self.branches[link.index()];
        if let Some(origin) = around.rules.announced_origin(around.records.get(record).report.at()) {
            branch.lazy.remove(origin);
        }
        if state.is_up() {
            branch.asked_for.insert(record);
            state.outbox.push(record);
            around.ready(link);
        }
    }

    /// The node's own connection to a neighbour is open: the neighbour may have forgotten everything, so every origin's updates
    /// go there, and what it announced is asked for anew.
    pub(super) fn on_opened(&mut self, around: &mut Around<'_>, link: LinkId) {
        let branch = &mut self.branches[link.index()];
        branch.lazy.clear();
        if let Some(greeting) = &mut branch.greeting {
            greeting.open();
            around.ready(link);
        }
        self.ask_anew(around, link);
    }

    /// A neighbour that could not be asked perhaps can be now: what it announced is asked for anew.
    fn ask_anew(&mut self, around: &mut Around<'_>, link: LinkId) {
        let before = self.deadline();
        if self.branches[link.index()].can_ask(&around.links[link.index()]) {
            for (client, missing) in &mut self.missing {
                if let Some(announced) = missing.announced.iter_mut().find(|announced| announced.link == link) {
                    announced.asked = false;
                    missing.due.get_or_insert_with(|| self.grafts.arm(around.now, client.clone()));
                }
            }
        }
        self.finish(before, around);
    }

    /// A connection claims to be a neighbour's. The node proves itself to the server that it dials under that name. Returns
    /// `false` if that is not a neighbour that has to prove itself.
    pub(super) fn on_hello(&mut self, around: &mut Around<'_>, name: &str, secret: u64) -> bool {
        let greetings = (0..).map(LinkId).zip(self.branches.iter_mut().map(|branch| &mut branch.greeting));
        let mut greetings = greetings.filter_map(|(link, greeting)| Some((link, greeting.as_mut()?)));
        let Some((link, greeting)) = greetings.find(|(_, greeting)| *greeting.name == *name) else { return false };
        greeting.claim(secret);
        around.ready(link);
        true
    }

    /// A connection repeats a secret. Returns the neighbour to which the secret was sent: the connection is that neighbour's.
    pub(super) fn on_proof(&mut self, around: &mut Around<'_>, secret: u64, own: u64) -> Option<LinkId> {
        let link = self.peer_of(secret)?;
        self.branches[link.index()].greeting.as_mut()?.welcome(own);
        around.ready(link);
        Some(link)
    }

    /// A neighbour heeds control lines on the connection with this secret.
    pub(super) fn on_welcome(&mut self, around: &mut Around<'_>, secret: u64) -> bool {
        let Some(link) = self.peer_of(secret) else { return false };
        if let Some(greeting) = &mut self.branches[link.index()].greeting {
            greeting.welcomed = true;
        }
        self.ask_anew(around, link);
        true
    }

    /// Returns the neighbour to which a secret was sent over the connection that is open.
    fn peer_of(&self, secret: u64) -> Option<LinkId> {
        let greetings = (0..).map(LinkId).zip(self.branches.iter().map(|branch| branch.greeting.as_ref()));
        let mut links = greetings.filter(|(_, greeting)| greeting.is_some_and(|one| one.secret == Some(secret)));
        links.next().map(|(link, _)| link)
    }

    /// The node's own connection to a neighbour is gone, and everything that was to be written to it.
    pub(super) fn on_lost(&mut self, around: &mut Around<'_>, link: LinkId) {
        let before = self.deadline();
        self.branches[link.index()].lose();
        self.finish(before, around);
    }

    /// A neighbour's connection is there: the neighbour may have been restarted.
    pub(super) fn on_seen(&mut self, around: &mut Around<'_>, link: LinkId) {
        let branch = &mut self.branches[link.index()];
        branch.replayable = BitSet::below(around.records.len());
        branch.lazy.clear();
        if branch.greeting.is_some() {
            self.ask_anew(around, link);
        }
    }

    /// A neighbour's last connection is gone. When it opens another, it replays what it holds, so what it announced is void.
    ///
    /// Returns `true` if the link has to be repaired: the neighbour may not be able to ask for what was announced, until it has
    /// proved itself on another connection.
    pub(super) fn on_gone(&mut self, around: &mut Around<'_>, link: LinkId) -> bool {
        let before = self.deadline();
        let branch = &mut self.branches[link.index()];
        let has_greeting = branch.greeting.is_some();
        if has_greeting {
            branch.lazy.clear();
        }
        for missing in self.missing.values_mut() {
            missing.announced.retain(|announced| announced.link != link);
        }
        let unknown = &mut self.unknown;
        self.missing.retain(|_, missing| {
            *unknown -= usize::from(missing.announced.is_empty() && missing.unknown);
            !missing.announced.is_empty()
        });
        self.finish(before, around);
        has_greeting && around.links[link.index()].is_up()
    }

    /// Writes announcements that have gathered, and asks for what has not come.
    pub(super) fn on_deadline(&mut self, around: &mut Around<'_>) {
        let before = self.deadline();
        while let Some((due, link)) = self.batches.pop_due(around.now) {
            let branch = &mut self.branches[link.index()];
            if branch.batch == Some(due) {
                branch.batch = None;
                around.ready(link);
            }
        }
        while let Some((due, client)) = self.grafts.pop_due(around.now) {
            if self.missing.get(&client).is_some_and(|missing| missing.due == Some(due)) {
                self.graft(around, client);
            }
        }
        self.finish(before, around);
    }

    /// Asks the first neighbour that announced a client's record, can be asked, and was not.
    fn graft(&mut self, around: &mut Around<'_>, client: Arc<str>) {
        let Some(missing) = self.missing.get_mut(&client) else { return };
        let can_ask = |link: LinkId| self.branches[link.index()].can_ask(&around.links[link.index()]);
        let mut left = missing.announced.iter_mut().filter(|announced| !announced.asked && can_ask(announced.link));
        let first = left.next();
        let is_last = left.next().is_none();
        missing.due = None;
        let Some(Announced { link, origin, asked, .. }) = first else { return };
        *asked = true;
        let branch = &mut self.branches[link.index()];
        branch.lazy.remove(*origin);
        branch.want.insert(client.clone());
        around.outputs.push(Output::Ready(*link));
        if !is_last {
            missing.due = Some(self.grafts.arm(around.now, client));
        }
    }

    /// Forgets announcements that a stored line makes needless.
    fn settle_stored(&mut self, rules: &Rules, line: AtLine<'_>) {
        if self.missing.is_empty() {
            return;
        }
        if let Some(missing) = self.missing.get_mut(line.client()) {
            self.unknown -= usize::from(std::mem::take(&mut missing.unknown));
        }
        self.settle(rules, line, |_| true);
    }

    /// Forgets announcements that `concerns` selects and that a line makes needless.
    fn settle(&mut self, rules: &Rules, line: AtLine<'_>, concerns: impl Fn(&Announced) -> bool) {
        let Some(missing) = self.missing.get_mut(line.client()) else { return };
        missing.announced.retain(|announced| !concerns(announced) || !announced.is_covered_by(rules, line));
        if missing.announced.is_empty() {
            let gone = self.missing.remove(line.client());
            self.unknown -= usize::from(gone.is_some_and(|missing| missing.unknown));
        }
    }

    /// Tells the driver if the deadline has changed.
    fn finish(&mut self, before: Option<Timestamp>, around: &mut Around<'_>) {
        let Self { branches, missing, batches, grafts, .. } = self;
        batches.forget_stale(|due, link| branches[link.index()].batch == Some(due));
        grafts.forget_stale(|due, client| missing.get(client).is_some_and(|missing| missing.due == Some(due)));
        if self.deadline() != before {
            around.outputs.push(Output::Timers);
        }
    }

    /// Returns the number of kinds of control lines that a link owes.
    pub(super) fn owed(&self, link: LinkId) -> usize {
        let branch = &self.branches[link.index()];
        let has_news = branch.batch.is_none() && !branch.have.is_empty();
        let is_greeting = branch.greeting.as_ref().is_some_and(|greeting| greeting.is_owing());
        let kinds = [is_greeting, !branch.prune.is_empty(), !branch.want.is_empty(), has_news];
        kinds.into_iter().filter(|is_owed| *is_owed).count()
    }

    /// Takes the next control line that a link owes.
    pub(super) fn next_control(&mut self, link: LinkId, records: &Records, rules: &Rules) -> Option<ControlLine> {
        let branch = &mut self.branches[link.index()];
        let greeting = self.name.as_ref().and_then(|name| branch.greeting.as_mut()?.next_line(name));
        let line = greeting.or_else(|| branch.next_prune(rules)).or_else(|| branch.next_want(rules));
        line.or_else(|| branch.next_have(link, records, rules))
    }

    /// Decides how a fresh record leaves. Returns `true` if it is announced, and keeps it for the next announcement then.
    pub(super) fn announces(&mut self, id: RecordId, record: &Record, link: LinkId, rules: &Rules) -> bool {
        let branch = &mut self.branches[link.index()];
        let is_asked_for = branch.asked_for.remove(&id);
        let origin = || rules.announced_origin(record.report.at());
        let is_lazy = || !branch.lazy.is_empty() && origin().is_some_and(|origin| branch.lazy.contains(origin));
        let announces = !is_asked_for && !goes_whole(record, rules) && is_lazy();
        if announces {
            branch.have.insert(id);
        } else {
            branch.have.remove(&id);
        }
        announces
    }
}

/// Returns `true` if all neighbours are sent a record itself. Where replies wait for the neighbours, those find there what a
/// client said before the client has its reply. Where replies wait for the whole herd, updates flood: who only announces an update
/// cannot know when it is everywhere.
fn goes_whole(record: &Record, rules: &Rules) -> bool {
    match rules.reply {
        ReplyMode::AtOnce => false,
        ReplyMode::Neighbours => record.source == Source::Client,
        ReplyMode::Everywhere => true,
    }
}

impl Branch {
    /// Returns `true` if control lines can be sent to the neighbour, and the neighbour's are heeded.
    fn can_ask(&self, link: &Link) -> bool {
        let has_proved = |greeting: &Greeting| greeting.welcomed && link.incoming > 0;
        self.native && link.is_up() && self.greeting.as_deref().is_none_or(has_proved)
    }

    /// The connection to the neighbour is gone.
    fn lose(&mut self) {
        let mut greeting = self.greeting.take();
        if let Some(greeting) = &mut greeting {
            greeting.lose();
        }
        let replayable = std::mem::take(&mut self.replayable);
        *self = Self { native: self.native, greeting, replayable, ..Self::default() };
    }

    fn next_prune(&mut self, rules: &Rules) -> Option<ControlLine> {
        let mut next = Some(self.prune.first()?);
        let mut line = ControlLine::prune();
        // A name that fits into no line is left out: pruning only saves lines.
        while let Some(origin) = next
            && (line.push_name(&rules.servers[origin], rules.max_line) || line.is_bare())
        {
            self.prune.remove(origin);
            next = self.prune.first();
        }
        Some(line).filter(|line| !line.is_bare())
    }

    fn next_want(&mut self, rules: &Rules) -> Option<ControlLine> {
        self.want.first()?;
        let mut line = ControlLine::want();
        while self.want.first().is_some_and(|client| line.push_name(client, rules.max_line)) {
            self.want.pop_first();
        }
        Some(line).filter(|line| !line.is_bare())
    }

    fn next_have(&mut self, link: LinkId, records: &Records, rules: &Rules) -> Option<ControlLine> {
        if self.batch.is_some() || self.have.is_empty() {
            return None;
        }
        let mut line = ControlLine::have();
        while let Some(&id) = self.have.first() {
            let record = records.get(id);
            // The neighbour itself may have sent what is held by now.
            let is_news = record.source != Source::Link(link);
            if is_news && !line.push_version(Version::of(record.report.at()), rules.max_line) {
                break;
            }
            self.have.pop_first();
        }
        Some(line).filter(|line| !line.is_bare())
    }
}

impl Announced {
    fn is_covered_by(&self, rules: &Rules, line: AtLine<'_>) -> bool {
        let origin = &rules.servers[self.origin];
        let version = Version { client: line.client(), time: self.time, origin, hash: self.hash };
        version.is_covered_by(line)
    }
}
