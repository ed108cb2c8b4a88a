//! How findings spell durations, names and lists, and JSON durations and bytes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::ServerId;

/// A duration with at most three digits that matter: `1.2 s`, `500 ms`, `0.16 ms`, `12 us`.
pub fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_nanos() {
        0 => "0 ms".into(),
        nanoseconds if nanoseconds < 1_000 => format!("{nanoseconds} ns"),
        nanoseconds if nanoseconds < 100_000 => format!("{} us", digits(seconds * 1e6)),
        nanoseconds if nanoseconds < 1_000_000_000 => format!("{} ms", digits(seconds * 1e3)),
        nanoseconds if nanoseconds < 120_000_000_000 => format!("{} s", digits(seconds)),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// A number with three digits that matter and no zeros behind them.
pub fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        magnitude if magnitude >= 99.95 => 0,
        magnitude if magnitude >= 9.995 => 1,
        magnitude if magnitude >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// `0.95` as `95`.
pub(crate) fn percent(part: f64) -> String {
    digits((part * 1e6).round() / 1e4)
}

/// `Bona`, `Bona and Clark`, `Bona, Clark and Jaquez`; of many the first four and a count.
pub(crate) fn names(these: &[ServerId], servers: &[Arc<str>]) -> String {
    let names: Vec<&str> = these.iter().map(|server| &*servers[server.index()]).collect();
    list(&names)
}

/// Names joined by commas and an "and"; of many the first four and a count.
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => "no server".into(),
        [one] => (*one).into(),
        [first @ .., last] if names.len() <= 6 => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..4].join(", "), names.len() - 4),
    }
}

/// Returns a text on one line and of at most `most` characters. Control characters become spaces.
pub(crate) fn clip(text: &str, most: usize) -> String {
    let on_one_line = |character: char| if character.is_control() { ' ' } else { character };
    match text.char_indices().nth(most) {
        None => text.chars().map(on_one_line).collect(),
        Some(_) => text.chars().take(most.saturating_sub(2)).map(on_one_line).chain("..".chars()).collect(),
    }
}

/// Returns a text as a part of a file's name or an address: all but letters, digits, `-` and `_` as `%2E`.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let part = |byte: u8| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}

/// Returns the 64-bit FNV-1a hash of bytes, which is the same on all machines and in all versions.
pub(crate) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `1 line`, `2 lines`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Tells nanoseconds as seconds with a sign: `+2s`, `-0.5s`, `0`.
pub fn signed_seconds(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0".into();
    }
    let magnitude = nanoseconds.unsigned_abs();
    let fraction = format!("{:09}", magnitude % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if nanoseconds < 0 { '-' } else { '+' };
    format!("{sign}{}{point}{fraction}s", magnitude / 1_000_000_000)
}

/// A duration in whole nanoseconds, of which over five centuries saturate.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a number needs not be written.
pub(crate) fn is_default<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

// The form of a duration in JSON. What documentation says here, every schema would say.
#[derive(JsonSchema)]
#[schemars(with = "u64")]
pub(crate) enum Nanoseconds {}

impl Nanoseconds {
    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        nanoseconds(*duration).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

// The same for a duration that may be missing.
#[derive(JsonSchema)]
#[schemars(with = "Option<u64>")]
pub(crate) enum OptionalNanoseconds {}

impl OptionalNanoseconds {
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(nanoseconds).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}

// The form of bytes in JSON: a text where they are one, otherwise a list of numbers. The next line stands in the schema.
/// The schema of [`bytes`].
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is there for the schema")]
pub(crate) enum BytesText {
    /// Text in UTF-8.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
}

impl BytesText {
    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.serialize(serializer),
            Err(_) => bytes[..].serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(ReadBytes)
    }
}

struct ReadBytes;

impl<'de> Visitor<'de> for ReadBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of bytes")
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Bytes, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_the_unit_that_suits_it() {
        let told = [0, 160, 12_000, 160_000, 1_500_000, 500_000_000, 1_234_000_000, 180_000_000_000];
        let told = told.map(|nanoseconds| short(Duration::from_nanos(nanoseconds)));
        assert_eq!(told, ["0 ms", "160 ns", "12 us", "0.16 ms", "1.5 ms", "500 ms", "1.23 s", "3 min 0 s"]);
    }

    #[test]
    fn offsets_are_seconds_with_a_sign() {
        let shown = [2_000_000_000, -500_000_000, 0].map(signed_seconds);
        assert_eq!(shown, ["+2s", "-0.5s", "0"]);
    }

    #[test]
    fn a_clipped_text_is_one_line_of_bounded_length() {
        assert_eq!([clip("a\nb", 3), clip("abcd", 4), clip("abcde", 4)], ["a b", "abcd", "ab.."]);
    }

    #[test]
    fn a_long_list_of_names_ends_in_a_count() {
        assert_eq!(list(&["Bona"]), "Bona");
        assert_eq!(list(&["Bona", "Clark", "Jaquez"]), "Bona, Clark and Jaquez");
        assert_eq!(list(&["a"; 9]), "a, a, a, a and 5 more");
    }
}
