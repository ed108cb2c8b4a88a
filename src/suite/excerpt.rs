//! The step of a scenario file that a failure is about, with a caret under it.

use std::fs;

use crate::checker::{Finding, Judgement};
use crate::claim::Verdict;
use crate::diagnostic::{Diagnostics, ErrorFormat, Problem};
use crate::scenario::Script;

/// The first thing that did not pass, as far as it stands in the file itself.
pub(super) fn first_trouble(judgement: &Judgement) -> Option<&Finding> {
    let troubled = |wanted| judgement.findings.iter().find(move |finding| finding.verdict == wanted);
    troubled(Verdict::Failed).or_else(|| troubled(Verdict::Unproven))
}

/// The line of the file that a judgement is about: that of what did not pass, or of a fault that hit nothing.
pub(super) fn line(judgement: &Judgement) -> Option<u32> {
    let idle = judgement.faults.iter().find(|fault| fault.hit.is_empty());
    let failed = first_trouble(judgement).filter(|finding| finding.verdict == Verdict::Failed || idle.is_none());
    failed.and_then(|finding| finding.line).or_else(|| idle.and_then(|fault| fault.line))
}

/// The excerpt as plain text; `None` when the file cannot be read any more, or nothing in it is to blame.
pub(super) fn excerpt(script: &Script, judgement: &Judgement) -> Option<String> {
    let finding = first_trouble(judgement)?;
    finding.line?;
    let step = script.steps.get(finding.step?.index())?;
    let text = fs::read_to_string(&script.file).ok()?;
    let problem = Problem::error(step.span.clone(), finding.statement.clone());
    let problem = match &finding.explanation {
        Some(explanation) => problem.label(explanation.actual.lines().next().unwrap_or_default()),
        None => problem,
    };
    let origin = script.file.display().to_string();
    Some(Diagnostics::new(origin, text, vec![problem]).render(ErrorFormat::Long, false))
}
