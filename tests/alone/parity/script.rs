//! Scripts without races, made from a number.
//!
//! No two things of a script are under way at once: each step waits until the herd is quiescent, and no two ways lead from one
//! server to another, so lines cannot overtake each other. What comes of such a script depends on no timing. Not here: running
//! it.

use std::fmt::Write as _;

use herdsim::draws::Draws;

/// One script: a herd, and what is done to it.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The number that it was made from.
    pub(super) number: u64,
    pub(super) herd: Herd,
    pub(super) steps: Vec<Step>,
}

/// The herd of a script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Herd {
    servers: &'static [&'static str],
    links: &'static [[&'static str; 2]],
    pub(super) strategy: &'static str,
    pub(super) mode: &'static str,
    pub(super) reply: &'static str,
    /// Latency of each way.
    pub(super) latency: Option<&'static str>,
}

/// One thing that is done.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// The key that says what is done.
    pub(super) verb: &'static str,
    /// The value of that key, and what else stands in the step.
    pub(super) rest: String,
}

impl Step {
    fn new(verb: &'static str, rest: String) -> Self {
        Self { verb, rest }
    }
}

const STRATEGIES: [&str; 4] = ["flood", "flood-sync", "direct", "tree"];
const MODES: [&str; 2] = ["persistent", "per-message"];
const REPLIES: [&str; 3] = ["at-once", "neighbours", "everywhere"];
const LATENCIES: [Option<&str>; 2] = [None, Some("2ms")];

/// Herds in which there is one path between two servers.
const TREES: [(&[&str], &[[&str; 2]]); 3] = [
    (&["A", "B"], &[["A", "B"]]),
    (&["A", "B", "C"], &[["A", "B"], ["B", "C"]]),
    (&["A", "B", "C", "D"], &[["A", "B"], ["B", "C"], ["B", "D"]]),
];

/// Herds in which servers that tell every other one, and pass nothing on, are linked as the others are.
const FULL: [(&[&str], &[[&str; 2]]); 2] =
    [(&["A", "B"], &[["A", "B"]]), (&["A", "B", "C"], &[["A", "B"], ["B", "C"], ["A", "C"]])];

/// A line over the limit of [`Herd::to_toml`].
const TOO_LONG: &str = "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";

/// Every key of a step by which something is done to a herd, but those that mend.
const FAULTS: [&str; 19] = [
    "kill",
    "stop",
    "restart",
    "rolling-restart",
    "pause",
    "clock",
    "cut",
    "hold",
    "half-open",
    "slow",
    "lose",
    "reset",
    "drop",
    "duplicate",
    "partition",
    "close",
    "workload",
    "send",
    "finish",
];

impl Script {
    /// Makes the script of a number. It has one to three faults.
    pub(super) fn of(number: u64) -> Self {
        let mut choices = Choices { draws: Draws::new(number, 0x70a1), made: 0 };
        let herd = choices.herd();
        let mut steps = vec![choices.iamat(&herd)];
        let mut unmended = Vec::new();
        for _ in 0..=choices.below(3) {
            let (fault, mend) = choices.fault(&herd);
            // A connection that is reset behind a line comes back while a workload goes on: a race.
            if fault.verb == "workload" && steps.iter().any(|step| step.verb == "reset") {
                continue;
            }
            steps.push(fault);
            for _ in 0..choices.below(3) {
                steps.push(choices.talk(&herd));
            }
            match choices.below(4) {
                0 => unmended.extend(mend),
                _ => steps.extend(mend),
            }
        }
        steps.push(choices.talk(&herd));
        if choices.below(2) == 0 {
            steps.append(&mut unmended);
        }
        steps.push(choices.talk(&herd));
        Self { number, herd, steps }
    }

    /// Makes a script in which more lines wait on a held way than there is room for.
    pub(super) fn of_many_lines() -> Self {
        let clients = herdsim::driver::WINDOW_LINES + 100;
        let load = format!("rate = 1e6, count = {clients}, clients = {clients}, keys = \"sequential\", via = [\"A\"]");
        let steps = [
            ("hold", "\"A->B\"".to_owned()),
            ("workload", format!("{{ {load} }}\ndeadline = \"60s\"")),
            ("release", "\"A->B\"".to_owned()),
        ];
        Self { number: 0, herd: Herd::PAIR, steps: steps.map(|(verb, rest)| Step::new(verb, rest)).into() }
    }

    /// Returns the text of the script as a scenario file.
    pub(super) fn to_toml(&self) -> String {
        let mut text = format!("title = \"parity {}\"\nunrealistic = true\n{}", self.number, self.herd.to_toml());
        for Step { verb, rest } in &self.steps {
            write!(text, "[[step]]\n{verb} = {rest}\n[[step]]\nuntil = \"quiescent\"\ndeadline = \"60s\"\n")
                .expect("memory takes text");
        }
        text + "[expect]\nconverged = true\nno_lost = true\n"
    }

    /// Returns `true` if something of the script is done by one of these keys.
    pub(super) fn does(&self, verbs: &[&str]) -> bool {
        self.steps.iter().any(|step| verbs.contains(&step.verb))
    }

    /// Returns `true` if records are sent again over links that come up once more. Which of the two ways of a link does that
    /// first depends on timing, and on that, how many lines are sent.
    pub(super) fn repairs(&self) -> bool {
        let ends = ["kill", "stop", "restart", "rolling-restart", "cut", "half-open", "partition", "reset"];
        self.herd.repairs() && self.does(&ends)
    }

    /// Returns the keys of its steps, in order.
    pub(super) fn verbs(&self) -> String {
        self.steps.iter().map(|step| step.verb).collect::<Vec<_>>().join(" ")
    }

    /// Returns the scripts that lack one step of this one.
    pub(super) fn smaller(&self) -> impl Iterator<Item = Self> {
        (0..self.steps.len()).map(|place| {
            let mut smaller = self.clone();
            smaller.steps.remove(place);
            smaller
        })
    }
}

impl Herd {
    const PAIR: Self = Self {
        servers: TREES[0].0,
        links: TREES[0].1,
        strategy: "flood",
        mode: "persistent",
        reply: "at-once",
        latency: None,
    };

    /// Returns `true` if records are sent again over a link that comes up.
    fn repairs(self) -> bool {
        matches!(self.strategy, "flood-sync" | "tree")
    }

    fn to_toml(self) -> String {
        let Self { strategy, mode, reply, .. } = self;
        let latency = self.latency.map_or_else(String::new, |latency| format!("latency = \"{latency}\", "));
        let servers: Vec<_> = self.servers.iter().map(|name| format!("{{ name = \"{name}\", port = 0 }}")).collect();
        let (links, servers) = (self.links, servers.join(", "));
        // Short limits, which real sockets wait for.
        let limits = "redial = { cap = \"20ms\", timeout = \"200ms\" }, limits = { reply = \"200ms\", line = 128 }";
        format!(
            "strategy = \"{strategy}\"\nreply = \"{reply}\"\n\
             herd = {{ mode = \"{mode}\", {latency}{limits}, links = {links:?}, server = [{servers}] }}\n"
        )
    }
}

/// Draws by number.
struct Choices {
    draws: Draws,
    made: u64,
}

impl Choices {
    fn below(&mut self, limit: u64) -> u64 {
        self.made += 1;
        self.draws.below(limit, self.made, 0)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn herd(&mut self) -> Herd {
        let strategy = self.of(&STRATEGIES);
        let (servers, links) = if strategy == "direct" { self.of(&FULL) } else { self.of(&TREES) };
        let (mode, reply, latency) = (self.of(&MODES), self.of(&REPLIES), self.of(&LATENCIES));
        Herd { servers, links, strategy, mode, reply, latency }
    }

    fn talk(&mut self, herd: &Herd) -> Step {
        match self.below(3) {
            0 => {
                let (client, via) = (self.client(), self.of(herd.servers));
                Step::new("whatsat", format!("{{ client = \"{client}\", via = \"{via}\" }}"))
            }
            _ => self.iamat(herd),
        }
    }

    fn iamat(&mut self, herd: &Herd) -> Step {
        let (client, via) = (self.client(), self.of(herd.servers));
        let more = self.of(&["", "", "", "", ", session = \"s\"", ", ahead = \"5s\"", ", ahead = \"-5s\""]);
        let rest = format!("{{ client = \"{client}\", at = \"+34.0-118.0\", via = \"{via}\"{more} }}");
        Step::new("iamat", rest)
    }

    fn client(&mut self) -> &'static str {
        self.of(&["k1", "k1", "k2"])
    }

    /// One or both ways of a link, or all of them.
    fn ways(&mut self, herd: &Herd) -> String {
        let way = self.one_way(herd);
        let link = self.of(herd.links);
        match self.below(5) {
            0 => "\"all\"".to_owned(),
            1 | 2 => format!("{link:?}"),
            _ => way,
        }
    }

    fn one_way(&mut self, herd: &Herd) -> String {
        let [from, to] = self.of(herd.links);
        if self.below(2) == 0 { format!("\"{from}->{to}\"") } else { format!("\"{to}->{from}\"") }
    }

    /// Something that breaks the herd, and what mends it, if anything does.
    fn fault(&mut self, herd: &Herd) -> (Step, Option<Step>) {
        let verb = self.of(&FAULTS);
        let server = format!("\"{}\"", self.of(herd.servers));
        let (ways, way) = (self.ways(herd), self.one_way(herd));
        let (rest, mend) = match verb {
            "kill" | "stop" => (server.clone(), Some(("start", server))),
            "restart" => (server, None),
            // Where records are repaired, their lines race with the restart of the next server.
            "rolling-restart" if herd.repairs() => (format!("[{server}]"), None),
            "rolling-restart" => (format!("{:?}", herd.servers), None),
            "pause" => (server.clone(), Some(("resume", server))),
            "cut" | "half-open" => (ways.clone(), Some(("heal", ways))),
            "hold" => (ways.clone(), Some(("release", ways))),
            "partition" => {
                let mode = self.of(&["\"cut\"", "\"hold\"", "\"hold-then-cut\", after = \"5ms\""]);
                let rest = format!("{{ groups = [[{server}]], mode = {mode} }}\n[[step]]\nuntil = \"done\"");
                return (Step::new(verb, rest), Some(Step::new("heal", "\"all\"".to_owned())));
            }
            "slow" => {
                let how = self.of(&["latency = \"3ms\"", "bandwidth = \"64kB/s\"", "rate = 200", "jitter = \"2ms\""]);
                (format!("{{ link = {ways}, {how} }}"), Some(("heal", ways)))
            }
            "lose" => {
                let share = self.of(&["100%", "50%"]);
                (format!("{{ way = {ways}, share = \"{share}\" }}"), Some(("heal", ways)))
            }
            "reset" => (format!("{{ link = {ways}, after = {} }}", self.below(3)), None),
            "drop" | "duplicate" => (format!("{{ way = {way}, nth = {} }}", 1 + self.below(2)), None),
            "clock" => (format!("{{ server = {server}, offset = \"{}\" }}", self.of(&["2s", "-2s"])), None),
            "close" => (format!("{{ via = {server} }}"), None),
            "workload" => {
                // Each client talks once: a version that replaces another one would make a race.
                let load = "rate = 500, count = 3, clients = 3, keys = \"sequential\"";
                (format!("{{ {load}, via = [{server}], prefix = \"w{}-\" }}", self.made), None)
            }
            "send" => {
                let line = self.of(&["HELLO", TOO_LONG]);
                (format!("{{ line = \"{line}\", via = {server} }}"), None)
            }
            "finish" => {
                let talk = format!("{{ client = \"k1\", via = {server}, finish = true }}");
                return (Step::new("whatsat", talk), None);
            }
            other => unreachable!("{other} is not made"),
        };
        match mend {
            // Mended by itself.
            Some(_) if self.below(5) == 0 => {
                (Step::new(verb, format!("{rest}\nfor = \"5ms\"\n[[step]]\nuntil = \"done\"")), None)
            }
            _ => (Step::new(verb, rest), mend.map(|(verb, rest)| Step::new(verb, rest))),
        }
    }
}
