//! What a reply must be like.

use std::fmt;

use crate::wire::{Command, parse};

/// What a step expects of a reply. What is not given is not looked at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expectation {
    /// A pattern over the first line, with `*` for anything and `?` for one character.
    pub pattern: Option<glob::Pattern>,
    /// Fields of the `AT` line.
    pub fields: Vec<(Field, String)>,
    /// How many places follow.
    pub results: Option<usize>,
    /// The status of the search.
    pub status: Option<String>,
    /// Whether the command is refused.
    pub refused: Option<bool>,
    /// Whether no reply comes, because the connection ends or is not even made.
    pub lost: bool,
}

/// A field of an `AT` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Who took the `IAMAT`.
    Server,
    /// Who it is about.
    Client,
    /// Where it is.
    Location,
    /// When, as the client wrote it.
    Time,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Location => "location",
            Self::Time => "time",
        }
    }
}

impl Expectation {
    /// Whether a reply is so; `None`: none comes.
    ///
    /// # Errors
    ///
    /// What it is instead.
    pub fn matches(&self, reply: Option<&[u8]>) -> Result<(), String> {
        let Some(reply) = reply else {
            return if self.lost { Ok(()) } else { Err("no reply".into()) };
        };
        let text = String::from_utf8_lossy(reply);
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let holds = !self.lost
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(first))
            && self.refused.is_none_or(|refused| first.starts_with('?') == refused)
            && self.fields_match(first)
            && self.places_match(rest);
        if holds { Ok(()) } else { Err(format!("{first}{}", if rest.trim().is_empty() { "" } else { " and places" })) }
    }

    fn fields_match(&self, first: &str) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let Command::At(at) = parse(first.as_bytes()) else { return false };
        self.fields.iter().all(|(field, wanted)| {
            let is = match field {
                Field::Server => at.origin(),
                Field::Client => at.client(),
                Field::Location => at.location(),
                Field::Time => at.stated_time(),
            };
            is == wanted
        })
    }

    fn places_match(&self, json: &str) -> bool {
        if self.results.is_none() && self.status.is_none() {
            return true;
        }
        let Ok(json) = serde_json::from_str::<serde_json::Value>(json) else { return false };
        let results = json["results"].as_array().map(Vec::len);
        let status = json["status"].as_str();
        self.results.is_none_or(|wanted| results == Some(wanted))
            && self.status.as_deref().is_none_or(|wanted| status == Some(wanted))
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lost {
            return f.write_str("no reply");
        }
        let pattern = self.pattern.iter().map(|pattern| format!("like `{pattern}`"));
        let fields = self.fields.iter().map(|(field, value)| format!("with {} {value}", field.name()));
        let results = self.results.iter().map(|results| format!("with {results} places"));
        let status = self.status.iter().map(|status| format!("with status {status}"));
        let refused = self.refused.iter().map(|&refused| if refused { "refusing" } else { "not refusing" }.to_owned());
        let parts: Vec<_> = pattern.chain(fields).chain(results).chain(status).chain(refused).collect();
        write!(f, "a reply {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_compared_with_what_is_given_only() {
        let reply = b"AT Clark +0.1 kiwi +1+1 5\n{\"results\": [1], \"status\": \"OK\"}\n\n";
        let field = |field, value: &str| Expectation { fields: vec![(field, value.into())], ..Expectation::default() };
        assert_eq!(Expectation::default().matches(Some(reply)), Ok(()));
        assert_eq!(field(Field::Server, "Clark").matches(Some(reply)), Ok(()));
        assert_eq!(field(Field::Time, "6").matches(Some(reply)), Err("AT Clark +0.1 kiwi +1+1 5 and places".into()));
        assert_eq!(field(Field::Server, "Clark").matches(Some(b"? WHATSAT\n")), Err("? WHATSAT".into()));
        let places = Expectation { results: Some(1), status: Some("OK".into()), ..Expectation::default() };
        assert_eq!((places.matches(Some(reply)), places.matches(Some(b"AT\n")).is_err()), (Ok(()), true));
        let refused = Expectation { refused: Some(true), ..Expectation::default() };
        assert_eq!((refused.matches(Some(b"? x\n")), refused.matches(Some(reply)).is_err()), (Ok(()), true));
        let lost = Expectation { lost: true, ..Expectation::default() };
        assert_eq!((lost.matches(None), lost.matches(Some(reply)).is_err()), (Ok(()), true));
        assert_eq!(refused.matches(None), Err("no reply".into()));
    }
}
