//! How a command in one terminal reaches a herd that runs in another: HTTP/1.1 over a Unix socket.
//!
//! Not here: what people type and read ([`crate::cli`]), and what is done to servers ([`crate::act`]).

pub mod api;
mod causal;
pub mod client;
pub mod events;
mod feed;
pub mod herd;
pub mod merge;
pub mod names;
pub mod owner;
pub mod promise;
pub mod records;
pub mod server;
pub mod socket;
pub mod verbs;
