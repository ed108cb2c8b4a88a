//! `calibrate`: what this machine's loopback takes, told as a model of links.
//!
//! Not here: the measuring ([`crate::calibrate`]).

use std::io::Write;
use std::path::Path;

use super::args::{Calibrate, CalibrateFormat, Global};
use super::terminal::{self, DIM, styled};
use super::{Failure, Outcome, herd_file, show, up};
use crate::calibrate::{self, CalibrateError, Options};
use crate::config::{self, Preset, Topology};
use crate::exit::Exit;
use crate::words::count;

/// The herd that is measured when no other is named.
const FILE: &str = "herd.toml";

impl From<CalibrateError> for Failure {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::NoLinks => Self::usage(error.to_string()),
            CalibrateError::Unreached { .. } => {
                Self::could_not(format!("{error}; `herdsim check` says whether a herd is connected"))
            }
            CalibrateError::Driver(error) => error.into(),
        }
    }
}

/// `calibrate`.
pub(super) fn calibrate(global: &Global, args: &Calibrate) -> Outcome {
    let topology = topology(global, args.file.as_deref())?;
    let options = Options { updates: args.updates, restarts: args.restarts };
    if !global.quiet {
        writeln!(terminal::err(), "{}", styled(DIM, under_way(&topology, options)))?;
    }
    let calibration = up::runtime(&topology)?.block_on(calibrate::measure(&topology, options))?;
    match args.format {
        CalibrateFormat::Table => write!(terminal::out(), "{calibration}")?,
        CalibrateFormat::Toml => write!(terminal::out(), "{}", calibration.toml())?,
        CalibrateFormat::Json => show::json_value(&calibration)?,
    }
    Ok(Exit::Passed)
}

fn under_way(topology: &Topology, Options { updates, restarts }: Options) -> String {
    let [servers, updates, restarts] =
        [(topology.servers.len() as u64, "server"), (updates.into(), "update"), (restarts.into(), "restart")]
            .map(|(number, what)| count(number, what));
    format!("measuring {updates} and {restarts} of {servers} on real sockets, and then on virtual time")
}

/// The herd of the file; without one that of `herd.toml`, and where there is none the one that `init` writes.
fn topology(global: &Global, file: Option<&Path>) -> Result<Topology, Failure> {
    match file {
        Some(file) => herd_file::load(global, file),
        None if Path::new(FILE).exists() => herd_file::load(global, Path::new(FILE)),
        None => {
            Ok(config::parse(FILE, &config::template(Preset::default(), None)).expect("the template is right").topology)
        }
    }
}
