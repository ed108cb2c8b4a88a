//! What a herd keeps of its ports. Alone, because a process that another test starts has every socket of this one too, for the
//! moment until it becomes another program.

use std::collections::BTreeSet;

use bytes::Bytes;
use herdsim::act::{Action, ServerVerb, SessionId};
use herdsim::config::{LinkMode, ReplyMode};

use crate::support::*;
use crate::{alone, one_thread};

#[test]
fn a_herd_forgets_nothing_of_a_port_when_it_is_restarted_again_and_again() {
    alone(one_thread(), restarts());
}

async fn restarts() {
    let mut herd = Herd::start(five_servers()).await;
    let port = herd.port(CLARK);
    herd.say(BAILEY, "IAMAT a +1+1 1").await;
    for _ in 0..50 {
        herd.apply(ServerVerb::Restart.on(CLARK)).await;
        assert_eq!(herd.port(CLARK), port);
    }
    herd.settle().await;
    assert_eq!(herd.holders("a", "1"), ALL);
}

/// Returns both ends of the connections in `TIME_WAIT` that lead from or to one of these ports.
fn waiting(ports: &[u16]) -> BTreeSet<[String; 2]> {
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has this table");
    let port = |address: &str| address.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
    let ends = table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, remote, state, ..] = fields[..] else { return None };
        let is_ours = [local, remote].iter().any(|end| port(end).is_some_and(|port| ports.contains(&port)));
        (state == TIME_WAIT && is_ours).then(|| [local, remote].map(str::to_owned))
    });
    ends.collect()
}

/// Everything that closes connections: updates, clients that finish and that close, servers that end.
async fn short_run(mode: LinkMode, reply: ReplyMode) {
    let mut herd = Herd::start(with(five_servers(), |herd| {
        herd.links.iter_mut().for_each(|link| link.mode = mode);
        herd.reply = Some(reply);
    }))
    .await;
    let ports = ALL.map(|server| herd.port(server));
    // A port that is free again may have been another program's.
    let before = waiting(&ports);
    let left = |ports: &[u16]| waiting(ports).difference(&before).cloned().collect::<Vec<_>>();
    for time in 1..5 {
        herd.say(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
    }
    herd.say(CLARK, &"x".repeat(herd.driver.topology().limits.line + 1)).await;
    for session in [SessionId(100), SessionId(101)] {
        let bytes = Bytes::from_static(b"WHATSAT kiwi 10 5\n");
        herd.apply(Action::Send { session, server: BONA, bytes, finish: false }).await;
        herd.settle().await;
    }
    herd.apply(Action::Close(SessionId(100))).await;
    for verb in [ServerVerb::Stop, ServerVerb::Start, ServerVerb::Restart] {
        herd.apply(verb.on(BONA)).await;
        herd.settle().await;
    }
    assert!(left(&ports).is_empty(), "{mode:?}, {reply:?}, {ports:?}: {:?}", left(&ports));
    drop(herd);
    assert!(left(&ports).is_empty(), "{mode:?}, {reply:?}, {ports:?}: {:?}", left(&ports));
}

#[test]
fn a_short_run_leaves_no_connections_behind_that_keep_their_ports_for_a_minute() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        for reply in [ReplyMode::AtOnce, ReplyMode::Neighbours, ReplyMode::Everywhere] {
            alone(one_thread(), short_run(mode, reply));
        }
    }
}
