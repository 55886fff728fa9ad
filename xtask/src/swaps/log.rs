//! Reads the log of a run. In: its folder, the sets. Out: how many decisions it holds, each of which says what its own set says. Never here: the chain's proof.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::rules::Rules;

/// Compares every decision with the set whose version it names.
///
/// # Errors
/// The first that says something else, or names a version that is none of ours.
pub fn check(folder: &Path, rules: &Rules) -> Result<u64> {
    let mut checked = 0;
    for file in files(folder)? {
        let text = fs::read_to_string(&file).with_context(|| format!("`{}` cannot be read", file.display()))?;
        // The gateway is still at work: a last line without an end is being written.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        for line in whole.lines() {
            let record: Value = serde_json::from_str(line).with_context(|| format!("no record: {line}"))?;
            if record["event"] != "decision" {
                continue;
            }
            let path = record.pointer("/arguments/path").and_then(Value::as_str);
            let (Some(path), Some(version)) = (path, record["snapshot"].as_u64()) else {
                bail!("a decision without its argument or its version: {line}");
            };
            let said =
                rules.says(version, path).with_context(|| format!("version {version} is none of ours: {line}"))?;
            if said != (record["decision"] == "allow") {
                bail!("version {version} says allowed={said} about `{path}`, the record says: {line}");
            }
            checked += 1;
        }
    }
    Ok(checked)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("`{}` cannot be read", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "jsonl" || end == "log") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(line: &str, expected: Result<u64, &str>) {
        let folder = std::env::temp_dir().join(format!("portcullis-swaps-{}-{}", std::process::id(), line.len()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("000.jsonl"), format!("{line}\n{{\"event\":\"half")).unwrap();
        let got = check(&folder, &Rules::having(&[(7, 1), (8, 2)]));
        fs::remove_dir_all(&folder).unwrap();
        match (got, expected) {
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
