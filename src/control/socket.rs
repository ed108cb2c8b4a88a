//! Where the control sockets of this user's herds lie, and who may have one.
//!
//! A directory only its owner can enter, one socket and one lock file per herd. The lock says whether a herd is up; a
//! socket without a lock is what a killed herd left behind.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixListener;

/// Bytes of a socket's path at most: `sun_path` less its final NUL.
const MAX_PATH: usize = 107;

/// Why a herd has no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The directory is not safe to use.
    #[error("{path} {problem}; control sockets need a directory of your own: set XDG_RUNTIME_DIR to one")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The path does not fit a socket address.
    #[error(
        "{0} is longer than {MAX_PATH} bytes, the most a socket's path may have: set XDG_RUNTIME_DIR to a shorter one"
    )]
    TooLong(PathBuf),
    /// Somebody else holds the name.
    #[error("the herd `{herd}` is already up{}; `herdsim down --herd {herd}` ends it", pid.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    AlreadyUp {
        /// Its name.
        herd: String,
        /// Its process, where it is known.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The directory of this user's sockets, which need not exist: `$XDG_RUNTIME_DIR/herdsim`, or `$TMPDIR/herdsim-UID`.
pub fn directory() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_RUNTIME_DIR").map_or_else(
        || {
            let uid = rustix::process::geteuid().as_raw();
            absolute("TMPDIR").unwrap_or_else(|| "/tmp".into()).join(format!("herdsim-{uid}"))
        },
        |runtime| runtime.join("herdsim"),
    )
}

/// The path of a herd's socket.
pub fn path(herd: &str) -> PathBuf {
    directory().join(format!("{herd}.sock"))
}

/// Returns the process that holds a name, if its lock says so.
pub fn holder(herd: &str) -> Option<u32> {
    read_pid(&mut File::open(directory().join(format!("{herd}.lock"))).ok()?)
}

/// The names that have a socket here, sorted, whether anybody listens or not.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory()) else { return Vec::new() };
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = files.filter_map(|file| file.strip_suffix(".sock").map(str::to_owned)).collect();
    names.sort_unstable();
    names
}

/// A herd's name, held: nobody else of this user can bring up a herd with it until this is dropped.
#[derive(Debug)]
pub struct Claim {
    herd: String,
    socket: PathBuf,
    lock: PathBuf,
    /// Whose lock is released when it is closed, also by a kill.
    _held: File,
    bound: bool,
}

/// Names that are tried when another process holds the first one.
const FURTHER_NAMES: std::ops::RangeInclusive<u32> = 2..=99;

impl Claim {
    /// Takes the name `herd`, or the first that is free of `herd.2`, `herd.3` and so on.
    ///
    /// # Errors
    ///
    /// Returns an error if all of them are held, or if the directory is unfit.
    pub fn take_any(herd: &str) -> Result<Self, SocketError> {
        let is_held = |taken: &Result<Self, SocketError>| matches!(taken, Err(SocketError::AlreadyUp { .. }));
        let first = Self::take(herd);
        if !is_held(&first) {
            return first;
        }
        let mut further = FURTHER_NAMES.map(|number| Self::take(&format!("{herd}.{number}")));
        further.find(|taken| !is_held(taken)).unwrap_or(first)
    }

    /// Takes the name `herd`, and clears the socket that a killed herd left under it.
    pub fn take(herd: &str) -> Result<Self, SocketError> {
        let directory = directory();
        prepare(&directory)?;
        let socket = directory.join(format!("{herd}.sock"));
        if socket.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(socket));
        }
        let lock = directory.join(format!("{herd}.lock"));
        let held = take_lock(herd, &lock)?;
        clear_stale(herd, &socket)?;
        Ok(Self { herd: herd.to_owned(), socket, lock, _held: held, bound: false })
    }

    /// The herd whose name it is.
    pub fn herd(&self) -> &str {
        &self.herd
    }

    /// Listens on the herd's socket.
    pub fn listen(&mut self) -> Result<UnixListener, SocketError> {
        let failed = |source| SocketError::Io { path: self.socket.clone(), source };
        let listener = UnixListener::bind(&self.socket).map_err(failed)?;
        self.bound = true;
        fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(listener)
    }
}

impl Drop for Claim {
    /// The lock file goes last, and while it is still locked: see `take_lock`.
    fn drop(&mut self) {
        if self.bound {
            let _ = fs::remove_file(&self.socket);
        }
        let _ = fs::remove_file(&self.lock);
    }
}

/// Makes the directory where there is none, and refuses one that somebody else could put things into.
fn prepare(directory: &Path) -> Result<(), SocketError> {
    let unfit = |problem: String| SocketError::Directory { path: directory.to_owned(), problem };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unfit(format!("cannot be made ({error})"))),
    }
    let metadata = fs::symlink_metadata(directory).map_err(|error| unfit(format!("cannot be looked at ({error})")))?;
    if metadata.is_symlink() {
        return Err(unfit("is a symbolic link".into()));
    }
    if !metadata.is_dir() {
        return Err(unfit("is not a directory".into()));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(unfit(format!("belongs to another user ({})", metadata.uid())));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(unfit(format!("can be entered by others (mode {:o}, not 700)", metadata.mode() & 0o777)));
    }
    Ok(())
}

/// Locks the file at `path`.
///
/// Its holder removes it when it ends. Who opened it just before that then holds the lock of a file that nobody else can
/// see, and so looks again.
fn take_lock(herd: &str, path: &Path) -> Result<File, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    loop {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
        let mut file = options.open(path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(SocketError::AlreadyUp { herd: herd.to_owned(), pid: read_pid(&mut file) });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let same = |here: fs::Metadata| file.metadata().is_ok_and(|held| held.ino() == here.ino());
        if fs::metadata(path).is_ok_and(same) {
            file.set_len(0).map_err(failed)?;
            write!(file, "{}", std::process::id()).map_err(failed)?;
            return Ok(file);
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Removes a socket that nobody listens on.
fn clear_stale(herd: &str, socket: &Path) -> Result<(), SocketError> {
    match UnixStream::connect(socket) {
        Ok(_) => Err(SocketError::AlreadyUp { herd: herd.to_owned(), pid: None }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => fs::remove_file(socket).map_err(|source| SocketError::Io { path: socket.to_owned(), source }),
    }
}
