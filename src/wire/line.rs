//! A line that one server writes to another.

use std::sync::Arc;

use super::{ControlLine, Report};

/// A line that one server writes to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An update.
    At(Arc<Report>),
    /// Anything else. Only between servers of a herd whose strategy asks for it.
    Control(Arc<ControlLine>),
}

impl Line {
    /// Returns the line without its end.
    pub fn text(&self) -> &str {
        match self {
            Self::At(report) => report.line(),
            Self::Control(control) => control.text(),
        }
    }

    /// Returns the number of bytes that the line takes on a link, with its end.
    pub fn written_len(&self) -> usize {
        self.text().len() + 1
    }

    /// Returns the update, unless the line is a control line.
    pub fn into_report(self) -> Option<Arc<Report>> {
        match self {
            Self::At(report) => Some(report),
            Self::Control(_) => None,
        }
    }
}
