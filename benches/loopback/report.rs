//! Medians, and tables that are Markdown and can be read as they are.

use std::time::Duration;

/// The median; `None` of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], upper) } else { upper })
}

/// Three digits, with `k` for thousands and `M` for millions.
pub(crate) fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{:.2}M", value / 1e6),
        1e5.. => format!("{:.0}k", value / 1e3),
        1e3.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A value and its unit: `17.2 kB`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    let text = short(value);
    let digits = text.trim_end_matches(['k', 'M']);
    let text = format!("{digits} {}{unit}", &text[digits.len()..]);
    text.trim_end().to_owned()
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    short(duration.as_secs_f64() * 1e3)
}

/// Prints rows under a heading.
pub(crate) fn print_table(heading: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..heading.len()).map(width).collect();
    let print = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        println!("| {} |", padded.collect::<Vec<_>>().join(" | "));
    };
    print(&heading.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    print(&widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>());
    rows.iter().for_each(|row| print(row));
    println!();
}

/// Which side of a target is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

/// What was wanted and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Targets(Vec<Vec<String>>);

impl Targets {
    /// Compares; nothing without a value.
    pub(crate) fn add(&mut self, name: &str, bound: Bound, target: f64, unit: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        let (words, share) = match bound {
            Bound::AtLeast => ("at least", value / target),
            Bound::AtMost => ("at most", target / value),
        };
        let verdict = if share >= 1.0 { "met".to_owned() } else { format!("missed by {:.0} %", 100.0 * (1.0 - share)) };
        let target = format!("{words} {}", with_unit(target, unit));
        self.0.push(vec![name.to_owned(), target, with_unit(value, unit), verdict]);
    }
}

/// Prints all targets that were measured.
pub(crate) fn print_targets(targets: &Targets) {
    if !targets.0.is_empty() {
        print_table(&["target", "wanted", "measured", ""], &targets.0);
    }
}
