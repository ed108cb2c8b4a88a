//! Asking a server from outside what it knows: with the command that every server answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::driver::Unseen;
use crate::wire::{Command, Report, Shape, next_line, parse};

/// How long a server may take to accept a connection, and for all its answers.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns `true` if somebody listens at `address`.
pub(super) async fn listens(address: (String, u16)) -> bool {
    timeout(LIMIT, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok())
}

/// Asks the server at `address` about clients, and returns the newest report that it has of each.
///
/// # Errors
///
/// Returns an error if the server does not answer all questions in time.
pub(super) async fn ask(address: (String, u16), clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen> {
    let answered = timeout(LIMIT, ask_each(address, clients)).await;
    let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answered.map_err(|error| Unseen::NoAnswer(error.to_string()))
}

async fn ask_each(address: (String, u16), clients: &[Arc<str>]) -> io::Result<Vec<Option<Arc<Report>>>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut unread = BytesMut::new();
    let mut reports = Vec::with_capacity(clients.len());
    for client in clients {
        // As little as can be asked: each answer may cost the server a search.
        stream.write_all(format!("WHATSAT {client} 1 1\n").as_bytes()).await?;
        let length = loop {
            if let Some(length) = Shape::Found.length(&unread) {
                break length;
            }
            if stream.read_buf(&mut unread).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
            }
        };
        let answer = unread.split_to(length);
        reports.push(report(&answer, client)?);
    }
    Ok(reports)
}

/// Reads the answer to a question about a client.
fn report(answer: &[u8], client: &str) -> io::Result<Option<Arc<Report>>> {
    let line = next_line(answer, 0).map_or(answer, |(line, _)| line);
    match parse(line) {
        Command::At(at) if at.client() == client => Ok(Some(Arc::new(at.to_report()))),
        Command::Refusal => Ok(None),
        _ => Err(io::Error::other(format!("it answered `{}`", String::from_utf8_lossy(line)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_about_the_client_or_a_refusal() {
        let line = "AT Clark +0.1 kiwi +34.0-118.0 5";
        let known = report(format!("{line}\n{{}}\n\n").as_bytes(), "kiwi").expect("it is an answer");
        assert_eq!(known.map(|report| report.line().to_owned()).as_deref(), Some(line));
        assert_eq!(report(b"? WHATSAT kiwi 1 1\n", "kiwi").expect("it is an answer"), None);
        for wrong in ["AT Clark +0.1 plum +34.0-118.0 5\n{}\n\n", "hello\n"] {
            assert!(report(wrong.as_bytes(), "kiwi").is_err(), "{wrong}");
        }
    }
}
