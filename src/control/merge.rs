//! What happens in the processes of one herd, as one history: the entries of all, each behind what caused it.
//!
//! Entries go by their times, which the processes read off one machine's clock. A line that was heard never comes before the
//! same line was sent, whatever the times say: then it takes the time of what came before it.
//!
//! Entries that arrived are passed on once each process has said that it has sent everything up to now ([`Feed`]): what caused
//! them has arrived then. A process that does not answer for [`PATIENCE`] is not waited for until it does.
//!
//! Not here: what a single process remembers ([`super::events`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::WriteHalf;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::client::ClientError;
use super::feed::{self, Told};
use super::herd::Herd;
use crate::config::Way;
use crate::history::{Entry, Event, Fact, History};
use crate::time::Timestamp;

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
    /// Entries in their order, each with the index of its feed. `None`: several of them.
    ready: VecDeque<(Entry, Option<usize>)>,
    /// Time of the last entry that was passed on.
    last: Timestamp,
    follows: bool,
}

/// What one process sends.
#[derive(Debug)]
struct Feed {
    process: Arc<str>,
    /// Asks how far the process is.
    writer: WriteHalf<TokioIo<Upgraded>>,
    pending: VecDeque<Entry>,
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
        let opened = herd.processes.iter().map(|process| async move {
            let feed = herd.connect(process).await?.feed(last).await;
            feed.map(|(reader, writer)| (process, reader, writer))
        });
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        let (mut feeds, mut histories) = (Vec::new(), Vec::new());
        for opened in join_all(opened).await {
            // One that has ended since it was found has no events.
            let (process, mut reader, writer) = match opened {
                Err(ClientError::Lost { .. }) => continue,
                opened => opened?,
            };
            histories.push(reader.history.clone());
            let (sender, index) = (sender.clone(), feeds.len());
            let reading = tokio::spawn(async move {
                while let Some(told) = reader.next().await {
                    let is_end = matches!(told, Told::End);
                    if sender.send((index, told)).await.is_err() || is_end {
                        return;
                    }
                }
            });
            feeds.push(Feed {
                process: process.control.as_str().into(),
                writer,
                pending: VecDeque::new(),
                is_asked: false,
                is_late: false,
                is_over: false,
                _reader: AbortOnDropHandle::new(reading),
            });
        }
        let history = joined(histories).ok_or(ClientError::NoHerd)?;
        let last_at = history.started;
        let mut merged = Self { history, feeds, arrivals, ready: VecDeque::new(), last: last_at, follows };
        // Here, so that what happens after this is not taken for the past.
        merged.round().await;
        let pending: Vec<usize> = merged.feeds.iter().map(|feed| feed.pending.len()).collect();
        merged.ready = trimmed(merged.order(&pending), last);
        Ok(merged)
    }

    /// Returns the next entry, and the process it came from, or `None` if there are no more.
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
            if self.feeds.iter().all(|feed| feed.pending.is_empty()) {
                match self.arrivals.recv().await {
                    Some((feed, told)) => self.take(feed, told),
                    None => return Ok(None),
                }
            }
            let old: Vec<usize> = self.feeds.iter().map(|feed| feed.pending.len()).collect();
            self.round().await;
            self.ready = self.order(&old).into_iter().map(|(entry, feed)| (entry, Some(feed))).collect();
        }
    }

    /// Asks every process to send everything up to now, and waits until that has arrived.
    async fn round(&mut self) {
        for feed in self.feeds.iter_mut().filter(|feed| !feed.is_asked && !feed.is_over) {
            feed.is_asked = true;
            feed::ask_for_mark(&mut feed.writer).await;
        }
        let all_answer = async {
            while self.feeds.iter().any(Feed::is_awaited) {
                match self.arrivals.recv().await {
                    Some((feed, told)) => self.take(feed, told),
                    None => return,
                }
            }
        };
        if timeout(PATIENCE, all_answer).await.is_err() {
            // Frozen, perhaps: it is not waited for again before it answers.
            self.feeds.iter_mut().filter(|feed| feed.is_awaited()).for_each(|feed| feed.is_late = true);
        }
    }

    fn take(&mut self, feed: usize, told: Told) {
        let feed = &mut self.feeds[feed];
        match told {
            Told::Entry(entry) => feed.pending.push_back(entry),
            Told::Mark => (feed.is_asked, feed.is_late) = (false, false),
            Told::End => feed.is_over = true,
        }
    }

    /// Takes entries in their order until as many of each feed are taken as `old` says, and what comes before them.
    fn order(&mut self, old: &[usize]) -> Vec<(Entry, usize)> {
        let mut old = old.to_vec();
        let mut ordered = Vec::new();
        while old.iter().any(|left| *left > 0) {
            let fronts =
                self.feeds.iter().enumerate().filter_map(|(index, feed)| Some((feed.pending.front()?.at, index)));
            let Some((_, mut next)) = fronts.min() else { break };
            // A cause may have a cause itself, in as many processes as there are.
            for _ in 0..self.feeds.len() {
                match self.cause_of(&self.feeds[next].pending[0]) {
                    Some(cause) if cause != next => next = cause,
                    _ => break,
                }
            }
            let mut entry = self.feeds[next].pending.pop_front().expect("it has a first entry");
            old[next] = old[next].saturating_sub(1);
            self.last = self.last.max(entry.at);
            entry.at = self.last;
            ordered.push((entry, next));
        }
        ordered
    }

    /// Returns the feed in which the cause of an entry still waits.
    fn cause_of(&self, entry: &Entry) -> Option<usize> {
        let Fact::Saw(Event::Heard { server, from: Some(hop), report, .. }) = &entry.fact else { return None };
        let heard = (Way { from: hop.server, to: *server }, hop.connection);
        let is_cause = |entry: &Entry| match &entry.fact {
            Fact::Saw(Event::Sent { way, connection, report: sent }) => {
                (*way, *connection) == heard && sent.line() == report.line()
            }
            _ => false,
        };
        self.feeds.iter().position(|feed| feed.pending.iter().any(is_cause))
    }
}

impl Feed {
    /// Returns `true` if a round waits for it.
    fn is_awaited(&self) -> bool {
        self.is_asked && !self.is_late && !self.is_over
    }
}

/// Returns what the entries of several processes are about: the first one's start, and the moment at which the links of all were up.
fn joined(histories: Vec<History>) -> Option<History> {
    let started = histories.iter().map(|history| history.started).min()?;
    let linked: Option<Vec<Timestamp>> = histories.iter().map(|history| history.linked).collect();
    let linked = linked.and_then(|linked| linked.into_iter().max());
    Some(History { started, linked, ..histories.into_iter().next()? })
}

/// Returns the last entries of the past, at most `last`. One entry before them says how many are left out.
fn trimmed(all: Vec<(Entry, usize)>, last: Option<usize>) -> VecDeque<(Entry, Option<usize>)> {
    let mut left_out = 0;
    let mut kept = VecDeque::new();
    for (entry, feed) in all {
        match entry.fact {
            Fact::LeftOut { entries } if kept.is_empty() || last.is_some() => left_out += entries,
            _ => kept.push_back((entry, Some(feed))),
        }
        if last.is_some_and(|last| kept.len() > last) {
            kept.pop_front();
            left_out += 1;
        }
    }
    if let Some(at) = kept.front().map(|(entry, _)| entry.at).filter(|_| left_out > 0) {
        kept.push_front((Entry { at, step: None, fact: Fact::LeftOut { entries: left_out } }, None));
    }
    kept
}
