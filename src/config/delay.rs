//! What a line waits on its way, and how files, people and machines write it.
//!
//! Not here: what becomes of a line that waits ([`crate::driver::path`]).

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Choice, DurationText, Table, Value};

/// The time a line spends on a link: `latency`, a draw that `jitter` and its distribution describe, and before both the time in
/// which its bytes go out, one line after the other. The order of lines is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct Delay {
    /// The least.
    pub latency: Duration,
    /// The scale of what is added; zero adds nothing.
    pub jitter: Duration,
    /// How what is added is distributed.
    pub distribution: Distribution,
    /// How fast bytes go out; `None`: in no time.
    pub bandwidth: Option<Bandwidth>,
}

impl Delay {
    /// Takes no time.
    pub const NONE: Self =
        Self { latency: Duration::ZERO, jitter: Duration::ZERO, distribution: Distribution::Uniform, bandwidth: None };
}

/// How the jitter of a [`Delay`] is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Distribution {
    /// Evenly from 0 to the jitter.
    #[default]
    Uniform,
    /// Exponentially with the jitter as mean; never more than 37 times the mean.
    Exponential,
    /// Log-normally with the jitter as median.
    LogNormal {
        /// The standard deviation of the logarithm, in hundredths: 100 puts two thirds of the draws between 1/e and e times
        /// the median. From 1 to 300.
        sigma_percent: u16,
    },
}

/// Bytes a second, at least 1 and at most [`Bandwidth::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bandwidth(NonZeroU64);

/// Why a text is no [`Bandwidth`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// It is a number.
    #[error("needs a unit, such as B/s")]
    NoUnit,
    /// It is something else.
    #[error("is not a bandwidth")]
    Unreadable,
    /// It is not within the range.
    #[error("must be from 1 B/s to 1000 GB/s")]
    OutOfRange,
}

impl Bandwidth {
    /// The largest in bytes a second: a terabyte.
    pub const MOST: u64 = 1_000_000_000_000;
    /// What to write.
    const HELP: &str = "write a number and its unit, such as \"64kB/s\", \"1.5MB/s\" or \"10Mbit/s\"";
    /// Every unit with what it is in eighths of a byte a second.
    const UNITS: [(&str, f64); 8] = [
        ("B/s", 8.0),
        ("kB/s", 8e3),
        ("MB/s", 8e6),
        ("GB/s", 8e9),
        ("bit/s", 1.0),
        ("kbit/s", 1e3),
        ("Mbit/s", 1e6),
        ("Gbit/s", 1e9),
    ];

    /// So many bytes a second; `None` when they are not within the range.
    pub fn from_bytes_a_second(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).filter(|bytes| bytes.get() <= Self::MOST).map(Self)
    }

    /// Bytes a second.
    pub fn bytes_a_second(self) -> u64 {
        self.0.get()
    }

    /// How long so many bytes take, rounded up to whole nanoseconds.
    pub fn time_of(self, bytes: usize) -> Duration {
        let nanoseconds = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(self.0.get()));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Reads a text with a unit, or a whole number of bytes a second.
    pub(crate) fn read(value: Value<'_>) -> Option<Self> {
        if value.is_integer() {
            return Self::from_bytes_a_second(value.integer(1..=Self::MOST)?);
        }
        let Some(text) = value.peek_text() else { return value.mismatch("a bandwidth such as \"64kB/s\"") };
        match text.parse() {
            Ok(bandwidth) => Some(bandwidth),
            Err(error) => {
                let problem = value.error(format!("{} {error}", value.subject()));
                value.reject(problem.help(Self::HELP))
            }
        }
    }
}

/// `"64kB/s"`: a number, with or without decimals, and a unit. Units are decimal: a kB is 1000 bytes.
impl FromStr for Bandwidth {
    type Err = BandwidthError;

    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        let text = text.trim();
        let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let number: f64 = number.parse().map_err(|_| BandwidthError::Unreadable)?;
        let eighths = match unit.trim_start() {
            "" => return Err(BandwidthError::NoUnit),
            unit => Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or(BandwidthError::Unreadable)?.1,
        };
        let bytes = number * eighths / 8.0;
        let is_in_range = (1.0..=Self::MOST as f64).contains(&bytes);
        let bandwidth = is_in_range.then(|| Self::from_bytes_a_second(bytes.round() as u64)).flatten();
        bandwidth.ok_or(BandwidthError::OutOfRange)
    }
}

impl JsonSchema for Bandwidth {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bandwidth".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "string", "examples": ["64kB/s", "1.5MB/s", "10Mbit/s"] },
            { "type": "integer", "minimum": 1, "maximum": Self::MOST },
        ] })
    }
}

/// How jitter is distributed.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Distribution")]
#[expect(dead_code, reason = "it is there for the schema")]
enum DistributionText {
    /// Evenly from 0 to the jitter.
    Uniform,
    /// Exponentially, with the jitter as mean.
    Exponential,
    /// Log-normally, with the jitter as median and this as the standard deviation of the logarithm, from 0.01 to 3.
    LogNormal(#[schemars(range(min = 0.01, max = 3))] f64),
}

/// The width of a log-normal distribution is not in the word.
impl Choice for Option<Distribution> {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("uniform", Some(Distribution::Uniform)),
        ("exponential", Some(Distribution::Exponential)),
        ("log-normal", None),
    ];
}

impl Distribution {
    const WIDTHS: std::ops::RangeInclusive<f64> = 0.01..=3.0;

    /// A log-normal distribution with this standard deviation of the logarithm.
    fn log_normal(sigma: f64) -> Self {
        // At most 3.
        Self::LogNormal { sigma_percent: (sigma * 100.0).round() as u16 }
    }

    fn read(value: Value<'_>) -> Option<Self> {
        if value.is_table() {
            let sigma = |table: &mut Table<'_>| table.required("log-normal", |value| value.number(Self::WIDTHS));
            return value.table(sigma).map(Self::log_normal);
        }
        match value.choice()? {
            Some(distribution) => Some(distribution),
            None => value.reject(
                value
                    .error("a log-normal distribution needs its width")
                    .help("write { log-normal = 0.5 }, for example"),
            ),
        }
    }
}

/// As on the command line: `uniform`, `exponential`, or `log-normal=0.5`.
impl FromStr for Distribution {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let width = |text: &str| text.parse().ok().filter(|sigma| Self::WIDTHS.contains(sigma));
        match text.split_once('=') {
            Some(("log-normal", sigma)) => {
                width(sigma).map(Self::log_normal).ok_or("the width of a log-normal distribution is from 0.01 to 3")
            }
            None if text == "log-normal" => Err("a log-normal distribution needs its width, as in log-normal=0.5"),
            _ => Option::of_word(text).flatten().ok_or("it is uniform, exponential or log-normal=SIGMA"),
        }
    }
}

/// The keys of a delay, as far as a table has them.
#[derive(Debug, Clone, Copy, Default, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DelayKeys {
    /// What every line waits; nothing unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) latency: Option<Duration>,
    /// The scale of what is added to the latency; nothing is added unless given.
    #[schemars(with = "Option<DurationText>")]
    pub(crate) jitter: Option<Duration>,
    /// How what is added is distributed; `uniform` unless given.
    #[schemars(with = "Option<DistributionText>")]
    pub(crate) distribution: Option<Distribution>,
    /// How many bytes go out in a second, one line after the other; as many as there are unless given.
    pub(crate) bandwidth: Option<Bandwidth>,
}

impl DelayKeys {
    /// Reads them. What is wrong with one is reported and leaves it out.
    pub(crate) fn read(table: &mut Table<'_>) -> Self {
        Self {
            latency: table.optional("latency", Value::duration),
            jitter: table.optional("jitter", Value::duration),
            distribution: table.optional("distribution", Distribution::read),
            bandwidth: table.optional("bandwidth", Bandwidth::read),
        }
    }

    /// These, and where one is not there that of `others`.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            latency: self.latency.or(others.latency),
            jitter: self.jitter.or(others.jitter),
            distribution: self.distribution.or(others.distribution),
            bandwidth: self.bandwidth.or(others.bandwidth),
        }
    }

    /// The delay they say.
    pub(crate) fn delay(self) -> Delay {
        Delay {
            latency: self.latency.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            distribution: self.distribution.unwrap_or_default(),
            bandwidth: self.bandwidth,
        }
    }
}

/// A delay as histories and requests have it: in nanoseconds, and bytes a second.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Delay")]
struct Written {
    latency: u64,
    jitter: u64,
    #[serde(default)]
    distribution: WrittenDistribution,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bandwidth: Option<Bandwidth>,
}

#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "DelayDistribution")]
enum WrittenDistribution {
    #[default]
    Uniform,
    Exponential,
    /// Hundredths.
    LogNormal(u16),
}

impl From<Delay> for Written {
    fn from(Delay { latency, jitter, distribution, bandwidth }: Delay) -> Self {
        let [latency, jitter] = [latency, jitter].map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        let distribution = match distribution {
            Distribution::Uniform => WrittenDistribution::Uniform,
            Distribution::Exponential => WrittenDistribution::Exponential,
            Distribution::LogNormal { sigma_percent } => WrittenDistribution::LogNormal(sigma_percent),
        };
        Self { latency, jitter, distribution, bandwidth }
    }
}

impl From<Written> for Delay {
    fn from(Written { latency, jitter, distribution, bandwidth }: Written) -> Self {
        let [latency, jitter] = [latency, jitter].map(Duration::from_nanos);
        let distribution = match distribution {
            WrittenDistribution::Uniform => Distribution::Uniform,
            WrittenDistribution::Exponential => Distribution::Exponential,
            WrittenDistribution::LogNormal(sigma_percent) => Distribution::LogNormal { sigma_percent },
        };
        Self { latency, jitter, distribution, bandwidth }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_is_a_number_and_its_unit() {
        for (text, bytes) in [
            ("1B/s", 1),
            ("64kB/s", 64_000),
            ("1.5 MB/s", 1_500_000),
            ("1000GB/s", Bandwidth::MOST),
            ("8bit/s", 1),
            ("56kbit/s", 7_000),
            ("10Mbit/s", 1_250_000),
            (" 1Gbit/s ", 125_000_000),
        ] {
            assert_eq!(text.parse().map(Bandwidth::bytes_a_second), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("64", BandwidthError::NoUnit),
            ("64KB/s", BandwidthError::Unreadable),
            ("64kB", BandwidthError::Unreadable),
            ("kB/s", BandwidthError::Unreadable),
            ("1.5.1kB/s", BandwidthError::Unreadable),
            ("-1kB/s", BandwidthError::Unreadable),
            ("", BandwidthError::Unreadable),
            ("0B/s", BandwidthError::OutOfRange),
            ("7bit/s", BandwidthError::OutOfRange),
            ("1001GB/s", BandwidthError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Bandwidth>(), Err(error), "{text}");
        }
    }

    #[test]
    fn bytes_take_their_time_rounded_up() {
        let time = |bandwidth: &str, bytes| bandwidth.parse::<Bandwidth>().expect("it is one").time_of(bytes);
        assert_eq!(time("64kB/s", 64), Duration::from_millis(1));
        assert_eq!(time("3B/s", 1), Duration::from_nanos(333_333_334));
        assert_eq!(time("1000GB/s", 1), Duration::from_nanos(1));
        assert_eq!(time("1B/s", 16 << 20), Duration::from_secs(16 << 20));
    }

    #[test]
    fn a_distribution_is_a_word_with_its_width() {
        assert_eq!("uniform".parse(), Ok(Distribution::Uniform));
        assert_eq!("exponential".parse(), Ok(Distribution::Exponential));
        assert_eq!("log-normal=0.255".parse(), Ok(Distribution::LogNormal { sigma_percent: 26 }));
        for wrong in ["", "normal", "log-normal", "log-normal=", "log-normal=0", "log-normal=4", "uniform=1"] {
            assert!(wrong.parse::<Distribution>().is_err(), "{wrong}");
        }
    }
}
