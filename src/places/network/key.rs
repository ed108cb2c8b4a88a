//! The key of a service: where it comes from, and that it goes nowhere else.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use memchr::memmem;

use super::{Answer, PlacesError};
use crate::places::KEY_VARIABLE;

/// The longest key, in bytes; Google's have 39.
const MAX_KEY: usize = 256;

/// The shortest key. A shorter one would hide innocent words of answers.
const MIN_KEY: usize = 8;

/// What stands for the key wherever a service repeats it.
const REDACTED: &[u8] = b"[key]";

/// A key. Its characters need no escape in an address, a header or JSON, so it can be found wherever it is repeated.
pub(super) struct Key(String);

impl Key {
    /// The key of the environment, else that of the file.
    pub(super) fn load(environment: Option<String>, file: Option<&Path>) -> Result<Self, PlacesError> {
        match (environment, file) {
            (Some(key), _) => Self::checked(&key, KEY_VARIABLE),
            (None, Some(path)) => Self::checked(&read(path)?, &path.display().to_string()),
            (None, None) => Err(PlacesError::NoKey),
        }
    }

    fn checked(text: &str, origin: &str) -> Result<Self, PlacesError> {
        let key = text.trim();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if (MIN_KEY..=MAX_KEY).contains(&key.len()) && key.bytes().all(allowed) {
            Ok(Self(key.to_owned()))
        } else {
            Err(PlacesError::NotAKey { origin: origin.to_owned() })
        }
    }

    /// The key itself, for a request and nothing else.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// The answer without the key, should the service have repeated it.
    pub(super) fn redact(&self, answer: Answer) -> Answer {
        let finder = memmem::Finder::new(&self.0);
        if finder.find(&answer.json).is_none() {
            return answer;
        }
        let mut json = Vec::with_capacity(answer.json.len());
        let mut rest = &answer.json[..];
        while let Some(at) = finder.find(rest) {
            json.extend_from_slice(&rest[..at]);
            json.extend_from_slice(REDACTED);
            rest = &rest[at + self.0.len()..];
        }
        json.extend_from_slice(rest);
        Answer { json: json.into() }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

fn read(path: &Path) -> Result<String, PlacesError> {
    let failed = |source: io::Error| PlacesError::KeyFile { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(PlacesError::ForeignKeyFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PlacesError::OpenKeyFile { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    // White space around the key included; what is longer is no key.
    file.take(4 * MAX_KEY as u64).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "AIza-not_a.real~key";

    fn key_file(content: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("places.key");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("allowed");
        (directory, path)
    }

    #[test]
    fn a_file_that_only_its_owner_reads_is_a_key_without_its_line_end() {
        for mode in [0o600, 0o400] {
            let (_directory, path) = key_file(&format!("{KEY}\n"), mode);
            assert_eq!(Key::load(None, Some(&path)).expect("a key").secret(), KEY);
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_command_that_mends_it() {
        let (_directory, path) = key_file(KEY, 0o640);
        let error = Key::load(None, Some(&path)).expect_err("refused").to_string();
        assert_eq!(error, format!("others may read the key file {0} (mode 0640): run `chmod 600 {0}`", path.display()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Key::load(None, Some(Path::new("/nowhere/places.key"))).expect_err("refused").to_string();
        assert_eq!(error, "cannot read the key file /nowhere/places.key: No such file or directory (os error 2)");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let (_directory, path) = key_file("another-key", 0o600);
        assert_eq!(Key::load(Some(KEY.into()), Some(&path)).expect("a key").secret(), KEY);
    }

    #[test]
    fn no_key_at_all_says_where_to_put_one() {
        let error = Key::load(None, None).expect_err("refused").to_string();
        assert!(error.contains("HERDSIM_PLACES_KEY") && error.contains("key_file"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for text in ["", "short", "two words here", "line\nline\nline", &"x".repeat(257), "schlüssel-schlüssel"] {
            let error = Key::load(Some(text.into()), None).expect_err("refused").to_string();
            assert!(error.starts_with("HERDSIM_PLACES_KEY holds no key"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_key_hides_from_debug_output_and_from_answers() {
        let key = Key::load(Some(KEY.into()), None).expect("a key");
        assert_eq!(format!("{key:?}"), "Key([redacted])");
        let answer = Answer { json: format!("a{KEY}b{KEY}").into() };
        assert_eq!(key.redact(answer).json, "a[key]b[key]");
    }
}
