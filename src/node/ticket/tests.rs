//! Herds of nodes alone, with lines and acknowledgements in every order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;
use crate::config::{LinkMode, Redial, Strategy};
use crate::node::{Input, Node, NodeConfig, Output, Rules};
use crate::wire::{Line, PosixTime, parse};

/// A server, and one of its links.
type Port = (usize, LinkId);

/// Nodes whose links are up, and everything that is on its way between them.
struct Herd {
    nodes: Vec<Node>,
    /// The other end of each link.
    ends: BTreeMap<Port, Port>,
    /// Lines on their way, with their numbers, by the port of their writer.
    lines: BTreeMap<Port, VecDeque<(u64, Line)>>,
    /// Acknowledgements on their way to the writer, which any order is right for.
    acks: Vec<(Port, u64)>,
    /// What the tickets of a server are for: a client's update, or a line that came from a port.
    tickets: BTreeMap<(usize, Ticket), Asker>,
    next: u32,
    /// By client, how many updates wait for their replies, and whether there have been two at once since there were none.
    waiting: BTreeMap<usize, (u32, bool)>,
}

#[derive(Clone, Copy)]
enum Asker {
    Client(usize, u32),
    Line(Port, u64),
}

impl Herd {
    fn new(strategy: Strategy, servers: usize, links: &[(usize, usize)]) -> Self {
        let mut ends = BTreeMap::new();
        let mut degrees = vec![0; servers];
        let mut port = |server: usize| {
            degrees[server] += 1;
            (server, LinkId(degrees[server] - 1))
        };
        for &(one, other) in links {
            let (one, other) = (port(one), port(other));
            ends.extend([(one, other), (other, one)]);
        }
        let rules = Arc::new(Rules {
            strategy,
            redial: Redial::default(),
            max_records: 100,
            max_line: 1024,
            servers: (0..servers).map(|server| format!("S{server}").into()).collect(),
            reply: ReplyMode::Everywhere,
            reply_limit: Duration::from_secs(1),
        });
        let node = |server: usize| {
            let mut node = Node::new(NodeConfig {
                name: format!("S{server}").into(),
                rules: rules.clone(),
                links: vec![LinkMode::Persistent; degrees[server] as usize],
                clock_offset: 0,
                handshake: None,
            });
            node.handle(Timestamp::EPOCH, Input::Started, &mut Vec::new());
            let links = (0..degrees[server]).map(LinkId);
            links.for_each(|link| node.handle(Timestamp::EPOCH, Input::LinkOpened(link), &mut Vec::new()));
            node
        };
        Self {
            nodes: (0..servers).map(node).collect(),
            lines: ends.keys().map(|&port| (port, VecDeque::new())).collect(),
            ends,
            acks: Vec::new(),
            tickets: BTreeMap::new(),
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    fn ticket(&mut self, server: usize, asker: Asker) -> Ticket {
        self.next += 1;
        self.tickets.insert((server, Ticket(self.next)), asker);
        Ticket(self.next)
    }

    /// A client says where it is.
    fn update(&mut self, server: usize, client: usize, time: u32) {
        let line = format!("IAMAT c{client} +1+1 {time}");
        self.handle(server, Input::Command { command: parse(line.as_bytes()), from: None });
        let ticket = self.ticket(server, Asker::Client(client, time));
        let (count, were_two) = self.waiting.entry(client).or_default();
        *count += 1;
        *were_two |= *count > 1;
        if !self.nodes[server].hold(Timestamp::EPOCH, ticket) {
            self.settled(server, ticket);
        }
        self.settle(server);
    }

    fn handle(&mut self, server: usize, input: Input<'_>) {
        let mut outputs = Vec::new();
        self.nodes[server].handle(Timestamp::EPOCH, input, &mut outputs);
        assert!(!outputs.contains(&Output::Refuse));
    }

    /// A server writes the next line that it owes over a link.
    fn write(&mut self, port: Port) -> bool {
        let line = self.nodes[port.0].next_line(port.1);
        let number = self.nodes[port.0].line_number(port.1);
        let is_some = line.is_some();
        self.lines.get_mut(&port).unwrap().extend(line.map(|line| (number, line)));
        self.settle(port.0);
        is_some
    }

    /// The next line that was written on a link arrives.
    fn read(&mut self, writer: Port) -> bool {
        let Some((number, line)) = self.lines.get_mut(&writer).unwrap().pop_front() else { return false };
        let (server, link) = self.ends[&writer];
        self.handle(server, Input::Command { command: parse(line.text().as_bytes()), from: Some(link) });
        let ticket = self.ticket(server, Asker::Line(writer, number));
        if !self.nodes[server].hold_heard(Timestamp::EPOCH, ticket, Some(link)) {
            self.settled(server, ticket);
        }
        self.settle(server);
        true
    }

    /// An acknowledgement arrives.
    fn acknowledge(&mut self, which: usize) -> bool {
        if self.acks.is_empty() {
            return false;
        }
        let (writer, number) = self.acks.swap_remove(which % self.acks.len());
        self.handle(writer.0, Input::Taken { link: writer.1, lines: number..=number });
        self.settle(writer.0);
        true
    }

    fn settle(&mut self, server: usize) {
        while let Some((ticket, how)) = self.nodes[server].settled() {
            assert_eq!(how, Settled::Taken);
            self.settled(server, ticket);
        }
    }

    fn settled(&mut self, server: usize, ticket: Ticket) {
        match self.tickets.remove(&(server, ticket)).unwrap() {
            Asker::Line(writer, number) => self.acks.push((writer, number)),
            Asker::Client(client, time) => {
                let (count, were_two) = self.waiting.get_mut(&client).unwrap();
                let time = PosixTime::parse(&time.to_string()).unwrap();
                let holds = |node: &Node| {
                    let held = node.find(&format!("c{client}"));
                    held.is_some_and(|held| held.report.at().time() >= time)
                };
                assert!(*were_two || self.nodes.iter().all(holds));
                *count -= 1;
                if *count == 0 {
                    self.waiting.remove(&client);
                }
            }
        }
    }

    /// Lets everything happen that is under way.
    fn rest(&mut self) {
        let ports: Vec<Port> = self.ends.keys().copied().collect();
        loop {
            let mut moved = self.acknowledge(0);
            for &port in &ports {
                moved |= self.write(port);
                moved |= self.read(port);
            }
            if !moved {
                return;
            }
        }
    }
}

/// Pairs of servers.
type Links = Vec<(usize, usize)>;

/// What happens next: an update, a line written, a line read, an acknowledgement that arrives; and where.
type Step = (u8, usize, usize);

/// A connected herd, and what happens to it.
fn herd_and_steps() -> impl proptest::strategy::Strategy<Value = (usize, Links, Vec<Step>)> {
    (2..6_usize).prop_flat_map(|servers| {
        let tree: Vec<_> = (1..servers).map(|server| (0..server).prop_map(move |parent| (parent, server))).collect();
        let more = proptest::collection::vec((0..servers, 0..servers), 0..6);
        let links = (tree, more).prop_map(|(mut links, more)| {
            for (one, other) in more {
                let link = (one.min(other), one.max(other));
                if one != other && !links.contains(&link) {
                    links.push(link);
                }
            }
            links
        });
        (Just(servers), links, proptest::collection::vec((0..10_u8, 0..100_usize, 0..100_usize), 0..300))
    })
}

proptest! {
    #[test]
    fn every_reply_comes_and_then_every_server_has_the_update((servers, links, steps) in herd_and_steps()) {
        for strategy in [Strategy::Flood, Strategy::FloodSync] {
            let mut herd = Herd::new(strategy, servers, &links);
            let ports: Vec<Port> = herd.ends.keys().copied().collect();
            for (step, &(kind, which, other)) in (1..).zip(&steps) {
                match kind {
                    // Sometimes one that is older than what is known.
                    0 | 1 => herd.update(which % servers, other % 6, (step * 10_u32).saturating_sub(other as u32 % 70)),
                    2..=4 => drop(herd.write(ports[which % ports.len()])),
                    5..=7 => drop(herd.read(ports[which % ports.len()])),
                    _ => drop(herd.acknowledge(which)),
                }
            }
            herd.rest();
            prop_assert!(herd.waiting.is_empty() && herd.tickets.is_empty(), "{:?} wait", herd.waiting);
            let at_rest = |node: &Node| node.held() == 0 && node.deadline().is_none();
            prop_assert!(herd.nodes.iter().all(at_rest));
        }
    }
}

/// Three servers in a ring, with an update at each: cumulative acknowledgements lock it.
#[test]
fn a_ring_does_not_lock() {
    let mut herd = Herd::new(Strategy::Flood, 3, &[(0, 1), (1, 2), (0, 2)]);
    (0..3).for_each(|server| herd.update(server, server, 1));
    let ports: Vec<Port> = herd.ends.keys().copied().collect();
    for &port in &ports {
        while herd.write(port) {}
    }
    for &port in &ports {
        while herd.read(port) {}
    }
    assert_eq!((herd.waiting.len(), herd.nodes[0].held()), (3, 1));
    herd.rest();
    assert!(herd.waiting.is_empty());
}

/// A line comes back to where it began, where a newer version is known by now.
#[test]
fn what_comes_back_in_a_ring_does_not_wait_for_the_newer_version() {
    let mut herd = Herd::new(Strategy::Flood, 3, &[(0, 1), (1, 2), (2, 0)]);
    let around = [(0, LinkId(0)), (1, LinkId(1)), (2, LinkId(1))];
    herd.update(0, 0, 1);
    for port in around {
        assert!(herd.write(port));
        if port.0 == 2 {
            herd.update(0, 0, 2);
        }
        assert!(herd.read(port));
    }
    while herd.acknowledge(0) {}
    let waits = |server: usize| herd.nodes[server].deadline().is_some();
    assert_eq!([0, 1, 2].map(waits), [true, false, false]);
    herd.rest();
    assert!(herd.waiting.is_empty());
}

#[test]
fn more_tickets_than_there_is_room_for_let_the_oldest_go() {
    let mut herd = Herd::new(Strategy::Flood, 2, &[(0, 1)]);
    let line = "IAMAT a +1+1 1";
    for number in 0..=MOST as u32 {
        herd.handle(0, Input::Command { command: parse(line.as_bytes()), from: None });
        assert!(herd.nodes[0].hold(Timestamp::EPOCH, Ticket(number)));
    }
    assert_eq!(herd.nodes[0].settled(), Some((Ticket(0), Settled::Overdue)));
    assert_eq!((herd.nodes[0].settled(), herd.nodes[0].held()), (None, MOST));
}
