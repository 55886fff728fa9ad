//! `portcullis tools`: lists, compares and approves the tools of a server. In: a server, as the configuration names it. Out: its catalogue
//! file. Never here: the gateway; it reads the file with the next apply.

use crate::cli::check::spinner;
use crate::cli::{self, End, Failure, Outcome, Ways, counted, say};
use crate::control::answers;
use crate::learn::client::Client;
use crate::startup::first_use;
use crate::{disk, learn, secure, sources};
use clap::Subcommand;
use portcullis_core::config::settings::Server;
use portcullis_core::config::snapshot::Texts;
use portcullis_core::diagnostic::{Diagnostics, did_you_mean};
use portcullis_core::policy::catalogue::{Catalogue, Change};
use portcullis_core::policy::names;
use serde_json::{Value, json};

/// What to do with tools.
#[derive(Debug, Subcommand)]
pub enum ToolsVerb {
    /// List a server's tools for the first time and write its catalogue
    Learn {
        /// The server
        server: String,
    },
    /// Compare the catalogue with what the server offers now
    Diff {
        /// The server
        server: String,
    },
    /// Take over what changed, all of it or these tools alone
    Approve {
        /// The server
        server: String,
        /// The tools; all that changed if none is named
        tools: Vec<String>,
    },
}

/// Runs the verb.
pub fn tools(verb: &ToolsVerb, ways: &Ways) -> Outcome {
    let (ToolsVerb::Learn { server: name }
    | ToolsVerb::Diff { server: name }
    | ToolsVerb::Approve { server: name, .. }) = verb;
    let texts = match sources::read(&ways.config) {
        Ok(texts) => texts,
        Err(findings) => return Ok(refused(&sources::named(findings, &ways.config), ways)),
    };
    let servers = &texts.settings.servers;
    let Some(position) = servers.iter().position(|server| *server.name == **name) else {
        let near = did_you_mean(name, servers.iter().map(|server| &*server.name));
        return Err(Failure::new(
            format!("unknown server `{name}`"),
            near.unwrap_or_else(|| "name one of the configuration's `[server.NAME]`".into()),
        ));
    };
    match verb {
        ToolsVerb::Learn { .. } => learn_first(&texts, position, ways),
        ToolsVerb::Diff { .. } => diff(&texts, position, ways),
        ToolsVerb::Approve { tools, .. } => approve(&texts, position, tools, ways),
    }
}

fn refused(findings: &Diagnostics, ways: &Ways) -> End {
    match ways.json {
        true => say::json(
            &json!({"error": "findings", "message": "the files do not load", "findings": answers::findings(findings)}),
        ),
        false => cli::findings(findings),
    }
    End::Refused
}

fn server(texts: &Texts, position: usize) -> Result<&Server, Failure> {
    texts.settings.servers.get(position).ok_or_else(|| Failure::new("the server is gone", "try again"))
}

/// What the server lists now.
fn live(texts: &Texts, position: usize) -> Result<Vec<Value>, Failure> {
    let server = server(texts, position)?;
    let first = |findings: Diagnostics| Failure {
        message: findings.first().map(ToString::to_string).unwrap_or_default(),
        help: None,
    };
    let lender = learn::lender(texts.clone()).map_err(first)?;
    let tls = secure::upstream(server).map_err(|finding| first(vec![finding]))?;
    let index = u16::try_from(position).unwrap_or(u16::MAX);
    let progress = spinner("listing tools");
    let seen = |count: usize| progress.set_message(format!("{} listed", counted(count, "tool")));
    let listed = cli::client::runtime()?.block_on(learn::tools(&Client { server, lender: &lender, index, tls }, &seen));
    progress.finish_and_clear();
    listed.map_err(|failure| Failure::new(format!("server `{}`: {}", server.name, failure.cause()), failure.cure()))
}

/// Read to be reviewed: a pin that does not match is a difference to show and to approve, not the end.
fn reviewed(texts: &Texts, position: usize) -> Result<Option<Catalogue>, Diagnostics> {
    texts
        .catalogues
        .get(position)
        .and_then(Option::as_ref)
        .map(|text| Catalogue::parse_for_review(&text.text, &text.file))
        .transpose()
}

fn learn_first(texts: &Texts, position: usize, ways: &Ways) -> Outcome {
    let server = server(texts, position)?;
    if texts.catalogues.get(position).is_some_and(Option::is_some) {
        let file = server.catalogue.display();
        return Err(Failure::new(
            format!("`{file}` exists: its tools are learned already"),
            format!("see what changed with `portcullis tools diff {}`", server.name),
        ));
    }
    let live = live(texts, position)?;
    let learned = match Catalogue::learn(&server.name, &live) {
        Ok(learned) => learned,
        Err(findings) => return Ok(refused(&findings, ways)),
    };
    store(server, &learned, disk::create)?;
    let file = server.catalogue.display().to_string();
    let warnings = learned.warnings(&file);
    if ways.json {
        let tools: Vec<&str> = learned.tools().iter().map(|tool| &*tool.name).collect();
        say::json(
            &json!({"server": server.name, "file": file, "tools": tools, "warnings": answers::findings(&warnings)}),
        );
        return Ok(End::Done);
    }
    cli::findings(&warnings);
    for tool in learned.tools() {
        say::line(&format!("{}  {}", tool.pin, names::visible(&tool.name)));
    }
    say::line(&format!(
        "{} written to {file}; review them, then `portcullis policy apply`",
        counted(learned.tools().len(), "tool")
    ));
    Ok(End::Done)
}

fn store(server: &Server, catalogue: &Catalogue, manner: first_use::Manner) -> Result<(), Failure> {
    let failed = |error| {
        Failure::new(
            format!("`{}` cannot be written: {error}", server.catalogue.display()),
            "let this user write there",
        )
    };
    first_use::write(server, &catalogue.to_text(), manner).map_err(failed)
}

fn diff(texts: &Texts, position: usize, ways: &Ways) -> Outcome {
    let server = server(texts, position)?;
    let catalogue = match reviewed(texts, position) {
        Ok(Some(catalogue)) => catalogue,
        Ok(None) => return Err(not_learned(server)),
        Err(findings) => return Ok(refused(&findings, ways)),
    };
    let changes = catalogue.diff(&live(texts, position)?);
    show(server, &changes, ways);
    Ok(if changes.is_empty() { End::Done } else { End::Refused })
}

fn not_learned(server: &Server) -> Failure {
    Failure::new(
        format!("the tools of server `{}` are not learned yet", server.name),
        format!("list them with `portcullis tools learn {}`", server.name),
    )
}

fn show(server: &Server, changes: &[Change], ways: &Ways) {
    if ways.json {
        let changes: Vec<Value> = changes.iter().map(as_json).collect();
        say::json(&json!({"server": server.name, "changes": changes}));
        return;
    }
    for change in changes {
        let name = names::visible(change.name());
        say::line(&match change {
            Change::Added { .. } => say::painted(&format!("+ {name}"), say::Hue::Green),
            Change::Removed { .. } => say::painted(&format!("- {name}"), say::Hue::Red),
            Change::Changed { fields, .. } => {
                say::painted(&format!("~ {name}: {}", fields.join(", ")), say::Hue::Yellow)
            }
        });
    }
    if changes.is_empty() {
        say::line(&format!("server `{}` offers exactly what was reviewed", server.name));
    }
}

fn as_json(change: &Change) -> Value {
    match change {
        Change::Added { name } => json!({"change": "added", "tool": name}),
        Change::Removed { name } => json!({"change": "removed", "tool": name}),
        Change::Changed { name, fields } => json!({"change": "changed", "tool": name, "fields": fields}),
    }
}

fn approve(texts: &Texts, position: usize, wanted: &[String], ways: &Ways) -> Outcome {
    let server = server(texts, position)?;
    let catalogue = match reviewed(texts, position) {
        Ok(Some(catalogue)) => catalogue,
        Ok(None) => return Err(not_learned(server)),
        Err(findings) => return Ok(refused(&findings, ways)),
    };
    let live = live(texts, position)?;
    let changes = catalogue.diff(&live);
    if let Some(unknown) = wanted.iter().find(|name| !changes.iter().any(|change| change.name() == **name)) {
        let near = did_you_mean(unknown, changes.iter().map(Change::name));
        let help = near.unwrap_or_else(|| format!("see what changed with `portcullis tools diff {}`", server.name));
        return Err(Failure::new(format!("tool `{unknown}` of server `{}` did not change", server.name), help));
    }
    let taken: Vec<Change> = changes
        .into_iter()
        .filter(|change| wanted.is_empty() || wanted.iter().any(|name| *name == change.name()))
        .collect();
    match catalogue.approve(&taken, &live) {
        Ok(approved) => {
            store(server, &approved, disk::replace)?;
            show(server, &taken, ways);
            if !ways.json && !taken.is_empty() {
                say::line("approved; `portcullis policy apply` puts it in force");
            }
            Ok(End::Done)
        }
        Err(findings) => Ok(refused(&findings, ways)),
    }
}
