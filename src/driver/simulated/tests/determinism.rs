//! The same topology, seed and actions give the same observations.

use super::*;
use crate::config::Distribution;
use crate::explore::{Mix, Script};

/// Six servers with jitter of every kind.
fn topology() -> Arc<Topology> {
    let links = [(0, 1, 3), (1, 2, 0), (2, 3, 7), (3, 4, 1), (4, 0, 2), (1, 3, 11), (4, 5, 1)];
    let mut topology = herd(6, &links, Strategy::FloodSync);
    let distributions =
        [Distribution::Uniform, Distribution::Exponential, Distribution::LogNormal { sigma_percent: 80 }];
    for (link, distribution) in topology.links.iter_mut().zip(distributions.into_iter().cycle()) {
        link.delay.jitter = 2 * MILLISECOND;
        link.delay.distribution = distribution;
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

/// 64 bits of FNV-1a over the observations as text.
fn hash(observations: &[Observation]) -> u64 {
    let text = observations.iter().map(|observation| format!("{observation:?}\n")).collect::<String>();
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
fn another_seed_is_another_run() {
    let (topology, script, mut driver) = (topology(), script(1), driver(QueueKind::Auto));
    let first = play(&mut driver, &script);
    driver.reset(&topology, 2);
    assert_ne!(hash(&first), hash(&play(&mut driver, &script)));
}

#[test]
fn a_known_run_is_the_same_on_every_machine_and_in_every_release() {
    assert_eq!(hash(&play(&mut driver(QueueKind::Auto), &script(1))), 6_045_227_579_456_003_786);
}

#[test]
fn without_one_step_a_script_keeps_all_others() {
    let whole = script(3);
    let shorter = whole.without(5);
    assert_eq!(shorter.steps.len() + 1, whole.steps.len());
    assert_eq!((&shorter.steps[..5], &shorter.steps[5..]), (&whole.steps[..5], &whole.steps[6..]));
    play(&mut driver(QueueKind::Auto), &shorter);
}
