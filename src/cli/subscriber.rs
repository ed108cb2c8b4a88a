//! What the program says about itself while it runs: warnings on standard error, and with `-v` more.
//!
//! Not here: what happens in a herd, which is observed, told ([`super::narrate`]) and logged ([`super::logs`]).

use std::io;

use anstream::{AutoStream, ColorChoice};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::args::{Global, LogFormat};

/// Listens to this program's own events from now on. Those of its libraries are left out: an HTTP client's have addresses
/// with keys in them.
pub(super) fn install(global: &Global, format: LogFormat) {
    let targets = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level(global));
    let registry = tracing_subscriber::registry().with(targets);
    let layer = fmt::layer().with_writer(io::stderr);
    let installed = match format {
        LogFormat::Json => registry.with(layer.json()).try_init(),
        LogFormat::Text => registry.with(layer.compact().with_target(false).with_ansi(is_coloured())).try_init(),
    };
    // Somebody listens already: a test that runs several commands.
    drop(installed);
}

fn level(global: &Global) -> Level {
    match global.verbose {
        _ if global.quiet => Level::ERROR,
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    }
}

fn is_coloured() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}
