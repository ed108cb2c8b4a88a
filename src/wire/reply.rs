//! What a server answers a client.

use std::sync::Arc;

use super::Report;
use crate::places::Answer;

/// The one answer to one command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To an `IAMAT`: the `AT` line made of it.
    At(Arc<Report>),
    /// To a `WHATSAT`: the client's most recent `AT` line, and the places near it.
    Found(Arc<Report>, Answer),
    /// To anything else: `? ` and a copy of the command, without its line end.
    Refused(Box<[u8]>),
}

impl Reply {
    /// Appends the reply as it goes over the wire, line ends included.
    pub fn write_to(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::At(report) => write_line(buffer, report.line().as_bytes()),
            Self::Found(report, answer) => {
                write_line(buffer, report.line().as_bytes());
                buffer.extend_from_slice(&answer.json);
                buffer.extend_from_slice(b"\n\n");
            }
            Self::Refused(command) => {
                buffer.extend_from_slice(b"? ");
                write_line(buffer, command);
            }
        }
    }
}

fn write_line(buffer: &mut Vec<u8>, line: &[u8]) {
    buffer.extend_from_slice(line);
    buffer.push(b'\n');
}
