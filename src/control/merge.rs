//! What happens in the processes of one herd, as one history: the entries of all, each behind what caused it.
//!
//! Entries go by their times, which the processes read off one machine's clock. A line that was heard never comes before the
//! same line was sent, whatever the times say: then it takes the time of what came before it.
//!
//! Entries that arrived are passed on once each process has said that it has sent everything up to now ([`Feed`]): what caused
//! them has arrived then. A process that does not answer for [`PATIENCE`] is not waited for until it does.
//!
//! A process that is started anew while its herd is followed is taken in once a neighbour reaches its server.
//!
//! Not here: what a single process remembers ([`super::events`]), and the order of entries ([`super::causal`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::causal::{Queues, trimmed};
use super::client::ClientError;
use super::feed::{self, Told};
use super::herd::{Herd, Process};
use crate::history::{Entry, Event, Fact, History};
use crate::time::Timestamp;

/// How often and how long a process is looked for whose server is reached.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_FOR: Duration = Duration::from_secs(5);

/// How long the others wait for a process that does not say how far it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arrivals that wait to be looked at. While there are so many, the processes' feeds wait.
const ARRIVALS: usize = 1024;

/// The entries of several processes.
#[derive(Debug)]
pub struct Merged {
    /// What the entries are about, without them.
    pub history: History,
    feeds: Vec<Feed>,
    arrivals: mpsc::Receiver<(usize, Told)>,
    /// Gives further feeds a way to `arrivals`.
    sender: mpsc::Sender<(usize, Told)>,
    /// The herd, as it was found last.
    herd: Herd,
    /// Servers that were reached, and whose processes have no feed here.
    reached: Vec<Arc<str>>,
    /// Until when they are looked for.
    look_until: Instant,
    /// Entries in their order, each with the index of its feed. `None`: several of them.
    ready: VecDeque<(Entry, Option<usize>)>,
    queues: Queues,
    follows: bool,
}

/// What one process sends.
#[derive(Debug)]
struct Feed {
    process: Arc<str>,
    /// The one server that the process runs; `None`: all.
    server: Option<String>,
    /// Asks how far the process is.
    writer: WriteHalf<TokioIo<Upgraded>>,
    /// The process has been asked how far it is, and has not said so.
    is_asked: bool,
    /// The process has not said so in time.
    is_late: bool,
    /// The process has gone.
    is_over: bool,
    _reader: AbortOnDropHandle<()>,
}

impl Merged {
    /// Returns what happened lately in the processes of a herd, at most the `last` entries of it.
    ///
    /// # Errors
    ///
    /// Returns an error if a process does not answer.
    pub async fn past(herd: &Herd, last: Option<usize>) -> Result<Self, ClientError> {
        Self::open(herd, last, false).await
    }

    /// Returns what happened lately, as [`Self::past`], and what happens from now on.
    ///
    /// # Errors
    ///
    /// Returns an error if a process does not answer.
    pub async fn follow(herd: &Herd, last: Option<usize>) -> Result<Self, ClientError> {
        Self::open(herd, last, true).await
    }

    async fn open(herd: &Herd, last: Option<usize>, follows: bool) -> Result<Self, ClientError> {
        let opened = join_all(answering(herd).map(|process| async move {
            let feed = herd.connect(process).await?.feed(last).await;
            feed.map(|(reader, writer)| (process, reader, writer))
        }));
        let mut found = Vec::new();
        for opened in opened.await {
            match opened {
                // It has ended since it was found, and has no events.
                Err(ClientError::Lost { .. }) => {}
                opened => found.push(opened?),
            }
        }
        let history = joined(found.iter().map(|(_, reader, _)| reader.history.clone()).collect());
        let history = history.ok_or(ClientError::NoHerd)?;
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        let feeds = found.into_iter().enumerate();
        let feeds: Vec<_> = feeds
            .map(|(index, (process, reader, writer))| Feed::new(process, reader, writer, index, &sender))
            .collect();
        let mut merged = Self {
            queues: Queues::new(feeds.len(), history.started),
            history,
            feeds,
            arrivals,
            sender,
            herd: herd.clone(),
            reached: Vec::new(),
            look_until: Instant::now(),
            ready: VecDeque::new(),
            follows,
        };
        // Here, so that what happens after this is not taken for the past.
        merged.round().await;
        let past = merged.queues.lengths();
        merged.ready = trimmed(merged.queues.take(past), last);
        Ok(merged)
    }

    /// Takes in the processes that have been started since.
    async fn complete(&mut self) {
        let Some(herd) = self.herd.again().await else { return };
        for process in answering(&herd) {
            let runs = |feed: &&Feed| !feed.is_over && *feed.process == *process.control;
            if self.feeds.iter().find(runs).is_some() {
                continue;
            }
            // One that has ended again is taken in when it is back.
            let Ok(client) = herd.connect(process).await else { continue };
            let Ok((reader, writer)) = client.feed(None).await else { continue };
            self.queues.add_process();
            self.feeds.push(Feed::new(process, reader, writer, self.feeds.len(), &self.sender));
        }
        // Only now: a caller may drop this half-way, and call it again. A process listens before it can be asked.
        let is_over = Instant::now() >= self.look_until;
        let mut reached = std::mem::take(&mut self.reached);
        reached.retain(|server| !is_over && !self.has_feed_of(server));
        self.reached = reached;
    }

    /// Returns the next entry, and the process it came from, or `None` if there are no more. Nothing is lost if it is dropped
    /// half-way.
    ///
    /// # Errors
    ///
    /// Returns no error now, as [`super::client::Events::next`] may.
    pub async fn next(&mut self) -> Result<Option<(Entry, Option<Arc<str>>)>, ClientError> {
        loop {
            if let Some((entry, feed)) = self.ready.pop_front() {
                return Ok(Some((entry, feed.map(|feed| self.feeds[feed].process.clone()))));
            }
            if !self.follows {
                return Ok(None);
            }
            if !self.reached.is_empty() {
                self.complete().await;
            }
            if self.queues.is_empty() {
                if self.feeds.iter().all(|feed| feed.is_over) {
                    return Ok(None);
                }
                let is_complete = self.reached.is_empty();
                tokio::select! {
                    arrived = self.arrivals.recv() => {
                        let (feed, told) = arrived.expect("a sender is kept here");
                        self.take(feed, told);
                    }
                    () = sleep(LOOK_AGAIN), if !is_complete => continue,
                }
            }
            let old = self.queues.lengths();
            self.round().await;
            self.ready = self.queues.take(old).into_iter().map(|(entry, feed)| (entry, Some(feed))).collect();
        }
    }

    /// Returns everything that has happened by now and was not passed on.
    pub async fn catch_up(&mut self) -> Vec<Entry> {
        if !self.reached.is_empty() {
            self.complete().await;
        }
        self.round().await;
        let all = self.queues.lengths();
        let ready = std::mem::take(&mut self.ready).into_iter().map(|(entry, _)| entry);
        ready.chain(self.queues.take(all).into_iter().map(|(entry, _)| entry)).collect()
    }

    /// Returns `true` if the process of a server is followed, and has not ended.
    pub fn has_feed_of(&self, server: &str) -> bool {
        self.feeds.iter().any(|feed| !feed.is_over && feed.server.as_deref().is_none_or(|only| only == server))
    }

    /// Asks every process to send everything up to now, and waits until that has arrived.
    async fn round(&mut self) {
        for feed in self.feeds.iter_mut().filter(|feed| !feed.is_asked && !feed.is_over) {
            feed.is_asked = true;
            feed::ask_for_mark(&mut feed.writer).await;
        }
        let all_answer = async {
            while self.feeds.iter().any(Feed::is_awaited) {
                let arrived = self.arrivals.recv().await;
                let (feed, told) = arrived.expect("a sender is kept here");
                self.take(feed, told);
            }
        };
        if timeout(PATIENCE, all_answer).await.is_err() {
            // Frozen, perhaps: it is not waited for again before it answers.
            self.feeds.iter_mut().filter(|feed| feed.is_awaited()).for_each(|feed| feed.is_late = true);
        }
    }

    fn take(&mut self, feed: usize, told: Told) {
        if let Told::Entry(Entry { fact: Fact::Saw(Event::LinkUp { way, .. }), .. }) = &told {
            let server = self.history.origin.servers[way.to.index()].clone();
            if !self.has_feed_of(&server) {
                self.reached.push(server);
                self.look_until = Instant::now() + LOOK_FOR;
            }
        }
        let of = &mut self.feeds[feed];
        match told {
            Told::Entry(entry) => self.queues.push(feed, entry),
            Told::Mark => (of.is_asked, of.is_late) = (false, false),
            Told::End => of.is_over = true,
        }
    }
}

impl Feed {
    /// Begins to read what a process sends.
    fn new(
        process: &Process,
        mut reader: feed::Reader,
        writer: WriteHalf<TokioIo<Upgraded>>,
        index: usize,
        sender: &mpsc::Sender<(usize, Told)>,
    ) -> Self {
        let sender = sender.clone();
        let reading = tokio::spawn(async move {
            while let Some(told) = reader.next().await {
                if sender.send((index, told)).await.is_err() {
                    return;
                }
            }
        });
        Self {
            process: process.control.as_str().into(),
            server: process.status.as_ref().and_then(|status| status.alone.clone()),
            writer,
            is_asked: false,
            is_late: false,
            is_over: false,
            _reader: AbortOnDropHandle::new(reading),
        }
    }

    /// Returns `true` if a round waits for it.
    fn is_awaited(&self) -> bool {
        self.is_asked && !self.is_late && !self.is_over
    }
}

/// Returns the processes that answered when their herd was looked for. One that is frozen is not waited for.
fn answering(herd: &Herd) -> impl Iterator<Item = &Process> {
    herd.processes.iter().filter(|process| process.status.is_some())
}

/// Returns what the entries of several processes are about: the first one's start, and the moment at which the links of all were up.
fn joined(histories: Vec<History>) -> Option<History> {
    let started = histories.iter().map(|history| history.started).min()?;
    let linked: Option<Vec<Timestamp>> = histories.iter().map(|history| history.linked).collect();
    let linked = linked.and_then(|linked| linked.into_iter().max());
    Some(History { started, linked, ..histories.into_iter().next()? })
}
