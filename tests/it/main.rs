//! Tests of the whole program, in one binary.

mod cli;
mod command;
mod faults;
mod hostile;
mod protocol;
mod readme;
mod soak;
mod support;
