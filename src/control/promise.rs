//! One process's part of a verb that several processes do: all of them, or none.
//!
//! A command asks each process to promise its part, one after the other in an order that the part names. A process that promises
//! has checked the part, has started the servers that are to start, because that can fail, and does nothing else until it is
//! told the decision. Nothing that a promise holds can fail any more, so nothing ever has to be undone that cannot be: a way that
//! was cut has lost its lines, and a server that was killed its memory. Then the command tells the decision in the same order, and
//! waits for each process to have taken it before it tells the next one.
//!
//! So the processes that have decided to do the verb are always the first ones of the order that are still there, and **the first
//! one that is still there decides**. A process whose command has gone, or keeps it waiting for [`LEASE`], goes through the order
//! up to itself. It tells each process that is there what the one before has decided, which is nothing at first, and hears what
//! that one has decided: a process that has only promised then decides as it is told, and gives the promise up if it is told
//! nothing. What the last one said is its own decision. It may not do its part before those in front of it: if the first one died
//! then, they would not. A model tries every order of steps and kills, and shows that each of these rules is needed.
//!
//! | what is killed | what the others do |
//! |---|---|
//! | a process before the first decision | nothing: the command fails |
//! | a process after it | all of it: the decision stands, and the command tells who is gone |
//! | the command before the first decision | nothing |
//! | the command between two decisions | all of it: those that do not know ask the first one |
//!
//! While a process has promised something, other verbs wait. Commands ask for promises in one order, so no two wait for each other.
//!
//! Not here: the command's side ([`super::verbs`]), and what the actions of a part do ([`super::owner`]).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines, ReadHalf, WriteHalf,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::api::{Refusal, RefusalCode};
use super::client::{Client, ClientError};
use super::names::refusal;
use super::owner::Request;
use super::server::ask;
use crate::act::{Action, Hit, Verb};
use crate::words::Nanoseconds;

/// How long a process keeps a promise for a command that is there and says nothing.
const LEASE: Duration = Duration::from_secs(10);

/// How long a process waits for another one's answer before it asks again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Decisions that a process remembers.
const REMEMBERED: usize = 1024;

/// What a connection is upgraded to that carries promises and decisions.
pub(super) const PARTS: &str = "herdsim-parts";

/// One process's part of a verb.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Identifies the verb. No two verbs have one.
    pub id: String,
    /// The whole verb, if this process is to record that it was asked for.
    pub asked: Option<Verb<String>>,
    /// What is done at once, to servers of this process and to ways from them.
    pub now: Vec<Action<String>>,
    /// What other processes do to ways to servers of this one.
    pub reflected: Vec<Action<String>>,
    /// What is done later.
    pub later: Vec<LaterPart>,
    /// Control names of all processes that have a part, in the order in which they decide.
    pub order: Vec<String>,
}

/// What is done some time after the part before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaterPart {
    /// The time.
    #[serde(with = "Nanoseconds")]
    pub after: Duration,
    /// What is done then.
    pub actions: Vec<Action<String>>,
}

/// What a part did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartDone {
    /// Each action that was done.
    pub deeds: Vec<Deed>,
    /// `false` if everything was so before.
    pub changed: bool,
}

/// One action that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// When it was begun, in nanoseconds since the Unix epoch.
    pub at: i64,
    /// The action.
    pub action: Action<String>,
    /// What it hit at once.
    pub hit: Hit,
}

/// What a command says to a process, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Say {
    /// Promise this part.
    Promise(Part),
    /// Do what was promised, or forget it.
    Decide(bool),
}

/// What a process answers, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    /// The part is promised.
    Promised,
    /// The decision is taken: it stands, whatever happens to the command.
    Decided,
    /// The part is done.
    Done(PartDone),
    /// It cannot be promised, or the decision came too late, or doing it failed.
    Refused(Refusal),
}

/// Which verb: the query of `GET /v1/decision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionQuery {
    /// What identifies the verb.
    pub id: String,
    /// What is to be decided, if it is not decided yet.
    pub done: bool,
}

/// What became of a promise: `GET /v1/decision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The process does, or has done, its part of the verb, or never will. `None`: it was not asked to, as one that was started
    /// since.
    pub done: Option<bool>,
}

/// Decisions that were taken, the last ones.
#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<(String, bool)>);

impl Decisions {
    /// Returns what was decided about a verb.
    pub(super) fn get(&self, id: &str) -> Option<bool> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, done)| *done)
    }

    /// Remembers what was decided. The first decision about a verb stands.
    pub(super) fn note(&mut self, id: &str, done: bool) {
        if self.get(id).is_none() {
            if self.0.len() == REMEMBERED {
                self.0.pop_front();
            }
            self.0.push_back((id.to_owned(), done));
        }
    }
}

/// Says that a promise is not kept any more.
pub(super) fn too_late() -> Refusal {
    refusal(RefusalCode::CouldNot, "the processes have given the command up; nothing was done")
}

/// A command's connection, over which parts are promised and decided.
#[derive(Debug)]
pub(super) struct Line<S> {
    lines: Lines<BufReader<ReadHalf<S>>>,
    writer: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { lines: BufReader::new(reader).lines(), writer }
    }

    /// Returns what the other side says next, or `None` if it has gone or makes no sense.
    pub(super) async fn hear<A: for<'a> Deserialize<'a>>(&mut self) -> Option<A> {
        let line = self.lines.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }

    /// Says something. Fails if the other side has gone, which hearing tells too.
    pub(super) async fn say(&mut self, what: &impl Serialize) {
        let mut line = serde_json::to_vec(what).expect("it is JSON");
        line.push(b'\n');
        let _ = self.writer.write_all(&line).await;
        let _ = self.writer.flush().await;
    }
}

/// Serves a command's connection until it ends. `control` is the name of this process.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, control: String, asks: mpsc::Sender<Request>) {
    let mut line = Line::new(stream);
    while let Some(Say::Promise(part)) = line.hear().await {
        let (id, order) = (part.id.clone(), part.order.clone());
        let promised = ask(&asks, |answer| Request::Promise(Box::new(part), answer)).await;
        if let Err(refusal) = promised.and_then(|promised| promised) {
            line.say(&Answer::Refused(refusal)).await;
            continue;
        }
        line.say(&Answer::Promised).await;
        let told = timeout(LEASE, line.hear()).await;
        let done = match told {
            Ok(Some(Say::Decide(done))) => done,
            // The command has gone, or is not to be waited for.
            _ => decision_of_others(&id, &control, &order).await,
        };
        decide(&mut line, &asks, id, done).await;
    }
}

/// Takes a decision, and says what became of it.
async fn decide<S: AsyncRead + AsyncWrite>(line: &mut Line<S>, asks: &mpsc::Sender<Request>, id: String, done: bool) {
    let (decided, is_decided) = oneshot::channel();
    let (answer, result) = oneshot::channel();
    if asks.send(Request::Decide { id, done, decided, answer }).await.is_err() {
        return;
    }
    match is_decided.await {
        Ok(Ok(())) if done => line.say(&Answer::Decided).await,
        // The command may be there, and does not know.
        Ok(Ok(())) => return line.say(&Answer::Refused(too_late())).await,
        Ok(Err(refusal)) => return line.say(&Answer::Refused(refusal)).await,
        Err(_) => return,
    }
    match result.await {
        Ok(Ok(part)) => line.say(&Answer::Done(part)).await,
        Ok(Err(refusal)) => line.say(&Answer::Refused(refusal)).await,
        // Done before, when the command kept the process waiting.
        Err(_) if done => line.say(&Answer::Done(PartDone { changed: true, ..PartDone::default() })).await,
        Err(_) => {}
    }
}

/// Returns what this process has to decide: what the others before it in the order do.
async fn decision_of_others(id: &str, control: &str, order: &[String]) -> bool {
    let mut done = false;
    for other in order.iter().take_while(|other| *other != control) {
        done = decision_of(id, done, other).await.unwrap_or(done);
    }
    done
}

/// Tells a process what to decide about a verb, and returns what it has decided, which may be another thing. Returns `None` if it
/// has gone or is about to end.
///
/// A process that is there and does not answer, because it is frozen or just being killed, may have decided: it is waited for.
pub(super) async fn decision_of(id: &str, done: bool, control: &str) -> Option<bool> {
    while let Ok(client) = Client::open(control, ASK_AGAIN).await {
        match client.decision(id, done).await {
            Ok(decision) => return decision.done,
            Err(ClientError::Refused(_)) => return None,
            Err(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod model;
