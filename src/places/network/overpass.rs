//! OpenStreetMap by way of an Overpass server.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use super::call::{Failure, Response, shortened};
use super::{Answer, Search};
use crate::places::nearby::{Geometry, Location, Nearby, Place};
use crate::places::sphere::Point;

/// The least time between two calls: what the public servers ask of their users.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Must be shown with everything made from OpenStreetMap.
const CREDIT: &str = r#"Data by <a href="https://www.openstreetmap.org/copyright">OpenStreetMap contributors</a>, <a href="https://opendatacommons.org/licenses/odbl/1-0/">ODbL 1.0</a>"#;

/// `POST /api/interpreter` with a query for named amenities.
pub(super) fn request(http: &Client, base: &str, timeout: Duration, search: &Search) -> RequestBuilder {
    let Search { latitude, longitude, bound, .. } = search;
    let metres = u32::from(search.radius_km) * 1000;
    // Whole seconds; a server that works on when nobody waits any more wastes our share of it.
    let seconds = timeout.as_millis().div_ceil(1000);
    let query = format!(
        "[out:json][timeout:{seconds}];nwr(around:{metres},{latitude},{longitude})[amenity][name];out center {bound};"
    );
    http.post(format!("{base}/api/interpreter")).form(&[("data", query)])
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    elements: Vec<Element<'a>>,
    /// Present when the query was broken off.
    remark: Option<String>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: u64,
    /// Of a node.
    lat: Option<f64>,
    lon: Option<f64>,
    /// Of a way or relation.
    center: Option<Location>,
    #[serde(default, borrow)]
    tags: Tags<'a>,
}

#[derive(Default, Deserialize)]
struct Tags<'a> {
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    amenity: Option<Cow<'a, str>>,
    #[serde(rename = "addr:housenumber", borrow)]
    house_number: Option<Cow<'a, str>>,
    #[serde(rename = "addr:street", borrow)]
    street: Option<Cow<'a, str>>,
    #[serde(rename = "addr:city", borrow)]
    city: Option<Cow<'a, str>>,
}

/// The answer, nearest first.
pub(super) fn read(response: &Response, search: &Search) -> Result<Answer, Failure> {
    if response.status != StatusCode::OK {
        return Err(response.failure(None));
    }
    let found: Found<'_> = response.json()?;
    if let (Some(remark), true) = (&found.remark, found.elements.is_empty()) {
        return Err(Failure::unknown(format!("the places service gave up: {}", shortened(remark))));
    }
    let mut places: Vec<_> = found.elements.into_iter().filter_map(Element::place).collect();
    let centre = Point::new(search.latitude, search.longitude);
    let distance = |place: &Place<'_>| centre.haversine(place.geometry.location.lat, place.geometry.location.lng);
    places.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then_with(|| a.place_id.cmp(&b.place_id)));
    places.truncate(search.bound.into());
    Ok(Nearby::found(vec![CREDIT.into()], places).answer())
}

impl<'a> Element<'a> {
    /// `None` when the element is nowhere.
    fn place(self) -> Option<Place<'a>> {
        let vicinity = self.tags.vicinity();
        Some(Place {
            geometry: Geometry { location: self.location()? },
            name: self.tags.name,
            vicinity: vicinity.map(Into::into),
            place_id: format!("osm:{}/{}", self.kind, self.id),
            types: self.tags.amenity.into_iter().collect(),
        })
    }

    fn location(&self) -> Option<Location> {
        self.lat.zip(self.lon).map(|(lat, lng)| Location { lat, lng }).or(self.center)
    }
}

impl Tags<'_> {
    /// `550 Gayley Avenue, Los Angeles`, as far as it is known.
    fn vicinity(&self) -> Option<String> {
        let street = self.street.as_ref().map(|street| match &self.house_number {
            Some(number) => format!("{number} {street}"),
            None => street.to_string(),
        });
        let parts: Vec<_> = street.into_iter().chain(self.city.as_ref().map(ToString::to_string)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
