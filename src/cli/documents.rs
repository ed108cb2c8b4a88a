//! Commands that write something about herdsim itself or its files, and run nothing.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::args::{self, Completions, Man};
use super::terminal;
use super::{Failure, Outcome};
use crate::exit::Exit;

/// `completions`.
pub(super) fn completions(completions: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut args::command(), "herdsim", &mut script);
    terminal::raw_out().write_all(&script)?;
    Ok(Exit::Passed)
}

/// `man`.
pub(super) fn man(man: &Man) -> Outcome {
    let mut command = args::command();
    command.build();
    match &man.dir {
        None => terminal::raw_out().write_all(&page(&command)?)?,
        Some(dir) => {
            let failed = |error| Failure::could_not(format!("cannot write {}: {error}", dir.display()));
            fs::create_dir_all(dir).map_err(failed)?;
            write_pages(&command, "", dir).map_err(failed)?;
        }
    }
    Ok(Exit::Passed)
}

/// Writes the pages of a command and of those under it.
fn write_pages(command: &clap::Command, prefix: &str, dir: &Path) -> std::io::Result<()> {
    let name = format!("{prefix}{}", command.get_name());
    fs::write(dir.join(format!("{name}.1")), page(command)?)?;
    let documented = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    documented.into_iter().try_for_each(|sub| write_pages(sub, &format!("{name}-"), dir))
}

fn page(command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
