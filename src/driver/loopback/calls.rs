//! Which neighbour calls from another process of this machine.
//!
//! An `AT` line does not say which server passed it on, and [`super::registry`] knows the callers of its own process only. A
//! process that dials a server of another one therefore tells that process, before it connects, which address it calls from: a
//! datagram to a Unix socket in a directory that only this user can enter. The system queues the datagram before it queues the
//! connection, so the process that accepts the connection finds it. Nothing changes on the connection.
//!
//! A server on another machine, or of another user, is not told. Then its lines come from a stranger, as they do when its process
//! keeps no such socket. What a server makes of its callers lives in [`super::connection`]. Not here: proofs between processes that
//! share no directory, which a strategy may ask for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use tokio_util::task::AbortOnDropHandle;

use super::lock;
use crate::config::{Topology, Way};
use crate::history::Hop;
use crate::words::percent_encoded;

/// Calls that are remembered while their connections wait to be accepted. When there are more, the oldest is forgotten.
const REMEMBERED: usize = 4096;

/// Longest announcement in bytes. A longer one is cut off and not understood.
const LONGEST: usize = 1024;

/// The calls between this process's server and those of other processes.
#[derive(Debug)]
pub(super) struct Calls {
    directory: PathBuf,
    topology: Arc<Topology>,
    /// Sends announcements.
    sender: UnixDatagram,
    incoming: Arc<Incoming>,
    /// Path of the incoming socket.
    path: PathBuf,
    _reader: AbortOnDropHandle<()>,
}

/// Announcements of neighbours.
#[derive(Debug)]
struct Incoming {
    socket: UnixDatagram,
    topology: Arc<Topology>,
    announced: Mutex<VecDeque<(SocketAddr, Hop)>>,
}

impl Calls {
    /// Opens the sockets of the server called `name`, which listens on `port`. The sockets of all processes lie in `directory`.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses, or if the path is too long for a socket.
    pub(super) fn open(directory: &Path, topology: Arc<Topology>, name: &str, port: u16) -> io::Result<Self> {
        let path = path(directory, name, port);
        // The port is ours, so a process that left this behind is gone.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        let sender = UnixDatagram::unbound()?;
        sender.set_nonblocking(true)?;
        let readable = tokio::net::UnixDatagram::from_std(socket.try_clone()?)?;
        let incoming = Arc::new(Incoming { socket, topology: topology.clone(), announced: Mutex::default() });
        let reader = tokio::spawn(incoming.clone().read_all(readable));
        let reader = AbortOnDropHandle::new(reader);
        Ok(Self { directory: directory.to_owned(), topology, sender, incoming, path, _reader: reader })
    }

    /// Tells the process of the server at the end of `way`, which listens on `port`, that this connection of the way will come
    /// from `address`. A process that cannot be told takes the caller for a stranger.
    pub(super) fn announce(&self, way: Way, connection: u32, address: SocketAddr, port: u16) {
        let [from, to] = [way.from, way.to].map(|server| self.topology.name(server));
        let text = format!("{address} {connection} {from}");
        if let Err(error) = self.sender.send_to(text.as_bytes(), path(&self.directory, to, port)) {
            tracing::debug!(%from, %to, %error, "the neighbour is not told who calls");
        }
    }

    /// Takes the announcement of the connection from `address`, if there is one.
    pub(super) fn take(&self, address: SocketAddr) -> Option<Hop> {
        self.incoming.take(address)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Incoming {
    /// Reads announcements as they come, so that those of calls that are never accepted do not fill the socket.
    async fn read_all(self: Arc<Self>, socket: tokio::net::UnixDatagram) {
        while socket.readable().await.is_ok() {
            self.read(&mut lock(&self.announced), |buffer| socket.try_recv(buffer));
        }
    }

    /// Reads every announcement that is there.
    fn read(&self, announced: &mut VecDeque<(SocketAddr, Hop)>, receive: impl Fn(&mut [u8]) -> io::Result<usize>) {
        let mut buffer = [0; LONGEST];
        while let Ok(length) = receive(&mut buffer) {
            let Some((address, hop)) = self.understood(&buffer[..length]) else { continue };
            announced.retain(|(known, _)| *known != address);
            if announced.len() == REMEMBERED {
                announced.pop_front();
            }
            announced.push_back((address, hop));
        }
    }

    fn take(&self, address: SocketAddr) -> Option<Hop> {
        let mut announced = lock(&self.announced);
        // Not only the task reads: it may not have run since the announcement came.
        self.read(&mut announced, |buffer| self.socket.recv(buffer));
        let place = announced.iter().position(|(known, _)| *known == address)?;
        announced.remove(place).map(|(_, hop)| hop)
    }

    fn understood(&self, bytes: &[u8]) -> Option<(SocketAddr, Hop)> {
        let mut words = std::str::from_utf8(bytes).ok()?.splitn(3, ' ');
        let address = words.next()?.parse().ok()?;
        let connection = words.next()?.parse().ok()?;
        let server = self.topology.server(words.next()?)?;
        Some((address, Hop { server, connection }))
    }
}

/// Returns the path of the socket on which a server hears of calls. Its port tells servers of other herds with its name apart.
fn path(directory: &Path, name: &str, port: u16) -> PathBuf {
    directory.join(format!("{port}.{}.calls", percent_encoded(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerId, parse};

    const WAY: Way = Way { from: ServerId(0), to: ServerId(1) };

    #[tokio::test]
    async fn a_call_is_known_at_once_until_it_is_accepted_and_nonsense_is_not() {
        let directory = tempfile::TempDir::new().expect("there is room");
        let file = "links = [[\"A.b\", \"B\"]]\nserver = [{ name = \"A.b\", port = 1 }, { name = \"B\", port = 2 }]\n";
        let topology = Arc::new(parse("herd.toml", file).expect("it is a herd").topology);
        let open = |name, port| Calls::open(directory.path(), topology.clone(), name, port).expect("there is a socket");
        // What a process that was killed left behind.
        drop(UnixDatagram::bind(path(directory.path(), "B", 2)).expect("there is room"));
        let [a, b] = [open("A.b", 1), open("B", 2)];
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(b.take(address(7)), None);
        a.announce(WAY, 3, address(7), 2);
        a.announce(WAY, 4, address(8), 2);
        let hop = |connection| Some(Hop { server: WAY.from, connection });
        assert_eq!((b.take(address(8)), b.take(address(7)), b.take(address(7))), (hop(4), hop(3), None));
        // The address is another connection's now.
        a.announce(WAY, 5, address(7), 2);
        a.announce(WAY, 6, address(7), 2);
        assert_eq!((b.take(address(7)), b.take(address(7))), (hop(6), None));
        for nonsense in ["", "x", "127.0.0.1:7 1", "127.0.0.1:7 1 C", "127.0.0.1:7 -1 B", "\u{0}"] {
            a.sender.send_to(nonsense.as_bytes(), path(directory.path(), "B", 2)).expect("it is sent");
        }
        assert_eq!(b.take(address(7)), None);
        // Nobody there to be told.
        a.announce(WAY, 7, address(7), 9);
        drop((a, b));
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0);
    }

    #[tokio::test]
    async fn calls_that_are_never_accepted_are_forgotten() {
        let directory = tempfile::TempDir::new().expect("there is room");
        let file = "links = [[\"A\", \"B\"]]\nserver = [{ name = \"A\", port = 1 }, { name = \"B\", port = 2 }]\n";
        let topology = Arc::new(parse("herd.toml", file).expect("it is a herd").topology);
        let b = Calls::open(directory.path(), topology.clone(), "B", 2).expect("there is a socket");
        let mut announced = lock(&b.incoming.announced);
        for number in 0..=REMEMBERED as u32 {
            let text = format!("127.0.0.1:{} {number} A", 1 + number);
            let count = std::cell::Cell::new(0);
            b.incoming.read(&mut announced, |buffer| {
                if count.replace(1) == 1 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                buffer[..text.len()].copy_from_slice(text.as_bytes());
                Ok(text.len())
            });
        }
        assert_eq!(announced.len(), REMEMBERED);
        assert_eq!(announced[0].1.connection, 1);
    }
}
