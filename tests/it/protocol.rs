//! What the assignment says of the wire, byte for byte over real sockets.

use herdsim::config::{Limits, LinkMode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

/// The skew of a reply, and the reply without it.
fn without_skew(reply: &str) -> (String, String) {
    let skew = reply.split(' ').nth(2).expect("an AT line has a skew").to_owned();
    let rest = reply.replacen(&format!(" {skew} "), " SKEW ", 1);
    (skew, rest)
}

#[tokio::test]
async fn iamat_is_answered_with_the_skew_and_the_clients_own_fields() {
    let herd = Herd::start(five_servers()).await;
    let reply = herd.ask(CLARK, format!("{KIWI}\n").as_bytes()).await;
    let (skew, rest) = without_skew(&reply);
    assert_eq!(rest, "AT Clark SKEW kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503\n");
    let (whole, decimals) = skew.split_once('.').expect("a skew has decimals");
    assert!(whole.starts_with('+') && decimals.len() == 9 && decimals.bytes().all(|byte| byte.is_ascii_digit()));
}

#[tokio::test]
async fn a_client_whose_clock_is_ahead_gets_a_negative_skew() {
    let herd = Herd::start(five_servers()).await;
    let (skew, _) = without_skew(&herd.ask(CLARK, b"IAMAT x +1+1 9000000000.5\n").await);
    assert!(skew.starts_with('-'), "{skew}");
}

#[tokio::test]
async fn whatsat_gives_the_same_line_at_every_server_and_places_after_it() {
    let mut herd = Herd::start(five_servers()).await;
    let line = herd.ask(CLARK, format!("{KIWI}\n").as_bytes()).await;
    herd.settle().await;
    let replies = [
        herd.ask(BAILEY, b"WHATSAT kiwi.cs.ucla.edu 10 5\n").await,
        herd.ask(BONA, b"WHATSAT kiwi.cs.ucla.edu 10 5\n").await,
        herd.ask(CAMPBELL, b"WHATSAT kiwi.cs.ucla.edu 10 5\n").await,
        herd.ask(CLARK, b"WHATSAT kiwi.cs.ucla.edu 10 5\n").await,
        herd.ask(JAQUEZ, b"WHATSAT kiwi.cs.ucla.edu 10 5\n").await,
    ];
    for reply in &replies {
        assert_eq!(reply, &replies[0]);
        let json = reply.strip_prefix(&line).expect("the AT line comes first");
        let json = json.strip_suffix("\n\n").expect("the reply ends with two newlines");
        assert!(!json.ends_with('\n') && !json.contains("\n\n"));
        let json: serde_json::Value = serde_json::from_str(json).expect("JSON follows the line");
        assert_eq!((json["status"].as_str(), json["results"].as_array().map(Vec::len)), (Some("OK"), Some(5)));
        assert!(json["html_attributions"].is_array());
    }
}

#[tokio::test]
async fn a_reply_to_whatsat_is_there_at_the_first_read() {
    let herd = Herd::start(five_servers()).await;
    herd.ask(CLARK, KIWI.as_bytes()).await;
    let whole = herd.ask(CLARK, b"WHATSAT kiwi.cs.ucla.edu 50 20").await;
    let mut stream = connect(herd.port(CLARK)).await;
    stream.write_all(b"WHATSAT kiwi.cs.ucla.edu 50 20").await.expect("the server reads");
    stream.shutdown().await.expect("the connection stands");
    let mut buffer = vec![0; 1 << 20];
    let read = stream.read(&mut buffer).await.expect("the server answers");
    assert_eq!(String::from_utf8_lossy(&buffer[..read]), whole);
}

#[tokio::test]
async fn white_space_may_be_anything_and_anywhere() {
    let herd = Herd::start(five_servers()).await;
    let reply = herd.ask(BONA, b" \t IAMAT\x0b\x0ckiwi \r +1.0-2.0\t\t1.5  \r\n").await;
    assert_eq!(without_skew(&reply).1, "AT Bona SKEW kiwi +1.0-2.0 1.5\n");
}

#[tokio::test]
async fn many_commands_share_a_connection_and_the_last_needs_no_line_end() {
    let herd = Herd::start(five_servers()).await;
    let reply = herd.ask(BONA, b"IAMAT a +1+1 1\r\nHELLO\nIAMAT b +1+1 1").await;
    let lines: Vec<_> = reply.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains(" a +1+1 1") && lines[1] == "? HELLO" && lines[2].contains(" b +1+1 1"));
}

#[tokio::test]
async fn a_command_may_arrive_a_byte_at_a_time() {
    let herd = Herd::start(five_servers()).await;
    let mut stream = connect(herd.port(BONA)).await;
    for byte in b"IAMAT slow +1+1 1\n" {
        stream.write_all(&[*byte]).await.expect("the server reads");
        tokio::task::yield_now().await;
    }
    let mut reply = vec![0; 256];
    let read = stream.read(&mut reply).await.expect("the server answers");
    assert!(String::from_utf8_lossy(&reply[..read]).ends_with(" slow +1+1 1\n"));
}

#[tokio::test]
async fn locations_of_every_allowed_form_are_taken() {
    let herd = Herd::start(five_servers()).await;
    for location in ["+34.06893-118.445127", "+12-118", "+12.0-118.0", "+045.6+002.0", "-90+180", "+90.000-180.000"] {
        let reply = herd.ask(BONA, format!("IAMAT x-+1 {location} 1\n").as_bytes()).await;
        assert!(reply.starts_with("AT Bona ") && reply.ends_with(&format!(" x-+1 {location} 1\n")), "{reply}");
    }
}

#[tokio::test]
async fn invalid_commands_come_back_verbatim() {
    let herd = Herd::start(five_servers()).await;
    for command in [
        "IAMAT",
        "IAMAT a",
        "IAMAT a +1+1",
        "IAMAT a +1+1 1 2",
        "iamat a +1+1 1",
        "WHATSAT",
        "WHATSAT a 1",
        "WHATSAT a 1 1 1",
        "HELLO",
        "IAMAT a 1+1 1",
        "IAMAT a +1 1",
        "IAMAT a +91+1 1",
        "IAMAT a +1+181 1",
        "IAMAT a +1+1+1 1",
        "IAMAT a +1+1 -1",
        "IAMAT a +1+1 1e3",
        "IAMAT a +1+1 1.1234567890",
        "IAMAT a +1+1 nan",
        "IAMAT a ++1+1 1",
        "IAMAT a +1. +1 1",
        "WHATSAT nobody 10 5",
        "  inner   space\tkept ",
        "AT Bona",
        "AT a b c d e",
        "HERD 1 hello",
    ] {
        let reply = herd.ask(BONA, format!("{command}\n").as_bytes()).await;
        assert_eq!(reply, format!("? {command}\n"));
    }
}

#[tokio::test]
async fn radius_and_bound_have_limits_and_zero_is_within_them() {
    let herd = Herd::start(five_servers()).await;
    herd.ask(BONA, b"IAMAT a +34.068930-118.445127 1\n").await;
    for operands in ["51 1", "1 21", "-1 1", "1 -1", "1.5 1", "1 1.5", "x 1", "+1 1", "999999999999999999999 1"] {
        let reply = herd.ask(BONA, format!("WHATSAT a {operands}\n").as_bytes()).await;
        assert_eq!(reply, format!("? WHATSAT a {operands}\n"));
    }
    for operands in ["50 20", "0 20", "50 0"] {
        let reply = herd.ask(BONA, format!("WHATSAT a {operands}\n").as_bytes()).await;
        assert!(reply.starts_with("AT Bona ") && reply.ends_with("}\n\n"), "{reply}");
    }
}

#[tokio::test]
async fn blank_lines_and_refusals_get_no_reply() {
    let herd = Herd::start(five_servers()).await;
    assert_eq!(herd.ask(BONA, b"\n  \t\r\n? IAMAT\n?\n ?x y\nAT Clark +0.1 a +1+1 1\nEND\n").await, "? END\n");
}

#[tokio::test]
async fn bytes_that_are_not_utf8_come_back_as_they_are() {
    let herd = Herd::start(five_servers()).await;
    let mut stream = connect(herd.port(BONA)).await;
    stream.write_all(b"IAMAT \xff\xfe \0 +1+1 1\n").await.expect("the server reads");
    let mut reply = vec![0; 64];
    let read = stream.read(&mut reply).await.expect("the server answers");
    assert_eq!(&reply[..read], b"? IAMAT \xff\xfe \0 +1+1 1\n");
}

#[tokio::test]
async fn a_line_over_the_limit_is_answered_and_ends_its_connection_only() {
    let limits = Limits { line: 1000, ..Limits::default() };
    let herd = Herd::start(with(five_servers(), |topology| topology.limits = limits)).await;
    let longest = "x".repeat(1000);
    assert_eq!(herd.ask(BONA, format!("{longest}\nEND\n").as_bytes()).await, format!("? {longest}\n? END\n"));
    assert_eq!(herd.ask(BONA, format!("{longest}y\nEND\n").as_bytes()).await, format!("? {longest}\n"));
    let endless = vec![b'x'; 1 << 20];
    assert_eq!(herd.ask(BONA, &endless).await, format!("? {longest}\n"));
    assert_eq!(herd.ask(BONA, b"END\n").await, "? END\n");
}

#[tokio::test]
async fn an_older_iamat_is_answered_and_replaces_nothing() {
    let mut herd = Herd::start(five_servers()).await;
    herd.ask(CLARK, b"IAMAT a +1+1 2.000000002\n").await;
    let reply = herd.ask(BAILEY, b"IAMAT a +2+2 2.000000001\n").await;
    assert_eq!(without_skew(&reply).1, "AT Bailey SKEW a +2+2 2.000000001\n");
    herd.settle().await;
    assert_eq!(herd.holders("a", "2.000000002"), ALL);
}

#[tokio::test]
async fn equal_times_at_two_servers_end_in_one_line_everywhere() {
    let mut herd = Herd::start(five_servers()).await;
    herd.send(CLARK, "IAMAT twin +1+1 7").await;
    herd.send(BAILEY, "IAMAT twin +1+1 7").await;
    herd.settle().await;
    let lines: Vec<_> = ALL.map(|server| herd.driver.records(server)[0].report.line().to_owned()).into();
    assert!(lines.iter().all(|line| line == &lines[0] && line.starts_with("AT Clark ")), "{lines:?}");
}

#[tokio::test]
async fn an_at_line_travels_verbatim_and_is_answered_with_nothing() {
    for mode in [LinkMode::Persistent, LinkMode::PerMessage] {
        let topology = with(five_servers(), |topology| topology.links.iter_mut().for_each(|link| link.mode = mode));
        let mut herd = Herd::start(topology).await;
        let line = "AT  Elsewhere -0.1e-3 far  +1.50-2 1.50";
        assert_eq!(herd.ask(JAQUEZ, line.as_bytes()).await, "");
        herd.until_held_everywhere("far").await;
        let reply = herd.ask(BAILEY, b"WHATSAT far 1 0\n").await;
        assert_eq!(reply.lines().next(), Some(line));
    }
}

#[tokio::test]
async fn the_next_question_at_any_other_server_knows_the_last_update() {
    let herd = Herd::start(five_servers()).await;
    for round in 1..=200 {
        let to = ALL[round % 5];
        let reply = herd.ask(to, format!("IAMAT hasty +1+1 {round}").as_bytes()).await;
        let other = ALL[(round + 1 + round / 5 % 4) % 5];
        let asked = herd.ask(other, b"WHATSAT hasty 1 0").await;
        assert_eq!(asked.lines().next(), reply.lines().next(), "round {round}");
    }
}
