//! A share of the lines of a way, as files, commands and histories write it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the whole in millionths, from 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u32);

/// Why a text is no [`Share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The text is not a number with `%` behind it.
    #[error("is not a share")]
    Unreadable,
    /// The share is not within the range, or finer than it can be told.
    #[error("must be from 0.0001% to 100%, with at most four decimals")]
    OutOfRange,
}

impl Share {
    /// The whole.
    pub const ALL: Self = Self(1_000_000);

    /// Returns the share in millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }
}

/// Reads `5%` or `0.5%`, with at most four decimals.
impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.trim().strip_suffix('%').map(str::trim_end).ok_or(ShareError::Unreadable)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(ShareError::Unreadable);
        }
        if number.split_once('.').is_some_and(|(_, decimals)| decimals.trim_end_matches('0').len() > 4) {
            return Err(ShareError::OutOfRange);
        }
        let percent: f64 = number.parse().map_err(|_| ShareError::Unreadable)?;
        let millionths = (percent * 1e4).round();
        if (1.0..=1e6).contains(&millionths) { Ok(Self(millionths as u32)) } else { Err(ShareError::OutOfRange) }
    }
}

/// Writes the share as files spell it: `5%`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 1e4)
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error| format!("`{text}` {error}"))
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_of_percent_and_survives_being_written() {
        for (text, millionths) in
            [("5%", 50_000), ("0.50000 %", 5_000), ("0.0001%", 1), ("100%", 1_000_000), ("12.25%", 122_500)]
        {
            let share: Share = text.parse().unwrap_or_else(|error| panic!("{text} {error}"));
            assert_eq!(share.millionths(), millionths, "{text}");
            assert_eq!(share.to_string().parse(), Ok(share), "{text}");
        }
        for (text, error) in [
            ("5", ShareError::Unreadable),
            ("%", ShareError::Unreadable),
            ("-5%", ShareError::Unreadable),
            ("1e1%", ShareError::Unreadable),
            ("half", ShareError::Unreadable),
            ("0%", ShareError::OutOfRange),
            ("101%", ShareError::OutOfRange),
            ("0.00005%", ShareError::OutOfRange),
            ("100.00004%", ShareError::OutOfRange),
        ] {
            assert_eq!(text.parse::<Share>(), Err(error), "{text}");
        }
    }
}
