//! Control lines: what servers of one herd tell each other besides updates.
//!
//! A strategy decides which of them are sent, and what follows from one, in [`crate::node`]. No client sends any: a server
//! that does not expect a control line refuses it like every other command that it does not know.
//!
//! | line | meaning |
//! |---|---|
//! | `HERD 1 have CLIENT TIME ORIGIN HASH ..` | the sender holds these versions |
//! | `HERD 1 want CLIENT ..` | the sender asks for what the receiver holds of these clients |
//! | `HERD 1 prune ORIGIN ..` | the sender hears updates of these servers sooner from others |
//! | `HERD 1 hello NAME SECRET` | the sender claims to be this server |
//! | `HERD 1 proof SECRET OWN` | the sender repeats the secret of a hello, and tells that of its own on this connection |
//! | `HERD 1 welcome SECRET` | the sender heeds control lines on the connection whose hello had this secret |
//! | `HERD 1 acknowledge` | the sender asks to be told on this connection which of its lines the receiver has taken |
//! | `HERD 1 acknowledge everywhere` | and to be told when those have them to which the receiver passes them on |
//! | `HERD 1 took 1-4 7 ..` | the answer: these lines of the connection, counted from 1, are acknowledged |
//!
//! The second field is the version of the format.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::str;

use super::AtLine;
use super::parse::{Fields, Invalid};
use super::report::PosixTime;
use crate::words::fnv1a;

/// What every control line begins with.
const START: &str = "HERD 1 ";

/// Digits of a hash and of a secret.
const DIGITS: usize = 16;

/// A control line, understood. Borrows from the line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Control<'a> {
    /// The sender holds these versions.
    Have(Versions<'a>),
    /// The sender asks for what the receiver holds of these clients.
    Want(Names<'a>),
    /// The sender hears updates of these servers sooner from others, and asks for announcements instead.
    Prune(Names<'a>),
    /// The sender claims to be a server of the herd.
    Hello {
        /// Name of the server.
        name: &'a str,
        /// What the receiver is to repeat over a connection that it dials itself.
        secret: u64,
    },
    /// The sender repeats the secret of a [`Self::Hello`], which only the server that was dialled can know.
    Proof {
        /// The secret.
        secret: u64,
        /// The secret of the sender's own hello, on the connection that brings the proof.
        own: u64,
    },
    /// The sender heeds control lines on a connection, for that has proved whose it is.
    Welcome {
        /// The secret of the connection's hello.
        secret: u64,
    },
    /// The sender asks to be told on this connection which of its lines are taken.
    Acknowledge {
        /// By the receiver and by all to which it passes them on.
        everywhere: bool,
    },
    /// The sender acknowledges lines of the receiver's, who dialled this connection.
    Took(Taken<'a>),
}

/// A version of a client's record, without the record: enough to tell whether a server lacks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// The client.
    pub client: &'a str,
    /// The client's time.
    pub time: PosixTime,
    /// The server that received the client's `IAMAT`.
    pub origin: &'a str,
    /// Hash of the whole line. It tells versions of one time and origin apart, and does not order them.
    pub hash: u64,
}

impl<'a> Version<'a> {
    /// Returns the version of a line.
    pub fn of(line: AtLine<'a>) -> Self {
        Self { client: line.client(), time: line.time(), origin: line.origin(), hash: hash(line.line()) }
    }

    /// Returns `true` if a server that holds `held` does not lack this version of the same client.
    ///
    /// The order of two versions of one time and origin cannot be told from their hashes. So any but the same one is lacked.
    pub fn is_covered_by(self, held: AtLine<'_>) -> bool {
        match (held.time(), held.origin()).cmp(&(self.time, self.origin)) {
            Ordering::Greater => true,
            Ordering::Equal => hash(held.line()) == self.hash,
            Ordering::Less => false,
        }
    }
}

/// 64 bits of FNV-1a: the same in every process and in every build.
fn hash(line: &str) -> u64 {
    fnv1a(line.bytes())
}

/// Names of clients or servers, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'a> {
    rest: &'a str,
}

impl<'a> Names<'a> {
    /// Returns the names.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        Fields::of(self.rest)
    }
}

/// Versions of different clients, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions<'a> {
    rest: &'a str,
}

impl<'a> Versions<'a> {
    /// Returns the versions.
    pub fn iter(self) -> impl Iterator<Item = Version<'a>> {
        let mut fields = Fields::of(self.rest);
        std::iter::from_fn(move || version(&mut fields)?.ok())
    }
}

/// Numbers of lines, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken<'a> {
    rest: &'a str,
}

impl<'a> Taken<'a> {
    /// Returns the numbers as ranges, as they stand: they may overlap, and come in any order.
    pub fn iter(self) -> impl Iterator<Item = RangeInclusive<u64>> {
        Fields::of(self.rest).filter_map(|field| range(field).ok())
    }
}

/// Reads a number of a line, or a first and a last one.
fn range(field: &str) -> Result<RangeInclusive<u64>, Invalid> {
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&number: &u64| is_number && number > 0).ok_or(Invalid::Unknown)
    };
    let (first, last) = field.split_once('-').unwrap_or((field, field));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last { Ok(first..=last) } else { Err(Invalid::Unknown) }
}

/// Reads one version. Returns `None` behind the last one.
fn version<'a>(fields: &mut Fields<'a>) -> Option<Result<Version<'a>, Invalid>> {
    let client = fields.next()?;
    let mut field = || fields.next().ok_or(Invalid::Operands);
    let mut version = || {
        let time = PosixTime::parse(field()?)?;
        Ok(Version { client, time, origin: field()?, hash: number(field()?)? })
    };
    Some(version())
}

/// Reads a hash or a secret: all of its hexadecimal digits, in lower case.
fn number(text: &str) -> Result<u64, Invalid> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let number = u64::from_str_radix(text, 16).ok();
    number.filter(|_| text.len() == DIGITS && text.bytes().all(is_digit)).ok_or(Invalid::Unknown)
}

/// Reads the fields behind `HERD`.
pub(super) fn control<'a>(fields: &mut Fields<'a>) -> Result<Control<'a>, Invalid> {
    if fields.next() != Some("1") {
        return Err(Invalid::Unknown);
    }
    let word = fields.next().ok_or(Invalid::Operands)?;
    let rest = fields.rest();
    let names = || if Fields::of(rest).next().is_some() { Ok(Names { rest }) } else { Err(Invalid::Operands) };
    let control = match word {
        "have" => Control::Have(versions(rest)?),
        "want" => Control::Want(names()?),
        "prune" => Control::Prune(names()?),
        "hello" => {
            let [name, secret] = super::parse::operands(fields)?;
            Control::Hello { name, secret: number(secret)? }
        }
        "proof" => {
            let [secret, own] = super::parse::operands(fields)?;
            Control::Proof { secret: number(secret)?, own: number(own)? }
        }
        "welcome" => {
            let [secret] = super::parse::operands(fields)?;
            Control::Welcome { secret: number(secret)? }
        }
        "acknowledge" => match (fields.next(), fields.next()) {
            (None, _) => Control::Acknowledge { everywhere: false },
            (Some("everywhere"), None) => Control::Acknowledge { everywhere: true },
            _ => return Err(Invalid::Operands),
        },
        "took" => Control::Took(taken(rest)?),
        _ => return Err(Invalid::Unknown),
    };
    Ok(control)
}

fn taken(rest: &str) -> Result<Taken<'_>, Invalid> {
    let mut fields = Fields::of(rest).peekable();
    fields.peek().ok_or(Invalid::Operands)?;
    fields.try_for_each(|field| range(field).map(drop))?;
    Ok(Taken { rest })
}

fn versions(rest: &str) -> Result<Versions<'_>, Invalid> {
    let mut fields = Fields::of(rest);
    let mut count = 0_usize;
    while let Some(version) = version(&mut fields) {
        version?;
        count += 1;
    }
    if count == 0 { Err(Invalid::Operands) } else { Ok(Versions { rest }) }
}

/// A control line that owns its text.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlLine {
    text: String,
}

impl ControlLine {
    /// Returns `HERD 1 have`, to which versions are added.
    pub fn have() -> Self {
        Self::begin("have")
    }

    /// Returns `HERD 1 want`, to which clients are added.
    pub fn want() -> Self {
        Self::begin("want")
    }

    /// Returns `HERD 1 prune`, to which origins are added.
    pub fn prune() -> Self {
        Self::begin("prune")
    }

    /// Returns the line that claims to be the server called `name`.
    pub fn hello(name: &str, secret: u64) -> Self {
        Self { text: format!("{START}hello {name} {secret:016x}") }
    }

    /// Returns the line that repeats a secret, on the connection whose hello had the secret `own`.
    pub fn proof(secret: u64, own: u64) -> Self {
        Self { text: format!("{START}proof {secret:016x} {own:016x}") }
    }

    /// Returns the line that welcomes the connection whose hello had this secret.
    pub fn welcome(secret: u64) -> Self {
        Self { text: format!("{START}welcome {secret:016x}") }
    }

    /// Returns the line that asks to be told which lines are taken, by the receiver or `everywhere`.
    pub fn acknowledge(everywhere: bool) -> Self {
        Self::begin(if everywhere { "acknowledge everywhere" } else { "acknowledge" })
    }

    /// Returns `HERD 1 took`, to which numbers of lines are added.
    pub fn took() -> Self {
        Self::begin("took")
    }

    fn begin(word: &str) -> Self {
        Self { text: format!("{START}{word}") }
    }

    /// Adds a name. Returns `false`, and adds nothing, if the line would be longer than `limit` bytes.
    pub fn push_name(&mut self, name: &str, limit: usize) -> bool {
        let fits = self.text.len() + 1 + name.len() <= limit;
        if fits {
            self.text.push(' ');
            self.text.push_str(name);
        }
        fits
    }

    /// Adds a version. Returns `false`, and adds nothing, if the line would be longer than `limit` bytes.
    pub fn push_version(&mut self, version: Version<'_>, limit: usize) -> bool {
        let before = self.text.len();
        let Version { client, time, origin, hash } = version;
        write!(self.text, " {client} {time} {origin} {hash:016x}").expect("a string takes everything");
        let fits = self.text.len() <= limit;
        if !fits {
            self.text.truncate(before);
        }
        fits
    }

    /// Adds numbers of lines. Returns `false`, and adds nothing, if the line would be longer than `limit` bytes.
    pub fn push_lines(&mut self, lines: &RangeInclusive<u64>, limit: usize) -> bool {
        let field = match (lines.start(), lines.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        self.push_name(&field, limit)
    }

    /// Returns `true` if nothing was added.
    pub fn is_bare(&self) -> bool {
        !self.text[START.len()..].contains(' ')
    }

    /// Returns the line without its end.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ControlLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlLine({:?})", self.text)
    }
}

/// Writes the line.
impl serde::Serialize for ControlLine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

/// Reads a control line.
impl<'de> serde::Deserialize<'de> for ControlLine {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match super::parse(text.as_bytes()) {
            super::Command::Control(_) => Ok(Self { text }),
            _ => Err(serde::de::Error::custom(format_args!("`{text}` is not a control line"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Command, parse};

    fn read(line: &str) -> Option<Control<'_>> {
        match parse(line.as_bytes()) {
            Command::Control(control) => Some(control),
            Command::Invalid(_) => None,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn line_of(versions: &[Version<'_>]) -> ControlLine {
        let mut line = ControlLine::have();
        versions.iter().for_each(|&version| assert!(line.push_version(version, 4096)));
        line
    }

    #[test]
    fn every_control_line_has_its_text() {
        let Command::At(at) = parse(b"AT Clark +0.1 kiwi +34.0-118.0 1.50") else { panic!("an AT line") };
        let have = line_of(&[Version::of(at)]);
        assert_eq!(have.text(), "HERD 1 have kiwi 1.5 Clark 567fa7f37053ad38");
        assert_eq!(ControlLine::hello("Clark", 255).text(), "HERD 1 hello Clark 00000000000000ff");
        assert_eq!(ControlLine::proof(255, 1).text(), "HERD 1 proof 00000000000000ff 0000000000000001");
        let mut want = ControlLine::want();
        assert!(want.is_bare() && want.push_name("kiwi", 4096) && want.push_name("mango", 4096) && !want.is_bare());
        assert_eq!(want.text(), "HERD 1 want kiwi mango");
        let mut took = ControlLine::took();
        assert!(took.push_lines(&(1..=4), 80) && took.push_lines(&(7..=7), 80) && !took.push_lines(&(9..=9), 18));
        assert_eq!((took.text(), ControlLine::acknowledge(false).text()), ("HERD 1 took 1-4 7", "HERD 1 acknowledge"));
        let Some(Control::Took(taken)) = read(took.text()) else { panic!("it is understood") };
        assert!(
            taken.iter().eq([1..=4, 7..=7])
                && read("HERD 1 acknowledge") == Some(Control::Acknowledge { everywhere: false })
        );
        let everywhere = ControlLine::acknowledge(true);
        assert_eq!(read(everywhere.text()), Some(Control::Acknowledge { everywhere: true }));
    }

    #[test]
    fn a_control_line_that_lacks_something_or_has_too_much_is_an_unknown_command() {
        for line in [
            "HERD",
            "HERD 1",
            "HERD 2 want kiwi",
            "HERD 1 want",
            "HERD 1 prune",
            "HERD 1 have",
            "HERD 1 have kiwi 1 Clark",
            "HERD 1 have kiwi x Clark 0123456789abcdef",
            "HERD 1 have kiwi 1 Clark 0123456789ABCDEF",
            "HERD 1 have kiwi 1 Clark +123456789abcdef",
            "HERD 1 have kiwi 1 Clark 0123456789abcdef mango",
            "HERD 1 hello Clark",
            "HERD 1 hello Clark 0 0",
            "HERD 1 proof 0",
            "HERD 1 proof 00000000000000ff",
            "HERD 1 welcome 0",
            "HERD 1 acknowledge 1",
            "HERD 1 acknowledge everywhere 1",
            "HERD 1 took",
            "HERD 1 took 0",
            "HERD 1 took 2-1",
            "HERD 1 took 1-2-3",
            "HERD 1 took +1",
            "HERD 1 took 1 18446744073709551616",
            "HERD 1 sing",
            "herd 1 want kiwi",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_takes_no_more_than_its_limit() {
        let mut line = ControlLine::want();
        assert!(line.push_name("kiwi", 16) && !line.push_name("x", 17));
        assert_eq!(line.text().len(), 16);
        let mut line = ControlLine::have();
        let version = Version { client: "a", time: PosixTime { seconds: 1, nanoseconds: 0 }, origin: "b", hash: 0 };
        assert!(!line.push_version(version, 33) && line.is_bare() && line.push_version(version, 34));
    }

    #[test]
    fn of_two_versions_the_later_covers_the_earlier_and_twins_do_not_cover_each_other() {
        let covers = |held: &str, announced: &str| {
            let [held, announced] = [held, announced].map(|line| match parse(line.as_bytes()) {
                Command::At(at) => at,
                other => panic!("{line}: {other:?}"),
            });
            Version::of(announced).is_covered_by(held)
        };
        assert!(covers("AT A +0.1 kiwi +1+1 2", "AT B +0.1 kiwi +1+1 1"));
        assert!(covers("AT B +0.1 kiwi +1+1 1", "AT A +0.1 kiwi +1+1 1"));
        assert!(covers("AT A +0.1 kiwi +1+1 1", "AT A +0.1 kiwi +1+1 1"));
        assert!(!covers("AT A +0.1 kiwi +1+1 1", "AT A +0.2 kiwi +1+1 1"));
        assert!(!covers("AT A +0.2 kiwi +1+1 1", "AT A +0.1 kiwi +1+1 1"));
        assert!(!covers("AT B +0.1 kiwi +1+1 1", "AT A +0.1 kiwi +1+1 2"));
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[!-~é]{1,12}", 1..6)
    }

    proptest! {
        #[test]
        fn names_that_are_written_are_read(names in names(), is_prune in any::<bool>()) {
            let mut line = if is_prune { ControlLine::prune() } else { ControlLine::want() };
            names.iter().for_each(|name| assert!(line.push_name(name, 4096)));
            let read = match read(line.text()) {
                Some(Control::Want(names)) if !is_prune => names,
                Some(Control::Prune(names)) if is_prune => names,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), names);
        }

        #[test]
        fn versions_that_are_written_are_read(
            names in names(),
            seconds in 0..i64::MAX,
            nanoseconds in 0..1_000_000_000_u32,
            hash in any::<u64>(),
        ) {
            let version = |client| Version { client, time: PosixTime { seconds, nanoseconds }, origin: &names[0], hash };
            let versions: Vec<_> = names.iter().map(|name| version(name)).collect();
            let line = line_of(&versions);
            let Some(Control::Have(read)) = read(line.text()) else { panic!("{line:?}") };
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), versions);
        }

        #[test]
        fn secrets_that_are_written_are_read(name in "[!-~]{1,12}", secret in any::<u64>()) {
            let [hello, proof] = [ControlLine::hello(&name, secret), ControlLine::proof(secret, !secret)];
            prop_assert_eq!(read(hello.text()), Some(Control::Hello { name: &name, secret }));
            prop_assert_eq!(read(proof.text()), Some(Control::Proof { secret, own: !secret }));
            let welcome = ControlLine::welcome(secret);
            prop_assert_eq!(read(welcome.text()), Some(Control::Welcome { secret }));
        }

        #[test]
        fn lines_that_begin_like_a_control_line_give_an_answer(
            word in "have|want|prune|hello|proof|welcome|",
            rest in proptest::collection::vec("[ -~]{0,20}", 0..6),
        ) {
            parse(format!("HERD 1 {word} {}", rest.join(" ")).as_bytes());
        }
    }
}
