//! Tables with aligned columns.

use std::io::{self, Write};

use anstyle::Style;

use super::terminal::BOLD;

/// Rows of cells under a heading; the last column is not padded.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// Text in a style.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(super) fn new(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Style::new(), text)
    }
}

impl Table {
    pub(super) fn new(heading: &[&'static str]) -> Self {
        Self { heading: heading.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for every column.
    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        assert_eq!(cells.len(), self.heading.len());
        self.rows.push(cells);
    }

    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let heading: Vec<_> = self.heading.iter().map(|&text| Cell::new(BOLD, text)).collect();
        let widths = self.widths();
        for row in std::iter::once(&heading).chain(&self.rows) {
            write_row(out, row, &widths)?;
        }
        Ok(())
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].text.chars().count());
            cells.max().unwrap_or(0).max(self.heading[column].len())
        };
        (0..self.heading.len()).map(width).collect()
    }
}

fn write_row(out: &mut impl Write, row: &[Cell], widths: &[usize]) -> io::Result<()> {
    let last = row.len() - 1;
    for (column, (Cell { text, style }, &width)) in row.iter().zip(widths).enumerate() {
        let padding = if column == last { 0 } else { width - text.chars().count() + 2 };
        write!(out, "{style}{text}{style:#}{:padding$}", "")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(["wide cell".into(), "x".into(), "end".into()]);
        table.row([Cell::new(Style::new(), ""), "".into(), "end".into()]);
        let mut written = anstream::StripStream::new(Vec::new());
        table.write_to(&mut written).unwrap();
        assert_eq!(
            String::from_utf8(written.into_inner()).unwrap(),
            "A          LONG  C\nwide cell  x     end\n                 end\n"
        );
    }
}
