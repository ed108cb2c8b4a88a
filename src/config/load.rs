//! From a file, or the text of one, to a topology; and the JSON Schema of such files.

use std::path::Path;
use std::{fs, io};

use schemars::generate::SchemaSettings;

use super::{Topology, raw, validate};
use crate::diagnostic::{Diagnostics, read};

/// A topology, and what its file should be told.
#[derive(Debug)]
pub struct Loaded {
    /// The herd.
    pub topology: Topology,
    /// What may surprise; perhaps nothing.
    pub warnings: Diagnostics,
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
    let text = fs::read_to_string(path).map_err(|source| LoadError::Read { path: origin.clone(), source })?;
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    parse_named(&origin, &text, &name).map_err(LoadError::Invalid)
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
    Ok(Loaded { topology, warnings })
}

/// The JSON Schema (draft 7) of topology files, with a final newline.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<raw::Herd>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}
