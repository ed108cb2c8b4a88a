//! Scenario files that are right, and what is said about those that are not.

use std::path::Path;

use super::*;
use crate::act::{Verb, WayVerb};
use crate::config::{Bandwidth, Delay, Distribution, LoadError, ReplyMode, Slowness, Strategy};

const HERD: &str = "herd = { links = [['Clark', 'Bona']], server = [{ name = 'Clark', port = 0 }, { name = 'Bona', port = 0 }, { name = 'Jaquez', port = 0 }] }\n";

fn cases(text: &str) -> Result<Vec<Script>, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("f.toml");
    std::fs::write(&file, text).expect("it can be written");
    match load(&file, &Variables::new(), &Overrides::default()) {
        Ok(cases) => Ok(cases.scripts),
        Err(LoadError::Invalid(problems)) => Err(problems.to_string().replace(&file.display().to_string(), "f.toml")),
        Err(error) => panic!("{error}"),
    }
}

fn refused(text: &str) -> String {
    cases(text).expect_err("there is something wrong")
}

#[test]
fn every_shipped_scenario_can_be_read_and_teaches_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = crate::suite::scenario_files(&[root]).expect("there are scenarios");
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it can be read");
        assert!(text.starts_with("#:schema ../schema/scenario.json\n"), "{}", file.display());
        let cases = load(&file, &Variables::new(), &Overrides::default());
        let cases = cases.unwrap_or_else(|error| panic!("{error}"));
        assert!(cases.scripts.iter().all(|script| script.teaches.is_some()), "{}", file.display());
        assert!(cases.warnings.is_empty(), "{}", cases.warnings);
    }
}

#[test]
fn the_shipped_schema_is_generated() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/scenario.json");
    let shipped = std::fs::read_to_string(file).expect("it is shipped");
    assert_eq!(shipped, schema(), "run `herdsim schema scenario > schema/scenario.json`");
}

#[test]
fn all_that_is_wrong_with_a_scenario_is_said_at_once_and_where() {
    let text = format!(
        "title = 'x'
strateg = 'flood'
{HERD}
[[step]]
iamat = {{ client = 'kiwi', at = '34-118', via = 'Clrk' }}
[[step]]
cut = ['Clark', 'Jaquez']
[[step]]
heal = ['Clark', 'Bona']
[[step]]
start = 'Bona'
[[step]]
kil = 'Bona'
[[step]]
wait = 5
[[step]]
drop = {{ way = 'Clark->Bona' }}
[[step]]
heal = 'all'
for = '2s'
[[step]]
check = {{ stale = 'kiwo', on = ['Clark'] }}
[[step]]
kill = 'Clark'
stop = 'Bona'

[expect]
convergd = true
'propagation p(95)' = '50ms'
cost = 'cheap'
"
    );
    insta::assert_snapshot!(refused(&text), @r#"
    error: unknown key `strateg`
     --> f.toml:2:1
      |
    2 | strateg = 'flood'
      | ^^^^^^^
      |
      = help: did you mean `strategy`?

    error: `34-118` is no location
     --> f.toml:6:33
      |
    6 | iamat = { client = 'kiwi', at = '34-118', via = 'Clrk' }
      |                                 ^^^^^^^^
      |
      = help: write latitude and longitude with both signs, like +34.068930-118.445127

    error: unknown server `Clrk`
     --> f.toml:6:49
      |
    6 | iamat = { client = 'kiwi', at = '34-118', via = 'Clrk' }
      |                                                 ^^^^^^
      |
      = help: did you mean `Clark`?

    error: Clark and Jaquez are not linked; Clark is linked with Bona
     --> f.toml:8:7
      |
    8 | cut = ['Clark', 'Jaquez']
      |       ^^^^^^^^^^^^^^^^^^^

    error: no step before this does what `heal` takes back: `cut`, `slow`, `lose`, `half-open`
      --> f.toml:10:1
       |
    10 | heal = ['Clark', 'Bona']
       | ^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: break it first; `release` ends a `hold`

    error: Bona runs: no step before this ends it
      --> f.toml:12:1
       |
    12 | start = 'Bona'
       | ^^^^^^^^^^^^^^
       |
       = help: `kill` or `stop` it first

    error: unknown key `kil`
      --> f.toml:14:1
       |
    14 | kil = 'Bona'
       | ^^^
       |
       = help: did you mean `kill`?

    error: `wait` needs a unit
      --> f.toml:16:8
       |
    16 | wait = 5
       |        ^ a number alone could be anything
       |
       = help: write "5ms" or "5s"

    error: TCP does nothing like `drop`
      --> f.toml:18:8
       |
    18 | drop = { way = 'Clark->Bona' }
       |        ^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: say `unrealistic = true` at the top of the scenario to allow it

    error: no step before this does what `heal` takes back: `cut`, `slow`, `lose`, `half-open`
      --> f.toml:20:1
       |
    20 | heal = 'all'
       | ^^^^^^^^^^^^
       |
       = help: break it first; `release` ends a `hold`

    error: `heal` is done at once and lasts no time
      --> f.toml:21:7
       |
    21 | for = '2s'
       |       ^^^^

    error: no step says where `kiwo` is
      --> f.toml:23:19
       |
    23 | check = { stale = 'kiwo', on = ['Clark'] }
       |                   ^^^^^^
       |
       = help: did you mean `kiwi`?

    error: `kill` and `stop` exclude each other
      --> f.toml:26:1
       |
    25 | kill = 'Clark'
       | ----
    26 | stop = 'Bona'
       | ^^^^
       |
       = help: keep one of them

    error: `convergd` is neither an assertion nor a number
      --> f.toml:29:1
       |
    29 | convergd = true
       | ^^^^^^^^
       |
       = help: did you mean `converged`?

    error: a limit begins with <, <=, >, >= or ==, like "<=50ms"
      --> f.toml:30:23
       |
    30 | 'propagation p(95)' = '50ms'
       |                       ^^^^^^

    error: `cost` must be a number from 0 to 1000000000000
      --> f.toml:31:8
       |
    31 | cost = 'cheap'
       |        ^^^^^^^ this is a string
    "#);
}

#[test]
fn a_fixed_time_beside_present_ones_is_warned_of_if_its_order_depends_on_the_driver() {
    let warnings = |head: &str, fixed: &str, other: &str| {
        let steps = format!("[[step]]\n{fixed}\n[[step]]\n{other}\n");
        let text = format!("title = 'x'\n{head}{HERD}{steps}");
        let cases = parse("f.toml".as_ref(), &text, &Variables::new(), &Overrides::default());
        cases.unwrap_or_else(|problems| panic!("{problems}")).warnings.to_string()
    };
    let at = |time: &str| format!("iamat = {{ client = 'kiwi', at = '+1+1', time = '{time}', via = 'Clark' }}");
    let bytes = "send = { line = 'IAMAT kiwi +1+1 1777000000', via = 'Clark' }";
    let present = "iamat = { client = 'kiwi', at = '+1+1', via = 'Bona' }";
    let told = warnings("", &at("1777000000"), present);
    assert!(told.starts_with("warning: whether this time is newer than the others of `kiwi`"), "{told}");
    assert!(told.contains("f.toml:4:1"), "{told}");
    assert!(!warnings("", bytes, present).is_empty());
    assert!(!warnings("", bytes, "workload = { rate = 1, count = 1, prefix = 'kiwi' }").contains("`kiwi`"));
    assert_eq!(warnings("", &at("1621464827"), present), "");
    assert_eq!(warnings("", &at("1777000000"), &at("1777000001")), "");
    assert_eq!(warnings("drivers = ['simulated']\n", &at("1777000000"), present), "");
}

#[test]
fn variables_repetitions_and_a_matrix_make_cases() {
    let text = format!(
        "title = 'x'\n{HERD}[variables]\nN = 2\n[matrix]\nstrategy = ['flood', 'direct']\nWHO = ['Clark', 'Bona']\n\
         [[step]]\nrestart = '${{WHO}}'\nrepeat = ${{N}}\n"
    );
    let cases = cases(&text).expect("it is right");
    let told: Vec<_> = cases.iter().map(|case| (case.case.as_str(), case.topology.strategy.name())).collect();
    assert_eq!(
        told,
        [
            ("WHO=Clark, strategy=flood", "flood"),
            ("WHO=Clark, strategy=direct", "direct"),
            ("WHO=Bona, strategy=flood", "flood"),
            ("WHO=Bona, strategy=direct", "direct"),
        ]
    );
    assert!(cases.iter().all(|case| case.steps.len() == 2));
    assert_eq!(cases[3].steps[1].shown.text, "restart Bona");
}

#[test]
fn a_matrix_chooses_when_servers_reply() {
    let text = format!(
        "title = 'x'\nreply = 'at-once'\n{HERD}[matrix]\nstrategy = ['flood', 'tree']\n\
         reply = ['neighbours', 'at-once']\n[[step]]\nreset = 'all'\n"
    );
    let cases = cases(&text).expect("it is right");
    let told: Vec<_> = cases.iter().map(|case| (case.case.as_str(), case.topology.reply)).collect();
    assert_eq!(
        told,
        [
            ("reply=neighbours, strategy=flood", Some(ReplyMode::Neighbours)),
            ("reply=neighbours, strategy=tree", Some(ReplyMode::Neighbours)),
            ("reply=at-once, strategy=flood", Some(ReplyMode::AtOnce)),
            ("reply=at-once, strategy=tree", Some(ReplyMode::AtOnce)),
        ]
    );
}

#[test]
fn a_matrix_takes_only_words_that_its_keys_can_be() {
    let text =
        format!("title = 'x'\n{HERD}[matrix]\nstrategy = ['gossip']\nreply = ['neighbors']\n[[step]]\nreset = 'all'\n");
    insta::assert_snapshot!(refused(&text), @r#"
    error: `strategy` cannot be `gossip`
     --> f.toml:3:2
      |
    3 | [matrix]
      |  ^^^^^^
      |
      = help: use "direct", "flood", "flood-sync" or "tree"

    error: `reply` cannot be `neighbors`
     --> f.toml:3:2
      |
    3 | [matrix]
      |  ^^^^^^
      |
      = help: did you mean `neighbours`?
    "#);
}

#[test]
fn what_could_never_be_seen_cannot_be_asserted() {
    let told = refused(&format!(
        "title = 'x'\n{HERD}[[step]]\nreset = 'all'\n\
         [expect]\nno_lost = true\nread_your_writes = true\nhealed_within = '1s'\n'propagation max' = '<1s'\n"
    ));
    for title in [
        "`no_lost` could never be seen to hold",
        "`read_your_writes` could never be seen to hold",
        "`propagation max` could never be seen to hold",
    ] {
        assert!(told.contains(title), "{title}\n{told}");
    }
    assert!(!told.contains("`healed_within` could"), "{told}");
    let told = refused(&format!("title = 'x'\n{HERD}[[step]]\nwait = '1s'\nat = '1s'\n"));
    assert!(told.contains("`wait` keeps the steps after it waiting, so it is done in its turn"), "{told}");
}

#[test]
fn steps_with_a_time_are_checked_in_the_order_of_their_times() {
    let text = |kill: u32, start: u32| {
        let (kill, start) = (format!("at = '{kill}s'\nkill = 'Bona'"), format!("at = '{start}s'\nstart = 'Bona'"));
        format!("title = 'x'\n{HERD}[[step]]\n{start}\n[[step]]\n{kill}\n")
    };
    assert!(cases(&text(1, 2)).is_ok());
    assert!(refused(&text(2, 1)).contains("Bona runs"));
}

#[test]
fn an_included_file_gives_its_steps_and_its_mistakes_are_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("it can be written");
    write("setup.toml", "[[step]]\nkill = 'Clark'\n");
    write("main.toml", &format!("title = 'x'\ninclude = ['setup.toml']\n{HERD}[[step]]\nstart = 'Clark'\n"));
    let load = || load(&directory.path().join("main.toml"), &Variables::new(), &Overrides::default());
    let script = load().expect("it is right").scripts.remove(0);
    assert_eq!(
        script.steps.iter().map(|step| step.shown.text.as_str()).collect::<Vec<_>>(),
        ["kill Clark", "start Clark"]
    );
    assert!(script.steps[0].shown.file.is_some() && script.steps[1].shown.file.is_none());
    write("setup.toml", "[[step]]\nkill = 'Clrk'\n");
    let told = load().expect_err("it is wrong").to_string();
    assert!(told.contains("setup.toml:2:8: error: unknown server `Clrk` (did you mean `Clark`?)"), "{told}");
}

#[test]
fn includes_may_include_and_never_themselves() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("it can be written");
    write("main.toml", &format!("title = 'x'\ninclude = ['a.toml']\n{HERD}"));
    write("a.toml", "include = ['b.toml']\n[[step]]\nstart = 'Clark'\n");
    write("b.toml", "[[step]]\nkill = 'Clark'\n");
    let load = || load(&directory.path().join("main.toml"), &Variables::new(), &Overrides::default());
    assert_eq!(load().expect("it is right").scripts[0].steps.len(), 2);
    write("b.toml", "title = 'nothing to do'\n");
    assert!(load().is_ok());
    write("b.toml", "include = ['main.toml']\n");
    let told = load().expect_err("it is wrong").to_string();
    assert!(told.contains("main.toml includes itself"), "{told}");
}

#[test]
fn the_command_line_takes_its_variables_out_of_the_matrix() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("f.toml");
    let text = format!(
        "title = 'x'\n{HERD}[matrix]\nstrategy = ['flood', 'direct']\nreply = ['at-once']\nN = [1, 2]\n\
         [[step]]\nreset = 'all'\nrepeat = ${{N}}\n"
    );
    std::fs::write(&file, text).expect("it can be written");
    let (strategy, reply) = (Some(Strategy::FloodSync), Some(ReplyMode::Neighbours));
    let overrides = Overrides { strategy, reply, seed: None };
    let given = Variables::from([("N".to_owned(), "7".to_owned())]);
    let cases = load(&file, &given, &overrides).expect("it is right").scripts;
    let topology = &cases[0].topology;
    assert_eq!((cases.len(), cases[0].case.as_str()), (1, ""));
    assert_eq!((Some(topology.strategy), topology.reply), (strategy, reply));
}

#[test]
fn a_whole_scenario_may_be_a_counterexample() {
    let text = |expect: &str| format!("title = 'x'\nexpect = '{expect}'\n{HERD}[[step]]\nkill = 'Clark'\n");
    let script = cases(&text("violated: converged")).expect("it is right").remove(0);
    assert!(script.checks.iter().any(|check| check.inverted && check.assertion.name() == "converged"));
    assert!(refused(&text("violated: convergd")).contains("did you mean `converged`?"));
}

#[test]
fn what_cannot_follow_is_refused_and_what_may_follow_is_not() {
    let steps = |steps: &[&str]| {
        let steps: String = steps.iter().map(|step| format!("[[step]]\n{step}\n")).collect();
        cases(&format!("title = 'x'\ndeadline = '1s'\n{HERD}{steps}"))
    };
    for wrong in [
        &["kill = 'Clark'", "stop = 'Clark'"][..],
        &["kill = 'Clark'", "start = 'Clark'", "start = 'Clark'"],
        &["cut = 'all'", "heal = 'all'", "heal = 'all'"],
        &["wait = '600ms'", "wait = '600ms'"],
        &["kill = 'Clark'\nat = '2s'"],
    ] {
        assert!(steps(wrong).is_err(), "{wrong:?}");
    }
    for right in [
        &["kill = 'Clark'\nfor = '10ms'", "kill = 'Clark'"][..],
        &["kill = 'Clark'\nat = '10ms'", "start = 'Clark'", "start = 'Clark'"],
        &["hold = 'all'", "heal = 'all'"],
        &["wait = '600ms'"],
    ] {
        assert!(steps(right).is_ok(), "{right:?}");
    }
}

#[test]
fn a_way_is_slowed_in_any_way_that_a_link_can_be_slow() {
    let keys = "latency = '1ms', jitter = '2ms', distribution = { log-normal = 0.5 }, bandwidth = '64kB/s'";
    let text = format!("title = 'x'\n{HERD}[[step]]\nslow = {{ link = ['Clark', 'Bona'], {keys} }}");
    let scripts = cases(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let Task::Herd(verb) = &scripts[0].steps[0].task else { panic!("{:?}", scripts[0].steps[0].task) };
    let delay = Delay {
        latency: Duration::from_millis(1),
        jitter: Duration::from_millis(2),
        distribution: Distribution::LogNormal { sigma_percent: 50 },
        bandwidth: Bandwidth::from_bytes_a_second(64_000),
    };
    let slow = WayVerb::Slow(Slowness { delay, rate: None });
    assert!(matches!(verb, Verb::Ways { verb, .. } if *verb == slow), "{verb:?}");
}

#[test]
fn a_way_that_is_not_slowed_is_told_so() {
    let slow = |keys: &str| refused(&format!("title = 'x'\n{HERD}[[step]]\nslow = {{ link = 'all', {keys} }}"));
    insta::assert_snapshot!(slow("latency = '0s'"), @"
    error: this slows nothing
     --> f.toml:4:8
      |
    4 | slow = { link = 'all', latency = '0s' }
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: give `latency`, `jitter`, `bandwidth` or `rate`
    ");
    insta::assert_snapshot!(slow("latency = '1s', distribution = 'exponential'"), @"
    error: there is no jitter that could be distributed
     --> f.toml:4:40
      |
    4 | slow = { link = 'all', latency = '1s', distribution = 'exponential' }
      |                                        ^^^^^^^^^^^^
      |
      = help: give `jitter`, or remove `distribution`
    ");
    insta::assert_snapshot!(slow("bandwidth = 'thin'"), @r#"
    error: `bandwidth` is not a bandwidth
     --> f.toml:4:36
      |
    4 | slow = { link = 'all', bandwidth = 'thin' }
      |                                    ^^^^^^
      |
      = help: write a number and its unit, such as "64kB/s", "1.5MB/s" or "10Mbit/s"
    "#);
    insta::assert_snapshot!(slow("bandwidth = '0kB/s', distribution = 'norml'"), @r#"
    error: `bandwidth` must be from 1 B/s to 1000 GB/s
     --> f.toml:4:36
      |
    4 | slow = { link = 'all', bandwidth = '0kB/s', distribution = 'norml' }
      |                                    ^^^^^^^
      |
      = help: write a number and its unit, such as "64kB/s", "1.5MB/s" or "10Mbit/s"

    error: `distribution` cannot be `norml`
     --> f.toml:4:60
      |
    4 | slow = { link = 'all', bandwidth = '0kB/s', distribution = 'norml' }
      |                                                            ^^^^^^^
      |
      = help: use "uniform", "exponential" or "log-normal"
    "#);
}

/// The keys that the schema knows are the keys that the reader asks for.
#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("it is JSON");
    let keys = |name: &str| {
        let table = if name.is_empty() { &schema } else { &schema["definitions"][name] };
        let mut keys: Vec<_> = table["properties"].as_object().expect("it has keys").keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    let step = |inside: &str| format!("title = 'x'\n{HERD}[[step]]\n{inside}");
    for (definition, text) in [
        ("", format!("title = 'x'\nnever-a-key = 1\n{HERD}")),
        ("Step", step("wait = '1s'\nnever-a-key = 1\n")),
        ("Iamat", step("iamat = { client = 'a', at = '+1+1', via = 'Clark', never-a-key = 1 }")),
        ("Whatsat", step("whatsat = { client = 'a', via = 'Clark', never-a-key = 1 }")),
        ("Send", step("send = { line = 'a', via = 'Clark', never-a-key = 1 }")),
        ("Expect", step("send = { line = 'a', via = 'Clark', expect = { never-a-key = 1 } }")),
        ("Close", step("close = { via = 'Clark', never-a-key = 1 }")),
        ("Workload", step("workload = { rate = 1, count = 1, never-a-key = 1 }")),
        ("Slow", step("slow = { link = 'all', rate = 1, never-a-key = 1 }")),
        ("Reset", step("reset = { link = 'all', never-a-key = 1 }")),
        ("Clock", step("clock = { server = 'Clark', offset = '1s', never-a-key = 1 }")),
        (
            "Partition",
            step("partition = { groups = [['Clark']], mode = 'hold-then-cut', after = '1s', never-a-key = 1 }"),
        ),
    ] {
        let said = refused(&text);
        let list = said.lines().find(|line| line.contains("known here: ")).unwrap_or_else(|| panic!("{said}"));
        let mut listed: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        listed.sort_unstable();
        assert_eq!(listed, keys(definition), "{definition}");
    }
}
