//! The command line, from outside.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::command::{Place, SERVERS};

const KIWI: &str = "send Clark IAMAT kiwi +34.068930-118.445127 1621464827.959498503";

#[test]
fn an_update_is_known_by_all_and_tells_which_way_it_came() {
    let place = Place::herd();
    let reply = place.out(KIWI);
    assert!(reply.starts_with("AT Clark +") && reply.ends_with(" kiwi +34.068930-118.445127 1621464827.959498503\n"));
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    let records = place.json("records Clark --format json");
    assert_eq!(records["records"][0]["known"]["from"], serde_json::Value::Null);
    assert!(place.out("records").contains("+34.068930-118.445127"));
}

#[test]
fn a_killed_server_forgets_and_catches_up_when_it_is_back() {
    let place = Place::herd();
    place.out(KIWI);
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    assert!(place.out("kill Clark").contains("1 record forgotten"));
    assert_eq!(place.server("Clark")["state"], "down");
    assert_eq!(place.states("kiwi").len(), 4);
    place.out("restart Clark");
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
}

#[test]
fn without_repair_what_was_missed_stays_missed() {
    let place = Place::new();
    let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
    place.write("herd.toml", &format!("strategy = \"flood\"\n{herd}"));
    place.out("up -d --wait");
    place.out("kill Clark");
    place.out("send Bailey IAMAT kiwi +34-118 5");
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 4]);
    place.out("restart Clark");
    place.until(|place| place.server("Clark")["links_up"].clone(), &2.into());
    assert_eq!(place.states("kiwi"), ["newest", "newest", "newest", "missing", "newest"]);
}

#[test]
fn killing_the_dead_warns_and_is_no_error() {
    let place = Place::herd();
    place.out("kill Clark");
    let said = place.run("kill Clark");
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    assert_eq!(said.err, "warning: Clark is down already; nothing changed\n");
}

#[test]
fn a_wrong_name_is_wrong_usage_and_is_told_the_right_one() {
    let place = Place::herd();
    let said = place.run("kill Clrk");
    assert_eq!(said.code, Some(2));
    assert_eq!(said.err, "error: the herd `herd` has no server `Clrk`; did you mean `Clark`?\n");
    assert_eq!(place.run("cut Clark Bailey").code, Some(2));
    assert_eq!(place.run("cut Clark").code, Some(2));
    assert_eq!(place.run("send Clrk x").code, Some(2));
}

#[test]
fn without_a_herd_commands_end_with_3() {
    let place = Place::new();
    for words in ["ps", "kill Clark", "down", "records", "events", "logs"] {
        let said = place.run(words);
        assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{words}");
        assert_eq!(said.err, "error: no herd is up; `herdsim up` starts one\n");
    }
    assert_eq!(place.json("ls --format json"), serde_json::json!([]));
}

#[test]
fn a_cut_stands_in_ps_until_it_is_healed() {
    let place = Place::herd();
    assert!(place.out("cut Clark Bona").contains("2 connections reset"));
    let faults = place.json("ps --format json")["faults"].clone();
    assert_eq!(faults.as_array().unwrap().len(), 2);
    assert_eq!(place.server("Clark")["links_up"], 1);
    place.out("heal --all");
    place.until(|place| place.server("Clark")["links_up"].clone(), &2.into());
    assert_eq!(place.json("ps --format json")["faults"], serde_json::json!([]));
}

#[test]
fn one_way_can_be_cut_alone() {
    let place = Place::herd();
    assert_eq!(place.out("cut Clark:Bona"), "cut Clark->Bona: 1 connection reset or closed\n");
    assert_eq!(place.json("ps --format json")["faults"][0]["from"], "Clark");
    assert_eq!(
        (place.server("Clark")["links_up"].clone(), place.server("Bona")["links_up"].clone()),
        (1.into(), 3.into())
    );
}

#[test]
fn servers_are_restarted_one_after_the_other_and_the_herd_is_linked_then() {
    let place = Place::herd();
    let said = place.out("rolling-restart Clark Bona");
    assert!(said.starts_with("restarted one after the other: Clark, Bona: "), "{said}");
    assert_eq!((&place.server("Clark")["links_up"], &place.server("Bona")["links_up"]), (&2.into(), &3.into()));
    let twice = place.run("rolling-restart Clark Clark");
    assert_eq!((twice.code, twice.err.contains("Clark is named twice")), (Some(2), true), "{twice:?}");
}

#[test]
fn a_thin_link_stands_in_ps_until_it_is_healed() {
    let place = Place::herd();
    assert_eq!(place.out("slow Clark->Bona --bandwidth 64kB/s"), "slowed Clark->Bona\n");
    assert_eq!(place.json("ps --format json")["faults"][0]["faults"], serde_json::json!(["slowed"]));
    place.out("heal Clark Bona");
    assert_eq!(place.json("ps --format json")["faults"], serde_json::json!([]));
    let said = place.run("slow Clark Bona --bandwidth 64");
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("needs a unit, such as B/s"), "{}", said.err);
}

#[test]
fn lines_that_are_held_arrive_when_they_are_released() {
    let place = Place::herd();
    place.out("partition Clark,Jaquez --mode hold");
    place.out(KIWI);
    place.until(|place| place.states("kiwi")[4].clone(), &"newest".to_owned());
    assert_eq!(place.states("kiwi"), ["missing", "missing", "missing", "newest", "newest"]);
    assert!(place.out("release --all").contains("that waited released"));
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
}

#[test]
fn a_hold_turns_into_a_cut_and_healing_takes_that_back() {
    let place = Place::herd();
    place.out("partition Clark,Jaquez --mode hold-then-cut --after 10ms");
    place.until(|place| place.server("Campbell")["links_up"].clone(), &2.into());
    place.out("heal --all");
    place.until(|place| place.server("Campbell")["links_up"].clone(), &3.into());
    place.out("partition Clark,Jaquez --mode hold-then-cut --after 1h");
    place.out("heal --all");
    assert_eq!(place.json("ps --format json")["faults"], serde_json::json!([]));
}

#[test]
fn a_paused_server_is_silent_and_send_says_why() {
    let place = Place::herd();
    place.out("pause Clark");
    assert_eq!(place.server("Clark")["state"], "paused");
    let said = place.run("--request-timeout 100ms send Clark IAMAT x +1+1 1");
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("it is paused"), "{}", said.err);
    place.out("unpause Clark");
    assert!(place.out("send Clark IAMAT x +1+1 1").starts_with("AT Clark"));
}

#[test]
fn a_clock_can_be_set_back() {
    let place = Place::herd();
    place.out("clock Clark -1000s");
    assert_eq!(place.server("Clark")["clock_offset"], -1_000_000_000_000_i64);
    assert_eq!(place.run("clock Clark soon").code, Some(2));
}

#[test]
fn nonsense_is_sent_and_refused_byte_for_byte() {
    let place = Place::herd();
    assert_eq!(place.run_words(&["send", "Clark", "what  is\tthis"]).out, "? what  is\tthis\n");
    assert_eq!(place.out("send Clark WHATSAT nobody 10 5"), "? WHATSAT nobody 10 5\n");
}

#[test]
fn a_herd_that_is_up_keeps_its_name() {
    let place = Place::herd();
    let said = place.run("up");
    assert_eq!(said.code, Some(3));
    assert!(said.err.starts_with("error: the herd `herd` is already up (process "), "{}", said.err);
    let said = place.run("up -d");
    assert_eq!(said.code, Some(3));
    assert!(said.err.starts_with("error: the herd `herd` is already up"), "{}", said.err);
}

#[test]
fn of_several_herds_one_must_be_named() {
    let place = Place::herd();
    place.out("up -d --name other");
    let said = place.run("ps");
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(2), "error: 2 herds are up: herd, other; choose one with --herd NAME\n")
    );
    place.out("--herd other kill Clark");
    assert_eq!(place.json("ls --format json")[1]["up"], 4);
    assert_eq!(place.run("--herd third ps").code, Some(3));
}

#[test]
fn down_leaves_nothing_behind() {
    let place = Place::herd();
    assert_eq!(place.out("down"), "herd is down\n");
    assert!(place.control_files().is_empty(), "{:?}", place.control_files());
    assert_eq!(place.run("ps").code, Some(3));
}

#[test]
fn ctrl_c_drains_and_leaves_nothing_behind() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let mut up = place.start("up");
        assert!(up.line().starts_with("SERVER"));
        up.signal(signal);
        let (status, err) = up.end();
        assert_eq!(status.code(), Some(code), "{err}");
        assert!(place.control_files().is_empty());
    }
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let place = Place::new();
    let up = place.start("up -t 1h");
    place.until(|place| place.run("ps").code, &Some(0));
    // A client that has asked for more than it reads keeps its server from draining.
    let port = place.server("Clark")["port"].as_u64().unwrap() as u16;
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut &client, &b"x\n".repeat(32 * 1024)).is_ok() {}
    up.signal(Signal::INT);
    place.until(|place| place.run("--request-timeout 10ms ps").code, &Some(3));
    up.signal(Signal::INT);
    let (status, err) = up.end();
    assert_eq!(status.code(), Some(130), "{err}");
    assert!(place.control_files().is_empty());
}

#[test]
fn the_socket_of_a_killed_herd_is_cleared_by_the_next() {
    let place = Place::new();
    let mut up = place.start("up");
    up.line();
    up.signal(Signal::KILL);
    up.end();
    assert!(place.control_files().contains(&"herd.sock".to_owned()));
    assert_eq!(place.run("ps").code, Some(3));
    place.out("up -d --wait");
    assert_eq!(place.server("Clark")["state"], "up");
}

#[test]
fn a_start_of_two_servers_that_fails_at_the_second_is_undone_and_loses_nothing() {
    let place = Place::herd();
    let port = place.server("Bona")["port"].as_u64().unwrap() as u16;
    place.out("kill Clark Bona");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let said = place.run("start Clark Bona");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("Bona cannot listen"), "{}", said.err);
    assert!(said.err.contains("what was done before it is undone"), "{}", said.err);
    assert_eq!(place.server("Clark")["state"], "down");
}

#[test]
fn a_port_that_is_taken_is_told_also_by_the_process_in_the_background() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new();
    place.write("herd.toml", &format!("server = [{{ name = \"A\", port = {port} }}]\n"));
    for words in ["up", "up -d"] {
        let said = place.run(words);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(said.err.contains(&format!("A cannot listen on 127.0.0.1:{port}")), "{}", said.err);
        assert!(place.control_files().is_empty());
    }
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let place = Place::new();
    let directory = place.path().join("run/herdsim");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = place.run("up");
    assert_eq!(said.code, Some(3));
    assert!(said.err.contains("can be entered by others (mode 755, not 700)"), "{}", said.err);
    std::fs::remove_dir(&directory).unwrap();
    std::os::unix::fs::symlink(place.path(), &directory).unwrap();
    assert!(place.run("up").err.contains("is a symbolic link"));
    std::fs::remove_file(&directory).unwrap();
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let place = Place::herd();
    let mode = |path: &str| std::fs::metadata(place.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run/herdsim"), mode("run/herdsim/herd.sock")), (0o700, 0o600));
}

#[test]
fn events_follow_the_herd_to_its_end() {
    let place = Place::herd();
    let mut events = place.start("events -f --json");
    assert!(events.line().contains(r#""herdsim_history":2"#));
    assert!(events.line().contains(r#""saw":{"started""#));
    place.out("kill Clark");
    while !events.line().contains(r#""asked":{"servers":{"verb":"kill","on":["Clark"]}}"#) {}
    while !events.line().contains(r#""saw":{"killed":{"server":"Clark","life":1"#) {}
    place.out("down");
    let (status, err) = events.end();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
}

#[test]
fn what_a_herd_did_can_be_judged_with_what_operators_did_to_it() {
    let place = Place::herd();
    place.out(KIWI);
    place.out("kill Bona");
    std::fs::write(place.path().join("h.jsonl"), place.out("events --json")).unwrap();
    let judged = place.out("judge h.jsonl");
    assert!(judged.contains("kill Bona: 1 record lost"), "{judged}");
    // Of a history without its beginning nothing is proven.
    let last = place.out("events --json -n 2");
    assert_eq!(last.lines().count(), 4, "{last}");
    std::fs::write(place.path().join("h.jsonl"), last).unwrap();
    let judged = place.run("judge h.jsonl");
    assert_eq!(judged.code, Some(5), "{judged:?}");
    assert!(judged.out.contains("entries are missing from the history"), "{judged:?}");
}

#[test]
fn logs_in_json_are_entries_behind_a_header_and_no_history_to_be_judged() {
    let place = Place::new();
    place.out("up -d --wait --log-dir logs --log-format json");
    place.out("send Bona nonsense");
    place.until(|place| place.out("logs Bona").contains(r#""refused":{"server":"Bona""#), &true);
    let log = std::fs::read_to_string(place.path().join("logs/Bona.log")).unwrap();
    assert!(log.starts_with(r#"{"herdsim_history":2,"#) && log.contains(r#""log_of":"Bona""#), "{log}");
    assert!(place.out("logs Bona -n 1 --since 1h").contains("refused"));
    let judged = place.run("judge logs/Bona.log");
    assert!(judged.err.contains("this is the log of Bona, which is only a part of a history"), "{judged:?}");
    assert_eq!(judged.code, Some(2));
}

#[test]
fn each_server_logs_to_a_file_of_its_own_and_logs_reads_them() {
    let place = Place::new();
    place.out("up -d --wait --log-dir logs");
    place.out(KIWI);
    place.out("send Bona nonsense");
    place.until(|place| place.out("logs Bona").contains("Bona refuses nonsense"), &true);
    assert!(!place.out("logs Clark").contains("refuses"));
    assert_eq!(place.out("logs -n 1").lines().count(), 1);
    assert!(!place.out("logs").contains('\u{1b}'));
    assert_eq!(place.run("logs Clrk").code, Some(2));
}

#[test]
fn five_processes_make_the_same_herd() {
    let place = Place::new();
    let names = SERVERS;
    let _nodes = place.processes();
    let links = |place: &Place| -> Vec<Option<u64>> {
        names
            .iter()
            .map(|name| {
                let said = place.run(&format!("--herd herd.{name} ps --format json"));
                serde_json::from_str::<serde_json::Value>(&said.out).ok()?["servers"][0]["links_up"].as_u64()
            })
            .collect()
    };
    place.until(links, &[2, 3, 3, 2, 2].map(Some).to_vec());
    place.out(&format!("--herd herd.Clark {KIWI}"));
    let knows = |place: &Place| place.out("--herd herd.Bailey records").contains("+34.068930");
    place.until(knows, &true);
    assert_eq!(place.run("--herd herd.Clark cut Bona Bailey").code, Some(3));
}

#[test]
fn init_check_and_up_work_one_after_another() {
    let place = Place::new();
    let said = place.run("init");
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("--force overwrites it"));
    place.out("init --force");
    assert!(place.out("check herd.toml").contains("lines per update   8"));
    assert!(place.out("init - --preset 2016").contains("Welsh"));
    assert!(place.out("schema").contains("draft-07"));
}

#[test]
fn a_calibration_gives_lines_that_a_herd_file_takes() {
    let place = Place::new();
    let lines = place.out("calibrate --updates 20 --restarts 0 --format toml");
    assert!(lines.starts_with("latency = \""), "{lines}");
    let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
    place.write("like-this-machine.toml", &format!("{lines}{herd}"));
    place.out("check like-this-machine.toml");

    let said = place.run("calibrate --updates 20 --restarts 5");
    assert!(said.out.starts_with("20 lone updates of a herd of 5 servers"), "{}", said.out);
    assert!(said.out.contains("for a herd file, above its first [heading]:\n\nlatency = \""), "{}", said.out);
    assert_eq!(
        said.err,
        "measuring 20 updates and 5 restarts of 5 servers on real sockets, and then on virtual time\n"
    );
    assert_eq!(place.run("--quiet calibrate --updates 1 --restarts 0").err, "");

    let json = place.json("calibrate --updates 20 --restarts 5 --format json");
    for which in ["measured", "simulated"] {
        // Eight lines an update; each of the five servers dials its neighbours.
        let counts = ["hop", "farthest", "dial"].map(|what| json[which][what]["count"].clone());
        assert_eq!(counts, [160, 20, 12].map(serde_json::Value::from), "{which}: {json}");
    }
    assert!(json["model"]["latency"].is_u64() && json["candidates"].as_array().unwrap().len() == 4, "{json}");
}

#[test]
fn a_herd_that_cannot_be_calibrated_is_told_why() {
    let place = Place::new();
    std::fs::remove_file(place.path().join("herd.toml")).unwrap();
    // The one that `init` writes, but on ports that the system chooses.
    assert_eq!(place.json("calibrate --updates 5 --restarts 0 --format json")["servers"], 5);
    place.write("alone.toml", "server = [{ name = \"A\", port = 0 }]");
    let servers = "server = [{ name = \"A\", port = 0 }, { name = \"B\", port = 0 }, { name = \"C\", port = 0 }]";
    place.write("split.toml", &format!("links = [[\"A\", \"B\"]]\n{servers}"));
    for (words, code, told) in [
        ("calibrate nothing.toml", 2, "there is no file nothing.toml"),
        ("calibrate alone.toml", 2, "a herd without links has nothing to measure"),
        ("calibrate split.toml", 3, "an update at A reached 2 of 3 servers"),
        ("calibrate --updates 0", 2, "--updates"),
    ] {
        let said = place.run(words);
        assert_eq!(said.code, Some(code), "{words}: {said:?}");
        assert!(said.err.contains(told), "{words}: {}", said.err);
    }
}

#[test]
fn a_wrong_file_is_told_with_all_that_is_wrong() {
    let place = Place::new();
    place.write("bad.toml", "links = [[\"A\", \"C\"]]\nserver = [{ name = \"A\", port = 70000 }]\n");
    for words in ["check bad.toml", "up bad.toml", "up -d bad.toml"] {
        let said = place.run(words);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains("70000") && said.err.contains("`C`") && !said.err.contains('\u{1b}'), "{}", said.err);
    }
    let short = place.run("--error-format short check bad.toml").err;
    assert!(short.lines().all(|line| line.starts_with("bad.toml:")), "{short}");
    assert_eq!(place.run("up nothing.toml").code, Some(2));
}

#[test]
fn the_command_line_says_when_servers_of_a_scenario_reply() {
    let place = Place::new();
    let servers = "server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }]";
    let herd = format!("reply = 'neighbours'\nherd = {{ latency = '20ms', links = [['A', 'B']], {servers} }}");
    let iamat = "iamat = { client = 'kiwi', at = '+1+1', via = 'A', session = 'kiwi' }";
    let whatsat = "whatsat = { client = 'kiwi', via = 'B', session = 'kiwi', expect = { server = 'A' } }";
    place.write("s.toml", &format!("title = 'x'\n{herd}\n[[step]]\n{iamat}\n[[step]]\n{whatsat}\n"));
    for (words, code) in [("", 0), (" --reply neighbours", 0), (" --reply at-once", 1), (" --reply never", 2)] {
        let said = place.run(&format!("run --driver simulated s.toml{words}"));
        assert_eq!(said.code, Some(code), "{words}: {said:?}");
    }
}

#[test]
fn flags_can_be_set_in_the_environment() {
    let place = Place::herd();
    let with = |name: &str, value: &str| {
        let output = place.command(&["ps"]).env(name, value).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(with("HERDSIM_FORMAT", "json").starts_with('{'));
    assert!(with("HERDSIM_COLOR", "always").contains('\u{1b}'));
    assert!(!with("HERDSIM_COLOR", "auto").contains('\u{1b}'));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new();
    let mut child = place
        .command(&["schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}
