//! One scenario on turmoil, on madsim and on herdsim's simulator: scenarios a second of one core, side by side.
//!
//! Several repeats, in turns, so that a busy minute of the machine hits everybody. Every run is checked: all five servers must
//! know what every client said last. `cargo run --release -- [REPEATS]`.

mod on_herdsim;
mod on_madsim;
mod on_turmoil;
mod scenario;
mod server;

use std::ops::Range;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use scenario::{Outcome, PARTITIONS};

/// Measured at least so long without a break, in seconds of a core.
const STRETCH: f64 = 0.5;
const REPEATS: usize = 7;

/// One way to run the scenario.
struct Contestant<'a> {
    name: &'static str,
    /// Scenarios run between two looks at the clock.
    batch: u64,
    run: Box<dyn FnMut(Range<u64>) -> Vec<Outcome> + 'a>,
    /// How many times faster herdsim, whole, is to be.
    target: Option<f64>,
    /// Scenarios a second of a core, one for each repeat.
    rates: Vec<f64>,
    scenarios: u64,
    deliveries: u64,
}

fn main() {
    let repeats = std::env::args().nth(1).map_or(REPEATS, |text| text.parse().expect("a number of repeats"));
    for lasting in PARTITIONS {
        compare(repeats, lasting);
    }
}

fn compare(repeats: usize, lasting: Duration) {
    let script = on_herdsim::script(lasting);
    let mut direct = on_herdsim::Direct::new(&script);
    let tick = Duration::from_millis;
    let mut contestants = [
        Contestant::new("herdsim, whole", 200, None, |seeds| on_herdsim::run_whole(&script, seeds)),
        Contestant::new("herdsim, driver alone", 200, None, each(|seed| direct.run(seed, lasting))),
        Contestant::new("turmoil, 1 ms tick", 1, Some(200.0), each(|seed| on_turmoil::run(seed, tick(1), lasting))),
        Contestant::new("turmoil, 10 ms tick", 1, Some(30.0), each(|seed| on_turmoil::run(seed, tick(10), lasting))),
        Contestant::new("madsim", 10, Some(8.0), each(|seed| on_madsim::run(seed, lasting))),
    ];
    for repeat in 0..=repeats {
        // The first is for warming up.
        contestants.iter_mut().for_each(|contestant| contestant.measure(repeat > 0));
    }
    print(&contestants, lasting);
}

fn each(mut run: impl FnMut(u64) -> Outcome) -> impl FnMut(Range<u64>) -> Vec<Outcome> {
    move |seeds| seeds.map(&mut run).collect()
}

impl<'a> Contestant<'a> {
    fn new(
        name: &'static str,
        batch: u64,
        target: Option<f64>,
        run: impl FnMut(Range<u64>) -> Vec<Outcome> + 'a,
    ) -> Self {
        Self { name, batch, run: Box::new(run), target, rates: Vec::new(), scenarios: 0, deliveries: 0 }
    }

    fn measure(&mut self, counts: bool) {
        let begun = cpu_seconds();
        let (mut scenarios, mut elapsed) = (0, 0.0);
        while elapsed < STRETCH {
            let seed = self.scenarios + 1;
            let outcomes = (self.run)(seed..seed + self.batch);
            elapsed = cpu_seconds() - begun;
            self.deliveries += outcomes.iter().map(|outcome| outcome.deliveries).sum::<u64>();
            self.scenarios += self.batch;
            scenarios += self.batch;
        }
        if counts {
            self.rates.push(scenarios as f64 / elapsed);
        }
    }

    /// Median, least and most.
    fn spread(&self) -> [f64; 3] {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        [rates[rates.len() / 2], rates[0], rates[rates.len() - 1]]
    }
}

fn print(contestants: &[Contestant<'_>], lasting: Duration) {
    let [whole, direct, ..] = contestants else { unreachable!("there are five") };
    println!(
        "scenarios a second of one core whose partition lasts {lasting:?}, {} repeats in turns\n",
        whole.rates.len()
    );
    println!(
        "{:<22} {:>7} {:>7} {:>7} {:>11}   herdsim is faster by: whole, driver alone, target for whole",
        "", "median", "least", "most", "deliveries"
    );
    for contestant in contestants {
        let [median, least, most] = contestant.spread();
        let deliveries = contestant.deliveries as f64 / contestant.scenarios as f64;
        print!("{:<22} {median:>7.0} {least:>7.0} {most:>7.0} {deliveries:>11.0}", contestant.name);
        if let Some(target) = contestant.target {
            let [whole, direct] = [whole, direct].map(|herdsim| herdsim.spread()[0] / median);
            print!("   {whole:>6.1}x {direct:>6.1}x {target:>6.0}x");
        }
        println!();
    }
    println!();
}

/// Seconds of a core that this process has used: other programs on the machine do not lengthen them.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
