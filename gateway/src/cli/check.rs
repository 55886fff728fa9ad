//! `portcullis check`: tells all that is wrong, offline. In: every file the configuration names. Out: every finding. Never here: a connection.

use crate::cli::{self, End, Outcome, Ways, counted, say};
use crate::control::answers;
use crate::{secure, sources};
use indicatif::ProgressBar;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::diagnostic::{Diagnostics, Severity};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

/// What a load would come to.
struct Looked {
    findings: Diagnostics,
    facts: Option<Facts>,
}

struct Facts {
    hash: Box<str>,
    servers: usize,
    tools: usize,
    agents: usize,
    rules: usize,
}

/// Exit code 1 if anything would refuse the load.
pub fn check(ways: &Ways) -> Outcome {
    let progress = spinner("reading and building");
    let looked = look(&ways.config);
    progress.finish_and_clear();
    let errors = looked.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = looked.findings.len() - errors;
    if ways.json {
        say::json(&as_json(&looked, errors));
    } else {
        cli::findings(&looked.findings);
        match &looked.facts {
            Some(facts) => say::line(&format!(
                "{}: {}, {}, {}, {}; {}",
                say::painted("sound", say::Hue::Green),
                counted(facts.servers, "server"),
                counted(facts.tools, "tool"),
                counted(facts.agents, "agent"),
                counted(facts.rules, "rule"),
                counted(warnings, "warning"),
            )),
            None => say::line(&format!(
                "{}: {}, {}",
                say::painted("refused", say::Hue::Red),
                counted(errors, "error"),
                counted(warnings, "warning")
            )),
        }
    }
    Ok(if errors == 0 { End::Done } else { End::Refused })
}

fn look(file: &Path) -> Looked {
    let texts = match sources::read(file) {
        Ok(texts) => texts,
        Err(findings) => return Looked { findings: sources::named(findings, file), facts: None },
    };
    let unsecured = sources::named(secure::secure(&texts.settings).err().unwrap_or_default(), file);
    match Snapshot::build(texts, 0) {
        Ok(snapshot) => {
            let facts = unsecured.is_empty().then(|| facts(&snapshot));
            Looked { findings: sources::named(snapshot.warnings, file).into_iter().chain(unsecured).collect(), facts }
        }
        Err(findings) => {
            Looked { findings: sources::named(findings, file).into_iter().chain(unsecured).collect(), facts: None }
        }
    }
}

fn facts(snapshot: &Snapshot) -> Facts {
    let tools =
        snapshot.routes().filter_map(|(index, _)| snapshot.catalogue(index)).map(|catalogue| catalogue.tools().len());
    Facts {
        hash: snapshot.hash.clone(),
        servers: snapshot.routes().count(),
        tools: tools.sum(),
        agents: snapshot.registry.agents().len(),
        rules: snapshot.engine.policy_ids().len(),
    }
}

fn as_json(looked: &Looked, errors: usize) -> Value {
    let mut shown = json!({"sound": errors == 0, "findings": answers::findings(&looked.findings)});
    if let (Some(facts), Some(members)) = (&looked.facts, shown.as_object_mut()) {
        members.insert("hash".into(), json!(facts.hash));
        members.insert("servers".into(), json!(facts.servers));
        members.insert("tools".into(), json!(facts.tools));
        members.insert("agents".into(), json!(facts.agents));
        members.insert("rules".into(), json!(facts.rules));
    }
    shown
}

/// Something turns on a terminal while work goes on.
pub fn spinner(words: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner().with_message(words);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}
