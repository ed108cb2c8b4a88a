//! How fast a herd on real sockets is, beside what else could have been run: `cargo bench --bench loopback`.
//!
//! Everything is measured in one run, in turn, several times over, because a machine's speed drifts by more than most
//! differences: read ratios, not rates. What is measured runs in processes of its own. Not here: virtual time.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table on standard output, progress on standard error"
)]

mod calm;
mod load;
mod processes;
mod report;
mod roles;
mod throughput;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use processes::Role;
use report::{Targets, print_targets};

/// Measures a herd on real sockets against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only what has this in its name, such as `256/16`, `whatsat`, `propagation`, `memory` or `start`; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Once and briefly: whether it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; medians are printed.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Leaves the peers out.
    #[arg(long)]
    alone: bool,
    /// Another build of this program, whose herd is measured as one more peer.
    #[arg(long, value_name = "PROGRAM")]
    other: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    process: Option<Process>,
}

#[derive(Debug, clap::Subcommand)]
enum Process {
    /// Is one of the processes that are measured.
    #[command(hide = true, subcommand)]
    Serve(Role),
}

/// What to measure, and how long.
#[derive(Debug)]
struct Plan {
    only: Vec<String>,
    repeats: usize,
    time: Duration,
    peers: bool,
    other: Option<PathBuf>,
}

impl Plan {
    fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(&**only))
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Process::Serve(role)) = arguments.process {
        roles::play(role);
        return Ok(());
    }
    let time = Duration::from_millis(if arguments.quick { 100 } else { 600 });
    measure(&Plan {
        only: arguments.only,
        repeats: if arguments.quick { 1 } else { arguments.repeats },
        time,
        peers: !arguments.alone,
        other: arguments.other,
    })
}

fn measure(plan: &Plan) -> io::Result<()> {
    raise_descriptor_limit();
    let mut targets = Targets::default();
    throughput::measure(plan, &mut targets)?;
    calm::measure(plan, &mut targets)?;
    print_targets(&targets);
    Ok(())
}

/// As far as the system allows; processes started from here inherit it.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Too few show later, as connections that cannot be made.
    setrlimit(Resource::Nofile, limit).ok();
}
