//! The question of a `WHATSAT` and its answer, as values between a node and a places service.

/// Where to look, how far, and for how many places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Degrees, -90 to 90.
    pub latitude: f64,
    /// Degrees, -180 to 180.
    pub longitude: f64,
    /// 0 to 50 kilometres.
    pub radius_km: u8,
    /// 0 to 20 places.
    pub bound: u8,
}

impl Search {
    /// Returns `true` if no place can be an answer.
    pub fn is_empty(&self) -> bool {
        self.radius_km == 0 || self.bound == 0
    }
}

/// The JSON text of a Nearby Search reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// No run of two or more newlines, and none at the end.
    pub json: bytes::Bytes,
}
