//! The herd file that a command names.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::Failure;
use super::args::Global;
use crate::config::{Delay, Limits, Link, LinkMode, Places, Redial, Server, ServerId, Strategy, Threads, Topology};
use crate::diagnostic::did_you_mean;

/// What a file has to say at least; the full reading, with every setting and a caret under every mistake, takes its place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "name")]
    name: String,
    #[serde(default)]
    strategy: Strategy,
    servers: Vec<FileServer>,
    #[serde(default)]
    links: Vec<[String; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileServer {
    name: String,
    #[serde(default = "host")]
    host: String,
    port: u16,
}

fn name() -> String {
    "herd".into()
}

fn host() -> String {
    "127.0.0.1".into()
}

/// Reads a herd's file.
pub(super) fn load(_: &Global, path: &Path) -> Result<Topology, Failure> {
    let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("there is no such file; `herdsim init` writes one".into()),
        _ => wrong(error.to_string()),
    })?;
    let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let find = |name: &String| {
        let names = file.servers.iter().map(|server| server.name.as_str());
        let place = names.clone().position(|known| known == name).map(|place| ServerId(place as u32));
        let hint = || did_you_mean(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        place.ok_or_else(|| wrong(format!("links: there is no server `{name}`{}", hint())))
    };
    let link = |[a, b]: &[String; 2]| {
        Ok(Link { ends: [find(a)?, find(b)?], mode: LinkMode::default(), delay: Delay::default() })
    };
    let links = file.links.iter().map(link).collect::<Result<_, Failure>>()?;
    let server = |FileServer { name, host, port }| Server { name: Arc::from(name), host, port, clock_offset: 0 };
    Ok(Topology {
        name: file.name,
        servers: file.servers.into_iter().map(server).collect(),
        links,
        strategy: file.strategy,
        redial: Redial::default(),
        places: Places::default(),
        limits: Limits::default(),
        threads: Threads::default(),
        seed: 0,
    })
}
