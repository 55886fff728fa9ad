//! Reads the log of a run. In: a gateway, the sets. Out: how many decisions it holds, each of which says what its own set says. Never here: the log's proof.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::rules::Rules;
use crate::demo::log::each;

/// Compares every decision of the gateway `program` with the set whose version it names.
///
/// # Errors
/// The first that says something else, or names a version that is none of ours.
pub fn check(program: &Path, configuration: &Path, rules: &Rules) -> Result<u64> {
    let mut checked = 0;
    each(program, configuration, |line| {
        checked += check_line(line, rules)?;
        Ok(())
    })?;
    Ok(checked)
}

fn check_line(line: &str, rules: &Rules) -> Result<u64> {
    let record: Value = serde_json::from_str(line).with_context(|| format!("no record: {line}"))?;
    if record["event"] != "decision" {
        return Ok(0);
    }
    let path = record.pointer("/arguments/path").and_then(Value::as_str);
    let (Some(path), Some(version)) = (path, record["snapshot"].as_u64()) else {
        bail!("a decision without its argument or its version: {line}");
    };
    let said = rules.says(version, path).with_context(|| format!("version {version} is none of ours: {line}"))?;
    if said != (record["decision"] == "allow") {
        bail!("version {version} says allowed={said} about `{path}`, the record says: {line}");
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(line: &str, expected: Result<u64, &str>) {
        match (super::check_line(line, &Rules::having(&[(7, 1), (8, 2)])), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{line}"),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{line}: {got}"),
            (got, expected) => panic!("given {line}, expected {expected:?}, got {got:?}"),
        }
    }

    #[test]
    fn a_decision_that_is_not_what_its_rules_say_is_found() {
        let decision = |version: u64, path: &str, word: &str| {
            format!(
                r#"{{"event":"decision","decision":"{word}","snapshot":{version},"arguments":{{"path":"{path}"}}}}"#
            )
        };
        let [odd, even] = crate::swaps::rules::PATHS;
        check_line(&decision(7, odd, "deny"), Err("says allowed=true"));
        check_line(&decision(8, odd, "allow"), Err("says allowed=false"));
        check_line(&decision(9, odd, "allow"), Err("none of ours"));
        check_line(r#"{"event":"decision","decision":"allow","snapshot":7}"#, Err("without its argument"));
        check_line(&decision(7, odd, "allow"), Ok(1));
        check_line(&decision(7, even, "deny"), Ok(1));
        check_line(r#"{"event":"result"}"#, Ok(0));
    }
}
