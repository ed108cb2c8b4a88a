//! What happens when the machine has not what a herd wants, with the real program as a process of its own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::command::{Place, Running, SERVERS};

/// Descriptors a herd of five is given where it is to run out of them.
const FEW: usize = 400;

/// A herd in the foreground, run by a shell that does `first` before.
fn up_after(place: &Place, first: &str, words: &str) -> Running {
    let program = place.command(&[]).get_program().to_owned();
    let mut shell = place.command(&[]);
    let script = format!("{first} && exec \"$0\" {words}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program).current_dir(place.path());
    command.envs(shell.stdin(Stdio::null()).get_envs().filter_map(|(key, value)| Some((key, value?))));
    let running = Running::spawn(&mut command);
    place.until(|place| place.run("ps").code, &Some(0));
    running
}

fn port(place: &Place, server: &str) -> u16 {
    place.server(server)["port"].as_u64().expect("it listens") as u16
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("the server listens")
}

fn ask(port: u16, line: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(line.as_bytes()).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("the server answers");
    reply
}

/// What a process has in memory, in bytes.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("it runs");
    let pages: usize = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("it is a number");
    pages * 4096
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count()
}

/// Lets this process open as many files as it may; how many connections that is room for beside what other tests need.
fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }).expect("a soft limit can be raised");
    (most as usize).saturating_sub(6000)
}

/// Ten thousand of them where the system allows a process 16,000 open files, and otherwise fewer.
#[test]
fn ten_thousand_idle_connections_cost_little_and_keep_nobody_waiting() {
    let place = Place::new();
    let herd = up_after(&place, "ulimit -Sn 512", "up -q");
    let clark = port(&place, "Clark");
    let before = resident(herd.id());
    let count = room().min(10_000);
    let idle: Vec<_> = (0..count).map(|_| connect(clark)).collect();
    place.until(|_| descriptors(herd.id()) > count, &true);
    assert!(ask(clark, "IAMAT kiwi +34.0-118.0 1").starts_with("AT Clark "));
    assert!(ask(port(&place, "Bailey"), "WHATSAT kiwi 10 1").starts_with("AT Clark "));
    let each = (resident(herd.id()) - before) / count;
    assert!(each < 4096, "an idle connection costs {each} bytes");
    // Reset, they leave no ports behind that other tests need.
    for stream in &idle {
        rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(idle);
    place.until(|_| descriptors(herd.id()) < 100, &true);
    assert_eq!(ask(clark, "X"), "? X\n");
}

#[test]
fn lines_with_connections_of_their_own_take_no_more_descriptors_than_there_are() {
    let place = Place::new();
    let herd = std::fs::read_to_string(place.path().join("herd.toml")).unwrap();
    place.write("herd.toml", &format!("mode = \"per-message\"\n{herd}"));
    let _herd = up_after(&place, &format!("ulimit -n {FEW}"), "up -q");
    let lines: String = (0..150).map(|number| format!("IAMAT c{number} +34.0-118.0 1\n")).collect();
    assert_eq!(ask(port(&place, "Clark"), &lines).lines().count(), 150);
    for server in SERVERS {
        place.until(|place| place.server(server)["records"].clone(), &150.into());
    }
}

#[test]
fn when_clients_take_all_descriptors_the_links_still_have_theirs_and_who_waits_is_served_later() {
    let place = Place::new();
    let herd = up_after(&place, &format!("ulimit -n {FEW}"), "up -q");
    let clark = port(&place, "Clark");
    room();
    let mut crowd: Vec<_> = (0..2 * FEW).map(|_| connect(clark)).collect();
    for client in &mut crowd {
        client.write_all(b"X\n").expect("the system takes it");
    }
    let served = |client: &mut TcpStream| {
        client.set_nonblocking(true).expect("it can be set");
        let read = client.read(&mut [0; 4]);
        client.set_nonblocking(false).expect("it can be set");
        read.is_ok()
    };
    // The first ones are served, the last ones wait.
    crowd[0].read_exact(&mut [0; 4]).expect("there was room for it");
    place.out("cut Clark Bona");
    place.out("heal --all");
    place.until(|place| place.server("Clark")["links_up"].clone(), &2.into());
    assert!(descriptors(herd.id()) < FEW);
    let mut last = crowd.pop().expect("there are some");
    assert!(!served(&mut last));
    drop(crowd);
    last.read_exact(&mut [0; 4]).expect("it is its turn");
}

#[test]
fn a_thousand_clients_that_ask_and_never_read_cost_bounded_memory_and_stop_nobody() {
    const QUEUED: usize = 4096;
    // A read, what may be queued, and the reply to one more command; buffers grow by doubling.
    const EACH: usize = 2 * ((64 << 10) + QUEUED + (1 << 10));
    let place = Place::new();
    let file = std::fs::read_to_string(place.path().join("herd.toml")).expect("it is there");
    place.write("herd.toml", &format!("{file}\n[limits]\nqueued-bytes = {QUEUED}\n"));
    let herd = up_after(&place, "true", "up -q");
    let clark = port(&place, "Clark");
    let before = resident(herd.id());
    room();
    // More than the sockets take, and every byte of it is answered with one.
    let questions = format!("{}\n", "X".repeat(999)).repeat(4000);
    let greedy: Vec<_> = (0..1000)
        .map(|_| {
            let mut stream = connect(clark);
            stream.set_nonblocking(true).expect("it can be set");
            let sent = stream.write(questions.as_bytes()).expect("there is room");
            assert!(sent > 0);
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(ask(clark, "HELLO"), "? HELLO\n");
    }
    place.until(|_| descriptors(herd.id()) > 1000, &true);
    let grown = resident(herd.id()).saturating_sub(before);
    assert!(grown < greedy.len() * EACH, "{} KiB for {} connections", grown >> 10, greedy.len());
}

#[test]
fn a_port_of_the_administrator_is_refused_and_named() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().unwrap_or(1024) <= 999 {
        // This system has no such ports.
        return;
    }
    let place = Place::new();
    place.write("herd.toml", "server = [{ name = \"A\", port = 999 }]\n");
    let mut command = place.command(&["up"]);
    if rustix::process::geteuid().is_root() {
        let program = command.get_program().to_owned();
        command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_bind_service"]).arg(program).arg("up").current_dir(place.path());
        command.env("XDG_RUNTIME_DIR", place.path().join("run"));
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("A cannot listen on 127.0.0.1:999: ") && said.contains("choose a higher one"), "{said}");
}

#[test]
fn a_full_disk_under_one_log_costs_its_lines_and_one_warning() {
    let place = Place::new();
    let logs = place.path().join("logs");
    std::fs::create_dir(&logs).expect("there is room");
    std::os::unix::fs::symlink("/dev/full", logs.join("Clark.log")).expect("there is room");
    let herd = place.start("up -q --log-dir logs");
    place.until(|place| place.run("ps").code, &Some(0));
    for _ in 0..3 {
        assert_eq!(place.out("send Clark nonsense"), "? nonsense\n");
    }
    place.out("send Bona nonsense");
    place.until(|place| place.out("logs Bona").contains("refuses nonsense"), &true);
    place.out("down");
    let (status, said) = herd.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(said.matches("cannot write the log").count(), 1, "{said}");
    assert!(said.contains("Clark.log: No space left on device"), "{said}");
}

#[test]
fn a_directory_for_logs_that_cannot_be_made_is_an_error_before_anything_runs() {
    let place = Place::new();
    place.write("logs", "a file");
    let said = place.run("up --log-dir logs");
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.err.contains("cannot write the log"), "{}", said.err);
    assert!(place.control_files().is_empty());
}
