//! A history with everything the checks ask it for worked out once: versions as numbers, who held what, who said what.
//!
//! Not here: what any of it is worth.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::evidence::{Evidence, Inferred, Reading, Shown, inferred};
use super::sessions::{Asked, first_line, reply};
use super::state::{Held, State};
use crate::act::SessionId;
use crate::config::{ReplyMode, ServerId, Way};
use crate::history::{Entry, Event, Fact, History};
use crate::time::Timestamp;
use crate::wire::{AtLine, Command, Report, parse};
use crate::words::{nanoseconds, short};

/// A version of a client's record that occurs in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VersionId(u32);

impl VersionId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A client that a report of the run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(super) u32);

impl ClientId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'h> {
    pub(crate) report: &'h Arc<Report>,
    pub(crate) client: ClientId,
    /// Its place among the versions of its client, oldest first, counted from 1; 0 stands for "nothing held".
    pub(crate) rank: u32,
}

/// A write that a server accepted, or acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    /// Where it was accepted or acknowledged.
    pub(crate) entry: usize,
    pub(crate) server: ServerId,
    pub(crate) session: Option<SessionId>,
    pub(crate) version: VersionId,
    /// Whether it was newer than what its server held.
    pub(crate) newer: bool,
}

/// A server's record of a client became another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) entry: usize,
    pub(crate) server: ServerId,
    pub(crate) client: ClientId,
    /// Rank of what it held before; 0: nothing.
    pub(crate) before: u32,
    /// Rank of what it holds now; 0: nothing.
    pub(crate) after: u32,
}

/// A `WHATSAT` that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    /// Where it was sent.
    pub(crate) sent: usize,
    /// Where its reply was read.
    pub(crate) replied: usize,
    pub(crate) session: SessionId,
    pub(crate) server: ServerId,
    /// What it was answered.
    pub(crate) version: VersionId,
}

/// See the module.
pub(crate) struct Run<'h> {
    pub(crate) history: &'h History,
    pub(crate) versions: Vec<Version<'h>>,
    /// For every client its versions, oldest first: rank minus one is the place.
    by_rank: Vec<Vec<VersionId>>,
    /// For every entry the version it is about.
    subjects: Vec<Option<VersionId>>,
    /// Accepted writes. What a claim counts from which list is told at [`Self::acknowledged`].
    pub(crate) writes: Vec<Write>,
    /// Acknowledged writes, where replies wait.
    settled: Vec<Write>,
    pub(crate) changes: Vec<Change>,
    pub(crate) asked: &'h [Asked],
    /// Replies that no command had asked for, by place in the history.
    pub(crate) unasked: &'h [usize],
    pub(crate) reads: Vec<Read>,
    /// Entries that change which servers run or which ways are whole.
    pub(crate) turns: Vec<usize>,
    /// Both ways of every link, in order.
    pub(crate) ways: Vec<Way>,
    talkers: &'h BTreeMap<SessionId, Arc<str>>,
    /// What servers that are seen from outside showed.
    pub(super) shown: &'h [Shown],
    /// For each of them the version; `None` for "knows nothing".
    shown_versions: Vec<Option<VersionId>>,
    end: OnceCell<State>,
}

impl<'h> Run<'h> {
    /// Works a history out. Where servers are seen from outside, what they did is taken to have happened as `reading` says.
    pub(crate) fn of(history: &'h History, evidence: &'h Evidence, reading: Reading) -> Self {
        let mut index = Index::default();
        let version = |shown: &'h Shown| shown.report.as_ref().map(|report| index.version(report));
        let shown_versions = evidence.shown.iter().map(version).collect();
        let subjects =
            history.entries.iter().map(|entry| entry.fact.report().map(|report| index.version(report))).collect();
        let by_rank = index.rank();
        let mut run = Self {
            history,
            versions: index.versions,
            by_rank,
            subjects,
            writes: Vec::new(),
            settled: Vec::new(),
            changes: Vec::new(),
            asked: &evidence.sessions.asked,
            unasked: &evidence.sessions.unasked,
            reads: Vec::new(),
            turns: turns(history),
            ways: ways(history),
            talkers: &evidence.sessions.talkers,
            shown: &evidence.shown,
            shown_versions,
            end: OnceCell::new(),
        };
        let inferred = inferred(&run, reading);
        run.follow_records(&inferred);
        run.reads = run.asked.iter().filter_map(|asked| run.read(asked)).collect();
        run
    }

    /// Returns the acknowledged writes, each at its acknowledgement. Where replies come at once, a write is acknowledged as soon
    /// as it is accepted.
    ///
    /// | counts from | claims and numbers |
    /// |---|---|
    /// | acceptance | no_invention, no_masked, converged and healed_within (the last disturbance), cost, stale_area, updates |
    /// | acknowledgement | ack_local, no_lost, lost, converged in mode `acknowledged`, propagated, staleness, read_your_writes, writes and what became of them |
    pub(crate) fn acknowledged(&self) -> &[Write] {
        if self.history.origin.reply == ReplyMode::AtOnce { &self.writes } else { &self.settled }
    }

    pub(crate) fn entry(&self, index: usize) -> &'h Entry {
        &self.history.entries[index]
    }

    pub(crate) fn len(&self) -> usize {
        self.history.entries.len()
    }

    /// The time at which the part of the run before entry `until` ends.
    pub(crate) fn end_of(&self, until: usize) -> Timestamp {
        self.history.entries.get(until).map_or(self.history.ended(), |entry| entry.at)
    }

    pub(crate) fn servers(&self) -> impl DoubleEndedIterator<Item = ServerId> + use<> {
        (0..self.history.origin.servers.len() as u32).map(ServerId)
    }

    pub(crate) fn clients(&self) -> impl ExactSizeIterator<Item = ClientId> + use<> {
        (0..self.by_rank.len() as u32).map(ClientId)
    }

    /// The herd after the last entry.
    pub(super) fn end_state(&self) -> &State {
        self.end.get_or_init(|| State::worked_out(self, self.len()))
    }

    pub(crate) fn name(&self, server: ServerId) -> &'h str {
        self.history.origin.name(server)
    }

    pub(crate) fn version(&self, id: VersionId) -> Version<'h> {
        self.versions[id.0 as usize]
    }

    pub(crate) fn rank(&self, id: VersionId) -> u32 {
        self.version(id).rank
    }

    /// The version an entry is about.
    pub(crate) fn subject(&self, entry: usize) -> Option<VersionId> {
        self.subjects[entry]
    }

    /// The version of a client with this rank, which is not 0.
    pub(crate) fn ranked(&self, client: ClientId, rank: u32) -> Version<'h> {
        self.version(self.id_of(client, rank))
    }

    /// Returns the number of a client's version with this rank, which is not 0.
    pub(super) fn id_of(&self, client: ClientId, rank: u32) -> VersionId {
        self.by_rank[client.index()][rank as usize - 1]
    }

    pub(crate) fn client(&self, name: &str) -> Option<ClientId> {
        self.clients().find(|&client| self.client_name(client) == name)
    }

    pub(crate) fn client_name(&self, client: ClientId) -> &'h str {
        self.ranked(client, 1).report.client()
    }

    /// How many versions a client has.
    pub(crate) fn newest(&self, client: ClientId) -> u32 {
        self.by_rank[client.index()].len() as u32
    }

    /// `kiwi.cs.ucla.edu's 1621464827`.
    pub(crate) fn tell(&self, version: Version<'_>) -> String {
        format!("{}'s {}", version.report.client(), version.report.at().stated_time())
    }

    /// Returns the last change of a server's record of a client before entry `until`.
    pub(crate) fn last_change(&self, server: ServerId, client: ClientId, until: usize) -> Option<&Change> {
        let changes = self.changes.iter().take_while(|change| change.entry < until);
        changes.filter(|change| change.server == server && change.client == client).last()
    }

    /// The time of an entry in words, counted from the run's beginning.
    pub(crate) fn when(&self, entry: usize) -> String {
        self.clock(self.end_of(entry))
    }

    /// A time in words, counted from the run's beginning.
    pub(crate) fn clock(&self, at: Timestamp) -> String {
        short(at - self.history.started)
    }

    /// Nanoseconds from the run's beginning to a time.
    pub(crate) fn since_start(&self, at: Timestamp) -> u64 {
        nanoseconds(at - self.history.started)
    }

    /// The place of a way in [`Self::ways`].
    pub(crate) fn way(&self, way: Way) -> Option<usize> {
        self.ways.binary_search(&way).ok()
    }

    /// Who talks over a connection, when connections of one talker are to be told from others.
    pub(crate) fn talker(&self, session: SessionId) -> Result<&str, SessionId> {
        self.talkers.get(&session).map(|talker| &**talker).ok_or(session)
    }

    /// Follows what servers told of themselves, and what can be inferred of the others, in the order of entries.
    fn follow_records(&mut self, inferred: &[Inferred]) {
        let mut held = Held::nothing(self.history.origin.servers.len(), self.by_rank.len());
        let mut inferred = inferred.iter().peekable();
        for (index, entry) in self.history.entries.iter().enumerate() {
            while let Some(deed) = inferred.next_if(|deed| deed.entry <= index) {
                self.infer(&mut held, deed);
            }
            let Fact::Saw(event) = &entry.fact else { continue };
            match event {
                Event::Accepted { server, session, newer, .. } => {
                    let version = self.subjects[index].expect("an acceptance is about a report");
                    let write = Write { entry: index, server: *server, session: *session, version, newer: *newer };
                    self.writes.push(write);
                    if *newer {
                        self.hold(&mut held, index, *server, version);
                    }
                }
                Event::Acknowledged { server, session, .. } => {
                    let version = self.subjects[index].expect("an acknowledgement is about a report");
                    let is_it =
                        |write: &&Write| (write.server, write.session, write.version) == (*server, *session, version);
                    // Not in a part of a history that begins in between.
                    let newer = self.writes.iter().rev().find(is_it).is_some_and(|write| write.newer);
                    self.settled.push(Write { entry: index, server: *server, session: *session, version, newer });
                }
                Event::Heard { server, newer: true, .. } => {
                    let version = self.subjects[index].expect("what is heard is a report");
                    self.hold(&mut held, index, *server, version);
                }
                Event::Killed { server, .. } | Event::Stopped { server, .. } | Event::Crashed { server, .. } => {
                    let forgotten = held.forget(*server);
                    let change = |(client, before)| Change { entry: index, server: *server, client, before, after: 0 };
                    self.changes.extend(forgotten.map(change));
                }
                _ => {}
            }
        }
    }

    /// Takes over what a server that is seen from outside did.
    fn infer(&mut self, held: &mut Held, deed: &Inferred) {
        let Inferred { entry, server, client, held: version, write } = *deed;
        let rank = version.map_or(0, |version| self.rank(version));
        let before = held.rank(server, client);
        if let (Some(session), Some(version)) = (write, version) {
            let write = Write { entry, server, session: Some(session), version, newer: rank > before };
            self.writes.push(write);
            self.settled.push(write);
            if rank <= before {
                return;
            }
        }
        held.set(server, client, rank);
        self.changes.push(Change { entry, server, client, before, after: rank });
    }

    /// The version that an answer shows, and its client's number; `None` if the run knows no version of the client.
    pub(super) fn shown_version(&self, place: usize) -> Option<(ClientId, Option<VersionId>)> {
        let version = self.shown_versions[place];
        let client = match version {
            Some(version) => self.version(version).client,
            None => self.client(&self.shown[place].client)?,
        };
        Some((client, version))
    }

    fn hold(&mut self, held: &mut Held, entry: usize, server: ServerId, version: VersionId) {
        let Version { client, rank, .. } = self.version(version);
        let before = held.set(server, client, rank);
        self.changes.push(Change { entry, server, client, before, after: rank });
    }

    fn read(&self, asked: &Asked) -> Option<Read> {
        let replied = asked.reply.filter(|_| asked.is_read)?;
        let Command::Whatsat { client, .. } = parse(&asked.line) else { return None };
        let line = first_line(self.reply(replied)?);
        let Command::At(line) = parse(line) else { return None };
        let version = self.find(line).filter(|_| line.client() == client)?;
        Some(Read { sent: asked.entry, replied, session: asked.session, server: asked.server, version })
    }

    /// The bytes of a reply.
    pub(crate) fn reply(&self, entry: usize) -> Option<&'h [u8]> {
        reply(self.history, entry)
    }

    /// The version that a line says, if it occurs in the run.
    fn find(&self, line: AtLine<'_>) -> Option<VersionId> {
        let client = self.client(line.client())?;
        let versions = &self.by_rank[client.index()];
        let place = versions.binary_search_by(|&id| self.version(id).report.at().version_cmp(line)).ok()?;
        Some(versions[place])
    }
}

fn turns(history: &History) -> Vec<usize> {
    let entries = history.entries.iter().enumerate();
    entries.filter(|(_, entry)| State::is_turn(&entry.fact)).map(|(index, _)| index).collect()
}

fn ways(history: &History) -> Vec<Way> {
    let both = |[from, to]: [ServerId; 2]| [Way { from, to }, Way { from: to, to: from }];
    let mut ways: Vec<_> = history.origin.links.iter().flat_map(|link| both(link.ends)).collect();
    ways.sort_unstable();
    ways
}

/// Numbers for reports and clients, while they are being collected.
#[derive(Default)]
struct Index<'h> {
    versions: Vec<Version<'h>>,
    /// Places in `versions`, by where the report lies in memory: drivers share reports, so this mostly answers.
    by_place: HashTable<(usize, u32)>,
    /// Places in `versions`, by the bytes of the line.
    by_line: HashTable<u32>,
    /// A place in `versions` for every client.
    clients: Vec<u32>,
    by_client: HashTable<u32>,
    hashes: DefaultHashBuilder,
}

impl<'h> Index<'h> {
    fn version(&mut self, report: &'h Arc<Report>) -> VersionId {
        let place = Arc::as_ptr(report) as usize;
        let hash = self.hash(&place);
        if let Some(&(_, id)) = self.by_place.find(hash, |&(other, _)| other == place) {
            return VersionId(id);
        }
        let id = self.version_of_line(report);
        let hashes = &self.hashes;
        self.by_place.insert_unique(hash, (place, id), |(place, _)| hashes.hash_one(place));
        VersionId(id)
    }

    fn version_of_line(&mut self, report: &'h Arc<Report>) -> u32 {
        let hash = self.hash(report.line());
        let versions = &self.versions;
        if let Some(&id) = self.by_line.find(hash, |&id| versions[id as usize].report.line() == report.line()) {
            return id;
        }
        let id = self.versions.len() as u32;
        let client = self.client(report, id);
        self.versions.push(Version { report, client, rank: 0 });
        let (versions, hashes) = (&self.versions, &self.hashes);
        self.by_line.insert_unique(hash, id, |&id| hashes.hash_one(versions[id as usize].report.line()));
        id
    }

    fn client(&mut self, report: &'h Arc<Report>, version: u32) -> ClientId {
        let hash = self.hash(report.client());
        let (versions, clients, hashes) = (&self.versions, &self.clients, &self.hashes);
        let name = |&client: &u32| versions.get(clients[client as usize] as usize).map_or("", |v| v.report.client());
        if let Some(&client) = self.by_client.find(hash, |client| name(client) == report.client()) {
            return ClientId(client);
        }
        let client = clients.len() as u32;
        self.by_client.insert_unique(hash, client, |client| hashes.hash_one(name(client)));
        self.clients.push(version);
        ClientId(client)
    }

    /// Ranks the versions of every client.
    fn rank(&mut self) -> Vec<Vec<VersionId>> {
        let mut by_rank = vec![Vec::new(); self.clients.len()];
        for (id, version) in (0..).map(VersionId).zip(&self.versions) {
            by_rank[version.client.index()].push(id);
        }
        for ids in &mut by_rank {
            let at = |id: VersionId| self.versions[id.0 as usize].report.at();
            ids.sort_unstable_by(|&a, &b| at(a).version_cmp(at(b)));
            for (rank, id) in (1..).zip(ids.iter()) {
                self.versions[id.0 as usize].rank = rank;
            }
        }
        by_rank
    }

    fn hash(&self, of: &(impl Hash + ?Sized)) -> u64 {
        self.hashes.hash_one(of)
    }
}
