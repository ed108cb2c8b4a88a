//! Short measurements of this machine, compared with nothing but their own models.

use super::*;
use crate::config::{Distribution, Preset, Strategy, parse, template};

fn five_servers() -> Topology {
    parse("herd.toml", &template(Preset::default(), None)).expect("the template is valid").topology
}

#[tokio::test]
async fn the_model_of_this_machine_gives_lags_like_those_that_were_measured() {
    let options = Options { updates: 200, restarts: 5 };
    let calibration = measure(&five_servers(), options).await.expect("the herd runs");
    let Calibration { measured, simulated, .. } = &calibration;
    // Every update takes eight lines on its way to everybody, and each of the five servers opens a way to each neighbour.
    assert_eq!([measured.hop.len(), simulated.hop.len()], [1600, 1600]);
    assert_eq!([measured.farthest.len(), simulated.farthest.len()], [200, 200]);
    assert_eq!([measured.dial.len(), simulated.dial.len()], [12, 12]);
    // The model is fitted to single hops. Lags to the farthest server follow from it, with less spread than measured.
    for (measured, simulated, bounds) in
        [(&measured.hop, &simulated.hop, [0.25, 0.75]), (&measured.farthest, &simulated.farthest, [0.05, 0.95])]
    {
        let [low, high] = bounds.map(|part| measured.quantile(part).expect("it was measured"));
        let middle = simulated.quantile(0.5).expect("it was simulated");
        assert!((low..=high).contains(&middle), "{middle:?} is not within {low:?}..{high:?}\n{calibration}");
    }
}

/// With `direct` every pair is linked, also those that the file does not name.
#[tokio::test]
async fn the_links_that_a_strategy_adds_are_measured_and_modelled_like_the_others() {
    let mut topology = five_servers();
    topology.strategy = Strategy::Direct;
    let calibration = measure(&topology, Options { updates: 20, restarts: 0 }).await.expect("the herd runs");
    let Calibration { measured, simulated, model, .. } = &calibration;
    assert_eq!([measured.hop.len(), simulated.hop.len()], [80, 80]);
    assert!(simulated.hop.quantile(0.0) >= Some(model.latency), "{calibration}");
}

#[test]
fn the_distance_of_two_samples_is_the_widest_gap_between_them() {
    let lags = |times: &[u64]| Lags::new(times.iter().copied().map(Duration::from_micros).collect());
    for (one, other, distance) in [
        (&[1, 2, 3, 4][..], &[4, 3, 2, 1][..], Some(0.0)),
        (&[1, 2], &[3, 4, 5], Some(1.0)),
        (&[1, 2, 3, 4], &[1, 2, 3, 9, 9, 9, 9, 9], Some(0.625)),
        (&[], &[1], None),
    ] {
        assert_eq!(lags(one).distance(&lags(other)), distance, "{one:?} {other:?}");
        assert_eq!(lags(other).distance(&lags(one)), distance, "{one:?} {other:?}");
    }
}

#[tokio::test]
async fn a_herd_that_is_not_connected_cannot_be_measured() {
    let mut topology = five_servers();
    topology.links.truncate(1);
    let refused = measure(&topology, Options { updates: 1, restarts: 0 }).await.expect_err("most servers are alone");
    assert_eq!(refused.to_string(), "an update at Bailey reached 1 of 5 servers");
}

#[tokio::test]
async fn a_server_alone_has_no_link_to_measure() {
    let mut topology = five_servers();
    topology.servers.truncate(1);
    topology.links.clear();
    let refused = measure(&topology, Options { updates: 1, restarts: 0 }).await.expect_err("there is no link");
    assert_eq!(refused.to_string(), "a herd without links has nothing to measure");
}

#[test]
fn what_is_pasted_into_a_herd_file_is_the_model() {
    let [latency, jitter] = [12_345, 67_891].map(Duration::from_nanos);
    for (jitter, distribution) in [
        (Duration::ZERO, Distribution::Uniform),
        (jitter, Distribution::Uniform),
        (jitter, Distribution::Exponential),
        (jitter, Distribution::LogNormal { sigma_percent: 7 }),
        (jitter, Distribution::LogNormal { sigma_percent: 129 }),
    ] {
        let delay = Delay { latency, jitter, distribution, bandwidth: None };
        let text = format!("{}[generate]\nshape = 'ring'\nn = 3\n", show::toml(delay));
        let topology = parse("herd.toml", &text).unwrap_or_else(|problems| panic!("{problems}")).topology;
        assert!(topology.links.iter().all(|link| link.delays == [delay; 2]), "{text}{topology:?}");
    }
}

#[test]
fn a_calibration_shows_both_distributions_and_what_to_paste() {
    let lags = |times: [u64; 4]| Lags::new(times.map(Duration::from_micros).into());
    let times = |offset| Times {
        hop: lags([20, 30, 40, 50].map(|time: u64| time + offset)),
        farthest: lags([60, 70, 80, 140].map(|time: u64| time + offset)),
        dial: Lags::default(),
    };
    let model = Delay { latency: Duration::from_micros(35), ..Delay::default() };
    let exponential = Delay { jitter: Duration::from_micros(9), distribution: Distribution::Exponential, ..model };
    let candidates = vec![Fit { delay: model, distance: 0.12 }, Fit { delay: exponential, distance: 0.115 }];
    let calibration =
        Calibration { servers: 5, updates: 4, measured: times(0), simulated: times(3), candidates, model };
    insta::assert_snapshot!(calibration, @r#"
    4 lone updates of a herd of 5 servers, on this machine's loopback and simulated

                                                 p5      p25      p50      p75      p95      p99    gap
    one hop                   measured        20 us    20 us    30 us    40 us    50 us    50 us
                              simulated       23 us    23 us    33 us    43 us    53 us    53 us   0.25
    to the farthest server    measured        60 us    60 us    70 us    80 us  0.14 ms  0.14 ms
                              simulated       63 us    63 us    73 us    83 us 0.143 ms 0.143 ms   0.25
    one dial                  measured            -        -        -        -        -        -
                              simulated           -        -        -        -        -        -      -
    gap: the widest between the parts of both that take up to some time, 0 to 1 (Kolmogorov-Smirnov)

    one hop: `=` measured, `o` simulated
         20 us  ==================================================
       22.8 us                                                   o
       25.5 us
       28.2 us  ==================================================
         31 us                                                   o
       33.8 us
       36.5 us
       39.2 us  ==================================================
         42 us                                                   o
       44.8 us
       47.5 us  ==================================================
       50.2 us

    to the farthest server: `=` measured, `o` simulated
         60 us  =================================================o
       66.9 us  =================================================o
       73.8 us  ==================================================
       80.7 us                                                   o
       87.7 us
       94.6 us
      0.101 ms
      0.108 ms
      0.115 ms
      0.122 ms
      0.129 ms
      0.136 ms  ==================================================

    gap between the measured hops and delays of links, of which the simplest within 0.01 of the least is taken
      0.120  constant    always 35 us  <- chosen
      0.115  exponential 35 us and on average 9 us more

    for a herd file, above its first [heading]:

    latency = "35000ns"
    "#);
}
