//! Google's Places API (New).

use std::borrow::Cow;

use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};

use super::call::{Failure, Response};
use super::{Answer, Search};
use crate::places::nearby::{Geometry, Location, Nearby, Place};

/// What a place has in an answer. Every field belongs to the cheapest price class that has a place's name, or below.
const FIELDS: &str =
    "places.attributions,places.displayName,places.id,places.location,places.shortFormattedAddress,places.types";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    max_result_count: u8,
    location_restriction: Area,
}

#[derive(Serialize)]
struct Area {
    circle: Circle,
}

#[derive(Serialize)]
struct Circle {
    center: Center,
    /// Metres.
    radius: f64,
}

#[derive(Serialize)]
struct Center {
    latitude: f64,
    longitude: f64,
}

/// `POST /v1/places:searchNearby`; the key is a header.
pub(super) fn request(http: &Client, base: &str, key: &str, search: &Search) -> RequestBuilder {
    let mut key = HeaderValue::from_str(key).expect("a key has only characters of headers");
    key.set_sensitive(true);
    let center = Center { latitude: search.latitude, longitude: search.longitude };
    let circle = Circle { center, radius: f64::from(search.radius_km) * 1000.0 };
    let body = Request { max_result_count: search.bound, location_restriction: Area { circle } };
    http.post(format!("{base}/v1/places:searchNearby"))
        .header("X-Goog-Api-Key", key)
        .header("X-Goog-FieldMask", FIELDS)
        .json(&body)
}

#[derive(Deserialize)]
struct Found<'a> {
    /// Left out by the service when it found none.
    #[serde(default, borrow)]
    places: Vec<FoundPlace<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundPlace<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    display_name: Name<'a>,
    location: Location,
    #[serde(default, borrow)]
    types: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    short_formatted_address: Option<Cow<'a, str>>,
    #[serde(default)]
    attributions: Vec<Attribution>,
}

#[derive(Default, Deserialize)]
struct Name<'a> {
    #[serde(default, borrow)]
    text: Cow<'a, str>,
}

/// Whose data a place is, which must be shown with it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribution {
    provider: String,
    provider_uri: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
}

/// The answer, in the shape of the older API.
pub(super) fn read(response: &Response, search: &Search) -> Result<Answer, Failure> {
    if response.status != StatusCode::OK {
        let reason = response.json::<Refused>().ok().map(|refused| refused.error);
        return Err(response.failure(reason.map(|reason| format!("{}: {}", reason.status, reason.message))));
    }
    let mut places = response.json::<Found<'_>>()?.places;
    places.truncate(search.bound.into());
    let mut credits: Vec<_> = places.iter().flat_map(|place| &place.attributions).map(Attribution::html).collect();
    credits.sort_unstable();
    credits.dedup();
    Ok(Nearby::found(credits, places.into_iter().map(FoundPlace::place).collect()).answer())
}

impl<'a> FoundPlace<'a> {
    fn place(self) -> Place<'a> {
        Place {
            name: self.display_name.text,
            vicinity: self.short_formatted_address,
            geometry: Geometry { location: self.location },
            place_id: self.id.into_owned(),
            types: self.types,
        }
    }
}

impl Attribution {
    fn html(&self) -> Cow<'static, str> {
        let provider = escaped(&self.provider);
        let html = self.provider_uri.as_ref().map(|uri| format!(r#"<a href="{}">{provider}</a>"#, escaped(uri)));
        html.unwrap_or(provider).into()
    }
}

/// Text inside HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
