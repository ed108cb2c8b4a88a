//! `up` and `node`: a herd, or one server of it, that runs in this process until it is told to end.
//!
//! Not here: the process in the background ([`super::detach`]), what is done to the herd ([`crate::control::owner`]).

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::args::{Global, Node, Running, Up};
use super::narrate::{Detail, Narrator};
use super::show::address;
use super::signals::Signals;
use super::table::{Cell, Table};
use super::terminal::{self, BOLD, CYAN, DIM, styled};
use super::{Failure, Outcome, apart, detach, herd_file, logs, subscriber};
use crate::config::{LinkMode, Loaded, ReplyMode, ServerId, Topology};
use crate::control::api::{FileAnswer, HerdStatus};
use crate::control::owner::{Origin, Owner, Watch};
use crate::control::socket::{self, Claim, SocketError};
use crate::control::{names, server};
use crate::driver::loopback::{self, Feed, LoopbackDriver, Options};
use crate::places::Service;
use crate::time::RealClock;

/// Observations that wait for the control plane at most; further ones are counted and forgotten.
const FEED: usize = 1 << 16;
/// Servers shown at the start; a bigger herd shows its first ones.
const SHOWN: usize = 20;
/// How long the last answers and the last lines of output may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// `up`.
pub(super) fn up(global: &Global, up: &Up) -> Outcome {
    let mut loaded = herd_file::load_whole(global, &up.file)?;
    loaded.topology.reply.get_or_insert(ReplyMode::Neighbours);
    let herd = up.running.name.clone().unwrap_or_else(|| loaded.topology.name.clone());
    if !detach::is_child() {
        if let Some(outcome) = apart::up(global, up, &loaded.identity) {
            return outcome;
        }
        if up.detach || up.wait {
            let outcome = detach::spawn(global, up.wait.then_some(up.wait_timeout), Claim::take(&herd)?);
            // Its servers may have been about to start in processes of their own.
            let apart = if outcome.is_err() && up.wait { apart::up(global, up, &loaded.identity) } else { None };
            return apart.unwrap_or(outcome);
        }
    }
    live(global, &up.running, loaded, &up.file, herd, None)
}

/// `node`.
pub(super) fn node(global: &Global, node: &Node) -> Outcome {
    let loaded = herd_file::load_whole(global, &node.file)?;
    let topology = &loaded.topology;
    let server = topology.server(&node.server).ok_or_else(|| {
        let known = topology.servers.iter().map(|server| &*server.name);
        Failure::usage(names::unknown_server(&topology.name, &node.server, known).error)
    })?;
    let herd = node.running.name.as_ref().unwrap_or(&topology.name);
    let name = names::of_node(herd, &node.server);
    if node.detach && !detach::is_child() {
        return detach::spawn(global, None, Claim::take_any(&name)?);
    }
    live(global, &node.running, loaded, &node.file, name, Some(server))
}

fn live(
    global: &Global,
    running: &Running,
    loaded: Loaded,
    file: &Path,
    name: String,
    only: Option<ServerId>,
) -> Outcome {
    subscriber::install(global, running.log_format);
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let log_dir = running.log_dir.as_ref().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone()));
    let origin = Origin {
        name,
        file: FileAnswer { path: file.display().to_string(), text: loaded.text },
        identity: loaded.identity,
        log_dir: log_dir.map(|dir| dir.display().to_string()),
        only,
        drain: running.timeout,
    };
    let runtime = runtime(&loaded.topology)?;
    let outcome = runtime.block_on(serve(global, running, Arc::new(loaded.topology), origin));
    // Whatever still hangs on a second Ctrl-C does not keep the process.
    runtime.shutdown_background();
    outcome
}

/// What a herd runs on.
pub(super) fn runtime(topology: &Topology) -> Result<Runtime, Failure> {
    loopback::runtime(topology).map_err(|error| Failure::could_not(format!("cannot start: {error}")))
}

async fn serve(global: &Global, running: &Running, topology: Arc<Topology>, mut origin: Origin) -> Outcome {
    let mut signals = Signals::take()?;
    let (mut claim, warning) = claim(&mut origin)?;
    let places = Service::open(&topology.places).map_err(|error| Failure::could_not(error.to_string()))?;
    let feed = Feed::Lossy { capacity: FEED };
    let options = Options { only: origin.only, places: Arc::new(places), feed, calls: Some(socket::directory()) };
    let driver = LoopbackDriver::start(topology, options).await?;
    let (mut owner, asks) = Owner::new(driver, origin.clone());
    if let Some(warning) = warning {
        terminal::warn(&warning)?;
    }
    let (end_server, server_ends) = oneshot::channel();
    let control = origin.name.clone();
    let listener = claim.as_mut().map(Claim::listen).transpose()?;
    let server = listener.map(|listener| {
        tokio::spawn(server::serve(listener, control, asks, async {
            let _ = server_ends.await;
        }))
    });

    let output = watch(global, running, &mut owner)?;
    let exit = owner.serve(signals.next()).await;
    if !global.quiet && !detach::is_child() {
        writeln!(terminal::err(), "{} (once more: at once)", styled(DIM, "ending"))?;
    }
    let at_once = tokio::select! {
        () = owner.end(move || drop(claim)) => None,
        exit = signals.next() => Some(exit),
    };
    let _ = end_server.send(());
    let last_words = async {
        if let Some(server) = server {
            let _ = server.await;
        }
        for output in output {
            let _ = output.await;
        }
    };
    // What is not out by now is not read by anybody.
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    Ok(at_once.unwrap_or(exit))
}

/// Takes the control name of a herd, and returns what to warn of.
///
/// A single server needs only its port: when another process holds its name, it takes another name, or serves without one.
fn claim(origin: &mut Origin) -> Result<(Option<Claim>, Option<String>), Failure> {
    if origin.only.is_none() {
        return Ok((Some(Claim::take(&origin.name)?), None));
    }
    match Claim::take_any(&origin.name) {
        Ok(claim) if claim.herd() == origin.name => Ok((Some(claim), None)),
        Ok(claim) => {
            let held = std::mem::replace(&mut origin.name, claim.herd().to_owned());
            let warning =
                format!("another process is called `{held}`; commands reach this one with --herd {}", origin.name);
            Ok((Some(claim), Some(warning)))
        }
        Err(SocketError::AlreadyUp { .. }) => {
            let warning = format!("too many processes are called `{}`; commands cannot reach this one", origin.name);
            Ok((None, Some(warning)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says that the herd is up, and sets going what tells and logs what happens. The receivers fire when all is told.
fn watch(global: &Global, running: &Running, owner: &mut Owner) -> Result<Vec<oneshot::Receiver<()>>, Failure> {
    let mut output = Vec::new();
    let status = owner.status();
    if let Some(dir) = &status.log_dir {
        let watch = owner.watch(None);
        let writer = logs::Writer::create(Path::new(dir), running.log_format, &watch.past, &owner.servers())?;
        output.push(on_thread(move || writer.write_all(watch)));
    }
    if detach::is_child() {
        detach::report_listening(&status)?;
        let linked = owner.linked();
        tokio::spawn(async move {
            if linked.await.is_ok() {
                // Only `--wait` still listens.
                let _ = detach::report_linked();
            }
        });
    } else {
        announce(global, &status)?;
    }
    if !global.quiet {
        let detail = if detach::is_child() { Detail::Servers } else { Detail::of(global.verbose) };
        let watch = owner.watch(None);
        let narrator = Narrator::new(detail, watch.past.origin.clone(), 0);
        let narrator = narrator.since_the_start(status.servers.len(), ways(owner));
        output.push(on_thread(move || narrate(narrator, watch)));
    }
    Ok(output)
}

/// Ways with connections, of the servers of this process.
fn ways(owner: &Owner) -> usize {
    let neighbours = owner.servers().into_iter().flat_map(|server| owner.wiring().neighbours(server));
    neighbours.filter(|neighbour| neighbour.mode == LinkMode::Persistent).count()
}

/// Runs what blocks, such as writing to a terminal that has stopped, beside the herd.
fn on_thread(work: impl FnOnce() + Send + 'static) -> oneshot::Receiver<()> {
    let (done, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    receiver
}

fn narrate(mut narrator: Narrator, watch: Watch) {
    watch.each(|entry| match narrator.tell(entry) {
        Some(line) => writeln!(terminal::err(), "{line}"),
        None => Ok(()),
    });
}

/// Where to connect, and what to type.
fn announce(global: &Global, status: &HerdStatus) -> Result<(), Failure> {
    if global.quiet {
        return Ok(());
    }
    write_addresses(status)?;
    let Some(last) = status.servers.last() else { return Ok(()) };
    let server = status.servers.iter().find(|server| server.server == "Clark").unwrap_or(last);
    let (host, port) = (server.host_here(), server.port);
    let now = RealClock::start().now();
    let line = format!("IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 {now}");
    let mut err = terminal::err();
    writeln!(err, "\n{}  printf '{line}\\n' | nc {host} {port}", styled(BOLD, "Try:"))?;
    writeln!(err, "      herdsim records, herdsim kill {}, herdsim --help\n", server.server)?;
    Ok(())
}

/// The table of a herd that has come up; on standard output, because programs want the ports.
pub(super) fn write_addresses(status: &HerdStatus) -> Result<(), Failure> {
    let mut table = Table::new(&["SERVER", "ADDRESS", "NEIGHBOURS"]);
    for server in status.servers.iter().take(SHOWN) {
        let neighbours = server.neighbours.join(" ");
        table.row([Cell::new(CYAN, server.server.as_str()), address(server).into(), neighbours.into()]);
    }
    let mut out = terminal::out();
    table.write_to(&mut out)?;
    if let Some(more) = status.servers.len().checked_sub(SHOWN + 1) {
        writeln!(out, "and {} more: herdsim ps", more + 1)?;
    }
    Ok(())
}
