//! The places nearest to a point, from data built into the program.
//!
//! Not here: how the data is stored (`table`).

mod table;

use std::borrow::Cow;

use table::{Id, TABLE, Table, UNITS};

use super::nearby::{Geometry, Location, Nearby, Place};
use super::sphere::{Haversine, KM_PER_DEGREE, Point, haversine_of_km};
use super::{Answer, Search};

/// Must be shown with everything made from GeoNames.
const GEONAMES_CREDIT: &str = r#"Places by <a href="https://www.geonames.org/">GeoNames</a>, <a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>"#;

const AIRPORTS_CREDIT: &str =
    r#"Airports by <a href="https://github.com/mborsetti/airportsdata">airportsdata</a>, MIT licence"#;

/// Decodes the data in the background, so that the first answer does not wait for it.
pub(super) fn warm_up() {
    // Without a thread the first answer waits those 40 ms.
    let _ = std::thread::Builder::new().name("places".into()).spawn(|| std::sync::LazyLock::force(&TABLE));
}

/// The nearest places, by distance and then by id: the same bytes for the same question on every machine.
pub(super) fn answer(search: &Search) -> Answer {
    let table = &*TABLE;
    let nearest = nearest(table, search);
    let airports = nearest.iter().any(|&place| matches!(table.id(place), Id::Airport(_)));
    let credits = [Some(GEONAMES_CREDIT), airports.then_some(AIRPORTS_CREDIT)];
    let results = nearest.into_iter().map(|place| describe(table, place)).collect();
    Nearby::found(credits.into_iter().flatten().map(Cow::Borrowed).collect(), results).answer()
}

/// The places of an answer, nearest first.
fn nearest(table: &Table, search: &Search) -> Vec<usize> {
    if search.is_empty() {
        return Vec::new();
    }
    let by_distance = |a: &Near, b: &Near| a.distance.total_cmp(&b.distance).then(a.order.cmp(&b.order));
    let mut near = within(table, search);
    let bound = usize::from(search.bound);
    if near.len() > bound {
        near.select_nth_unstable_by(bound, by_distance);
        near.truncate(bound);
    }
    near.sort_unstable_by(by_distance);
    near.into_iter().map(|near| near.place).collect()
}

/// A place inside the circle.
struct Near {
    distance: Haversine,
    order: u32,
    place: usize,
}

/// Every place inside the circle, in no useful order.
fn within(table: &Table, search: &Search) -> Vec<Near> {
    let centre = Point::new(search.latitude, search.longitude);
    let reach = haversine_of_km(f64::from(search.radius_km));
    let (south, north) = latitudes(search);
    let parts = longitudes(search);
    let mut near = Vec::new();
    for row in table.rows(south, north) {
        for &(west, east) in parts.iter().flatten() {
            near.extend(
                table
                    .between(row.clone(), west, east)
                    .filter(|&place| (south..=north).contains(&table.latitude(place)))
                    .map(|place| Near { distance: distance(table, &centre, place), order: table.order(place), place })
                    .filter(|near| near.distance <= reach),
            );
        }
    }
    near
}

fn distance(table: &Table, centre: &Point, place: usize) -> Haversine {
    let [latitude, longitude] = degrees(table, place);
    centre.haversine(latitude, longitude)
}

fn degrees(table: &Table, place: usize) -> [f64; 2] {
    [table.latitude(place), table.longitude(place)].map(|units| f64::from(units) / f64::from(UNITS))
}

/// Units around the circle that absorb every rounding of its bounding box.
const MARGIN: i32 = 2;

/// The latitudes that the circle covers, in units.
fn latitudes(search: &Search) -> (i32, i32) {
    let reach = f64::from(search.radius_km) / KM_PER_DEGREE;
    (units(search.latitude - reach) - MARGIN, units(search.latitude + reach) + MARGIN)
}

/// The longitudes that the circle covers, in units, west to east; two parts when it crosses the date line, and all
/// of them when it holds a pole.
fn longitudes(search: &Search) -> [Option<(i32, i32)>; 2] {
    const ALL: [Option<(i32, i32)>; 2] = [Some((-HALF_TURN, HALF_TURN)), None];
    let reach = (f64::from(search.radius_km) / KM_PER_DEGREE).to_radians();
    // The meridians that touch the circle are asin(sin reach / cos latitude) to both sides; without a pole inside, the
    // quotient is below 1.
    let quotient = reach.sin() / search.latitude.to_radians().cos();
    if quotient.is_nan() || quotient.abs() >= 1.0 {
        return ALL;
    }
    let half = units(quotient.asin().to_degrees()) + MARGIN;
    let (west, east) = (units(search.longitude) - half, units(search.longitude) + half);
    if half >= HALF_TURN {
        ALL
    } else if west < -HALF_TURN {
        [Some((-HALF_TURN, east)), Some((west + 2 * HALF_TURN, HALF_TURN))]
    } else if east > HALF_TURN {
        [Some((west, HALF_TURN)), Some((-HALF_TURN, east - 2 * HALF_TURN))]
    } else {
        [Some((west, east)), None]
    }
}

/// 180 degrees, in units.
const HALF_TURN: i32 = 180 * UNITS;

fn units(degrees: f64) -> i32 {
    (degrees * f64::from(UNITS)).round() as i32
}

fn describe(table: &Table, place: usize) -> Place<'_> {
    let [lat, lng] = degrees(table, place);
    let (place_id, types) = match table.id(place) {
        Id::Town(number) => (format!("geonames:{number}"), &["locality", "political"][..]),
        Id::Airport(code) => {
            (format!("iata:{}", code.escape_ascii()), &["airport", "point_of_interest", "establishment"][..])
        }
    };
    Place {
        name: table.name(place).into(),
        vicinity: Some(table.vicinity(place).into()),
        geometry: Geometry { location: Location { lat, lng } },
        place_id,
        types: types.iter().copied().map(Cow::Borrowed).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UCLA: (f64, f64) = (34.068930, -118.445127);

    fn search((latitude, longitude): (f64, f64), radius_km: u8, bound: u8) -> Search {
        Search { latitude, longitude, radius_km, bound }
    }

    fn names(search: &Search) -> Vec<&'static str> {
        nearest(&TABLE, search).into_iter().map(|place| TABLE.name(place)).collect()
    }

    /// The circle without rows: every place of the table is looked at.
    fn brute_force(search: &Search) -> Vec<usize> {
        let centre = Point::new(search.latitude, search.longitude);
        let reach = haversine_of_km(f64::from(search.radius_km));
        let mut near: Vec<_> = (0..TABLE.len())
            .map(|place| (distance(&TABLE, &centre, place), TABLE.order(place), place))
            .filter(|&(distance, ..)| distance <= reach)
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.into_iter().take(usize::from(search.bound)).map(|(.., place)| place).collect()
    }

    #[test]
    fn the_campus_has_the_known_numbers_of_places_around_it() {
        let counts = [2, 5, 10, 50].map(|radius| within(&TABLE, &search(UCLA, radius, 20)).len());
        assert_eq!(counts, [2, 6, 16, 175]);
    }

    #[test]
    fn the_nearest_places_come_first_and_no_more_than_the_bound() {
        assert_eq!(names(&search(UCLA, 10, 3)), ["Bel Air", "Westwood", "Century City"]);
        let twenty = names(&search(UCLA, 50, 20));
        assert_eq!(twenty.len(), 20);
        assert!(twenty.contains(&"Santa Monica Municipal Airport"));
    }

    #[test]
    fn an_answer_is_exactly_this_text() {
        insta::assert_snapshot!(String::from_utf8_lossy(&answer(&search(UCLA, 10, 7)).json));
    }

    #[test]
    fn nothing_in_reach_is_zero_results_with_the_credit() {
        let empty = r#"{
  "html_attributions": [
    "Places by <a href=\"https://www.geonames.org/\">GeoNames</a>, <a href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>"
  ],
  "results": [],
  "status": "ZERO_RESULTS"
}"#;
        for search in [search(UCLA, 0, 20), search(UCLA, 50, 0), search((0.0, -140.0), 50, 20)] {
            assert_eq!(answer(&search).json, empty);
        }
    }

    #[test]
    fn a_circle_across_the_date_line_sees_the_other_side() {
        let eastwards = search((-16.7, 179.95), 50, 20);
        assert_eq!(names(&eastwards), ["Matei Airport", "Laucala Island Airport"]);
        assert!(nearest(&TABLE, &eastwards).into_iter().all(|place| TABLE.longitude(place) < 0));
        let westwards = search((-18.5, -179.9), 50, 20);
        assert_eq!(names(&westwards), ["Moala Airport"]);
        assert!(nearest(&TABLE, &westwards).into_iter().all(|place| TABLE.longitude(place) > 0));
    }

    #[test]
    fn the_poles_are_searched_like_any_other_point() {
        let pole = search((-90.0, 123.0), 50, 20);
        assert_eq!(nearest(&TABLE, &pole), brute_force(&pole));
        assert_eq!(nearest(&TABLE, &search((90.0, 0.0), 50, 20)), Vec::<usize>::new());
    }

    /// Anywhere; or near a place, where there is something to find; or along the date line.
    fn points() -> impl Strategy<Value = (f64, f64)> {
        let near = |place: usize, north: f64, east: f64| {
            let [latitude, longitude] = degrees(&TABLE, place);
            ((latitude + north).clamp(-90.0, 90.0), (longitude + east).clamp(-180.0, 180.0))
        };
        prop_oneof![
            (-90.0..=90.0, -180.0..=180.0),
            (0..242_792_usize, -0.5..0.5, -0.5..0.5).prop_map(move |(place, north, east)| near(place, north, east)),
            (-60.0..=75.0, prop_oneof![179.5..=180.0, -180.0..=-179.5]),
        ]
    }

    proptest! {
        // Brute force looks at a quarter of a million places each time.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_search_by_rows_finds_what_brute_force_finds(point in points(), radius in 0..=50_u8, bound in 0..=20_u8) {
            let search = search(point, radius, bound);
            let expected = if search.is_empty() { Vec::new() } else { brute_force(&search) };
            prop_assert_eq!(nearest(&TABLE, &search), expected);
        }
    }
}
