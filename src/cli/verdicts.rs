//! What became of scenarios: told, written into reports, and turned into an exit code.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use super::args::{Global, Judge, Merge, Reports};
use super::terminal;
use super::{Failure, Outcome};
use crate::checker::judge;
use crate::exit::Exit;
use crate::history::{History, json as history_json};
use crate::report::json::Report;
use crate::report::{CaseResult, Counts, Status, github, junit, tap, text};

/// `judge`.
pub(super) fn judge_files(global: &Global, args: &Judge) -> Outcome {
    let cases = args.files.iter().map(|file| judge_file(file)).collect::<Result<Vec<_>, _>>()?;
    for case in &cases {
        tell(global, case)?;
    }
    conclude(global, &args.reports, &cases)
}

fn judge_file(path: &Path) -> Result<CaseResult, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::usage(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let history = history_json::read(BufReader::new(file)).map_err(|error| wrong(&error))?;
    let judgement = judge(&history);
    let History { origin, seed, .. } = history;
    Ok(CaseResult {
        name: origin.scenario.clone().unwrap_or_else(|| path.display().to_string()),
        title: origin.title.clone(),
        teaches: None,
        file: path.display().to_string(),
        line: None,
        seed,
        driver: origin.driver,
        compared_with: None,
        status: Status::from(judgement.verdict),
        attempts: 1,
        wall: Duration::ZERO,
        judgement: Some(judgement),
        error: None,
        excerpt: None,
        notes: Vec::new(),
        replay: format!("herdsim judge {}", path.display()),
    })
}

/// `merge`.
pub(super) fn merge(global: &Global, args: &Merge) -> Outcome {
    let reports = args.reports.iter().map(|path| read_report(path)).collect::<Result<Vec<_>, _>>()?;
    let whole = Report::merge(reports).map_err(|error| Failure::usage(error.to_string()))?;
    write_file(&args.output, |out| whole.write(out))?;
    if !global.quiet {
        write!(terminal::err(), "{}", text::summary(&whole.cases, true))?;
    }
    Ok(exit(whole.counts))
}

fn read_report(path: &Path) -> Result<Report, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    Report::read(&text).map_err(|error| wrong(&error))
}

/// Tells how one case ended, and why when it did not pass.
pub(super) fn tell(global: &Global, case: &CaseResult) -> Result<(), Failure> {
    if global.quiet && case.status == Status::Passed {
        return Ok(());
    }
    let mut out = terminal::out();
    writeln!(out, "{}", text::line(case, true))?;
    Ok(write!(out, "{}", text::details(case))?)
}

/// Writes what is asked for about all cases, and says how they ended.
pub(super) fn conclude(global: &Global, reports: &Reports, cases: &[CaseResult]) -> Outcome {
    if !global.quiet {
        write!(terminal::out(), "{}", text::summary(cases, true))?;
    }
    if let Some(path) = &reports.report_json {
        write_file(path, |out| Report::new(cases.to_vec()).write(out))?;
    }
    if let Some(path) = &reports.report_junit {
        write_file(path, |out| junit::write(cases, out).map_err(io::Error::other))?;
    }
    if let Some(path) = &reports.report_tap {
        write_file(path, |out| tap::write(cases, out))?;
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|set| set == "true") {
        tell_github(cases)?;
    }
    Ok(exit(Counts::of(cases)))
}

/// Overwrites a report; `-` is standard output.
fn write_file(path: &Path, write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> Result<(), Failure> {
    let mut text = Vec::new();
    write(&mut text)?;
    if path == Path::new("-") {
        return Ok(terminal::raw_out().write_all(&text)?);
    }
    fs::write(path, text).map_err(|error| Failure::could_not(format!("cannot write {}: {error}", path.display())))
}

/// Annotations, which the runner reads from standard output, and the step's summary, to which steps append.
fn tell_github(cases: &[CaseResult]) -> Result<(), Failure> {
    github::annotations(cases, &mut terminal::raw_out())?;
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") else { return Ok(()) };
    let appended = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(github::summary(cases).as_bytes()));
    appended.map_err(|error| Failure::could_not(format!("cannot write {}: {error}", Path::new(&path).display())))
}

/// The worst case decides: failed before could not run before unproven.
fn exit(counts: Counts) -> Exit {
    let order =
        [(Status::Failed, Exit::Failed), (Status::Error, Exit::CouldNotRun), (Status::Unproven, Exit::Unproven)];
    let worst = order.into_iter().find(|&(status, _)| counts.get(status) > 0).map(|(_, exit)| exit);
    worst.unwrap_or(if counts.total() == 0 { Exit::NothingSelected } else { Exit::Passed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_decides_the_exit_code() {
        let mut counts = Counts { passed: 3, ..Counts::default() };
        assert_eq!(exit(counts), Exit::Passed);
        counts.unproven = 1;
        assert_eq!(exit(counts), Exit::Unproven);
        counts.failed = 1;
        assert_eq!(exit(counts), Exit::Failed);
        assert_eq!(exit(Counts::default()), Exit::NothingSelected);
    }
}
