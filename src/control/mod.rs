//! How a command in one terminal reaches a herd that runs in another: HTTP/1.1 over a Unix socket.
//!
//! Not here: what people type and read ([`crate::cli`]), and what is done to servers ([`crate::act`]).

pub mod api;
pub mod client;
pub mod events;
pub mod names;
pub mod owner;
pub mod server;
pub mod socket;
