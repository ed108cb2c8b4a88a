//! The scenario on madsim.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use madsim::net::{NetSim, TcpListener, TcpStream};
use madsim::runtime::Runtime;
use madsim::task::NodeId;

use crate::scenario::{LATENCY, LINKS, Outcome, SERVERS, is_split};
use crate::server::{CLIENT, Herd, PORT, World, address, script, serve};

struct Madsim;

impl World for Madsim {
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
        madsim::task::spawn_local(task);
    }

    async fn sleep(duration: Duration) {
        madsim::time::sleep(duration).await;
    }
}

/// One scenario.
pub fn run(seed: u64, lasting: Duration) -> Outcome {
    let herd = Arc::new(Herd::default());
    let mut config = madsim::Config::default();
    config.net.send_latency = LATENCY[0]..LATENCY[1];
    let runtime = Runtime::with_seed_and_config(seed, config);
    let mut nodes = Vec::new();
    for server in 0..SERVERS {
        let (node, herd) = (runtime.create_node().ip(address(server)).build(), herd.clone());
        nodes.push(node.id());
        node.spawn(async move { madsim::task::spawn_local(async move { serve::<Madsim>(server, herd).await }).await });
    }
    let (node, clients) = (runtime.create_node().ip(address(CLIENT)).build(), herd.clone());
    let done = node.spawn(async move {
        let split = move |split| split_nodes(&nodes, split);
        madsim::task::spawn_local(async move { script::<Madsim>(&clients, lasting, split).await }).await
    });
    let ended = runtime.block_on(done).expect("nobody ends the clients").expect("nobody ends the clients");
    ended.expect("the clients are content");
    herd.outcome("madsim")
}

fn split_nodes(nodes: &[NodeId], split: bool) {
    let net = NetSim::current();
    for [a, b] in LINKS.into_iter().filter(|[a, b]| is_split(*a, *b)) {
        for (from, to) in [(nodes[a], nodes[b]), (nodes[b], nodes[a])] {
            if split { net.clog_link(from, to) } else { net.unclog_link(from, to) }
        }
    }
}
