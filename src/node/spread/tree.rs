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
//! Bounds: for each link, a bit for each server of the herd, for only those are origins that are pruned, and one for each record.
//! What says that it is from another origin floods. A server remembers announcements of no more clients than it has room for, known and unknown, with one
//! for each link, and further ones are ignored as it ignores further clients' updates. A link's announcements, requests and
//! prunings that wait are sets, each thing once, and are written as lines only when they leave.
//!
//! Where replies wait for the neighbours, a server sends what its own clients say whole to all of them.
//!
//! Per-message links, and neighbours that have not proved that they know control lines, are flooded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Around;
use crate::config::{LinkId, LinkMode, ReplyMode};
use crate::node::bit_set::BitSet;
use crate::node::records::Records;
use crate::node::timers::Timers;
use crate::node::{Output, Record, RecordId, Rules, Source};
use crate::time::Timestamp;
use crate::wire::{AtLine, Control, ControlLine, PosixTime, Version};

/// How long announcements gather before they are written as one line.
const BATCH: Duration = Duration::from_millis(5);

/// How long a server waits for what was announced before it asks a neighbour for it, and then before it asks the next one.
const GRAFT: Duration = Duration::from_millis(50);

/// The trees of one node.
#[derive(Debug, Clone)]
pub(in crate::node) struct Tree {
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
    /// The neighbour understands control lines.
    native: bool,
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
    pub(super) fn new(links: &[LinkMode]) -> Self {
        let branch = |&mode| Branch { native: mode == LinkMode::Persistent, ..Branch::default() };
        Self {
            branches: links.iter().map(branch).collect(),
            missing: BTreeMap::new(),
            unknown: 0,
            batches: Timers::new(BATCH),
            grafts: Timers::new(GRAFT),
        }
    }

    /// Forgets everything but which neighbours are native.
    pub(super) fn forget(&mut self) {
        for branch in &mut self.branches {
            *branch = Branch { native: branch.native, ..Branch::default() };
        }
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
                origin.inspect(|&origin| branch.lazy.remove(origin));
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
        let can_prune = branch.native && around.links[link.index()].is_up();
        if can_prune
            && is_fresh
            && came_by_another
            && held.report.at().version_cmp(line).is_eq()
            && let Some(origin) = around.rules.announced_origin(line)
        {
            branch.lazy.insert(origin);
            branch.prune.insert(origin);
            around.outputs.push(Output::Ready(link));
        }
        self.settle(around.rules, line, |announced| announced.link == link);
        self.finish(before, around);
    }

    /// Heeds a control line. Returns `false` if the neighbour is not known to be one that sends any.
    pub(super) fn on_control(&mut self, around: &mut Around<'_>, control: Control<'_>, link: LinkId) -> bool {
        if !self.branches[link.index()].native {
            return false;
        }
        let before = self.deadline();
        match control {
            Control::Have(versions) => versions.iter().for_each(|version| self.on_have(around, version, link)),
            Control::Want(clients) => clients.iter().for_each(|client| self.on_want(around, client, link)),
            Control::Prune(origins) => {
                let lazy = &mut self.branches[link.index()].lazy;
                for origin in origins.iter().filter_map(|name| around.rules.server(name)) {
                    lazy.insert(origin);
                }
            }
            Control::Hello { .. } | Control::Proof { .. } => return false,
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
        if around.links[link.index()].is_up() {
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
            around.outputs.push(Output::Ready(link));
        }
    }

    /// The node's own connection to a neighbour is open: the neighbour may have forgotten everything, so every origin's updates
    /// go there, and what it announced is asked for anew.
    pub(super) fn on_opened(&mut self, around: &mut Around<'_>, link: LinkId) {
        let before = self.deadline();
        self.branches[link.index()].lazy.clear();
        for (client, missing) in &mut self.missing {
            if let Some(announced) = missing.announced.iter_mut().find(|announced| announced.link == link) {
                announced.asked = false;
                missing.due.get_or_insert_with(|| self.grafts.arm(around.now, client.clone()));
            }
        }
        self.finish(before, around);
    }

    /// The node's own connection to a neighbour is gone, and everything that was to be written to it.
    pub(super) fn on_lost(&mut self, around: &mut Around<'_>, link: LinkId) {
        let before = self.deadline();
        let branch = &mut self.branches[link.index()];
        let replayable = std::mem::take(&mut branch.replayable);
        *branch = Branch { native: branch.native, replayable, ..Branch::default() };
        self.finish(before, around);
    }

    /// A neighbour's connection is there: the neighbour may have been restarted.
    pub(super) fn on_seen(&mut self, records: &Records, link: LinkId) {
        let branch = &mut self.branches[link.index()];
        branch.replayable = BitSet::below(records.len());
        branch.lazy.clear();
    }

    /// A neighbour's last connection is gone. When it opens another, it replays what it holds, so what it announced is void.
    pub(super) fn on_gone(&mut self, around: &mut Around<'_>, link: LinkId) {
        let before = self.deadline();
        for missing in self.missing.values_mut() {
            missing.announced.retain(|announced| announced.link != link);
        }
        let unknown = &mut self.unknown;
        self.missing.retain(|_, missing| {
            *unknown -= usize::from(missing.announced.is_empty() && missing.unknown);
            !missing.announced.is_empty()
        });
        self.finish(before, around);
    }

    /// Writes announcements that have gathered, and asks for what has not come.
    pub(super) fn on_deadline(&mut self, around: &mut Around<'_>) {
        let before = self.deadline();
        while let Some((due, link)) = self.batches.pop_due(around.now) {
            let branch = &mut self.branches[link.index()];
            if branch.batch == Some(due) {
                branch.batch = None;
                around.outputs.push(Output::Ready(link));
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
        let mut left = missing
            .announced
            .iter_mut()
            .filter(|announced| !announced.asked && around.links[announced.link.index()].is_up());
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
        usize::from(!branch.prune.is_empty()) + usize::from(!branch.want.is_empty()) + usize::from(has_news)
    }

    /// Takes the next control line that a link owes.
    pub(super) fn next_control(&mut self, link: LinkId, records: &Records, rules: &Rules) -> Option<ControlLine> {
        let branch = &mut self.branches[link.index()];
        let line = branch.next_prune(rules).or_else(|| branch.next_want(rules));
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
/// client said before the client has its reply.
fn goes_whole(record: &Record, rules: &Rules) -> bool {
    record.source == Source::Client && rules.reply != ReplyMode::AtOnce
}

impl Branch {
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
