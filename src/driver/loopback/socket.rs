//! A TCP connection that is reset when it is dropped, unless it was closed in order. Not here: when a connection ends.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{Shutdown, shutdown};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How many connections may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;

/// A connection; dropped, it is reset, as those of a process that is killed with unread input are.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    resets: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Lines are written when they are complete: nothing is gained by waiting. A socket that is already gone says so on
        // its first use.
        stream.set_nodelay(true).ok();
        Self { stream, resets: true }
    }

    /// As a client's: dropped, it is closed as the system does it.
    pub(super) fn of_client(stream: TcpStream) -> Self {
        let mut socket = Self::new(stream);
        socket.resets = false;
        socket
    }

    /// Ends the writing side; what is then dropped is closed in order.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.resets = false;
        self.stream.shutdown().await
    }
}

impl Deref for Socket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Socket {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.resets {
            self.stream.set_zero_linger().ok();
        }
    }
}

/// Takes an address without listening on it: dials of it are refused, and [`listen`] can take it over any number of times.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(address)?;
    // Lets a listener share the address, and a restarted server have its port although old connections of it linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// A listener that listens no more once it is dropped, whoever has a copy of it.
///
/// A process that this one has just forked has copies of all its sockets until it runs its program. A copy that listened on
/// would keep a server that is started again from its port.
#[derive(Debug)]
pub(super) struct Listener(TcpListener);

impl Deref for Listener {
    type Target = TcpListener;

    fn deref(&self) -> &TcpListener {
        &self.0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails only for a socket that does not listen.
        shutdown(&self.0, Shutdown::Read).ok();
    }
}

/// Listens on an address that is reserved.
pub(super) fn listen(address: SocketAddr) -> io::Result<Listener> {
    reserve(address)?.listen(BACKLOG).map(Listener)
}

/// A socket with an address of its own, to be known by at the far end before it is connected. Both ends are on this machine.
pub(super) fn bound_for(target: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(target)?;
    socket.bind(SocketAddr::new(target.ip(), 0))?;
    Ok(socket)
}

/// Connects a socket. A connection that is given up while it is dialled is reset: nobody would end its other side.
pub(super) async fn connect(socket: TcpSocket, target: SocketAddr) -> io::Result<TcpStream> {
    socket.set_zero_linger()?;
    let stream = socket.connect(target).await?;
    set_socket_linger(&stream, None)?;
    Ok(stream)
}

pub(super) fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn an_address_can_be_listened_on_again_while_a_copy_of_its_dropped_listener_is_open() {
        let held = reserve("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let listener = listen(address).unwrap();
        let copy = listener.as_fd().try_clone_to_owned().unwrap();
        drop(listener);
        let again = listen(address).expect("the copy listens no more");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), again.accept());
        assert!(dialled.is_ok() && accepted.is_ok());
        drop(copy);
    }
}
