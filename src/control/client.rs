//! A command's end of the control socket.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::WriteHalf;
use tokio::net::UnixStream;

use super::api::{
    DownAnswer, DownRequest, FileAnswer, HerdStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode, VERSION,
    VerbAnswer,
};
use super::feed::{self, FEED};
use super::promise::{Decision, Line, PARTS};
use super::socket;
use crate::act::Verb;
use crate::driver::work::Work;
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
    /// Connects to every herd of this user that is up, in the order of their names.
    pub async fn all(limit: Duration) -> Vec<Self> {
        let mut clients = Vec::new();
        for herd in socket::names() {
            clients.extend(Self::open(&herd, limit).await);
        }
        clients
    }

    /// Connects to the process whose control socket is called `herd`. Requests give up after `limit`.
    ///
    /// # Errors
    ///
    /// Returns an error if no process listens there.
    pub async fn open(herd: &str, limit: Duration) -> std::io::Result<Self> {
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

    /// Which file the herd was read from.
    pub async fn file(self) -> Result<FileAnswer, ClientError> {
        self.exchange(Method::GET, "/file", &()).await
    }

    /// What the process has to do.
    pub(super) async fn work(self) -> Result<Work<String>, ClientError> {
        self.exchange(Method::GET, "/work", &()).await
    }

    /// Does something to the herd.
    pub async fn verb(self, request: &Verb<String>) -> Result<VerbAnswer, ClientError> {
        self.exchange(Method::POST, "/verb", request).await
    }

    /// Opens a connection over which the process promises its part of a verb.
    pub(super) async fn parts(self) -> Result<Line<TokioIo<Upgraded>>, ClientError> {
        self.upgrade("/part", PARTS).await.map(Line::new)
    }

    /// Opens a feed of what happens in the process, with at most the `last` entries of the past.
    pub(super) async fn feed(
        self,
        last: Option<usize>,
    ) -> Result<(feed::Reader, WriteHalf<TokioIo<Upgraded>>), ClientError> {
        let herd = self.herd.clone();
        let last = last.map_or_else(String::new, |last| format!("?last={last}"));
        let stream = self.upgrade(&format!("/feed{last}"), FEED).await?;
        let gone = || lost(&herd, &std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        feed::Reader::open(stream).await.ok_or_else(gone)
    }

    async fn upgrade(self, path: &str, protocol: &'static str) -> Result<TokioIo<Upgraded>, ClientError> {
        let (herd, limit) = (self.herd.clone(), self.limit);
        let mut request = asking(Method::GET, path, &());
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
        let upgraded = async {
            let response = self.put(request).await?;
            hyper::upgrade::on(response).await.map_err(|error| lost(&herd, &error))
        };
        let upgraded = tokio::time::timeout(limit, upgraded).await;
        upgraded.unwrap_or_else(|_| Err(ClientError::Late { herd: herd.clone(), limit })).map(TokioIo::new)
    }

    /// Tells the process what to decide about a verb that it promised. Returns what it has decided.
    pub(super) async fn decision(self, id: &str, done: bool) -> Result<Decision, ClientError> {
        let path = format!("/decision?id={}&done={done}", percent_encoded(id));
        self.exchange(Method::GET, &path, &()).await
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
        Ok(Events { herd, lines, reader })
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
        self.put(asking(method, path, request)).await
    }

    async fn put(self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let failed = |error: hyper::Error| lost(&self.herd, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.stream)).await.map_err(failed)?;
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(failed)?;
        let is_answer = matches!(response.status(), StatusCode::OK | StatusCode::SWITCHING_PROTOCOLS);
        if is_answer { Ok(response) } else { Err(refused(&self.herd, response).await) }
    }
}

fn asking(method: Method, path: &str, body: &impl Serialize) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from(serde_json::to_vec(body).expect("a request is JSON")));
    Request::builder()
        .method(method)
        .uri(format!("{VERSION}{path}"))
        .header("host", "herdsim")
        .header("content-type", "application/json")
        .body(body)
        .expect("method, path and headers are well-formed")
}

async fn refused(herd: &str, response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(refusal) => ClientError::Refused(refusal),
        Err(_) => ClientError::Lost { herd: herd.to_owned(), reason: format!("it answered {status}") },
    }
}

pub(super) fn lost(herd: &str, error: &dyn std::error::Error) -> ClientError {
    ClientError::Lost { herd: herd.to_owned(), reason: error.to_string() }
}

/// Entries as they come.
#[derive(Debug)]
pub struct Events {
    herd: String,
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

    /// Returns the next entry, or `None` if there are no more or the herd has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is no entry.
    pub async fn next(&mut self) -> Result<Option<Entry>, ClientError> {
        while let Some(line) = self.lines.next().await {
            if let Some(entry) = self.reader.entry(&line).map_err(|error| lost(&self.herd, &error))? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}
