//! A report for people: a line for every case, the whole story of those that did not pass, and the numbers at the end.
//!
//! With colours when asked for; without, the same words. Not here: whether the terminal wants colours.

use std::fmt;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::{CaseResult, Counts, Status, Sweep, sweeps};
use crate::checker::{Deeds, Explanation, Finding, Judgement, Numbers};
use crate::claim::{Metric, Verdict};
use crate::words::{digits, short};

/// Seeds of one sweep whose commands are listed; of more the number is told.
const REPLAYS: usize = 10;

/// The line of one case: how it ended, its name, how long it took.
pub fn line(case: &CaseResult, colour: bool) -> String {
    let status = painted(format!("{:<8}", label(case.status)), case.status, colour);
    let attempts = if case.attempts > 1 { format!(", {} attempts", case.attempts) } else { String::new() };
    format!("{status}  {}  ({}{attempts})", case.id(), short(case.wall))
}

/// Why a case did not pass, without colours: every finding with what led to it, and the command that runs it again. Empty
/// for a case that passed and has no notes.
pub fn details(case: &CaseResult) -> String {
    let mut block = Block::default();
    for note in &case.notes {
        block.line(1, format_args!("note: {note}"));
    }
    if case.status == Status::Passed {
        return block.text;
    }
    let place = case.line.map_or(String::new(), |line| format!(":{line}"));
    block.line(1, format_args!("{}", case.title));
    if let Some(teaches) = &case.teaches {
        block.line(1, format_args!("teaches: {teaches}"));
    }
    block.line(1, format_args!("in {}{place}, seed {}", case.file, case.seed));
    if let Some(error) = &case.error {
        block.lines(1, error);
    }
    if let Some(excerpt) = &case.excerpt {
        block.lines(1, excerpt);
    }
    for finding in case.trouble() {
        block.finding(finding);
    }
    for fault in case.idle_faults() {
        let line = at_line(fault.line);
        block.line(1, format_args!("unproven: the fault `{}`{line} hit nothing", fault.fault));
        block.line(2, format_args!("because   nothing crossed it while it lasted: what holds may hold without it"));
    }
    block.line(1, format_args!("run it again: {}", case.replay));
    block.text
}

/// What stands at the end: the numbers of a lone case or how they spread over seeds, and how many cases ended how.
pub fn summary(cases: &[CaseResult], colour: bool) -> String {
    let mut block = Block::default();
    if let [CaseResult { judgement: Some(judgement), .. }] = cases {
        block.judgement(judgement);
    }
    for sweep in sweeps(cases) {
        block.sweep(&sweep);
    }
    let counts = Counts::of(cases);
    let worst = cases.iter().map(|case| case.status).max().unwrap_or(Status::Passed);
    let wall: Duration = cases.iter().map(|case| case.wall).sum();
    let words = painted(counts.words(), worst, colour);
    let of = if counts.total() == 1 { "1 case".into() } else { format!("{} cases", counts.total()) };
    block.line(0, format_args!("{of}: {words}  ({} in all)", short(wall)));
    block.text
}

fn label(status: Status) -> &'static str {
    match status {
        Status::Error => "error",
        status => status.name(),
    }
}

fn style(status: Status) -> Style {
    let colour = match status {
        Status::Passed => AnsiColor::Green,
        Status::Flaky | Status::Unproven => AnsiColor::Yellow,
        Status::Failed | Status::Error => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into())).bold()
}

/// Text in the style of a status, when there are colours.
fn painted(text: String, status: Status, colour: bool) -> String {
    let style = style(status);
    if colour { format!("{style}{text}{style:#}") } else { text }
}

/// Lines being written, indented by two spaces a level.
#[derive(Default)]
struct Block {
    text: String,
}

impl Block {
    fn line(&mut self, level: usize, what: fmt::Arguments<'_>) {
        let infallible = fmt::Write::write_fmt(&mut self.text, format_args!("{:1$}{what}\n", "", level * 2));
        debug_assert!(infallible.is_ok(), "a String takes every write");
    }

    fn lines(&mut self, level: usize, text: &str) {
        for line in text.lines() {
            self.line(level, format_args!("{line}"));
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let verdict = Status::from(finding.verdict).name();
        let line = at_line(finding.line);
        self.line(1, format_args!("{verdict}: {} [{}{line}]", finding.statement, finding.name));
        let Some(why) = &finding.explanation else { return };
        let Explanation { expected, actual, at, because, .. } = &**why;
        let at = at.map_or(String::new(), |at| format!(" (seen at {})", short(Duration::from_nanos(at))));
        self.line(2, format_args!("expected  {expected}"));
        self.line(2, format_args!("actual    {actual}{at}"));
        for cause in because {
            self.line(2, format_args!("because   {}", cause.text));
        }
    }

    fn judgement(&mut self, judgement: &Judgement) {
        self.numbers(&judgement.numbers);
        if !judgement.faults.is_empty() {
            self.line(0, format_args!("faults"));
        }
        for fault in &judgement.faults {
            let hit = if fault.hit.is_empty() { "hit nothing".into() } else { fault.hit.join(", ") };
            let from = short(Duration::from_nanos(fault.from));
            self.line(1, format_args!("at {from}, {}: {hit}", fault.fault));
        }
        let limits = judgement.findings.iter().filter(|finding| finding.name.parse::<Metric>().is_ok());
        for (place, limit) in limits.enumerate() {
            if place == 0 {
                self.line(0, format_args!("limits"));
            }
            self.limit(limit, &judgement.numbers);
        }
    }

    fn limit(&mut self, limit: &Finding, numbers: &Numbers) {
        let metric = limit.name.parse::<Metric>().ok();
        let value = metric.and_then(|metric| Some(metric.show(numbers.value(metric)?)));
        let mark = match limit.verdict {
            Verdict::Passed => "ok",
            Verdict::Unproven => "??",
            Verdict::Failed => "NO",
        };
        self.line(1, format_args!("{mark}  {:<32} is {}", limit.statement, value.as_deref().unwrap_or("not measured")));
    }

    fn numbers(&mut self, numbers: &Numbers) {
        self.line(0, format_args!("numbers"));
        let least = numbers.at_least.as_ref();
        if let Some(time) = numbers.convergence {
            let time = between(least.and_then(|least| least.convergence), time);
            self.row("convergence", format!("{time} after the last fault or write"));
        }
        if let Some(p) = numbers.propagation {
            let least = least.and_then(|least| least.propagation);
            let never =
                if p.never > 0 { format!(", {} of {} never", p.never, p.count + p.never) } else { String::new() };
            let p50 = between(least.map(|least| least.p50), p.p50);
            let p95 = between(least.map(|least| least.p95), p.p95);
            let max = between(least.map(|least| least.max), p.max);
            let floor = short(p.floor);
            self.row("propagation", format!("p50 {p50}, p95 {p95}, max {max}{never} (links alone: {floor})"));
        }
        if let Some(cost) = numbers.value(Metric::LinesPerUpdate) {
            let (flood, tree) = (numbers.lines_of_flood, numbers.lines_of_tree);
            self.row("lines per update", format!("{} (flooding {flood}, the least {tree})", digits(cost)));
        }
        match &numbers.deeds {
            Some(deeds) => self.deeds(numbers, deeds),
            None => self.row("lines", "not seen: servers are seen from outside".to_owned()),
        }
        if let Some(set) = numbers.set.filter(|_| numbers.writes > 0) {
            let fates =
                format!("{} stable, {} stale, {} lost, {} never read", set.stable, set.stale, set.lost, set.never_read);
            self.row("writes", format!("{}: {fates}", numbers.writes));
        }
        let waited = if numbers.waited.is_zero() {
            String::new()
        } else {
            format!(", {} of it only waited", short(numbers.waited))
        };
        self.row("duration", format!("{}{waited}", short(numbers.duration)));
    }

    /// What servers did among themselves.
    fn deeds(&mut self, numbers: &Numbers, deeds: &Deeds) {
        let redundant = numbers
            .value(Metric::Redundant)
            .map_or(String::new(), |part| format!(", {} of them redundant", Metric::Redundant.show(part)));
        self.row("lines", format!("{} in {}{redundant}", deeds.lines, bytes(deeds.bytes)));
        if deeds.control_lines > 0 {
            self.row("control lines", deeds.control_lines.to_string());
        }
        if deeds.late_replies > 0 {
            self.row("late replies", deeds.late_replies.to_string());
        }
        if let Some(area) = numbers.value(Metric::StaleArea) {
            self.row("stale area", format!("{} s per write", digits(area)));
        }
    }

    fn row(&mut self, name: &str, value: String) {
        self.line(1, format_args!("{name:<17} {value}"));
    }

    fn sweep(&mut self, sweep: &Sweep) {
        self.line(0, format_args!("{} over {} seeds: {}", sweep.name, sweep.counts.total(), sweep.counts.words()));
        self.line(1, format_args!("{:<18} {:>9} {:>9} {:>9}", "", "p5", "p50", "p95"));
        for spread in sweep.numbers.iter().filter(|spread| !spread.is_zero()) {
            let [p5, p50, p95] = spread.shown();
            self.line(1, format_args!("{:<18} {p5:>9} {p50:>9} {p95:>9}", spread.metric));
        }
        for replay in sweep.replays.iter().take(REPLAYS) {
            self.line(1, format_args!("seed {} {}: {}", replay.seed, replay.status.name(), replay.command));
        }
        if sweep.replays.len() > REPLAYS {
            self.line(1, format_args!("and {} more seeds that did not pass", sweep.replays.len() - REPLAYS));
        }
    }
}

/// Returns a time, or the two times between which it lies.
fn between(least: Option<Duration>, most: Duration) -> String {
    match least {
        Some(least) if least != most => format!("{} to {}", short(least), short(most)),
        _ => short(most),
    }
}

/// ` at line 12`.
fn at_line(line: Option<u32>) -> String {
    line.map_or(String::new(), |line| format!(" at line {line}"))
}

fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{} kB", digits(number as f64 / 1e3)),
        _ => format!("{} MB", digits(number as f64 / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples::{all, failed, passed};

    #[test]
    fn every_case_has_one_line() {
        let lines: Vec<String> = all().iter().map(|case| line(case, false)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r##"
passed    partition.toml seed 1  (3 ms)
flaky     flaky.toml seed 1  (3 ms, 2 attempts)
unproven  idle.toml seed 1  (3 ms)
failed    partition.toml seed 2  (3 ms)
error     taken.toml seed 1  (3 ms)
"##);
    }

    #[test]
    fn the_details_tell_what_did_not_pass_and_why() {
        let told: Vec<String> = all().iter().map(details).collect();
        insta::assert_snapshot!(told.join("---\n"), @r##"
---
  An update made during a partition reaches the other side after it heals
  in scenarios/flaky.toml, seed 1
  run it again: herdsim run scenarios/flaky.toml --seed 1
---
  An update made during a partition reaches the other side after it heals
  in scenarios/idle.toml, seed 1
  unproven: the fault `cut Campbell-Bailey` at line 13 hit nothing
    because   nothing crossed it while it lasted: what holds may hold without it
  run it again: herdsim run scenarios/idle.toml --seed 1
---
  An update made during a partition reaches the other side after it heals
  teaches: Flooding alone loses what happens during a partition.
  in scenarios/partition.toml:24, seed 2
  24 | converged = { within = "500ms" }
     | ^^^^^^^^^
  failed: all servers of the core converged within 500 ms [converged]
    expected  everybody holds kiwi.cs.ucla.edu's 1621464827
    actual    Clark and Jaquez do not (seen at 4 s)
    because   Clark and Jaquez lack kiwi.cs.ucla.edu's 1621464827: links Bona-Clark and Campbell-Jaquez were cut from 1.2 s to 3 s, and nothing was replayed after the heal
  run it again: herdsim run scenarios/partition.toml --seed 2
---
  An update made during a partition reaches the other side after it heals
  in scenarios/taken.toml, seed 1
  Bona cannot listen on 127.0.0.1:10001: Address already in use
  run it again: herdsim run scenarios/taken.toml --seed 1
"##);
    }

    #[test]
    fn the_summary_of_one_case_shows_its_numbers_faults_and_limits() {
        insta::assert_snapshot!(summary(&[passed(1)], false), @r##"
numbers
  convergence       41 ms after the last fault or write
  propagation       p50 0 ms, p95 1.04 s, max 1.04 s (links alone: 0 ms)
  lines per update  5 (flooding 8, the least 4)
  lines             5 in 355 B, 20 % of them redundant
  stale area        2.08 s per write
  writes            1: 1 stable, 0 stale, 0 lost, 1 never read
  duration          3.04 s
faults
  at 1.2 s, partition Clark, Jaquez | the others: 2 updates missed
limits
  ok  lines per update <= 8            is 5
1 case: 1 passed  (3 ms in all)
"##);
        insta::assert_snapshot!(summary(&[failed(1)], false), @r##"
numbers
  propagation       p50 0 ms, p95 0 ms, max 0 ms, 2 of 4 never (links alone: 0 ms)
  lines per update  3 (flooding 8, the least 4)
  lines             3 in 213 B, 33.3 % of them redundant
  stale area        4 s per write
  writes            1: 0 stable, 1 stale, 0 lost, 1 never read
  duration          4 s
faults
  at 1.2 s, partition Clark, Jaquez | the others: 2 updates missed
limits
  ok  lines per update <= 8            is 3
1 case: 1 failed, 0 passed  (3 ms in all)
"##);
    }

    #[test]
    fn the_summary_of_a_sweep_shows_how_numbers_spread_and_which_seeds_failed() {
        let mut cases: Vec<_> = (1..=20).map(passed).collect();
        cases.extend([failed(21), failed(22)]);
        insta::assert_snapshot!(summary(&cases, false), @r##"
partition.toml over 22 seeds: 2 failed, 20 passed
                            p5       p50       p95
  convergence            41 ms     50 ms     59 ms
  propagation p(95)     1.04 s    1.05 s     never
  propagation p(99)     1.04 s    1.05 s     never
  propagation max       1.04 s    1.05 s     never
  lines per update           3         5         5
  lines                      3         5         5
  bytes                    213       355       355
  redundant lines         20 %      20 %    33.3 %
  stale area            2.08 s     2.1 s       4 s
  writes                     1         1         1
  stable writes              0         1         1
  stale writes               0         0         1
  never-read writes          1         1         1
  duration              3.04 s    3.05 s       4 s
  seed 21 failed: herdsim run scenarios/partition.toml --seed 21
  seed 22 failed: herdsim run scenarios/partition.toml --seed 22
22 cases: 2 failed, 20 passed  (66 ms in all)
"##);
    }

    #[test]
    fn colours_change_no_word() {
        let coloured = line(&failed(1), true);
        assert!(coloured.contains("\u{1b}["), "{coloured}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), line(&failed(1), false));
    }
}
