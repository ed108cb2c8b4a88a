//! A command's end of the control socket.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::{
    DownAnswer, DownRequest, HerdStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode, VERSION, VerbAnswer,
};
use super::{names, socket};
use crate::act::Verb;
use crate::history::{Entry, History, json};
use crate::wire::next_line;
use crate::words::percent_encoded;

/// Why a herd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// None is up.
    #[error("no herd is up; `herdsim up` starts one")]
    NoHerd,
    /// None is up under this name.
    #[error("no herd called `{name}` is up{}", if up.is_empty() { String::new() } else { format!("; up: {}", up.join(", ")) })]
    NoSuchHerd {
        /// The name asked for.
        name: String,
        /// Those that are up.
        up: Vec<String>,
    },
    /// More than one is up and none was named.
    #[error("{} herds are up: {}; choose one with --herd NAME", .0.len(), .0.join(", "))]
    SeveralHerds(Vec<String>),
    /// More than one may have the servers that were named.
    #[error("{servers} may belong to {}; choose one with --herd NAME", herds.join(" or "))]
    SeveralHave {
        /// The servers.
        servers: String,
        /// The herds that are up and may have them.
        herds: Vec<String>,
    },
    /// The herd said no.
    #[error("{}", .0.error)]
    Refused(Refusal),
    /// The connection failed, or what came over it made no sense.
    #[error("the herd `{herd}` did not answer: {reason}")]
    Lost {
        /// Which.
        herd: String,
        /// What went wrong.
        reason: String,
    },
    /// No answer in time.
    #[error("the herd `{herd}` did not answer within {limit:?}")]
    Late {
        /// Which.
        herd: String,
        /// How long the command waited.
        limit: Duration,
    },
}

impl ClientError {
    /// Whether the command asked for something that does not exist or makes no sense.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                matches!(refusal.code, RefusalCode::UnknownServer | RefusalCode::NotLinked | RefusalCode::Invalid)
            }
            Self::SeveralHerds(_) | Self::SeveralHave { .. } => true,
            _ => false,
        }
    }
}

/// A connection to one herd, for one request.
#[derive(Debug)]
pub struct Client {
    herd: String,
    stream: UnixStream,
    limit: Duration,
}

impl Client {
    /// Connects to the herd called `name`, or to the only one that is up. Of several, takes the only one that has all of
    /// `servers`. Requests give up after `limit`.
    pub async fn connect(name: Option<&str>, servers: &[String], limit: Duration) -> Result<Self, ClientError> {
        let mut up = Self::all(limit).await;
        let Some(name) = name else {
            return match up.len() {
                0 => Err(ClientError::NoHerd),
                1 => Ok(up.remove(0)),
                _ => Self::that_has(servers, up).await,
            };
        };
        match up.iter().position(|client| client.herd == name) {
            Some(place) => Ok(up.swap_remove(place)),
            None => {
                let up = up.into_iter().map(|client| client.herd).collect();
                Err(ClientError::NoSuchHerd { name: name.to_owned(), up })
            }
        }
    }

    /// Returns a connection to the only herd of `up` that has all of `servers`.
    async fn that_has(servers: &[String], up: Vec<Self>) -> Result<Self, ClientError> {
        let all: Vec<_> = up.iter().map(|client| client.herd.clone()).collect();
        if servers.is_empty() {
            return Err(ClientError::SeveralHerds(all));
        }
        let asked = up.into_iter().map(|client| async {
            let (herd, limit) = (client.herd.clone(), client.limit);
            client.may_have(servers).await.then_some((herd, limit))
        });
        let mut found: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        match found.len() {
            0 => Err(ClientError::SeveralHerds(all)),
            1 => {
                let (herd, limit) = found.remove(0);
                Self::open(&herd, limit).await.map_err(|error| lost(&herd, &error))
            }
            _ => {
                let herds = found.into_iter().map(|(herd, _)| herd).collect();
                Err(ClientError::SeveralHave { servers: servers.join(", "), herds })
            }
        }
    }

    /// Returns `false` if the herd lacks one of `servers`. Asks it where its name does not tell. A herd that does not answer may
    /// have any server.
    async fn may_have(self, servers: &[String]) -> bool {
        let told: Option<Vec<bool>> = servers.iter().map(|server| names::is_node_of(&self.herd, server)).collect();
        if let Some(told) = told {
            return told.into_iter().all(|is_here| is_here);
        }
        let status = self.status().await;
        let has =
            |name: &String| status.as_ref().map_or(true, |status| status.servers.iter().any(|s| s.server == *name));
        servers.iter().all(has)
    }

    /// Connects to every herd of this user that is up, in the order of their names.
    pub async fn all(limit: Duration) -> Vec<Self> {
        let mut clients = Vec::new();
        for herd in socket::names() {
            clients.extend(Self::open(&herd, limit).await);
        }
        clients
    }

    async fn open(herd: &str, limit: Duration) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket::path(herd)).await?;
        Ok(Self { herd: herd.to_owned(), stream, limit })
    }

    /// The herd at the other end.
    pub fn herd(&self) -> &str {
        &self.herd
    }

    /// How the herd stands.
    pub async fn status(self) -> Result<HerdStatus, ClientError> {
        self.exchange(Method::GET, "/herd", &()).await
    }

    /// Does something to the herd.
    pub async fn verb(self, request: &Verb<String>) -> Result<VerbAnswer, ClientError> {
        self.exchange(Method::POST, "/verb", request).await
    }

    /// Who knows what.
    pub async fn records(self, query: &RecordsQuery) -> Result<RecordsAnswer, ClientError> {
        let fields = [("server", &query.server), ("client", &query.client)];
        let given = fields.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        self.exchange(Method::GET, &format!("/records?{}", pairs.join("&")), &()).await
    }

    /// Ends the herd; returns when it is down.
    pub async fn down(self, request: &DownRequest) -> Result<DownAnswer, ClientError> {
        self.exchange(Method::POST, "/down", request).await
    }

    /// Returns what happened lately, at most the `last` entries of it, and with `follow` what happens from now on.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd does not answer, or not with a history.
    pub async fn events(self, follow: bool, last: Option<usize>) -> Result<Events, ClientError> {
        let herd = self.herd.clone();
        let last = last.map_or_else(String::new, |last| format!("&last={last}"));
        let response = self.send(Method::GET, &format!("/events?follow={follow}{last}"), &()).await?;
        let mut lines = Lines { body: response.into_body(), buffer: Vec::new() };
        let header = lines.next().await.unwrap_or_default();
        let reader = json::Reader::new(&header).map_err(|error| lost(&herd, &error))?;
        Ok(Events { herd, header, lines, reader })
    }

    async fn exchange<A: DeserializeOwned>(
        self,
        method: Method,
        path: &str,
        request: &impl Serialize,
    ) -> Result<A, ClientError> {
        let (herd, limit) = (self.herd.clone(), self.limit);
        let whole = async {
            let body = self.send(method, path, request).await?.into_body().collect().await;
            let bytes = body.map_err(|error| lost(&herd, &error))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| lost(&herd, &error))
        };
        tokio::time::timeout(limit, whole)
            .await
            .unwrap_or_else(|_| Err(ClientError::Late { herd: herd.clone(), limit }))
    }

    async fn send(
        self,
        method: Method,
        path: &str,
        request: &impl Serialize,
    ) -> Result<Response<Incoming>, ClientError> {
        let failed = |error: hyper::Error| lost(&self.herd, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.stream)).await.map_err(failed)?;
        tokio::spawn(connection);
        let body = Full::new(Bytes::from(serde_json::to_vec(request).expect("a request is JSON")));
        let request = Request::builder()
            .method(method)
            .uri(format!("{VERSION}{path}"))
            .header("host", "herdsim")
            .header("content-type", "application/json")
            .body(body)
            .expect("method, path and headers are well-formed");
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status() == StatusCode::OK { Ok(response) } else { Err(refused(&self.herd, response).await) }
    }
}

async fn refused(herd: &str, response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(refusal) => ClientError::Refused(refusal),
        Err(_) => ClientError::Lost { herd: herd.to_owned(), reason: format!("it answered {status}") },
    }
}

fn lost(herd: &str, error: &dyn std::error::Error) -> ClientError {
    ClientError::Lost { herd: herd.to_owned(), reason: error.to_string() }
}

/// Entries as they come.
#[derive(Debug)]
pub struct Events {
    herd: String,
    /// The first line: what the entries are about.
    pub header: String,
    lines: Lines,
    reader: json::Reader,
}

/// The lines of a body.
#[derive(Debug)]
struct Lines {
    body: Incoming,
    /// The beginning of the next line; as long as the longest line.
    buffer: Vec<u8>,
}

impl Lines {
    /// Returns the next line without its end, or `None` if there are no more or the herd has gone.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, taken)) = next_line(&self.buffer, 0) {
                let line = String::from_utf8_lossy(line).into_owned();
                self.buffer.drain(..taken);
                return Some(line);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |bytes| bytes)),
                // The herd is gone: killed, or its last answer cut off.
                Some(Err(_)) | None => return None,
            }
        }
    }
}

impl Events {
    /// Returns the history that the entries belong to, without them.
    pub fn history(&self) -> &History {
        &self.reader.history
    }

    /// Returns the next entry and its line, or `None` if there are no more or the herd has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is no entry.
    pub async fn next(&mut self) -> Result<Option<(Entry, String)>, ClientError> {
        while let Some(line) = self.lines.next().await {
            if let Some(entry) = self.reader.entry(&line).map_err(|error| lost(&self.herd, &error))? {
                return Ok(Some((entry, line)));
            }
        }
        Ok(None)
    }
}
