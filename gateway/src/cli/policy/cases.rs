//! `portcullis policy test`: holds rules against what is expected of them. In: files of cases. Out: which pass, and what the others came to. Never here: the gateway.
//!
//! ```toml
//! [defaults]                               # optional: what a case does not say
//! source = "10.0.0.7"
//!
//! [[case]]
//! name = "support reads customers"         # optional
//! agent = "support-bot"
//! tool = "crm.read_table"                  # or server = "crm" with uri = "…" or prompt = "…"
//! arguments = { table = "customers" }
//! output = { total = 3 }                   # what the call brings, for rules over results
//! at = 2026-11-23T10:00:00Z                # where rules read the time
//! user = "eve"                             # and account, source, claims
//! expect = "allow"                         # or "deny"
//! rule = "support.cedar:4"                 # optional: one of the rules that determine it
//! reason = "no_rule"                       # optional: why it is denied
//! ```

use crate::asked::Asked;
use crate::cli::book::{self, Book, Which};
use crate::cli::say::{Hue, line, painted};
use crate::cli::{End, Failure, Outcome, Ways, recorded, say};
use crate::{disk, explained, reload};
use clap::Args;
use portcullis_core::diagnostic::{Diagnostic, line_of};
use portcullis_core::policy::trial::Tried;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What to test.
#[derive(Args, Clone, Debug)]
pub struct Test {
    /// Files of cases, in TOML
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Test these rules in the place of those that the configuration names
    #[arg(long, value_name = "FOLDER")]
    pub candidate: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Case,
    #[serde(default)]
    case: Vec<toml::Spanned<Case>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Case {
    name: Option<String>,
    agent: Option<String>,
    tool: Option<String>,
    server: Option<String>,
    uri: Option<String>,
    prompt: Option<String>,
    arguments: Option<toml::Value>,
    output: Option<toml::Value>,
    at: Option<toml::Value>,
    source: Option<IpAddr>,
    user: Option<String>,
    account: Option<String>,
    claims: Option<toml::Table>,
    expect: Option<Expect>,
    rule: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Allow,
    Deny,
}

/// One case, read.
struct Read {
    name: Option<String>,
    file: String,
    line: u32,
    asked: Asked,
    expect: Expect,
    rule: Option<String>,
    reason: Option<String>,
}

/// What a case came to.
struct Came {
    passed: bool,
    expected: String,
    got: String,
}

/// Runs every case of every file; exit code 1 if one fails.
pub fn test(test: &Test, ways: &Ways) -> Outcome {
    let mut cases = Vec::new();
    for file in &test.files {
        cases.extend(read(file).map_err(Failure::from)?);
    }
    let which = test.candidate.as_deref().map_or(Which::Files, Which::Candidate);
    let book = book::open(which, ways)?;
    let results: Vec<(Read, Came)> = cases
        .into_iter()
        .map(|case| {
            let result = run(&case, &book);
            (case, result)
        })
        .collect();
    let failed = results.iter().filter(|(_, result)| !result.passed).count();
    if ways.json {
        let shown: Vec<Value> = results.iter().map(|(case, result)| shown(case, result)).collect();
        say::json(&json!({
            "passed": results.len() - failed, "failed": failed, "snapshot": book.about(), "cases": shown,
        }));
    } else {
        results.iter().for_each(|(case, result)| print(case, result));
        line(&format!("{} passed, {failed} failed, against {}", results.len() - failed, book.name));
    }
    Ok(if failed == 0 { End::Done } else { End::Refused })
}

fn run(case: &Read, book: &Book) -> Came {
    let (passed, got) = match case.asked.trial(reload::now()) {
        Err(unclear) => (false, format!("{}; {}", unclear.message, unclear.help)),
        Ok(trial) => {
            let snapshot = &book.snapshot;
            match trial.judge(&snapshot.engine, &snapshot.registry, &snapshot.json_limits()) {
                Ok(tried) => (agrees(case, &tried), words(&tried)),
                // A slip in a name would deny too; only who expects just that is content with it.
                Err(untried) => {
                    let name = recorded::cause(&untried);
                    let expected = case.expect == Expect::Deny && case.reason.as_deref() == Some(name);
                    let cure = explained::cure(snapshot, &trial, &untried).map(|cure| format!("; {cure}"));
                    (expected, format!("{name}: {}{}", untried.words(&trial), cure.unwrap_or_default()))
                }
            }
        }
    };
    Came { passed, expected: expected(case), got }
}

fn agrees(case: &Read, tried: &Tried) -> bool {
    let word = match case.expect {
        Expect::Allow => tried.is_allowed(),
        Expect::Deny => !tried.is_allowed(),
    };
    let rule = case.rule.as_ref().is_none_or(|rule| tried.rules.iter().any(|id| **id == **rule));
    let reason = case.reason.as_deref().is_none_or(|reason| tried.denied.is_some_and(|denied| denied.name() == reason));
    word && rule && reason
}

fn words(tried: &Tried) -> String {
    let mut out = tried.word().to_owned();
    if let Some(denied) = tried.denied {
        out.push_str(&format!(", {}", denied.name()));
    }
    if !tried.rules.is_empty() {
        out.push_str(&format!(", by {}", tried.rules.join(", ")));
    }
    out
}

fn expected(case: &Read) -> String {
    let word = match case.expect {
        Expect::Allow => "allow",
        Expect::Deny => "deny",
    };
    let reason = case.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    let rule = case.rule.as_ref().map(|rule| format!(", by {rule}")).unwrap_or_default();
    format!("{word}{reason}{rule}")
}

fn print(case: &Read, result: &Came) {
    let about = case.name.clone().unwrap_or_else(|| case.asked.words());
    let place = painted(&format!("{}:{}", case.file, case.line), Hue::Dim);
    if result.passed {
        line(&format!("{}  {about}  {place}", painted("pass", Hue::Green)));
        return;
    }
    line(&format!("{}  {about}  {place}", painted("FAIL", Hue::Red)));
    line(&format!("      asked     {}", case.asked.words()));
    line(&format!("      expected  {}", result.expected));
    line(&format!("      got       {}", result.got));
}

fn shown(case: &Read, result: &Came) -> Value {
    json!({
        "file": case.file, "line": case.line, "name": case.name, "asked": case.asked,
        "passed": result.passed, "expected": result.expected, "got": result.got,
    })
}

fn read(path: &Path) -> Result<Vec<Read>, Diagnostic> {
    let name = path.display().to_string();
    let text = disk::read(path, disk::Guard::Open).map_err(|failure| {
        crate::sources::refused(path, &failure).help("name a file of cases; `portcullis init` writes an example")
    })?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| line_of(&text, span.start));
        Diagnostic::error(&*name, line, error.message()).help("`portcullis init` writes an example")
    })?;
    if file.case.is_empty() {
        return Err(Diagnostic::error(name, None, "the file holds no case").help("begin one with `[[case]]`"));
    }
    let cases = file.case.into_iter().map(|case| {
        let line = line_of(&text, case.span().start);
        one(case.into_inner(), &file.defaults, (&name, line))
    });
    cases.collect()
}

/// A case with what the defaults say where it says nothing.
fn one(case: Case, defaults: &Case, (file, line): (&str, u32)) -> Result<Read, Diagnostic> {
    let refuse = |message: &str, help: &str| Diagnostic::error(file, Some(line), message).help(help);
    let asks = case.tool.is_some() || case.server.is_some();
    let from = |own: &Option<String>, default: &Option<String>| own.clone().or_else(|| default.clone());
    let target = |own: &Option<String>, default: &Option<String>| if asks { own.clone() } else { default.clone() };
    let arguments = case.arguments.as_ref().or(defaults.arguments.as_ref());
    let arguments = arguments.map(|value| serde_json::value::to_raw_value(&plain(value)));
    let arguments =
        arguments.transpose().map_err(|_| refuse("the arguments cannot be written as JSON", "write a table"))?;
    let output = case.output.as_ref().or(defaults.output.as_ref());
    let output = output.map(|value| serde_json::value::to_raw_value(&plain(value))).transpose();
    let output = output.map_err(|_| refuse("the output cannot be written as JSON", "write a table"))?;
    let at = case.at.as_ref().or(defaults.at.as_ref());
    let at = at.map(|at| match at {
        toml::Value::Datetime(at) => Ok(at.to_string()),
        toml::Value::String(at) => Ok(at.clone()),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Err(refuse("`at` is no time", "write it as in `at = 2026-11-23T10:00:00Z`")),
    });
    let claims = case.claims.as_ref().or(defaults.claims.as_ref());
    let claims = claims.into_iter().flatten().map(|(name, value)| (name.clone(), plain(value)));
    let asked = Asked {
        agent: from(&case.agent, &defaults.agent)
            .ok_or_else(|| refuse("the case names no `agent`", "name one of the registry"))?,
        tool: target(&case.tool, &defaults.tool),
        server: target(&case.server, &defaults.server),
        uri: case.uri.clone(),
        prompt: case.prompt.clone(),
        arguments,
        output,
        at: at.transpose()?,
        source: case.source.or(defaults.source),
        user: from(&case.user, &defaults.user),
        account: from(&case.account, &defaults.account),
        claims: claims.collect(),
    };
    // What is asked must be clear before anything is judged.
    asked.trial(reload::now()).map_err(|unclear| refuse(&unclear.message, unclear.help))?;
    let expect = case.expect.or(defaults.expect);
    let expect = expect.ok_or_else(|| {
        refuse("the case does not say what it expects", "add `expect = \"allow\"` or `expect = \"deny\"`")
    })?;
    if expect == Expect::Allow && case.reason.is_some() {
        return Err(refuse("`reason` is for denials, and the case expects `allow`", "take one of them away"));
    }
    Ok(Read { name: case.name, file: file.into(), line, asked, expect, rule: case.rule, reason: case.reason })
}

/// TOML as JSON; an instant becomes its text.
fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(truth) => json!(truth),
        toml::Value::Datetime(at) => json!(at.to_string()),
        toml::Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_clear_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tests.toml");
        for (text, line, expected) in [
            ("", None, "the file holds no case"),
            ("[[case]]\nagnet = \"a\"", Some(2), "unknown field `agnet`"),
            ("[[case]]\nexpect = \"allow\"\ntool = \"a.b\"", Some(1), "names no `agent`"),
            ("\n[[case]]\nagent = \"a\"\nexpect = \"allow\"", Some(2), "nothing is asked for"),
            ("[[case]]\nagent = \"a\"\ntool = \"a.b\"", Some(1), "does not say what it expects"),
            ("[[case]]\nagent = \"a\"\ntool = \"a.b\"\nexpect = \"maybe\"", Some(4), "maybe"),
            ("[[case]]\nagent = \"a\"\ntool = \"a.b\"\nat = 7\nexpect = \"deny\"", Some(1), "`at` is no time"),
            ("[[case]]\nagent = \"a\"\ntool = \"a.b\"\nreason = \"x\"\nexpect = \"allow\"", Some(1), "for denials"),
        ] {
            std::fs::write(&path, text).unwrap();
            let finding = read(&path).err().unwrap();
            assert!(finding.message.contains(expected) && finding.line == line, "{text}: {finding}");
        }
        assert!(read(&folder.path().join("none.toml")).err().unwrap().message.contains("does not exist"));
    }

    #[test]
    fn what_a_case_does_not_say_is_taken_from_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tests.toml");
        let text = "[defaults]\nagent = \"a\"\nat = 2026-11-23T10:00:00Z\n[[case]]\ntool = \"s.t\"\narguments = { when = 2026-01-01 }\nexpect = \"deny\"\nreason = \"no_rule\"\n";
        std::fs::write(&path, text).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read[0].asked.words(), "a s.t {\"when\":\"2026-01-01\"}");
        assert_eq!((read[0].asked.at.as_deref(), read[0].line), (Some("2026-11-23T10:00:00Z"), 4));
        assert_eq!(expected(&read[0]), "deny, no_rule");
    }
}
