//! Opens rule sets without the gateway. In: the configuration, a version, a folder of candidates. Out: a snapshot and the rules it was built
//! from. Never here: the control socket.

use crate::cli::{self, Failure, Ways, say};
use crate::control::answers;
use crate::explained::Set;
use crate::history::{History, Kept};
use crate::sources;
use portcullis_core::config::snapshot::{Snapshot, Text, Texts};
use portcullis_core::diagnostic::Diagnostics;
use serde_json::{Value, json};
use std::path::Path;

/// Which rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'w> {
    /// The files as they are.
    Files,
    /// The files, with the rules of this folder in the place of theirs.
    Candidate(&'w Path),
    /// The rules and the registry of a kept version, with everything else from the files.
    Version(u64),
    /// The version that served last; the files where none ever did.
    Serving,
}

/// A rule set, ready to be asked.
pub struct Book {
    /// Built.
    pub snapshot: Snapshot,
    /// Its rules.
    pub policies: Vec<Text>,
    /// Its number, where it has served.
    pub version: Option<u64>,
    /// Its hash, where it has served; else that of the files.
    pub hash: String,
    /// What it is, in words.
    pub name: String,
}

impl Book {
    /// As the explanations and the comparisons take it.
    pub fn set(&self) -> Set<'_> {
        Set { snapshot: &self.snapshot, policies: &self.policies }
    }

    /// What it is, for people and for programs.
    pub fn about(&self) -> Value {
        json!({"name": self.name, "version": self.version, "hash": self.hash})
    }
}

/// Why a rule set cannot be asked.
pub enum Shut {
    /// It does not load: which, and every finding.
    Findings(String, Diagnostics),
    /// It cannot be read, or is not kept.
    Failure(Failure),
}

/// Opens a rule set. Findings are shown here.
pub fn open(which: Which<'_>, ways: &Ways) -> Result<Book, Failure> {
    try_open(which, ways).map_err(|shut| match shut {
        Shut::Findings(name, findings) => refused(findings, &name, which, ways),
        Shut::Failure(failure) => failure,
    })
}

/// Opens a rule set, or says why not; nothing is shown.
pub fn try_open(which: Which<'_>, ways: &Ways) -> Result<Book, Shut> {
    let shut = |name: &str| {
        let name = name.to_owned();
        move |findings| Shut::Findings(name, findings)
    };
    let texts = sources::read(&ways.config).map_err(shut("the files"))?;
    let history = History::at(&texts.settings.policy.history, texts.settings.policy.keep);
    let read_failed = |error: std::io::Error| {
        Shut::Failure(Failure::new(
            format!("the history in `{}` cannot be read: {error}", history.folder().display()),
            "read it as root, as the gateway's user or in its group",
        ))
    };
    let latest = || -> Result<Option<Kept>, Shut> {
        if history.folder().exists() { history.latest().map_err(read_failed) } else { Ok(None) }
    };
    let (texts, kept, name) = match which {
        Which::Files => (texts, None, "the files".to_owned()),
        Which::Candidate(folder) => {
            let policies = sources::rules(folder).map_err(|findings| Shut::Failure(cli::first(findings)))?;
            (Texts { policies, ..texts }, None, format!("the candidate in {}", folder.display()))
        }
        Which::Version(version) => {
            let kept = if history.folder().exists() { history.read(version).map_err(read_failed)? } else { None };
            let kept = kept.ok_or_else(|| {
                Shut::Failure(Failure::new(
                    format!("version {version} is not kept"),
                    "`portcullis policy history` lists those that are",
                ))
            })?;
            (of_kept(texts, &kept), Some(kept), format!("version {version}"))
        }
        Which::Serving => match latest()? {
            Some(kept) => {
                let name = format!("version {}, which served last", kept.version);
                (of_kept(texts, &kept), Some(kept), name)
            }
            None => (texts, None, "the files, since nothing ever served".to_owned()),
        },
    };
    let hash = texts.hash();
    let version = match &kept {
        Some(kept) => Some(kept.version),
        None => latest().ok().flatten().filter(|latest| *latest.hash == *hash).map(|latest| latest.version),
    };
    let policies = texts.policies.clone();
    let snapshot = Snapshot::build(texts, version.unwrap_or(0)).map_err(shut(&name))?;
    let hash = kept.map_or_else(|| hash.to_string(), |kept| kept.hash);
    Ok(Book { snapshot, policies, version, hash, name })
}

/// The files with nothing but these rules.
pub fn with_rules(rules: &str, ways: &Ways) -> Result<Snapshot, Failure> {
    let texts = sources::read(&ways.config).map_err(|findings| refused(findings, "the files", Which::Files, ways))?;
    let policies = vec![Text { file: "draft.cedar".into(), text: rules.to_owned() }];
    Snapshot::build(Texts { policies, ..texts }, 0)
        .map_err(|findings| refused(findings, "the draft", Which::Candidate(Path::new("")), ways))
}

/// A kept version as it stands in the history, if it can be read.
pub fn kept(version: u64, ways: &Ways) -> Option<Kept> {
    let (settings, _) = sources::settings(&ways.config).ok()?;
    History::at(&settings.policy.history, settings.policy.keep).read(version).ok()?
}

/// The files with the rules and the registry of a kept version.
fn of_kept(texts: Texts, kept: &Kept) -> Texts {
    let policies = kept.sources.iter().cloned().map(Text::from).collect();
    Texts { policies, agents: kept.agents.clone().into(), ..texts }
}

/// Shows why a rule set does not load; there is nothing to ask then.
fn refused(findings: Diagnostics, name: &str, which: Which<'_>, ways: &Ways) -> Failure {
    let findings = sources::named(findings, &ways.config);
    if ways.json {
        say::note(&answers::findings(&findings).to_string());
    } else {
        cli::findings(&findings);
    }
    let cure = match which {
        Which::Files => "`portcullis check` tells all that is wrong with the files",
        Which::Candidate(_) => {
            "mend what is named above; rules are checked with the agents and tools of the configuration"
        }
        Which::Version(_) | Which::Serving => {
            "its rules are checked with the tools and settings of today's files, which no longer fit them"
        }
    };
    Failure::new(format!("{name}: this rule set does not load"), cure)
}
