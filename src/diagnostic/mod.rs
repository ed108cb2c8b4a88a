//! Problems in text that people wrote, shown where they are: `file:line:column`, the line, a caret, and what to do.
//!
//! Not here: what is right or wrong in a file (`config`, `scenario`), and whether colours are wanted (the caller).

mod reader;
mod suggest;

use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

pub use reader::{Choice, DurationText, Located, OneOf, Problems, Table, Value, alternatives, read};
pub use suggest::{did_you_mean, escaped, quoted};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and does something its writer may not expect.
    Warning,
}

/// One thing wrong at one place of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The offending bytes; may be empty, at the end of the text.
    pub span: Range<usize>,
    /// What is wrong, without position or final stop.
    pub title: String,
    /// What stands beside the caret; may be empty.
    pub label: String,
    /// Other places that one has to see to understand, each with what to see there.
    pub related: Vec<(Range<usize>, String)>,
    /// Why it is wrong.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Vec<String>,
}

impl Problem {
    /// An error at `span`.
    pub fn error(span: Range<usize>, title: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, title.into())
    }

    /// A warning at `span`.
    pub fn warning(span: Range<usize>, title: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, title.into())
    }

    fn new(severity: Severity, span: Range<usize>, title: String) -> Self {
        Self { severity, span, title, label: String::new(), related: Vec::new(), notes: Vec::new(), help: Vec::new() }
    }

    /// Sets what stands beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Shows one more place.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds why it is wrong.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds ``did you mean `..`?`` when one of `candidates` is close to `word`, else `otherwise` when it is not empty.
    #[must_use]
    pub fn suggest<'a>(
        self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<String>,
    ) -> Self {
        match did_you_mean(word, candidates) {
            Some(candidate) => self.help(format!("did you mean {}?", quoted(candidate))),
            None => {
                let otherwise = otherwise.into();
                if otherwise.is_empty() { self } else { self.help(otherwise) }
            }
        }
    }
}

/// How problems are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ErrorFormat {
    /// One line for each: `file:line:column: error: what (what to do)`.
    Short,
    /// With the offending lines and carets under them.
    #[default]
    Long,
}

/// What is wrong in one text, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    origin: String,
    text: String,
    problems: Vec<Problem>,
}

impl std::error::Error for Diagnostics {}

/// The long format without colours.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(ErrorFormat::Long, false))
    }
}

impl Diagnostics {
    /// The `problems` of `text`, which people know as `origin`: a path, or `<stdin>`.
    pub fn new(origin: impl Into<String>, text: impl Into<String>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self { origin: origin.into(), text: text.into(), problems }
    }

    /// What is wrong, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// What people know the text as.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All problems as text, without a final newline; with ANSI colours when `colour`. Empty when nothing is wrong.
    pub fn render(&self, format: ErrorFormat, colour: bool) -> String {
        match format {
            ErrorFormat::Short => self.each("\n", |problem| self.short(problem)),
            ErrorFormat::Long => {
                let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
                self.each("\n\n", |problem| self.long(problem, &renderer))
            }
        }
    }

    /// Line and column of a byte of the text, both from 1; columns count characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    fn each(&self, separator: &str, write: impl Fn(&Problem) -> String) -> String {
        self.problems.iter().map(write).collect::<Vec<_>>().join(separator)
    }

    fn short(&self, problem: &Problem) -> String {
        let (line, column) = self.position(problem.span.start);
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let help = if problem.help.is_empty() { String::new() } else { format!(" ({})", problem.help.join("; ")) };
        format!("{}:{line}:{column}: {severity}: {}{help}", self.origin, problem.title)
    }

    fn long(&self, problem: &Problem, renderer: &Renderer) -> String {
        let (window, first_line) = self.window(problem);
        let inside = |span: &Range<usize>| self.within(span, &window);
        let snippet = Snippet::source(&self.text[window.clone()])
            .path(&self.origin)
            .line_start(first_line)
            .annotation(annotation(AnnotationKind::Primary, inside(&problem.span), &problem.label))
            .annotations(
                problem.related.iter().map(|(span, label)| annotation(AnnotationKind::Context, inside(span), label)),
            );
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let group: Group<'_> = level
            .primary_title(&problem.title)
            .element(snippet)
            .elements(problem.notes.iter().map(|note| Level::NOTE.message(note)))
            .elements(problem.help.iter().map(|help| Level::HELP.message(help)));
        renderer.render(&[group])
    }

    /// The whole lines that a problem is about, and the number of the first one. Only they are given to the renderer,
    /// which would otherwise look at all of a big file for each problem.
    fn window(&self, problem: &Problem) -> (Range<usize>, usize) {
        let spans = || std::iter::once(&problem.span).chain(problem.related.iter().map(|(span, _)| span));
        let start = spans().map(|span| span.start).min().unwrap_or(0);
        let end = spans().map(|span| span.end).max().unwrap_or(0);
        let start = self.text.floor_char_boundary(start);
        let end = self.text.ceil_char_boundary(end.max(start));
        let start = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[end..].find('\n').map_or(self.text.len(), |newline| end + newline);
        (start..end, self.position(start).0)
    }

    /// `span` relative to `window`, on character boundaries. Of a span of several lines only the first is marked.
    fn within(&self, span: &Range<usize>, window: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.max(start));
        let first_line = self.text[start..end].find('\n').map_or(end, |newline| start + newline);
        let end = start + self.text[start..first_line].trim_end().len();
        start - window.start..end - window.start
    }
}

fn annotation<'a>(kind: AnnotationKind, span: Range<usize>, label: &'a str) -> Annotation<'a> {
    let annotation = kind.span(span);
    if label.is_empty() { annotation } else { annotation.label(label) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, word: &str) -> Range<usize> {
        let start = text.find(word).unwrap();
        start..start + word.len()
    }

    fn example() -> Diagnostics {
        let text = "# a herd\nä = 'b'; links = [['Clark', 'Jaqez']]\n\n\n\nports = [1]\n";
        Diagnostics::new(
            "herd.toml",
            text,
            vec![
                Problem::warning(at(text, "ports"), "no ports").note("because").help("do it"),
                Problem::error(at(text, "'Jaqez'"), "unknown server `Jaqez`")
                    .label("not a server of this herd")
                    .related(at(text, "# a herd"), "this herd")
                    .suggest("Jaqez", ["Clark", "Jaquez"], "servers: Clark, Jaquez"),
            ],
        )
    }

    #[test]
    fn long_problems_have_position_line_caret_and_help_in_the_order_of_the_text() {
        insta::assert_snapshot!(example(), @"
        error: unknown server `Jaqez`
         --> herd.toml:2:29
          |
        1 | # a herd
          | -------- this herd
        2 | ä = 'b'; links = [['Clark', 'Jaqez']]
          |                             ^^^^^^^ not a server of this herd
          |
          = help: did you mean `Jaquez`?

        warning: no ports
         --> herd.toml:6:1
          |
        6 | ports = [1]
          | ^^^^^
          |
          = note: because
          = help: do it
        ");
    }

    #[test]
    fn short_problems_take_one_line_each() {
        insta::assert_snapshot!(example().render(ErrorFormat::Short, false), @"
        herd.toml:2:29: error: unknown server `Jaqez` (did you mean `Jaquez`?)
        herd.toml:6:1: warning: no ports (do it)
        ");
    }

    #[test]
    fn colours_are_there_only_when_asked_for() {
        let example = example();
        assert!(example.render(ErrorFormat::Long, true).contains('\u{1b}'));
        assert!(!example.render(ErrorFormat::Long, false).contains('\u{1b}'));
    }

    #[test]
    fn problems_at_the_end_of_the_text_and_beyond_it_are_rendered() {
        for text in ["", "a", "a\n", "a = \"ä", "a\r\nb\r\n"] {
            for span in [0..0, text.len()..text.len(), text.len() + 3..text.len() + 9, 0..text.len()] {
                let rendered = Diagnostics::new("f", text, vec![Problem::error(span, "wrong")]).to_string();
                assert!(rendered.starts_with("error: wrong\n"), "{rendered}");
            }
        }
    }

    #[test]
    fn a_problem_late_in_a_file_keeps_its_line_number() {
        let text = format!("{}key = 1\n", "\n".repeat(998));
        insta::assert_snapshot!(Diagnostics::new("f", &text, vec![Problem::error(at(&text, "key"), "wrong")]), @"
        error: wrong
           --> f:999:1
            |
        999 | key = 1
            | ^^^
        ");
    }
}
