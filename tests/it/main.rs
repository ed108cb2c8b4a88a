//! Tests of the whole program, in one binary.

mod faults;
mod protocol;
mod support;
