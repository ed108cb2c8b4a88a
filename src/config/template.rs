//! Commented topology files to begin with: the herds of the course, year by year.

use super::LinkMode;

/// A herd of the course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// Bailey, Bona, Campbell, Clark, Jaquez: 2023 and later.
    #[default]
    #[value(name = "2023")]
    Y2023,
    /// Bernard, Clark, Jaquez, Johnson, Juzang: 2021-22.
    #[value(name = "2022")]
    Y2022,
    /// Bernard, Campbell, Jaquez, Juzang, Riley: 2021.
    #[value(name = "2021")]
    Y2021,
    /// Campbell, Hill, Jaquez, Singleton, Smith: 2020.
    #[value(name = "2020")]
    Y2020,
    /// Goloman, Hands, Holiday, Welsh, Wilkes: 2018-19.
    #[value(name = "2018")]
    Y2018,
    /// Alford, Ball, Hamilton, Holiday, Welsh, in a ring: 2016-17.
    #[value(name = "2016")]
    Y2016,
}

impl Preset {
    fn servers(self) -> [&'static str; 5] {
        match self {
            Self::Y2023 => ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"],
            Self::Y2022 => ["Bernard", "Clark", "Jaquez", "Johnson", "Juzang"],
            Self::Y2021 => ["Bernard", "Campbell", "Jaquez", "Juzang", "Riley"],
            Self::Y2020 => ["Campbell", "Hill", "Jaquez", "Singleton", "Smith"],
            Self::Y2018 => ["Goloman", "Hands", "Holiday", "Welsh", "Wilkes"],
            Self::Y2016 => ["Alford", "Ball", "Hamilton", "Holiday", "Welsh"],
        }
    }

    fn links(self) -> &'static [[&'static str; 2]] {
        match self {
            Self::Y2023 => &[
                ["Clark", "Jaquez"],
                ["Clark", "Bona"],
                ["Campbell", "Bailey"],
                ["Campbell", "Bona"],
                ["Campbell", "Jaquez"],
                ["Bona", "Bailey"],
            ],
            Self::Y2022 => &[
                ["Clark", "Jaquez"],
                ["Clark", "Juzang"],
                ["Bernard", "Juzang"],
                ["Bernard", "Jaquez"],
                ["Bernard", "Johnson"],
                ["Juzang", "Johnson"],
            ],
            Self::Y2021 => &[
                ["Riley", "Jaquez"],
                ["Riley", "Juzang"],
                ["Bernard", "Jaquez"],
                ["Bernard", "Juzang"],
                ["Bernard", "Campbell"],
                ["Juzang", "Campbell"],
            ],
            Self::Y2020 => &[
                ["Hill", "Jaquez"],
                ["Hill", "Smith"],
                ["Singleton", "Jaquez"],
                ["Singleton", "Smith"],
                ["Singleton", "Campbell"],
                ["Smith", "Campbell"],
            ],
            Self::Y2018 => &[
                ["Goloman", "Hands"],
                ["Goloman", "Holiday"],
                ["Goloman", "Wilkes"],
                ["Hands", "Wilkes"],
                ["Holiday", "Welsh"],
                ["Holiday", "Wilkes"],
            ],
            Self::Y2016 => &[
                ["Alford", "Hamilton"],
                ["Alford", "Welsh"],
                ["Ball", "Holiday"],
                ["Ball", "Welsh"],
                ["Hamilton", "Holiday"],
            ],
        }
    }
}

/// The text of a topology file. `schema` is where the file finds its JSON Schema; left out when `None`.
pub fn template(preset: Preset, schema: Option<&str>) -> String {
    let schema = schema.map_or_else(String::new, |schema| format!("#:schema {schema}\n"));
    let server = |(port, name)| format!("[[server]]\nname = \"{name}\"\nport = {port}\n\n");
    let servers: String = (10_000..10_005).zip(preset.servers()).map(server).collect();
    let links: String = preset.links().iter().map(|[a, b]| format!("    [\"{a}\", \"{b}\"],\n")).collect();
    let mode = serde_json::to_string(&LinkMode::default()).expect("a word is JSON");
    format!(
        "{schema}# A herd: servers that tell each other where clients are.
# `herdsim up` runs it, `herdsim check` says what is wrong with it and how it takes losses.

# How updates travel:
#   flood-sync  over the links, and everything again whenever a link comes up (converges after a failure)
#   flood       over the links, as the assignment asks (what a server misses while it is down it never learns)
#   tree        along a tree for each server that clients talk to, with repair as above (N-1 lines an update)
#   direct      from the server that hears the client to every other, one hop
strategy = \"flood-sync\"

# When a server answers an IAMAT: \"neighbours\" waits until the neighbours have taken the update, so that a client that asks
# one of them next finds it there; \"everywhere\" waits for all servers that can be reached; \"at-once\" for nobody. Left out,
# `up` does the first, `run` and `node` the last.
# reply = \"neighbours\"

# How lines travel over a link: {mode} (one long connection each way) or \"per-message\" (one connection a line).
mode = {mode}

# Who talks with whom. Instead of a pair, a table gives a link settings of its own:
#   {{ ends = [\"{a}\", \"{b}\"], mode = \"per-message\", latency = \"20ms\", jitter = \"5ms\", bandwidth = \"64kB/s\" }}
# `there` is its direction from {a} to {b}, `back` the other. Either may differ from the rest of the table:
#   {{ ends = [\"{a}\", \"{b}\"], latency = \"20ms\", back = {{ latency = \"80ms\" }} }}
links = [
{links}]

# The servers. Each may also have:
#   host = \"clark.example.org\"  # address or name by which the others dial it; 127.0.0.1 when left out
#   listen = \"0.0.0.0\"          # where it listens, here on every address of its machine; as `host` when left out
#   clock = \"2s\"                # how far its clock is ahead
{servers}# More, with what holds unless you say otherwise:
#
# [redial]                # a server that lost a neighbour dials it again after..
# first = \"5ms\"           # ..this, and twice as long each time,
# cap = \"250ms\"           # ..but never longer than this
# timeout = \"2s\"
#
# [places]                # where answers to WHATSAT come from
# provider = \"offline\"    # or \"google\", \"google-legacy\", \"overpass\"
#
# [limits]                # what a server takes from its clients at most
# line = 65536            # bytes
# connections = 20000
# queued-bytes = 65536    # replies that wait for a client that does not read
# records = 1000000       # clients it remembers
# reply = \"1s\"            # how long a reply waits for servers that do not take what they are owed
# idle = \"10m\"            # silence before it hangs up; for ever when left out
",
        a = preset.links()[0][0],
        b = preset.links()[0][1],
    )
}
