//! The strategy `tree` on real sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use herdsim::act::{ServerVerb, WayVerb};
use herdsim::config::{ServerId, Strategy, Topology, Way, Wiring};
use herdsim::draws::Draws;
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::Event;

use crate::command::{Place, SERVERS};
use crate::support::{BONA, CLARK, Herd, ask, five_servers};

/// Scenarios whose point is another strategy, or what exactly it costs.
const OF_OTHERS: [&str; 4] = ["basics.toml", "cut-and-hold.toml", "dying-sender.toml", "restart-flood.toml"];

fn tree() -> Topology {
    Topology { strategy: Strategy::Tree, ..five_servers() }
}

fn control_lines(herd: &Herd) -> usize {
    herd.seen.iter().filter(|seen| matches!(seen.event, Event::Control { .. })).count()
}

#[tokio::test]
async fn from_the_second_update_of_an_origin_on_a_tree_sends_n_minus_1_lines() {
    let mut herd = Herd::start(tree()).await;
    herd.say(BONA, "IAMAT kiwi +1+1 1").await;
    assert!(herd.lines() <= 8);
    for time in 2..10 {
        let before = herd.lines();
        herd.say(BONA, &format!("IAMAT kiwi +1+1 {time}")).await;
        assert_eq!((herd.lines() - before, herd.holders("kiwi", &time.to_string()).len()), (4, 5));
    }
    assert!(control_lines(&herd) > 0);
}

#[tokio::test]
async fn a_control_line_of_anybody_else_is_refused_like_any_line_that_is_no_command() {
    let lines = b"HERD 1 want kiwi\nHERD 1 prune Bona\nHERD 1 have kiwi 9 Bona 0123456789abcdef\nHERD 1 sing\n";
    let expected: String = String::from_utf8_lossy(lines).lines().map(|line| format!("? {line}\n")).collect();
    for strategy in [Strategy::Tree, Strategy::FloodSync] {
        let mut herd = Herd::start(Topology { strategy, ..five_servers() }).await;
        herd.say(CLARK, "IAMAT kiwi +1+1 1").await;
        assert_eq!(ask(herd.port(CLARK), lines).await, expected);
        herd.settle().await;
        assert_eq!(herd.holders("kiwi", "1").len(), 5);
    }
}

#[test]
fn every_scenario_that_does_not_depend_on_another_strategy_passes_along_a_tree_on_both_drivers() {
    let place = Place::new();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let files = std::fs::read_dir(shipped).unwrap().map(|file| file.unwrap().path());
    let is_ours = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".toml") && !OF_OTHERS.contains(&&*name)
    };
    let files: Vec<_> = files.filter(is_ours).map(|file| file.display().to_string()).collect();
    assert!(files.len() > 20);
    let words = ["run", "--driver", "both", "--strategy", "tree"].into_iter().chain(files.iter().map(String::as_str));
    let said = place.run_words(&words.collect::<Vec<_>>());
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
}

/// In processes of their own, servers find out by themselves which neighbour calls.
#[test]
fn five_processes_send_n_minus_1_lines_along_a_tree_and_catch_up_after_a_kill() {
    let place = Place::new();
    let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
    place.write("herd.toml", &format!("strategy = \"tree\"\n{herd}"));
    let names = SERVERS;
    let mut nodes = place.processes().map(Some);
    // Every server is welcomed by each of its neighbours.
    let welcomes = |place: &Place| names.map(|name| said(place, name, "HERD 1 welcome"));
    place.until(welcomes, &[2, 3, 3, 2, 2]);
    let update = |place: &Place, time: u32| {
        place.out(&format!("--herd herd.Clark send Clark IAMAT kiwi +1+1 {time}"));
        let holds = move |place: &Place| {
            let holds = |name: &&str| place.out(&format!("--herd herd.{name} records")).contains(&format!(" {time}"));
            names.iter().filter(|name| holds(name)).count()
        };
        place.until(holds, &5);
    };
    let sent = |place: &Place| names.map(|name| said(place, name, "\"sent\":")).iter().sum::<usize>();
    update(&place, 1);
    place.until(|place| names.iter().map(|name| said(place, name, "HERD 1 prune")).sum::<usize>() >= 2, &true);
    let mut cost = |time| {
        let before = sent(&place);
        update(&place, time);
        sent(&place) - before
    };
    let costs = (2..6).map(&mut cost).collect::<Vec<_>>();
    // A process that does not run for a while makes others ask elsewhere.
    assert!(costs.iter().min() == Some(&4) && costs.iter().max() <= Some(&8), "{costs:?}");
    // A neighbour that has proved itself is named.
    let known = place.json("--herd herd.Bailey records --format json")["records"][0]["known"].clone();
    assert!(["Bona", "Campbell"].map(Into::into).contains(&known["from"]), "{known}");
    drop(nodes[1].take());
    nodes[1] = Some(place.process("Bona"));
    update(&place, 6);
}

/// How many entries of a server's events hold a text.
fn said(place: &Place, name: &str, text: &str) -> usize {
    place.run(&format!("--herd herd.{name} events --json -n 1000")).out.matches(text).count()
}

/// Updates and faults at random, one after the other or at once, and then everything is mended.
async fn converges(seed: u64) -> bool {
    const STEPS: u64 = 24;
    let topology = Topology { seed, ..tree() };
    let ways: Vec<Way> = Wiring::of(&topology).ways().collect();
    let draws = Draws::new(seed, 0);
    let mut herd = Herd::start(topology).await;
    for step in 0..STEPS {
        let below = |limit, stream| draws.below(limit, step, stream);
        let server = ServerId(below(5, 0) as u32);
        let way = ways[below(ways.len() as u64, 1) as usize];
        match below(20, 2) {
            0..9 => herd.send(server, &format!("IAMAT client-{} +1+1 {step}", below(3, 3))).await,
            9 => drop(herd.apply(ServerVerb::Restart.on(server)).await),
            10 => drop(herd.apply(ServerVerb::Kill.on(server)).await),
            11 => drop(herd.apply(ServerVerb::Start.on(server)).await),
            12 => drop(herd.apply(ServerVerb::Pause.on(server)).await),
            13 => drop(herd.apply(ServerVerb::Resume.on(server)).await),
            14 => drop(herd.apply(WayVerb::Cut.on(way)).await),
            15 => drop(herd.apply(WayVerb::Heal.on(way)).await),
            16 => drop(herd.apply(WayVerb::Hold.on(way)).await),
            17 => drop(herd.apply(WayVerb::Release.on(way)).await),
            18 => drop(herd.apply(WayVerb::HalfOpen.on(way)).await),
            _ => drop(herd.apply(WayVerb::Reset { after: below(3, 4) }.on(way)).await),
        }
        let until = herd.driver.now() + Duration::from_micros(below(4000, 5));
        while herd.driver.next(Wait::Until(until)).await.seen().is_some() {}
    }
    for server in (0..5).map(ServerId) {
        herd.apply(ServerVerb::Start.on(server)).await;
        herd.apply(ServerVerb::Resume.on(server)).await;
    }
    for way in ways {
        herd.apply(WayVerb::Heal.on(way)).await;
        herd.apply(WayVerb::Release.on(way)).await;
    }
    herd.settle().await;
    let known = |server| {
        let known = herd.driver.records(ServerId(server)).into_iter();
        known
            .map(|known| (known.report.client().to_owned(), known.report.line().to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let first = known(0);
    (1..5).all(|server| known(server) == first)
}

/// `HERDSIM_SOCKET_SCRIPTS` tries more of them.
#[tokio::test]
async fn a_herd_converges_after_random_faults_on_sockets() {
    let scripts = std::env::var("HERDSIM_SOCKET_SCRIPTS").ok().and_then(|number| number.parse().ok()).unwrap_or(40);
    for seed in 0..scripts {
        assert!(converges(seed).await, "seed {seed}");
    }
}
