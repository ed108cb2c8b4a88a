//! Replies of a server to its clients, and the commands that get one.

use memchr::memmem;

use super::{Answer, Command, next_line, parse};

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

/// The form of a reply, which says where the reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One line.
    Line,
    /// One line and JSON that ends with an empty line, or only one line if the command is refused.
    Found,
}

impl Shape {
    /// Returns the length of the reply that `bytes` begin with, or `None` if `bytes` do not hold all of the reply.
    pub fn length(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Found if !bytes.starts_with(b"?") => memmem::find(bytes, b"\n\n").map(|end| end + 2),
            Self::Line | Self::Found => next_line(bytes, 0).map(|(_, taken)| taken),
        }
    }
}

/// Returns the form of the reply to a line, given without its line end. Returns `None` if the protocol gives no reply.
pub fn reply_shape(line: &[u8]) -> Option<Shape> {
    match parse(line) {
        // To a client, a control line is a command that no server knows.
        Command::Iamat { .. } | Command::Control(_) | Command::Invalid(_) => Some(Shape::Line),
        Command::Whatsat { .. } => Some(Shape::Found),
        Command::At(_) | Command::Blank | Command::Refusal => None,
    }
}

/// Appends a line and its end.
pub fn write_line(buffer: &mut Vec<u8>, line: &[u8]) {
    buffer.reserve(line.len() + 1);
    buffer.extend_from_slice(line);
    buffer.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_has_its_shape_of_reply() {
        for (line, shape) in [
            (&b"IAMAT kiwi +34.0-118.0 5"[..], Some(Shape::Line)),
            (b"WHATSAT kiwi 10 5", Some(Shape::Found)),
            (b"AT Clark +0.1 kiwi +34.0-118.0 5", None),
            (b"", None),
            (b" \t\r", None),
            (b"? WHATSAT kiwi 10 5", None),
            (b"?", None),
            (b"nonsense", Some(Shape::Line)),
            (b"\xff", Some(Shape::Line)),
            (b"IAMAT kiwi", Some(Shape::Line)),
            (b"WHATSAT kiwi 51 5", Some(Shape::Line)),
            (b"AT Clark", Some(Shape::Line)),
            (b"HERD 1 want kiwi", Some(Shape::Line)),
        ] {
            assert_eq!(reply_shape(line), shape, "{:?}", String::from_utf8_lossy(line));
            assert_eq!(reply_shape(&[line, b"\r"].concat()), shape, "with a CR");
        }
    }

    #[test]
    fn a_reply_ends_where_its_shape_says() {
        let found = b"AT Clark +0.1 kiwi +1+1 5\n{\n}\n\n? next\n";
        assert_eq!(Shape::Line.length(found), Some(26));
        assert_eq!(Shape::Found.length(found), Some(31));
        assert_eq!(Shape::Found.length(&found[..30]), None);
        assert_eq!(Shape::Found.length(&found[31..]), Some(7), "a refusal is one line");
        assert_eq!(Shape::Line.length(b"AT"), None);
    }

    #[test]
    fn what_is_written_is_as_long_as_its_shape_says() {
        let answer = Answer { json: bytes::Bytes::from_static(b"{}") };
        for (reply, shape) in [
            (Reply::At("AT"), Shape::Line),
            (Reply::Refused(b"nonsense"), Shape::Line),
            (Reply::Refused(b"WHATSAT"), Shape::Found),
            (Reply::Found("AT", &answer), Shape::Found),
        ] {
            let mut written = Vec::new();
            reply.write_to(&mut written);
            let length = written.len();
            written.extend_from_slice(b"AT\n\n");
            assert_eq!(shape.length(&written), Some(length), "{reply:?}");
        }
    }
}
