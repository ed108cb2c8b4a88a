//! Servers in processes of their own: by which names they find each other, and by which names commands find them.

use herdsim::config::{ServerId, Topology};
use herdsim::history::Event;

use crate::command::{Place, SERVERS, free_ports};
use crate::support::{ALL, BONA, CLARK, Herd, KIWI, ask, five_servers, with};

/// The herd on fixed ports, with one server changed.
fn on_ports(server: ServerId, host: &str, listen: Option<&str>) -> Topology {
    with(five_servers(), |topology| {
        for (server, port) in topology.servers.iter_mut().zip(free_ports(ALL.len())) {
            server.port = port;
        }
        let changed = &mut topology.servers[server.index()];
        (changed.host, changed.listen) = (host.into(), listen.map(Into::into));
    })
}

#[tokio::test]
async fn a_server_serves_while_the_name_of_a_neighbour_does_not_resolve() {
    let clark = Herd::start_only(on_ports(BONA, "not-there-yet.invalid", None), CLARK).await;
    let reply = clark.ask(CLARK, format!("{KIWI}\n").as_bytes()).await;
    assert!(reply.starts_with("AT Clark "), "{reply}");
}

#[tokio::test]
async fn a_neighbour_is_dialled_by_its_name_and_listens_on_another_address() {
    let topology = on_ports(BONA, "localhost", Some("0.0.0.0"));
    let port = topology.servers[BONA.index()].port;
    let mut clark = Herd::start_only(topology.clone(), CLARK).await;
    let bona = Herd::start_only(topology, BONA).await;
    assert_eq!(bona.driver.address(BONA), Some(([0, 0, 0, 0], port).into()));
    clark.until(|event| matches!(event, Event::LinkUp { way, .. } if way.to == BONA)).await;
    assert!(ask(port, b"x\n").await.starts_with("? x"));
}

#[tokio::test]
async fn in_one_process_servers_are_dialled_where_they_listen() {
    let topology = with(five_servers(), |topology| {
        for server in &mut topology.servers {
            (server.host, server.listen) = (format!("{}.invalid", server.name), Some("0.0.0.0".into()));
        }
    });
    let mut herd = Herd::start(topology).await;
    herd.say(CLARK, KIWI).await;
    assert_eq!(herd.holders("kiwi.cs.ucla.edu", "1621464827.959498503"), ALL);
}

#[tokio::test]
async fn a_server_of_this_process_needs_a_host_that_resolves() {
    let topology = with(five_servers(), |topology| topology.servers[0].host = "nowhere.invalid".into());
    let error = crate::support::start_fails(topology).await;
    assert!(error.starts_with("Bailey cannot listen on nowhere.invalid:0: "), "{error}");
}

#[test]
fn a_control_name_that_another_herd_holds_stops_no_server() {
    let place = Place::new();
    place.write("other.toml", "name = \"herd\"\nserver = [{ name = \"Clark\", port = 0 }]\n");
    let _nodes = place.processes();
    let mut other = place.start("node Clark -f other.toml");
    assert!(other.line().starts_with("SERVER"), "{:?}", other.end());
    let listed = place.json("ls --format json");
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|herd| herd["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["herd.Bailey", "herd.Bona", "herd.Campbell", "herd.Clark", "herd.Clark.2", "herd.Jaquez"]);
    assert_eq!(place.json("--herd herd.Clark.2 ps --format json")["name"], "herd.Clark.2");
    // One server of one file has one port.
    let again = place.run("node Clark");
    assert_eq!(again.code, Some(3));
    assert!(again.err.contains("error: Clark cannot listen on 127.0.0.1:"), "{}", again.err);
    let said = place.run("kill Clark");
    let told = "error: Clark may belong to herd.Clark or herd.Clark.2; choose one with --herd NAME\n";
    assert_eq!((said.code, said.err.as_str()), (Some(2), told));
    place.out("--herd herd.Clark.2 down");
    let (_, err) = other.end();
    assert!(
        err.starts_with(
            "warning: another process is called `herd.Clark`; commands reach this one with --herd herd.Clark.2"
        ),
        "{err}"
    );
}

#[test]
fn the_name_of_a_server_tells_which_process_is_meant() {
    let place = Place::new();
    let _nodes = place.processes();
    assert!(place.out("send Bona IAMAT kiwi +1+1 1").starts_with("AT Bona "));
    let from = |place: &Place, name: &str| {
        let records = place.json(&format!("records {name} --format json"));
        records["records"][0]["known"]["from"].clone()
    };
    // Only an IAMAT comes from a client.
    assert_eq!(from(&place, "Bona"), serde_json::Value::Null);
    for name in SERVERS.into_iter().filter(|&name| name != "Bona") {
        place.until(|place| SERVERS.iter().any(|neighbour| from(place, name) == *neighbour), &true);
    }
    assert_eq!(place.out("pause Bona"), "paused Bona\n");
    assert_eq!(place.out("unpause Bona"), "unpaused Bona\n");
    let said = place.run("kill Bona Clark");
    assert_eq!(said.code, Some(2));
    assert!(said.err.starts_with("error: 5 herds are up: herd.Bailey, "), "{}", said.err);
    // Which servers a herd in one process has, it is asked.
    place.write("one.toml", "server = [{ name = \"Clark\", port = 0 }, { name = \"Smith\", port = 0 }]\n");
    place.out("up -d one.toml");
    assert_eq!(place.out("kill Smith"), "killed Smith\n");
    let said = place.run("send Clark x");
    assert_eq!(said.err, "error: Clark may belong to herd.Clark or one; choose one with --herd NAME\n");
}
