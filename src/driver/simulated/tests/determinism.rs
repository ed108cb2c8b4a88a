//! The same topology, seed and actions give the same observations.

use super::script::{Mix, Script};
use super::*;
use crate::config::Distribution;

/// Six servers with jitter of every kind.
fn topology() -> Arc<Topology> {
    let links = [(0, 1, 3), (1, 2, 0), (2, 3, 7), (3, 4, 1), (4, 0, 2), (1, 3, 11), (4, 5, 1)];
    let mut topology = herd(6, &links, Strategy::FloodSync);
    let distributions =
        [Distribution::Uniform, Distribution::Exponential, Distribution::LogNormal { sigma_percent: 80 }];
    for (link, distribution) in topology.links.iter_mut().zip(distributions.into_iter().cycle()) {
        link.delays = link.delays.map(|delay| Delay { jitter: 2 * MILLISECOND, distribution, ..delay });
    }
    Arc::new(topology)
}

fn driver(queue: QueueKind) -> SimulatedDriver {
    SimulatedDriver::new(topology(), Settings { queue, ..Settings::default() }, no_places())
}

fn play(driver: &mut SimulatedDriver, script: &Script) -> Vec<Observation> {
    let mut seen = Vec::new();
    script.play(driver, Duration::from_secs(60), |_, observation| seen.push(observation)).expect("all ways are there");
    seen
}

fn script(seed: u64) -> Script {
    Script::random(&topology(), &Mix { steps: 80, ..Mix::default() }, seed)
}

/// What an event is, where it happened, and its line: a projection that outlives changes of form.
fn projected(event: &Event) -> String {
    let way = |way: &Way| format!("{}->{}", way.from.0, way.to.0);
    match event {
        Event::Started { server, .. } => format!("started {}", server.0),
        Event::Stopped { server, records, .. } => format!("stopped {} {records}", server.0),
        Event::Killed { server, records, .. } => format!("killed {} {records}", server.0),
        Event::Crashed { server, .. } => format!("crashed {}", server.0),
        Event::Paused { server, .. } => format!("paused {}", server.0),
        Event::Resumed { server, .. } => format!("resumed {}", server.0),
        Event::ClockSet { server, offset, .. } => format!("clock-set {} {offset}", server.0),
        Event::LinkUp { way: up, .. } => format!("link-up {}", way(up)),
        Event::LinkLost { way: lost, lines_lost, .. } => format!("link-lost {} {lines_lost}", way(lost)),
        Event::Accepted { server, report, newer, .. } => format!("accepted {} {newer} {}", server.0, report.line()),
        Event::Acknowledged { server, report, overdue, .. } => {
            format!("acknowledged {} {overdue} {}", server.0, report.line())
        }
        Event::Answered { server, report, .. } => format!("answered {} {}", server.0, report.line()),
        Event::Refused { server, command, .. } => format!("refused {} {command:?}", server.0),
        Event::Sent { way: by, report, .. } => format!("sent {} {}", way(by), report.line()),
        Event::Control { way: by, line, .. } => format!("control {} {}", way(by), line.text()),
        Event::Heard { server, from, report, newer, .. } => {
            let from = from.map_or(-1, |hop| i64::from(hop.server.0));
            format!("heard {from}->{} {newer} {}", server.0, report.line())
        }
        Event::Vanished { way: by, report, .. } => format!("vanished {} {}", way(by), report.line()),
        Event::Missed { way: by, report, .. } => format!("missed {} {}", way(by), report.line()),
        Event::Replied { reply, .. } => format!("replied {reply:?}"),
        Event::SessionLost { unanswered, .. } => format!("session-lost {unanswered}"),
    }
}

/// 64 bits of FNV-1a over the projected observations.
fn hash(observations: &[Observation]) -> u64 {
    let line = |seen: &Observation| format!("{} {}\n", seen.at.since(EPOCH).as_nanos(), projected(&seen.event));
    let text = observations.iter().map(line).collect::<String>();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_same_run_twice_is_the_same_and_a_reused_driver_is_as_good_as_a_new_one() {
    let (mut reused, topology) = (driver(QueueKind::Auto), topology());
    for seed in 0..20 {
        let script = script(seed);
        let (first, second) =
            (play(&mut driver(QueueKind::Auto), &script), play(&mut driver(QueueKind::Auto), &script));
        assert!(first.len() > 100 && first == second, "seed {seed}");
        reused.reset(&topology, topology.seed);
        assert!(play(&mut reused, &script) == first, "seed {seed}, reused");
    }
}

#[test]
fn both_queues_give_the_same_observations() {
    for seed in 0..20 {
        let runs = [QueueKind::Heap, QueueKind::Wheel].map(|queue| play(&mut driver(queue), &script(seed)));
        assert!(runs[0] == runs[1], "seed {seed}");
    }
}

#[test]
fn a_clone_goes_on_as_the_original_does() {
    for strategy in Strategy::ALL {
        let mut topology = Topology::clone(&topology());
        topology.strategy = strategy;
        let mut original = SimulatedDriver::new(Arc::new(topology), Settings::default(), no_places());
        let (begin, mut rest) = (script(5), script(5));
        rest.steps.retain(|step| step.at > Duration::from_secs(1));
        let begin =
            Script { steps: begin.steps.into_iter().filter(|step| step.at <= Duration::from_secs(1)).collect() };
        begin.play(&mut original, Duration::ZERO, |_, _| {}).expect("all ways are there");
        let mut clone = original.clone();
        assert!(play(&mut original, &rest) == play(&mut clone, &rest), "{strategy}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let (topology, script, mut driver) = (topology(), script(1), driver(QueueKind::Auto));
    let first = play(&mut driver, &script);
    driver.reset(&topology, 2);
    assert_ne!(hash(&first), hash(&play(&mut driver, &script)));
}

/// The oracle of random scripts. Another hash means that herds do something else on virtual time.
#[test]
fn random_scripts_do_the_same_on_every_machine_and_in_every_release() {
    let modes = [LinkMode::Persistent, LinkMode::PerMessage];
    let told =
        Strategy::ALL.into_iter().flat_map(|strategy| modes.map(|mode| (strategy, mode))).map(|(strategy, mode)| {
            let mut topology = Topology::clone(&topology());
            topology.strategy = strategy;
            topology.links.iter_mut().for_each(|link| link.mode = mode);
            let mut driver = SimulatedDriver::new(Arc::new(topology), Settings::default(), no_places());
            let runs = (0..100).map(|seed| {
                let topology = driver.topology().clone();
                driver.reset(&topology, seed);
                hash(&play(&mut driver, &script(seed)))
            });
            let all = runs.fold(0, |all: u64, run| all.rotate_left(5) ^ run);
            format!("{strategy} {mode:?}: {all:016x}")
        });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn without_one_step_a_script_keeps_all_others() {
    let whole = script(3);
    let shorter = whole.without(5);
    assert_eq!(shorter.steps.len() + 1, whole.steps.len());
    assert_eq!((&shorter.steps[..5], &shorter.steps[5..]), (&whole.steps[..5], &whole.steps[6..]));
    play(&mut driver(QueueKind::Auto), &shorter);
}
