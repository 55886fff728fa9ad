//! Words the lines of the tour. In: a record of the audit log and what the agent saw. Out: one line. Never here: whether it is right.

use std::io::IsTerminal;

use crate::demo::agents::Saw;
use crate::demo::log::Record;

/// Colours on a terminal, none elsewhere and none where `NO_COLOR` asks for none.
pub struct Face {
    colours: Colours,
}

#[derive(Clone, Copy)]
enum Colours {
    On,
    Off,
}

/// What a piece of text is.
#[derive(Clone, Copy)]
pub enum Tone {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// Something is wrong.
    Wrong,
    /// A heading.
    Head,
    /// Beside the point.
    Dim,
}

impl Face {
    /// As standard output is.
    pub fn of_stdout() -> Self {
        let asked_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = if std::io::stdout().is_terminal() && !asked_off { Colours::On } else { Colours::Off };
        Self { colours }
    }

    /// `text` in its tone.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Allow => "1;32",
            Tone::Deny => "1;31",
            Tone::Wrong => "1;37;41",
            Tone::Head => "1",
            Tone::Dim => "2",
        };
        match self.colours {
            Colours::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Colours::Off => text.to_owned(),
        }
    }

    /// `ALLOW  support-bot  crm.read_table {"table":"customers"}  rule=… → 3 rows`.
    pub fn line(&self, agent: &str, asked: &str, record: &Record, saw: &Saw) -> String {
        let word = if record.allows() { self.paint(Tone::Allow, "ALLOW") } else { self.paint(Tone::Deny, "DENY ") };
        let why = why(record);
        let came_back = self.paint(Tone::Dim, &format!("→ {}", came_back(saw)));
        format!("{word}  {agent:<11}  {asked:<ASKED_WIDTH$}  {why}  {came_back}")
    }
}

/// What the record says of the cause: the reason of a refusal, and the rules that decided.
fn why(record: &Record) -> String {
    let mut why = Vec::new();
    if let Some(cause) = &record.cause {
        why.push(format!("reason={cause}"));
    }
    if !record.rules.is_empty() {
        why.push(format!("rule={}", listed(&record.rules)));
    }
    why.join(" ")
}

/// `support.cedar:4,12,hours.cedar:2`, several rules of a file under one name.
fn listed(rules: &[String]) -> String {
    let mut text = String::new();
    let mut file = "";
    for rule in rules {
        match rule.rsplit_once(':') {
            Some((same, line)) if same == file => text = format!("{text},{line}"),
            parts => {
                file = parts.map_or("", |(file, _)| file);
                text = format!("{text}{}{rule}", if text.is_empty() { "" } else { "," });
            }
        }
    }
    text
}

/// What the agent got, in a few words.
pub fn came_back(saw: &Saw) -> String {
    match saw {
        Saw::Open { revision } => format!("open, MCP {revision}"),
        Saw::Tools { names } => names.join(", "),
        Saw::Answer { content, error: false } => match content.get("count").and_then(serde_json::Value::as_u64) {
            Some(1) => "1 row".to_owned(),
            Some(count) => format!("{count} rows"),
            None => content.to_string(),
        },
        Saw::Answer { content, error: true } => format!("the tool failed: {content}"),
        Saw::Refused { code, message } => format!("error {code} \"{message}\""),
        Saw::Unauthorized { challenge } => {
            let said = challenge.split_once("error_description=\"").and_then(|(_, rest)| rest.split_once('"'));
            said.map_or_else(|| "401".to_owned(), |(words, _)| format!("401 \"{words}\""))
        }
        Saw::Forbidden { .. } => "403".to_owned(),
        Saw::Broken { words } => format!("broken: {words}"),
    }
}

/// All but the longest call of the tour fit.
const ASKED_WIDTH: usize = 42;
