//! Cuts bytes into lines, for everything that reads a stream of them.
//!
//! The meaning of a line lives in [`parse`](super::parse()).

/// Returns the first line of `bytes` without its LF or CR LF, and the number of bytes that the line takes with its end.
///
/// Returns `None` if `bytes` hold no whole line. The first `scanned` bytes must hold no LF, and are not searched again.
///
/// # Panics
///
/// If `scanned` is more than the number of `bytes`.
#[inline]
pub fn next_line(bytes: &[u8], scanned: usize) -> Option<(&[u8], usize)> {
    let end = scanned + memchr::memchr(b'\n', &bytes[scanned..])?;
    Some((last_line(&bytes[..end]), end + 1))
}

/// Returns the line that a stream ends with, without a CR. The stream ends instead of an LF.
#[inline]
pub fn last_line(rest: &[u8]) -> &[u8] {
    rest.strip_suffix(b"\r").unwrap_or(rest)
}

/// Returns the whole lines of `bytes`, each without its LF or CR LF.
///
/// If the stream is `at_end`, bytes behind the last LF are a line too.
pub fn lines(bytes: &[u8], at_end: bool) -> Lines<'_> {
    Lines { rest: bytes, at_end }
}

/// An iterator over lines, made by [`lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    rest: &'a [u8],
    at_end: bool,
}

impl<'a> Lines<'a> {
    /// Returns the bytes that no line has taken.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some((line, taken)) = next_line(self.rest, 0) {
            self.rest = &self.rest[taken..];
            return Some(line);
        }
        if !self.at_end || self.rest.is_empty() {
            return None;
        }
        Some(last_line(std::mem::take(&mut self.rest)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_ends_with_lf_or_cr_lf_and_takes_its_end() {
        assert_eq!(next_line(b"IAMAT\nAT", 0), Some((&b"IAMAT"[..], 6)));
        assert_eq!(next_line(b"IAMAT\r\nAT", 0), Some((&b"IAMAT"[..], 7)));
        assert_eq!(next_line(b"a\rb\r\r\n", 0), Some((&b"a\rb\r"[..], 6)));
    }

    #[test]
    fn an_empty_line_takes_only_its_end() {
        assert_eq!(next_line(b"\nAT", 0), Some((&b""[..], 1)));
        assert_eq!(next_line(b"\r\n", 0), Some((&b""[..], 2)));
    }

    #[test]
    fn without_an_lf_there_is_no_whole_line() {
        assert_eq!(next_line(b"", 0), None);
        assert_eq!(next_line(b"IAMAT\r", 0), None);
        assert_eq!(next_line(b"IAMAT\r", 6), None);
        assert_eq!(last_line(b"IAMAT\r"), b"IAMAT");
    }

    #[test]
    fn bytes_that_were_searched_belong_to_the_line_all_the_same() {
        assert_eq!(next_line(b"IAMAT\r\n", 6), Some((&b"IAMAT"[..], 7)));
        assert_eq!(next_line(b"IAMAT\n", 3), Some((&b"IAMAT"[..], 6)));
    }

    #[test]
    fn the_rest_is_a_line_at_the_end_of_the_stream_only() {
        let mut open = lines(b"a\r\n\nb\r", false);
        assert_eq!(open.by_ref().collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(open.rest(), b"b\r");
        let mut ended = lines(b"a\r\n\nb\r", true);
        assert_eq!(ended.by_ref().collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
        assert_eq!(ended.rest(), b"");
        assert_eq!(lines(b"a\n", true).count(), 1);
        assert_eq!(lines(b"", true).count(), 0);
    }

    proptest! {
        #[test]
        fn a_stream_in_pieces_gives_the_lines_of_the_whole(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a')], 0..60),
            piece in 1..8_usize,
        ) {
            let (mut unread, mut scanned, mut cut) = (Vec::new(), 0, Vec::new());
            for piece in bytes.chunks(piece) {
                unread.extend_from_slice(piece);
                while let Some((line, taken)) = next_line(&unread, scanned) {
                    cut.push(line.to_vec());
                    unread.drain(..taken);
                    scanned = 0;
                }
                scanned = unread.len();
            }
            let mut whole = lines(&bytes, false);
            prop_assert_eq!(whole.by_ref().collect::<Vec<_>>(), cut);
            prop_assert_eq!(whole.rest(), unread);
        }
    }
}
