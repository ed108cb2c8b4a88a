//! A report as JUnit XML: a suite for every file, a test case for every case.
//!
//! JUnit knows no "unproven": such a case is a failure of the type `unproven`. A flaky one is a success that says so.

use std::io::Write;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::{CaseResult, Status, grouped, text};

/// Writes the report. Overwrite the file: a JUnit report is one document.
pub fn write(cases: &[CaseResult], out: &mut impl Write) -> Result<(), SerializeError> {
    let mut report = Report::new("herdsim");
    report.set_time(cases.iter().map(|case| case.wall).sum());
    for (file, cases) in grouped(cases, |case| &case.file) {
        let mut suite = TestSuite::new(file);
        suite.add_test_cases(cases.into_iter().map(test_case));
        report.add_test_suite(suite);
    }
    report.serialize(out)
}

fn test_case(case: &CaseResult) -> TestCase {
    let mut test = TestCase::new(case.id(), status(case));
    test.set_classname(case.name.as_str()).set_time(case.wall);
    if case.status != Status::Passed {
        test.set_system_out(text::details(case));
    }
    test
}

fn status(case: &CaseResult) -> TestCaseStatus {
    let mut status = match case.status {
        Status::Passed => TestCaseStatus::success(),
        Status::Flaky => {
            let mut status = TestCaseStatus::success();
            for _ in 1..case.attempts {
                status.add_rerun(TestRerun::new(NonSuccessKind::Failure));
            }
            return status;
        }
        Status::Unproven | Status::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Status::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if case.status != Status::Passed {
        status.set_type(case.status.name()).set_message(case.reason());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples::all;

    #[test]
    fn every_status_has_its_form() {
        let mut bytes = Vec::new();
        write(&all(), &mut bytes).unwrap();
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap(), @r##"
<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="herdsim" tests="5" skipped="0" failures="2" errors="1" time="0.015">
    <testsuite name="scenarios/partition.toml" tests="2" skipped="0" errors="0" failures="1">
        <testcase name="partition.toml seed 1" classname="partition.toml" time="0.003"/>
        <testcase name="partition.toml seed 2" classname="partition.toml" time="0.003">
            <failure message="Clark and Jaquez lack kiwi.cs.ucla.edu&apos;s 1621464827 because links Bona-Clark and Campbell-Jaquez were cut" type="failed"/>
            <system-out>  An update made during a partition reaches the other side after it heals
  teaches: Flooding alone loses what happens during a partition.
  in scenarios/partition.toml:24, seed 2
  24 | converged = { within = &quot;500ms&quot; }
     | ^^^^^^^^^
  failed: all servers of the core converged within 500 ms [converged]
    expected  everybody holds kiwi.cs.ucla.edu&apos;s 1621464827
    actual    Clark and Jaquez do not (seen at 4 s)
    because   Clark and Jaquez lack kiwi.cs.ucla.edu&apos;s 1621464827: links Bona-Clark and Campbell-Jaquez were cut from 1.2 s to 3 s, and nothing was replayed after the heal
  run it again: herdsim run scenarios/partition.toml --seed 2
</system-out>
        </testcase>
    </testsuite>
    <testsuite name="scenarios/flaky.toml" tests="1" skipped="0" errors="0" failures="0">
        <testcase name="flaky.toml seed 1" classname="flaky.toml" time="0.003">
            <flakyFailure>
            </flakyFailure>
            <system-out>  An update made during a partition reaches the other side after it heals
  in scenarios/flaky.toml, seed 1
  run it again: herdsim run scenarios/flaky.toml --seed 1
</system-out>
        </testcase>
    </testsuite>
    <testsuite name="scenarios/idle.toml" tests="1" skipped="0" errors="0" failures="1">
        <testcase name="idle.toml seed 1" classname="idle.toml" time="0.003">
            <failure message="the fault `cut Campbell-Bailey` hit nothing, so nothing is proven" type="unproven"/>
            <system-out>  An update made during a partition reaches the other side after it heals
  in scenarios/idle.toml, seed 1
  unproven: the fault `cut Campbell-Bailey` at line 13 hit nothing
    because   nothing crossed it while it lasted: what holds may hold without it
  run it again: herdsim run scenarios/idle.toml --seed 1
</system-out>
        </testcase>
    </testsuite>
    <testsuite name="scenarios/taken.toml" tests="1" skipped="0" errors="1" failures="0">
        <testcase name="taken.toml seed 1" classname="taken.toml" time="0.003">
            <error message="Bona cannot listen on 127.0.0.1:10001: Address already in use" type="could not run"/>
            <system-out>  An update made during a partition reaches the other side after it heals
  in scenarios/taken.toml, seed 1
  Bona cannot listen on 127.0.0.1:10001: Address already in use
  run it again: herdsim run scenarios/taken.toml --seed 1
</system-out>
        </testcase>
    </testsuite>
</testsuites>
"##);
    }
}
