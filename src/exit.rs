//! What the exit code of `herdsim` means.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked; every scenario passed.
    Passed = 0,
    /// A scenario failed.
    Failed = 1,
    /// The command line or a file is wrong, or names what does not exist.
    Usage = 2,
    /// It could not run: a port is taken, no herd is up, a file cannot be written.
    CouldNotRun = 3,
    /// No scenario was selected.
    NothingSelected = 4,
    /// Nothing failed, but a scenario proved nothing.
    Unproven = 5,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM or SIGHUP.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
