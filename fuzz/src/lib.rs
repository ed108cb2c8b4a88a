//! What is done with arbitrary bytes, and what must hold of it. Herdsim's own tests replay the corpus through these.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use herdsim::config::{self, LinkId, LinkMode, Redial, ReplyMode, Strategy, Topology};
use herdsim::draws::Draws;
use herdsim::node::{Handshake, Input, Node, NodeConfig, Peer, Rules, Ticket};
use herdsim::scenario::{self, Overrides, Variables};
use herdsim::time::Timestamp;
use herdsim::wire::{Command, Control, ControlLine, Report, Version, lines, parse};

/// The parser returns for any bytes, and a report or a control line that is read back is the same.
pub fn wire(data: &[u8]) {
    for line in lines(data, true) {
        match parse(line) {
            Command::At(at) => {
                let report = at.to_report();
                assert!(matches!(parse(report.line().as_bytes()), Command::At(again) if again.to_report() == report));
                let (latitude, longitude) = at.degrees();
                assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0);
                assert!(at.version_cmp(at).is_eq());
                assert!(Version::of(at).is_covered_by(at));
            }
            Command::Control(control) => is_read_back(control),
            _ => {}
        }
    }
}

fn is_read_back(control: Control<'_>) {
    const LIMIT: usize = usize::MAX;
    let line = match control {
        Control::Have(versions) => {
            let mut line = ControlLine::have();
            versions.iter().for_each(|version| assert!(line.push_version(version, LIMIT)));
            line
        }
        Control::Want(names) | Control::Prune(names) => {
            let is_want = matches!(control, Control::Want(_));
            let mut line = if is_want { ControlLine::want() } else { ControlLine::prune() };
            names.iter().for_each(|name| assert!(line.push_name(name, LIMIT)));
            line
        }
        Control::Hello { name, secret } => ControlLine::hello(name, secret),
        Control::Proof { secret, own } => ControlLine::proof(secret, own),
        Control::Welcome { secret } => ControlLine::welcome(secret),
        Control::Acknowledge { everywhere } => ControlLine::acknowledge(everywhere),
        Control::Took(taken) => {
            let mut line = ControlLine::took();
            taken.iter().for_each(|lines| assert!(line.push_lines(&lines, LIMIT)));
            line
        }
    };
    let Command::Control(again) = parse(line.text().as_bytes()) else { panic!("{line:?}") };
    match (control, again) {
        (Control::Have(one), Control::Have(other)) => assert!(one.iter().eq(other.iter())),
        (Control::Want(one), Control::Want(other)) | (Control::Prune(one), Control::Prune(other)) => {
            assert!(one.iter().eq(other.iter()));
        }
        (Control::Took(one), Control::Took(other)) => assert!(one.iter().eq(other.iter())),
        (one, other) => assert_eq!(one, other),
    }
}

/// A topology file gives a topology or says what is wrong.
pub fn herd_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::parse("herd.toml", text) {
        Ok(loaded) => is_sound(&loaded.topology),
        Err(problems) => assert!(!problems.problems().is_empty() && !problems.to_string().is_empty()),
    }
}

fn is_sound(topology: &Topology) {
    assert!(!topology.servers.is_empty());
    for link in &topology.links {
        assert!(link.ends[0] != link.ends[1] && link.ends.iter().all(|end| end.index() < topology.servers.len()));
    }
}

/// A scenario file gives scripts or says what is wrong. Files that name other files are left alone.
pub fn scenario_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("include") || text.contains("generate") {
        return;
    }
    match scenario::parse(Path::new("none/scenario.toml"), text, &Variables::new(), &Overrides::default()) {
        Ok(cases) => assert!(!cases.scripts.is_empty()),
        Err(problems) => assert!(!problems.problems().is_empty() && !problems.to_string().is_empty()),
    }
}

/// A node survives any inputs, in any order. What it knows never goes back, no link owes more than twice that, every line that it
/// sends can be read, and every reply that waits is let go once.
pub fn node(data: &[u8]) {
    let redial =
        Redial { first: Duration::from_millis(1), cap: Duration::from_millis(8), timeout: Duration::from_secs(1) };
    let strategy = Strategy::ALL[data.first().map_or(0, |&byte| usize::from(byte) % Strategy::ALL.len())];
    let reply = ReplyMode::ALL[data.len() % ReplyMode::ALL.len()];
    let peer = |name: &str| Peer { name: name.into(), secrets: Draws::new(1, 0) };
    let handshake = Handshake { name: "S".into(), peers: ["O", "T", "U"].map(peer).into() };
    let is_alone = data.len().is_multiple_of(2);
    let mut node = Node::new(NodeConfig {
        name: "S".into(),
        rules: Arc::new(Rules {
            strategy,
            redial,
            max_records: 5,
            max_line: 128,
            servers: ["O".into(), "S".into()].into(),
            reply,
            reply_limit: Duration::from_millis(20),
        }),
        links: vec![LinkMode::Persistent, LinkMode::Persistent, LinkMode::PerMessage],
        clock_offset: 0,
        handshake: Some(handshake).filter(|_| is_alone),
    });
    let mut now = Timestamp::EPOCH;
    let mut outputs = Vec::new();
    let mut newest: Vec<Arc<Report>> = Vec::new();
    let (mut waiting, mut lines) = (BTreeSet::new(), BTreeSet::new());
    for (ticket, step) in (0..).map(Ticket).zip(data.chunks(4)) {
        let [kind, link, client, time] = std::array::from_fn(|place| step.get(place).copied().unwrap_or(0));
        let link = LinkId(u32::from(link) % 3);
        // A link of one line a connection is always up, as drivers see to.
        let dialled = LinkId(link.0 % 2);
        let line = match kind % 2 {
            0 => format!("AT O +0.1 c{} +1+1 {}", client % 7, time % 16),
            _ => format!("IAMAT c{} +1+1 {}", client % 7, time % 16),
        };
        let control = match time % 3 {
            0 => format!("HERD 1 have c{} {} O {:016x}", client % 7, time % 16, client),
            1 => format!("HERD 1 want c{} c{}", client % 7, time % 7),
            _ if client % 2 == 0 => "HERD 1 acknowledge everywhere".to_owned(),
            _ => "HERD 1 prune O S T".to_owned(),
        };
        now = now + Duration::from_micros(u64::from(time) * 50);
        let input = match kind % 13 {
            0 => Input::LinkOpened(dialled),
            1 => Input::LinkLost(dialled),
            2 => Input::DialFailed(dialled),
            3 => Input::NeighbourSeen(link),
            4 => Input::NeighbourGone(link),
            5 => Input::Deadline,
            6 => Input::Started,
            7 => Input::ClockSet(i64::from(time) - 128),
            8 => Input::Command { command: parse(control.as_bytes()), from: Some(link).filter(|_| client % 5 != 0) },
            _ => Input::Command { command: parse(line.as_bytes()), from: Some(link).filter(|_| client % 3 != 0) },
        };
        outputs.clear();
        node.handle(now, input, &mut outputs);
        if kind % 7 == 0 && node.hold(now, ticket) {
            waiting.insert(ticket);
        } else if kind % 7 == 1 && node.hold_heard(now, ticket, Some(link).filter(|_| time % 3 != 0)) {
            lines.insert(ticket);
        }
        if kind % 5 == 0 {
            while let Some(line) = node.next_line(link) {
                assert!(line.text().len() <= 128 && !matches!(parse(line.text().as_bytes()), Command::Invalid(_)));
            }
        }
        if client % 3 == 0 {
            let lines = u64::from(time)..=u64::from(time) + u64::from(client % 4);
            node.handle(now, Input::Taken { link, lines }, &mut outputs);
        }
        while let Some((ticket, _)) = node.settled() {
            assert!(waiting.remove(&ticket) || lines.remove(&ticket));
        }
        assert_eq!(node.held(), waiting.len());
        assert!(node.records().len() <= 5);
        for link in (0..3).map(LinkId) {
            // Records, and lines of five kinds that are made when they are written.
            assert!(node.owed(link) <= 2 * node.records().len() + 5);
        }
        let known: Vec<_> = node.records().map(|record| record.report.clone()).collect();
        for (before, after) in newest.iter().zip(&known) {
            assert!(after.at().version_cmp(before.at()).is_ge());
        }
        newest = known;
    }
}
