//! What every simulator runs: the herd, what its clients say, where it is split, and what must come of it.

use std::time::Duration;

/// Servers of the assignment.
pub const NAMES: [&str; SERVERS] = ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"];
pub const SERVERS: usize = 5;

/// Who talks with whom.
pub const LINKS: [[usize; 2]; 6] = [[3, 4], [3, 1], [2, 0], [2, 1], [2, 4], [1, 0]];

/// Clients; each says where it is once before the partition, and once during it.
pub const CLIENTS: usize = 12;

/// One line on one link takes a time between these.
pub const LATENCY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];

/// Waited before a failed dial is tried again: at first, and doubled up to this.
pub const REDIAL: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// How long the partition lasts once both sides have come to rest: it is mended at once, or it is as long as partitions are and the
/// dials between its sides have long become rare.
pub const PARTITIONS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(2)];

/// The server that the client with this number talks to.
pub fn server_of(client: usize) -> usize {
    client % SERVERS
}

/// Whether a server is on the small side of the partition, with Clark and Jaquez.
pub fn is_cut_off(server: usize) -> bool {
    server >= 3
}

/// Whether two servers are on different sides.
pub fn is_split(a: usize, b: usize) -> bool {
    is_cut_off(a) != is_cut_off(b)
}

/// What is said before the partition, and what during it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Before,
    During,
}

impl Round {
    /// The time that clients state.
    pub fn time(self) -> &'static str {
        match self {
            Self::Before => "1767225600.500000000",
            Self::During => "1767225601.500000000",
        }
    }

    /// What a client says, with its line end.
    pub fn command(self, client: usize) -> String {
        format!("IAMAT {} +34.068930-118.445127 {}\n", client_name(client), self.time())
    }
}

pub fn client_name(client: usize) -> String {
    format!("client-{client}.example")
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// `AT` lines that servers read.
    pub deliveries: u64,
}

/// Panics unless a server holds what every client said last, given the times it holds, one for each client: a run that computes
/// something else is not compared.
pub fn check<'a>(simulator: &str, server: usize, times: impl Iterator<Item = &'a str>) {
    let current = times.filter(|time| *time == Round::During.time()).count();
    assert_eq!(current, CLIENTS, "{simulator}: clients of which {} knows the last word", NAMES[server]);
}
