//! What the servers of a herd know of each client, compared with each other.
//!
//! Not here: where the records come from, which is the memory of one process or the answers of several.

use std::collections::BTreeMap;

use super::api::{KnownStatus, MAX_RECORDS, RecordState, RecordStatus, RecordsAnswer};
use crate::wire::AtLine;

/// One server's record of a client. `K` gives the rest of what is known of it.
#[derive(Debug)]
pub struct Holding<'a, K> {
    /// The server, as an index into the servers that run.
    pub server: usize,
    /// The line.
    pub line: AtLine<'a>,
    /// What else is known, told only if it is asked for.
    pub known: K,
}

/// Compares the records of each client. A client's holdings are in the order of `servers`, those that run. With `only`, the answer
/// has only that server's rows, which are compared with all.
pub fn compare<'a, K: Copy>(
    clients: &BTreeMap<&'a str, Vec<Holding<'a, K>>>,
    servers: &[&str],
    only: Option<&str>,
    tell: impl Fn(K) -> KnownStatus,
) -> RecordsAnswer {
    let mut answer = RecordsAnswer { records: Vec::new(), left_out: 0 };
    for (client, holders) in clients {
        add_client(client, holders, servers, only, &tell, &mut answer);
    }
    answer
}

/// Adds one row for every running server that was asked about, also for those that do not know the client.
fn add_client<K: Copy>(
    client: &str,
    holders: &[Holding<'_, K>],
    servers: &[&str],
    only: Option<&str>,
    tell: &impl Fn(K) -> KnownStatus,
    answer: &mut RecordsAnswer,
) {
    let newest = holders.iter().map(|holding| holding.line).max_by(|a, b| a.version_cmp(*b));
    let newest = newest.expect("a client is listed because a server knows it");
    let mut holders = holders.iter().peekable();
    for (index, server) in servers.iter().enumerate() {
        let holding = holders.next_if(|holding| holding.server == index);
        if only.is_some_and(|only| only != *server) {
            continue;
        }
        if answer.records.len() == MAX_RECORDS {
            answer.left_out += 1;
            continue;
        }
        let state = match holding {
            Some(holding) if holding.line.line() == newest.line() => RecordState::Newest,
            Some(_) => RecordState::Older,
            None => RecordState::Missing,
        };
        let known = holding.map(|holding| tell(holding.known));
        answer.records.push(RecordStatus { client: client.to_owned(), server: (*server).to_owned(), state, known });
    }
}
