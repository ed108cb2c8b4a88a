//! Calls to a service: one, and again where the service asks for it.
//!
//! Not here: the time in which it all must end, which [`Network::answer`] watches.

use std::error::Error;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::header::RETRY_AFTER;
use reqwest::{StatusCode, header::HeaderMap};

use super::{Answer, Network, Search};
use crate::time::Timestamp;

/// The longest answer of a service that is read, in bytes; twenty places take about 60 KiB.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// Waited before the first repetition when the service names no time; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// The longest explanation of a service that is passed on, in characters.
const MAX_DETAIL: usize = 300;

/// Why there are no places.
#[derive(Debug)]
pub(super) struct Failure {
    /// A status code of legacy Nearby Search, or what the service has put in its place.
    pub status: String,
    /// A sentence for people.
    pub message: String,
    /// When the service wants to be asked again.
    pub again: Again,
}

/// When the same call may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Never, as far as the service says.
    Never,
    /// At some time.
    Later,
    /// From this time on.
    After(Duration),
}

/// What a service said, whole.
#[derive(Debug)]
pub(super) struct Response {
    pub status: StatusCode,
    /// What its `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    /// At most [`MAX_BODY`] bytes.
    pub body: Vec<u8>,
}

impl Network {
    /// Calls until there is an answer, the service asks for no repetition, or no time is left for another one.
    pub(super) async fn attempts(&self, search: &Search) -> Result<Answer, Failure> {
        let deadline = self.clock.now() + self.timeout;
        let mut backoff = FIRST_BACKOFF;
        let mut repetitions = self.retries;
        loop {
            let failure = match self.attempt(search, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let wait = match failure.again {
                Again::Never => return Err(failure),
                Again::Later => backoff,
                Again::After(wait) => wait,
            };
            if repetitions == 0 || self.clock.now() + wait >= deadline {
                return Err(failure);
            }
            repetitions -= 1;
            backoff = backoff.saturating_mul(2);
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, search: &Search, deadline: Timestamp) -> Result<Answer, Failure> {
        self.wait_for_turn(deadline).await?;
        self.spend_one_call()?;
        let response = self.request(search).send().await.map_err(transport)?;
        let response = self.receive(response).await?;
        self.read(&response, search)
    }

    /// Waits until the service's pace allows a call; fails at once when that is too late.
    async fn wait_for_turn(&self, deadline: Timestamp) -> Result<(), Failure> {
        let Some(pace) = &self.pace else { return Ok(()) };
        let now = self.clock.now();
        let turn = pace.lock().unwrap_or_else(PoisonError::into_inner).reserve(now, deadline);
        let Some(wait) = turn else {
            return Err(Failure::over_quota("too many searches at a time for this service's pace".into()));
        };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn spend_one_call(&self) -> Result<(), Failure> {
        let spent = self.calls_left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        spent.map(|_| ()).map_err(|_| {
            Failure::over_quota(format!(
                "all {} calls to the places service that this run may make are made",
                self.budget
            ))
        })
    }

    async fn receive(&self, mut response: reqwest::Response) -> Result<Response, Failure> {
        let (status, retry_after) = (response.status(), self.retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Failure::unknown(format!("the places service answered with more than {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, retry_after, body })
    }

    /// Seconds, or a date.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some((Timestamp::EPOCH + Duration::try_from(date.as_duration()).ok()?).since(self.clock.now()))
    }
}

impl Response {
    /// The body as the JSON object it should be.
    pub(super) fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        let refuse = |reason: &dyn std::fmt::Display| {
            Failure::unknown(format!("the places service answered with something else than its JSON: {reason}"))
        };
        // A struct would be read from a list of its fields as well.
        if self.body.trim_ascii_start().first() == Some(&b'[') {
            return Err(refuse(&"a list in place of an object"));
        }
        serde_json::from_slice(&self.body).map_err(|error| refuse(&error))
    }

    /// What an HTTP status other than 200 means, with the service's own explanation.
    pub(super) fn failure(&self, detail: Option<String>) -> Failure {
        let status = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "OVER_QUERY_LIMIT",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "REQUEST_DENIED",
            StatusCode::BAD_REQUEST => "INVALID_REQUEST",
            _ => "UNKNOWN_ERROR",
        };
        let again = match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                self.retry_after.map_or(Again::Later, Again::After)
            }
            _ => Again::Never,
        };
        let said = format!("the places service answered HTTP {}", self.status);
        let message = detail.map_or(said.clone(), |detail| format!("{said}: {}", shortened(&detail)));
        Failure { status: status.into(), message, again }
    }
}

impl Failure {
    /// Something that no status code tells.
    pub(super) fn unknown(message: String) -> Self {
        Self { status: "UNKNOWN_ERROR".into(), message, again: Again::Never }
    }

    /// A limit of our own.
    fn over_quota(message: String) -> Self {
        Self { status: "OVER_QUERY_LIMIT".into(), message, again: Again::Never }
    }
}

/// At most [`MAX_DETAIL`] characters.
pub(super) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(MAX_DETAIL).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// A connection that could not be made, or was lost. Says nothing of the address, which may hold the key.
fn transport(error: reqwest::Error) -> Failure {
    let what = if error.is_connect() { "cannot connect to the places service" } else { "lost the places service" };
    Failure::unknown(format!("{what}: {}", root_cause(&error.without_url())))
}

/// The innermost reason, which is the one that tells something.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
