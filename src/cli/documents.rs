//! Commands about herdsim itself and its files, which run nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::args::{self, Check, Completions, Global, Init, Man, Schema, SchemaKind};
use super::terminal::{self, BOLD, styled};
use super::{Failure, Outcome, herd_file};
use crate::audit::Audit;
use crate::config;
use crate::exit::Exit;
use crate::history::json;
use crate::scenario::{self, Overrides, Variables};

/// `init`.
pub(super) fn init(init: &Init) -> Outcome {
    let text = config::template(init.preset, None);
    if init.file == Path::new("-") {
        terminal::raw_out().write_all(text.as_bytes())?;
        return Ok(Exit::Passed);
    }
    let file = if init.force { File::create(&init.file) } else { File::create_new(&init.file) };
    let shown = init.file.display();
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => writeln!(terminal::err(), "wrote {shown}; `herdsim up` runs it")?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("{shown} is there already; --force overwrites it")));
        }
        Err(error) => return Err(Failure::could_not(format!("cannot write {shown}: {error}"))),
    }
    Ok(Exit::Passed)
}

/// `check`.
pub(super) fn check(global: &Global, check: &Check) -> Outcome {
    let mut exit = Exit::Passed;
    for (place, file) in check.files.iter().enumerate() {
        if check.files.len() > 1 {
            let gap = if place > 0 { "\n" } else { "" };
            writeln!(terminal::out(), "{gap}{}", styled(BOLD, file.display()))?;
        }
        if let Err(failure) = check_file(global, file) {
            // All files are looked at, whatever the first one says.
            terminal::fail(&failure.text)?;
            exit = failure.exit;
        }
    }
    Ok(exit)
}

fn check_file(global: &Global, file: &Path) -> Result<(), Failure> {
    if !scenario::is_scenario(file) {
        let topology = herd_file::load(global, file)?;
        return Ok(write!(terminal::out(), "{}", Audit::of(&topology))?);
    }
    let cases = scenario::load(file, &Variables::new(), &Overrides::default());
    let cases = cases.map_err(|error| herd_file::failure(global, file, error))?;
    herd_file::warn(global, &cases.warnings)?;
    let mut out = terminal::out();
    for script in &cases.scripts {
        let (steps, checks) = (script.steps.len(), script.checks.len() + script.thresholds.len());
        writeln!(out, "{}: {steps} steps and {checks} checks: {}", script.name(), script.title)?;
    }
    Ok(())
}

/// `schema`.
pub(super) fn schema(schema: &Schema) -> Outcome {
    let text = match schema.kind {
        SchemaKind::Herd => config::schema(),
        SchemaKind::Scenario => scenario::schema(),
        SchemaKind::History => json::schema(),
    };
    terminal::raw_out().write_all(text.as_bytes())?;
    Ok(Exit::Passed)
}

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
