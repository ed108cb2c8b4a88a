//! Servers in processes of their own: by which names they find each other, and by which names commands find them.

use herdsim::config::{ServerId, Topology};
use herdsim::history::Event;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Place, Running, SERVERS, free_ports};
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
    let names = |herds: &Value| -> Vec<String> {
        herds.as_array().unwrap().iter().map(|herd| herd["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["herd", "herd.Clark.2"]);
    let processes = ["herd.Bailey", "herd.Bona", "herd.Campbell", "herd.Clark", "herd.Jaquez"];
    assert_eq!(names(&listed[0]["processes"]), processes);
    assert_eq!(place.json("--herd herd.Clark.2 ps --format json")["name"], "herd.Clark.2");
    // One server of one file has one port.
    let again = place.run("node Clark");
    assert_eq!(again.code, Some(3));
    assert!(again.err.contains("error: Clark cannot listen on 127.0.0.1:"), "{}", again.err);
    let said = place.run("kill Clark");
    let told = "error: Clark may belong to herd or herd.Clark.2; choose one with --herd NAME\n";
    assert_eq!((said.code, said.err.as_str()), (Some(2), told));
    assert_eq!(place.json("--herd other.toml ps --format json")["name"], "herd.Clark.2");
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
fn the_processes_of_one_file_are_one_herd() {
    let place = Place::new();
    let nodes = place.processes();
    let status = place.json("ps --format json");
    assert_eq!((&status["name"], &status["pid"]), (&"herd".into(), &Value::Null));
    let servers = |of: &dyn Fn(&Value) -> Value| -> Vec<Value> {
        place.json("ps --format json")["servers"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(servers(&|server| server["server"].clone()), SERVERS);
    assert_eq!(servers(&|server| server["process"]["pid"].clone()), nodes.each_ref().map(Running::id));
    assert!(place.out("send Bona IAMAT kiwi +1+1 1").starts_with("AT Bona "));
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    nodes[3].signal(Signal::KILL);
    let states = |place: &Place| {
        let status = place.json("ps --format json");
        status["servers"].as_array().unwrap().iter().map(|server| server["state"].clone()).collect::<Vec<_>>()
    };
    place.until(states, &["up", "up", "up", "absent", "up"].map(Value::from).into());
    let said = place.run("send Clark x");
    assert_eq!(said.err, "error: Clark has no process; `herdsim node Clark` starts one\n");
    // All or none.
    let said = place.run("kill Bona Clark");
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(3), "error: Clark has no process; `herdsim node Clark` starts one\n")
    );
    let _clark = place.process("Clark");
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    assert_eq!(place.out("down"), "herd is down\n");
    assert!(place.run("ps").err.starts_with("error: no herd is up"));
}

#[test]
fn up_waits_for_servers_that_have_processes_of_their_own_and_starts_none() {
    let place = Place::new();
    let nodes = place.processes();
    let refused = place.run("up -d");
    assert_eq!(refused.code, Some(3));
    assert!(refused.err.starts_with("error: servers of the herd `herd` run in processes of their own: herd.Bailey, "));
    let said = place.run("up --wait");
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 6), "{said:?}");
    assert_eq!(said.err, "herd is up, in 5 processes; `herdsim down` ends it\n");
    nodes[3].signal(Signal::KILL);
    let late = place.run("up --wait --wait-timeout 1ms");
    assert_eq!(late.code, Some(3));
    assert!(late.err.contains("Clark"), "{}", late.err);
}

#[test]
fn the_name_of_a_server_tells_which_herd_is_meant() {
    let place = Place::new();
    let _nodes = place.processes();
    assert_eq!(place.out("pause Bona"), "paused Bona\n");
    assert_eq!(place.out("unpause Bona"), "unpaused Bona\n");
    // Which servers a herd in one process has, it is asked.
    place.write("one.toml", "server = [{ name = \"Clark\", port = 0 }, { name = \"Smith\", port = 0 }]\n");
    place.out("up -d one.toml");
    assert_eq!(place.out("kill Smith"), "killed Smith\n");
    let said = place.run("send Clark x");
    assert_eq!(said.err, "error: Clark may belong to herd or one; choose one with --herd NAME\n");
}

#[test]
fn a_record_tells_which_process_it_came_from() {
    for strategy in ["flood", "direct", "tree"] {
        for mode in ["persistent", "per-message"] {
            let place = Place::new();
            let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
            place.write("herd.toml", &format!("strategy = \"{strategy}\"\nmode = \"{mode}\"\n{herd}"));
            let _nodes = place.processes();
            linked(&place);
            assert!(place.out("send Bona IAMAT kiwi +1+1 1").starts_with("AT Bona "));
            // Only an IAMAT comes from a client.
            assert_eq!(place.json("records Bona --format json")["records"][0]["known"]["from"], Value::Null);
            place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
            // Clark has two neighbours, and under `direct` all others.
            let from = place.json("records Clark --format json")["records"][0]["known"]["from"].clone();
            let told = if strategy == "direct" { from == "Bona" } else { from == "Bona" || from == "Jaquez" };
            assert!(told, "{strategy}, {mode}: {from}");
        }
    }
}

#[test]
fn a_verb_is_done_in_every_process_that_it_is_about() {
    let place = Place::new();
    let _nodes = place.processes();
    linked(&place);
    let said = place.out("cut Clark Bona");
    assert_eq!(said, "cut Clark-Bona: 2 connections reset or closed\n");
    assert_eq!(faults(&place), ["Bona->Clark", "Clark->Bona"]);
    assert!(place.run("cut Clark Bona").err.contains("all of it is cut already; nothing changed"));
    assert!(place.out("heal --all").starts_with("healed every link"));
    assert_eq!(faults(&place), [""; 0]);
    // Both ends know of it, and one tells.
    place.out("slow Clark:Bona --latency 1ms");
    assert_eq!(faults(&place), ["Clark->Bona"]);
    place.out("heal Clark:Bona");
    place.out("partition Clark,Jaquez");
    assert_eq!(faults(&place).len(), 4);
    let said = place.run("cut Clark Bailey");
    assert_eq!(said.code, Some(2), "{said:?}");
    // Of one process alone only its part can be done, so the whole is not.
    let said = place.run("--herd herd.Clark heal Clark Bona");
    assert_eq!((said.code, said.err.as_str()), (Some(3), "error: Bona runs in another process\n"));
    assert_eq!(faults(&place).len(), 4);
    let said = place.run("--herd herd.Clark send Bona x");
    assert_eq!((said.code, said.err.as_str()), (Some(3), "error: Bona runs in another process\n"));
    place.out("heal --all");
    place.out("partition Clark,Jaquez --mode hold-then-cut --after 1ms");
    place.until(
        faults,
        &["Bona->Clark", "Campbell->Jaquez", "Clark->Bona", "Jaquez->Campbell"].map(str::to_owned).into(),
    );
    place.out("heal --all");
    place.out("kill Bona Clark");
    assert_eq!(place.server("Bona")["state"], "down");
    assert!(place.run("kill Bona Clark").err.contains("Bona, Clark are down, down already"));
    place.out("start Bona Clark");
    linked(&place);
    place.out("rolling-restart Bona Clark");
    linked(&place);
}

#[test]
fn what_happens_in_several_processes_is_one_history_in_which_no_effect_comes_before_its_cause() {
    let place = Place::new();
    let mut nodes = place.processes();
    linked(&place);
    let mut follower = place.start("events -f --json -n 0");
    let header: Value = serde_json::from_str(&follower.line()).unwrap();
    assert!(header["linked"].is_u64(), "{header}");
    for number in 0..20 {
        let server = SERVERS[number % SERVERS.len()];
        place.out(&format!("send {server} IAMAT kiwi +1+1 {number}"));
    }
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    let text = place.out("events --json");
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let heard = is_causal(&entries[1..]);
    assert!(heard >= 80, "{heard} lines were heard");
    assert!(entries[1..].iter().all(|entry| entry["process"].is_string()), "{text}");
    place.write("history.jsonl", &text);
    let judged = place.run("judge history.jsonl");
    assert_eq!(judged.code, Some(0), "{judged:?}");
    place.out("cut Clark Bona");
    let mut followed = Vec::new();
    while !followed.last().is_some_and(|entry: &Value| entry["fact"]["did"].is_object()) {
        followed.push(follower_entry(&mut follower));
    }
    assert!(is_causal(&followed) >= 80);
    // A process that comes back is followed, too.
    place.out("heal --all");
    nodes[4].signal(Signal::KILL);
    nodes[4].wait();
    let _jaquez = place.process("Jaquez");
    while follower_entry(&mut follower)["fact"]["saw"]["started"]["server"] != "Jaquez" {}
    place.out("down");
    while !follower.line().is_empty() {}
}

/// Returns the next entry that a command prints.
fn follower_entry(follower: &mut Running) -> Value {
    let line = follower.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_process_that_is_frozen_is_silent_and_a_verb_that_it_has_a_part_of_is_not_done() {
    let place = Place::new();
    let nodes = place.processes();
    linked(&place);
    assert!(place.out("send Bona IAMAT kiwi +1+1 1").starts_with("AT Bona "));
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    nodes[0].signal(Signal::STOP);
    assert_eq!(place.server("Bailey")["state"], "silent");
    assert_eq!(place.states("kiwi"), ["newest"; 4]);
    let said = place.run("records Bailey --request-timeout 500ms");
    assert!(said.code == Some(3) && said.err.contains("`herd.Bailey` did not answer within"), "{said:?}");
    assert!(place.out("events --json").contains("herd.Bona"));
    for verb in ["cut Bailey Bona", "cut Campbell Bailey"] {
        let said = place.run(&format!("{verb} --request-timeout 500ms"));
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains("`herd.Bailey` did not answer within"), "{}", said.err);
    }
    nodes[0].signal(Signal::CONT);
    // It waits until nothing is promised any more.
    place.out("release --all");
    assert_eq!(faults(&place), [""; 0]);
}

/// Rounds of the test below: a sample, or as many as `HERDSIM_KILL_ROUNDS` says.
fn rounds() -> u64 {
    std::env::var("HERDSIM_KILL_ROUNDS").ok().and_then(|number| number.parse().ok()).unwrap_or(20)
}

#[test]
fn a_verb_in_the_middle_of_which_a_process_is_killed_is_done_in_all_that_are_left_or_in_none() {
    let place = Place::new();
    let mut nodes: Vec<_> = place.processes().into_iter().collect();
    linked(&place);
    let clock = herdsim::time::RealClock::start();
    place.out("heal --all");
    let usual = clock.now().since(clock.started()).as_micros() as u64;
    let all = ["Bona->Clark", "Campbell->Jaquez", "Clark->Bona", "Jaquez->Campbell"];
    for round in 0..rounds() {
        let draw = |purpose| herdsim::draws::Draws::new(round, purpose).bits(round, 0);
        let stood = faults(&place);
        let (verb, then) =
            if stood.is_empty() { ("partition Clark,Jaquez", all.to_vec()) } else { ("heal --all", vec![]) };
        let command = place.start(verb);
        // Every moment is to be met: the wait stands for nothing.
        std::thread::sleep(std::time::Duration::from_micros(draw(1) % (usual * 5 / 4)));
        // One of the processes, or the command.
        let victim = (draw(2) % 7) as usize;
        nodes.get(victim).unwrap_or(&command).signal_if_there(Signal::KILL);
        if draw(3) % 3 == 0 {
            // Both.
            command.signal_if_there(Signal::KILL);
        }
        let (status, said) = command.end();
        if let Some(killed) = nodes.get_mut(victim) {
            killed.wait();
        }
        // Waits until nothing is promised any more, in each process that is left.
        let release = place.run("release --all");
        let left = |way: &&String| {
            let writer = way.split("->").next().expect("a way has a writer");
            SERVERS.get(victim).is_none_or(|killed| *killed != writer)
        };
        let expected = |ways: &[String]| ways.iter().filter(left).cloned().collect::<Vec<_>>();
        let (before, after) =
            (expected(&stood), expected(&then.iter().map(|way| (*way).to_owned()).collect::<Vec<_>>()));
        let now = faults(&place);
        let told = format!("round {round}, {verb}, victim {victim}, {status}: {said}{release:?}");
        match status.code() {
            Some(0) => assert_eq!(now, after, "{told}"),
            Some(_) => assert_eq!(now, before, "{told}"),
            None => assert!(now == before || now == after, "{told}: {now:?}"),
        }
        if let Some(killed) = nodes.get_mut(victim) {
            *killed = place.process(SERVERS[victim]);
        }
        if now.len() < all.len() {
            // A process that was killed has lost what stood.
            place.out("heal --all");
            linked(&place);
        }
    }
}

/// Checks that times do not go back and no line is heard before it was sent, and returns the number of lines that were heard from
/// a neighbour.
fn is_causal(entries: &[Value]) -> usize {
    let (mut sent, mut heard, mut last) = (Vec::new(), 0, 0);
    for entry in entries {
        let at = entry["at"].as_u64().unwrap();
        assert!(at >= last, "{entry} comes after {last}");
        last = at;
        let saw = &entry["fact"]["saw"];
        if let Value::Object(event) = &saw["sent"] {
            sent.push((event["way"].clone(), event["connection"].clone(), event["line"].clone()));
        }
        if let Value::Object(event) = &saw["heard"] {
            let way = serde_json::json!({ "from": event["from"]["server"], "to": event["server"] });
            let cause = (way, event["from"]["connection"].clone(), event["line"].clone());
            assert!(sent.contains(&cause), "{entry} has no cause before it");
            heard += 1;
        }
    }
    heard
}

/// Waits until every link is up.
fn linked(place: &Place) {
    let missing = |place: &Place| {
        let status = place.json("ps --format json");
        let missing = |server: &Value| {
            server["neighbours"].as_array().unwrap().len() as u64 - server["links_up"].as_u64().unwrap()
        };
        status["servers"].as_array().unwrap().iter().map(missing).sum::<u64>()
    };
    place.until(missing, &0);
}

/// Returns the ways on which a fault stands.
fn faults(place: &Place) -> Vec<String> {
    let status = place.json("ps --format json");
    let way = |fault: &Value| format!("{}->{}", fault["from"].as_str().unwrap(), fault["to"].as_str().unwrap());
    let mut ways: Vec<_> = status["faults"].as_array().unwrap().iter().map(way).collect();
    ways.sort();
    ways
}
