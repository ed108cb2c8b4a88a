//! What a herd keeps of its ports. Alone, because a process that another test starts has every listener of this one too, for the
//! moment until it becomes another program.

use herdsim::act::ServerVerb;

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
