//! `send`: a client of one line, over a connection of its own, as any other client's.

use std::io::{Read, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::{Global, Send};
use super::ask::herd;
use super::terminal;
use super::{Failure, Outcome, block_on};
use crate::control::api::{HerdStatus, ServerState, ServerStatus};
use crate::control::herd::Herd;
use crate::control::names;
use crate::driver::DriverError;
use crate::exit::Exit;

pub(super) fn send(global: &Global, send: &Send) -> Outcome {
    let lines = lines(&send.line)?;
    block_on(async {
        let herd = herd(global, std::slice::from_ref(&send.node)).await?;
        let status = herd.status().await?;
        let server = find(&herd, &status, &send.node).await?;
        if server.state == ServerState::Absent {
            return Err(Failure::could_not(names::absent(&server.server)));
        }
        if matches!(server.state, ServerState::Down | ServerState::Crashed) {
            return Err(Failure::could_not(format!("{} is {}", server.server, server.state.name())));
        }
        let exchange = tokio::time::timeout(global.request_timeout, exchange(server, &lines)).await;
        let silent = || {
            let paused = if server.state == ServerState::Paused { ": it is paused" } else { "" };
            Failure::could_not(format!("{} did not answer within {:?}{paused}", server.server, global.request_timeout))
        };
        exchange.map_err(|_| silent())?
    })
}

/// The bytes to send, with the end of the last line.
fn lines(words: &[String]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    if words == ["-"] {
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::could_not(format!("cannot read standard input: {error}")))?;
    } else {
        bytes.extend_from_slice(words.join(" ").as_bytes());
    }
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

async fn find<'a>(herd: &Herd, status: &'a HerdStatus, name: &str) -> Result<&'a ServerStatus, Failure> {
    if let Some(server) = status.servers.iter().find(|server| server.server == name) {
        return Ok(server);
    }
    if status.alone.is_some() && herd.topology().await?.server(name).is_some() {
        return Err(DriverError::Elsewhere(name.into()).into());
    }
    let known = status.servers.iter().map(|server| server.server.as_str());
    Err(Failure::usage(names::unknown_server(&status.name, name, known).error))
}

/// Writes everything, closes its side, and prints what comes until the server closes too.
async fn exchange(server: &ServerStatus, lines: &[u8]) -> Outcome {
    let lost = |error: std::io::Error| Failure::could_not(format!("{} cannot be talked to: {error}", server.server));
    let stream = TcpStream::connect((server.host_here(), server.port)).await.map_err(lost)?;
    let (mut reader, mut writer) = stream.into_split();
    // Side by side: a server that answers a long input waits for its answers to be read.
    let write = async {
        writer.write_all(lines).await?;
        writer.shutdown().await
    };
    let read = print_all(&mut reader);
    let (written, printed) = tokio::join!(write, read);
    let printed = printed?;
    written.map_err(lost)?;
    printed.map_err(lost)?;
    Ok(Exit::Passed)
}

/// The outer result is that of printing, the inner that of reading.
async fn print_all(reader: &mut (impl AsyncReadExt + Unpin)) -> Result<std::io::Result<()>, Failure> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => {
                // Byte for byte: what a server says is not ours to colour or to clean.
                let mut out = terminal::raw_out();
                out.write_all(&buffer[..read])?;
                out.flush()?;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}
