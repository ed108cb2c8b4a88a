//! Places from services over HTTP.
//!
//! Whatever a service does, a search ends in time with an answer: failures are answers without results. Not here: what
//! one service is asked and how its words are read (`google`, `google_legacy`, `overpass`), and a single call (`call`).

mod call;
mod google;
mod google_legacy;
mod key;
mod overpass;
mod pace;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use reqwest::{RequestBuilder, Url};

use call::{Failure, Response};
use key::Key;
use pace::Pace;

use super::nearby::{Nearby, Place};
use super::{Answer, PlacesError, Search};
use crate::config;
use crate::time::RealClock;

/// Which service is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Google,
    GoogleLegacy,
    Overpass,
}

/// A places service and what it may be used for.
#[derive(Debug)]
pub(super) struct Network {
    api: Api,
    /// Without a slash at the end.
    base: String,
    /// None where the service takes none.
    key: Option<Key>,
    http: reqwest::Client,
    clock: RealClock,
    timeout: Duration,
    retries: u32,
    budget: u64,
    /// Of the budget.
    calls_left: AtomicU64,
    /// Only where the service asks for one.
    pace: Option<Mutex<Pace>>,
    /// Searches under way, which the same question joins. As many at most as there are clients waiting.
    flights: Mutex<Vec<(Search, WeakShared<BoxFuture<'static, Answer>>)>>,
}

impl Network {
    /// The service, with the key of the environment, if there is one.
    pub(super) fn open(api: Api, config: &config::Places, key: Option<String>) -> Result<Self, PlacesError> {
        let key = if api.takes_key() { Some(Key::load(key, config.key_file.as_deref())?) } else { None };
        let base = base_url(config.base_url.as_deref().unwrap_or(api.own_url()), key.is_some())?;
        Ok(Self {
            api,
            http: client(&base)?,
            base: base.as_str().trim_end_matches('/').to_owned(),
            key,
            clock: RealClock::start(),
            timeout: config.timeout,
            retries: config.retries,
            budget: config.budget,
            calls_left: AtomicU64::new(config.budget),
            pace: api.interval().map(|interval| Mutex::new(Pace::new(interval))),
            flights: Mutex::default(),
        })
    }

    /// The answer, within the timeout.
    pub(super) async fn search(self: &Arc<Self>, search: &Search) -> Answer {
        // A statement of its own: the lock must not be held while waiting.
        let flight = self.flight(search);
        flight.await
    }

    /// The search under way for the same place, or a new one.
    fn flight(self: &Arc<Self>, search: &Search) -> Shared<BoxFuture<'static, Answer>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|(_, flight)| flight.upgrade().is_some());
        let same = flights.iter().find(|(other, _)| other == search);
        if let Some(flight) = same.and_then(|(_, flight)| flight.upgrade()) {
            return flight;
        }
        let (network, search) = (Arc::clone(self), *search);
        let flight = async move { network.answer(&search).await }.boxed().shared();
        flights.extend(flight.downgrade().map(|weak| (search, weak)));
        flight
    }

    async fn answer(&self, search: &Search) -> Answer {
        let answer = match tokio::time::timeout(self.timeout, self.attempts(search)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => failed(failure),
            Err(_) => failed(Failure::unknown(format!("no answer from the places service within {:?}", self.timeout))),
        };
        match &self.key {
            Some(key) => key.redact(answer),
            None => answer,
        }
    }

    fn request(&self, search: &Search) -> RequestBuilder {
        let key = self.key.as_ref().map_or("", Key::secret);
        match self.api {
            Api::Google => google::request(&self.http, &self.base, key, search),
            Api::GoogleLegacy => google_legacy::request(&self.http, &self.base, key, search),
            Api::Overpass => overpass::request(&self.http, &self.base, self.timeout, search),
        }
    }

    fn read(&self, response: &Response, search: &Search) -> Result<Answer, Failure> {
        match self.api {
            Api::Google => google::read(response, search),
            Api::GoogleLegacy => google_legacy::read(response, search),
            Api::Overpass => overpass::read(response, search),
        }
    }
}

impl Api {
    fn own_url(self) -> &'static str {
        match self {
            Self::Google => "https://places.googleapis.com",
            Self::GoogleLegacy => "https://maps.googleapis.com",
            Self::Overpass => "https://overpass-api.de",
        }
    }

    fn takes_key(self) -> bool {
        self != Self::Overpass
    }

    /// The least time between two calls.
    fn interval(self) -> Option<Duration> {
        (self == Self::Overpass).then_some(overpass::INTERVAL)
    }
}

/// An answer of the usual shape that says what went wrong.
fn failed(failure: Failure) -> Answer {
    Nearby::<Place<'_>> { error_message: Some(failure.message), status: failure.status.into(), ..Nearby::none() }
        .answer()
}

/// The address that paths are appended to. With a key it must be https, or lead to this machine.
fn base_url(text: &str, with_key: bool) -> Result<Url, PlacesError> {
    let refuse = |reason: &str| Err(PlacesError::BaseUrl { reason: reason.to_owned() });
    let url = Url::parse(text).map_err(|error| PlacesError::BaseUrl { reason: error.to_string() })?;
    match url.scheme() {
        "https" => {}
        "http" if !with_key || is_loopback(&url) => {}
        "http" => return refuse("a key travels only over https, or to this machine"),
        _ => return refuse("it must begin with `https://` or `http://`"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it must not hold a user name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it must end before any `?` or `#`");
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn client(base: &Url) -> Result<reqwest::Client, PlacesError> {
    // An error means that the program has installed one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("herdsim/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry the key to another place; none of the services uses any.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Every call is counted and paced: nobody else may repeat one.
        .retry(reqwest::retry::never());
    // A proxy cannot reach this machine.
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| PlacesError::Client { reason: call::root_cause(&error.without_url()) })
}
