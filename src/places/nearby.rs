//! The one shape of every answer: the JSON of Google's legacy Nearby Search.
//!
//! Not here: where the places come from.

use std::borrow::Cow;
use std::io;

use memchr::{memchr, memmem};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::Answer;

/// An answer before it is text.
#[derive(Debug, Serialize)]
pub(super) struct Nearby<'a, P> {
    /// Why there are no results, in a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Credits that must be shown, as HTML.
    pub html_attributions: Vec<Cow<'a, str>>,
    /// At most as many as were asked for.
    pub results: Vec<P>,
    /// One of the status codes of legacy Nearby Search.
    pub status: Cow<'a, str>,
}

/// One place, as far as all sources know it.
#[derive(Debug, Serialize)]
pub(super) struct Place<'a> {
    pub name: Cow<'a, str>,
    /// The street, or the region for a place without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vicinity: Option<Cow<'a, str>>,
    pub geometry: Geometry,
    pub place_id: String,
    pub types: Vec<Cow<'a, str>>,
}

/// Where a place is.
#[derive(Debug, Serialize)]
pub(super) struct Geometry {
    pub location: Location,
}

/// Degrees.
#[derive(Debug, Clone, Copy, Serialize, serde::Deserialize)]
pub(super) struct Location {
    #[serde(alias = "latitude")]
    pub lat: f64,
    #[serde(alias = "longitude", alias = "lon")]
    pub lng: f64,
}

impl<'a, P: Serialize> Nearby<'a, P> {
    /// Nothing found, and nobody to credit.
    #[cfg(feature = "network")]
    pub(super) fn none() -> Self {
        Self::found(Vec::new(), Vec::new())
    }

    /// Places that were found, or that there are none.
    pub(super) fn found(html_attributions: Vec<Cow<'a, str>>, results: Vec<P>) -> Self {
        let status = if results.is_empty() { "ZERO_RESULTS" } else { "OK" };
        Self { error_message: None, html_attributions, results, status: status.into() }
    }

    /// The text: one place a line, so that it can be read in a terminal.
    pub(super) fn answer(&self) -> Answer {
        let mut json = Vec::with_capacity(4096);
        let mut serializer = Serializer::with_formatter(&mut json, OnePlaceALine::default());
        self.serialize(&mut serializer).expect("the shape has only text keys, and a Vec takes every write");
        Answer { json: without_blank_lines(json).into() }
    }
}

/// The text without empty lines: on the wire two newlines end a reply. Carriage returns go too; JSON text has neither
/// inside its strings.
fn without_blank_lines(mut json: Vec<u8>) -> Vec<u8> {
    if memmem::find(&json, b"\n\n").is_some() || memchr(b'\r', &json).is_some() {
        json.retain(|&byte| byte != b'\r');
        json.dedup_by(|next, before| (*next, *before) == (b'\n', b'\n'));
    }
    json
}

/// Lays out the outer object and its lists a line per entry, and what is inside an entry on one line.
#[derive(Default)]
struct OnePlaceALine {
    depth: usize,
    empty: bool,
}

impl OnePlaceALine {
    /// Objects and lists inside an entry of a list stay on its line.
    const LAID_OUT: usize = 2;

    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        writer.write_all(bracket)
    }

    fn separate<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.empty = false;
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= Self::LAID_OUT {
            self.new_line(writer)
        } else if first {
            Ok(())
        } else {
            writer.write_all(b" ")
        }
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.depth < Self::LAID_OUT && !self.empty {
            self.new_line(writer)?;
        }
        self.empty = false;
        writer.write_all(bracket)
    }

    fn new_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for OnePlaceALine {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
