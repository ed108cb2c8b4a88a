//! A herd as commands see it: one process that runs all servers, or several that run one each.
//!
//! Processes that were started from the same file, or from files with the same text, are one herd. Each says in its status which
//! file that is. Requests go to all of them, side by side, and their answers become one.
//!
//! Not here: one request to one process ([`super::client`]), verbs that several processes do together ([`super::verbs`]), and
//! what happens in several processes as one history ([`super::merge`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::api::{
    DownAnswer, DownRequest, HerdStatus, ProcessStatus, RecordStatus, RecordsAnswer, RecordsQuery, ServerState,
    ServerStatus,
};
use super::client::{Client, ClientError, lost};
use super::names::unknown_server;
use super::records::{Holding, compare};
use crate::config::{self, ServerId, Topology, Wiring};
use crate::driver::work::Work;
use crate::wire::{Command, parse};

/// How long commands wait for the status of a process that may be the one they mean.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// A process of a herd.
#[derive(Debug, Clone)]
pub struct Process {
    /// Name of its control socket.
    pub control: String,
    /// Its status when the herd was looked for. `None`: it was not asked, or did not answer.
    pub status: Option<HerdStatus>,
}

/// A herd that is up.
#[derive(Debug, Clone)]
pub struct Herd {
    /// What it is called: as its processes are, or with a number behind that if another herd is called so.
    pub name: String,
    /// Its processes that are there, in the order of their names.
    pub processes: Vec<Process>,
    /// Each server has a process of its own.
    is_apart: bool,
    limit: Duration,
}

impl Herd {
    /// Returns every herd of this user that is up, in the order of their names.
    pub async fn all(limit: Duration) -> Vec<Self> {
        let names: Vec<_> = Client::all(limit).await.iter().map(|client| client.herd().to_owned()).collect();
        grouped(join_all(names.into_iter().map(|name| Process::look(name, limit))).await, limit)
    }

    /// Returns the herd called `name`, or the only one that is up. Of several, takes the only one that has all of `servers`.
    /// A name may also be that of a single process, which is then a herd by itself, or the file of a herd. Requests give up after
    /// `limit`.
    ///
    /// # Errors
    ///
    /// Returns an error if no herd or several are meant.
    pub async fn find(name: Option<&str>, servers: &[String], limit: Duration) -> Result<Self, ClientError> {
        if let Some(name) = name
            && Client::open(name, limit).await.is_ok()
        {
            return Ok(Self::one(Process { control: name.to_owned(), status: None }, limit));
        }
        let mut up = Self::all(limit).await;
        let Some(name) = name else {
            return match up.len() {
                0 => Err(ClientError::NoHerd),
                1 => Ok(up.remove(0)),
                _ => Self::that_has(servers, up).await,
            };
        };
        let by_file = |herd: &Self| herd.is_from(Path::new(name));
        match up.iter().position(|herd| herd.name == name).or_else(|| up.iter().position(by_file)) {
            Some(place) => Ok(up.swap_remove(place)),
            None => Err(ClientError::NoSuchHerd { name: name.to_owned(), up: names_of(&up) }),
        }
    }

    /// Returns the only herd of `up` that has all of `servers`.
    async fn that_has(servers: &[String], up: Vec<Self>) -> Result<Self, ClientError> {
        let all = names_of(&up);
        if servers.is_empty() {
            return Err(ClientError::SeveralHerds(all));
        }
        let asked = up.into_iter().map(|herd| async { herd.may_have(servers).await.then_some(herd) });
        let mut found: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        match found.len() {
            0 => Err(ClientError::SeveralHerds(all)),
            1 => Ok(found.remove(0)),
            _ => Err(ClientError::SeveralHave { servers: servers.join(", "), herds: names_of(&found) }),
        }
    }

    fn one(process: Process, limit: Duration) -> Self {
        Self { name: process.control.clone(), processes: vec![process], is_apart: false, limit }
    }

    /// Returns `true` if each server has a process of its own, and `--herd` does not choose one of them.
    pub fn is_apart(&self) -> bool {
        self.is_apart
    }

    /// Returns how long requests may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns `false` if the herd lacks one of `servers`. A herd that does not answer may have any server.
    async fn may_have(&self, servers: &[String]) -> bool {
        let names: Option<Vec<String>> = if self.is_apart {
            self.topology().await.ok().map(|file| file.servers.iter().map(|server| server.name.to_string()).collect())
        } else {
            self.status().await.ok().map(|status| status.servers.into_iter().map(|server| server.server).collect())
        };
        names.is_none_or(|names| servers.iter().all(|server| names.contains(server)))
    }

    fn is_from(&self, file: &Path) -> bool {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        self.processes.iter().flat_map(|process| &process.status).any(|status| Path::new(&status.file) == file)
    }

    /// Returns the process that runs a server.
    pub fn process_of(&self, server: &str) -> Option<&Process> {
        self.processes.iter().find(|process| !self.is_apart || process.runs(server))
    }

    /// Connects to a process of the herd.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has ended.
    pub async fn connect(&self, process: &Process) -> Result<Client, ClientError> {
        let client = Client::open(&process.control, self.limit).await;
        client.map_err(|error| lost(&process.control, &error))
    }

    /// Returns the topology that the herd was made of: what its file said then, whatever it says now.
    ///
    /// # Errors
    ///
    /// Returns an error if no process answers, or if the file is one of another version of herdsim.
    pub async fn topology(&self) -> Result<Topology, ClientError> {
        let mut failed = ClientError::NoHerd;
        // One that has answered before is asked first.
        let (answering, silent): (Vec<_>, _) = self.processes.iter().partition(|process| process.status.is_some());
        for process in answering.into_iter().chain(silent) {
            let file = match self.connect(process).await {
                Ok(client) => client.file().await,
                Err(error) => Err(error),
            };
            match file {
                Ok(file) => {
                    let loaded = config::parse_file(Path::new(&file.path), &file.text);
                    return loaded.map(|loaded| loaded.topology).map_err(|error| lost(&process.control, &error));
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Returns how the herd stands. A server whose process is gone or does not answer says so by its state.
    ///
    /// # Errors
    ///
    /// Returns an error if no process answers.
    pub async fn status(&self) -> Result<HerdStatus, ClientError> {
        if !self.is_apart {
            return self.connect(&self.processes[0]).await?.status().await;
        }
        let (topology, first) = (self.topology().await?, self.first_status()?);
        let wiring = Wiring::of(&topology);
        let servers = topology.ids().map(|server| self.server_status(&topology, &wiring, server)).collect();
        let faults = self.statuses().flat_map(|status| status.faults.iter().cloned()).collect();
        Ok(HerdStatus { name: self.name.clone(), pid: None, alone: None, servers, faults, ..first.clone() })
    }

    /// Returns how the herd stood when it was looked for.
    ///
    /// # Errors
    ///
    /// Returns an error if no process answered then.
    pub async fn status_then(&self) -> Result<HerdStatus, ClientError> {
        let first = self.first_status()?;
        if self.is_apart { self.status().await } else { Ok(first.clone()) }
    }

    /// Returns the status of each process that answers.
    ///
    /// # Errors
    ///
    /// Returns an error if no process answers.
    pub async fn each_status(&self) -> Result<Vec<HerdStatus>, ClientError> {
        if !self.is_apart {
            return Ok(vec![self.status().await?]);
        }
        self.first_status()?;
        Ok(self.statuses().cloned().collect())
    }

    /// Looks for the herd's processes anew. Returns `None` if none is there.
    pub async fn again(&self) -> Option<Self> {
        Self::all(self.limit).await.into_iter().find(|herd| herd.name == self.name)
    }

    /// Returns what each process has to do, in the order of their names. One that has ended is left out.
    ///
    /// # Errors
    ///
    /// Returns an error if a process that is there does not answer.
    pub async fn work(&self) -> Result<Vec<Work<String>>, ClientError> {
        let asked = self.processes.iter().map(|process| async { self.connect(process).await?.work().await });
        let answers = join_all(asked).await.into_iter();
        answers.filter(|answer| !matches!(answer, Err(ClientError::Lost { .. }))).collect()
    }

    /// Returns `true` if a process of the herd is still there.
    pub async fn is_up(&self) -> bool {
        let opened = self.processes.iter().map(|process| Client::open(&process.control, self.limit));
        join_all(opened).await.iter().any(Result::is_ok)
    }

    /// Returns the statuses of the processes that answer.
    pub fn statuses(&self) -> impl Iterator<Item = &HerdStatus> {
        self.processes.iter().filter_map(|process| process.status.as_ref())
    }

    fn first_status(&self) -> Result<&HerdStatus, ClientError> {
        let late = || ClientError::Late { herd: self.name.clone(), limit: STATUS_WITHIN.min(self.limit) };
        self.statuses().next().ok_or_else(late)
    }

    fn server_status(&self, topology: &Topology, wiring: &Wiring, server: ServerId) -> ServerStatus {
        let configured = &topology.servers[server.index()];
        let process = self.process_of(&configured.name);
        let told = |process: &Process| ProcessStatus {
            name: process.control.clone(),
            pid: process.status.as_ref().and_then(|status| status.pid),
        };
        let known = process.and_then(|process| process.status.as_ref()).and_then(|status| status.servers.first());
        if let Some(known) = known {
            return ServerStatus { process: process.map(told), ..known.clone() };
        }
        let neighbours = wiring.neighbours(server).iter();
        ServerStatus {
            server: configured.name.to_string(),
            state: if process.is_some() { ServerState::Silent } else { ServerState::Absent },
            reason: None,
            host: configured.host.clone(),
            listen: configured.listen.clone(),
            port: configured.port,
            neighbours: neighbours.map(|neighbour| topology.name(neighbour.server).to_string()).collect(),
            links_up: 0,
            open: Vec::new(),
            records: 0,
            clock_offset: configured.clock_offset,
            replies_waiting: 0,
            process: process.map(told),
        }
    }

    /// Returns which servers know what, compared over all processes.
    ///
    /// # Errors
    ///
    /// Returns an error if a process does not answer, or if the herd has no server of the query's name.
    pub async fn records(&self, query: &RecordsQuery) -> Result<RecordsAnswer, ClientError> {
        if !self.is_apart {
            return self.connect(&self.processes[0]).await?.records(query).await;
        }
        let status = self.status().await?;
        if let Some(name) = query.server.as_deref().filter(|name| status.servers.iter().all(|s| s.server != **name)) {
            let known = status.servers.iter().map(|server| server.server.as_str());
            return Err(ClientError::Refused(unknown_server(&self.name, name, known)));
        }
        let is_asked = |server: &&ServerStatus| query.server.as_ref() == Some(&server.server);
        if let Some(asked) = status.servers.iter().find(is_asked).filter(|asked| asked.state == ServerState::Silent) {
            let herd = self.process_of(&asked.server).map_or(&self.name, |process| &process.control).clone();
            return Err(ClientError::Late { herd, limit: STATUS_WITHIN.min(self.limit) });
        }
        let runs = |server: &&ServerStatus| matches!(server.state, ServerState::Up | ServerState::Paused);
        let running: Vec<&str> = status.servers.iter().filter(runs).map(|server| server.server.as_str()).collect();
        // Each process compares with itself only, so the whole is asked for.
        let all = RecordsQuery { server: None, client: query.client.clone() };
        let asked = running.iter().filter_map(|server| Some((*server, self.process_of(server)?)));
        let asked = asked.map(|(server, process)| {
            let all = &all;
            async move { (server, async { self.connect(process).await?.records(all).await }.await) }
        });
        let (mut answers, mut answering) = (Vec::new(), Vec::new());
        for (server, answer) in join_all(asked).await {
            match answer {
                // It has ended since.
                Err(ClientError::Lost { .. }) => {}
                answer => {
                    answers.push(answer?);
                    answering.push(server);
                }
            }
        }
        Ok(compared(&answers, &answering, query.server.as_deref()))
    }

    /// Ends every process of the herd, side by side. Returns when all are down.
    ///
    /// # Errors
    ///
    /// Returns the first error of a process that is still there.
    pub async fn down(&self, request: &DownRequest, limit: Duration) -> Result<DownAnswer, ClientError> {
        let ended = join_all(self.processes.iter().map(|process| end(process, request, limit))).await;
        let in_order = ended.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(DownAnswer { in_order: in_order.into_iter().all(|in_order| in_order) })
    }
}

impl Process {
    /// Asks a process that may be one of several for its status.
    async fn look(control: String, limit: Duration) -> Self {
        // The name of a whole herd has no point.
        let status = match Client::open(&control, limit.min(STATUS_WITHIN)).await {
            Ok(client) => client.status().await.ok(),
            Err(_) => None,
        };
        Self { control, status }
    }

    /// Returns `true` if it is the process of this server.
    fn runs(&self, server: &str) -> bool {
        match &self.status {
            Some(status) => status.alone.as_deref() == Some(server),
            None => super::names::is_node_of(&self.control, server) == Some(true),
        }
    }

    /// Returns the name of the herd that its control name begins with, if it is the name of a single server's process.
    fn herd(&self) -> Option<&str> {
        self.control.split_once('.').map(|(herd, _)| herd)
    }
}

/// Ends one process. Returns `false` if it did not end in order. One that has gone meanwhile is down.
async fn end(process: &Process, request: &DownRequest, limit: Duration) -> Result<bool, ClientError> {
    let Ok(client) = Client::open(&process.control, limit).await else { return Ok(true) };
    match client.down(request).await {
        Ok(answer) => Ok(answer.in_order),
        Err(ClientError::Lost { .. }) if Client::open(&process.control, limit).await.is_err() => Ok(false),
        Err(error) => Err(error),
    }
}

fn names_of(herds: &[Herd]) -> Vec<String> {
    herds.iter().map(|herd| herd.name.clone()).collect()
}

/// Puts processes of one file together, those of different servers. They come in the order of their names.
fn grouped(processes: Vec<Process>, limit: Duration) -> Vec<Herd> {
    let (apart, whole): (Vec<_>, Vec<_>) = processes.into_iter().partition(|process| process.herd().is_some());
    let mut groups: Vec<Vec<Process>> = Vec::new();
    // A process that does not answer is taken for one of the herd that its name tells, so those that answer come first.
    let (answering, silent): (Vec<_>, Vec<_>) = apart.into_iter().partition(|process| process.status.is_some());
    for process in answering.into_iter().chain(silent) {
        match groups.iter_mut().find(|group| is_of(&process, group)) {
            Some(group) => group.push(process),
            None => groups.push(vec![process]),
        }
    }
    let mut herds: Vec<Herd> = whole.into_iter().map(|process| Herd::one(process, limit)).collect();
    for mut processes in groups {
        processes.sort_by(|a, b| a.control.cmp(&b.control));
        let name = free_name(&processes, &herds);
        herds.push(Herd { name, processes, is_apart: true, limit });
    }
    herds.sort_by(|a, b| a.name.cmp(&b.name));
    herds
}

/// Returns `true` if a process belongs to a group: it has the same file, and its server has no process there.
fn is_of(process: &Process, group: &[Process]) -> bool {
    let Some(status) = &process.status else {
        return group[0].herd() == process.herd() && group.iter().all(|other| other.control != process.control);
    };
    let is_same = |other: &HerdStatus| other.identity.is_same(&status.identity);
    group.iter().filter_map(|other| other.status.as_ref()).any(is_same)
        && group.iter().filter_map(|other| other.status.as_ref()).all(|other| other.alone != status.alone)
}

/// Returns a name that none of `herds` has: that of the processes. A process that is alone goes by its own.
fn free_name(processes: &[Process], herds: &[Herd]) -> String {
    let is_free = |name: &String| herds.iter().all(|herd| herd.name != *name);
    let base = processes[0].herd().unwrap_or(&processes[0].control).to_owned();
    let own = Some(processes[0].control.clone()).filter(|_| processes.len() == 1);
    let numbered = (2..).map(|number| format!("{base}@{number}"));
    let mut names = [base.clone()].into_iter().chain(own).chain(numbered);
    names.find(is_free).expect("numbers do not end")
}

/// Compares what several processes know.
fn compared(answers: &[RecordsAnswer], running: &[&str], only: Option<&str>) -> RecordsAnswer {
    let mut clients = BTreeMap::<&str, Vec<Holding<'_, &RecordStatus>>>::new();
    for record in answers.iter().flat_map(|answer| &answer.records) {
        let line = record.known.as_ref().map(|known| parse(known.line.as_bytes()));
        let server = running.iter().position(|server| *server == record.server);
        if let (Some(Command::At(line)), Some(server)) = (line, server) {
            clients.entry(&record.client).or_default().push(Holding { server, line, known: record });
        }
    }
    let tell = |record: &RecordStatus| record.known.clone().expect("only what is known is compared");
    let mut answer = compare(&clients, running, only, tell);
    answer.left_out += answers.iter().map(|answer| answer.left_out).sum::<usize>();
    answer
}
