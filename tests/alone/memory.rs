//! What clients that never read cost in memory.

use tokio::net::TcpSocket;

use crate::support::*;
use crate::{alone, one_thread};

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: usize = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("it is a number");
    pages * 4096
}

/// They send as much as the sockets take, and every byte of it would be answered with one. Each connection costs its
/// `queued-bytes`, the reply to one more command, and one read.
#[test]
fn clients_that_never_read_cost_bounded_memory_and_stop_nobody() {
    alone(one_thread(), never_reading());
}

async fn never_reading() {
    let herd = Herd::start(with(five_servers(), |topology| topology.limits.queued_bytes = 4096)).await;
    // What is observed is kept here, and would be most of what is measured.
    herd.driver.observe_traffic(false);
    let before = resident();
    let commands = format!("{}\n", "X".repeat(999)).repeat(4000);
    let mut greedy = Vec::new();
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().expect("there is a socket");
        socket.set_recv_buffer_size(4096).expect("it can be set");
        let address = ([127, 0, 0, 1], herd.port(CLARK)).into();
        let stream = socket.connect(address).await.expect("the server listens");
        stream.writable().await.expect("it is connected");
        stream.try_write(commands.as_bytes()).expect("there is room");
        greedy.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(herd.ask(CLARK, b"HELLO\n").await, "? HELLO\n");
    }
    let (grown, sent) = (resident().saturating_sub(before), greedy.len() * READ_AND_QUEUED);
    assert!(grown < 2 * sent, "{} kiB for {} connections", grown >> 10, greedy.len());
}

/// What one connection may cost: a read of 64 KiB, 4 KiB of replies and those to one read of lines below 1 KiB.
const READ_AND_QUEUED: usize = 2 * (64 << 10) + (8 << 10);
