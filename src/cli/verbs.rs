//! The commands that do something to a herd: made of the table of verbs, and read into a verb.
//!
//! Each row of [`crate::act::Spec`] is a command. Only amounts, such as how long a line is delayed, need words of their own.

use std::time::Duration;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand, value_parser};

use super::args::{duration, signed_duration};
use crate::act::{Ends, PartitionMode, ServerVerb, Share, Spec, Takes, Verb, WayVerb, Ways, split_way};
use crate::config::{Bandwidth, Delay, Distribution, Slowness};

/// A verb of the command line.
#[derive(Debug)]
pub(super) struct HerdVerb(pub(super) Verb<String>);

impl Subcommand for HerdVerb {
    fn augment_subcommands(command: Command) -> Command {
        Spec::all().fold(command, |command, spec| command.subcommand(subcommand(spec)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Spec::all().any(|spec| spec.command() == name)
    }
}

impl FromArgMatches for HerdVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (name, matches) = matches.subcommand().ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?;
        let spec = Spec::all().find(|spec| spec.command() == name);
        let spec = spec.ok_or_else(|| clap::Error::new(ErrorKind::InvalidSubcommand))?;
        let usage = |text: String| clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(&subcommand(spec));
        verb(spec, matches).map(Self).map_err(usage)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Returns the command of a row.
fn subcommand(spec: &'static Spec) -> Command {
    let command = Command::new(spec.command()).about(spec.help);
    let command = match spec.takes {
        Takes::Servers => server_args(command, spec.server_verb()),
        Takes::Ways => command.args(way_args()).args(amounts(spec.way_verb())),
        Takes::Groups => command.args(partition_args()),
    };
    let command = if spec.command.is_some() { command.visible_alias(spec.word) } else { command };
    let command =
        if spec.more.is_empty() { command } else { command.long_about(format!("{}\n\n{}", spec.help, spec.more)) };
    if spec.examples.is_empty() {
        return command;
    }
    let examples: String = spec.examples.iter().map(|example| format!("\n  herdsim {example}")).collect();
    command.after_help(format!("Examples:{examples}"))
}

fn server_args(command: Command, verb: Option<ServerVerb>) -> Command {
    let node = Arg::new("nodes").value_name("NODE").required(true);
    match verb {
        Some(ServerVerb::Clock(_)) => command.arg(node.help("The server")).arg(
            Arg::new("offset")
                .value_name("OFFSET")
                .required(true)
                .allow_hyphen_values(true)
                .value_parser(signed_duration)
                .help("How far its clock is ahead; negative when behind"),
        ),
        _ => command.arg(node.num_args(1..).help("The servers")),
    }
}

fn way_args() -> [Arg; 2] {
    let ends = Arg::new("ends").value_name("LINK").num_args(1..=2).required_unless_present("all").conflicts_with("all");
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue);
    [
        ends.help("Two servers for both ways (`Clark Bona`), or one way (`Clark:Bona` or `'Clark->Bona'`)"),
        all.help("Every link of the herd"),
    ]
}

/// Returns the words behind a verb's link.
fn amounts(verb: Option<WayVerb>) -> Vec<Arg> {
    match verb {
        Some(WayVerb::Slow(_)) => slow_args().into(),
        Some(WayVerb::Lose(_)) => vec![
            Arg::new("share")
                .long("share")
                .value_name("SHARE")
                .required(true)
                .value_parser(|text: &str| text.parse::<Share>())
                .help("Share of the lines that is lost, such as `5%`"),
        ],
        Some(WayVerb::Reset { .. }) => vec![
            flag("after", "LINES", value_parser!(u64))
                .default_value("0")
                .help("Not now, but after that many more lines"),
        ],
        Some(WayVerb::Drop { .. } | WayVerb::Duplicate { .. }) => vec![
            flag("nth", "N", value_parser!(u64).range(1..=u64::MAX >> 1))
                .default_value("1")
                .help("The line, counted from now, from 1"),
        ],
        _ => Vec::new(),
    }
}

fn flag(name: &'static str, value: &'static str, parser: impl Into<ValueParser>) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(parser.into())
}

fn slow_args() -> [Arg; 5] {
    let delay = |name, help| flag(name, "DURATION", ValueParser::new(duration)).default_value("0s").help(help);
    let distribution = "How what is added is distributed: `uniform` (from 0 to the jitter), `exponential` (the jitter is the mean) or `log-normal=SIGMA` (the jitter is the median) [default: uniform]";
    let text = |text: &str| text.parse::<Distribution>();
    [
        delay("latency", "What every line waits, on top of the link's own latency"),
        delay("jitter", "The scale of what is added to the latency, drawn for each line; their order is kept"),
        flag("distribution", "HOW", ValueParser::new(text)).requires("jitter").help(distribution),
        flag("bandwidth", "BANDWIDTH", ValueParser::new(|text: &str| text.parse::<Bandwidth>()))
            .help("How many bytes go out in a second, one line after the other: `64kB/s`, `1.5MB/s`, `10Mbit/s`"),
        flag("rate", "LINES", value_parser!(u32).range(1..)).help("At most this many lines a second"),
    ]
}

fn partition_args() -> [Arg; 3] {
    let mode = flag("mode", "MODE", ["cut", "hold", "hold-then-cut"]).default_value("cut");
    let after = flag("after", "DURATION", ValueParser::new(duration)).required_if_eq("mode", "hold-then-cut");
    [
        Arg::new("groups").value_name("GROUP").required(true).num_args(1..).help("Groups of servers, their names joined by commas"),
        mode.help("What happens to the links between groups: `cut` loses lines in flight and refuses connections, `hold` lets lines wait, `hold-then-cut` loses them after --after, as a time-out does"),
        after.help("When the hold of `hold-then-cut` turns into a cut"),
    ]
}

/// Reads the words of a command.
fn verb(spec: &Spec, matches: &ArgMatches) -> Result<Verb<String>, String> {
    match spec.takes {
        Takes::Servers => {
            let on = texts(matches, "nodes");
            let verb = match spec.server_verb() {
                Some(ServerVerb::Clock(_)) => ServerVerb::Clock(value(matches, "offset").unwrap_or(0)),
                Some(verb) => verb,
                None => return Ok(Verb::RollingRestart { on }),
            };
            Ok(Verb::Servers { verb, on })
        }
        Takes::Ways => {
            let on =
                if matches.get_flag("all") { Ways::All } else { Ways::These(vec![ends(&texts(matches, "ends"))?]) };
            Ok(Verb::Ways { verb: with_amounts(spec.way_verb(), matches), on })
        }
        Takes::Groups => {
            let groups = texts(matches, "groups");
            let names =
                |group: &String| group.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
            let mode = match value::<String>(matches, "mode").as_deref() {
                Some("hold") => PartitionMode::Hold,
                Some("hold-then-cut") => PartitionMode::HoldThenCut(value(matches, "after").unwrap_or_default()),
                _ => PartitionMode::Cut,
            };
            Ok(Verb::Partition { groups: groups.iter().map(names).collect(), mode })
        }
    }
}

fn with_amounts(verb: Option<WayVerb>, matches: &ArgMatches) -> WayVerb {
    match verb.expect("a row of ways is the row of a verb of ways") {
        WayVerb::Slow(_) => {
            let duration = |name| value::<Duration>(matches, name).unwrap_or_default();
            let delay = Delay {
                latency: duration("latency"),
                jitter: duration("jitter"),
                distribution: value(matches, "distribution").unwrap_or_default(),
                bandwidth: value(matches, "bandwidth"),
            };
            WayVerb::Slow(Slowness { delay, rate: value(matches, "rate") })
        }
        WayVerb::Lose(_) => WayVerb::Lose(value(matches, "share").unwrap_or(Share::ALL)),
        WayVerb::Reset { .. } => WayVerb::Reset { after: value(matches, "after").unwrap_or(0) },
        WayVerb::Drop { .. } => WayVerb::Drop { nth: value(matches, "nth").unwrap_or(1) },
        WayVerb::Duplicate { .. } => WayVerb::Duplicate { nth: value(matches, "nth").unwrap_or(1) },
        verb => verb,
    }
}

fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_one::<T>(name).cloned()
}

fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

/// Reads one link: two servers, or one way.
fn ends(words: &[String]) -> Result<Ends<String>, String> {
    match words {
        [one] if one == "all" => Err("every link is `--all`".into()),
        [one] => match split_way(one) {
            Some((from, to)) => Ok(Ends::One(from.to_owned(), to.to_owned())),
            None => Err(format!("`{one}` is one end of a link: name both (`{one} OTHER`), or one way (`{one}:OTHER`)")),
        },
        [a, b] if split_way(a).is_none() && split_way(b).is_none() => Ok(Ends::Both(a.clone(), b.clone())),
        _ => Err("a link is two servers (`Clark Bona`), or one way (`Clark:Bona`)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Verb<String>, String> {
        let command = HerdVerb::augment_subcommands(Command::new("herdsim"));
        let matches = command.try_get_matches_from(words.split(' ')).map_err(|error| error.to_string())?;
        HerdVerb::from_arg_matches(&matches).map(|verb| verb.0).map_err(|error| error.to_string())
    }

    #[test]
    fn every_row_of_the_table_is_a_command_that_reads_its_verb() {
        for spec in Spec::all() {
            let words = match spec.takes {
                Takes::Servers => format!("herdsim {} Clark", spec.command()),
                Takes::Ways => format!("herdsim {} Clark Bona", spec.command()),
                Takes::Groups => format!("herdsim {} Clark,Bona", spec.command()),
            };
            let amount = match spec.server_verb() {
                Some(ServerVerb::Clock(_)) => " +2s",
                _ if matches!(spec.way_verb(), Some(WayVerb::Lose(_))) => " --share 5%",
                _ => "",
            };
            let verb = read(&format!("{words}{amount}")).unwrap_or_else(|error| panic!("{words}: {error}"));
            assert_eq!(verb.spec(), spec);
        }
    }

    #[test]
    fn a_link_is_two_servers_or_one_way() {
        let ways = |words: &str| read(&format!("herdsim cut {words}")).map(|verb| verb.targets());
        assert_eq!(ways("a b").as_deref(), Ok("a-b"));
        assert_eq!(ways("a->b").as_deref(), Ok("a->b"));
        assert_eq!(ways("a:b").as_deref(), Ok("a->b"));
        assert_eq!(ways("--all").as_deref(), Ok("every link"));
        for (wrong, told) in [
            ("all", "every link is `--all`"),
            ("a", "`a` is one end of a link"),
            ("a->b c", "a link is two servers"),
            ("a:b c", "a link is two servers"),
        ] {
            let said = ways(wrong).expect_err("it is wrong");
            assert!(said.contains(told), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_share_of_the_lines_is_more_than_nothing_and_at_most_all() {
        let lose = |words: &str| read(&format!("herdsim lose a:b {words}")).map(|verb| format!("{verb:?}"));
        assert!(lose("--share 5%").is_ok_and(|verb| verb.contains("Lose")));
        assert!(lose("--share 100%").is_ok());
        for wrong in ["", "--share 0%", "--share 101%", "--share -1%", "--share x", "--share NaN%"] {
            assert!(lose(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_way_is_slowed_in_any_way_that_a_link_can_be_slow() {
        let slow = |words: &str| match read(&format!("herdsim slow Clark Bona {words}"))? {
            Verb::Ways { verb: WayVerb::Slow(slowness), .. } => Ok(slowness.delay),
            verb => Err(format!("{verb:?}")),
        };
        let delay = Delay {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(2),
            distribution: Distribution::LogNormal { sigma_percent: 50 },
            bandwidth: Bandwidth::from_bytes_a_second(64_000),
        };
        let all = "--latency 1ms --jitter 2ms --distribution log-normal=0.5 --bandwidth 64kB/s";
        assert_eq!(slow(all), Ok(delay));
        for (wrong, told) in [
            ("--distribution exponential", "--jitter <DURATION>"),
            ("--jitter 2ms --distribution log-normal", "needs its width, as in log-normal=0.5"),
            ("--jitter 2ms --distribution normal", "it is uniform, exponential or log-normal=SIGMA"),
            ("--bandwidth 64", "needs a unit"),
            ("--bandwidth 0B/s", "must be from 1 B/s to 1000 GB/s"),
        ] {
            let said = slow(wrong).expect_err("it is wrong");
            assert!(said.contains(told), "{wrong}: {said}");
        }
    }
}
