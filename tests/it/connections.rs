//! Connections, single lines and frozen servers: what becomes of each line is the same on real sockets and on virtual time.
//!
//! Each rule is a script in which nothing depends on timing. Not here: what the numbers are ([`crate::faults`]).

use serde_json::Value;

use crate::command::Place;

/// A herd of two or three servers, and the steps that are done to it, each until the herd is at rest.
struct Script<'a> {
    /// Keys of the herd besides its links and servers.
    herd: &'a str,
    links: &'a [(&'a str, &'a str)],
    steps: &'a [&'a str],
}

const PAIR: &[(&str, &str)] = &[("A", "B")];
const LINE: &[(&str, &str)] = &[("A", "B"), ("B", "C")];
const RING: &[(&str, &str)] = &[("A", "B"), ("B", "C"), ("A", "C")];

const AT_A: &str = r#"iamat = { client = "k", at = "+1.0-1.0", via = "A" }"#;
const AT_A_AGAIN: &str = r#"iamat = { client = "k", at = "+2.0-1.0", via = "A" }"#;
const BY_MESSAGE: &str = r#"mode = "per-message""#;
/// So that a step lies between a fault and the news of it.
const FAR: &str = r#"latency = "80ms""#;

impl Script<'_> {
    /// Returns what a scenario file says. A step that begins with `!` is not waited for.
    fn text(&self) -> String {
        let mut names: Vec<_> = self.links.iter().flat_map(|&(a, b)| [a, b]).collect();
        names.sort_unstable();
        names.dedup();
        let servers: Vec<_> = names.iter().map(|name| format!("{{ name = \"{name}\", port = 0 }}")).collect();
        let links: Vec<_> = self.links.iter().map(|(a, b)| format!("[\"{a}\", \"{b}\"]")).collect();
        let keys = if self.herd.is_empty() { String::new() } else { format!("{}, ", self.herd) };
        let (links, servers) = (links.join(", "), servers.join(", "));
        let mut text = format!(
            "title = \"x\"\nstrategy = \"flood\"\nunrealistic = true\nherd = {{ {keys}links = [{links}], server = [{servers}] }}\n"
        );
        for step in self.steps {
            text += &format!("[[step]]\n{}\n", step.trim_start_matches('!'));
            if !step.starts_with('!') {
                text += "[[step]]\nuntil = \"quiescent\"\n";
            }
        }
        text
    }

    /// Returns the verdict, the numbers of lines, and what each fault hit.
    fn outcome(&self, driver: &str) -> Vec<String> {
        let place = Place::new();
        place.write("s.toml", &self.text());
        let said = place.run(&format!("run s.toml --driver {driver} --report-json report.json"));
        assert!(matches!(said.code, Some(0 | 1 | 5)), "{driver}: {said:?}\n{}", self.text());
        let report: Value =
            serde_json::from_str(&std::fs::read_to_string(place.path().join("report.json")).unwrap()).unwrap();
        let case = &report["cases"][0];
        let numbers = &case["judgement"]["numbers"];
        let mut outcome = vec![case["status"].to_string()];
        for number in ["lines", "redundant", "lines_lost"] {
            outcome.push(format!("{number}: {}", numbers[number]));
        }
        let faults = case["judgement"]["faults"].as_array().into_iter().flatten();
        outcome.extend(faults.map(|fault| format!("{}: {}", fault["fault"], fault["hit"])));
        outcome
    }

    fn assert_agrees(&self) {
        assert_eq!(self.outcome("loopback"), self.outcome("simulated"), "{}", self.text());
    }
}

#[test]
fn a_single_line_is_sent_when_its_dial_is_answered_and_missed_when_it_is_refused_or_times_out() {
    let until_sent = r#"!until = { lines = 1, kind = "sent", on = "A->B" }"#;
    let first = r#"!iamat = { client = "k", at = "+1.0-1.0", via = "A" }"#;
    let lacks = r#"!check = { lacks = "k", on = ["B"] }"#;
    let cases: [Vec<&str>; 4] = [
        vec![first, until_sent, lacks],
        vec![r#"cut = "A->B""#, AT_A, r#"heal = "A->B""#, AT_A_AGAIN],
        vec![r#"kill = "B""#, AT_A, r#"start = "B""#, AT_A_AGAIN],
        vec![r#"half-open = "A->B""#, AT_A, r#"heal = "A->B""#, AT_A_AGAIN],
    ];
    for steps in &cases {
        Script { herd: r#"mode = "per-message", latency = "20ms""#, links: RING, steps }.assert_agrees();
    }
}

#[test]
fn a_single_line_whose_sender_stops_is_missed_when_its_dial_has_timed_out() {
    let herd = r#"mode = "per-message", redial = { timeout = "300ms" }"#;
    let at_once = format!("!{AT_A}");
    Script { herd, links: PAIR, steps: &[r#"half-open = "A->B""#, &at_once, r#"stop = "A""#] }.assert_agrees();
}

#[test]
fn a_single_line_that_waits_on_a_held_way_stays_with_its_sender() {
    let faults: [Vec<&str>; 3] =
        [vec![r#"cut = "A->B""#], vec![r#"kill = "B""#, r#"start = "B""#], vec![r#"stop = "A""#]];
    for fault in faults {
        let steps = [&[r#"hold = "A->B""#, AT_A][..], &fault, &[r#"release = "A->B""#]].concat();
        Script { herd: BY_MESSAGE, links: PAIR, steps: &steps }.assert_agrees();
    }
}

#[test]
fn news_of_the_end_of_a_server_takes_the_latency_of_its_link() {
    for fault in [r#"!kill = "B""#, r#"!stop = "B""#, r#"!restart = "B""#] {
        Script { herd: FAR, links: LINE, steps: &[fault, AT_A, AT_A_AGAIN] }.assert_agrees();
    }
}

#[test]
fn a_half_open_way_does_not_tell_its_writer_that_the_reader_is_gone() {
    for herd in ["", FAR] {
        let steps = &[r#"half-open = "A->B""#, r#"kill = "B""#, AT_A, r#"start = "B""#, r#"heal = "A->B""#, AT_A_AGAIN];
        Script { herd, links: PAIR, steps }.assert_agrees();
    }
}

#[test]
fn what_is_in_flight_arrives_from_a_server_that_stops_and_is_lost_when_its_way_is_cut() {
    let slow = r#"slow = { link = "A->B", latency = "300ms" }"#;
    let cases: [Vec<&str>; 3] = [
        vec![slow, r#"!iamat = { client = "k", at = "+1.0-1.0", via = "A" }"#, r#"stop = "A""#],
        vec![slow, r#"!iamat = { client = "k", at = "+1.0-1.0", via = "A" }"#, r#"!stop = "A""#, r#"cut = "A->B""#],
        vec![slow, r#"reset = { link = "A->B", after = 1 }"#, AT_A, AT_A_AGAIN],
    ];
    for steps in &cases {
        Script { herd: "", links: PAIR, steps }.assert_agrees();
    }
    Script { herd: BY_MESSAGE, links: PAIR, steps: &cases[0] }.assert_agrees();
}

#[test]
fn a_way_that_is_healed_lets_what_is_in_flight_arrive_at_once_and_what_comes_later_too() {
    let at_once = format!("!{AT_A}");
    for slow in [r#"slow = { link = "A->B", latency = "60s" }"#, r#"slow = { link = "A->B", rate = 1 }"#] {
        let steps = [
            slow,
            &at_once,
            r#"!iamat = { client = "m", at = "+1.0-1.0", via = "A" }"#,
            r#"heal = "A->B""#,
            AT_A_AGAIN,
        ];
        for herd in ["", BY_MESSAGE] {
            Script { herd, links: PAIR, steps: &steps }.assert_agrees();
        }
    }
}

#[test]
fn a_frozen_server_that_goes_on_learns_of_a_connections_end_before_it_reads_the_next_one() {
    let place = Place::new();
    let steps = [
        r#"pause = "B""#,
        r#"iamat = { client = "a", at = "+1.0-1.0", via = "C" }"#,
        r#"iamat = { client = "k", at = "+1.0-1.0", via = "D" }"#,
        r#"cut = "D->B""#,
        r#"heal = "all""#,
        r#"iamat = { client = "b", at = "+1.0-1.0", via = "C" }"#,
        r#"resume = "B""#,
    ];
    let script = Script { herd: "", links: &[("D", "B"), ("C", "B")], steps: &steps };
    place.write("s.toml", &script.text().replace("\"flood\"", "\"flood-sync\""));
    // Otherwise it sends a neighbour its own record back.
    let said = place.run("run s.toml --driver both");
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_line_with_a_connection_of_its_own_is_read_for_itself() {
    for latency in ["", r#", latency = "5ms""#] {
        let herd = format!("{BY_MESSAGE}{latency}");
        // Both versions wait, leave at once, and are passed on.
        let steps = [r#"hold = "A->B""#, AT_A, AT_A_AGAIN, r#"release = "A->B""#];
        let script = Script { herd: &herd, links: LINE, steps: &steps };
        assert!(script.outcome("simulated").contains(&"lines: 4".to_owned()));
        script.assert_agrees();
    }
}

#[test]
fn a_lossy_way_draws_by_the_number_of_all_lines_that_it_has_carried() {
    let lose = r#"lose = { way = "A->B", share = "50%" }"#;
    for heard in 0..3 {
        let steps = [vec![AT_A; heard], vec![lose], vec![AT_A_AGAIN; 6]].concat();
        Script { herd: "", links: PAIR, steps: &steps }.assert_agrees();
    }
}

#[test]
fn a_server_that_goes_on_reads_what_came_in_its_order_and_then_writes() {
    let (pause, resume) = (r#"pause = "A""#, r#"resume = "A""#);
    let at_b = r#"iamat = { client = "k", at = "+3.0-1.0", via = "B" }"#;
    let at_c = r#"iamat = { client = "k", at = "+4.0-1.0", via = "C" }"#;
    let cases: [Vec<&str>; 5] = [
        vec![pause, at_b, at_c, resume],
        vec![pause, at_c, at_b, resume],
        vec![pause, r#"cut = "A->B""#, at_c, resume],
        vec![pause, at_b, r#"cut = ["A", "B"]"#, at_c, r#"heal = ["A", "B"]"#, resume],
        vec![pause, at_b, at_b, r#"stop = "A""#],
    ];
    for herd in ["", BY_MESSAGE, FAR] {
        for steps in &cases {
            Script { herd, links: RING, steps }.assert_agrees();
        }
    }
}
