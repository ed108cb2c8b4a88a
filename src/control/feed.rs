//! What happens in one process, as it happens, and how far the process is: both over one connection.
//!
//! The process sends a history's header, the entries that it remembers and those that come, a line each. Whenever the other side
//! sends a line, it answers with a mark: every entry of the time before that has been sent.
//!
//! Not here: the histories of several processes as one ([`super::merge`]).

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines, ReadHalf, WriteHalf,
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;

use super::owner::{Request, Watch, lagged};
use super::server::ask;
use crate::history::{Entry, History, json};

/// What a connection is upgraded to that carries a feed.
pub(super) const FEED: &str = "herdsim-feed";

/// The line of a mark. No header and no entry is blank.
const MARK: &str = "";

/// What one process tells.
#[derive(Debug)]
pub(super) enum Told {
    /// Something happened.
    Entry(Entry),
    /// Everything that had happened when it was asked has been told.
    Mark,
    /// The process has gone.
    End,
}

/// The reading side of a feed.
#[derive(Debug)]
pub(super) struct Reader {
    lines: Lines<BufReader<ReadHalf<TokioIo<Upgraded>>>>,
    reader: json::Reader,
    /// What the entries are about.
    pub(super) history: History,
    is_over: bool,
}

impl Reader {
    /// Reads the header. Returns `None` if the process has gone, or sends none.
    pub(super) async fn open(stream: TokioIo<Upgraded>) -> Option<(Self, WriteHalf<TokioIo<Upgraded>>)> {
        let (reader, writer) = tokio::io::split(stream);
        let mut lines = BufReader::new(reader).lines();
        let header = lines.next_line().await.ok()??;
        let reader = json::Reader::new(&header).ok()?;
        let history = reader.history.clone();
        Some((Self { lines, reader, history, is_over: false }, writer))
    }

    /// Returns what the process tells next, the end once, and then `None`.
    pub(super) async fn next(&mut self) -> Option<Told> {
        if self.is_over {
            return None;
        }
        let line = self.lines.next_line().await.ok().flatten();
        let told = match line.as_deref() {
            Some(MARK) => Some(Told::Mark),
            Some(line) => self.reader.entry(line).ok().flatten().map(Told::Entry),
            None => None,
        };
        self.is_over = told.is_none();
        Some(told.unwrap_or(Told::End))
    }
}

/// Asks for a mark. Fails if the process has gone, which its end tells.
pub(super) async fn ask_for_mark(writer: &mut (impl AsyncWrite + Unpin)) {
    let _ = writer.write_all(b"\n").await;
    let _ = writer.flush().await;
}

/// Sends a feed, with at most the `last` entries of the past, until the herd ends or the other side has gone.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, last: Option<usize>, asks: mpsc::Sender<Request>) {
    // Fails when the other side has gone.
    let _ = send(stream, last, &asks).await;
}

async fn send<S: AsyncRead + AsyncWrite>(
    stream: S,
    last: Option<usize>,
    asks: &mpsc::Sender<Request>,
) -> std::io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut asked = BufReader::new(reader).lines();
    let Ok(Watch { mut past, mut feed }) = ask(asks, |answer| Request::Watch(last, answer)).await else {
        return Ok(());
    };
    let mut seen = None;
    let mut text = json::header(&past, None);
    for entry in std::mem::take(&mut past.entries) {
        text.push_str(&json::entry(&past, &entry));
        seen = Some(entry);
    }
    loop {
        writer.write_all(text.as_bytes()).await?;
        writer.flush().await?;
        text.clear();
        tokio::select! {
            entry = feed.recv() => {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(RecvError::Lagged(entries)) => lagged(&past, seen.as_ref(), entries),
                    Err(RecvError::Closed) => return Ok(()),
                };
                text.push_str(&json::entry(&past, &entry));
                seen = Some(entry);
            }
            line = asked.next_line() => {
                if line?.is_none() {
                    return Ok(());
                }
                let Ok(()) = ask(asks, Request::CatchUp).await else { return Ok(()) };
                loop {
                    let entry = match feed.try_recv() {
                        Ok(entry) => entry,
                        Err(TryRecvError::Lagged(entries)) => lagged(&past, seen.as_ref(), entries),
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    };
                    text.push_str(&json::entry(&past, &entry));
                    seen = Some(entry);
                }
                text.push_str(MARK);
                text.push('\n');
            }
        }
    }
}
