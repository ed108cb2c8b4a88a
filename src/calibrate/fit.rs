//! Which delay describes times that were measured.
//!
//! Not here: the measuring, and what it is for.

use std::time::Duration;

use super::Lags;
use crate::config::{Delay, Distribution};

/// So many times, evenly spread over all that were measured, are fitted to.
const SAMPLE: usize = 300;
/// A simpler distribution is preferred to one that is closer by no more than this.
const TOLERANCE: f64 = 0.01;
/// Rounds of improving the parameters of a candidate; each changes every parameter up and down once.
const ROUNDS: usize = 50;

/// A delay, and how far it is from what was measured.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Fit {
    /// The delay.
    #[serde(flatten)]
    pub delay: Delay,
    /// The Kolmogorov-Smirnov distance: the widest gap between the share of times up to a limit that were measured and the share
    /// that the delay gives, over all limits. From 0, the same, to 1.
    pub distance: f64,
}

/// One delay of each kind, the simplest first: constant, uniform, exponential, log-normal. Each has the parameters whose distance is
/// least, as far as a search by steps finds them. Empty when there is nothing to fit to.
pub fn candidates(measured: &Lags) -> Vec<Fit> {
    let Some(sample) = Sample::of(measured) else { return Vec::new() };
    [Shape::Constant, Shape::Uniform, Shape::Exponential, Shape::LogNormal].map(|shape| sample.nearest(shape)).to_vec()
}

/// The simplest candidate whose distance is within a hundredth of the least.
pub fn best(candidates: &[Fit]) -> Option<Fit> {
    let least = candidates.iter().map(|fit| fit.distance).min_by(f64::total_cmp)?;
    candidates.iter().copied().find(|fit| fit.distance <= least + TOLERANCE)
}

/// Kinds of delays, the simplest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Constant,
    Uniform,
    Exponential,
    LogNormal,
}

/// A delay whose parameters are being searched, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Guess {
    shape: Shape,
    latency: f64,
    jitter: f64,
    /// Of a log-normal distribution, in hundredths.
    sigma: f64,
}

impl Guess {
    /// With the precision that a delay has.
    fn delay(self) -> Delay {
        let distribution = match self.shape {
            Shape::Constant | Shape::Uniform => Distribution::Uniform,
            Shape::Exponential => Distribution::Exponential,
            Shape::LogNormal => Distribution::LogNormal { sigma_percent: self.sigma.round().clamp(1.0, 300.0) as u16 },
        };
        let [latency, jitter] = [self.latency, self.jitter].map(|span| Duration::from_nanos(span.round() as u64));
        Delay { latency, jitter, distribution, bandwidth: None }
    }

    fn fit(self, sample: &Sample) -> Fit {
        let delay = self.delay();
        Fit { delay, distance: sample.distance(delay) }
    }

    /// The neighbours of this guess, `step` times as far away as its parameters are large.
    fn around(self, step: f64) -> Vec<Self> {
        let span = self.latency.max(self.jitter);
        let mut guesses = Vec::new();
        for sign in [step, -step] {
            guesses.push(Self { latency: (self.latency + sign * span).max(0.0), ..self });
            if self.shape != Shape::Constant {
                let jitter = (self.jitter * (1.0 + sign)).max(1.0);
                guesses.push(Self { jitter, ..self });
                // What the scale takes away the least gives back: the middle stays where it is.
                let latency = (self.latency + self.jitter - jitter).max(0.0);
                guesses.push(Self { latency, jitter, ..self });
            }
            if self.shape == Shape::LogNormal {
                guesses.push(Self { sigma: (self.sigma * (1.0 + sign)).clamp(1.0, 300.0), ..self });
            }
        }
        guesses
    }
}

/// Measured times in nanoseconds, sorted; never empty.
#[derive(Debug)]
struct Sample(Vec<f64>);

impl Sample {
    fn of(measured: &Lags) -> Option<Self> {
        let count = measured.len().min(SAMPLE);
        let middle = |place: usize| measured.quantile((place as f64 + 0.5) / count as f64);
        let times: Option<Vec<_>> = (0..count).map(|place| Some(middle(place)?.as_nanos() as f64)).collect();
        times.filter(|times| !times.is_empty()).map(Self)
    }

    fn quantile(&self, part: f64) -> f64 {
        self.0[((self.0.len() as f64 * part) as usize).min(self.0.len() - 1)]
    }

    /// The widest gap between both shares, looked for where it can be: at the times that were measured.
    fn distance(&self, delay: Delay) -> f64 {
        let count = self.0.len() as f64;
        let mut below = 0.0;
        let gaps = self.0.chunk_by(|one, other| one == other).map(|same| {
            let [less, up_to] = shares(delay, same[0]);
            let before = (less - below / count).abs();
            below += same.len() as f64;
            before.max((up_to - below / count).abs())
        });
        gaps.fold(0.0, f64::max)
    }

    /// The best of what is found from a few beginnings, which differ in the least time that lines spend.
    fn nearest(&self, shape: Shape) -> Fit {
        let leasts = match shape {
            Shape::LogNormal => &[0.0, 0.5, 0.8, 0.95][..],
            _ => &[1.0],
        };
        let found = leasts.iter().map(|least| self.improve(self.first_guess(shape, self.0[0] * least)).fit(self));
        found.min_by(|a, b| a.distance.total_cmp(&b.distance)).expect("there is a beginning")
    }

    /// Parameters that give some of the sample's quantiles; a log-normal distribution begins at `least`.
    fn first_guess(&self, shape: Shape, least: f64) -> Guess {
        let [low, quarter, middle, three_quarters, high] =
            [0.05, 0.25, 0.5, 0.75, 0.95].map(|part| self.quantile(part));
        let width = (three_quarters - quarter).max(1.0);
        let guess = |latency: f64, jitter: f64, sigma| Guess { shape, latency: latency.max(0.0), jitter, sigma };
        match shape {
            Shape::Constant => guess(middle, 0.0, 0.0),
            Shape::Uniform => guess(low - (high - low) / 18.0, (high - low).max(1.0) / 0.9, 0.0),
            // The quartiles of the exponential distribution are ln 4/3 and ln 4 times its mean.
            Shape::Exponential => {
                guess(quarter - width * (4.0_f64 / 3.0).ln() / 3.0_f64.ln(), width / 3.0_f64.ln(), 0.0)
            }
            // Half of what is above the least time; the quartiles are 1.349 standard deviations apart.
            Shape::LogNormal => {
                let sigma = ((three_quarters - least) / (quarter - least).max(1.0)).ln() / 1.349;
                guess(least, (middle - least).max(1.0), (sigma * 100.0).clamp(1.0, 300.0))
            }
        }
    }

    /// Goes to the best neighbour as long as there is a better one, then looks nearer.
    fn improve(&self, mut guess: Guess) -> Guess {
        let (mut distance, mut step) = (guess.fit(self).distance, 0.3);
        for _ in 0..ROUNDS {
            let tried = guess.around(step).into_iter().map(|next| (next.fit(self).distance, next));
            match tried.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((nearer, next)) if nearer < distance => (distance, guess) = (nearer, next),
                _ => step /= 2.0,
            }
        }
        guess
    }
}

/// The shares of lines that spend less than `time` nanoseconds, and that much or less.
fn shares(delay: Delay, time: f64) -> [f64; 2] {
    let added = time - delay.latency.as_nanos() as f64;
    if delay.jitter.is_zero() {
        return [added > 0.0, added >= 0.0].map(f64::from);
    }
    let scaled = (added / delay.jitter.as_nanos() as f64).max(0.0);
    let share = match delay.distribution {
        Distribution::Uniform => scaled.min(1.0),
        Distribution::Exponential => 1.0 - (-scaled).exp(),
        Distribution::LogNormal { .. } if scaled == 0.0 => 0.0,
        Distribution::LogNormal { sigma_percent } => normal_share(scaled.ln() * 100.0 / f64::from(sigma_percent)),
    };
    [share, share]
}

/// The share of the standard normal distribution below `x`, to seven digits: Abramowitz and Stegun, 26.2.17.
fn normal_share(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = series.into_iter().fold(0.0, |sum, term| (sum + term) * t) * (-x * x / 2.0).exp();
    let tail = tail / (2.0 * std::f64::consts::PI).sqrt();
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;

    /// Draws as the drivers make them.
    fn drawn(delay: Delay, count: u64) -> Lags {
        let draws = Draws::new(3, 5);
        let spent = |number| delay.latency + delay.jitter.mul_f64(draws.scaled(delay.distribution, number, 0));
        Lags::new((0..count).map(spent).collect())
    }

    fn delay(latency: u64, jitter: u64, distribution: Distribution) -> Delay {
        Delay {
            latency: Duration::from_micros(latency),
            jitter: Duration::from_micros(jitter),
            distribution,
            bandwidth: None,
        }
    }

    fn is_near(fitted: Duration, drawn: Duration, tolerance: Duration) -> bool {
        fitted.abs_diff(drawn) <= tolerance
    }

    #[test]
    fn the_distribution_that_times_were_drawn_from_is_found_again() {
        for distribution in [Distribution::Uniform, Distribution::Exponential] {
            for (latency, jitter) in [(100, 50), (20, 200), (0, 1000)] {
                let from = delay(latency, jitter, distribution);
                let fit = best(&candidates(&drawn(from, 4000))).expect("there is something to fit to");
                assert_eq!(fit.delay.distribution, distribution, "{from:?} {fit:?}");
                assert!(fit.distance < 0.03, "{from:?} {fit:?}");
                let tolerance = from.jitter / 12;
                assert!(is_near(fit.delay.latency, from.latency, tolerance), "{from:?} {fit:?}");
                assert!(is_near(fit.delay.jitter, from.jitter, tolerance), "{from:?} {fit:?}");
            }
        }
    }

    /// Latency, median and width of a log-normal distribution make up for each other, so that the quantiles are what is compared.
    #[test]
    fn a_log_normal_distribution_is_found_again_by_its_quantiles() {
        for (latency, jitter, sigma_percent) in [(0, 100, 50), (100, 50, 100), (30, 20, 150)] {
            let from = drawn(delay(latency, jitter, Distribution::LogNormal { sigma_percent }), 4000);
            let fit = best(&candidates(&from)).expect("there is something to fit to");
            assert!(matches!(fit.delay.distribution, Distribution::LogNormal { .. }), "{fit:?}");
            assert!(fit.distance < 0.03, "{fit:?}");
            let again = drawn(fit.delay, 4000);
            for part in [0.05, 0.25, 0.5, 0.75, 0.95] {
                let [from, again] =
                    [&from, &again].map(|lags| lags.quantile(part).expect("there are some").as_secs_f64());
                assert!((again / from - 1.0).abs() < 0.1, "{part}: {again} for {from}, {fit:?}");
            }
        }
    }

    #[test]
    fn times_that_are_all_the_same_are_a_constant() {
        let from = delay(42, 0, Distribution::Uniform);
        let fit = best(&candidates(&drawn(from, 100))).expect("there is something to fit to");
        assert_eq!(fit, Fit { delay: from, distance: 0.0 });
    }

    #[test]
    fn a_delay_that_does_not_fit_is_far_away() {
        let sample = Sample::of(&drawn(delay(100, 100, Distribution::Uniform), 1000)).expect("it is not empty");
        assert!(sample.distance(delay(300, 10, Distribution::Uniform)) > 0.99);
        let off_by_half = sample.distance(delay(150, 100, Distribution::Uniform));
        assert!((off_by_half - 0.5).abs() < 0.02, "{off_by_half}");
    }

    #[test]
    fn nothing_measured_is_fitted_by_nothing() {
        assert_eq!(best(&candidates(&Lags::default())), None);
    }
}
