//! Which scenario files are meant.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why paths name no scenario files.
#[derive(Debug, thiserror::Error)]
pub enum NoFiles {
    /// A path cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The path as given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A pattern is not one.
    #[error("`{pattern}` is no pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to run.
    #[error("there is no scenario in {path}: scenarios are files that end in .toml")]
    Empty {
        /// The directory or pattern.
        path: String,
    },
}

/// The scenario files that paths mean: files themselves, directories all `.toml` files in and below them, and patterns with
/// `*`, `?` and `[..]` what they match. In the order given, each directory and pattern by name; no file twice.
///
/// # Errors
///
/// When a path cannot be read, or names nothing.
pub fn scenario_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, NoFiles> {
    let mut files = Vec::new();
    for path in paths {
        let mut found = found(path)?;
        if found.is_empty() {
            return Err(NoFiles::Empty { path: path.display().to_string() });
        }
        found.retain(|file| !files.contains(file));
        files.append(&mut found);
    }
    Ok(files)
}

fn found(path: &Path) -> Result<Vec<PathBuf>, NoFiles> {
    let text = path.to_string_lossy();
    if !path.exists() && text.contains(['*', '?', '[']) {
        return matches(&text);
    }
    let read = |source| NoFiles::Read { path: path.display().to_string(), source };
    if !fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    walk(path, &mut found).map_err(read)?;
    Ok(found)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(())
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, NoFiles> {
    let wrong = |error: glob::PatternError| NoFiles::Pattern { pattern: pattern.into(), reason: error.msg.into() };
    let read =
        |error: glob::GlobError| NoFiles::Read { path: error.path().display().to_string(), source: error.into() };
    glob::glob(pattern).map_err(wrong)?.map(|path| path.map_err(read)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_walked_by_name_and_no_file_is_taken_twice() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("b")).expect("it is new");
        for name in ["c.toml", "a.toml", "b/x.toml", "notes.md"] {
            fs::write(at(name), "").expect("it can be written");
        }
        let all = [at("a.toml"), at("b/x.toml"), at("c.toml")];
        assert_eq!(scenario_files(&[directory.path().into(), at("a.toml")]).expect("there are files"), all);
        assert_eq!(scenario_files(&[at("[ac].toml")]).expect("there are files"), [at("a.toml"), at("c.toml")]);
        assert!(matches!(scenario_files(&[at("none.toml")]), Err(NoFiles::Read { .. })));
        assert!(matches!(scenario_files(&[at("z*.toml")]), Err(NoFiles::Empty { .. })));
    }
}
