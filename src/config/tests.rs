//! Files that are right, and what is said about those that are not.

use super::*;

fn loaded(text: &str) -> Topology {
    parse("herd.toml", text).unwrap_or_else(|problems| panic!("{problems}")).topology
}

fn refused(text: &str) -> String {
    parse("herd.toml", text).expect_err("there is something wrong").to_string()
}

fn links(topology: &Topology) -> Vec<String> {
    topology.links.iter().map(|link| link.ends.map(|end| topology.name(end).to_string()).join("-")).collect()
}

#[test]
fn every_preset_has_the_links_of_its_year() {
    for (preset, expected) in [
        (Preset::Y2023, "Clark-Jaquez Clark-Bona Campbell-Bailey Campbell-Bona Campbell-Jaquez Bona-Bailey"),
        (Preset::Y2022, "Clark-Jaquez Clark-Juzang Bernard-Juzang Bernard-Jaquez Bernard-Johnson Juzang-Johnson"),
        (Preset::Y2021, "Riley-Jaquez Riley-Juzang Bernard-Jaquez Bernard-Juzang Bernard-Campbell Juzang-Campbell"),
        (Preset::Y2020, "Hill-Jaquez Hill-Smith Singleton-Jaquez Singleton-Smith Singleton-Campbell Smith-Campbell"),
        (Preset::Y2018, "Goloman-Hands Goloman-Holiday Goloman-Wilkes Hands-Wilkes Holiday-Welsh Holiday-Wilkes"),
        (Preset::Y2016, "Alford-Hamilton Alford-Welsh Ball-Holiday Ball-Welsh Hamilton-Holiday"),
    ] {
        let topology = loaded(&template(preset, None));
        assert_eq!(links(&topology).join(" "), expected);
        let ports: Vec<_> = topology.servers.iter().map(|server| server.port).collect();
        assert_eq!(ports, [10_000, 10_001, 10_002, 10_003, 10_004]);
    }
}

#[test]
fn the_shipped_herd_is_the_template_and_the_shipped_schema_is_generated() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = |file| std::fs::read_to_string(root.join(file)).expect("it is shipped");
    assert_eq!(shipped("herd.toml"), template(Preset::default(), Some("schema/herd.json")));
    assert_eq!(shipped("schema/herd.json"), schema(), "run `herdsim schema > schema/herd.json`");
}

#[test]
fn what_the_templates_comments_say_holds_without_them_is_what_holds() {
    let text = template(Preset::default(), None);
    let comments = text.split("unless you say otherwise:\n").nth(1).expect("there are such comments");
    let settings: String =
        comments.lines().map(|line| line.trim_start_matches('#').trim_start().to_owned() + "\n").collect();
    let settings = settings.replace("idle =", "# idle =");
    assert_eq!(loaded(&format!("{text}\n{settings}")), loaded(&text));
}

#[test]
fn the_links_in_the_templates_comments_can_stand_in_its_list() {
    let text = template(Preset::default(), None);
    let examples: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#   {")).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let topology = loaded(&text.replace("[\"Clark\", \"Jaquez\"],\n", &format!("{{{example},\n")));
        assert_eq!(topology.links[0].delays[0].latency, Duration::from_millis(20), "{example}");
    }
}

#[test]
fn everything_can_be_set() {
    let topology = loaded(
        "name = 'x'
strategy = 'flood'
mode = 'per-message'
latency = '1ms'
jitter = '2ms'
bandwidth = '64kB/s'
seed = 7
threads = 2
links = [['A', 'B'], { ends = ['B', 'C'], mode = 'persistent', latency = '3ms', jitter = '0s', bandwidth = 1000 }]
server = [{ name = 'A', port = 1, host = '::1', clock = '-1.5s' }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]
[redial]
first = '1s'
timeout = '3s'
[places]
provider = 'google'
base-url = 'http://127.0.0.1:1'
key-file = 'k'
timeout = '1s'
retries = 0
budget = 3
[limits]
line = 128
connections = 1
queued-bytes = 1024
idle = '1m'
records = 5
",
    );
    assert_eq!((topology.name.as_str(), topology.strategy, topology.seed), ("x", Strategy::Flood, 7));
    assert_eq!(topology.threads, Threads::Exactly(2));
    assert_eq!((topology.servers[0].host.as_str(), topology.servers[0].clock_offset), ("::1", -1_500_000_000));
    let millis = Duration::from_millis;
    let bandwidths = [64_000, 1000].map(Bandwidth::from_bytes_a_second);
    let delay = |latency, jitter, bandwidth| Delay { latency, jitter, bandwidth, ..Delay::default() };
    assert_eq!(topology.links[0].delays, [delay(millis(1), millis(2), bandwidths[0]); 2]);
    assert_eq!(topology.links[1].delays, [delay(millis(3), Duration::ZERO, bandwidths[1]); 2]);
    assert_eq!((topology.links[0].mode, topology.links[1].mode), (LinkMode::PerMessage, LinkMode::Persistent));
    assert_eq!(topology.redial, Redial { first: millis(1000), cap: millis(1000), timeout: millis(3000) });
    assert_eq!(topology.places.provider, Provider::Google);
    assert_eq!((topology.places.budget, topology.places.retries), (3, 0));
    let idle = Some(Duration::from_secs(60));
    assert_eq!(
        topology.limits,
        Limits { line: 128, connections: 1, queued_bytes: 1024, idle, records: 5, ..Limits::default() }
    );
}

#[test]
fn servers_that_no_link_lists_talk_as_the_herd_says_of_its_links() {
    let topology = loaded(
        "strategy = 'direct'
mode = 'per-message'
latency = '100ms'
links = [{ ends = ['A', 'B'], latency = '1ms', mode = 'persistent' }]
server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]
",
    );
    let links = topology.effective_links();
    let found = links.iter().map(|link| (link.ends.map(|end| end.0), link.mode, link.delays[1].latency.as_millis()));
    let unlisted = |ends| (ends, LinkMode::PerMessage, 100);
    assert_eq!(found.collect::<Vec<_>>(), [([0, 1], LinkMode::Persistent, 1), unlisted([0, 2]), unlisted([1, 2])]);
}

#[test]
fn a_generated_herd_has_numbered_servers() {
    let topology = loaded("[generate]\nshape = 'random-regular'\nn = 1000\ndegree = 4\nfirst-port = 20000");
    assert_eq!((topology.servers.len(), topology.links.len()), (1000, 2000));
    assert_eq!((&*topology.servers[999].name, topology.servers[999].port), ("s1000", 20_999));
    assert_eq!(loaded("[generate]\nshape = 'line'\nn = 2").servers[1].port, 0);
}

#[test]
fn all_that_is_wrong_with_a_file_is_said_at_once_and_where() {
    insta::assert_snapshot!(
        refused(
            "strategy = 'flod'
latency = 20
links = [['Clark', 'Jaqez'], ['Clark', 'Clark'], ['Clark', 'Bona'], ['Bona', 'Clark'], ['Bona']]

[[server]]
name = 'Clark'
port = 10003

[[server]]
name = 'Bona'
port = 10003
prot = 1

[[server]]
name = 'Jaquez'
port = 70000

[[server]]
name = 'a>b'
port = 0

[redial]
first = '1s'
cap = '10ms'

[places]
key = 'secret'
"
        ),
        @r#"
    error: `strategy` cannot be `flod`
     --> herd.toml:1:12
      |
    1 | strategy = 'flod'
      |            ^^^^^^
      |
      = help: did you mean `flood`?

    error: `latency` needs a unit
     --> herd.toml:2:11
      |
    2 | latency = 20
      |           ^^ a number alone could be anything
      |
      = help: write "20ms" or "20s"

    error: unknown server `Jaqez`
     --> herd.toml:3:20
      |
    3 | links = [['Clark', 'Jaqez'], ['Clark', 'Clark'], ['Clark', 'Bona'], ['Bona', 'Clark'], ['Bona']]
      |                    ^^^^^^^
      |
      = help: did you mean `Jaquez`?

    error: `Clark` is linked with itself
     --> herd.toml:3:30
      |
    3 | links = [['Clark', 'Jaqez'], ['Clark', 'Clark'], ['Clark', 'Bona'], ['Bona', 'Clark'], ['Bona']]
      |                              ^^^^^^^^^^^^^^^^^^
      |
      = help: a link joins two different servers

    error: the link `Bona-Clark` is taken
     --> herd.toml:3:69
      |
    3 | links = [['Clark', 'Jaqez'], ['Clark', 'Clark'], ['Clark', 'Bona'], ['Bona', 'Clark'], ['Bona']]
      |                                                  -----------------  ^^^^^^^^^^^^^^^^^
      |                                                  |
      |                                                  by this one

    error: a link has two ends
     --> herd.toml:3:88
      |
    3 | links = [['Clark', 'Jaqez'], ['Clark', 'Clark'], ['Clark', 'Bona'], ['Bona', 'Clark'], ['Bona']]
      |                                                                                        ^^^^^^^^
      |
      = help: write two servers such as ["Clark", "Bona"]

    error: address `127.0.0.1:10003` is taken
      --> herd.toml:11:8
       |
     7 | port = 10003
       |        ----- by this one
    ...
    11 | port = 10003
       |        ^^^^^

    error: unknown key `prot`
      --> herd.toml:12:1
       |
    12 | prot = 1
       | ^^^^
       |
       = help: did you mean `port`?

    error: `port` must be a whole number from 0 to 65535
      --> herd.toml:16:8
       |
    16 | port = 70000
       |        ^^^^^ out of range

    error: `a>b` is no name of a server
      --> herd.toml:19:8
       |
    19 | name = 'a>b'
       |        ^^^^^
       |
       = help: names stand in `AT` lines and in ways like `a->b` or `a:b`: no white space, no `,`, no `>`, no `:`

    error: `cap` is shorter than `first`
      --> herd.toml:24:7
       |
    24 | cap = '10ms'
       |       ^^^^^^
       |
       = help: raise `cap`, or lower `first`

    error: a key does not belong in this file
      --> herd.toml:27:7
       |
    27 | key = ********
       |       ^^^^^^^^
       |
       = help: put it into the environment as HERDSIM_PLACES_KEY, or into a file of mode 0600 named by `key-file`
    "#
    );
}

#[test]
fn what_links_add_to_their_latency_is_distributed_as_the_herd_or_the_link_says() {
    let topology = loaded(
        "jitter = '1ms'
distribution = 'exponential'
links = [['A', 'B'], { ends = ['B', 'C'], distribution = { log-normal = 0.255 } }, { ends = ['A', 'C'], distribution = 'uniform' }]
server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]",
    );
    let distributions: Vec<_> = topology.links.iter().map(|link| link.delays[0].distribution).collect();
    let log_normal = Distribution::LogNormal { sigma_percent: 26 };
    assert_eq!(distributions, [Distribution::Exponential, log_normal, Distribution::Uniform]);
}

#[test]
fn a_direction_of_a_link_goes_before_the_link_and_the_link_before_the_herd() {
    let topology = loaded(
        "latency = '1ms'
jitter = '2ms'
distribution = 'exponential'
bandwidth = '3kB/s'
links = [
    { ends = ['A', 'B'], latency = '10ms', back = { latency = '80ms', bandwidth = '64kB/s' } },
    { ends = ['C', 'B'], there = { jitter = '0s' }, back = { distribution = 'uniform' }, bandwidth = '4kB/s' },
    ['A', 'C'],
]
server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]",
    );
    let delay = |latency, jitter, distribution, bandwidth| Delay {
        latency: Duration::from_millis(latency),
        jitter: Duration::from_millis(jitter),
        distribution,
        bandwidth: Bandwidth::from_bytes_a_second(bandwidth),
    };
    let [exponential, uniform] = [Distribution::Exponential, Distribution::Uniform];
    let expected = [
        [delay(10, 2, exponential, 3000), delay(80, 2, exponential, 64_000)],
        [delay(1, 0, exponential, 4000), delay(1, 2, uniform, 4000)],
        [delay(1, 2, exponential, 3000); 2],
    ];
    assert_eq!(topology.links.iter().map(|link| link.delays).collect::<Vec<_>>(), expected);
    assert_eq!(topology.links.iter().map(Link::is_asymmetric).collect::<Vec<_>>(), [true, true, false]);

    let wiring = Wiring::of(&topology);
    let [a, b, c] = ["A", "B", "C"].map(|name| topology.server(name).expect("it is a server"));
    let delay = |from, to| {
        let link = wiring.link(Way { from, to }).expect("they are linked");
        wiring.delay(&wiring.neighbour(from, link))
    };
    let of_ways = [[delay(a, b), delay(b, a)], [delay(c, b), delay(b, c)], [delay(a, c), delay(c, a)]];
    assert_eq!(of_ways, expected);
}

#[test]
fn mistakes_in_a_direction_are_shown_where_they_are() {
    insta::assert_snapshot!(refused(
        "server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }, { name = 'D', port = 0 }]
links = [
    { ends = ['A', 'B'], back = { latncy = '80ms' } },
    { ends = ['B', 'C'], there = {}, back = '80ms' },
    { ends = ['A', 'C'], there = { mode = 'per-message', latency = 80 } },
    { ends = ['A', 'D'], bakc = { latency = '80ms' } },
]"), @r#"
    error: unknown key `latncy`
     --> herd.toml:3:35
      |
    3 |     { ends = ['A', 'B'], back = { latncy = '80ms' } },
      |                                   ^^^^^^
      |
      = help: did you mean `latency`?

    error: `there` changes nothing
     --> herd.toml:4:34
      |
    4 |     { ends = ['B', 'C'], there = {}, back = '80ms' },
      |                                  ^^
      |
      = help: give `latency`, `jitter`, `distribution` or `bandwidth`, or remove it

    error: `back` must be a table
     --> herd.toml:4:45
      |
    4 |     { ends = ['B', 'C'], there = {}, back = '80ms' },
      |                                             ^^^^^^ this is a string

    error: both directions of a link have the same `mode`
     --> herd.toml:5:36
      |
    5 |     { ends = ['A', 'C'], there = { mode = 'per-message', latency = 80 } },
      |                                    ^^^^
      |
      = help: move it out of `there`, beside `ends`

    error: `latency` needs a unit
     --> herd.toml:5:68
      |
    5 |     { ends = ['A', 'C'], there = { mode = 'per-message', latency = 80 } },
      |                                                                    ^^ a number alone could be anything
      |
      = help: write "80ms" or "80s"

    error: unknown key `bakc`
     --> herd.toml:6:26
      |
    6 |     { ends = ['A', 'D'], bakc = { latency = '80ms' } },
      |                          ^^^^
      |
      = help: did you mean `back`?
    "#);
}

#[test]
fn a_distribution_is_a_word_or_a_width() {
    insta::assert_snapshot!(refused("distribution = 'exponentail'\n[generate]\nshape = 'ring'\nn = 3"), @"
    error: `distribution` cannot be `exponentail`
     --> herd.toml:1:16
      |
    1 | distribution = 'exponentail'
      |                ^^^^^^^^^^^^^
      |
      = help: did you mean `exponential`?
    ");
    insta::assert_snapshot!(refused("distribution = 'log-normal'\n[generate]\nshape = 'ring'\nn = 3"), @"
    error: a log-normal distribution needs its width
     --> herd.toml:1:16
      |
    1 | distribution = 'log-normal'
      |                ^^^^^^^^^^^^
      |
      = help: write { log-normal = 0.5 }, for example
    ");
    insta::assert_snapshot!(refused("distribution = { log-normal = 4 }\n[generate]\nshape = 'ring'\nn = 3"), @"
    error: `log-normal` must be a number from 0.01 to 3
     --> herd.toml:1:31
      |
    1 | distribution = { log-normal = 4 }
      |                               ^ out of range
    ");
}

#[test]
fn a_bandwidth_has_a_unit_and_a_range() {
    insta::assert_snapshot!(refused(
        "bandwidth = '64KB/s'
server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }, { name = 'D', port = 0 }]
links = [
    { ends = ['A', 'B'], bandwidth = '64' },
    { ends = ['B', 'C'], bandwidth = '0.5B/s' },
    { ends = ['A', 'C'], bandwidth = 0 },
    { ends = ['A', 'D'], bandwidth = 1.5 },
    { ends = ['B', 'D'], bandwith = '1MB/s' },
]"), @r#"
    error: `bandwidth` is not a bandwidth
     --> herd.toml:1:13
      |
    1 | bandwidth = '64KB/s'
      |             ^^^^^^^^
      |
      = help: write a number and its unit, such as "64kB/s", "1.5MB/s" or "10Mbit/s"

    error: `bandwidth` needs a unit, such as B/s
     --> herd.toml:4:38
      |
    4 |     { ends = ['A', 'B'], bandwidth = '64' },
      |                                      ^^^^
      |
      = help: write a number and its unit, such as "64kB/s", "1.5MB/s" or "10Mbit/s"

    error: `bandwidth` must be from 1 B/s to 1000 GB/s
     --> herd.toml:5:38
      |
    5 |     { ends = ['B', 'C'], bandwidth = '0.5B/s' },
      |                                      ^^^^^^^^
      |
      = help: write a number and its unit, such as "64kB/s", "1.5MB/s" or "10Mbit/s"

    error: `bandwidth` must be a whole number from 1 to 1000000000000
     --> herd.toml:6:38
      |
    6 |     { ends = ['A', 'C'], bandwidth = 0 },
      |                                      ^ out of range

    error: `bandwidth` must be a bandwidth such as "64kB/s"
     --> herd.toml:7:38
      |
    7 |     { ends = ['A', 'D'], bandwidth = 1.5 },
      |                                      ^^^ this is a number with decimals

    error: unknown key `bandwith`
     --> herd.toml:8:26
      |
    8 |     { ends = ['B', 'D'], bandwith = '1MB/s' },
      |                          ^^^^^^^^
      |
      = help: did you mean `bandwidth`?
    "#);
}

#[test]
fn a_herd_needs_servers_and_a_rule_excludes_them() {
    insta::assert_snapshot!(refused(""), @"
    error: this herd has no servers
     --> herd.toml:1:1
      |
    1 |
      | ^
      |
      = help: write a `[[server]]` with `name` and `port` for each, or a `[generate]`
    ");
    insta::assert_snapshot!(refused("links = []\n[generate]\nshape = 'ring'\nn = 5"), @"
    error: `generate` makes all servers and links
     --> herd.toml:2:1
      |
    2 | [generate]
      | ^^^^^^^^^^
      |
      = help: remove `server` and `links`, or `generate`
    ");
    insta::assert_snapshot!(refused("[generate]\nshape = 'random-regular'\nn = 5\ndegree = 3"), @"
    error: `n` times `degree` must be even: each link has two ends
     --> herd.toml:1:1
      |
    1 | [generate]
      | ^^^^^^^^^^
    ");
}

#[test]
fn repair_that_cannot_work_is_warned_of() {
    let text = template(Preset::default(), None).replace("mode = \"persistent\"", "mode = \"per-message\"");
    let warnings = parse("herd.toml", &text).expect("it is valid").warnings;
    insta::assert_snapshot!(warnings, @r#"
    warning: flood-sync repairs nothing over 6 of 6 links
      --> herd.toml:17:8
       |
    17 | mode = "per-message"
       |        ^^^^^^^^^^^^^
       |
       = note: a per-message link has no connection whose opening could be noticed
       = help: use strategy = "flood" to say so, or mode = "persistent"
    "#);
    let tree = text.replace("flood-sync\"", "tree\"");
    let warnings = parse("herd.toml", &tree).expect("it is valid").warnings.to_string();
    assert!(warnings.starts_with("warning: tree floods and repairs nothing over 6 of 6 links"), "{warnings}");
}

#[test]
fn ports_clash_on_one_host_under_any_of_its_names() {
    let clash = |a: &str, b: &str| {
        let server = |name: &str, host: &str| format!("[[server]]\nname = '{name}'\nport = 1\nhost = '{host}'\n");
        parse("f", &(server("A", a) + &server("B", b))).is_err()
    };
    assert!(
        clash("127.0.0.1", "localhost") && clash("0.0.0.0", "10.0.0.1") && clash("10.0.0.1", "::") && clash("a", "A")
    );
    assert!(!clash("127.0.0.1", "127.0.0.2") && !clash("a", "b"));
}

#[test]
fn a_server_listens_on_its_host_or_on_another_address() {
    let text = "[[server]]\nname = 'A'\nport = 1\nhost = 'a'\nlisten = '0.0.0.0'\n[[server]]\nname = 'B'\nport = 1\nhost = 'b'\n";
    let servers = loaded(text).servers;
    assert_eq!((servers[0].host.as_str(), servers[0].listens_on()), ("a", "0.0.0.0"));
    assert_eq!((servers[1].host.as_str(), servers[1].listens_on()), ("b", "b"));
}

#[test]
fn ports_clash_where_servers_of_one_machine_listen_and_not_between_machines() {
    let clash = |[a, b]: [(&str, &str); 2]| {
        let server = |name: &str, (host, listen): (&str, &str)| {
            format!("[[server]]\nname = '{name}'\nport = 1\nhost = '{host}'\nlisten = '{listen}'\n")
        };
        parse("f", &(server("A", a) + &server("B", b))).is_err()
    };
    assert!(!clash([("a", "0.0.0.0"), ("b", "0.0.0.0")]));
    assert!(!clash([("127.0.0.1", "127.0.0.1"), ("b", "::")]));
    assert!(clash([("a", "10.0.0.1"), ("a", "10.0.0.2")]));
    assert!(clash([("127.0.0.1", "0.0.0.0"), ("127.0.0.2", "127.0.0.2")]));
}

#[test]
fn a_server_that_is_dialled_on_its_own_machine_listens_there() {
    let text = |keys: &str| format!("server = [{{ name = 'A', port = 0, {keys} }}]");
    for right in [
        "listen = '0.0.0.0'",
        "listen = '::'",
        "listen = '127.0.0.1'",
        "listen = 'localhost'",
        "host = '::1', listen = '::'",
        "host = 'localhost', listen = '::1'",
        "host = '192.0.2.1', listen = '10.0.0.1'",
        "host = 'a', listen = '127.0.0.1'",
    ] {
        loaded(&text(right));
    }
    for wrong in ["listen = '127.0.0.2'", "host = '::1', listen = '0.0.0.0'", "host = 'localhost', listen = '10.0.0.1'"]
    {
        assert!(refused(&text(wrong)).contains("does not listen there"), "{wrong}");
    }
    insta::assert_snapshot!(refused(&text("listen = '10.0.0.1'")), @r"
    error: others dial `127.0.0.1`, and this server does not listen there
     --> herd.toml:1:44
      |
    1 | server = [{ name = 'A', port = 0, listen = '10.0.0.1' }]
      |                                            ^^^^^^^^^^
      |
      = help: give `host`, the address or name by which others dial it
    ");
    insta::assert_snapshot!(refused(&text("host = '::1', listen = '0.0.0.0'")), @r"
    error: others dial `::1`, and this server does not listen there
     --> herd.toml:1:58
      |
    1 | server = [{ name = 'A', port = 0, host = '::1', listen = '0.0.0.0' }]
      |                                          ----- by this   ^^^^^^^^^
      |
      = help: listen on this address, or on ::
    ");
    insta::assert_snapshot!(refused(&text("listen = '0.0.0.0:80'")), @r"
    error: `0.0.0.0:80` is no address and no host name
     --> herd.toml:1:44
      |
    1 | server = [{ name = 'A', port = 0, listen = '0.0.0.0:80' }]
      |                                            ^^^^^^^^^^^^
      |
      = help: write an address such as 127.0.0.1 or ::1, or a name; `port` is a key of its own
    ");
}

#[test]
fn a_host_is_an_address_or_a_name_without_a_port() {
    for host in ["127.0.0.1", "::1", "localhost", "herd-1.example.org"] {
        loaded(&format!("server = [{{ name = 'A', port = 0, host = '{host}' }}]"));
    }
    insta::assert_snapshot!(refused("server = [{ name = 'A', port = 0, host = '127.0.0.1:80' }]"), @r#"
    error: `127.0.0.1:80` is no address and no host name
     --> herd.toml:1:42
      |
    1 | server = [{ name = 'A', port = 0, host = '127.0.0.1:80' }]
      |                                          ^^^^^^^^^^^^^^
      |
      = help: write an address such as 127.0.0.1 or ::1, or a name; `port` is a key of its own
    "#);
}

#[test]
fn a_key_of_any_name_is_refused_and_never_shown() {
    for name in ["key", "api-key", "api_key", "apikey", "token"] {
        let said = refused(&format!("server = [{{ name = 'A', port = 0 }}]\nplaces = {{ {name} = 'AIzaSecret' }}"));
        assert!(said.contains("HERDSIM_PLACES_KEY") && !said.contains("AIza") && !said.contains("unknown"), "{said}");
    }
}

#[test]
fn a_rule_that_says_too_much_or_asks_for_too_many_links_is_refused() {
    for (rule, reason) in [
        ("shape = 'ring'\nn = 5\ndegree = 2", "`degree` means nothing for this shape"),
        ("shape = 'tree'\nn = 5\nseed = 2", "`seed` means nothing for this shape"),
        ("shape = 'full'\nn = 1000000", "499999500000 links"),
        ("shape = 'random-regular'\nn = 1000000\ndegree = 1000", "500000000 links"),
    ] {
        let said = refused(&format!("[generate]\n{rule}"));
        assert!(said.contains(reason), "{said}");
    }
}

/// The keys that the schema knows are the keys that the reader asks for: a file with each of them holding nonsense is refused for
/// the nonsense, never for an unknown key.
#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("it is JSON");
    let keys = |name: &str| {
        let table = if name.is_empty() { &schema } else { &schema["definitions"][name] };
        table["properties"].as_object().expect("it has keys").keys().cloned().collect::<Vec<_>>()
    };
    for (definition, prefix) in [
        ("", ""),
        ("Server", "[[server]]\n"),
        ("Link", "[[links]]\n"),
        ("Direction", "[[links]]\nends = ['A', 'B']\n[links.there]\n"),
        ("Generate", "[generate]\n"),
        ("Redial", "[redial]\n"),
        ("Places", "[places]\n"),
        ("Limits", "[limits]\n"),
    ] {
        let known = keys(definition);
        let nonsense: String = known.iter().map(|key| format!("{key} = 1979-05-27\n")).collect();
        let said = refused(&format!("{prefix}{nonsense}"));
        assert!(!said.contains("unknown key"), "{said}");
        let said = refused(&format!("{prefix}never-a-key = 1\n"));
        let list = said.lines().find(|line| line.contains("known here: ")).expect("it lists the known keys");
        let mut listed: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        listed.sort_unstable();
        assert_eq!(listed, known, "{definition}");
    }
}

#[test]
fn a_link_whose_dials_time_out_is_warned_of() {
    let herd = |timeout: &str| {
        format!(
            "latency = \"1100ms\"\nredial = {{ timeout = \"{timeout}\" }}\nlinks = [[\"A\", \"B\"]]\n\
             server = [{{ name = \"A\", port = 1 }}, {{ name = \"B\", port = 2 }}]\n"
        )
    };
    let warnings = |timeout| parse("herd.toml", &herd(timeout)).expect("it is valid").warnings.to_string();
    assert_eq!(warnings("2200ms"), "");
    insta::assert_snapshot!(warnings("2s"), @r#"
    warning: 1 of 1 links can never come up: a dial takes longer than its timeout
     --> herd.toml:1:1
      |
    1 | latency = "1100ms"
      | ^
      |
      = note: a dial of A-B takes 2.2s, there and back, and times out after 2s
      = help: raise `timeout` of `[redial]`, or lower the latency
    "#);
}
