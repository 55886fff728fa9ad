//! Holds the reviewed tools of one server. In: the catalogue file, or a live `tools/list`. Out: tools with their pins, and what differs. Never here: IO.

use std::sync::Arc;

use ahash::AHashMap;
use serde_json::{Value, json};

use super::names;
use super::pin::{PINNED_FIELDS, PINNED_UI, Pin, pinned};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits::NAME_BYTES_MAX;

/// Tools of one server: real ones have up to a few hundred; the bound keeps one hostile list from filling the memory.
pub const TOOLS_MAX: usize = 10_000;

/// A tool's position in its server's catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolIndex(pub u32);

/// One reviewed tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// The name as the server spells it; compared by code points.
    pub name: Box<str>,
    /// The pin of `definition`.
    pub pin: Pin,
    /// The element of `tools/list` that was reviewed, its keys sorted.
    pub definition: Value,
}

/// The reviewed tools of one server, sorted by name. A clone is the same list, not another one.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Listing>);

#[derive(Debug)]
struct Listing {
    server: Box<str>,
    tools: Vec<Tool>,
    by_name: AHashMap<Box<str>, ToolIndex>,
}

/// What differs between a catalogue and a live list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The server offers a tool that nobody reviewed.
    Added {
        /// The tool's name.
        name: Box<str>,
    },
    /// The server no longer offers a reviewed tool.
    Removed {
        /// The tool's name.
        name: Box<str>,
    },
    /// The live definition differs from the reviewed one.
    Changed {
        /// The tool's name.
        name: Box<str>,
        /// Which pinned fields differ; `pin` alone where the catalogue holds the live definition, but under a pin that nobody gave it.
        fields: Vec<&'static str>,
    },
}

impl Change {
    /// The tool that changed.
    pub fn name(&self) -> &str {
        match self {
            Self::Added { name } | Self::Removed { name } | Self::Changed { name, fields: _ } => name,
        }
    }
}

impl Catalogue {
    /// Reads a catalogue file, `{"server": …, "tools": [{"name", "pin", "definition"}]}`; every pin is computed anew and must agree.
    pub fn parse(text: &str, file: &str) -> Result<Self, Diagnostics> {
        Self::read(text, file, entry)
    }

    /// Reads it to be reviewed, never to be served: a tool whose pin is not that of its definition keeps the wrong pin, so that [`Self::diff`]
    /// names it and only [`Self::approve`] mends it.
    pub fn parse_for_review(text: &str, file: &str) -> Result<Self, Diagnostics> {
        Self::read(text, file, |tool, position| pinned_entry(tool, position).map(|(tool, pin)| Tool { pin, ..tool }))
    }

    fn read(
        text: &str,
        file: &str,
        entry: impl Fn(&Value, usize) -> Result<Tool, (String, &'static str)>,
    ) -> Result<Self, Diagnostics> {
        let whole: Value = serde_json::from_str(text).map_err(|error| {
            let line = u32::try_from(error.line()).ok().filter(|line| *line > 0);
            vec![Diagnostic::error(file, line, "the catalogue is not valid JSON")]
        })?;
        let server = whole.get("server").and_then(Value::as_str);
        let tools = whole.get("tools").and_then(Value::as_array);
        let (Some(server), Some(tools)) = (server, tools) else {
            return Err(vec![
                Diagnostic::error(file, None, "a catalogue needs `server` and `tools`")
                    .help("write it with `portcullis tools learn`"),
            ]);
        };
        let mut findings = Diagnostics::new();
        let mut read = Vec::new();
        for (position, tool) in tools.iter().enumerate() {
            match entry(tool, position) {
                Ok(tool) => read.push(tool),
                Err((message, cure)) => findings.push(Diagnostic::error(file, None, message).help(cure)),
            }
        }
        let built = Self::build(server, read, file);
        match (built, findings.is_empty()) {
            (Ok(catalogue), true) => Ok(catalogue),
            (Ok(_), false) => Err(findings),
            (Err(more), _) => Err(findings.into_iter().chain(more).collect()),
        }
    }

    /// Takes over the tools of a live `tools/list` result, as `portcullis tools learn` does.
    pub fn learn(server: &str, live: &[Value]) -> Result<Self, Diagnostics> {
        let mut findings = Diagnostics::new();
        let mut tools = Vec::new();
        for (position, definition) in live.iter().enumerate() {
            match learned(definition) {
                Some(tool) => tools.push(tool),
                None => findings.push(Diagnostic::error(
                    server,
                    None,
                    format!("tool {position} of the live list has no name"),
                )),
            }
        }
        match (Self::build(server, tools, server), findings.is_empty()) {
            (Ok(catalogue), true) => Ok(catalogue),
            (Ok(_), false) => Err(findings),
            (Err(more), _) => Err(findings.into_iter().chain(more).collect()),
        }
    }

    fn build(server: &str, mut tools: Vec<Tool>, file: &str) -> Result<Self, Diagnostics> {
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        let mut findings = Diagnostics::new();
        if tools.len() > TOOLS_MAX {
            findings.push(Diagnostic::error(
                file,
                None,
                format!("server `{server}` lists {} tools, the limit is {TOOLS_MAX}", tools.len()),
            ));
        }
        let mut by_name = AHashMap::new();
        let mut by_look: AHashMap<String, Box<str>> = AHashMap::new();
        for (position, tool) in tools.iter().enumerate() {
            let index = ToolIndex(u32::try_from(position).unwrap_or(u32::MAX));
            if tool.name.is_empty() || tool.name.len() > NAME_BYTES_MAX {
                let message = format!("a tool name of {} bytes on server `{server}`", tool.name.len());
                findings.push(
                    Diagnostic::error(file, None, message).help(format!("1 to {NAME_BYTES_MAX} bytes are allowed")),
                );
            }
            if by_name.insert(tool.name.clone(), index).is_some() {
                findings.push(Diagnostic::error(
                    file,
                    None,
                    format!("tool `{}` is listed twice on server `{server}`", tool.name),
                ));
            } else if let Some(other) = by_look.insert(names::skeleton(&tool.name), tool.name.clone()) {
                let message = format!(
                    "tools `{other}` and `{}` on server `{server}` differ only by case or white space",
                    names::visible(&tool.name)
                );
                findings.push(Diagnostic::error(file, None, message).help("have the server rename one of them"));
            }
        }
        if findings.is_empty() {
            Ok(Self(Arc::new(Listing { server: server.into(), tools, by_name })))
        } else {
            Err(findings)
        }
    }

    /// The server these tools belong to, as the configuration names it.
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// All tools, in the order of their [`ToolIndex`].
    pub fn tools(&self) -> &[Tool] {
        &self.0.tools
    }

    /// The tool of exactly this name, code point by code point; no case folding, no trimming.
    pub fn find(&self, name: &str) -> Option<ToolIndex> {
        self.0.by_name.get(name).copied()
    }

    /// The tool at a position.
    pub fn tool(&self, index: ToolIndex) -> Option<&Tool> {
        self.0.tools.get(index.0 as usize)
    }

    /// What an operator should look at: characters in names and descriptions that a reviewer cannot see but a model reads.
    pub fn warnings(&self, file: &str) -> Diagnostics {
        let mut findings = Diagnostics::new();
        for tool in &self.0.tools {
            let said = |field| tool.definition.get(field).and_then(Value::as_str).unwrap_or_default();
            for (part, text) in [("name", &*tool.name), ("title", said("title")), ("description", said("description"))]
            {
                if let Some(hidden) = names::hidden(text) {
                    let message = format!(
                        "the {part} of tool `{}` holds the hidden character U+{:04X}",
                        names::visible(&tool.name),
                        hidden as u32
                    );
                    findings.push(
                        Diagnostic::warning(file, None, message)
                            .help("a model reads what a reviewer cannot see; remove it at the server"),
                    );
                }
            }
        }
        findings
    }

    /// What the live list of a server changed against this catalogue, sorted by tool name.
    pub fn diff(&self, live: &[Value]) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut offered: AHashMap<&str, &Value> = AHashMap::new();
        for definition in live {
            if let Some(name) = definition.get("name").and_then(Value::as_str) {
                offered.insert(name, definition);
            }
        }
        for tool in &self.0.tools {
            match offered.remove(&*tool.name) {
                None => changes.push(Change::Removed { name: tool.name.clone() }),
                Some(definition)
                    if Pin::of(definition) != Some(tool.pin) || Pin::of(&tool.definition) != Some(tool.pin) =>
                {
                    let fields = differing(&tool.definition, definition);
                    let fields = if fields.is_empty() { vec![PIN] } else { fields };
                    changes.push(Change::Changed { name: tool.name.clone(), fields });
                }
                Some(_) => {}
            }
        }
        changes.extend(offered.into_keys().map(|name| Change::Added { name: name.into() }));
        changes.sort_by(|a, b| a.name().cmp(b.name()));
        changes
    }

    /// This catalogue with `changes` taken over from the live list; what is not among them stays as it was reviewed.
    pub fn approve(&self, changes: &[Change], live: &[Value]) -> Result<Self, Diagnostics> {
        let mut tools: Vec<Tool> = self.0.tools.clone();
        for change in changes {
            tools.retain(|tool| &*tool.name != change.name());
            match change {
                Change::Removed { name: _ } => {}
                Change::Added { name } | Change::Changed { name, fields: _ } => {
                    let found =
                        live.iter().find(|definition| definition.get("name").and_then(Value::as_str) == Some(name));
                    match found.and_then(learned) {
                        Some(tool) => tools.push(tool),
                        None => {
                            return Err(vec![Diagnostic::error(
                                &*self.0.server,
                                None,
                                format!("the live list no longer holds tool `{name}`"),
                            )]);
                        }
                    }
                }
            }
        }
        Self::build(&self.0.server, tools, &self.0.server)
    }

    /// The catalogue file: pretty-printed, tools by name, keys sorted, one line break at the end; equal catalogues give equal bytes.
    pub fn to_text(&self) -> String {
        let tools: Vec<Value> = self
            .0
            .tools
            .iter()
            .map(|tool| json!({"name": tool.name, "pin": tool.pin.to_string(), "definition": tool.definition}))
            .collect();
        format!("{:#}\n", json!({"server": self.0.server, "tools": tools}))
    }
}

/// What a difference in nothing but the pin is called.
const PIN: &str = "pin";

/// A tool under its own name, and the pin it is entered with.
fn pinned_entry(tool: &Value, position: usize) -> Result<(Tool, Pin), (String, &'static str)> {
    const REMOVE: &str = "remove the entry, then take the tool over anew with `portcullis tools approve`";
    let Some(name) = tool.get("name").and_then(Value::as_str) else {
        return Err((format!("tool {position} has no `name`"), REMOVE));
    };
    let Some(read) = tool.get("definition").and_then(learned) else {
        return Err((format!("tool `{name}` has no `definition`"), REMOVE));
    };
    if *read.name != *name {
        return Err((format!("tool `{name}` is defined as `{}`", names::visible(&read.name)), REMOVE));
    }
    let pin = tool.get("pin").and_then(Value::as_str).and_then(Pin::parse);
    Ok((read, pin.unwrap_or(Pin::NONE)))
}

fn entry(tool: &Value, position: usize) -> Result<Tool, (String, &'static str)> {
    const RELEARN: &str = "review the difference with `portcullis tools diff`, then `portcullis tools approve`";
    let (read, pin) = pinned_entry(tool, position)?;
    let name = names::visible(&read.name);
    if pin == Pin::NONE {
        return Err((format!("tool `{name}` has no readable `pin`"), RELEARN));
    }
    if read.pin != pin {
        return Err((
            format!("the pin of tool `{name}` does not match its definition, which was edited after its review"),
            RELEARN,
        ));
    }
    Ok(read)
}

fn learned(definition: &Value) -> Option<Tool> {
    let name = definition.get("name")?.as_str()?.into();
    let mut definition = definition.clone();
    definition.sort_all_objects();
    Some(Tool { name, pin: Pin::of(&definition)?, definition })
}

fn differing(reviewed: &Value, live: &Value) -> Vec<&'static str> {
    let (reviewed, live) = (pinned(reviewed), pinned(live));
    let field = |of: &Option<Value>, name: &str| {
        of.as_ref().and_then(|of| of.get(name)).and_then(|part| serde_json_canonicalizer::to_vec(part).ok())
    };
    PINNED_FIELDS.into_iter().chain([PINNED_UI]).filter(|name| field(&reviewed, name) != field(&live, name)).collect()
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
