//! Runs, breaks and judges application server herds.

pub mod config;
pub mod places;
pub mod time;
pub mod wire;
