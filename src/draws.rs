//! Random draws by key, the same on every machine.
//!
//! Not here: what is drawn for which line ([`crate::driver::path`]). Logarithm and exponential are written out, because those of the
//! platform differ in the last digit from one to the next, and one nanosecond makes another history.

use crate::config::Distribution;

/// Draws by key instead of by turn: taking one event away leaves all other draws alone.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// The seed and the key, mixed: the same for all draws of one thing.
    prefix: u64,
}

impl Draws {
    /// The draws of the thing with this key, in the run with this seed.
    pub fn new(seed: u64, key: u64) -> Self {
        Self { prefix: mix(mix(seed) ^ key) }
    }

    /// The draw with this number in this stream: uniform over all 64 bits.
    ///
    /// The finaliser of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014),
    /// applied once per part of the key.
    #[inline]
    pub fn bits(self, number: u64, stream: u64) -> u64 {
        mix(mix(self.prefix ^ number) ^ stream)
    }

    /// The same draw as a number from 0 up to, not including, 1.
    #[inline]
    pub fn unit(self, number: u64, stream: u64) -> f64 {
        (self.bits(number, stream) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The same draw as a whole number from 0 up to, not including, `limit`, which is above 0.
    pub fn below(self, limit: u64, number: u64, stream: u64) -> u64 {
        ((u128::from(self.bits(number, stream)) * u128::from(limit)) >> 64) as u64
    }

    /// A draw from a distribution whose scale is 1: from 0 upwards, and finite.
    #[inline]
    pub fn scaled(self, distribution: Distribution, number: u64, stream: u64) -> f64 {
        match distribution {
            Distribution::Uniform => self.unit(number, stream),
            Distribution::Exponential => -ln(1.0 - self.unit(number, stream)),
            Distribution::LogNormal { sigma_percent } => {
                exp(f64::from(sigma_percent) / 100.0 * self.normal(number, stream))
            }
        }
    }

    /// A draw from the standard normal distribution, by the polar method of Marsaglia and Bray. Of its tries, which are
    /// streams of the stream, 79 % succeed.
    fn normal(self, number: u64, stream: u64) -> f64 {
        let within = Self { prefix: self.bits(number, stream) };
        let tries = (0..).map(|attempt| [0, 1].map(|axis| 2.0 * within.unit(attempt, axis) - 1.0));
        let distances = tries.map(|[x, y]| (x, x * x + y * y));
        let mut inside = distances.filter(|&(_, square)| square > 0.0 && square < 1.0);
        let (x, square) = inside.next().expect("the tries never end");
        x * (-2.0 * ln(square) / square).sqrt()
    }
}

fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The natural logarithm of a normal number above 0, by the series of the inverse hyperbolic tangent.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    // `ratio` is at most 0.172, so that the terms after the eleventh are below the last digit.
    let series = (0..11).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * ratio * series
}

/// The exponential of a number between -700 and 700, by Taylor's series around the nearest power of two.
fn exp(x: f64) -> f64 {
    let power = (x / std::f64::consts::LN_2).round();
    let rest = x - power * std::f64::consts::LN_2;
    let series = (1..=14).rev().fold(1.0, |sum, term| 1.0 + sum * rest / f64::from(term));
    series * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_are_the_same_everywhere() {
        let draws = Draws::new(1, 2);
        assert_eq!(
            [draws.bits(0, 0), draws.bits(1, 0), draws.bits(0, 1)],
            [8_460_352_000_482_166_300, 1_155_881_950_921_884_847, 14_418_179_372_084_732_305]
        );
    }

    #[test]
    fn logarithm_and_exponential_agree_with_those_of_the_platform() {
        for x in [1e-16, 0.1, 0.5, 0.999, 1.0, 1.41, 2.0, 36.0, 1e9] {
            assert!((ln(x) - x.ln()).abs() < 1e-14 * x.ln().abs().max(1.0), "ln {x}");
        }
        for x in [-20.0, -1.0, -0.1, 0.0, 0.3, 1.0, 25.0] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp {x}");
        }
    }

    #[test]
    fn draws_have_the_quantiles_of_their_distribution() {
        let draws = Draws::new(1, 2);
        let log_normal = Distribution::LogNormal { sigma_percent: 50 };
        let e = std::f64::consts::E;
        // Value, and the share of draws below it.
        for (distribution, value, share) in [
            (Distribution::Uniform, 0.25, 0.25),
            (Distribution::Exponential, 1.0, 1.0 - 1.0 / e),
            (Distribution::Exponential, 3.0, 1.0 - e.powi(-3)),
            (log_normal, 1.0, 0.5),
            (log_normal, e.sqrt(), 0.8413),
            (log_normal, 1.0 / e, 0.0228),
        ] {
            let below = (0..20_000).filter(|&number| draws.scaled(distribution, number, 0) < value).count();
            assert!((below as f64 / 20_000.0 - share).abs() < 0.01, "{distribution:?} below {value}: {below}");
        }
    }

    #[test]
    fn whole_numbers_stay_below_their_limit_and_reach_all_of_it() {
        let (draws, mut seen) = (Draws::new(1, 2), [false; 7]);
        for number in 0..200 {
            seen[draws.below(7, number, 0) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
