//! Tests of the whole program, in one binary.

mod cli;
mod command;
mod connections;
mod corpus;
mod faults;
mod hard_times;
mod herd_of;
mod hostile;
mod house;
mod oracle;
mod patience;
mod processes;
mod protocol;
mod readme;
mod remote;
mod support;
mod tree;
