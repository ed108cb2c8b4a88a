//! Tests of the whole program, in one binary.

mod cli;
mod command;
mod corpus;
mod faults;
mod hostile;
mod protocol;
mod readme;
mod support;
