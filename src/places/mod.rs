//! What a `WHATSAT` asks of a places service, and what comes back.

/// A question.
#[derive(Debug, Clone, PartialEq)]
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

/// The JSON text of a Nearby Search reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// No run of two or more newlines, and none at the end.
    pub json: bytes::Bytes,
}
