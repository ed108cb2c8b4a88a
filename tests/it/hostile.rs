//! Clients that are hostile or unlucky, and that everybody else is served all the same.

use herdsim::act::{Action, ServerVerb, SessionId, Verb};
use herdsim::config::{Identity, Limits, ReplyMode, Topology};
use herdsim::control::api::FileAnswer;
use herdsim::control::owner::{Origin, Owner, Request};
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::Event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::*;

async fn limited(change: impl FnOnce(&mut Limits)) -> Herd {
    Herd::start(with(five_servers(), |topology| change(&mut topology.limits))).await
}

/// That a server answers somebody else.
async fn is_served(herd: &Herd) {
    assert_eq!(herd.ask(CLARK, b"HELLO\n").await, "? HELLO\n");
}

#[tokio::test]
async fn half_a_line_and_silence_keeps_nobody_waiting() {
    let herd = Herd::start(five_servers()).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        let mut stream = connect(herd.port(CLARK)).await;
        stream.write_all(b"IAMAT half").await.expect("the server reads");
        silent.push(stream);
    }
    is_served(&herd).await;
    // They are still there, and can go on.
    let mut last = silent.pop().expect("there are some");
    last.write_all(b" +1+1 1\n").await.expect("the server reads");
    let mut reply = [0; 64];
    let read = last.read(&mut reply).await.expect("the server answers");
    assert!(reply[..read].starts_with(b"AT Clark "));
}

#[tokio::test]
async fn clients_that_vanish_in_the_middle_of_a_line_leave_nothing_behind() {
    let mut herd = Herd::start(five_servers()).await;
    for _ in 0..500 {
        let mut stream = connect(herd.port(CLARK)).await;
        stream.write_all(b"IAMAT gone +1+1 1\nIAMAT half").await.expect("the server reads");
        stream.set_zero_linger().expect("it can be set");
    }
    is_served(&herd).await;
    herd.settle().await;
    assert!(herd.driver.records(CLARK).iter().all(|known| known.report.client() == "gone"));
}

#[tokio::test]
async fn a_flood_of_invalid_commands_is_answered_command_by_command() {
    let herd = Herd::start(five_servers()).await;
    let reply = herd.ask(CLARK, "NO\n".repeat(10_000).as_bytes()).await;
    assert_eq!(reply, "? NO\n".repeat(10_000));
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_another_ends() {
    let herd = limited(|limits| limits.connections = 10).await;
    // Two are its neighbours'.
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(herd.port(CLARK)).await;
        stream.write_all(b"X\n").await.expect("the server reads");
        stream.read_exact(&mut [0; 4]).await.expect("the server answers");
        held.push(stream);
    }
    let mut waiting = connect(herd.port(CLARK)).await;
    waiting.write_all(b"Y\n").await.expect("the system takes it");
    assert_eq!(herd.ask(BONA, b"X\n").await, "? X\n");
    let mut reply = [0; 4];
    assert_eq!(waiting.try_read(&mut reply).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
    held.pop();
    waiting.read_exact(&mut reply).await.expect("it is its turn");
    assert_eq!(&reply, b"? Y\n");
}

#[tokio::test]
async fn silent_connections_are_closed_when_a_limit_says_so_and_links_are_not() {
    let mut herd = limited(|limits| limits.idle = Some(std::time::Duration::from_millis(20))).await;
    let mut silent = connect(herd.port(CLARK)).await;
    assert_eq!(silent.read(&mut [0; 8]).await.expect("it is closed in order"), 0);
    herd.settle().await;
    assert_eq!(herd.driver.links_up(CLARK), 2);
    herd.say(CLARK, KIWI).await;
    assert_eq!(herd.holders("kiwi.cs.ucla.edu", "1621464827.959498503"), ALL);
}

#[tokio::test]
async fn a_storm_of_lines_about_ever_new_clients_fills_the_records_and_no_more() {
    let mut herd = limited(|limits| limits.records = 100).await;
    let storm: String = (0..5000).map(|n| format!("AT Nobody +0.1 c{n} +1+1 1\n")).collect();
    assert_eq!(herd.ask(JAQUEZ, storm.as_bytes()).await, "");
    herd.settle().await;
    for server in ALL {
        assert_eq!(herd.driver.records(server).len(), 100);
    }
    assert_eq!(herd.ask(CLARK, b"IAMAT new +1+1 1\n").await, "? IAMAT new +1+1 1\n");
    assert!(herd.ask(CLARK, b"IAMAT c1 +1+1 2\n").await.starts_with("AT Clark "));
}

#[tokio::test]
async fn a_neighbour_that_sends_garbage_is_refused_and_served() {
    let herd = Herd::start(five_servers()).await;
    let garbage =
        b"AT Bona\nAT Bona +0.1 a +91+1 1\nAT Bona x a +1+1 1\nAT Bona +0.1 a +1+1 1 7\nHERD 1 hello\n\xff\xfe\n";
    let mut stream = connect(herd.port(CLARK)).await;
    stream.write_all(garbage).await.expect("the server reads");
    stream.shutdown().await.expect("it is connected");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.expect("the server answers");
    let expected = garbage.split_inclusive(|&byte| byte == b'\n').flat_map(|line| [b"? ", line].concat());
    assert_eq!(reply, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_storm_of_connections_is_served_to_the_last() {
    let herd = Herd::start(five_servers()).await;
    let port = herd.port(CLARK);
    let mut storm = tokio::task::JoinSet::new();
    for number in 0..2000 {
        storm.spawn(async move { ask(port, format!("IAMAT s{number} +1+1 1").as_bytes()).await });
    }
    while let Some(reply) = storm.join_next().await {
        assert!(reply.expect("it ends").starts_with("AT Clark "));
    }
}

#[tokio::test]
async fn a_taken_port_is_named_together_with_its_server() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = taken.local_addr().expect("it has one").port();
    let topology = with(five_servers(), |topology| topology.servers[3].port = port);
    let error = start_fails(topology).await;
    assert!(error.starts_with(&format!("Clark cannot listen on 127.0.0.1:{port}: ")), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_this_machines_is_named() {
    let topology = with(five_servers(), |topology| topology.servers[0].host = "192.0.2.1".into());
    let error = start_fails(topology).await;
    assert!(error.starts_with("Bailey cannot listen on 192.0.2.1:0: "), "{error}");
}

#[tokio::test]
async fn too_few_descriptors_are_said_before_anything_starts() {
    let text = "[generate]\nshape = 'random-regular'\nn = 20000\ndegree = 100\n";
    let error = start_fails(herdsim::config::parse("big", text).expect("it is valid").topology).await;
    assert!(error.contains("needs 4060128 open files") && error.contains("ulimit -Hn"), "{error}");
}

#[tokio::test]
async fn a_line_as_long_as_allowed_is_taken_however_it_is_cut_and_ended() {
    let herd = limited(|limits| limits.line = 128).await;
    let mut stream = connect(herd.port(CLARK)).await;
    let line = "x".repeat(128);
    for byte in format!("{line}\r").bytes() {
        stream.write_all(&[byte]).await.expect("the server reads");
        tokio::task::yield_now().await;
    }
    is_served(&herd).await;
    stream.write_all(b"\n").await.expect("the server reads");
    let mut reply = [0; 131];
    stream.read_exact(&mut reply).await.expect("the server answers");
    assert_eq!(&reply, format!("? {line}\n").as_bytes());
}

#[tokio::test]
async fn a_client_that_takes_no_reply_is_hung_up_on_when_a_limit_says_so() {
    // Two are its neighbours', and one waits for whoever comes.
    let herd =
        limited(|limits| (limits.connections, limits.idle) = (3, Some(std::time::Duration::from_millis(50)))).await;
    let mut greedy = connect(herd.port(CLARK)).await;
    // More than the buffers of both ends hold.
    let commands = [&[b'X'; 999][..], b"\n"].concat().repeat(1 << 15);
    // It ends in an error when the server hangs up.
    let all = tokio::time::timeout(PATIENCE, greedy.write_all(&commands)).await.expect("it does not keep its place");
    assert!(all.is_err());
    is_served(&herd).await;
}

#[tokio::test]
async fn a_paused_server_does_not_hang_up_on_those_who_wait_for_it() {
    let mut herd = limited(|limits| limits.idle = Some(std::time::Duration::from_millis(20))).await;
    let mut client = connect(herd.port(CLARK)).await;
    client.write_all(b"X\n").await.expect("the server reads");
    let mut reply = [0; 4];
    client.read_exact(&mut reply).await.expect("the server answers");
    herd.apply(ServerVerb::Pause.on(CLARK)).await;
    let long = herd.driver.now() + std::time::Duration::from_millis(80);
    while herd.driver.next(Wait::Until(long)).await.seen().is_some() {}
    client.write_all(b"Y\n").await.expect("it is connected");
    herd.apply(ServerVerb::Resume.on(CLARK)).await;
    client.read_exact(&mut reply).await.expect("the server answers");
    assert_eq!(&reply, b"? Y\n");
}

/// Clark alone, and the link that it dialled to a neighbour which is no server of ours.
async fn clark_and_a_foreign_bona() -> (Herd, tokio::net::TcpStream) {
    clark_in(five_servers()).await
}

async fn clark_in(topology: Topology) -> (Herd, tokio::net::TcpStream) {
    let foreign = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = foreign.local_addr().expect("it has one").port();
    let topology = with(topology, |topology| topology.servers[BONA.index()].port = port);
    let herd = Herd::start_only(topology, CLARK).await;
    let (link, _) = foreign.accept().await.expect("Clark dials");
    (herd, link)
}

/// More than the sockets of a link take while nobody reads.
async fn tell_much(herd: &mut Herd) {
    for n in 0..20_000 {
        let line = format!("IAMAT {n}{} +1+1 1\n", "x".repeat(500));
        herd.apply(Action::Send { session: SessionId(0), server: CLARK, bytes: line.into(), finish: false }).await;
    }
    is_served(herd).await;
}

#[tokio::test]
async fn a_foreign_neighbour_that_babbles_or_does_not_read_is_told_everything_all_the_same() {
    let (mut herd, mut link) = clark_and_a_foreign_bona().await;
    for _ in 0..64 {
        link.write_all(&[b"\xff\0? AT IAMAT", &b"\n".repeat(64 << 10)[..]].concat())
            .await
            .expect("it is read and forgotten");
    }
    let mut garbage = connect(herd.port(CLARK)).await;
    garbage.write_all(b"AT Bona +0.1 a +91+1 1\nAT Bona").await.expect("the server reads");
    garbage.shutdown().await.expect("it is connected");
    let mut refusals = String::new();
    garbage.read_to_string(&mut refusals).await.expect("the server answers");
    assert_eq!(refusals, "? AT Bona +0.1 a +91+1 1\n? AT Bona\n");
    tell_much(&mut herd).await;
    let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(link));
    let mut clients = std::collections::BTreeSet::new();
    while clients.len() < 20_000 {
        let line = told.next_line().await.expect("Clark writes").expect("the link stays up");
        assert!(line.starts_with("AT Clark "), "{line}");
        clients.insert(line);
    }
}

#[tokio::test]
async fn a_foreign_neighbour_that_writes_while_it_does_not_read_blocks_nothing() {
    let (mut herd, mut link) = clark_and_a_foreign_bona().await;
    tell_much(&mut herd).await;
    for _ in 0..64 {
        link.write_all(&b"babble\n".repeat(64 << 10)).await.expect("Clark reads it and forgets it");
    }
}

/// A herd whose replies wait for much longer than a test.
fn patient(reply: ReplyMode) -> Topology {
    with(five_servers(), |topology| {
        topology.reply = Some(reply);
        topology.limits.reply = std::time::Duration::from_secs(20);
    })
}

fn acknowledged(herd: &Herd) -> usize {
    herd.seen.iter().filter(|seen| matches!(seen.event, Event::Acknowledged { overdue: false, .. })).count()
}

#[tokio::test]
async fn a_foreign_neighbour_that_acknowledges_nothing_keeps_no_reply_waiting() {
    let cases = [
        (ReplyMode::Neighbours, "? HERD 1 acknowledge\n"),
        (ReplyMode::Everywhere, "? HERD 1 acknowledge everywhere\n"),
    ];
    for (reply, answer) in cases {
        let (mut herd, mut link) = clark_in(patient(reply)).await;
        link.write_all(answer.as_bytes()).await.expect("it is read");
        for time in 1..4 {
            herd.send(CLARK, &format!("IAMAT kiwi +1+1 {time}")).await;
            herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
        }
        assert_eq!(acknowledged(&herd), 3);
    }
    // One that says nothing is waited for until the limit, and only once.
    let topology = with(patient(ReplyMode::Neighbours), |topology| {
        topology.limits.reply = std::time::Duration::from_millis(50);
    });
    let (mut herd, link) = clark_in(topology).await;
    let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(link));
    assert_eq!(told.next_line().await.unwrap().unwrap(), "HERD 1 acknowledge");
    let begun = herd.driver.now();
    while acknowledged(&herd) < 20 {
        let time = herd.driver.now().nanoseconds();
        herd.send(CLARK, &format!("IAMAT kiwi +1+1 {}", time / 1_000_000_000)).await;
        herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
        assert!(herd.driver.now().since(begun) < PATIENCE);
    }
}

#[tokio::test]
async fn a_foreign_neighbour_that_has_not_answered_yet_is_waited_for() {
    let (mut herd, link) = clark_in(patient(ReplyMode::Neighbours)).await;
    let (read, mut write) = link.into_split();
    let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(read));
    assert_eq!(told.next_line().await.unwrap().unwrap(), "HERD 1 acknowledge");
    herd.send(CLARK, "IAMAT kiwi +1+1 1").await;
    assert!(told.next_line().await.unwrap().unwrap().starts_with("AT Clark "));
    is_served(&herd).await;
    observe(&mut herd).await;
    assert_eq!(acknowledged(&herd), 0);
    write.write_all(b"? HERD 1 acknowledge\n").await.unwrap();
    herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
}

/// Takes what has been observed by now.
async fn observe(herd: &mut Herd) {
    let now = herd.driver.now();
    while let Some(seen) = herd.driver.next(Wait::Until(now)).await.seen() {
        herd.seen.push(seen);
    }
}

#[tokio::test]
async fn only_what_a_neighbour_acknowledges_lets_a_reply_go() {
    for reply in [ReplyMode::Neighbours, ReplyMode::Everywhere] {
        let (mut herd, link) = clark_in(patient(reply)).await;
        let (read, mut write) = link.into_split();
        let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(read));
        let question = told.next_line().await.unwrap().unwrap();
        assert_eq!(question.contains("everywhere"), reply == ReplyMode::Everywhere);
        write.write_all(b"HERD 1 took 1\n").await.unwrap();
        // More than the sockets take, so that Clark has read the line before.
        let babble = [
            &b"HERD 1 took 0\nHERD 1 took 3-2\nHERD 1 took 9-18446744073709551615 x\nHERD 1 took 2 -\nx"[..],
            &b"x".repeat(8 << 20),
            b"\n",
        ];
        let babble = babble.concat();
        write.write_all(&babble).await.unwrap();
        for number in 2..5 {
            herd.send(CLARK, &format!("IAMAT kiwi +1+1 {number}")).await;
            herd.until(|event| matches!(event, Event::Accepted { .. })).await;
            assert!(told.next_line().await.unwrap().unwrap().starts_with("AT Clark "));
            let nothing = format!("HERD 1 took 1\nHERD 1 took {}-99\n", number + 1);
            write.write_all(&[nothing.as_bytes(), &babble].concat()).await.unwrap();
            is_served(&herd).await;
            observe(&mut herd).await;
            assert_eq!(acknowledged(&herd), number - 2, "{reply:?}");
            write.write_all(format!("HERD 1 took {number}\n").as_bytes()).await.unwrap();
            herd.until(|event| matches!(event, Event::Acknowledged { .. })).await;
        }
        assert_eq!(acknowledged(&herd), 3, "{reply:?}");
    }
}

#[tokio::test]
async fn a_stranger_that_asks_is_told_what_became_of_its_lines_and_nothing_else_changes() {
    for reply in [ReplyMode::Neighbours, ReplyMode::Everywhere] {
        let (herd, link) = clark_in(patient(reply)).await;
        let mut told = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(link));
        let mut asked = connect(herd.port(CLARK)).await;
        asked
            .write_all(b"HERD 1 acknowledge\nAT Bona +0.1 a +1+1 1\nAT Bona +0.1 a +1+1 1\nHERD 1 took 1\n")
            .await
            .unwrap();
        asked.shutdown().await.unwrap();
        let mut answers = String::new();
        asked.read_to_string(&mut answers).await.unwrap();
        let lines: Vec<_> = answers.lines().filter(|line| !line.starts_with("HERD 1 took ")).collect();
        assert_eq!(lines, ["? HERD 1 took 1"], "{answers}");
        assert!(answers.contains("HERD 1 took 1"), "{answers}");
        assert!(told.next_line().await.unwrap().unwrap().starts_with("HERD 1 acknowledge"));
        assert!(told.next_line().await.unwrap().unwrap().starts_with("AT Bona "));
    }
    // Where servers answer at once, or know of themselves what is taken, nobody knows the question.
    let (alone, _link) = clark_and_a_foreign_bona().await;
    let together = Herd::start(patient(ReplyMode::Everywhere)).await;
    for herd in [&alone, &together] {
        assert_eq!(herd.ask(CLARK, b"HERD 1 acknowledge\n").await, "? HERD 1 acknowledge\n");
    }
}

/// A client that sends commands and reads no reply, once nothing moves between it and its server any more.
async fn deaf_client(port: u16) -> TcpStream {
    let stream = connect(port).await;
    let commands = [&[b'X'; 999][..], b"\n"].concat().repeat(64);
    let mut turns_in_vain = 0;
    while turns_in_vain < 10_000 {
        match stream.try_write(&commands) {
            Ok(_) => turns_in_vain = 0,
            Err(_) => turns_in_vain += 1,
        }
        // All tasks run on this thread: the server reads what it can.
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn commands_are_answered_while_a_server_stops_that_owes_replies_to_a_client_which_reads_none() {
    let Herd { driver, .. } = Herd::start(five_servers()).await;
    let _deaf = deaf_client(driver.port(CLARK).expect("it runs")).await;
    let origin = Origin {
        name: "five".to_owned(),
        file: FileAnswer { path: "five.toml".to_owned(), text: String::new() },
        identity: Identity::default(),
        log_dir: None,
        only: None,
        drain: PATIENCE,
    };
    let (mut owner, asks) = Owner::new(driver, origin);
    let end_of_clark = |verb| Verb::Servers { verb, on: vec!["Clark".to_owned()] };
    let commands = async {
        let ask = async |request| asks.send(request).await.expect("the owner serves");
        let (stop, mut stopped) = oneshot::channel();
        ask(Request::Verb(end_of_clark(ServerVerb::Stop), stop)).await;
        let (status, told) = oneshot::channel();
        ask(Request::Status(status)).await;
        assert_eq!(told.await.expect("the owner answers").servers.len(), 5);
        assert!(stopped.try_recv().is_err(), "the server still stops");
        // It may be ended at once.
        let (kill, killed) = oneshot::channel();
        ask(Request::Verb(end_of_clark(ServerVerb::Kill), kill)).await;
        assert!(killed.await.expect("the owner answers").is_ok());
        assert!(stopped.await.expect("the owner answers").is_ok_and(|answer| answer.warning.is_some()));
    };
    tokio::select! {
        exit = owner.serve(std::future::pending()) => panic!("it ended: {exit:?}"),
        () = commands => {}
    }
}
