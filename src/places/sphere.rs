//! Distances on the globe that come out the same, to the last bit, on every machine.
//!
//! The sine of the standard library may differ between platforms by its last bit, which could swap two places; this one
//! uses only operations that IEEE 754 defines exactly. Not here: what is searched.

/// The mean radius of the earth, in kilometres.
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Kilometres of one degree of latitude.
pub(super) const KM_PER_DEGREE: f64 = EARTH_RADIUS_KM * std::f64::consts::PI / 180.0;

/// A point on the globe that others are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    latitude: f64,
    longitude: f64,
    cosine: f64,
}

/// The haversine of the angle between two points: 0 for the same, 1 for opposite ones. Grows with their distance.
pub(super) type Haversine = f64;

impl Point {
    /// The point at these degrees.
    pub(super) fn new(latitude: f64, longitude: f64) -> Self {
        Self { latitude, longitude, cosine: cosine(latitude.to_radians()) }
    }

    /// How far away the point at these degrees is.
    pub(super) fn haversine(&self, latitude: f64, longitude: f64) -> Haversine {
        let north = half_angle_sine_squared(self.latitude - latitude);
        let east = half_angle_sine_squared(shortest_turn(self.longitude - longitude));
        north + self.cosine * cosine(latitude.to_radians()) * east
    }
}

/// The haversine of this distance; at most a quarter of the way round the earth.
pub(super) fn haversine_of_km(km: f64) -> Haversine {
    half_angle_sine_squared(km / KM_PER_DEGREE)
}

fn half_angle_sine_squared(degrees: f64) -> f64 {
    let sine = sine((degrees / 2.0).to_radians());
    sine * sine
}

/// A difference of longitudes as a turn of -180 to 180 degrees.
fn shortest_turn(degrees: f64) -> f64 {
    if degrees > 180.0 {
        degrees - 360.0
    } else if degrees < -180.0 {
        degrees + 360.0
    } else {
        degrees
    }
}

/// From -π/2 to π/2.
fn cosine(radians: f64) -> f64 {
    let half = sine(radians / 2.0);
    1.0 - 2.0 * half * half
}

/// From -π/2 to π/2: the Taylor series up to the 19th power, whose next term is below the last bit of 1.
fn sine(x: f64) -> f64 {
    let square = x * x;
    x * QUOTIENTS.iter().fold(1.0, |sum, quotient| 1.0 - sum * (square * quotient))
}

/// Of each term of the series and the one before it, from the last to the first: 1 / (19 * 18), .., 1 / (3 * 2).
const QUOTIENTS: [f64; 9] = {
    let mut quotients = [0.0; 9];
    let mut index = 0;
    while index < quotients.len() {
        let power = 19.0 - 2.0 * index as f64;
        quotients[index] = 1.0 / (power * (power - 1.0));
        index += 1;
    }
    quotients
};

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_degree_along_the_equator_and_one_along_a_meridian_are_equally_far() {
        let origin = Point::new(0.0, 0.0);
        assert_eq!(origin.haversine(1.0, 0.0), origin.haversine(0.0, -1.0));
        assert_eq!(origin.haversine(1.0, 0.0), haversine_of_km(KM_PER_DEGREE));
    }

    #[test]
    fn points_on_both_sides_of_the_date_line_are_near() {
        let distance = Point::new(-16.8, 179.99).haversine(-16.8, -179.99);
        assert!(distance < haversine_of_km(2.2) && distance > haversine_of_km(2.0));
    }

    proptest! {
        #[test]
        fn the_sine_is_that_of_the_standard_library(x in -FRAC_PI_2..FRAC_PI_2) {
            prop_assert!((sine(x) - f64::sin(x)).abs() < 1e-15);
        }

        #[test]
        fn the_cosine_is_that_of_the_standard_library(x in -FRAC_PI_2..FRAC_PI_2) {
            prop_assert!((cosine(x) - f64::cos(x)).abs() < 1e-15);
        }
    }
}
