//! The `herdsim` command: what people type, and what they see.
//!
//! Standard output has what was asked for; standard error has progress, events, warnings and errors. Not here: what is done
//! to a herd ([`crate::act`]) and how it is reached ([`crate::control`]).

mod apart;
mod args;
mod ask;
mod calibrate;
mod detach;
mod documents;
mod herd_file;
mod logs;
mod narrate;
mod run;
mod send;
mod show;
mod signals;
mod subscriber;
mod table;
mod terminal;
mod up;
mod verbs;
mod verdicts;

use std::io;

use clap::FromArgMatches;

use crate::control::client::ClientError;
use crate::control::socket::SocketError;
use crate::driver::DriverError;
use crate::exit::Exit;
use args::{Cli, Verb};
use verbs::HerdVerb;

/// Why a command ended early, for people.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    /// Without a final newline; empty when nothing is left to say.
    text: String,
}

impl Failure {
    fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: format!("error: {}", text.into()) }
    }

    fn could_not(text: impl Into<String>) -> Self {
        Self { exit: Exit::CouldNotRun, text: format!("error: {}", text.into()) }
    }

    /// What was said already needs only its code.
    fn silent(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }
}

/// Of writing to standard output or standard error. A reader that has seen enough is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::silent(Exit::Passed)
        } else {
            Self::could_not(format!("cannot write: {error}"))
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if error.is_usage() { Self::usage(error.to_string()) } else { Self::could_not(error.to_string()) }
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        Self::could_not(error.to_string())
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::could_not(error.to_string())
    }
}

type Outcome = Result<Exit, Failure>;

/// Runs the command line of this process.
pub fn run() -> Exit {
    detach::leave_session();
    let cli = match args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    terminal::set_colour(cli.global.color);
    match dispatch(&cli) {
        Ok(exit) => exit,
        Err(failure) => {
            // Without a standard error there is nobody to tell.
            let _ = terminal::fail(&failure.text);
            failure.exit
        }
    }
}

/// Help and version go to standard output and are no error.
fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Passed }
}

fn dispatch(cli: &Cli) -> Outcome {
    let global = &cli.global;
    match &cli.verb {
        Verb::Up(up) => up::up(global, up),
        Verb::Node(node) => up::node(global, node),
        Verb::Ps(formatted) => show::ps(global, formatted),
        Verb::Records(records) => show::records(global, records),
        Verb::Ls(formatted) => show::ls(global, formatted),
        Verb::Events(events) => show::events(global, events),
        Verb::Logs(logs) => logs::logs(global, logs),
        Verb::Send(send) => send::send(global, send),
        Verb::Down(down) => ask::down(global, down),

        Verb::Init(init) => documents::init(init),
        Verb::Check(check) => documents::check(global, check),
        Verb::Schema(schema) => documents::schema(schema),
        Verb::Calibrate(args) => calibrate::calibrate(global, args),
        Verb::Run(args) => run::run(global, args),
        Verb::Judge(args) => verdicts::judge_files(global, args),
        Verb::Merge(args) => verdicts::merge(global, args),
        Verb::Completions(completions) => documents::completions(completions),
        Verb::Man(man) => documents::man(man),
        Verb::Herd(HerdVerb(verb)) => ask::verb(global, verb),
    }
}

/// Runs what waits for answers of a herd, on this thread.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::could_not(format!("cannot start: {error}")))?.block_on(future)
}
