//! A report in the Test Anything Protocol, version 14.

use std::io::{self, Write};

use super::{CaseResult, Status};

/// Writes the report: one test point for every case, and why it is not ok.
pub fn write(cases: &[CaseResult], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "TAP version 14\n1..{}", cases.len())?;
    for (number, case) in (1..).zip(cases) {
        let ok = if case.status <= Status::Flaky { "ok" } else { "not ok" };
        writeln!(out, "{ok} {number} - {}", escape(&case.id()))?;
        if case.status != Status::Passed {
            let block = [("status", case.status.name()), ("reason", &case.reason()), ("replay", &case.replay)];
            writeln!(out, "  ---")?;
            for (key, value) in block {
                // A JSON string is a YAML string.
                writeln!(out, "  {key}: {}", serde_json::Value::from(value))?;
            }
            writeln!(out, "  ...")?;
        }
    }
    Ok(())
}

/// `#` would begin a directive.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
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
TAP version 14
1..5
ok 1 - partition.toml seed 1
ok 2 - flaky.toml seed 1
  ---
  status: "flaky"
  reason: "passed only at attempt 2"
  replay: "herdsim run scenarios/flaky.toml --seed 1"
  ...
not ok 3 - idle.toml seed 1
  ---
  status: "unproven"
  reason: "the fault `cut Campbell-Bailey` hit nothing, so nothing is proven"
  replay: "herdsim run scenarios/idle.toml --seed 1"
  ...
not ok 4 - partition.toml seed 2
  ---
  status: "failed"
  reason: "Clark and Jaquez lack kiwi.cs.ucla.edu's 1621464827 because links Bona-Clark and Campbell-Jaquez were cut"
  replay: "herdsim run scenarios/partition.toml --seed 2"
  ...
not ok 5 - taken.toml seed 1
  ---
  status: "could not run"
  reason: "Bona cannot listen on 127.0.0.1:10001: Address already in use"
  replay: "herdsim run scenarios/taken.toml --seed 1"
  ...
"##);
    }
}
