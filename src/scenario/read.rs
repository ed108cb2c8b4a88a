//! From a file to its scripts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use super::check::Doings;
use super::expand::{Settings, Variables, Variant};
use super::names::Names;
use super::step::{Reading, Steps};
use super::{Said, Script, Step, Task, check, order, times};
use crate::claim::{Assertion, Check};
use crate::config::{self, LoadError, ReplyMode, Strategy, Topology, Wiring};
use crate::diagnostic::{Choice, Diagnostics, ErrorFormat, Problem, Table, Value, alternatives, quoted, read};
use crate::history::DriverKind;
use crate::wire::{self, Command};

/// What the command line says instead of the files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// How updates travel.
    pub strategy: Option<Strategy>,
    /// When a server answers a client's `IAMAT`.
    pub reply: Option<ReplyMode>,
    /// Of every random draw.
    pub seed: Option<u64>,
}

/// The cases of a file.
#[derive(Debug)]
pub struct Cases {
    /// One for each choice of its matrix; at least one.
    pub scripts: Vec<Script>,
    /// What may surprise; perhaps nothing.
    pub warnings: Diagnostics,
}

impl Choice for DriverKind {
    const WORDS: &'static [(&'static str, Self)] = &[("loopback", Self::Loopback), ("simulated", Self::Simulated)];
}

/// Reads the cases of a scenario file.
///
/// # Errors
///
/// When the file cannot be read, or something in it is wrong; all that is wrong with it comes together.
pub fn load(path: &Path, variables: &Variables, overrides: &Overrides) -> Result<Cases, LoadError> {
    let text = read_text(path).map_err(|source| LoadError::Read { path: path.display().to_string(), source })?;
    parse(path, &text, variables, overrides).map_err(LoadError::Invalid)
}

fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) }
}

/// Whether a file is a scenario rather than a herd: it has a title or steps. A file that cannot be read is neither.
pub fn is_scenario(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else { return false };
    let (document, _) = toml::de::DeTable::parse_recoverable(&text);
    ["title", "step"].iter().any(|key| document.get_ref().contains_key(*key))
}

/// Reads the cases of the text of a scenario file that lies, or would lie, at `path`.
///
/// # Errors
///
/// Everything that is wrong with the text.
pub fn parse(path: &Path, text: &str, variables: &Variables, overrides: &Overrides) -> Result<Cases, Diagnostics> {
    let origin = path.display().to_string();
    let mut scripts = Vec::new();
    let mut warnings = Diagnostics::new(&*origin, text, Vec::new());
    let mut settings = Settings::of(text);
    settings.fix(overrides.strategy.map(|_| "strategy"));
    settings.fix(overrides.reply.map(|_| "reply"));
    settings.fix(overrides.seed.map(|_| "seed"));
    for variant in settings.variants(variables) {
        let applied = variant.apply(text).map_err(|problems| Diagnostics::new(&*origin, text, problems))?;
        let case = Case { path, text: &applied, variant: &variant, variables, overrides };
        let (script, said) = read(&origin, &applied, |table| case.script(table))?;
        scripts.push(script);
        if warnings.is_empty() {
            warnings = said;
        }
    }
    if scripts.is_empty() {
        let problem =
            Problem::error(0..0, "the matrix has no case").help("give each variable of `[matrix]` at least one value");
        return Err(Diagnostics::new(&*origin, text, vec![problem]));
    }
    Ok(Cases { scripts, warnings })
}

/// One case while it is read.
struct Case<'a> {
    path: &'a Path,
    text: &'a str,
    variant: &'a Variant,
    variables: &'a Variables,
    overrides: &'a Overrides,
}

/// What stands above the steps.
struct Header {
    title: String,
    teaches: Option<String>,
    drivers: Vec<DriverKind>,
    deadline: Option<Duration>,
    unrealistic: bool,
    always: bool,
}

impl Case<'_> {
    fn script(&self, table: &mut Table<'_>) -> Option<Script> {
        let header = self.header(table);
        let topology = self.topology(table);
        let Some(topology) = topology else {
            // Without a herd nothing else can be checked; its keys are known all the same.
            for key in ["step", "expect", "include"] {
                table.value(key);
            }
            return None;
        };
        let names = Names::new(&topology);
        let steps = self.steps(table, &header, &names);
        // A step that could not be read may be the one that does it.
        let doings = if table.problems().errors() == 0 { Doings::of(&steps.steps) } else { Doings::ANY };
        let expected = table.optional("expect", |value| match value.peek_text() {
            Some(_) => check::counterexample(value, &names),
            None => value.table(|table| check::expected(table, &doings, &names)),
        });
        let expected = expected.unwrap_or_default();
        for problem in names.never_mentioned() {
            table.problems().push(problem);
        }
        for problem in order::problems(&steps.steps, header.deadline, &topology, &Wiring::of(&topology)) {
            table.problems().push(problem);
        }
        if header.drivers.len() > 1 {
            times::problems(&steps.steps).into_iter().for_each(|problem| table.problems().push(problem));
        }
        let mut checks = steps.checks;
        checks.extend(expected.checks);
        checks.extend(always(&header, &steps.steps, &checks, &topology));
        Some(Script {
            title: header.title,
            teaches: header.teaches,
            file: self.path.to_owned(),
            case: self.variant.name.clone(),
            topology: Arc::new(topology),
            drivers: header.drivers,
            deadline: header.deadline,
            steps: steps.steps,
            checks,
            thresholds: expected.thresholds,
        })
    }

    fn header(&self, table: &mut Table<'_>) -> Header {
        let title = table.required("title", Value::text).unwrap_or_default().to_owned();
        let teaches = table.optional("teaches", Value::text).map(str::to_owned);
        for key in ["variables", "matrix"] {
            // Read before everything else; here they are only known.
            table.optional(key, |value| value.table(|table| Some(table.all().len())));
        }
        let all = || vec![DriverKind::Loopback, DriverKind::Simulated];
        Header {
            title,
            teaches,
            drivers: table.optional("drivers", |value| value.each(Value::choice)).unwrap_or_else(all),
            deadline: table.optional("deadline", Value::positive_duration),
            unrealistic: table.optional("unrealistic", Value::boolean).unwrap_or(false),
            always: table.optional("always", Value::boolean).unwrap_or(true),
        }
    }

    fn topology(&self, table: &mut Table<'_>) -> Option<Topology> {
        let strategy = table.optional("strategy", Value::choice);
        let reply = table.optional("reply", Value::choice);
        let seed = table.optional("seed", |value| value.integer(0..=i64::MAX as u64));
        let mut topology = table.required("herd", |value| self.herd(value))?;
        let matrix = self.chosen(table, "strategy");
        topology.strategy = self.overrides.strategy.or(matrix).or(strategy).unwrap_or(topology.strategy);
        let matrix = self.chosen(table, "reply");
        topology.reply = self.overrides.reply.or(matrix).or(reply).or(topology.reply);
        let matrix = self.variant.chosen.get("seed").and_then(|seed| seed.parse().ok());
        topology.seed = self.overrides.seed.or(matrix).or(seed).unwrap_or(topology.seed);
        Some(topology)
    }

    /// Returns what the matrix chose for a key of the herd. Reports a word that the key cannot be.
    fn chosen<T: Choice>(&self, table: &Table<'_>, key: &str) -> Option<T> {
        let chosen = self.variant.chosen.get(key)?;
        let found = T::of_word(chosen);
        if found.is_none() {
            let span = table.key_span("matrix").unwrap_or_default();
            let problem = Problem::error(span, format!("{} cannot be {}", quoted(key), quoted(chosen)));
            let help = format!("use {}", alternatives(T::words()));
            table.problems().push(problem.suggest(chosen, T::words(), help));
        }
        found
    }

    /// A herd file, by its path from the scenario, or a herd in place.
    fn herd(&self, value: Value<'_>) -> Option<Topology> {
        let Some(path) = value.peek_text() else {
            return value.table(|table| config::topology(table, "scenario"));
        };
        match config::load(&self.beside(path)) {
            Ok(loaded) => {
                if !loaded.warnings.is_empty() {
                    let problem = Problem::warning(value.span(), "this herd file has warnings");
                    value.problems().push(problem.note(loaded.warnings.render(ErrorFormat::Short, false)));
                }
                Some(loaded.topology)
            }
            Err(LoadError::Invalid(problems)) => {
                let problem = value.error("something is wrong in this herd file");
                value.reject(problem.note(problems.render(ErrorFormat::Short, false)))
            }
            Err(error) => value.reject(value.error(error.to_string())),
        }
    }

    fn beside(&self, path: &str) -> PathBuf {
        beside(self.path, path)
    }

    fn steps(&self, table: &mut Table<'_>, header: &Header, names: &Names<'_>) -> Steps {
        let mut steps = Steps::default();
        let mut chain = vec![self.path.to_owned()];
        table.optional("include", |value| {
            value.each(|entry| self.include(entry, &mut chain, header, names, &mut steps))
        });
        let reading = Reading { names, text: self.text, file: None, unrealistic: header.unrealistic };
        table.optional("step", |value| value.each(|entry| reading.step(entry, &mut steps)));
        steps
    }

    /// The steps of another scenario file, which come first; those of the files it includes before them. `chain` are the
    /// files that lead here.
    fn include(
        &self,
        value: Value<'_>,
        chain: &mut Vec<PathBuf>,
        header: &Header,
        names: &Names<'_>,
        into: &mut Steps,
    ) -> Option<()> {
        let path = beside(chain.last().map_or(self.path, |file| file), value.text()?);
        let shown = path.display().to_string();
        if chain.contains(&path) {
            return value.reject(value.error(format!("{shown} includes itself")));
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => return value.reject(value.error(format!("cannot read {shown}: {error}"))),
        };
        let given = [self.variables.clone(), self.variant.chosen.clone()].into_iter().flatten().collect();
        let variants = Settings::of(&text).variants(&given);
        let applied = variants.first().map_or_else(|| Ok(text.clone()), |variant| variant.apply(&text));
        let applied = match applied {
            Ok(applied) => applied,
            Err(problems) => return refuse_include(value, &Diagnostics::new(shown, text, problems)),
        };
        let reading = Reading { names, text: &applied, file: Some(shown.clone()), unrealistic: header.unrealistic };
        chain.push(path);
        let result = read(&shown, &applied, |table| {
            // Its own herd, title and expectations are those of another scenario.
            table.all();
            table.optional("include", |value| value.each(|entry| self.include(entry, chain, header, names, into)));
            table.optional("step", |value| value.each(|entry| reading.step(entry, into)));
            Some(())
        });
        chain.pop();
        match result {
            Ok(_) => Some(()),
            Err(problems) => refuse_include(value, &problems),
        }
    }
}

/// A path as a file names it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

fn refuse_include(value: Value<'_>, problems: &Diagnostics) -> Option<()> {
    let problem = value.error("something is wrong in this file");
    // As help, which the short format shows as well, however deep the file lies.
    value.reject(problem.help(problems.render(ErrorFormat::Short, false)))
}

/// What holds of every herd, unless the scenario asserts the contrary or makes it impossible.
fn always(header: &Header, steps: &[Step], checks: &[Check], topology: &Topology) -> Vec<Check> {
    if !header.always {
        return Vec::new();
    }
    let invented = steps.iter().any(speaks_as_server);
    let servers: Vec<_> = topology.servers.iter().map(|server| server.name.clone()).collect();
    let wanted = Assertion::ALWAYS.into_iter().filter(|assertion| {
        let asked = checks.iter().any(|check| check.assertion.name() == assertion.name());
        !asked && (!invented || *assertion != Assertion::NoInvention)
    });
    wanted.map(|assertion| Check::implied(assertion, &servers)).collect()
}

/// Returns `true` if a step sends an `AT` line, which no client of the herd has caused.
fn speaks_as_server(step: &Step) -> bool {
    let Task::Talk(talk) = &step.task else { return false };
    let Said::Bytes(bytes) = &talk.said else { return false };
    wire::lines(bytes, true).any(|line| matches!(wire::parse(line), Command::At(_)))
}
