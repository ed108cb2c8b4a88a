//! An `AT` line and the order of two of them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use hashbrown::DefaultHashBuilder;

use super::parse::{Command, FieldError, Fields, decimal_parts, degrees, digits, parse};
use crate::time::Timestamp;

/// What a client's clock showed: whole seconds since the Unix epoch, and nanoseconds below one second.
///
/// Never a float: near 1.6e9 s the spacing of doubles is 238 ns.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub struct PosixTime {
    /// Whole seconds, at least 0.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl PosixTime {
    /// Reads `SECONDS` or `SECONDS.FRACTION` with one to nine digits of fraction and no sign.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let (whole, fraction) = decimal_parts(text);
        let seconds = digits(whole).and_then(|seconds| i64::try_from(seconds).ok()).ok_or(FieldError::Time)?;
        let fraction_digits = digits(fraction).filter(|_| fraction.len() <= 9).ok_or(FieldError::Time)?;
        let nanoseconds = fraction_digits as u32 * 10_u32.pow(9 - fraction.len() as u32);
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
        Report { line: self.line.into(), client: self.client, time: self.time, client_hash: client_hash(self.client()) }
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
    client_hash: u64,
}

/// A hash of a client's name for tables that are looked up and never walked: another one in every process, so that nobody
/// can choose names that collide.
pub(crate) fn client_hash(client: &str) -> u64 {
    static HASHES: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    HASHES.hash_one(client)
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
        let skew = time.skew_at(received);
        let sign = if skew < 0 { '-' } else { '+' };
        let mut digits = [b'0'; 40];
        let skew = decimal(&mut digits, skew.unsigned_abs());
        let fixed = "AT  +.   ".len();
        let mut line =
            String::with_capacity(fixed + skew.len() + origin.len() + client.len() + location.len() + stated.len());
        line.push_str("AT ");
        line.push_str(origin);
        line.push(' ');
        line.push(sign);
        line.push_str(&skew[..skew.len() - 9]);
        line.push('.');
        line.push_str(&skew[skew.len() - 9..]);
        line.push(' ');
        let start = line.len();
        line.push_str(client);
        let end = line.len();
        for field in [location, stated] {
            line.push(' ');
            line.push_str(field);
        }
        debug_assert_eq!(line.len(), line.capacity(), "the line is not copied to fit");
        Self { line: line.into_boxed_str(), client: (start as u32, end as u32), time, client_hash: client_hash(client) }
    }

    /// The report as a line to look into.
    pub fn at(&self) -> AtLine<'_> {
        AtLine { line: &self.line, client: self.client, time: self.time }
    }

    /// The line as it came, without its end.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// How many bytes it is on a link: the line and its end.
    pub fn written_len(&self) -> usize {
        self.line.len() + 1
    }

    /// The client the report is about.
    pub fn client(&self) -> &str {
        self.at().client()
    }

    /// The hash of [`Self::client`], the same as that of every other report about it in this process.
    pub(crate) fn client_hash(&self) -> u64 {
        self.client_hash
    }
}

/// A number of nanoseconds with at least the digits of one second, written from the end of `digits`, which are zeros. The
/// skew of an `IAMAT` is written so often that the formatting of the standard library would be half of the work.
fn decimal(digits: &mut [u8; 40], number: u128) -> &str {
    let mut start = digits.len();
    let mut write = |digit: u8| {
        start -= 1;
        digits[start] = b'0' + digit;
    };
    let mut large = number;
    while large > u128::from(u64::MAX) {
        write((large % 10) as u8);
        large /= 10;
    }
    // From here on with the division that processors have.
    let mut rest = large as u64;
    while rest > 0 {
        write((rest % 10) as u8);
        rest /= 10;
    }
    let start = start.min(digits.len() - 10);
    std::str::from_utf8(&digits[start..]).expect("they are digits")
}

/// Writes the line.
impl serde::Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.line.serialize(serializer)
    }
}

/// Reads an `AT` line.
impl<'de> serde::Deserialize<'de> for Report {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        match parse(line.as_bytes()) {
            Command::At(at) => Ok(at.to_report()),
            _ => Err(serde::de::Error::custom(format_args!("`{line}` is not an AT line"))),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report({:?})", self.line)
    }
}
