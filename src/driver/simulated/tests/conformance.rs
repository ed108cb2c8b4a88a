//! What every action does, one test each.

use super::*;
use crate::act::{ServerVerb, WayVerb};
use crate::config::{Bandwidth, Slowness};

/// Two servers, 10 ms apart.
fn pair(strategy: Strategy) -> Run {
    Run::of(herd(2, &[(0, 1, 10)], strategy))
}

#[test]
fn a_herd_links_up_and_is_quiescent() {
    let run = pair(Strategy::FloodSync);
    let ups = run.seen.iter().filter(|seen| matches!(seen.event, Event::LinkUp { .. }));
    assert_eq!(ups.map(|seen| seen.at.since(EPOCH)).collect::<Vec<_>>(), [20 * MILLISECOND; 2]);
}

#[test]
fn a_server_reads_everything_that_arrives_at_one_time_before_its_links_write() {
    // Two neighbours hold versions of one record when the middle one dials all three.
    let mut run = Run::of(herd(4, &[(0, 3, 0), (1, 3, 0), (2, 3, 0)], Strategy::FloodSync));
    let ways: Vec<Way> = (0..3).flat_map(|server| [way(server, 3), way(3, server)]).collect();
    for &way in &ways {
        run.act(WayVerb::Cut.on(way));
    }
    run.settle();
    (0..2).for_each(|server| run.iamat(server, "kiwi", 5 + server));
    run.settle();
    for &way in &ways {
        run.act(WayVerb::Heal.on(way));
    }
    // Only the newer one goes on.
    assert_eq!(sent(&run.settle(), way(3, 2)), 1);
    assert_eq!((0..4).map(|server| run.knows(server, "kiwi")).collect::<Vec<_>>(), [Some(6); 4]);
}

#[test]
fn the_connection_of_a_frozen_server_is_seen_to_be_gone_when_it_is_cut() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Pause.on(ServerId(0)));
    run.act(WayVerb::Cut.on(way(0, 1)));
    let lost = Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 0 };
    assert!(run.settle().contains(&lost));
    run.act(ServerVerb::Resume.on(ServerId(0)));
    assert!(!run.settle().contains(&lost));
}

#[test]
fn a_server_that_goes_on_reads_everything_that_came_before_its_links_write() {
    let mut run = Run::of(herd(3, &[(0, 1, 10), (1, 2, 10)], Strategy::Flood));
    run.act(ServerVerb::Pause.on(ServerId(1)));
    for time in 5..8 {
        run.iamat(0, "kiwi", time);
        run.settle();
    }
    run.act(ServerVerb::Resume.on(ServerId(1)));
    let events = run.settle();
    assert_eq!((heard(&events, way(0, 1)), sent(&events, way(1, 2))), (3, 1));
}

#[test]
fn a_killed_server_forgets_and_its_neighbour_learns_of_it_one_latency_later() {
    let mut run = pair(Strategy::Flood);
    run.iamat(1, "kiwi", 5);
    run.settle();
    let killed_at = run.driver.now();
    let hit = run.act(ServerVerb::Kill.on(ServerId(1)));
    // Both ways and the client's connection.
    assert_eq!(hit, Hit { connections: 3, records_lost: 1, ..Hit::default() });
    run.settle();
    let lost =
        run.seen.iter().rev().find(|seen| matches!(seen.event, Event::LinkLost { way: by, .. } if by == way(0, 1)));
    assert_eq!(lost.map(|seen| seen.at.since(killed_at)), Some(10 * MILLISECOND));
    assert_eq!((run.knows(1, "kiwi"), run.driver.port(ServerId(1))), (None, None));
    assert_eq!(run.act(ServerVerb::Kill.on(ServerId(1))), Hit::default());
}

#[test]
fn lines_in_flight_to_a_killed_server_are_lost_and_counted() {
    let mut run = pair(Strategy::Flood);
    run.iamat(0, "kiwi", 5);
    run.pass(MILLISECOND);
    assert_eq!(run.act(ServerVerb::Kill.on(ServerId(1))).lines_lost, 1);
    // Written before the writer can know.
    run.iamat(0, "kiwi", 6);
    let events = run.settle();
    assert!(events.contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 2 }));
    assert_eq!(heard(&events, way(0, 1)), 0);
}

#[test]
fn after_a_restart_flood_sync_catches_up_and_flood_does_not() {
    for (strategy, expected) in [(Strategy::FloodSync, Some(5)), (Strategy::Flood, None)] {
        let mut run = pair(strategy);
        run.act(ServerVerb::Kill.on(ServerId(1)));
        run.iamat(0, "kiwi", 5);
        run.settle();
        run.act(ServerVerb::Restart.on(ServerId(1)));
        run.settle();
        assert_eq!(run.knows(1, "kiwi"), expected, "{strategy}");
    }
}

#[test]
fn a_neighbour_dials_a_restarted_server_at_once_because_it_was_dialled() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Kill.on(ServerId(1)));
    // By now the backoff is at its cap of 250 ms.
    run.pass(Duration::from_secs(5));
    run.act(ServerVerb::Start.on(ServerId(1)));
    let started = run.driver.now();
    run.settle();
    // The dial of the restarted server, then that of its neighbour.
    assert!(run.driver.now().since(started) <= 40 * MILLISECOND);
}

#[test]
fn a_stopped_server_hands_on_what_it_owes_and_loses_nothing() {
    let mut run = pair(Strategy::Flood);
    run.iamat(0, "kiwi", 5);
    let hit = run.act(ServerVerb::Stop.on(ServerId(0)));
    assert_eq!((hit.lines_lost, hit.records_lost), (0, 1));
    let events = run.settle();
    assert_eq!(heard(&events, way(0, 1)), 1);
    assert_eq!(run.knows(1, "kiwi"), Some(5));
    assert!(events.contains(&Event::Stopped { server: ServerId(0), life: 1, records: 1 }));
}

#[test]
fn a_stopped_server_gives_the_answers_it_still_owes_its_clients() {
    let mut run = pair(Strategy::Flood);
    run.send(0, "IAMAT kiwi +34.0-118.0 5\nWHATSAT kiwi 10 5\n", false);
    run.act(ServerVerb::Stop.on(ServerId(0)));
    let events = run.settle();
    assert_eq!(replies(&events).len(), 2);
    assert!(events.contains(&Event::SessionLost { session: SessionId(0), unanswered: 0 }));
}

/// Its neighbour must not think that the restarted server knows what came from it: that was its life before.
#[test]
fn a_line_that_arrives_after_its_sender_was_restarted_is_given_back_to_it() {
    let mut run = pair(Strategy::FloodSync);
    let delay = Delay { latency: 100 * MILLISECOND, ..Delay::default() };
    run.act(WayVerb::Slow(Slowness { delay, rate: None }).on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    // Slow by less. Healed, the line would arrive at once.
    let delay = Delay { latency: MILLISECOND, ..Delay::default() };
    run.act(WayVerb::Slow(Slowness { delay, rate: None }).on(way(0, 1)));
    run.act(ServerVerb::Stop.on(ServerId(0)));
    run.act(ServerVerb::Start.on(ServerId(0)));
    run.pass(60 * MILLISECOND);
    assert_eq!(
        run.seen.iter().filter(|seen| matches!(seen.event, Event::LinkUp { .. })).count(),
        4,
        "all links are up again"
    );
    assert_eq!(run.knows(1, "kiwi"), None, "the line is still on its way");
    run.settle();
    assert_eq!((run.knows(1, "kiwi"), run.knows(0, "kiwi")), (Some(5), Some(5)));
}

#[test]
fn a_frozen_server_handles_nothing_and_keeps_its_connections() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Pause.on(ServerId(1)));
    run.iamat(0, "kiwi", 5);
    run.iamat(1, "lime", 6);
    let events = run.settle();
    assert_eq!((heard(&events, way(0, 1)), run.knows(1, "kiwi"), run.knows(1, "lime")), (0, None, None));
    assert!(!events.iter().any(|event| matches!(event, Event::LinkLost { .. })));
    run.act(ServerVerb::Resume.on(ServerId(1)));
    run.settle();
    assert_eq!((run.knows(1, "kiwi"), run.knows(0, "lime")), (Some(5), Some(6)));
}

#[test]
fn a_killed_server_that_was_frozen_loses_what_it_had_not_read() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Pause.on(ServerId(1)));
    run.iamat(0, "kiwi", 5);
    run.settle();
    assert_eq!(run.act(ServerVerb::Restart.on(ServerId(1))).lines_lost, 1);
    run.settle();
    assert_eq!(run.knows(1, "kiwi"), None);
}

#[test]
fn a_cut_loses_what_is_in_flight_and_refuses_dials_until_it_heals() {
    let mut run = pair(Strategy::FloodSync);
    run.iamat(0, "kiwi", 5);
    assert_eq!(run.act(WayVerb::Cut.on(way(0, 1))), Hit { connections: 1, lines_lost: 1, ..Hit::default() });
    let events = run.settle();
    assert!(events.contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 1 }));
    run.iamat(0, "kiwi", 6);
    let events = run.pass(Duration::from_secs(60));
    assert!(events.iter().any(|event| matches!(event, Event::Missed { way: by, .. } if *by == way(0, 1))));
    assert_eq!((heard(&events, way(0, 1)), run.knows(1, "kiwi")), (0, None));
    run.act(WayVerb::Heal.on(way(0, 1)));
    assert!(!run.driver.is_quiescent(), "the next dial is due");
    run.settle();
    assert_eq!(run.knows(1, "kiwi"), Some(6));
}

#[test]
fn a_cut_of_one_way_leaves_the_other_whole() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Cut.on(way(0, 1)));
    run.iamat(1, "kiwi", 5);
    run.settle();
    assert_eq!(run.knows(0, "kiwi"), Some(5));
}

#[test]
fn lines_on_a_held_way_wait_and_arrive_in_order() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Hold.on(way(0, 1)));
    for (client, time) in [("kiwi", 5), ("lime", 6), ("kiwi", 7)] {
        run.iamat(0, client, time);
    }
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), heard(&events, way(0, 1))), (3, 0));
    assert_eq!(run.act(WayVerb::Release.on(way(0, 1))).lines_released, 3);
    let heard = run.settle().into_iter().filter_map(|event| match event {
        Event::Heard { report, .. } => Some(report.at().time().seconds),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [5, 6, 7]);
}

#[test]
fn a_full_way_that_is_held_leaves_newer_versions_in_the_outbox_where_they_replace_older_ones() {
    let settings = Settings { window: 2, ..Settings::default() };
    let mut run = Run::unsettled(herd(2, &[(0, 1, 10)], Strategy::Flood), settings);
    run.settle();
    run.act(WayVerb::Hold.on(way(0, 1)));
    (1..=50).for_each(|time| run.iamat(0, "kiwi", time));
    assert_eq!(sent(&run.settle(), way(0, 1)), 2);
    run.act(WayVerb::Release.on(way(0, 1)));
    let events = run.settle();
    assert_eq!((heard(&events, way(0, 1)), run.knows(1, "kiwi")), (3, Some(50)));
}

#[test]
fn a_slow_way_delays_its_lines_and_heals() {
    let mut run = pair(Strategy::Flood);
    let delay = Delay { latency: 90 * MILLISECOND, ..Delay::default() };
    run.act(WayVerb::Slow(Slowness { delay, rate: None }).on(way(0, 1)));
    for (time, expected) in [(5, 100), (6, 10)] {
        let start = run.driver.now();
        run.iamat(0, "kiwi", time);
        run.settle();
        assert_eq!(run.driver.now().since(start), expected * MILLISECOND);
        run.act(WayVerb::Heal.on(way(0, 1)));
    }
}

#[test]
fn a_rate_spaces_the_lines_of_a_way() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Slow(Slowness { delay: Delay::default(), rate: Some(100) }).on(way(0, 1)));
    let start = run.driver.now();
    (0..5).for_each(|client| run.iamat(0, &format!("client-{client}"), 1));
    run.settle();
    assert_eq!(run.driver.now().since(start), (10 + 4 * 10) * MILLISECOND);
}

#[test]
fn lines_take_the_delay_of_their_own_direction_of_a_link_and_dials_take_both() {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
    topology.links[0].delays[1].latency = 80 * MILLISECOND;
    let mut run = Run::of(topology);
    let ups = run.seen.iter().filter(|seen| matches!(seen.event, Event::LinkUp { .. }));
    assert_eq!(ups.map(|seen| seen.at.since(EPOCH)).collect::<Vec<_>>(), [90 * MILLISECOND; 2]);
    for (server, latency) in [(0, 10), (1, 80)] {
        let start = run.driver.now();
        run.iamat(server, &format!("client-{server}"), 5);
        run.settle();
        assert_eq!(run.driver.now().since(start), latency * MILLISECOND, "from {server}");
    }
}

#[test]
fn a_bandwidth_of_one_direction_leaves_the_other_wide() {
    let mut topology = herd(2, &[(1, 0, 10)], Strategy::Flood);
    topology.links[0].delays[0].bandwidth = Some(kilobytes(1));
    let mut run = Run::of(topology);
    for (server, bandwidth) in [(0, None), (1, Some(kilobytes(1)))] {
        let start = run.driver.now();
        (0..5).for_each(|client| run.iamat(server, &format!("client-{client}"), server + 1));
        let events = run.settle();
        let out = bandwidth.map_or(Duration::ZERO, |bandwidth| bytes_out(&events, bandwidth));
        assert_eq!(run.driver.now().since(start), 10 * MILLISECOND + out, "from {server}");
    }
}

/// How long these lines take to go out.
fn bytes_out(events: &[Event], bandwidth: Bandwidth) -> Duration {
    let lines = events.iter().filter_map(|event| match event {
        Event::Sent { report, .. } => Some(report.written_len()),
        _ => None,
    });
    lines.map(|bytes| bandwidth.time_of(bytes)).sum()
}

fn kilobytes(kilobytes: u64) -> Bandwidth {
    Bandwidth::from_bytes_a_second(kilobytes * 1000).expect("it is within the range")
}

#[test]
fn a_burst_takes_as_long_as_its_bytes_need_to_go_out_and_the_latency_once() {
    let (own, fault) = (kilobytes(10), kilobytes(3));
    for (mode, dial) in [(LinkMode::Persistent, 0), (LinkMode::PerMessage, 20)] {
        let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
        (topology.links[0].mode, topology.links[0].delays[0].bandwidth) = (mode, Some(own));
        let mut run = Run::of(topology);
        let slowness = Slowness { delay: Delay { bandwidth: Some(fault), ..Delay::default() }, rate: None };
        let burst = |run: &mut Run, time, bandwidth| {
            let start = run.driver.now();
            (0..5).for_each(|client| run.iamat(0, &"client".repeat(client + 1), time));
            let events = run.settle();
            assert_eq!(heard(&events, way(0, 1)), 5);
            let latencies = (dial + 10) * MILLISECOND;
            assert_eq!(run.driver.now().since(start), latencies + bytes_out(&events, bandwidth), "{mode:?}");
        };
        burst(&mut run, 1, own);
        run.act(WayVerb::Slow(slowness).on(way(0, 1)));
        burst(&mut run, 2, fault);
        run.act(WayVerb::Heal.on(way(0, 1)));
        burst(&mut run, 3, own);
    }
}

/// What the far end knows is never older than what fits on the way.
#[test]
fn a_thin_way_that_is_full_sends_only_the_newest_version_of_what_waits() {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
    topology.links[0].delays[0].bandwidth = Some(kilobytes(1));
    let mut run = Run::unsettled(topology, Settings { window: 2, ..Settings::default() });
    run.settle();
    let start = run.driver.now();
    (1..=50).for_each(|time| run.iamat(0, "kiwi", time));
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), run.knows(1, "kiwi")), (3, Some(50)));
    // The third line is taken from the outbox when the first one has arrived, by when the second one is going out.
    assert_eq!(run.driver.now().since(start), 10 * MILLISECOND + bytes_out(&events, kilobytes(1)));
}

#[test]
fn lines_of_a_new_connection_need_not_wait_for_those_that_were_lost_with_the_old_one() {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::FloodSync);
    topology.links[0].delays[0].bandwidth = Some(kilobytes(1));
    let mut run = Run::of(topology);
    (0..20).for_each(|client| run.iamat(0, &format!("client-{client}"), 1));
    assert_eq!(run.act(WayVerb::Reset { after: 0 }.on(way(0, 1))).lines_lost, 20);
    run.settle();
    let up = run.seen.iter().rposition(|seen| matches!(seen.event, Event::LinkUp { .. })).expect("it is dialled again");
    let again: Vec<_> = run.seen[up..].iter().map(|seen| seen.event.clone()).collect();
    assert_eq!(heard(&again, way(0, 1)), 20);
    assert_eq!(run.driver.now().since(run.seen[up].at), 10 * MILLISECOND + bytes_out(&again, kilobytes(1)));
}

#[test]
fn a_reset_after_some_lines_lets_exactly_these_arrive() {
    let mut run = pair(Strategy::Flood);
    assert_eq!(run.act(WayVerb::Reset { after: 2 }.on(way(0, 1))), Hit::default());
    (0..5).for_each(|client| run.iamat(0, &format!("client-{client}"), 1));
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), heard(&events, way(0, 1))), (2, 2));
    assert!(events.contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 0 }));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Missed { .. })).count(), 3);
}

#[test]
fn a_reset_at_once_loses_what_is_in_flight_and_the_writer_dials_again() {
    let mut run = pair(Strategy::FloodSync);
    run.iamat(0, "kiwi", 5);
    assert_eq!(
        run.act(WayVerb::Reset { after: 0 }.on(way(0, 1))),
        Hit { connections: 1, lines_lost: 1, ..Hit::default() }
    );
    run.settle();
    assert_eq!(run.knows(1, "kiwi"), Some(5));
}

#[test]
fn a_half_open_way_loses_everything_in_silence_until_it_heals() {
    let mut run = pair(Strategy::FloodSync);
    run.act(WayVerb::HalfOpen.on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), heard(&events, way(0, 1))), (1, 0));
    assert!(!events.iter().any(|event| matches!(event, Event::LinkLost { .. })));
    assert_eq!(run.act(WayVerb::Heal.on(way(0, 1))).connections, 1);
    let events = run.settle();
    // What was swallowed is not lost once more.
    assert!(events.contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 0 }));
    assert_eq!(run.knows(1, "kiwi"), Some(5));
}

#[test]
fn a_line_that_a_way_drops_is_not_lost_once_more_with_its_connection() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Drop { nth: 1 }.on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    run.settle();
    run.act(WayVerb::Cut.on(way(0, 1)));
    let events = run.settle();
    assert!(events.contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 0 }));
}

#[test]
fn a_way_that_is_no_longer_slow_lets_what_is_in_flight_arrive_at_once_and_in_order() {
    let delay = Delay { latency: Duration::from_secs(60), ..Delay::default() };
    for slowness in [Slowness { delay, rate: None }, Slowness { delay: Delay::default(), rate: Some(1) }] {
        let mut run = pair(Strategy::Flood);
        run.act(WayVerb::Slow(slowness).on(way(0, 1)));
        (5..8).for_each(|time| run.iamat(0, "kiwi", time));
        assert_eq!(heard(&run.pass(MILLISECOND), way(0, 1)), 0);
        run.act(WayVerb::Heal.on(way(0, 1)));
        let events = run.pass(Duration::ZERO);
        let is_newer = |event: &&Event| matches!(event, Event::Heard { newer: true, .. });
        assert_eq!(events.iter().filter(is_newer).count(), 3, "{slowness:?}");
        // Later lines do not queue behind them.
        run.iamat(0, "kiwi", 8);
        run.pass(10 * MILLISECOND);
        assert_eq!(run.knows(1, "kiwi"), Some(8), "{slowness:?}");
    }
}

/// Two servers, 10 ms apart, with a connection for each line.
fn pair_by_message() -> Run {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
    topology.links[0].mode = LinkMode::PerMessage;
    Run::of(topology)
}

fn missed(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Missed { .. })).count()
}

#[test]
fn a_line_whose_dial_nobody_answers_is_missed_when_the_dial_has_timed_out() {
    let mut run = pair_by_message();
    run.act(WayVerb::HalfOpen.on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    assert_eq!(missed(&run.pass(Duration::from_millis(1900))), 0);
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), missed(&events)), (0, 1));
}

#[test]
fn a_way_that_is_healed_answers_the_dials_of_lines_that_wait() {
    let delay = Delay { latency: Duration::from_secs(1), ..Delay::default() };
    for fault in [WayVerb::HalfOpen, WayVerb::Slow(Slowness { delay, rate: None })] {
        let mut run = pair_by_message();
        run.act(fault.on(way(0, 1)));
        run.iamat(0, "kiwi", 5);
        run.pass(500 * MILLISECOND);
        run.act(WayVerb::Heal.on(way(0, 1)));
        // There and back, and there once more.
        assert_eq!(heard(&run.pass(30 * MILLISECOND), way(0, 1)), 1, "{fault:?}");
        run.settle();
    }
}

#[test]
fn what_waits_with_a_server_that_stops_is_missed_where_every_line_has_its_connection() {
    let mut run = pair_by_message();
    run.act(WayVerb::Hold.on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    run.settle();
    run.act(ServerVerb::Stop.on(ServerId(0)));
    assert_eq!(missed(&run.settle()), 1);
    run.act(ServerVerb::Start.on(ServerId(0)));
    assert_eq!(run.act(WayVerb::Release.on(way(0, 1))), Hit::default());
}

#[test]
fn what_is_in_flight_on_a_connection_that_was_closed_is_told_when_it_is_lost() {
    let mut run = pair(Strategy::Flood);
    run.iamat(0, "kiwi", 5);
    run.act(ServerVerb::Stop.on(ServerId(0)));
    run.pass(MILLISECOND);
    assert_eq!(run.act(WayVerb::Cut.on(way(0, 1))), Hit { lines_lost: 1, ..Hit::default() });
    assert!(run.settle().contains(&Event::LinkLost { way: way(0, 1), connection: 1, lines_lost: 1 }));
}

#[test]
fn a_dial_of_a_half_open_way_times_out_and_is_heard_when_the_way_heals() {
    let mut run = pair(Strategy::FloodSync);
    run.act(WayVerb::HalfOpen.on(way(0, 1)));
    run.act(ServerVerb::Restart.on(ServerId(0)));
    run.iamat(0, "kiwi", 5);
    run.settle();
    let dials = run.driver.counts().dials;
    run.pass(Duration::from_millis(1900));
    assert_eq!(run.driver.counts().dials, dials, "the dial takes two seconds");
    run.act(WayVerb::Heal.on(way(0, 1)));
    let healed = run.driver.now();
    run.settle();
    assert_eq!((run.knows(1, "kiwi"), run.driver.now().since(healed)), (Some(5), 30 * MILLISECOND));
}

#[test]
fn a_dropped_line_is_written_and_not_read() {
    let mut run = pair(Strategy::FloodSync);
    run.act(WayVerb::Drop { nth: 2 }.on(way(0, 1)));
    (0..3).for_each(|client| run.iamat(0, &format!("client-{client}"), 1));
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), heard(&events, way(0, 1))), (3, 2));
    assert_eq!(run.knows(1, "client-1"), None);
}

#[test]
fn a_doubled_line_is_read_twice_and_changes_nothing_the_second_time() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Duplicate { nth: 1 }.on(way(0, 1)));
    run.iamat(0, "kiwi", 5);
    let events = run.settle();
    let newer = events.iter().filter(|event| matches!(event, Event::Heard { newer: true, .. })).count();
    assert_eq!((heard(&events, way(0, 1)), newer, run.driver.counts().newer), (2, 1, 1));
}

#[test]
fn a_clock_shows_in_the_skew_and_survives_a_restart() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Clock(1_500_000_000).on(ServerId(0)));
    run.act(ServerVerb::Restart.on(ServerId(0)));
    run.settle();
    let time = run.driver.now();
    run.send(0, &format!("IAMAT kiwi +34.0-118.0 {time}\n"), true);
    assert_eq!(replies(&run.settle()), [format!("AT s0 +1.500000000 kiwi +34.0-118.0 {time}\n")]);
}

#[test]
fn an_action_on_a_way_that_is_not_there_is_an_error() {
    let mut run = Run::of(herd(3, &[(0, 1, 1)], Strategy::Flood));
    let refused = run.driver.act(WayVerb::Cut.on(way(0, 2)));
    assert_eq!(refused.expect_err("no such way").to_string(), "s0 and s2 are not linked");
}

#[test]
fn every_line_of_a_per_message_link_dials_for_itself() {
    let mut topology = herd(2, &[(0, 1, 10)], Strategy::Flood);
    topology.links[0].mode = LinkMode::PerMessage;
    let mut run = Run::of(topology);
    let start = run.driver.now();
    run.iamat(0, "kiwi", 5);
    let events = run.settle();
    // A round trip for the dial, and half of one for the line.
    assert_eq!((heard(&events, way(0, 1)), run.driver.now().since(start)), (1, 30 * MILLISECOND));
    run.act(WayVerb::Cut.on(way(0, 1)));
    run.iamat(0, "kiwi", 6);
    let events = run.settle();
    assert_eq!((sent(&events, way(0, 1)), run.knows(1, "kiwi")), (0, Some(5)));
    assert!(events.iter().any(|event| matches!(event, Event::Missed { way: by, .. } if *by == way(0, 1))));
    run.act(WayVerb::Heal.on(way(0, 1)));
    run.act(WayVerb::Hold.on(way(0, 1)));
    run.iamat(0, "kiwi", 7);
    run.settle();
    assert_eq!((run.knows(1, "kiwi"), run.act(WayVerb::Release.on(way(0, 1))).lines_released), (Some(5), 1));
    run.settle();
    assert_eq!(run.knows(1, "kiwi"), Some(7));
}

#[test]
fn clients_bytes_become_lines_as_on_a_socket() {
    let mut run = pair(Strategy::Flood);
    run.send(0, "IAMAT kiwi +34.0-118.0 5\r\n\n  nonsense  1\t2 \nWHATSAT kiwi 10", false);
    let at = format!("AT s0 +{}.020000000 kiwi +34.0-118.0 5\n", 1_767_225_600 - 5);
    assert_eq!(replies(&run.settle()), [at.clone(), "?   nonsense  1\t2 \n".to_owned()]);
    run.send(0, " 7", true);
    let events = run.settle();
    assert_eq!(replies(&events), [format!("{at}{{\"bound\": 7}}\n\n")]);
    assert_eq!(events.last(), Some(&Event::SessionLost { session: SessionId(0), unanswered: 0 }));
}

#[test]
fn answers_come_in_the_order_of_the_commands_even_when_places_take_time() {
    let mut run = pair(Strategy::Flood);
    run.send(0, "IAMAT kiwi +34.0-118.0 5\nWHATSAT kiwi 10 5\nnonsense\n", false);
    let replies: Vec<_> = replies(&run.settle()).iter().map(|reply| reply.lines().count()).collect();
    assert_eq!(replies, [1, 3, 1]);
}

#[test]
fn without_latency_every_update_is_at_the_neighbours_before_its_reply() {
    let mut run = Run::of(herd(3, &[(0, 1, 0), (0, 2, 0)], Strategy::Flood));
    run.send(0, "IAMAT kiwi +34.0-118.0 5\nnonsense\nIAMAT lime +34.0-118.0 5\n", false);
    let events = run.settle();
    let place = |is_it: &dyn Fn(&Event) -> bool| events.iter().rposition(is_it).expect("it happened");
    for client in ["kiwi", "lime"] {
        let heard = place(&|event| matches!(event, Event::Heard { report, .. } if report.client() == client));
        let text = format!(" {client} ");
        let is_reply = |event: &Event| replies(std::slice::from_ref(event)).iter().any(|reply| reply.contains(&text));
        assert!(heard < place(&is_reply), "{client}: {events:?}");
    }
    assert_eq!(replies(&events).len(), 3);
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_connection_closed() {
    let mut topology = herd(1, &[], Strategy::Flood);
    topology.limits.line = 128;
    let mut run = Run::of(topology);
    run.send(0, &"x".repeat(129), false);
    let events = run.settle();
    assert_eq!(replies(&events), [format!("? {}\n", "x".repeat(128))]);
    assert!(matches!(events.last(), Some(Event::SessionLost { .. })));
}

#[test]
fn a_line_end_in_two_pieces_is_no_part_of_the_line_nor_of_its_limit() {
    let mut topology = herd(1, &[], Strategy::Flood);
    topology.limits.line = 8;
    let mut run = Run::of(topology);
    for piece in ["nonse", "nse\r", "\nmore", "\r\n"] {
        run.send(0, piece, false);
    }
    assert_eq!(replies(&run.settle()), ["? nonsense\n", "? more\n"]);
}

#[test]
fn a_client_of_a_server_that_is_killed_or_down_is_told_what_stays_unanswered() {
    let mut run = pair(Strategy::Flood);
    run.send(0, "IAMAT kiwi +34.0-118.0 5\nWHATSAT kiwi 10 5\nnonsense\n", false);
    run.pass(Duration::ZERO);
    run.act(ServerVerb::Kill.on(ServerId(0)));
    run.send(0, "IAMAT kiwi +34.0-118.0 6\n", false);
    assert_eq!(unanswered(&run.settle()), [2, 1]);
}

/// Commands that stay unanswered, for every end of a session.
fn unanswered(events: &[Event]) -> Vec<u64> {
    let lost = |event: &Event| match *event {
        Event::SessionLost { unanswered, .. } => Some(unanswered),
        _ => None,
    };
    events.iter().filter_map(lost).collect()
}

#[test]
fn a_session_that_is_over_reaches_no_server_any_more() {
    let mut run = pair(Strategy::Flood);
    run.act(send(7, 0, "IAMAT kiwi +34.0-118.0 5\n", false));
    assert!(run.driver.is_open(SessionId(7)) && !run.driver.is_open(SessionId(8)));
    run.settle();
    run.act(ServerVerb::Restart.on(ServerId(0)));
    assert!(!run.driver.is_open(SessionId(7)), "it ends with the life of its server");
    run.act(send(7, 0, "IAMAT lime +34.0-118.0 6\n\nWHATSAT lime 1 1\nIAMAT", false));
    let events = run.settle();
    assert_eq!((unanswered(&events), replies(&events)), (vec![0, 3], vec![]));
    assert_eq!(run.knows(0, "lime"), None);
    assert_eq!(run.act(Action::Close(SessionId(7))), Hit::default());
    run.act(send(8, 0, "IAMAT lime +34.0-118.0 6\n", false));
    assert_eq!(replies(&run.settle()).len(), 1, "another session reaches it");
}

#[test]
fn a_session_whose_dial_was_refused_is_over() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Kill.on(ServerId(0)));
    run.act(send(7, 0, "IAMAT kiwi +34.0-118.0 5\n", false));
    run.act(ServerVerb::Start.on(ServerId(0)));
    run.act(send(7, 0, "IAMAT kiwi +34.0-118.0 5\n", false));
    assert_eq!((unanswered(&run.settle()), run.knows(0, "kiwi")), (vec![1, 1], None));
}

#[test]
fn a_session_is_one_clients_connection_to_one_server_until_the_client_ends_it() {
    let mut run = pair(Strategy::Flood);
    let mut refused = |action| run.driver.act(action).map_err(|error| error.to_string());
    assert_eq!(refused(send(7, 0, "", false)), Ok(Hit::default()));
    assert_eq!(refused(send(7, 1, "", false)), Err("session 7 is a connection to s0".into()));
    assert_eq!(refused(send(7, 0, "", true)), Ok(Hit::default()));
    assert_eq!(refused(send(7, 0, "", false)), Err("the client of session 7 has closed it for writing".into()));
    assert_eq!(refused(send(8, 0, "", false)), Ok(Hit::default()));
    assert_eq!(refused(Action::Close(SessionId(8))), Ok(Hit { connections: 1, ..Hit::default() }));
    assert_eq!(refused(send(8, 0, "", false)), Err("the client of session 8 has closed it for writing".into()));
}

#[test]
fn what_a_client_wrote_before_it_closed_is_read_all_the_same() {
    let mut run = pair(Strategy::Flood);
    run.act(ServerVerb::Pause.on(ServerId(0)));
    run.iamat(0, "kiwi", 5);
    assert_eq!(run.act(Action::Close(SessionId(0))).connections, 1);
    run.act(ServerVerb::Resume.on(ServerId(0)));
    let events = run.settle();
    assert_eq!((run.knows(1, "kiwi"), replies(&events).len()), (Some(5), 0));
}

#[test]
fn an_hour_of_a_cut_way_passes_without_a_quiescent_herd_waiting_for_it() {
    let mut run = pair(Strategy::Flood);
    run.act(WayVerb::Cut.on(way(0, 1)));
    run.settle();
    let before = run.driver.now();
    run.settle();
    assert_eq!(run.driver.now(), before, "refused dials are nothing to wait for");
    run.pass(Duration::from_secs(3600));
    assert_eq!(run.driver.now().since(before), Duration::from_secs(3600));
}
