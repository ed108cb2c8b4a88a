//! What the README says is run: its commands in the order in which they stand, and its example.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use herdsim::act::{Action, SessionId};
use herdsim::config::{ServerId, Strategy, Topology};
use herdsim::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::Event;

use crate::command::Place;
use crate::support::five_servers;

fn shipped(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The insides of all blocks fenced as `kind`.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Splits a command line as a shell would, as far as single quotes go.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let parts = parts.flat_map(|(place, part)| match place % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    parts.collect()
}

#[test]
fn the_commands_of_the_readme_do_what_it_says_in_the_order_in_which_they_stand() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("scenarios")).unwrap();
    for file in ["partition.toml", "basics.toml", "dead-pairs.toml"] {
        place.write(&format!("scenarios/{file}"), &shipped(&format!("scenarios/{file}")));
    }
    // The first terminal of the demo.
    place.out("up -d --wait");
    let commands = blocks(&shipped("README.md"), "console").concat();
    let commands: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("$ herdsim ")).collect();
    assert!(commands.len() > 10);
    for command in commands {
        let words = words(command);
        if command == "records Clark" {
            // Typed by hand, it comes long after what it shows.
            place.until(|place| place.out(command).contains("1621464828"), &true);
        }
        let said = place.run_words(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(said.code, Some(0), "{command}: {said:?}");
        if command.contains("WHATSAT") {
            assert_eq!(said.out.matches("\"place_id\"").count(), 5, "{}", said.out);
        }
    }
}

#[test]
fn the_readmes_example_is_the_scenario_that_is_shipped() {
    assert_eq!(blocks(&shipped("README.md"), "toml"), [shipped("scenarios/partition.toml")]);
}

#[test]
fn every_command_is_in_the_readme() {
    let place = Place::new();
    let help = place.out("help");
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let readme = shipped("README.md");
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        assert!(readme.contains(&format!("`{name}")), "{name} is not in the README");
    }
}

#[test]
fn the_lines_in_the_readmes_table_of_strategies_are_those_that_are_sent() {
    let readme = shipped("README.md");
    for strategy in Strategy::ALL {
        let start = format!("| `{}` |", strategy.name());
        let row = readme.lines().find(|line| line.starts_with(&start)).expect("each strategy has a row");
        let (lines, control) = lines_per_update(strategy);
        let measured = if control > 0.0 { format!("{lines} and {control} control lines") } else { lines.to_string() };
        assert!(row.contains(&format!("| {measured} |")), "{row}: {measured}");
    }
}

/// `AT` lines and control lines an update, when every server of the course's herd has been told something before.
fn lines_per_update(strategy: Strategy) -> (f64, f64) {
    const UPDATES: u32 = 50;
    let topology = Arc::new(Topology { strategy, ..five_servers() });
    let mut driver = SimulatedDriver::new(topology, Settings::default(), PlacesAnswer::offline());
    let seen_until_rest = |driver: &mut SimulatedDriver| {
        let limit = driver.now() + std::time::Duration::from_secs(10);
        std::iter::from_fn(|| driver.observe_next(Wait::Quiescent(limit)).seen()).collect::<Vec<_>>()
    };
    // The links come up.
    seen_until_rest(&mut driver);
    let (mut lines, mut control) = (0, 0);
    for update in 0..UPDATES + 5 {
        let (server, bytes) = (ServerId(update % 5), Bytes::from(format!("IAMAT client-{update} +1+1 1\n")));
        driver.act(Action::Send { session: SessionId(update), server, bytes, finish: true }).expect("it runs");
        let seen = seen_until_rest(&mut driver);
        if update >= 5 {
            lines += seen.iter().filter(|seen| matches!(seen.event, Event::Sent { .. })).count() as u32;
            control += seen.iter().filter(|seen| matches!(seen.event, Event::Control { .. })).count() as u32;
        }
    }
    (f64::from(lines) / f64::from(UPDATES), f64::from(control) / f64::from(UPDATES))
}
