//! A calibration as people read it: quantiles side by side, a picture of both distributions, and lines to paste.

use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Calibration, Fit, Lags};
use crate::config::{Delay, Distribution};
use crate::words::{percent, short};

const QUANTILES: [f64; 6] = [0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
/// Rows of a picture.
const ROWS: u32 = 12;
/// Characters of the longest bar.
const WIDTH: f64 = 50.0;

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, updates, measured, simulated, candidates, .. } = self;
        writeln!(
            f,
            "{updates} lone updates of a herd of {servers} servers, on this machine's loopback and simulated\n"
        )?;
        write!(f, "{:<38}", "")?;
        QUANTILES.iter().try_for_each(|part| write!(f, "{:>9}", name(*part)))?;
        writeln!(f, "{:>7}", "gap")?;
        for (what, measured, simulated) in [
            ("one hop", &measured.hop, &simulated.hop),
            ("to the farthest server", &measured.farthest, &simulated.farthest),
            ("one dial", &measured.dial, &simulated.dial),
        ] {
            quantiles(f, what, "measured", measured)?;
            writeln!(f)?;
            quantiles(f, "", "simulated", simulated)?;
            let gap = measured.distance(simulated);
            writeln!(f, "{:>7}", gap.map_or_else(|| "-".into(), |gap| format!("{gap:.2}")))?;
        }
        writeln!(
            f,
            "gap: the widest between the parts of both that take up to some time, 0 to 1 (Kolmogorov-Smirnov)"
        )?;
        writeln!(f, "\none hop: `=` measured, `o` simulated")?;
        picture(f, &measured.hop, &simulated.hop)?;
        writeln!(f, "\nto the farthest server: `=` measured, `o` simulated")?;
        picture(f, &measured.farthest, &simulated.farthest)?;
        writeln!(
            f,
            "\ngap between the measured hops and delays of links, of which the simplest within 0.01 of the least is taken"
        )?;
        candidates.iter().try_for_each(|fit| candidate(f, fit, fit.delay == self.model))?;
        write!(f, "\nfor a herd file, above its first [heading]:\n\n{}", self.toml())
    }
}

/// How many there are, and quantiles in nanoseconds.
impl Serialize for Lags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.len())?;
        for part in QUANTILES {
            let nanoseconds = self.quantile(part).map(|lag| lag.as_nanos() as u64);
            map.serialize_entry(&name(part), &nanoseconds)?;
        }
        map.end()
    }
}

/// What a quantile is called.
fn name(part: f64) -> String {
    format!("p{}", percent(part))
}

fn quantiles(f: &mut fmt::Formatter<'_>, what: &str, which: &str, lags: &Lags) -> fmt::Result {
    write!(f, "{what:<26}{which:<12}")?;
    for part in QUANTILES {
        write!(f, "{:>9}", lags.quantile(part).map_or_else(|| "-".into(), short))?;
    }
    Ok(())
}

/// Both distributions over the same limits: a bar for what was measured, a mark where the bar of what was simulated ends.
fn picture(f: &mut fmt::Formatter<'_>, measured: &Lags, simulated: &Lags) -> fmt::Result {
    let ends = |part| [measured, simulated].into_iter().filter_map(move |lags| lags.quantile(part));
    let (Some(from), Some(to)) = (ends(0.01).min(), ends(0.97).max()) else { return Ok(()) };
    let step = ((to - from) / ROWS).max(Duration::from_nanos(1));
    let rows = (0..ROWS).map(|row| from + step * row);
    let shares: Vec<_> = rows.map(|low| (low, [measured, simulated].map(|lags| lags.share(low..low + step)))).collect();
    let most = shares.iter().flat_map(|(_, both)| *both).fold(f64::MIN_POSITIVE, f64::max);
    for (low, both) in shares {
        let [bar, mark] = both.map(|share| (share / most * WIDTH).round() as usize);
        writeln!(f, "{}", format!("{:>10}  {}", short(low), row(bar, mark)).trim_end())?;
    }
    Ok(())
}

/// A bar of this length, and a mark at that one.
fn row(bar: usize, mark: usize) -> String {
    let mut row = "=".repeat(bar);
    if mark > 0 {
        row = format!("{row:<mark$}");
        row.replace_range(mark - 1..mark, "o");
    }
    row
}

fn candidate(f: &mut fmt::Formatter<'_>, fit: &Fit, chosen: bool) -> fmt::Result {
    let Delay { latency, jitter, distribution, .. } = fit.delay;
    let (latency, scale) = (short(latency), short(jitter));
    let (name, told) = match distribution {
        Distribution::Uniform if jitter.is_zero() => ("constant", format!("always {latency}")),
        Distribution::Uniform => ("uniform", format!("{latency} and up to {scale} more")),
        Distribution::Exponential => ("exponential", format!("{latency} and on average {scale} more")),
        Distribution::LogNormal { sigma_percent } => {
            let sigma = f64::from(sigma_percent) / 100.0;
            ("log-normal", format!("{latency} and a median of {scale} more, sigma {sigma}"))
        }
    };
    let chosen = if chosen { "  <- chosen" } else { "" };
    writeln!(f, "  {:.3}  {name:<12}{told}{chosen}", fit.distance)
}

/// The keys of a herd file that say this delay, one a line.
pub(super) fn toml(delay: Delay) -> String {
    let mut lines = format!("latency = \"{}ns\"\n", delay.latency.as_nanos());
    if delay.jitter.is_zero() {
        return lines;
    }
    lines += &format!("jitter = \"{}ns\"\n", delay.jitter.as_nanos());
    lines += &match delay.distribution {
        Distribution::Uniform => "distribution = \"uniform\"\n".into(),
        Distribution::Exponential => "distribution = \"exponential\"\n".into(),
        Distribution::LogNormal { sigma_percent } => {
            format!("distribution = {{ log-normal = {}.{:02} }}\n", sigma_percent / 100, sigma_percent % 100)
        }
    };
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lies_on_its_bar_or_behind_it() {
        assert_eq!(row(5, 3), "==o==");
        assert_eq!(row(2, 5), "==  o");
        assert_eq!(row(3, 0), "===");
    }
}
