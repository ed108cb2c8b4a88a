//! The numbers a scenario may set limits to: their names, their units, and the limits themselves.
//!
//! [`crate::checker::Numbers`] holds their values in a run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::words::{digits, short};

/// A number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// From the last fault's end, or the last write, to convergence.
    Convergence,
    /// The median of the propagation latencies.
    PropagationP50,
    /// The 95th percentile.
    PropagationP95,
    /// The 99th percentile.
    PropagationP99,
    /// The longest.
    PropagationMax,
    /// Lines per update.
    LinesPerUpdate,
    /// Lines sent.
    Lines,
    /// Bytes of them.
    Bytes,
    /// The part of the lines that told nothing new.
    Redundant,
    /// Control lines sent.
    ControlLines,
    /// Replies that neighbours kept waiting until the limit.
    LateReplies,
    /// Stale pairs times seconds, per write.
    StaleArea,
    /// Acknowledged writes.
    Writes,
    /// Answered reads.
    Reads,
    /// Writes that every core server covers.
    Stable,
    /// Writes that some core servers cover.
    Stale,
    /// Writes that no core server covers.
    Lost,
    /// Writes that nobody read afterwards.
    NeverRead,
    /// Length of the run.
    Duration,
}

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds; written as `50ms`, `1.5s`, `2m`.
    Time,
    /// Things; written as a number.
    Count,
    /// A part of the whole, 0 to 1; written as `0.5` or `50%`.
    Part,
    /// Seconds on the servers that are stale, added up; written as a number or as a time.
    PairSeconds,
}

/// A limit to a metric: `"propagation p(95)" = "<50ms"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Which number.
    pub metric: Metric,
    /// How it must relate to the value.
    pub comparison: Comparison,
    /// In the metric's unit.
    pub value: f64,
}

/// How two numbers relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
}

/// Why a limit is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// There is no number of this name.
    #[error("there is no number called `{name}`{}", did_you_mean(*.suggestion))]
    Unknown {
        /// What was written.
        name: String,
        /// The name that is most like it, if any is.
        suggestion: Option<&'static str>,
    },
    /// The limit does not begin with a comparison.
    #[error("a limit begins with <, <=, >, >= or ==, like \"<={example}\"")]
    Comparison {
        /// A value of the metric's unit.
        example: &'static str,
    },
    /// The value is not of the metric's unit.
    #[error("`{value}` is not {expected}")]
    Value {
        /// What was written.
        value: String,
        /// What can be written.
        expected: &'static str,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!(", did you mean `{name}`?"),
        None => format!("; there are {}", Metric::TABLE.map(|(_, name, _)| name).join(", ")),
    }
}

/// Reads a limit: the metric's name, and a comparison with a value in its unit.
pub fn parse(name: &str, bound: &str) -> Result<Threshold, MetricError> {
    let metric = Metric::from_str(name)?;
    let (comparison, value) =
        comparison(bound.trim()).ok_or(MetricError::Comparison { example: metric.unit().example() })?;
    Ok(Threshold { metric, comparison, value: metric.unit().parse(value.trim())? })
}

fn comparison(bound: &str) -> Option<(Comparison, &str)> {
    Comparison::ALL.iter().find_map(|&comparison| Some((comparison, bound.strip_prefix(comparison.sign())?)))
}

impl Metric {
    /// Every metric with its name and its unit, in the order of the documentation.
    const TABLE: [(Self, &str, Unit); 19] = [
        (Self::Convergence, "convergence", Unit::Time),
        (Self::PropagationP50, "propagation p(50)", Unit::Time),
        (Self::PropagationP95, "propagation p(95)", Unit::Time),
        (Self::PropagationP99, "propagation p(99)", Unit::Time),
        (Self::PropagationMax, "propagation max", Unit::Time),
        (Self::LinesPerUpdate, "lines per update", Unit::Count),
        (Self::Lines, "lines", Unit::Count),
        (Self::Bytes, "bytes", Unit::Count),
        (Self::Redundant, "redundant lines", Unit::Part),
        (Self::ControlLines, "control lines", Unit::Count),
        (Self::LateReplies, "late replies", Unit::Count),
        (Self::StaleArea, "stale area", Unit::PairSeconds),
        (Self::Writes, "writes", Unit::Count),
        (Self::Reads, "reads", Unit::Count),
        (Self::Stable, "stable writes", Unit::Count),
        (Self::Stale, "stale writes", Unit::Count),
        (Self::Lost, "lost writes", Unit::Count),
        (Self::NeverRead, "never-read writes", Unit::Count),
        (Self::Duration, "duration", Unit::Time),
    ];

    /// Every metric, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.into_iter().map(|(metric, ..)| metric)
    }

    fn row(self) -> (Self, &'static str, Unit) {
        *Self::TABLE.iter().find(|(metric, ..)| *metric == self).expect("every metric has a row")
    }

    /// Its name in files and reports.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it counts.
    pub fn unit(self) -> Unit {
        self.row().2
    }

    /// A value of it, with its unit.
    pub fn show(self, value: f64) -> String {
        self.unit().show(value)
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(name: &str) -> Result<Self, MetricError> {
        let metric = Self::all().find(|metric| metric.name() == name);
        metric.ok_or_else(|| MetricError::Unknown { name: name.into(), suggestion: most_like(name) })
    }
}

fn most_like(name: &str) -> Option<&'static str> {
    let likeness = |metric: &Metric| strsim::jaro_winkler(name, metric.name());
    let best = Metric::all().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.8).then(|| best.name())
}

impl Unit {
    fn example(self) -> &'static str {
        match self {
            Self::Time => "50ms",
            Self::Count => "8",
            Self::Part => "50%",
            Self::PairSeconds => "0.5",
        }
    }

    fn parse(self, text: &str) -> Result<f64, MetricError> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let value = match self {
            Self::Time => time(text),
            Self::Count => number(text),
            Self::Part => {
                text.strip_suffix('%').and_then(number).map(|percent| percent / 100.0).or_else(|| number(text))
            }
            Self::PairSeconds => number(text).or_else(|| time(text)),
        };
        value.ok_or_else(|| MetricError::Value { value: text.into(), expected: self.expected() })
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Time => "a time, like 250ms, 1.5s or 2m",
            Self::Count => "a number, like 8 or 2.5",
            Self::Part => "a part, like 0.5 or 50%",
            Self::PairSeconds => "a number of seconds, like 0.5",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            _ if value.is_infinite() => "never".into(),
            Self::Time => short(Duration::from_secs_f64(value.max(0.0))),
            Self::Count => digits_or_whole(value),
            Self::Part => format!("{} %", digits(value * 100.0)),
            Self::PairSeconds => format!("{} s", digits(value)),
        }
    }
}

/// Counts are told to the last digit.
fn digits_or_whole(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { digits(value) }
}

fn time(text: &str) -> Option<f64> {
    let duration = jiff::SignedDuration::from_str(text).ok()?;
    (!duration.is_negative()).then(|| duration.as_secs_f64())
}

impl Comparison {
    /// Those with two signs first, because the others begin like them.
    const ALL: [Self; 5] = [Self::AtMost, Self::AtLeast, Self::Equal, Self::Below, Self::Above];

    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
        }
    }

    /// Whether `left` so relates to `right`.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Below => left < right,
            Self::AtMost => left <= right,
            Self::Above => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
        }
    }
}

impl Threshold {
    /// The limit as a file spells it, comparison and value.
    pub fn bound(&self) -> String {
        let value = match self.metric.unit() {
            Unit::Time => format!("{}s", self.value),
            Unit::Count | Unit::Part | Unit::PairSeconds => self.value.to_string(),
        };
        format!("{}{value}", self.comparison.sign())
    }
}

/// `propagation p(95) < 50 ms`.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric.name(), self.comparison.sign(), self.metric.show(self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_row_of_its_own() {
        for metric in Metric::all() {
            assert_eq!(metric.name().parse(), Ok(metric));
        }
    }

    #[test]
    fn a_limit_is_a_comparison_and_a_value_in_the_metrics_unit() {
        let limit = parse("propagation p(95)", "<50ms").unwrap();
        assert_eq!(limit, Threshold { metric: Metric::PropagationP95, comparison: Comparison::Below, value: 0.05 });
        assert_eq!(limit.to_string(), "propagation p(95) < 50 ms");
        assert_eq!(parse("lines per update", "<= 8").unwrap().value, 8.0);
        assert_eq!(parse("redundant lines", ">=50%").unwrap().value, 0.5);
    }

    #[test]
    fn a_limit_survives_being_written_and_read() {
        for (name, bound) in [("convergence", "<1m 3s"), ("stale area", "==0.125"), ("redundant lines", ">12.5%")] {
            let limit = parse(name, bound).unwrap();
            assert_eq!(parse(name, &limit.bound()), Ok(limit));
        }
    }

    #[test]
    fn what_is_no_limit_is_told_what_would_be_one() {
        let told = |name, bound| parse(name, bound).unwrap_err().to_string();
        assert_eq!(
            told("propagation p95", "<1s"),
            "there is no number called `propagation p95`, did you mean `propagation p(95)`?"
        );
        assert!(
            told("zzz", "<1s").starts_with("there is no number called `zzz`; there are convergence, propagation p(50)")
        );
        assert_eq!(told("lines per update", "8"), "a limit begins with <, <=, >, >= or ==, like \"<=8\"");
        assert_eq!(told("convergence", "<8"), "`8` is not a time, like 250ms, 1.5s or 2m");
        assert_eq!(told("convergence", "<-8s"), "`-8s` is not a time, like 250ms, 1.5s or 2m");
    }
}
