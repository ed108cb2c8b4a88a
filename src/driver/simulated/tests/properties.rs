//! What must hold on any graph and under any script.

use std::collections::BTreeMap;

use petgraph::algo::dijkstra;
use petgraph::graph::{NodeIndex, UnGraph};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as _;

use super::script::{Mix, Script};
use super::*;
use crate::act::WayVerb;
use crate::config::{ReplyMode, Spread};
use crate::draws::Draws;

/// A connected graph: every server is linked to an earlier one, and there are more links at random.
fn connected(servers: u32, more: u32, seed: u64) -> Vec<(u32, u32, u64)> {
    let draws = Draws::new(seed, 0);
    let below = |limit: u32, number: u32, stream| draws.below(u64::from(limit), u64::from(number), stream) as u32;
    let tree = (1..servers).map(|server| (below(server, server, 0), server));
    let others = (0..more).map(|link| (below(servers, link, 1), below(servers, link, 2)));
    let mut links: Vec<_> = tree.chain(others).map(|(a, b)| (a.min(b), a.max(b))).filter(|(a, b)| a != b).collect();
    links.sort_unstable();
    links.dedup();
    (0..).zip(links).map(|(number, (a, b))| (a, b, u64::from(below(20, number, 3)))).collect()
}

fn graphs() -> impl proptest::strategy::Strategy<Value = (u32, Vec<(u32, u32, u64)>)> {
    (1..40_u32, 0..60_u32, any::<u64>()).prop_map(|(servers, more, seed)| (servers, connected(servers, more, seed)))
}

/// Shortest times from `origin` by petgraph.
fn distances(servers: u32, links: &[(u32, u32, u64)], origin: u32) -> Vec<Duration> {
    let mut graph = UnGraph::<(), u64>::default();
    let nodes: Vec<_> = (0..servers).map(|_| graph.add_node(())).collect();
    for &(a, b, latency) in links {
        graph.add_edge(nodes[a as usize], nodes[b as usize], latency);
    }
    let found = dijkstra(&graph, NodeIndex::new(origin as usize), None, |edge| *edge.weight());
    nodes.iter().map(|node| Duration::from_millis(found[node])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn flooding_sends_2e_minus_n_plus_1_lines_on_any_connected_graph((servers, links) in graphs(), origin in any::<u32>()) {
        for strategy in [Strategy::Flood, Strategy::FloodSync] {
            let mut run = Run::of(herd(servers as usize, &links, strategy));
            run.iamat(origin % servers, "kiwi", 5);
            let events = run.settle();
            let lines = events.iter().filter(|event| matches!(event, Event::Sent { .. })).count();
            prop_assert_eq!(lines, 2 * links.len() + 1 - servers as usize);
            prop_assert!((0..servers).all(|server| run.knows(server, "kiwi") == Some(5)));
        }
    }

    /// The first update of an origin floods, except to neighbours from which it arrives at the same time, and prunes what it need
    /// not have gone over. From the second one on, there is a tree, as long as announcements do not overtake lines by more than a server waits.
    #[test]
    fn a_tree_sends_n_minus_1_lines_for_each_update_of_an_origin_but_the_first((servers, links) in graphs(), origin in any::<u32>()) {
        let links: Vec<_> = links.into_iter().map(|(a, b, latency)| (a, b, latency % 5)).collect();
        let mut run = Run::of(herd(servers as usize, &links, Strategy::Tree));
        for time in 1..5 {
            run.iamat(origin % servers, "kiwi", time);
            let events = run.settle();
            let lines = events.iter().filter(|event| matches!(event, Event::Sent { .. })).count();
            let (least, most) = (servers as usize - 1, 2 * links.len() + 1 - servers as usize);
            prop_assert!(lines == least || (time == 1 && (least..=most).contains(&lines)), "{lines} in update {time}");
            prop_assert!((0..servers).all(|server| run.knows(server, "kiwi") == Some(i64::from(time))));
        }
    }

    #[test]
    fn direct_sends_n_minus_1_lines((servers, links) in graphs(), origin in any::<u32>()) {
        prop_assert_eq!(Strategy::Direct.spread(), Spread::Direct);
        let mut run = Run::of(herd(servers as usize, &links, Strategy::Direct));
        run.iamat(origin % servers, "kiwi", 5);
        run.settle();
        prop_assert_eq!(run.driver.counts().sent, u64::from(servers) - 1);
        prop_assert!((0..servers).all(|server| run.knows(server, "kiwi") == Some(5)));
    }

    #[test]
    fn an_update_arrives_everywhere_after_the_shortest_path((servers, links) in graphs(), origin in any::<u32>()) {
        let origin = origin % servers;
        let mut run = Run::of(herd(servers as usize, &links, Strategy::Flood));
        let sent_at = run.driver.now();
        run.iamat(origin, "kiwi", 5);
        run.settle();
        let learned = |server| run.driver.records(ServerId(server))[0].learned_at.since(sent_at);
        prop_assert_eq!((0..servers).map(learned).collect::<Vec<_>>(), distances(servers, &links, origin));
    }

    /// After a heal: the longest backoff, the dial's round trip, and every hop of the way.
    #[test]
    fn a_healed_herd_converges_within_its_bound((servers, links) in graphs(), cut_for in 0..5000_u64, side in any::<u64>()) {
        let mut run = Run::of(herd(servers as usize, &links, Strategy::FloodSync));
        let is_left = |server: u32| side >> (server % 64) & 1 == 1;
        let between: Vec<_> = links.iter().filter(|link| is_left(link.0) != is_left(link.1)).collect();
        let ways: Vec<_> = between.iter().flat_map(|link| [way(link.0, link.1), way(link.1, link.0)]).collect();
        ways.iter().for_each(|&way| { run.act(WayVerb::Cut.on(way)); });
        (0..servers).for_each(|server| run.iamat(server, &format!("client-{server}"), 5));
        run.pass(Duration::from_millis(cut_for));
        let healed_at = run.driver.now();
        ways.iter().for_each(|&way| { run.act(WayVerb::Heal.on(way)); });
        run.settle();
        let longest = (0..servers).flat_map(|origin| distances(servers, &links, origin)).max().unwrap_or_default();
        let slowest = Duration::from_millis(links.iter().map(|link| link.2).max().unwrap_or(0));
        let bound = Redial::default().cap + 3 * slowest + longest;
        for server in 0..servers {
            let known = run.driver.records(ServerId(server));
            prop_assert_eq!(known.len(), servers as usize);
            let last = known.iter().map(|known| known.learned_at).max().unwrap_or_default();
            prop_assert!(last.since(healed_at) <= bound, "{:?} of {bound:?}", last.since(healed_at));
        }
    }
}

/// The newest report of every client that any of the servers holds.
fn newest(driver: &SimulatedDriver, servers: &[ServerId]) -> BTreeMap<String, Known> {
    let mut newest = BTreeMap::<String, Known>::new();
    for known in servers.iter().flat_map(|&server| driver.records(server)) {
        let held = newest.entry(known.report.client().to_owned()).or_insert_with(|| known.clone());
        if known.report.at().version_cmp(held.report.at()).is_gt() {
            *held = known;
        }
    }
    newest
}

/// Whether each of the core's servers holds what is the newest in the core, and that is not older than `survivors`.
fn is_converged(driver: &SimulatedDriver, core: &[ServerId], survivors: &BTreeMap<String, Known>) -> bool {
    let newest = newest(driver, core);
    let not_older = |(client, survivor): (&String, &Known)| {
        newest.get(client).is_some_and(|held| held.report.at().version_cmp(survivor.report.at()).is_ge())
    };
    let agrees = |&server: &ServerId| {
        let records = driver.records(server);
        records.len() == newest.len()
            && records.iter().all(|known| newest[known.report.client()].report == known.report)
    };
    survivors.iter().all(not_older) && core.iter().all(agrees)
}

/// A small herd that is another one for every seed, with latency and jitter.
fn random_herd(strategy: Strategy, seed: u64) -> Arc<Topology> {
    let servers = 2 + (seed % 5) as u32;
    let mut topology = herd(servers as usize, &connected(servers, (seed % 7) as u32, seed), strategy);
    for link in &mut topology.links {
        link.delays.iter_mut().for_each(|delay| delay.jitter = Duration::from_millis(seed % 3));
    }
    if strategy == Strategy::Tree && seed.is_multiple_of(2) {
        topology.reply = Some(ReplyMode::Neighbours);
    }
    topology.seed = seed;
    Arc::new(topology)
}

/// Plays a random script; whether the herd ends right. `None` when the script leaves no connected core.
fn ends_right(strategy: Strategy, seed: u64) -> Option<bool> {
    let topology = random_herd(strategy, seed);
    let script = Script::random(&topology, &Mix::default(), seed);
    let core = script.core(&topology)?;
    let mut driver = SimulatedDriver::new(topology, Settings::default(), no_places());
    script.play(&mut driver, Duration::ZERO, |_, _| {}).expect("all ways are there");
    let survivors = newest(&driver, &core);
    let limit = driver.now() + Duration::from_secs(3600);
    drain(&mut driver, Wait::Quiescent(limit), &mut |_, _| {});
    assert!(driver.is_quiescent(), "seed {seed} settles");
    assert_counts_are_right(&driver);
    Some(is_converged(&driver, &core, &survivors))
}

/// How many of the first `scripts` scripts leave a connected core, and the seeds of those that end wrong.
fn try_scripts(strategy: Strategy, scripts: u64) -> (usize, Vec<u64>) {
    let judged: Vec<_> = (0..scripts).filter_map(|seed| Some((seed, ends_right(strategy, seed)?))).collect();
    (judged.len(), judged.iter().filter(|(_, right)| !right).map(|(seed, _)| *seed).collect())
}

#[test]
fn flood_sync_never_ends_wrong_in_ten_thousand_scripts_of_random_faults() {
    let (judged, wrong) = try_scripts(Strategy::FloodSync, 10_000);
    assert_eq!(wrong, [0_u64; 0], "seeds of scripts that end wrong");
    assert!(judged > 5_000, "most scripts leave a connected core: {judged}");
}

#[test]
fn tree_never_ends_wrong_under_random_faults() {
    let (judged, wrong) = try_scripts(Strategy::Tree, scripts("HERDSIM_TREE_SCRIPTS", 400));
    assert_eq!(wrong, [0_u64; 0], "seeds of scripts that end wrong");
    assert!(judged > 200, "most scripts leave a connected core: {judged}");
}

/// Returns the number of scripts to try: that of an environment variable, for longer runs by hand.
fn scripts(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

#[test]
fn flood_often_ends_wrong_under_random_faults() {
    let (judged, wrong) = try_scripts(Strategy::Flood, 1_000);
    assert!(wrong.len() * 4 > judged, "{} of {judged}", wrong.len());
}
