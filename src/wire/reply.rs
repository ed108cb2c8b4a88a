//! What a server answers a client.

use crate::wire::Answer;

/// The one answer to one command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply<'a> {
    /// To an `IAMAT`: the `AT` line made of it.
    At(&'a str),
    /// To a `WHATSAT`: the client's most recent `AT` line, and the places near it.
    Found(&'a str, &'a Answer),
    /// To anything else: `? ` and a copy of the command, given without its line end.
    Refused(&'a [u8]),
}

impl Reply<'_> {
    /// Appends the reply as it goes over the wire, line ends included.
    pub fn write_to(self, buffer: &mut Vec<u8>) {
        match self {
            Self::At(line) => write_line(buffer, line.as_bytes()),
            Self::Found(line, answer) => {
                write_line(buffer, line.as_bytes());
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

/// Appends a line and its end.
pub fn write_line(buffer: &mut Vec<u8>, line: &[u8]) {
    buffer.reserve(line.len() + 1);
    buffer.extend_from_slice(line);
    buffer.push(b'\n');
}
