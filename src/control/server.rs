//! The herd's end of the control socket: routes, and who may use them.
//!
//! Not here: what requests do, which is the owner's affair ([`super::owner`]).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::api::{
    DownAnswer, DownRequest, EventsQuery, FileAnswer, HerdStatus, RecordsAnswer, RecordsQuery, Refusal, RefusalCode,
    VerbAnswer,
};
use super::feed::{self, FEED};
use super::names::refusal;
use super::owner::{Request, Watch, lagged};
use super::promise::{self, Decision, DecisionQuery, PARTS};
use crate::act::Verb;
use crate::driver::work::Work;
use crate::history::{Entry, History, json};

/// What the requests of a herd are answered with.
#[derive(Debug, Clone)]
struct Desk {
    asks: mpsc::Sender<Request>,
    /// Name of the control socket.
    control: String,
}

type Asks = State<Desk>;

/// Serves requests of this user on the socket called `control`, until `end` is ready and the last answer is out.
pub async fn serve(
    listener: UnixListener,
    control: String,
    asks: mpsc::Sender<Request>,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(OwnUser(listener), router(Desk { asks, control })).with_graceful_shutdown(end).await
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/herd", get(herd))
        .route("/v1/file", get(file))
        .route("/v1/work", get(work))
        .route("/v1/verb", post(verb))
        .route("/v1/part", get(part))
        .route("/v1/decision", get(decision))
        .route("/v1/records", get(records))
        .route("/v1/events", get(events))
        .route("/v1/feed", get(feed))
        .route("/v1/down", post(down))
        .fallback(|| async { refusal(RefusalCode::Invalid, "no such request") })
        .method_not_allowed_fallback(|| async { refusal(RefusalCode::Invalid, "no such method for this request") })
        .with_state(desk)
}

/// Takes connections of the user this process runs as, and drops all others.
struct OwnUser(UnixListener);

impl axum::serve::Listener for OwnUser {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let own = rustix::process::geteuid().as_raw();
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.code {
            RefusalCode::UnknownServer | RefusalCode::NotLinked => StatusCode::NOT_FOUND,
            RefusalCode::Invalid => StatusCode::BAD_REQUEST,
            RefusalCode::CouldNot => StatusCode::CONFLICT,
            RefusalCode::Ending => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self)).into_response()
    }
}

async fn herd(asks: Asks) -> Result<Json<HerdStatus>, Refusal> {
    ask(&asks.asks, Request::Status).await.map(Json)
}

async fn file(asks: Asks) -> Result<Json<FileAnswer>, Refusal> {
    ask(&asks.asks, Request::File).await.map(Json)
}

async fn work(asks: Asks) -> Result<Json<Work<String>>, Refusal> {
    ask(&asks.asks, Request::Work).await.map(Json)
}

async fn verb(asks: Asks, request: Result<Json<Verb<String>>, JsonRejection>) -> Result<Json<VerbAnswer>, Refusal> {
    let Json(request) = request.map_err(|error| refusal(RefusalCode::Invalid, error.body_text()))?;
    ask(&asks.asks, |answer| Request::Verb(request, answer)).await?.map(Json)
}

/// Turns the connection into one over which a part of a verb is promised and decided.
async fn part(State(Desk { asks, control }): Asks, request: axum::extract::Request) -> Response {
    upgraded(request, PARTS, |stream| promise::serve(stream, control, asks))
}

/// Turns the connection into a feed of what happens.
async fn feed(State(desk): Asks, Query(query): Query<EventsQuery>, request: axum::extract::Request) -> Response {
    upgraded(request, FEED, move |stream| feed::serve(stream, query.last, desk.asks))
}

/// Switches the connection to another protocol, which `serve` speaks.
fn upgraded<F: Future<Output = ()> + Send>(
    mut request: axum::extract::Request,
    protocol: &'static str,
    serve: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Fails when the command has gone, or has not asked for it.
        if let Ok(stream) = upgrade.await {
            serve(TokioIo::new(stream)).await;
        }
    });
    (StatusCode::SWITCHING_PROTOCOLS, [(header::CONNECTION, "upgrade"), (header::UPGRADE, protocol)]).into_response()
}

async fn decision(asks: Asks, Query(query): Query<DecisionQuery>) -> Result<Json<Decision>, Refusal> {
    let done = ask(&asks.asks, |answer| Request::Decision(query, answer)).await?;
    Ok(Json(Decision { done }))
}

async fn records(asks: Asks, Query(query): Query<RecordsQuery>) -> Result<Json<RecordsAnswer>, Refusal> {
    ask(&asks.asks, |answer| Request::Records(query, answer)).await?.map(Json)
}

async fn down(asks: Asks, request: Result<Json<DownRequest>, JsonRejection>) -> Result<Json<DownAnswer>, Refusal> {
    let Json(request) = request.map_err(|error| refusal(RefusalCode::Invalid, error.body_text()))?;
    let drain = request.timeout.map(Duration::from_nanos);
    let in_order = ask(&asks.asks, |answer| Request::Down(drain, answer)).await?;
    Ok(Json(DownAnswer { in_order }))
}

async fn events(asks: Asks, Query(query): Query<EventsQuery>) -> Result<Response, Refusal> {
    let Watch { mut past, feed } = ask(&asks.asks, |answer| Request::Watch(query.last, answer)).await?;
    let entries = std::mem::take(&mut past.entries);
    let past = Arc::new(past);
    let first = stream::iter([json::header(&past, None)]);
    let kept = {
        let past = past.clone();
        stream::iter(entries).map(move |entry| json::entry(&past, &entry))
    };
    let body = if query.follow {
        Body::from_stream(bytes(first.chain(kept).chain(follow(past, feed))))
    } else {
        Body::from_stream(bytes(first.chain(kept)))
    };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Returns the lines of what happens from now on. The stream ends with the herd.
fn follow(past: Arc<History>, feed: broadcast::Receiver<Entry>) -> impl Stream<Item = String> {
    stream::unfold((past, feed, None), |(past, mut feed, last)| async move {
        let entry = match feed.recv().await {
            Ok(entry) => entry,
            Err(RecvError::Lagged(entries)) => lagged(&past, last.as_ref(), entries),
            Err(RecvError::Closed) => return None,
        };
        Some((json::entry(&past, &entry), (past, feed, Some(entry))))
    })
}

fn bytes(lines: impl Stream<Item = String>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    lines.map(|line| Ok(Bytes::from(line)))
}

/// Puts a request to the owner and waits for its answer.
pub(super) async fn ask<A>(
    asks: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<A>) -> Request,
) -> Result<A, Refusal> {
    let ending = || refusal(RefusalCode::Ending, "the herd ends");
    let (sender, answer) = oneshot::channel();
    asks.send(request(sender)).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}
