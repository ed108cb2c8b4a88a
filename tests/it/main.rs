//! Tests of the whole program, in one binary.

mod cli;
mod command;
mod faults;
mod protocol;
mod readme;
mod soak;
mod support;
