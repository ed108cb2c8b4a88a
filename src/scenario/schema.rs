//! The JSON Schema of scenario files, for editors.
//!
//! Its types are never made: files are read key by key, and a test sees to it that both know the same keys.

#![expect(dead_code, reason = "the types stand for what a file may hold; nothing ever holds one")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{Keys, LineKind};
use crate::act::{ServerVerb, Spec, Takes, WayVerb};
use crate::claim::ConvergedMode;
use crate::config::{self, DelayKeys, ReplyMode, Strategy};
use crate::diagnostic::{DurationText, OneOf};
use crate::history::DriverKind;

/// A duration, as its text.
type Time = DurationText;
/// A server, or several.
type Servers = OneOf<String, Vec<String>>;
/// `"a->b"` or `"a:b"`, `["a", "b"]` for both ways, `"all"`, or a list of links.
type Links = OneOf<String, Vec<OneOf<String, Vec<String>>>>;

/// What is done to a herd, and what must come of it.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "herdsim scenario")]
struct Scenario {
    /// What it shows, in one sentence.
    title: String,
    /// What one learns from it.
    teaches: Option<String>,
    /// The herd: a file, by its path from here, or a herd in place.
    herd: OneOf<String, config::RawHerd>,
    /// How updates travel, instead of what the herd says.
    strategy: Option<Strategy>,
    /// When a server answers a client's IAMAT, instead of what the herd says.
    reply: Option<ReplyMode>,
    /// Of every random draw, instead of what the herd says.
    seed: Option<u64>,
    /// How long it may take.
    deadline: Option<Time>,
    /// What it can run on; both unless given.
    drivers: Option<Vec<DriverKind>>,
    /// Whether single lines may be dropped and doubled, which TCP does not do.
    unrealistic: Option<bool>,
    /// Whether what holds of every herd is asserted, too: no_invention, monotone, ack_local, reply_exact, no_echo. It is
    /// unless this is false.
    always: Option<bool>,
    /// Values for `${NAME}`, unless the command line gives others.
    variables: Option<BTreeMap<String, serde_json::Value>>,
    /// Several values for a variable, or for `strategy`, `reply` and `seed`: one case for each choice.
    matrix: Option<BTreeMap<String, Vec<serde_json::Value>>>,
    /// Other scenarios, whose steps come first.
    include: Option<Vec<String>>,
    /// What is done, in order.
    step: Option<Vec<Step>>,
    /// What must hold at the end: assertions by name, and limits such as `"propagation p(95)" = "<50ms"`.
    /// For a lone counterexample also `"violated: NAME"`.
    expect: Option<OneOf<String, BTreeMap<String, serde_json::Value>>>,
}

/// One thing, and when it is done.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Step {
    /// A client says where it is.
    iamat: Option<Iamat>,
    /// Somebody asks what is near a client.
    whatsat: Option<Whatsat>,
    /// Somebody sends any line.
    send: Option<Send>,
    /// A client hangs up.
    close: Option<Close>,
    /// Many clients talk at a steady rate.
    workload: Option<Workload>,
    /// The verbs of [`crate::act`]: one key for each row of their table.
    #[serde(flatten)]
    verbs: Verbs,
    /// Waits until the herd is "quiescent", all that is planned is "done", or something has happened.
    until: Option<OneOf<String, Milestone>>,
    /// Waits.
    wait: Option<Time>,
    /// What must hold at this moment.
    check: Option<Check>,
    /// What must hold from here on.
    assert: Option<Check>,
    /// Done so long after the scenario began; the steps after it are not kept waiting.
    at: Option<Time>,
    /// Done so long after its turn; the steps after it are not kept waiting.
    after: Option<Time>,
    /// Done when this has happened; the steps after it are not kept waiting.
    when: Option<Milestone>,
    /// Mended by itself after so long.
    #[serde(rename = "for")]
    lasting: Option<Time>,
    /// How long it may take; 10s unless given.
    deadline: Option<Time>,
    /// Done so often.
    repeat: Option<u32>,
}

/// The keys that do something to the herd. Their words come from the table of verbs.
struct Verbs;

impl JsonSchema for Verbs {
    fn schema_name() -> Cow<'static, str> {
        "Verbs".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for spec in Spec::all() {
            let mut value = match spec.takes {
                Takes::Servers if *spec == *ServerVerb::Clock(0).spec() => generator.subschema_for::<Option<Clock>>(),
                Takes::Servers => generator.subschema_for::<Option<Servers>>(),
                Takes::Ways => way_verb_schema(spec, generator),
                Takes::Groups => generator.subschema_for::<Option<OneOf<Vec<Vec<String>>, Partition>>>(),
            };
            value.insert("description".into(), format!("{}.", spec.help).into());
            properties.insert(spec.word.into(), value.into());
        }
        schemars::json_schema!({ "type": "object", "properties": properties })
    }
}

fn way_verb_schema(spec: &Spec, generator: &mut SchemaGenerator) -> Schema {
    match spec.way_verb() {
        Some(WayVerb::Slow(_)) => generator.subschema_for::<Option<Slow>>(),
        Some(WayVerb::Lose(_)) => generator.subschema_for::<Option<Lose>>(),
        Some(WayVerb::Reset { .. }) => generator.subschema_for::<Option<OneOf<Links, Reset>>>(),
        Some(WayVerb::Drop { .. } | WayVerb::Duplicate { .. }) => generator.subschema_for::<Option<SingleLine>>(),
        _ => generator.subschema_for::<Option<Links>>(),
    }
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Iamat {
    /// Any name without white space.
    client: String,
    /// Latitude and longitude with both signs.
    at: String,
    /// POSIX seconds; the present time unless given.
    time: Option<String>,
    /// How far the client's clock is ahead.
    ahead: Option<Time>,
    via: String,
    session: Option<String>,
    expect: Option<OneOf<String, Expect>>,
    finish: Option<bool>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Whatsat {
    client: String,
    /// Kilometres; 10 unless given.
    #[schemars(range(max = 50))]
    radius: Option<u8>,
    /// Places; 5 unless given.
    #[schemars(range(max = 20))]
    bound: Option<u8>,
    via: String,
    session: Option<String>,
    expect: Option<OneOf<String, Expect>>,
    finish: Option<bool>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Send {
    /// Sent with a line end.
    line: Option<String>,
    /// Sent as they are.
    bytes: Option<Vec<u8>>,
    via: String,
    session: Option<String>,
    expect: Option<OneOf<String, Expect>>,
    finish: Option<bool>,
}

/// What a reply must be like; a text is a pattern over its first line, with `*` and `?`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Expect {
    reply: Option<String>,
    server: Option<String>,
    client: Option<String>,
    location: Option<String>,
    time: Option<String>,
    status: Option<String>,
    results: Option<u8>,
    refused: Option<bool>,
    /// Whether no reply comes, because the connection ends or is not even made.
    lost: Option<bool>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Close {
    via: String,
    session: Option<String>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Workload {
    /// Commands a second.
    rate: f64,
    /// Commands in all.
    count: Option<u64>,
    /// How long it goes on.
    duration: Option<Time>,
    /// How many clients; 1 unless given.
    clients: Option<u32>,
    /// What their names begin with; `client` unless given.
    prefix: Option<String>,
    /// Servers they talk to; all unless given.
    via: Option<Servers>,
    /// Which part of the commands asks, 0 to 1; none unless given.
    reads: Option<f64>,
    keys: Option<Keys>,
    /// How likely a client goes to another server before it speaks, 0 to 1.
    moves: Option<f64>,
    /// Whether the steps after it are not kept waiting.
    background: Option<bool>,
}

/// What every line waits, on top of the link's own delay.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Slow {
    link: Links,
    #[serde(flatten)]
    delay: DelayKeys,
    /// Lines a second at most.
    rate: Option<u32>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    link: Links,
    /// Lines that still pass.
    after: Option<u64>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lose {
    way: Links,
    /// Share of the lines that is lost, such as `"5%"`.
    share: String,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct SingleLine {
    /// `"a->b"` or `"a:b"`.
    way: String,
    /// Which line from now, counted from 1.
    nth: Option<u64>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Clock {
    server: String,
    /// How far ahead; behind with a `-`.
    offset: Time,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Partition {
    groups: Vec<Servers>,
    mode: Option<Mode>,
    /// When the hold of `hold-then-cut` turns into a cut.
    after: Option<Time>,
}

/// The modes of a partition, as a file spells them.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Lines in flight are lost.
    Cut,
    /// Nothing is lost.
    Hold,
    /// Held, and cut after a while.
    HoldThenCut,
}

/// Either `record` or `lines`.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
struct Milestone {
    /// This client's newest acknowledged location is known..
    record: Option<String>,
    /// So many lines have gone by..
    lines: Option<u64>,
    kind: Option<LineKind>,
    /// ..to these servers, or on these links.
    on: Links,
    client: Option<String>,
}

/// One assertion by its name, with its parameters.
#[derive(JsonSchema)]
struct Check {
    /// Whether it must not hold.
    violated: Option<bool>,
    /// The servers it is about.
    on: Option<Servers>,
    /// Which version counts as converged, for `converged = { mode = .. }`.
    mode: Option<ConvergedMode>,
    #[serde(flatten)]
    assertion: BTreeMap<String, serde_json::Value>,
}

/// The JSON Schema (draft 7) of scenario files, with a final newline.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Scenario>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}
