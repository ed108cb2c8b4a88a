//! Google's Places API of before 2025: the shape that all answers have.

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::{Again, Failure, Response, shortened};
use super::{Answer, Search};
use crate::places::nearby::Nearby;

/// `GET /maps/api/place/nearbysearch/json`; the key is part of the address.
pub(super) fn request(http: &Client, base: &str, key: &str, search: &Search) -> RequestBuilder {
    let Search { latitude, longitude, .. } = search;
    let metres = u32::from(search.radius_km) * 1000;
    http.get(format!(
        "{base}/maps/api/place/nearbysearch/json?location={latitude},{longitude}&radius={metres}&key={key}"
    ))
}

#[derive(Deserialize)]
struct Found {
    status: String,
    error_message: Option<String>,
    #[serde(default)]
    html_attributions: Vec<String>,
    /// As the service wrote them.
    #[serde(default)]
    results: Vec<Box<RawValue>>,
}

/// The service's own places, the first of them.
pub(super) fn read(response: &Response, search: &Search) -> Result<Answer, Failure> {
    if response.status != StatusCode::OK {
        return Err(response.failure(None));
    }
    let mut found: Found = response.json()?;
    if !matches!(&*found.status, "OK" | "ZERO_RESULTS") {
        return Err(failure(found, response));
    }
    found.results.truncate(search.bound.into());
    Ok(Nearby::found(found.html_attributions.into_iter().map(Into::into).collect(), found.results).answer())
}

/// This service says what is wrong in an answer with HTTP status 200.
fn failure(found: Found, response: &Response) -> Failure {
    let again = match &*found.status {
        "OVER_QUERY_LIMIT" | "UNKNOWN_ERROR" => response.retry_after.map_or(Again::Later, Again::After),
        _ => Again::Never,
    };
    let said = found.error_message.unwrap_or_else(|| format!("the places service answered {}", found.status));
    Failure { status: shortened(&found.status), message: shortened(&said), again }
}
