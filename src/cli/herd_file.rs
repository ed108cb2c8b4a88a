//! The herd file that a command names, or what is wrong with it.

use std::io::{self, Write};
use std::path::Path;

use super::Failure;
use super::args::Global;
use super::terminal;
use crate::config::{self, LoadError, Loaded, Topology};
use crate::diagnostic::Diagnostics;
use crate::exit::Exit;

/// Reads a herd's file, and says what may surprise.
pub(super) fn load(global: &Global, path: &Path) -> Result<Topology, Failure> {
    load_whole(global, path).map(|loaded| loaded.topology)
}

/// Reads a herd's file with what tells it from others, and says what may surprise.
pub(super) fn load_whole(global: &Global, path: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(path).map_err(|error| failure(global, path, error))?;
    warn(global, &loaded.warnings)?;
    Ok(loaded)
}

/// Says what may surprise in a file that can be used.
pub(super) fn warn(global: &Global, warnings: &Diagnostics) -> io::Result<()> {
    if !warnings.is_empty() && !global.quiet {
        writeln!(terminal::err(), "{}", render(global, warnings))?;
    }
    Ok(())
}

/// Problems as the command line asks for them. Colours that nobody wants are taken out on the way to the terminal.
pub(super) fn render(global: &Global, problems: &Diagnostics) -> String {
    problems.render(global.error_format, true)
}

/// Why a file cannot be used, for people.
pub(super) fn failure(global: &Global, path: &Path, error: LoadError) -> Failure {
    match error {
        LoadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::usage(format!("there is no file {}; `herdsim init` writes one", path.display()))
        }
        LoadError::Read { .. } => Failure::usage(error.to_string()),
        LoadError::Invalid(problems) => Failure { exit: Exit::Usage, text: render(global, &problems) },
    }
}
