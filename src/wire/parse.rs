//! From the bytes of a line to a command; returns for any bytes.

use std::str;

use super::control::{Control, control};
use super::{AtLine, MAX_BOUND, MAX_RADIUS_KM, PosixTime};

/// A line, understood. Borrows from the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command<'a> {
    /// `IAMAT client location time`: a client says where it is.
    Iamat {
        /// Any run of bytes without white space.
        client: &'a str,
        /// Latitude and longitude in ISO 6709, in range.
        location: &'a str,
        /// The client's time as it wrote it.
        stated: &'a str,
        /// The client's time.
        time: PosixTime,
    },
    /// `WHATSAT client radius bound`: somebody asks what is near a client.
    Whatsat {
        /// The client asked about.
        client: &'a str,
        /// 0 to [`MAX_RADIUS_KM`], in kilometres.
        radius_km: u8,
        /// 0 to [`MAX_BOUND`] places.
        bound: u8,
    },
    /// `AT server skew client location time`: a server passes a location on.
    At(AtLine<'a>),
    /// `HERD 1 ..`: a server of the herd says something besides updates.
    Control(Control<'a>),
    /// Nothing but white space: no reply.
    Blank,
    /// Begins with `?`: another server's refusal. No reply, or two servers would answer each other for ever.
    Refusal,
    /// Not a command: the reply is `? ` and a copy of it.
    Invalid(Invalid),
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The line is not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// The first field is not a command, or the line is not a control line of a version that is known.
    #[error("unknown command")]
    Unknown,
    /// Too few or too many operands.
    #[error("wrong number of operands")]
    Operands,
    /// An operand is not of its form or out of range.
    #[error("{0}")]
    Field(#[from] FieldError),
}

/// What is wrong with an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not `+DEGREES-DEGREES` with both signs written, or out of range.
    #[error("a location is latitude and longitude with both signs, like +34.068930-118.445127")]
    Location,
    /// Not seconds with at most nine decimals.
    #[error("a time is POSIX seconds with at most nine decimals, like 1621464827.959498503")]
    Time,
    /// Not a decimal number.
    #[error("a skew is a decimal number, like +0.263873386")]
    Skew,
    /// Not a whole number from 0 to 50.
    #[error("a radius is a whole number of kilometres from 0 to 50")]
    Radius,
    /// Not a whole number from 0 to 20.
    #[error("a bound is a whole number from 0 to 20")]
    Bound,
}

/// Reads one line, given without its line end. Every byte sequence gives an answer.
pub fn parse(line: &[u8]) -> Command<'_> {
    let Ok(line) = str::from_utf8(line) else { return Command::Invalid(Invalid::Encoding) };
    let line = line.trim_matches(|end: char| end.is_ascii() && is_space(end as u8));
    let mut fields = Fields::of(line);
    let Some(word) = fields.next() else { return Command::Blank };
    if word.starts_with('?') {
        return Command::Refusal;
    }
    let command = match word {
        "IAMAT" => operands(&mut fields).and_then(iamat),
        "WHATSAT" => operands(&mut fields).and_then(whatsat),
        "AT" => operands(&mut fields).and_then(|operands| at(line, operands)),
        "HERD" => control(&mut fields).map(Command::Control),
        _ => Err(Invalid::Unknown),
    };
    command.unwrap_or_else(Command::Invalid)
}

fn iamat([client, location, stated]: [&str; 3]) -> Result<Command<'_>, Invalid> {
    halves(location).ok_or(FieldError::Location)?;
    Ok(Command::Iamat { client, location, stated, time: PosixTime::parse(stated)? })
}

fn whatsat([client, radius, bound]: [&str; 3]) -> Result<Command<'_>, Invalid> {
    let radius_km = at_most(radius, MAX_RADIUS_KM).ok_or(FieldError::Radius)?;
    let bound = at_most(bound, MAX_BOUND).ok_or(FieldError::Bound)?;
    Ok(Command::Whatsat { client, radius_km, bound })
}

fn at<'a>(line: &'a str, [_origin, skew, client, location, stated]: [&'a str; 5]) -> Result<Command<'a>, Invalid> {
    if !is_decimal(skew) {
        return Err(FieldError::Skew.into());
    }
    halves(location).ok_or(FieldError::Location)?;
    let start = (client.as_ptr() as usize - line.as_ptr() as usize) as u32;
    let client = (start, start + client.len() as u32);
    Ok(Command::At(AtLine::new(line, client, PosixTime::parse(stated)?)))
}

/// Exactly `N` more fields.
pub(super) fn operands<'a, const N: usize>(fields: &mut Fields<'a>) -> Result<[&'a str; N], Invalid> {
    let mut operands = [""; N];
    for operand in &mut operands {
        *operand = fields.next().ok_or(Invalid::Operands)?;
    }
    if fields.next().is_some() { Err(Invalid::Operands) } else { Ok(operands) }
}

/// A whole number without sign, at most `limit`.
fn at_most(text: &str, limit: u8) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number <= limit)
}

/// Latitude and longitude in degrees of an ISO 6709 location with both signs written; `None` when it is not of that form
/// or out of range.
pub(super) fn degrees(location: &str) -> Option<(f64, f64)> {
    let (latitude, longitude) = halves(location)?;
    Some((latitude.parse().ok()?, longitude.parse().ok()?))
}

/// Latitude and longitude as they are written, in range. Compares digits: it is asked of every update, and making floats
/// took a tenth of that.
fn halves(location: &str) -> Option<(&str, &str)> {
    let second_sign = location.bytes().skip(1).position(|byte| matches!(byte, b'+' | b'-'))? + 1;
    let (latitude, longitude) = location.split_at_checked(second_sign)?;
    (is_degree(latitude, 90) && is_degree(longitude, 180)).then_some((latitude, longitude))
}

/// `+` or `-`, digits, and perhaps a point and more digits; at most `limit` from zero.
fn is_degree(text: &str, limit: u64) -> bool {
    let Some(magnitude) = text.strip_prefix(['+', '-']) else { return false };
    let (whole, fraction) = decimal_parts(magnitude);
    let Some(degrees) = digits(whole) else { return false };
    let is_decimal = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = || fraction.bytes().all(|byte| byte == b'0');
    is_decimal && (degrees < limit || (degrees == limit && is_zero()))
}

/// What stands before and after the point, when there is one; `0` for what is not there.
pub(super) fn decimal_parts(number: &str) -> (&str, &str) {
    match number.bytes().position(|byte| byte == b'.') {
        None => (number, "0"),
        Some(point) => (&number[..point], &number[point + 1..]),
    }
}

/// A whole number without sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Any decimal number. Other people's servers print a skew without sign or, near zero, with an exponent.
fn is_decimal(text: &str) -> bool {
    let starts = text.trim_start_matches(['+', '-']).starts_with(|first: char| first.is_ascii_digit() || first == '.');
    starts && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The fields of a line: runs of anything but white space (space, tab, CR, LF, FF, VT).
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// Returns everything behind the last field that was taken.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let start = self.rest.bytes().position(|byte| !is_space(byte))?;
        let field = &self.rest[start..];
        let (field, rest) = field.split_at(first_space(field.as_bytes()));
        self.rest = rest;
        Some(field)
    }
}

/// Where the first white space is, or the end: this looks at every byte of every line, so eight at a time.
fn first_space(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let mut start = 0;
    while let Some(word) = bytes[start..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The high bit of every byte up to the blank, and perhaps of bytes behind the first such one.
        let low = word.wrapping_sub(EACH * (u64::from(b' ') + 1)) & !word & (EACH << 7);
        match low {
            0 => start += 8,
            _ => {
                start += low.trailing_zeros() as usize / 8;
                if is_space(bytes[start]) {
                    return start;
                }
                start += 1;
            }
        }
    }
    let rest = bytes[start..].iter().position(|&byte| is_space(byte));
    rest.map_or(bytes.len(), |place| start + place)
}

fn is_space(byte: u8) -> bool {
    // One test instead of six.
    const SPACES: u64 = 1 << b' ' | 1 << b'\t' | 1 << b'\r' | 1 << b'\n' | 1 << 0x0b | 1 << 0x0c;
    byte <= b' ' && SPACES >> byte & 1 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_end_at_white_space_and_nowhere_else(line in "[ \t\r\x0b\x0c\x00\x1f!a~é]{0,40}") {
            let fields: Vec<_> = Fields::of(&line).collect();
            let expected: Vec<_> = line.split([' ', '\t', '\r', '\n', '\x0b', '\x0c']).filter(|field| !field.is_empty()).collect();
            prop_assert_eq!(fields, expected);
        }
    }
}
