//! Host names of servers in other processes.
//!
//! A name is looked up for each dial, because its server may not be there yet, or may come back with another address. The ways
//! of [`super::link`] decide when to dial.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::lock;
use crate::words::short;

/// The host name and port of a server, and the lookup that runs.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    port: u16,
    lookup: Mutex<Option<Lookup>>,
}

/// A lookup. Every dial that waits for it gets a copy of the result.
type Lookup = Shared<BoxFuture<'static, Result<Arc<[SocketAddr]>, Arc<str>>>>;

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, lookup: Mutex::default() }
    }

    /// Looks the name up and connects to the first of its addresses that answers, all within `limit`. `socket` gives the socket to
    /// dial an address with.
    pub(super) async fn connect(
        &self,
        limit: Duration,
        socket: impl Fn(SocketAddr) -> io::Result<TcpSocket>,
    ) -> io::Result<TcpStream> {
        if self.port == 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let late = |what: String| io::Error::new(io::ErrorKind::TimedOut, format!("no {what} within {}", short(limit)));
        let end = Instant::now() + limit;
        let found = timeout_at(end, self.look_up()).await;
        let found = found.map_err(|_| late(format!("address of `{}`", self.host)))??;
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{}` has no address", self.host));
        for (place, &address) in found.iter().enumerate() {
            // One address that does not answer must leave time for the others.
            let now = Instant::now();
            let share = end.saturating_duration_since(now) / (found.len() - place) as u32;
            let dial = async { socket(address)?.connect(address).await };
            match timeout_at(now + share, dial).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => last = late(format!("answer of {address}")),
            }
        }
        Err(last)
    }

    /// Returns the addresses that the name has now.
    ///
    /// Joins a lookup that still runs. A lookup that outlives its dial blocks a thread until the resolver gives up, so the next
    /// dials must not start more of them.
    async fn look_up(&self) -> io::Result<Arc<[SocketAddr]>> {
        let lookup = {
            let mut last = lock(&self.lookup);
            match last.as_ref().filter(|lookup| lookup.peek().is_none()) {
                Some(running) => running.clone(),
                None => last.insert(self.start_lookup()).clone(),
            }
        };
        lookup.await.map_err(|reason| {
            io::Error::new(io::ErrorKind::NotFound, format!("`{}` does not resolve: {reason}", self.host))
        })
    }

    fn start_lookup(&self) -> Lookup {
        let (host, port) = (self.host.clone(), self.port);
        // A task of its own ends also when no dial waits any more.
        let task = tokio::spawn(async move { lookup_host((host, port)).await.map(Iterator::collect) });
        let found = task.map(|ended| match ended {
            Ok(found) => found.map_err(|error: io::Error| error.to_string().into()),
            Err(error) => Err(error.to_string().into()),
        });
        found.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use super::super::socket::socket_for;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_name_is_looked_up_again_and_its_addresses_are_tried_in_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let address = listener.local_addr().expect("it listens");
        let name = Name::new("localhost", address.port());
        // As a resolver of a name with two addresses answers: nobody listens at the first.
        let nobody = SocketAddr::from(([127, 0, 0, 2], address.port()));
        *lock(&name.lookup) = Some(futures_util::future::ready(Ok([nobody, address].into())).boxed().shared());
        name.connect(LIMIT, socket_for).await.expect("the second address answers");
        *lock(&name.lookup) = Some(futures_util::future::ready(Ok([nobody].into())).boxed().shared());
        let refused = name.connect(LIMIT, socket_for).await.expect_err("nobody listens there").to_string();
        assert!(refused.starts_with(&nobody.to_string()), "{refused}");
        // The lookup has ended: the next dial looks the name up.
        name.connect(LIMIT, socket_for).await.expect("the name has a new address");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let silent = tokio::net::TcpSocket::new_v4().expect("there is a socket");
        silent.bind(([127, 0, 0, 1], 0).into()).expect("there is a port");
        let silent = silent.listen(0).expect("it listens");
        let silent_address = silent.local_addr().expect("it listens");
        // Fills its backlog: then the system answers no further dial.
        let short = Duration::from_millis(100);
        let dials = std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&silent_address, short).ok());
        let waiting: Vec<_> = dials.collect();
        assert!(!waiting.is_empty());
        let next = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let found = [silent_address, next.local_addr().expect("it listens")];
        let name = Name::new("localhost", 1);
        *lock(&name.lookup) = Some(futures_util::future::ready(Ok(found.into())).boxed().shared());
        let stream = name.connect(Duration::from_secs(2), socket_for).await.expect("the second address answers");
        assert_eq!(stream.peer_addr().ok(), Some(found[1]));
    }

    #[tokio::test]
    async fn a_lookup_that_does_not_end_is_given_up_and_joined_by_the_next_dial() {
        let name = Name::new("localhost", 1);
        *lock(&name.lookup) = Some(std::future::pending().boxed().shared());
        let late = name.connect(Duration::from_millis(1), socket_for).await.expect_err("it does not end").to_string();
        assert_eq!(late, "no address of `localhost` within 1 ms");
        let joined = lock(&name.lookup).clone().expect("it still runs");
        assert!(joined.peek().is_none() && joined.strong_count() == Some(2));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_fails_the_dial_and_says_so() {
        let failed =
            Name::new("not-there-yet.invalid", 1).connect(LIMIT, socket_for).await.expect_err("it has no address");
        assert!(failed.to_string().starts_with("`not-there-yet.invalid` does not resolve: "), "{failed}");
    }
}
