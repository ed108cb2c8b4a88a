//! The lines of the wire as types: what servers and clients say to each other, byte for byte.
//!
//! Not here: reading and writing sockets (the drivers), and what a server does about a line ([`crate::node`]).

mod control;
mod cut;
mod line;
mod parse;
mod reply;
mod report;
mod search;

pub use control::{Control, ControlLine, Names, Taken, Version, Versions};
pub use cut::{Lines, last_line, lines, next_line};
pub use line::Line;
pub use parse::{Command, FieldError, Invalid, parse};
pub use reply::{Reply, Shape, reply_shape, write_line};
pub(crate) use report::client_hash;
pub use report::{AtLine, PosixTime, Report};
pub use search::{Answer, Search};

/// The largest radius of a `WHATSAT`, in kilometres.
pub const MAX_RADIUS_KM: u8 = 50;

/// The largest number of places a `WHATSAT` may ask for.
pub const MAX_BOUND: u8 = 20;

#[cfg(test)]
mod tests;
