//! Reads TOML into types key by key and collects everything that is wrong on the way, each with its place.
//!
//! Not here: serde, which stops at the first problem. A reader asks a [`Table`] for the keys it knows; what it did not ask
//! for is an unknown key, so the keys that are read and the keys that are accepted cannot differ.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use jiff::SignedDuration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Diagnostics, Problem, Severity, did_you_mean, quoted};

/// No duration in a file is longer: 100 years, so that sums of a few fit the nanoseconds of an `i64`.
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 365 * 24);

/// Reads `text`, known to people as `origin`, with `read`, which returns `None` only after it reported an error.
///
/// On success the second part holds the warnings. Errors of syntax come alone, all of them: what a reader would say about
/// the rest of such a file is mostly not true.
pub fn read<T>(
    origin: &str,
    text: &str,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    if !syntax_errors.is_empty() {
        let problems = syntax_errors.iter().map(|error| syntax_problem(text, error)).collect();
        return Err(Diagnostics::new(origin, text, problems));
    }
    let problems = Problems::default();
    let mut root = Table::new(document.get_ref(), 0..0, &problems);
    let value = read(&mut root);
    let top_level = root.finish();
    let (text, list) = problems.into_parts(text, &top_level);
    match value {
        Some(value) if list.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok((value, Diagnostics::new(origin, text, list)))
        }
        value => {
            assert!(value.is_some() || !list.is_empty(), "a reader gave up without saying why");
            Err(Diagnostics::new(origin, text, list))
        }
    }
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(text.len()..text.len());
    let offending = text.get(span.clone()).unwrap_or_default();
    match error.message().split_once(", expected ") {
        Some(("string values must be quoted", _)) if offending.trim().is_empty() => {
            Problem::error(span, "a value is missing").help("write one after the `=`, or remove the key")
        }
        Some((title, expected)) => Problem::error(span, title).label(format!("expected {expected}")),
        None if error.message() == "duplicate key" => {
            Problem::error(span, format!("duplicate key {}", quoted(offending)))
                .help("keep one of the two; a list of several belongs between `[` and `]`")
        }
        None => Problem::error(span, error.message()),
    }
}

/// What was found wrong so far. Shared by everything that reads one file.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Problem>>,
    /// Unknown keys without a suggestion: the problem's place in `list`, and the key.
    strays: RefCell<Vec<(usize, String)>>,
    secrets: RefCell<Vec<Range<usize>>>,
}

impl Problems {
    /// Adds one.
    pub fn push(&self, problem: Problem) {
        self.list.borrow_mut().push(problem);
    }

    /// How many errors there are so far; warnings do not count.
    pub fn errors(&self) -> usize {
        self.list.borrow().iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Masks the bytes of `span` wherever the text is shown.
    pub fn hide(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    fn push_stray(&self, problem: Problem, key: &str) {
        self.strays.borrow_mut().push((self.list.borrow().len(), key.to_owned()));
        self.push(problem);
    }

    /// The text without its secrets, and the problems. An unknown key that is known at the top of the file gets told so:
    /// below a `[heading]` keys belong to that heading, which surprises everybody once.
    fn into_parts(self, text: &str, top_level: &[&str]) -> (String, Vec<Problem>) {
        let mut list = self.list.into_inner();
        for (index, key) in self.strays.into_inner() {
            if top_level.contains(&key.as_str()) {
                list[index].help.push(format!("{} belongs above the first `[heading]` of the file", quoted(&key)));
            }
        }
        let mut text = text.to_owned();
        for span in self.secrets.into_inner() {
            let mask: String = text[span.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
            text.replace_range(span, &mask);
        }
        (text, list)
    }
}

/// A value together with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

/// The schema of the value: where it stands is not in the file.
impl<T: schemars::JsonSchema> schemars::JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// Values that are one of a few words.
pub trait Choice: Copy + 'static {
    /// Every word with what it means.
    const WORDS: &'static [(&'static str, Self)];

    /// Returns what a word means. `None`: it is none of [`Self::WORDS`].
    fn of_word(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|&(_, meaning)| meaning)
    }

    /// Returns every word.
    fn words() -> impl Iterator<Item = &'static str> + Clone {
        Self::WORDS.iter().map(|(word, _)| *word)
    }
}

/// One value of a file. Its methods return `None` after reporting what is wrong with it.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    value: &'a DeValue<'a>,
    start: usize,
    end: usize,
    subject: Subject<'a>,
    problems: &'a Problems,
}

/// What a value is called in problems.
#[derive(Clone, Copy)]
struct Subject<'a> {
    key: &'a str,
    is_entry: bool,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.is_entry { "an entry of " } else { "" };
        write!(f, "{prefix}{}", quoted(self.key))
    }
}

impl<'a> Value<'a> {
    fn new(value: &'a Spanned<DeValue<'a>>, subject: Subject<'a>, problems: &'a Problems) -> Self {
        let Range { start, end } = value.span();
        Self { value: value.get_ref(), start, end, subject, problems }
    }

    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The problems of its file.
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// What it is called in problems: "`port`", "an entry of `links`".
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// An error at this value, for [`Value::reject`].
    pub fn error(&self, title: impl Into<String>) -> Problem {
        Problem::error(self.span(), title)
    }

    /// Reports `problem`; `None`, so that it can end a reader.
    pub fn reject<T>(&self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    /// Whether it is a string.
    pub fn is_text(&self) -> bool {
        self.value.is_str()
    }

    /// The string, if it is one.
    pub fn peek_text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is a whole number.
    pub fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// What `read` makes of it, and where it stands.
    pub fn located<T>(self, read: impl FnOnce(Self) -> Option<T>) -> Option<Located<T>> {
        let span = self.span();
        read(self).map(|value| Located { value, span })
    }

    /// A string.
    pub fn text(self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => self.mismatch("a string"),
        }
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => self.mismatch("`true` or `false`"),
        }
    }

    /// A whole number in `range`.
    pub fn integer<T>(self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + PartialOrd + fmt::Display + TryFrom<i128>,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = self.value else { return self.mismatch(&expected) };
        let number =
            i128::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| T::try_from(number).ok());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => self.reject(self.error(format!("{} must be {expected}", self.subject)).label("out of range")),
        }
    }

    /// A number in `range`, with or without decimals.
    pub fn number(self, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => {
                i128::from_str_radix(integer.as_str(), integer.radix()).ok().map(|number| number as f64)
            }
            _ => return self.mismatch(&expected),
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => self.reject(self.error(format!("{} must be {expected}", self.subject)).label("out of range")),
        }
    }

    /// A time span that is not negative: `"250ms"`, `"1m30s"`.
    pub fn duration(self) -> Option<Duration> {
        let duration = self.signed_duration()?;
        match Duration::try_from(duration) {
            Ok(duration) => Some(duration),
            Err(_) => self.reject(self.error(format!("{} must not be negative", self.subject))),
        }
    }

    /// A time span above zero.
    pub fn positive_duration(self) -> Option<Duration> {
        match self.duration()? {
            Duration::ZERO => self.reject(self.error(format!("{} must be longer than zero", self.subject))),
            duration => Some(duration),
        }
    }

    /// A time span that may be negative, such as the offset of a clock. At most 100 years either way.
    pub fn signed_duration(self) -> Option<SignedDuration> {
        let DeValue::String(text) = self.value else {
            if let DeValue::Integer(number) = self.value {
                let problem =
                    self.error(format!("{} needs a unit", self.subject)).label("a number alone could be anything");
                let digits = number.as_str().trim_start_matches('-');
                return self.reject(problem.help(format!("write \"{digits}ms\" or \"{digits}s\"")));
            }
            return self.mismatch("a duration such as \"250ms\"");
        };
        match text.trim().parse::<SignedDuration>() {
            Ok(duration) if duration.abs() <= LONGEST => Some(duration),
            Ok(_) => self.reject(self.error(format!("{} is longer than 100 years", self.subject))),
            Err(_) => {
                let problem = self.error(format!("{} is not a duration", self.subject));
                self.reject(problem.help("write a number and its unit, such as \"250ms\", \"1.5s\" or \"1m30s\""))
            }
        }
    }

    /// One of the words of a [`Choice`].
    pub fn choice<T: Choice>(self) -> Option<T> {
        let DeValue::String(text) = self.value else { return self.mismatch(&alternatives(T::words())) };
        if let Some(meaning) = T::of_word(text) {
            return Some(meaning);
        }
        let problem = self.error(format!("{} cannot be {}", self.subject, quoted(text)));
        self.reject(problem.suggest(text, T::words(), format!("use {}", alternatives(T::words()))))
    }

    /// The entries of a list.
    pub fn list(self) -> Option<impl ExactSizeIterator<Item = Value<'a>>> {
        let DeValue::Array(entries) = self.value else { return self.mismatch("a list between `[` and `]`") };
        let subject = Subject { is_entry: true, ..self.subject };
        Some(entries.iter().map(move |entry| Value::new(entry, subject, self.problems)))
    }

    /// What `read` makes of the entries of a list, without those it rejects.
    pub fn each<T>(self, read: impl FnMut(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        Some(self.list()?.filter_map(read).collect())
    }

    /// What `read` makes of a table. Keys that it does not ask for are reported.
    pub fn table<T>(self, read: impl FnOnce(&mut Table<'a>) -> Option<T>) -> Option<T> {
        let DeValue::Table(entries) = self.value else { return self.mismatch("a table") };
        let mut table = Table::new(entries, self.span(), self.problems);
        let value = read(&mut table);
        table.finish();
        value
    }

    /// Reports that it is not what was expected: "must be `expected`".
    pub fn mismatch<T>(&self, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with decimals",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.reject(self.error(format!("{} must be {expected}", self.subject)).label(format!("this is {found}")))
    }
}

/// Lists words: `"a", "b" or "c"`.
pub fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words.map(|word| format!("\"{word}\"")).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

/// One table of a file, read by asking for its keys.
pub struct Table<'a> {
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    /// Every key asked for.
    known: Vec<&'static str>,
    /// Required keys that are not there.
    missing: Vec<&'static str>,
    /// Whether its keys are names that its reader looks at by itself.
    open: bool,
    /// Keys that are there and have been reported in another way than as unknown.
    refused: Vec<&'static str>,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    fn new(entries: &'a DeTable<'a>, span: Range<usize>, problems: &'a Problems) -> Self {
        Self { entries, span, known: Vec::new(), missing: Vec::new(), open: false, refused: Vec::new(), problems }
    }

    /// Where it stands: its braces, or its heading; empty for a whole file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The problems of its file.
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// An error about the table as a whole, to be pushed to its problems.
    pub fn error(&self, title: impl Into<String>) -> Problem {
        Problem::error(self.span(), title)
    }

    /// All keys that are there, known or not, in the order of the file.
    pub fn keys(&self) -> Vec<Located<&'a str>> {
        let mut keys: Vec<_> =
            self.entries.keys().map(|key| Located { value: &**key.get_ref(), span: key.span() }).collect();
        keys.sort_by_key(|key| key.span.start);
        keys
    }

    /// Every key with its value, in the order of the file. From now on no key is unknown: what is wrong with one is for the
    /// caller to say.
    pub fn all(&mut self) -> Vec<(Located<&'a str>, Value<'a>)> {
        self.open = true;
        let entry = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let subject = Subject { key: key.get_ref(), is_entry: false };
            (Located { value: &**key.get_ref(), span: key.span() }, Value::new(value, subject, self.problems))
        };
        let mut all: Vec<_> = self.entries.iter().map(entry).collect();
        all.sort_by_key(|(key, _)| key.span.start);
        all
    }

    /// Where `key` itself stands.
    pub fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// The value of `key`, which from now on counts as known.
    pub fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.entries.get(key)?;
        Some(Value::new(value, Subject { key, is_entry: false }, self.problems))
    }

    /// The value of a key that exists only to be refused with words of its own: no suggestion ever names it.
    pub fn refused(&mut self, key: &'static str) -> Option<Value<'a>> {
        let value = self.entries.get(key)?;
        self.refused.push(key);
        Some(Value::new(value, Subject { key, is_entry: false }, self.problems))
    }

    /// What `read` makes of the value of `key`; `None` also when the key is not there.
    pub fn optional<T>(&mut self, key: &'static str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<T> {
        self.value(key).and_then(read)
    }

    /// What `read` makes of the value of `key`, which must be there.
    pub fn required<T>(&mut self, key: &'static str, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<T> {
        let value = self.value(key);
        if value.is_none() {
            self.missing.push(key);
        }
        value.and_then(read)
    }

    /// The one of `keys` that is there: exactly one must be. All of them count as known.
    pub fn one_of(&mut self, keys: &[&'static str]) -> Option<(&'static str, Value<'a>)> {
        let mut present: Vec<_> = keys.iter().filter_map(|key| Some((*key, self.value(key)?))).collect();
        present.sort_by_key(|(_, value)| value.start);
        match present.as_slice() {
            [only] => return Some(*only),
            [] if self.unknown().iter().any(|key| did_you_mean(key.value, keys.iter().copied()).is_some()) => {}
            [] => {
                let listed = keys.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
                self.problems.push(self.error(format!("one of {listed} is missing")));
            }
            [(first, _), (second, _), ..] => {
                let [first_span, second_span] = [first, second].map(|key| self.key_span(key).unwrap_or_default());
                let title = format!("{} and {} exclude each other", quoted(first), quoted(second));
                self.problems.push(Problem::error(second_span, title).related(first_span, "").help("keep one of them"));
            }
        }
        None
    }

    fn unknown(&self) -> Vec<Located<&'a str>> {
        let expected = |key: &str| self.known.contains(&key) || self.refused.contains(&key);
        self.keys().into_iter().filter(|key| !expected(key.value)).collect()
    }

    /// Reports what is missing and what is unknown; the known keys.
    fn finish(self) -> Vec<&'static str> {
        let unknown = if self.open { Vec::new() } else { self.unknown() };
        for key in &self.missing {
            let misspelt = |typed: &Located<&str>| did_you_mean(typed.value, self.known.iter().copied()) == Some(key);
            if !unknown.iter().any(misspelt) {
                self.problems.push(self.error(format!("{} is missing", quoted(key))));
            }
        }
        for key in unknown {
            self.report_unknown(&key);
        }
        self.known
    }

    fn report_unknown(&self, key: &Located<&str>) {
        let problem = Problem::error(key.span.clone(), format!("unknown key {}", quoted(key.value)));
        let candidates = self.known.iter().copied();
        if did_you_mean(key.value, candidates.clone()).is_some() {
            self.problems.push(problem.suggest(key.value, candidates, ""));
        } else {
            let known = self.known.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
            self.problems.push_stray(problem.help(format!("known here: {known}")), key.value);
        }
    }
}

/// In a schema: an `A` or a `B`. Never a value.
pub enum OneOf<A, B> {
    /// The short way to write it.
    A(A),
    /// The long way.
    B(B),
}

impl<A: schemars::JsonSchema, B: schemars::JsonSchema> schemars::JsonSchema for OneOf<A, B> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}_or_{}", A::schema_name(), B::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [generator.subschema_for::<A>(), generator.subschema_for::<B>()] })
    }
}

/// In a schema: the text of a duration. Never a value.
pub enum DurationText {}

impl schemars::JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["250ms", "1.5s", "1m30s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Mode {
        Cut,
        Hold,
    }

    impl Choice for Mode {
        const WORDS: &'static [(&'static str, Self)] = &[("cut", Self::Cut), ("hold", Self::Hold)];
    }

    #[derive(Debug, PartialEq)]
    struct Fault {
        name: String,
        mode: Mode,
        after: Duration,
        lines: Vec<u8>,
    }

    fn fault(table: &mut Table<'_>) -> Option<Fault> {
        let name = table.required("name", Value::text);
        let mode = table.optional("mode", Value::choice);
        let after = table.optional("after", Value::duration);
        let lines = table.optional("lines", |value| value.each(|line| line.integer(1..=9)));
        Some(Fault {
            name: name?.to_owned(),
            mode: mode.unwrap_or(Mode::Cut),
            after: after.unwrap_or_default(),
            lines: lines.unwrap_or_default(),
        })
    }

    fn faults(text: &str) -> Result<Vec<Fault>, Diagnostics> {
        let faults =
            |table: &mut Table<'_>| table.required("fault", |value| value.each(|fault_value| fault_value.table(fault)));
        read("f.toml", text, faults).map(|(faults, _)| faults)
    }

    #[test]
    fn a_good_file_is_read() {
        let fault = Fault { name: "f".into(), mode: Mode::Hold, after: Duration::from_millis(1500), lines: vec![1, 9] };
        let text = "[[fault]]\nname = 'f'\nmode = 'hold'\nafter = '1.5s'\nlines = [1, 0x9]";
        assert_eq!(faults(text).unwrap(), [fault]);
    }

    #[test]
    fn all_problems_of_a_file_come_together() {
        let text = "\
fautl = 1

[[fault]]
nam = 'a'
mode = 'hodl'
after = -3

[[fault]]
mode = 'up'
lines = [0, 1, 'x', 10]
after = '-2s'

[[fault]]
name = \"\\u001b[31m\"
after = 'soon'
lines = 7
fault = []
";
        insta::assert_snapshot!(faults(text).unwrap_err(), @r#"
        error: unknown key `fautl`
         --> f.toml:1:1
          |
        1 | fautl = 1
          | ^^^^^
          |
          = help: did you mean `fault`?

        error: unknown key `nam`
         --> f.toml:4:1
          |
        4 | nam = 'a'
          | ^^^
          |
          = help: did you mean `name`?

        error: `mode` cannot be `hodl`
         --> f.toml:5:8
          |
        5 | mode = 'hodl'
          |        ^^^^^^
          |
          = help: did you mean `hold`?

        error: `after` needs a unit
         --> f.toml:6:9
          |
        6 | after = -3
          |         ^^ a number alone could be anything
          |
          = help: write "3ms" or "3s"

        error: `name` is missing
         --> f.toml:8:1
          |
        8 | [[fault]]
          | ^^^^^^^^^

        error: `mode` cannot be `up`
         --> f.toml:9:8
          |
        9 | mode = 'up'
          |        ^^^^
          |
          = help: use "cut" or "hold"

        error: an entry of `lines` must be a whole number from 1 to 9
          --> f.toml:10:10
           |
        10 | lines = [0, 1, 'x', 10]
           |          ^ out of range

        error: an entry of `lines` must be a whole number from 1 to 9
          --> f.toml:10:16
           |
        10 | lines = [0, 1, 'x', 10]
           |                ^^^ this is a string

        error: an entry of `lines` must be a whole number from 1 to 9
          --> f.toml:10:21
           |
        10 | lines = [0, 1, 'x', 10]
           |                     ^^ out of range

        error: `after` must not be negative
          --> f.toml:11:9
           |
        11 | after = '-2s'
           |         ^^^^^

        error: `after` is not a duration
          --> f.toml:15:9
           |
        15 | after = 'soon'
           |         ^^^^^^
           |
           = help: write a number and its unit, such as "250ms", "1.5s" or "1m30s"

        error: `lines` must be a list between `[` and `]`
          --> f.toml:16:9
           |
        16 | lines = 7
           |         ^ this is a whole number

        error: unknown key `fault`
          --> f.toml:17:1
           |
        17 | fault = []
           | ^^^^^
           |
           = help: known here: `name`, `mode`, `after`, `lines`
           = help: `fault` belongs above the first `[heading]` of the file
        "#);
    }

    #[test]
    fn all_errors_of_syntax_come_together_and_alone() {
        insta::assert_snapshot!(faults("a = \nb = 1\nb = 2\n[c\nd = 'x").unwrap_err(), @"
        error: a value is missing
         --> f.toml:1:5
          |
        1 | a = 
          |     ^
          |
          = help: write one after the `=`, or remove the key

        error: duplicate key `b`
         --> f.toml:3:1
          |
        3 | b = 2
          | ^
          |
          = help: keep one of the two; a list of several belongs between `[` and `]`

        error: unclosed table
         --> f.toml:4:3
          |
        4 | [c
          |   ^ expected `]`
        ");
    }

    #[test]
    fn exactly_one_of_several_keys_is_wanted() {
        let one = |text| read("f", text, |table| table.one_of(&["kill", "stop"]).map(|(key, _)| key));
        assert_eq!(one("stop = 1").unwrap().0, "stop");
        insta::assert_snapshot!(one("stop = 1\nkill = 2").unwrap_err(), @"
        error: `stop` and `kill` exclude each other
         --> f:2:1
          |
        1 | stop = 1
          | ----
        2 | kill = 2
          | ^^^^
          |
          = help: keep one of them
        ");
        insta::assert_snapshot!(one("").unwrap_err(), @"
        error: one of `kill`, `stop` is missing
         --> f:1:1
          |
        1 |
          | ^
        ");
        insta::assert_snapshot!(one("kil = 1").unwrap_err(), @"
        error: unknown key `kil`
         --> f:1:1
          |
        1 | kil = 1
          | ^^^
          |
          = help: did you mean `kill`?
        ");
    }

    #[test]
    fn a_hidden_value_is_never_shown() {
        let rendered = read("f", "key = 'secret'\n", |table| {
            let value = table.value("key")?;
            value.problems().hide(value.span());
            value.reject::<()>(value.error("no keys here"))
        });
        insta::assert_snapshot!(rendered.unwrap_err(), @"
        error: no keys here
         --> f:1:7
          |
        1 | key = ********
          |       ^^^^^^^^
        ");
    }

    #[test]
    fn warnings_do_not_stop_a_file() {
        let (value, warnings) = read("f", "a = 1", |table| {
            let value = table.value("a")?;
            table.problems().push(Problem::warning(value.span(), "small"));
            value.integer(0..=9_u8)
        })
        .unwrap();
        assert_eq!((value, warnings.problems().len()), (1, 1));
    }
}
