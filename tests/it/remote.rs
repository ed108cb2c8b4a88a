//! A herd of several processes, driven from outside.
//!
//! Control sockets are found by the environment, which a process cannot change safely: the test that drives is run by another one,
//! in the environment of its herd.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use herdsim::act::{Action, ServerVerb, SessionId, WayVerb};
use herdsim::control::herd::Herd;
use herdsim::driver::Driver as _;
use herdsim::driver::remote::RemoteDriver;
use herdsim::history::Event;

use crate::command::Place;
use crate::support::{ALL, BAILEY, BONA, CLARK, JAQUEZ, KIWI, PATIENCE, settle, way};

const DRIVEN: &str = "HERDSIM_TEST_DRIVEN";

#[test]
fn a_herd_of_several_processes_is_driven_as_one_in_one_process_is() {
    let place = Place::new();
    let _nodes = place.processes();
    let tests = std::env::current_exe().expect("this program has a path");
    let mut drive = Command::new(tests);
    drive.args(["--exact", "remote::drive", "--ignored", "--nocapture"]);
    let said = drive.env("XDG_RUNTIME_DIR", place.path().join("run")).env(DRIVEN, "1").output().expect("it runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[tokio::test]
#[ignore = "another test runs it, in the environment of its herd"]
async fn drive() {
    if std::env::var_os(DRIVEN).is_none() {
        return;
    }
    let herd = Herd::find(Some("herd"), &[], PATIENCE).await.expect("the herd is up");
    let mut driver = RemoteDriver::attach(herd).await.expect("the herd answers");
    settle(&mut driver).await;
    assert!(ALL.iter().all(|&server| driver.is_linked(server) && driver.port(server).is_some()));

    let session = SessionId(1);
    let bytes = Bytes::from(format!("{KIWI}\n"));
    driver.apply(Action::Send { session, server: CLARK, bytes, finish: false }).await.expect("Clark is up");
    let seen = settle(&mut driver).await;
    assert!(seen.iter().any(|event| matches!(event, Event::Replied { session: SessionId(1), .. })), "{seen:?}");
    let sent = seen.iter().filter(|event| matches!(event, Event::Sent { .. })).count();
    assert_eq!(sent, 8, "{seen:?}");
    let clients = [Arc::from("kiwi.cs.ucla.edu"), Arc::from("mango")];
    let known = driver.probe(BAILEY, &clients).await.expect("Bailey answers");
    assert!(known[0].is_some() && known[1].is_none());

    let both = [way(CLARK, BONA), way(BONA, CLARK)];
    let done = driver.perform(both.map(|way| WayVerb::Cut.on(way)).into()).await;
    let ways: Vec<_> = done.done.iter().map(|(_, action, hit)| (action.clone(), hit.connections)).collect();
    assert!(done.error.is_none() && ways.len() == 2 && ways.iter().all(|(_, hit)| *hit == 1), "{ways:?}");
    assert!(both.iter().all(|&way| driver.faults(way).cut) && !driver.faults(way(CLARK, JAQUEZ)).cut);
    settle(&mut driver).await;
    driver.perform(both.map(|way| WayVerb::Heal.on(way)).into()).await;
    let seen = settle(&mut driver).await;
    let opened = |event: &&Event| matches!(event, Event::LinkUp { way, .. } if both.contains(way));
    assert_eq!(seen.iter().filter(opened).count(), 2, "{seen:?}");
    assert!(driver.is_linked(CLARK) && driver.is_open(session));

    driver.apply(ServerVerb::Kill.on(CLARK)).await.expect("Clark's process is there");
    assert!(driver.port(CLARK).is_none() && !driver.is_open(session));
    driver.apply(ServerVerb::Start.on(CLARK)).await.expect("its port is free");
    settle(&mut driver).await;
    assert!(driver.port(CLARK).is_some() && driver.is_linked(CLARK));
    let known = driver.probe(CLARK, &clients[..1]).await.expect("Clark answers");
    assert!(known[0].is_some() || driver.topology().strategy != herdsim::config::Strategy::FloodSync);
    assert!(!driver.is_absent(CLARK));
}
