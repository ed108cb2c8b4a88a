//! From a file, or the text of one, to a topology; and the JSON Schema of such files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

use super::{Topology, raw, validate};
use crate::diagnostic::{Diagnostics, read};
use crate::words::fnv1a;

/// A topology, and what its file should be told.
#[derive(Debug)]
pub struct Loaded {
    /// The herd.
    pub topology: Topology,
    /// What may surprise; perhaps nothing.
    pub warnings: Diagnostics,
    /// Text of the file.
    pub text: String,
    /// What tells the file from others.
    pub identity: Identity,
}

/// What tells the file of one herd from that of another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Device and inode. `None`: the text did not come from a file.
    pub file: Option<(u64, u64)>,
    /// Hash of the text, in hexadecimal digits.
    pub hash: String,
}

impl Identity {
    /// Returns `true` if both are one file, or have the same text.
    pub fn is_same(&self, other: &Self) -> bool {
        self.file.is_some() && self.file == other.file || self.hash == other.hash
    }
}

/// Why a file gave no topology.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// Reads a topology from a file.
///
/// # Errors
///
/// When the file cannot be read, is not UTF-8, or says something wrong; all that is wrong with it comes together.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let origin = path.display().to_string();
    let (text, file) = read_file(path).map_err(|source| LoadError::Read { path: origin.clone(), source })?;
    let loaded = parse_file(path, &text).map_err(LoadError::Invalid)?;
    Ok(Loaded { identity: Identity { file: Some(file), ..loaded.identity }, ..loaded })
}

/// Returns the text of a file, and its device and inode.
fn read_file(path: &Path) -> io::Result<(String, (u64, u64))> {
    let mut file = File::open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let metadata = file.metadata()?;
    Ok((text, (metadata.dev(), metadata.ino())))
}

/// Reads a topology from the text of the file at `path`, which is not read.
///
/// # Errors
///
/// Returns everything that is wrong with the text.
pub fn parse_file(path: &Path, text: &str) -> Result<Loaded, Diagnostics> {
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    parse_named(&path.display().to_string(), text, &name)
}

/// Reads a topology from the text of a file that people know as `origin`.
///
/// # Errors
///
/// Everything that is wrong with the text.
pub fn parse(origin: &str, text: &str) -> Result<Loaded, Diagnostics> {
    parse_named(origin, text, "herd")
}

fn parse_named(origin: &str, text: &str, name: &str) -> Result<Loaded, Diagnostics> {
    let (topology, warnings) = read(origin, text, |table| validate::topology(table, name))?;
    let identity = Identity { file: None, hash: format!("{:016x}", fnv1a(text.bytes())) };
    Ok(Loaded { topology, warnings, text: text.to_owned(), identity })
}

/// The JSON Schema (draft 7) of topology files, with a final newline.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<raw::Herd>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}
