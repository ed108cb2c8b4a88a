//! An `AT` line and the order of two of them.

use std::cmp::Ordering;
use std::fmt;

use super::parse::{FieldError, Fields, degrees};
use crate::time::Timestamp;

/// What a client's clock showed: whole seconds since the Unix epoch, and nanoseconds below one second.
///
/// Never a float: near 1.6e9 s the spacing of doubles is 238 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PosixTime {
    /// Whole seconds, at least 0.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl PosixTime {
    /// Reads `SECONDS` or `SECONDS.FRACTION` with one to nine digits of fraction and no sign.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(FieldError::Time);
        }
        let seconds = whole.parse().map_err(|_| FieldError::Time)?;
        let scale = 10_u32.pow(9 - fraction.len() as u32);
        let nanoseconds = fraction.parse::<u32>().map_err(|_| FieldError::Time)? * scale;
        Ok(Self { seconds, nanoseconds })
    }

    /// `received` minus `self` in nanoseconds, exactly.
    fn skew_at(self, received: Timestamp) -> i128 {
        let stated = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds);
        i128::from(received.nanoseconds()) - stated
    }
}

/// Seconds, and the fraction when there is one.
impl fmt::Display for PosixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nanoseconds {
            0 => write!(f, "{}", self.seconds),
            nanoseconds => write!(f, "{}.{}", self.seconds, format!("{nanoseconds:09}").trim_end_matches('0')),
        }
    }
}

/// An `AT` line as it lies in somebody's buffer: who received a client's location, when by the client's clock, and how far
/// the clocks were apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AtLine<'a> {
    line: &'a str,
    client: (u32, u32),
    time: PosixTime,
}

impl<'a> AtLine<'a> {
    /// The line `line`, whose client field lies at `client` (byte offsets) and whose time field says `time`.
    pub(super) fn new(line: &'a str, client: (u32, u32), time: PosixTime) -> Self {
        Self { line, client, time }
    }

    /// The line as it came, without its end.
    pub fn line(self) -> &'a str {
        self.line
    }

    /// The client the line is about.
    pub fn client(self) -> &'a str {
        &self.line[self.client.0 as usize..self.client.1 as usize]
    }

    /// The client's time.
    pub fn time(self) -> PosixTime {
        self.time
    }

    /// The server that received the client's `IAMAT`.
    pub fn origin(self) -> &'a str {
        self.field(1)
    }

    /// Server's receive time minus client's time in seconds, as text.
    pub fn skew(self) -> &'a str {
        self.field(2)
    }

    /// The client's location in ISO 6709, as text.
    pub fn location(self) -> &'a str {
        self.field(4)
    }

    /// The client's latitude and longitude in degrees.
    pub fn degrees(self) -> (f64, f64) {
        degrees(self.location()).expect("the parser took the location for valid")
    }

    /// The client's time as the client wrote it.
    pub fn stated_time(self) -> &'a str {
        self.field(5)
    }

    /// A copy of its own.
    pub fn to_report(self) -> Report {
        Report { line: self.line.into(), client: self.client, time: self.time }
    }

    fn field(self, index: usize) -> &'a str {
        Fields::of(self.line).nth(index).expect("an AT line has six fields")
    }

    /// The order in which lines about one client replace each other: by seconds, nanoseconds, origin, location, skew, the
    /// time's own digits and at last the bytes of the whole line; the larger wins.
    ///
    /// Time alone is no order: a client that sends one `IAMAT` to two servers makes two lines with one time, and each
    /// half of the herd would keep the one it saw first for ever. The digits and the bytes come last because `1.5` and
    /// `1.50`, or one space and two, are one version in two spellings, and the herd must agree on one of the two lines.
    pub fn version_cmp(self, other: AtLine<'_>) -> Ordering {
        let by_time = self.time.cmp(&other.time);
        if by_time.is_ne() || self.line == other.line {
            return by_time;
        }
        let by_field = |index| self.field(index).cmp(other.field(index));
        by_field(1)
            .then_with(|| by_field(4))
            .then_with(|| by_field(2))
            .then_with(|| by_field(5))
            .then_with(|| self.line.cmp(other.line))
    }
}

impl fmt::Debug for AtLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtLine({:?})", self.line)
    }
}

/// An [`AtLine`] that owns its bytes, as they came, because servers pass them on verbatim.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    line: Box<str>,
    client: (u32, u32),
    time: PosixTime,
}

impl Report {
    /// The report that the server `origin` makes of an `IAMAT` received at `received`. `location` and `stated`, the
    /// client's time, are the text the client sent; `time` is what `stated` says.
    pub fn of_iamat(
        origin: &str,
        received: Timestamp,
        client: &str,
        location: &str,
        stated: &str,
        time: PosixTime,
    ) -> Self {
        use fmt::Write as _;

        let skew = time.skew_at(received);
        let sign = if skew < 0 { '-' } else { '+' };
        let (seconds, nanoseconds) = (skew.unsigned_abs() / 1_000_000_000, skew.unsigned_abs() % 1_000_000_000);
        let digits = seconds.checked_ilog10().unwrap_or(0) as usize + 1;
        let fixed = "AT  +.123456789   ".len();
        let mut line =
            String::with_capacity(fixed + digits + origin.len() + client.len() + location.len() + stated.len());
        let infallible = write!(line, "AT {origin} {sign}{seconds}.{nanoseconds:09} ");
        debug_assert!(infallible.is_ok(), "a String takes every write");
        let start = line.len();
        line.push_str(client);
        let end = line.len();
        for field in [location, stated] {
            line.push(' ');
            line.push_str(field);
        }
        debug_assert_eq!(line.len(), line.capacity(), "the line is not copied to fit");
        Self { line: line.into_boxed_str(), client: (start as u32, end as u32), time }
    }

    /// The report as a line to look into.
    pub fn at(&self) -> AtLine<'_> {
        AtLine { line: &self.line, client: self.client, time: self.time }
    }

    /// The line as it came, without its end.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The client the report is about.
    pub fn client(&self) -> &str {
        self.at().client()
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report({:?})", self.line)
    }
}
