//! The words of the command line.
//!
//! Every flag can also be set by an environment variable, `HERDSIM_` and its name: [`command`] sees to that.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::calibrate::Options;
use crate::config::{Preset, ReplyMode, Strategy};
use crate::diagnostic::{Choice, ErrorFormat, alternatives};
use crate::suite::Slice;

use super::run::seeds;
use super::verbs::HerdVerb;

const EXAMPLES: &str = "\
Examples:
  herdsim init                       write herd.toml, the five servers of the assignment
  herdsim up                         bring them up; Ctrl-C ends them
  herdsim kill Clark                 in another terminal: Clark is gone, its connections are reset
  herdsim restart Clark              and back, with an empty memory
  herdsim records                    who knows what, since when, by which way
  herdsim down

Exit codes: 0 fine, 1 a scenario failed, 2 wrong usage or file, 3 could not run (port
taken, no herd up), 4 nothing selected, 5 unproven, 130 and 143 ended by Ctrl-C and SIGTERM.

Every flag can be set in the environment: HERDSIM_HERD=demo stands for --herd demo.";

/// Runs, breaks and judges application server herds.
#[derive(Debug, Parser)]
#[command(name = "herdsim", version, after_help = EXAMPLES, max_term_width = 110, propagate_version = true)]
pub(super) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(super) global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Which herd, when several are up: its name, its file, or one of its processes
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(super) herd: Option<String>,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Global options")]
    pub(super) color: Colour,
    /// Say less: no progress, no events, only results and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
    /// Say more: every line between servers; twice: also lines that brought nothing new
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(super) verbose: u8,
    /// How problems of files are shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Global options")]
    pub(super) error_format: ErrorFormat,
    /// Give up a request that a herd has not answered after this long
    #[arg(long, global = true, value_parser = duration, default_value = "30s", value_name = "DURATION", help_heading = "Global options")]
    pub(super) request_timeout: Duration,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How tables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// JSON
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Bring a herd up on real ports
    Up(Up),
    /// Run one server of a herd as a process of its own
    ///
    /// One process (or machine) for each server of the file makes the same herd. Give such a herd `mode = "per-message"` where
    /// something stops servers by killing every process that holds a socket with their port.
    Node(Node),
    /// Show the servers of the herd: state, address, links, records
    Ps(Formatted),
    /// Show who knows what, since when, by which way
    Records(Records),
    /// Does something to the herd.
    #[command(flatten)]
    Herd(HerdVerb),
    /// Say a line to a server and print its reply
    Send(Send),
    /// Show what happened lately, and with -f what happens
    Events(Events),
    /// Show what servers logged
    Logs(Logs),
    /// End the herd in order
    Down(Down),
    /// List the herds of this user that are up
    Ls(Formatted),
    /// Write a commented herd file
    Init(Init),
    /// Check herd and scenario files, and say what losses a herd stands
    Check(Check),
    /// Print the JSON Schema of herd files or scenario files
    Schema(Schema),
    /// Measure this machine's loopback, and say which links of the simulator are like it
    ///
    /// Sends updates through a herd on real sockets, one after the other, and restarts its servers; then does the same on virtual
    /// time with links that are fitted to what was measured, and shows both.
    Calibrate(Calibrate),
    /// Run scenarios, judge them, and say why
    Run(Run),
    /// Judge a saved history again
    Judge(Judge),
    /// Join the reports of a sweep that was split
    Merge(Merge),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write one for every command
    Man(Man),
}

/// `up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsim up                         the herd of ./herd.toml, until Ctrl-C
  herdsim up -d --wait && herdsim ps in the background; back when all links are up
  herdsim up --name b other.toml     a second herd beside it

Ends with 130 after Ctrl-C and 143 after SIGTERM, both once the servers have drained; with 0 after `herdsim down`.
A second Ctrl-C ends it at once.")]
pub(super) struct Up {
    /// The herd's file
    #[arg(value_name = "FILE", env = "HERDSIM_FILE", default_value = "herd.toml")]
    pub(super) file: PathBuf,
    /// Run in the background; comes back when every server listens
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Come back when all links are up; run in the background, unless the servers run as `node`s already
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait for all links
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "DURATION", requires = "wait")]
    pub(super) wait_timeout: Duration,
    /// What is said about the herd while it runs.
    #[command(flatten)]
    pub(super) running: Running,
}

/// `node`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  for s in Bailey Bona Campbell Clark Jaquez; do herdsim node -d $s; done

  herdsim up --wait                  waits until all links are up
  herdsim down                       ends them all

All nodes of one file are one herd for the other commands. `--herd herd.Clark` chooses the node of Clark alone.")]
pub(super) struct Node {
    /// The server
    #[arg(value_name = "NAME")]
    pub(super) server: String,
    /// The herd's file
    #[arg(short, long, value_name = "FILE", default_value = "herd.toml")]
    pub(super) file: PathBuf,
    /// Run in the background; comes back when the server listens
    #[arg(short, long)]
    pub(super) detach: bool,
    /// What is said about the node while it runs.
    #[command(flatten)]
    pub(super) running: Running,
}

/// Flags of herds that run.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Call the herd something else than its file does
    #[arg(long, value_name = "NAME", value_parser = herd_name)]
    pub(super) name: Option<String>,
    /// Give each server a log file in this directory
    #[arg(long, value_name = "DIR")]
    pub(super) log_dir: Option<PathBuf>,
    /// How log files and warnings are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
    /// How long servers may take to end in order before they are killed
    #[arg(short = 't', long, value_parser = duration, default_value = "10s", value_name = "DURATION")]
    pub(super) timeout: Duration,
}

/// How log files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// A line of text for each event
    #[default]
    Text,
    /// A line of JSON for each event
    Json,
}

/// A table.
#[derive(Debug, Args)]
pub(super) struct Formatted {
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: Format,
}

/// `records`.
#[derive(Debug, Args)]
pub(super) struct Records {
    /// Only what this server knows
    pub(super) node: Option<String>,
    /// Only what is known of this client
    #[arg(long, value_name = "CLIENT")]
    pub(super) client: Option<String>,
    /// How to print it.
    #[command(flatten)]
    pub(super) formatted: Formatted,
}

/// `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsim send Clark IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503
  herdsim send Bailey 'WHATSAT kiwi.cs.ucla.edu 10 5'
  herdsim send Clark - < lines.txt")]
pub(super) struct Send {
    /// The server
    pub(super) node: String,
    /// The line; several words are joined by spaces, `-` takes lines from standard input
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true, value_name = "LINE")]
    pub(super) line: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what happens from now on, until the herd ends
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only the last entries of the past
    #[arg(short = 'n', long, value_name = "ENTRIES")]
    pub(super) tail: Option<usize>,
    /// One JSON object a line: a header, then entries, which `herdsim judge` reads
    #[arg(long)]
    pub(super) json: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Only these servers'
    #[arg(value_name = "NODE")]
    pub(super) nodes: Vec<String>,
    /// Go on with what happens from now on, until the herd ends
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(super) tail: Option<usize>,
    /// Only what is not older than this
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(super) since: Option<Duration>,
}

/// `down`.
#[derive(Debug, Args)]
pub(super) struct Down {
    /// Kill servers that have not ended in order after this long [default: as `up` was told]
    #[arg(short = 't', long, value_parser = duration, value_name = "DURATION")]
    pub(super) timeout: Option<Duration>,
}

/// `init`.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where to write it; `-` is standard output
    #[arg(default_value = "herd.toml", value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Which herd
    #[arg(long, value_enum, default_value_t, value_name = "YEAR")]
    pub(super) preset: Preset,
    /// Overwrite a file that exists
    #[arg(long)]
    pub(super) force: bool,
}

/// `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Herd files and scenario files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// `schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of which files
    #[arg(value_enum, default_value_t, value_name = "KIND")]
    pub(super) kind: SchemaKind,
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum SchemaKind {
    /// `herd.toml`
    #[default]
    Herd,
    /// Files for `run`
    Scenario,
    /// Lines of a history: of `run --history`, `events --json` and logs in JSON
    History,
}

/// `calibrate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsim calibrate                  tables, a picture of both, and the lines for a herd file
  herdsim calibrate --format toml    only those lines

The herd's links stay open and have no delay of their own while they are measured, and the system chooses the ports.")]
pub(super) struct Calibrate {
    /// The herd's file [default: herd.toml, and without one the herd that `init` writes]
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Updates that are measured; up to 200 go before them to warm up
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT.updates, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) updates: u32,
    /// Restarts of a server, whose dials are measured
    #[arg(long, value_name = "N", default_value_t = Options::DEFAULT.restarts)]
    pub(super) restarts: u32,
    /// How to print it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: CalibrateFormat,
}

/// How a calibration is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum CalibrateFormat {
    /// Tables and a picture
    #[default]
    Table,
    /// Only the lines for a herd file
    Toml,
    /// JSON, times in nanoseconds
    Json,
}

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsim run scenarios/
  herdsim run scenarios/partition.toml --driver both
  herdsim run scenarios/partition.toml --driver simulated --seeds 1000
  herdsim run scenarios/ -j 4 --report-junit junit.xml")]
pub(super) struct Run {
    /// Scenario files, directories, globs
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Scenarios side by side [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = positive)]
    pub(super) jobs: Option<usize>,
    /// Only scenarios whose name contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Vec<String>,
    /// Only one part of the scenarios, as `slice:1/3`
    #[arg(long, value_name = "slice:M/N", value_parser = Slice::parse)]
    pub(super) partition: Option<Slice>,
    /// Run every scenario so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) repeat: u32,
    /// Run a scenario that fails again, up to so many times; passing then makes it flaky
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,
    /// Start nothing more after the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
    /// Give up a scenario after this long
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(super) max_time: Option<Duration>,
    /// Set a variable of the scenarios
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(super) variable: Vec<(String, String)>,
    /// What runs the herd
    #[arg(long, value_enum, default_value_t, value_name = "DRIVER")]
    pub(super) driver: DriverChoice,
    /// Play the scenario on a herd that is up: one of `herdsim up`, or `node` processes of one file. The herd has to be fresh, and
    /// stays as the scenario leaves it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["driver", "seed", "seeds", "strategy", "reply", "repeat", "retries", "check_determinism"])]
    pub(super) herd_of: Option<String>,
    /// Of every random draw, instead of the files'
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub(super) seed: Option<u64>,
    /// One run for each seed: a count (`1000`) or a range without its end (`5..10`)
    #[arg(long, value_name = "SEEDS", value_parser = seeds)]
    pub(super) seeds: Option<std::ops::Range<u64>>,
    /// How updates travel, instead of what the files say
    #[arg(long, value_name = "STRATEGY", value_parser = choice::<Strategy>)]
    pub(super) strategy: Option<Strategy>,
    /// When a server answers a client's IAMAT, instead of what the files say
    #[arg(long, value_name = "MODE", value_parser = choice::<ReplyMode>)]
    pub(super) reply: Option<ReplyMode>,
    /// Run twice on virtual time and point at the first difference
    #[arg(long)]
    pub(super) check_determinism: bool,
    /// Save the history, to judge it again; a directory when there are several scenarios, and with `--driver both` two files:
    /// `h.loopback.jsonl` and `h.simulated.jsonl` for `h.jsonl`
    #[arg(long, value_name = "FILE")]
    pub(super) history: Option<PathBuf>,
    /// What is written about them.
    #[command(flatten)]
    pub(super) reports: Reports,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub(super) progress: Progress,
}

/// What runs the herds of scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum DriverChoice {
    /// Real sockets
    #[default]
    Loopback,
    /// Virtual time
    Simulated,
    /// Both, and their verdicts compared
    Both,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Progress {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// A line for each running scenario
    Bar,
    /// A line when a scenario has ended
    Plain,
    /// Nothing
    None,
}

/// `judge`.
#[derive(Debug, Args)]
pub(super) struct Judge {
    /// Histories that `run --history` saved
    #[arg(required = true, value_name = "HISTORY")]
    pub(super) files: Vec<PathBuf>,
    /// What is written about them.
    #[command(flatten)]
    pub(super) reports: Reports,
}

/// Reports for machines.
#[derive(Debug, Args)]
pub(super) struct Reports {
    /// Write a report in JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) report_json: Option<PathBuf>,
    /// Write a report in JUnit's XML
    #[arg(long, value_name = "FILE")]
    pub(super) report_junit: Option<PathBuf>,
    /// Write a report in TAP
    #[arg(long, value_name = "FILE")]
    pub(super) report_tap: Option<PathBuf>,
}

/// `merge`.
#[derive(Debug, Args)]
pub(super) struct Merge {
    /// Reports that `run --report-json` wrote
    #[arg(required = true, value_name = "REPORT")]
    pub(super) reports: Vec<PathBuf>,
    /// Where to write the whole; `-` is standard output
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    pub(super) output: PathBuf,
}

/// `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  herdsim completions bash > ~/.local/share/bash-completion/completions/herdsim")]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| "a duration is like 250ms, 2s or 1m30s".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "a duration cannot be negative".to_owned())
}

pub(super) fn signed_duration(text: &str) -> Result<i64, String> {
    let wrong = || "an offset is like +2s, -500ms or 0".to_owned();
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (-1, magnitude),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if magnitude == "0" {
        return Ok(0);
    }
    let duration = duration(magnitude).map_err(|_| wrong())?;
    i64::try_from(duration.as_nanos()).map(|magnitude| sign * magnitude).map_err(|_| wrong())
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "a whole number from 1".to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "a variable is set as NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn choice<T: Choice>(text: &str) -> Result<T, String> {
    T::of_word(text).ok_or_else(|| format!("use {}", alternatives(T::words())))
}

fn herd_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("a herd's name has letters, digits, `-` and `_`".to_owned())
    }
}

/// The whole command line, every flag with its environment variable.
pub(super) fn command() -> Command {
    with_environment(Cli::command())
}

fn with_environment(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        if arg.is_hide_set() || matches!(long, "help" | "version") {
            return arg;
        }
        let variable = format!("HERDSIM_{}", long.to_uppercase().replace('-', "_"));
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let arg = arg.env(variable).hide_env_values(true);
        if is_switch { arg.value_parser(FalseyValueParser::new()) } else { arg }
    });
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        let mut command = command();
        command.build();
        command.debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let mut commands = vec![command()];
        while let Some(command) = commands.pop() {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version")) else { continue };
                let variable = arg.get_env().unwrap_or_else(|| panic!("{} --{long}", command.get_name()));
                assert!(variable.to_str().unwrap().starts_with("HERDSIM_"));
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        assert_eq!(choice("flood-sync"), Ok(Strategy::FloodSync));
        assert_eq!(choice("neighbours"), Ok(ReplyMode::Neighbours));
        let told = choice::<Strategy>("Flood").expect_err("words are lower case");
        assert_eq!(told, "use \"direct\", \"flood\", \"flood-sync\" or \"tree\"");
        assert!(choice::<ReplyMode>("never").is_err());
    }

    #[test]
    fn an_offset_has_a_sign_or_none() {
        assert_eq!(signed_duration("+2s"), Ok(2_000_000_000));
        assert_eq!(signed_duration("-500ms"), Ok(-500_000_000));
        assert_eq!(signed_duration("0"), Ok(0));
        assert!(signed_duration("--2s").is_err() && signed_duration("soon").is_err());
    }
}
