//! An `AT` line and the order of two of them.

use std::cmp::Ordering;
use std::fmt;

use super::parse::{FieldError, Fields};
use crate::time::Timestamp;

/// What a client's clock showed: whole seconds since the Unix epoch, and nanoseconds below one second.
///
/// Never a float: near 1.6e9 s the spacing of doubles is 238 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// An `AT` line: who received a client's location, when by the client's clock, and how far the clocks were apart.
///
/// Keeps the bytes as they came, without the line's end, because servers pass them on verbatim. Two reports of one client
/// are ordered by [`Report::version_cmp`].
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
        let fixed = "AT   +.123456789   ".len() - 2;
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
        Self { line: line.into_boxed_str(), client: (start as u32, end as u32), time }
    }

    /// The report in `line`, whose client field lies at `client` (byte offsets) and whose time field says `time`.
    pub(super) fn of_line(line: &str, client: (u32, u32), time: PosixTime) -> Self {
        Self { line: line.into(), client, time }
    }

    /// The line as it came, without its end.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The client the report is about.
    pub fn client(&self) -> &str {
        &self.line[self.client.0 as usize..self.client.1 as usize]
    }

    /// The client's time.
    pub fn time(&self) -> PosixTime {
        self.time
    }

    /// The server that received the client's `IAMAT`.
    pub fn origin(&self) -> &str {
        self.field(1)
    }

    /// Server's receive time minus client's time in seconds, as text.
    pub fn skew(&self) -> &str {
        self.field(2)
    }

    /// The client's location in ISO 6709, as text.
    pub fn location(&self) -> &str {
        self.field(4)
    }

    /// The client's time as the client wrote it.
    pub fn stated_time(&self) -> &str {
        self.field(5)
    }

    fn field(&self, index: usize) -> &str {
        Fields::of(&self.line).nth(index).expect("an AT line has six fields")
    }

    /// The order in which reports of one client replace each other: by seconds, nanoseconds, origin, location, skew and
    /// at last the time's own digits; the larger wins.
    ///
    /// Time alone is no order: a client that sends one `IAMAT` to two servers makes two reports with one time, and each
    /// half of the herd would keep the one it saw first for ever. The digits come last because `1.5` and `1.50` are one
    /// time in two spellings, and the herd must agree on one of the two lines.
    pub fn version_cmp(&self, other: &Self) -> Ordering {
        self.time.cmp(&other.time).then_with(|| {
            let key = |report: &Self| {
                let [origin, skew, location, time] = [1, 2, 4, 5].map(|index| report.field(index).to_owned());
                (origin, location, skew, time)
            };
            if self.line == other.line { Ordering::Equal } else { key(self).cmp(&key(other)) }
        })
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report({:?})", self.line)
    }
}
