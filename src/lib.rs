//! Runs, breaks and judges application server herds.

pub mod act;
pub mod audit;
pub mod calibrate;
pub mod checker;
pub mod claim;
pub mod cli;
pub mod config;
pub mod control;
pub mod diagnostic;
pub mod draws;
pub mod driver;
pub mod exit;
pub mod history;
pub mod node;
pub mod numbers;
pub mod places;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod suite;
pub mod time;
pub mod wire;
pub mod words;
