//! Writing to the terminal, or to what stands in for it: colours only where they are wanted, errors returned.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::args::Colour;

/// What is wrong.
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
/// What is well.
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
/// What deserves a look.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Names of servers.
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();
/// What matters less.
pub(super) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(super) const BOLD: Style = Style::new().bold();

/// Standard output.
pub(super) fn out() -> AutoStream<io::StdoutLock<'static>> {
    anstream::AutoStream::auto(io::stdout().lock())
}

/// Standard error.
pub(super) fn err() -> AutoStream<io::StderrLock<'static>> {
    anstream::AutoStream::auto(io::stderr().lock())
}

/// `text` in a style.
pub(super) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// From now on colours as asked for.
pub(super) fn set_colour(colour: Colour) {
    match colour {
        Colour::Auto => ColorChoice::Auto,
        Colour::Always => ColorChoice::Always,
        Colour::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Says what went wrong; nothing when there is nothing to say.
pub(super) fn fail(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    match text.strip_prefix("error: ") {
        Some(rest) => writeln!(err(), "{RED}error{RED:#}: {rest}"),
        None => writeln!(err(), "{text}"),
    }
}

/// Says what deserves a look, whatever `--quiet` says.
pub(super) fn warn(text: &str) -> io::Result<()> {
    writeln!(err(), "{YELLOW}warning{YELLOW:#}: {text}")
}

/// Standard output, byte for byte.
pub(super) fn raw_out() -> io::StdoutLock<'static> {
    io::stdout().lock()
}
