//! A report as one JSON value: versioned, and read back to be merged with others.

use std::io::{self, Write};

use super::{CaseResult, Counts, Sweep, sweeps};

/// The format that [`Report::new`] makes.
pub const VERSION: u32 = 1;

/// What became of all cases. Its schema is its documentation; times are in seconds, moments in nanoseconds since the run
/// began, steps are counted from 0.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Report {
    /// Format of the report: [`VERSION`].
    pub herdsim_report: u32,
    /// How many cases ended how.
    pub counts: Counts,
    /// Every case.
    pub cases: Vec<CaseResult>,
    /// One for every name that several cases share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweeps: Vec<Sweep>,
}

/// Why reports cannot be read or merged.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not one of ours.
    #[error("not a report of herdsim: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a newer herdsim.
    #[error("the report has format {0}; this herdsim reads formats up to {VERSION}")]
    Version(u32),
    /// Two reports are about the same run.
    #[error("`{0}` is in two of the reports, so its counts would be wrong: merge each report once")]
    Twice(String),
}

#[derive(serde::Deserialize)]
struct Format {
    herdsim_report: u32,
}

impl Report {
    /// A report about cases.
    pub fn new(cases: Vec<CaseResult>) -> Self {
        let (counts, sweeps) = (Counts::of(&cases), sweeps(&cases));
        Self { herdsim_report: VERSION, counts, cases, sweeps }
    }

    /// Writes it, indented, with a line end.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(text: &str) -> Result<Self, ReportError> {
        let Format { herdsim_report } = serde_json::from_str(text)?;
        if herdsim_report > VERSION {
            return Err(ReportError::Version(herdsim_report));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// One report of several, as parts of one sweep make them on several machines: sorted by name and seed.
    pub fn merge(reports: impl IntoIterator<Item = Self>) -> Result<Self, ReportError> {
        let mut cases: Vec<CaseResult> = reports.into_iter().flat_map(|report| report.cases).collect();
        cases.sort_by(|a, b| key(a).cmp(&key(b)));
        match cases.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
            Some(pair) => Err(ReportError::Twice(pair[0].id())),
            None => Ok(Self::new(cases)),
        }
    }
}

fn key(case: &CaseResult) -> (&str, u64, bool) {
    (&case.name, case.seed, case.driver == crate::history::DriverKind::Simulated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Status;
    use crate::report::examples::{all, failed, passed};

    fn written(report: &Report) -> String {
        let mut bytes = Vec::new();
        report.write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_report_survives_being_written_and_read() {
        let report = Report::new(all());
        assert_eq!(Report::read(&written(&report)).unwrap(), report);
    }

    #[test]
    fn parts_of_a_sweep_make_the_report_of_the_whole() {
        let whole: Vec<_> = (1..=9).map(|seed| if seed == 4 { failed(seed) } else { passed(seed) }).collect();
        let part = |parity| Report::new(whole.iter().filter(|case| case.seed % 2 == parity).cloned().collect());
        let merged = Report::merge([part(0), part(1)]).unwrap();
        assert_eq!(merged, Report::new(whole));
        assert_eq!((merged.counts.passed, merged.counts.failed, merged.sweeps.len()), (8, 1, 1));
    }

    #[test]
    fn one_run_in_two_reports_is_no_merge() {
        let report = Report::new(vec![passed(1)]);
        let error = Report::merge([report.clone(), report]).unwrap_err().to_string();
        assert_eq!(
            error,
            "`partition.toml seed 1` is in two of the reports, so its counts would be wrong: merge each report once"
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(Report::read("{}").unwrap_err().to_string().starts_with("not a report of herdsim: missing field"));
        let newer = Report::read("{\"herdsim_report\": 2}").unwrap_err().to_string();
        assert_eq!(newer, "the report has format 2; this herdsim reads formats up to 1");
    }

    #[test]
    fn a_shortened_case_keeps_its_numbers_and_a_failed_one_everything() {
        let short = passed(1).shortened().judgement.unwrap();
        assert!(short.findings.is_empty() && short.faults.is_empty() && short.numbers.writes == 1);
        assert_eq!(failed(1).shortened(), failed(1));
        assert_eq!(failed(1).status, Status::Failed);
    }
}
