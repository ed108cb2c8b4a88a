//! Scenarios that are played on a herd of several processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Place, Running};

/// A scenario whose `rest` follows a partition that heals.
fn scenario(rest: &str) -> String {
    format!(
        r#"
title = "a partition"
herd = "herd.toml"
[[step]]
iamat = {{ client = "kiwi", at = "+34.0-118.0", via = "Clark" }}
[[step]]
until = "quiescent"
[[step]]
partition = [["Clark", "Jaquez"], ["Bona", "Bailey", "Campbell"]]
[[step]]
iamat = {{ client = "kiwi", at = "+35.0-118.0", via = "Clark" }}
[[step]]
until = "quiescent"
[[step]]
check = {{ stale = "kiwi", on = ["Bailey"] }}
[[step]]
heal = "all"
[[step]]
until = "quiescent"
[[step]]
restart = "Bona"
[[step]]
until = "quiescent"
[[step]]
whatsat = {{ client = "kiwi", via = "Bona", expect = {{ server = "Clark" }} }}
[expect]
{rest}
"#
    )
}

/// The verdict of a run, and that of each thing that was asked for.
fn verdicts(place: &Place, words: &str) -> Vec<(String, String)> {
    let said = place.run(&format!("run {words} --report-json report.json"));
    let report = std::fs::read_to_string(place.path().join("report.json")).unwrap_or_else(|_| panic!("{said:?}"));
    let report: Value = serde_json::from_str(&report).unwrap();
    let case = &report["cases"][0];
    assert!(case["error"].is_null(), "{words}: {case}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = case["judgement"]["findings"].as_array().unwrap().iter();
    let findings = findings.map(|finding| (text(&finding["statement"]), text(&finding["verdict"])));
    std::iter::once(("all".to_owned(), text(&case["status"]))).chain(findings).collect()
}

/// Sends a command to a server, as a client.
fn write(place: &Place, server: &str, command: &str) {
    let said = place.run_words(&["send", server, command]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// Waits until the processes of a herd have all their links.
fn linked(place: &Place) {
    place.out("up --wait");
}

#[test]
fn a_scenario_has_one_verdict_on_sockets_on_virtual_time_and_on_five_processes() {
    for (rest, status) in [
        ("converged = true\nno_lost = true", "passed"),
        ("converged = true\nlost = true", "failed"),
        ("'lines per update' = '<1'", "failed"),
    ] {
        let place = Place::new();
        let nodes = place.processes();
        place.write("s.toml", &scenario(rest));
        linked(&place);
        let processes = verdicts(&place, "s.toml --herd-of herd");
        assert_eq!(processes[0].1, status, "{processes:?}");
        assert_eq!(verdicts(&place, "s.toml --driver simulated"), processes);
        place.out("down");
        drop(nodes);
        assert_eq!(verdicts(&place, "s.toml --driver loopback"), processes);
    }
}

#[test]
fn a_scenario_is_played_on_a_herd_of_one_process() {
    for herd in ["herd", "herd.toml"] {
        let place = Place::herd();
        place.write("s.toml", &scenario("converged = true\nno_lost = true\n'lines per update' = '>1'"));
        let up = verdicts(&place, &format!("s.toml --herd-of {herd}"));
        assert_eq!(up[0].1, "passed", "{up:?}");
        assert_eq!(verdicts(&place, "s.toml --driver simulated"), up);
    }
}

#[test]
fn a_scenario_is_not_played_on_one_process_of_several() {
    let place = Place::new();
    let _nodes = place.processes();
    linked(&place);
    place.write("s.toml", &scenario("converged = true"));
    let said = place.run("run s.toml --herd-of herd.Clark");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("`herd.Clark` is one process of a herd"), "{said:?}");
}

#[test]
fn a_scenario_is_played_only_on_a_fresh_herd_of_the_same_kind() {
    let place = Place::new();
    let _nodes = place.processes();
    linked(&place);
    let refused = |text: String| {
        place.write("s.toml", &text);
        let said = place.run("run s.toml --herd-of herd");
        assert_eq!(said.code, Some(3), "{said:?}");
        said.out + &said.err
    };
    let fine = scenario("converged = true");
    let other = refused(fine.replace("title", "strategy = 'direct'\ntitle"));
    assert!(other.contains("its strategy is direct, and here flood-sync"), "{other}");
    place.out("cut Clark Bona");
    let cut = refused(fine.clone());
    assert!(cut.contains("the way from") && cut.contains("is cut"), "{cut}");
    place.out("heal Clark Bona");
    write(&place, "Clark", "IAMAT plum +34.0-118.0 1");
    let known = refused(fine.replace("flood-sync", "flood"));
    assert!(known.contains("knows 1 client"), "{known}");
    place.write("t.toml", &fine);
    let several = place.run("run s.toml t.toml --herd-of herd");
    assert_eq!(several.code, Some(2), "{several:?}");
}

/// A scenario that leaves time for something to happen.
const WAITS: &str = r#"
title = "something happens meanwhile"
herd = "herd.toml"
[[step]]
iamat = { client = "kiwi", at = "+34.0-118.0", via = "Clark" }
[[step]]
wait = "3s"
[expect]
converged = true
"#;

#[test]
fn a_process_that_vanishes_is_observed_and_nothing_is_proven_of_what_it_did_last() {
    let place = Place::new();
    let [_bailey, _bona, _campbell, _clark, mut jaquez] = place.processes();
    linked(&place);
    place.write("s.toml", WAITS);
    let run: Running = place.start("run s.toml --herd-of herd --history h.jsonl");
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    jaquez.signal(Signal::KILL);
    jaquez.wait();
    let (status, err) = run.end();
    assert_eq!(status.code(), Some(5), "{err}");
    let history = std::fs::read_to_string(place.path().join("h.jsonl")).unwrap();
    assert!(
        history.contains(r#"{"crashed":{"server":"Jaquez","life":1,"reason":"its process is gone"}}"#),
        "{history}"
    );
}

#[test]
fn what_somebody_else_does_during_a_run_is_told_and_another_run_is_refused() {
    let place = Place::new();
    let _nodes = place.processes();
    linked(&place);
    place.write("s.toml", WAITS);
    let mut run: Running = place.start("run s.toml --herd-of herd --history h.jsonl");
    place.until(|place| place.states("kiwi"), &vec!["newest".to_owned(); 5]);
    let second = place.run("run s.toml --herd-of herd");
    assert!(second.out.contains("another scenario is being played on the herd `herd`"), "{second:?}");
    place.out("cut Clark Bona");
    run.wait();
    let history = std::fs::read_to_string(place.path().join("h.jsonl")).unwrap();
    assert_eq!(history.matches(r#""cut"]},"hit""#).count(), 2, "{history}");
    // A fault of nobody's script that hit nothing.
    assert_eq!(place.run("judge h.jsonl").code, Some(5));
}

/// A server of somebody else: it answers clients, and takes what its neighbours say, after `late` questions. It passes nothing on.
fn serve(listener: &TcpListener, name: &'static str, late: usize) {
    let known: Arc<Mutex<(Vec<String>, usize)>> = Arc::new(Mutex::new((Vec::new(), late)));
    for stream in listener.incoming().flatten() {
        let known = known.clone();
        thread::spawn(move || drop(talk(&stream, &known, name)));
    }
}

fn talk(mut stream: &TcpStream, known: &Mutex<(Vec<String>, usize)>, name: &str) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let words: Vec<_> = line.split_whitespace().collect();
        let (lines, late) = &mut *known.lock().unwrap();
        match words[..] {
            ["AT", _, _, client, _, time] => {
                let is_older = |known: &&String| {
                    let known: Vec<_> = known.split_whitespace().collect();
                    known[3] == client && known[5] < time
                };
                if lines.iter().all(|known| known.split_whitespace().nth(3) != Some(client)) {
                    lines.push(line);
                } else if let Some(place) = lines.iter().position(|known| is_older(&known)) {
                    lines[place] = line;
                }
            }
            ["WHATSAT", ..] if *late > 0 => {
                *late -= 1;
                writeln!(stream, "? {line}")?;
            }
            ["WHATSAT", client, ..] => {
                let known = lines.iter().find(|known| known.split_whitespace().nth(3) == Some(client));
                match known {
                    Some(known) => write!(stream, "{known}\n{{}}\n\n")?,
                    None => writeln!(stream, "? {line}")?,
                }
            }
            ["IAMAT", client, place, time] => {
                let at = format!("AT {name} +0.0 {client} {place} {time}");
                writeln!(stream, "{at}")?;
                lines.push(at);
            }
            _ => writeln!(stream, "? {line}")?,
        }
    }
    Ok(())
}

#[test]
fn a_server_of_somebody_else_is_asked_from_outside() {
    let place = Place::new();
    let [_bailey, _bona, _campbell, _clark, jaquez] = place.processes();
    linked(&place);
    let port = place.server("Jaquez")["port"].as_u64().unwrap() as u16;
    drop(jaquez);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || serve(&listener, "Jaquez", 0));
    place.write("s.toml", &KNOWN.replace("EXPECTED", "Jaquez"));
    let said = place.run("run s.toml --herd-of herd --history h.jsonl");
    let told = || format!("{said:?}");
    assert_eq!(said.code, Some(0), "{}", told());
    assert!(said.out.contains("not seen: servers are seen from outside"), "{}", told());
    let history = std::fs::read_to_string(place.path().join("h.jsonl")).unwrap();
    assert!(history.contains(r#"{"probed":{"server":"Jaquez","#), "{history}");
    // The same history is judged to the same.
    assert_eq!(place.run("judge h.jsonl").code, Some(0));
}

#[test]
fn a_server_of_somebody_else_may_take_its_time() {
    let place = Place::new();
    let [_bailey, _bona, _campbell, _clark, jaquez] = place.processes();
    linked(&place);
    let port = place.server("Jaquez")["port"].as_u64().unwrap() as u16;
    drop(jaquez);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || serve(&listener, "Jaquez", 20));
    place.write("s.toml", &KNOWN.replace("EXPECTED", "Jaquez"));
    let said = place.run("run s.toml --herd-of herd");
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// A scenario that asks who knows what.
const KNOWN: &str = r#"
title = "who knows it"
herd = "herd.toml"
[[step]]
iamat = { client = "kiwi", at = "+34.0-118.0", via = "Clark" }
[[step]]
until = { record = "kiwi", on = ["EXPECTED"] }
[[step]]
check = { knows = "kiwi", on = ["EXPECTED"] }
[expect]
converged = { within = "20s" }
no_lost = true
"#;
