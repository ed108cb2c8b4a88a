//! A report for GitHub Actions: annotations at the lines that are to blame, and the summary of the step.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{CaseResult, Counts, Status, sweeps};

/// A step shows ten annotations of a kind: nine, and how many more there are.
const SHOWN: usize = 9;

/// Writes the annotations, one on a line: errors for what failed, warnings for what is unproven or flaky.
pub fn annotations(cases: &[CaseResult], out: &mut impl Write) -> io::Result<()> {
    let errors = ("error", [Status::Failed, Status::Error]);
    let warnings = ("warning", [Status::Unproven, Status::Flaky]);
    for (kind, statuses) in [errors, warnings] {
        let of_kind: Vec<&CaseResult> = cases.iter().filter(|case| statuses.contains(&case.status)).collect();
        for case in of_kind.iter().take(SHOWN) {
            let place = case.line.map_or(String::new(), |line| format!(",line={line}"));
            let title = format!("{}: {}", case.status.name(), case.id());
            let (file, title) = (property(&case.file), property(&title));
            let message = data(&format!("{}\n{}", case.reason(), case.replay));
            writeln!(out, "::{kind} file={file}{place},title={title}::{message}")?;
        }
        if of_kind.len() > SHOWN {
            writeln!(out, "::{kind} title=herdsim::and {} more", of_kind.len() - SHOWN)?;
        }
    }
    Ok(())
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The step's summary, in Markdown: what did not pass and why, and how numbers spread.
pub fn summary(cases: &[CaseResult]) -> String {
    let mut text = format!("### herdsim: {}\n", Counts::of(cases).words());
    let trouble: Vec<&CaseResult> = cases.iter().filter(|case| case.status != Status::Passed).collect();
    if !trouble.is_empty() {
        text.push_str("\n| case | | why | again |\n|---|---|---|---|\n");
    }
    for case in trouble {
        let row = [case.id(), case.status.name().into(), case.reason(), format!("`{}`", case.replay)];
        let row = row.map(|field| field.replace('|', "\\|").replace('\n', " "));
        line(&mut text, format_args!("| {} |", row.join(" | ")));
    }
    for sweep in sweeps(cases) {
        line(&mut text, format_args!("\n**{}**: {}\n", sweep.name, sweep.counts.words()));
        text.push_str("| number | p5 | p50 | p95 |\n|---|---|---|---|\n");
        for spread in sweep.numbers.iter().filter(|spread| !spread.is_zero()) {
            line(&mut text, format_args!("| {} | {} |", spread.metric, spread.shown().join(" | ")));
        }
    }
    text
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let infallible = writeln!(text, "{what}");
    debug_assert!(infallible.is_ok(), "a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples::{all, failed, passed};

    fn annotated(cases: &[CaseResult]) -> String {
        let mut bytes = Vec::new();
        annotations(cases, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn annotations_point_at_the_line_to_blame() {
        insta::assert_snapshot!(annotated(&all()), @r##"
::error file=scenarios/partition.toml,line=24,title=failed%3A partition.toml seed 2::Clark and Jaquez lack kiwi.cs.ucla.edu's 1621464827 because links Bona-Clark and Campbell-Jaquez were cut%0Aherdsim run scenarios/partition.toml --seed 2
::error file=scenarios/taken.toml,title=could not run%3A taken.toml seed 1::Bona cannot listen on 127.0.0.1:10001: Address already in use%0Aherdsim run scenarios/taken.toml --seed 1
::warning file=scenarios/flaky.toml,title=flaky%3A flaky.toml seed 1::passed only at attempt 2%0Aherdsim run scenarios/flaky.toml --seed 1
::warning file=scenarios/idle.toml,title=unproven%3A idle.toml seed 1::the fault `cut Campbell-Bailey` hit nothing, so nothing is proven%0Aherdsim run scenarios/idle.toml --seed 1
"##);
    }

    #[test]
    fn nine_annotations_and_a_count() {
        let cases: Vec<_> = (1..=12).map(failed).collect();
        let annotated = annotated(&cases);
        assert_eq!(annotated.lines().count(), 10);
        assert_eq!(annotated.lines().last(), Some("::error title=herdsim::and 3 more"));
    }

    #[test]
    fn the_summary_lists_what_did_not_pass() {
        let mut cases = all();
        cases.push(passed(3));
        insta::assert_snapshot!(summary(&cases), @r##"
### herdsim: 1 could not run, 1 failed, 1 unproven, 1 flaky, 2 passed

| case | | why | again |
|---|---|---|---|
| flaky.toml seed 1 | flaky | passed only at attempt 2 | `herdsim run scenarios/flaky.toml --seed 1` |
| idle.toml seed 1 | unproven | the fault `cut Campbell-Bailey` hit nothing, so nothing is proven | `herdsim run scenarios/idle.toml --seed 1` |
| partition.toml seed 2 | failed | Clark and Jaquez lack kiwi.cs.ucla.edu's 1621464827 because links Bona-Clark and Campbell-Jaquez were cut | `herdsim run scenarios/partition.toml --seed 2` |
| taken.toml seed 1 | could not run | Bona cannot listen on 127.0.0.1:10001: Address already in use | `herdsim run scenarios/taken.toml --seed 1` |

**partition.toml**: 1 failed, 2 passed

| number | p5 | p50 | p95 |
|---|---|---|---|
| convergence | 41 ms | 41 ms | 43 ms |
| propagation p(95) | 1.04 s | 1.04 s | never |
| propagation p(99) | 1.04 s | 1.04 s | never |
| propagation max | 1.04 s | 1.04 s | never |
| lines per update | 3 | 5 | 5 |
| lines | 3 | 5 | 5 |
| bytes | 213 | 355 | 355 |
| redundant lines | 20 % | 20 % | 33.3 % |
| stale area | 2.08 s | 2.09 s | 4 s |
| writes | 1 | 1 | 1 |
| stable writes | 0 | 1 | 1 |
| stale writes | 0 | 0 | 1 |
| never-read writes | 1 | 1 | 1 |
| duration | 3.04 s | 3.04 s | 4 s |
"##);
    }
}
