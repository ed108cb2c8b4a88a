//! The scenario on turmoil.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use turmoil::net::{TcpListener, TcpStream};

use crate::scenario::{LATENCY, LINKS, Outcome, SERVERS, is_split};
use crate::server::{CLIENT, Herd, PORT, World, address, script, serve};

struct Turmoil;

impl World for Turmoil {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn bind() -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await
    }

    async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer.ip()))
    }

    async fn connect(to: IpAddr) -> io::Result<TcpStream> {
        TcpStream::connect((to, PORT)).await
    }

    fn spawn(task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// One scenario, with this much virtual time between two looks at the servers.
pub fn run(seed: u64, tick: Duration, lasting: Duration) -> Outcome {
    let herd = Arc::new(Herd::default());
    let mut builder = turmoil::Builder::new();
    builder.rng_seed(seed).tick_duration(tick).simulation_duration(Duration::from_secs(60));
    builder.min_message_latency(LATENCY[0]).max_message_latency(LATENCY[1]);
    let mut sim = builder.build();
    for server in 0..SERVERS {
        let herd = herd.clone();
        sim.host(address(server), move || {
            let herd = herd.clone();
            async move { Ok(serve::<Turmoil>(server, herd).await?) }
        });
    }
    let clients = herd.clone();
    sim.client(address(CLIENT), async move { Ok(script::<Turmoil>(&clients, lasting, split).await?) });
    sim.run().expect("the clients are content");
    herd.outcome("turmoil")
}

fn split(split: bool) {
    for [a, b] in LINKS.into_iter().filter(|[a, b]| is_split(*a, *b)) {
        let [a, b] = [a, b].map(address);
        if split { turmoil::partition(a, b) } else { turmoil::repair(a, b) }
    }
}
