//! Carries out on a result what a permit obliges to. In: a message read strictly, redactions and row caps. Out: the same bytes with ranges
//! replaced, or that they cannot be read. Never here: policy's word, re-serialised values.
//!
//! Pointers start at the tool's result: `structuredContent`, and every text of `content` that is JSON by itself. What a pointer cannot follow
//! (a text where an object should be; in a text that is JSON, an object without the member on the way) is replaced whole. Of everything else in an answer only what MCP itself gives a meaning passes, and
//! never prose: it could say what a pointer hides. A result that holds nothing but prose, or an image, cannot be read and so does not pass.

use std::cmp::Reverse;
use std::ops::Range;

use super::place::{self, Counts, Found, Marks, With, Written};
use super::splice::{Edit, apply};
use crate::limits::JSON_DEPTH_MAX;
use crate::policy::oblige::Obligations;
use crate::protocol::json::{JsonLimits, Scratch, read};
use crate::protocol::{reply, span};

/// What stands in the place of a value.
pub const REDACTED: &[u8] = b"\"[redacted]\"";

/// What is obliged cannot be carried out, so nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Appends to `out` the answer `body` to a call of a tool, or about its task, as far as it may pass. On an error `out` is as it was.
pub fn answer(body: &[u8], obligations: &Obligations, out: &mut Vec<u8>) -> Result<Counts, Unreadable> {
    let mut redactor =
        Redactor { body, obligations, found: Vec::new(), structured: None, content: None, failed: Failed::No };
    for entry in redactor.entries(0..body.len())? {
        if redactor.named(&entry, &["jsonrpc", "id"]) {
            continue;
        }
        if redactor.named(&entry, &["result"]) {
            redactor.result(entry.value)?;
        } else if redactor.named(&entry, &["error"]) {
            redactor.error(entry.value);
        } else {
            redactor.hide(entry.value);
        }
    }
    splice(body, redactor.found, out)
}

/// Appends to `out` a notification that comes during such a call: how far it has come, and no words.
pub fn notification(body: &[u8], out: &mut Vec<u8>) -> Result<Counts, Unreadable> {
    let none = Obligations::default();
    let mut redactor =
        Redactor { body, obligations: &none, found: Vec::new(), structured: None, content: None, failed: Failed::No };
    for entry in redactor.entries(0..body.len())? {
        if redactor.named(&entry, &["jsonrpc", "method"]) {
            continue;
        }
        if !redactor.named(&entry, &["params"]) {
            redactor.hide(entry.value);
            continue;
        }
        for member in redactor.entries(entry.value)? {
            redactor.member(&member, &NOTED);
        }
    }
    splice(body, redactor.found, out)
}

/// Appends to `out` a list of tasks without what their servers say of them in words.
pub fn task_list(body: &[u8], out: &mut Vec<u8>) -> Result<Counts, Unreadable> {
    let none = Obligations::default();
    let mut redactor =
        Redactor { body, obligations: &none, found: Vec::new(), structured: None, content: None, failed: Failed::No };
    let tasks = span::member(body, &["result", "tasks"]).ok_or(Unreadable)?;
    for task in span::elements(body, tasks) {
        for member in redactor.entries(task)? {
            redactor.member(&member, &TASK);
        }
    }
    splice(body, redactor.found, out)
}

/// Members of a notification that MCP defines and that say nothing of a result.
const NOTED: [&str; 8] = ["progressToken", "progress", "total", "level", "logger", "requestId", "uri", "elicitationId"];

/// Members of a task that are no words of its server.
const TASK: [&str; 8] =
    ["taskId", "status", "createdAt", "lastUpdatedAt", "ttl", "ttlMs", "pollInterval", "pollIntervalMs"];

/// Other members of a result that are no content.
const RESULT: [&str; 3] = ["isError", "resultType", "cacheScope"];

/// Members of `_meta` by which a client tells whose answer it is (MCP 2025-11-25, tasks; 2026-07-28, results).
const META: [&str; 2] = ["io.modelcontextprotocol/related-task", "io.modelcontextprotocol/serverInfo"];

/// Whether the result says that it is an error: its prose is then hidden, and that it failed still told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failed {
    Yes,
    No,
}

struct Redactor<'r> {
    body: &'r [u8],
    obligations: &'r Obligations,
    found: Vec<Found>,
    /// What the pointers met in the structured content; none where there is no such content.
    structured: Option<Marks>,
    /// Where that content stands.
    content: Option<Range<usize>>,
    failed: Failed,
}

impl Redactor<'_> {
    /// The members of the object at `object`.
    fn entries(&self, object: Range<usize>) -> Result<Vec<span::Entry>, Unreadable> {
        let object = if object.start == 0 { span::member(self.body, &[]).ok_or(Unreadable)? } else { object };
        match self.body.get(object.start) {
            Some(b'{') => Ok(span::entries(self.body, object).collect()),
            Some(_) | None => Err(Unreadable),
        }
    }

    fn named(&self, entry: &span::Entry, names: &[&str]) -> bool {
        let key = self.body.get(entry.key.clone()).unwrap_or_default();
        names.iter().any(|name| span::spells(key, name))
    }

    fn first(&self, value: &Range<usize>) -> u8 {
        self.body.get(value.start).copied().unwrap_or_default()
    }

    fn hide(&mut self, value: Range<usize>) {
        self.found.push(Found { range: value, with: With::Redacted });
    }

    fn clear(&mut self, value: Range<usize>) {
        if self.body.get(value.clone()) != Some(b"{}") {
            self.found.push(Found { range: value, with: With::Nothing });
        }
    }

    /// A member passes where it is one of `known` and neither an object nor an array; `_meta` stays, without what is in it.
    fn member(&mut self, entry: &span::Entry, known: &[&str]) {
        if self.named(entry, &["_meta"]) {
            self.clear(entry.value.clone());
        } else if !self.named(entry, known) || matches!(self.first(&entry.value), b'{' | b'[') {
            self.hide(entry.value.clone());
        }
    }

    fn result(&mut self, result: Range<usize>) -> Result<(), Unreadable> {
        let entries = self.entries(result)?;
        for entry in &entries {
            if self.named(entry, &["structuredContent"]) && self.first(&entry.value) != b'n' {
                let marks = place::values(
                    (self.body, entry.value.clone()),
                    Written::Structured,
                    self.obligations,
                    &mut self.found,
                );
                self.structured = Some(marks);
                self.content = Some(entry.value.clone());
            }
            if self.named(entry, &["isError"]) && self.first(&entry.value) == b't' {
                self.failed = Failed::Yes;
            }
        }
        entries.into_iter().try_for_each(|entry| self.result_member(entry))
    }

    fn result_member(&mut self, entry: span::Entry) -> Result<(), Unreadable> {
        let is = |name: &str| self.named(&entry, &[name]);
        if is("structuredContent") {
            return Ok(());
        }
        // What the server asks of the agent is prose, and its state is for nobody else to read.
        if is("inputRequests") || is("requestState") {
            return Err(Unreadable);
        }
        if is("content") {
            return self.content(entry.value);
        }
        if is("_meta") {
            return self.meta(entry.value);
        }
        // What a finished task brings: the call's own result, or its error.
        if is("result") {
            return self.result(entry.value);
        }
        if is("error") {
            self.error(entry.value);
        } else if is("task") {
            self.entries(entry.value)?.iter().for_each(|member| self.member(member, &TASK));
        } else if self.named(&entry, &TASK) {
            self.member(&entry, &TASK);
        } else {
            self.member(&entry, &RESULT);
        }
        Ok(())
    }

    fn meta(&mut self, meta: Range<usize>) -> Result<(), Unreadable> {
        for entry in self.entries(meta)? {
            if !self.named(&entry, &META) {
                self.hide(entry.value);
            }
        }
        Ok(())
    }

    /// Of an error the code passes; its words could name what they are about.
    fn error(&mut self, error: Range<usize>) {
        match self.entries(error.clone()) {
            Ok(entries) => entries.iter().for_each(|entry| self.member(entry, &["code"])),
            Err(Unreadable) => self.hide(error),
        }
    }

    fn content(&mut self, content: Range<usize>) -> Result<(), Unreadable> {
        if self.first(&content) != b'[' {
            return Err(Unreadable);
        }
        let blocks: Vec<Range<usize>> = span::elements(self.body, content).collect();
        // Some servers give each row a text of its own.
        let rows_max = self.obligations.row_caps().filter(|cap| cap.at.is_none()).map(|cap| cap.rows_max).min();
        if let Some(cut) = rows_max.and_then(|rows_max| place::cut(&blocks, rows_max)) {
            self.found.push(cut);
        }
        blocks.into_iter().try_for_each(|block| self.block(block))
    }

    /// A text, or a resource in the place of one.
    fn block(&mut self, block: Range<usize>) -> Result<(), Unreadable> {
        let entries = self.entries(block)?;
        let of_type = |this: &Self, name: &str| {
            entries.iter().any(|entry| {
                let value = this.body.get(entry.value.clone()).unwrap_or_default();
                this.named(entry, &["type"]) && value.starts_with(b"\"") && span::spells(value, name)
            })
        };
        let (text, resource) = (of_type(self, "text"), of_type(self, "resource"));
        if !text && !resource {
            return Err(Unreadable);
        }
        for entry in entries {
            if text && self.named(&entry, &["text"]) {
                self.text(entry.value)?;
            } else if resource && self.named(&entry, &["resource"]) {
                self.resource(entry.value)?;
            } else if self.named(&entry, &["annotations"]) {
                self.clear(entry.value);
            } else {
                self.member(&entry, &["type"]);
            }
        }
        Ok(())
    }

    fn resource(&mut self, resource: Range<usize>) -> Result<(), Unreadable> {
        for entry in self.entries(resource)? {
            if self.named(&entry, &["text"]) {
                self.text(entry.value)?;
            } else if self.named(&entry, &["blob"]) {
                return Err(Unreadable);
            } else {
                self.member(&entry, &["uri", "mimeType"]);
            }
        }
        Ok(())
    }

    /// Whether a text says what the structured content says.
    fn is_structured(&self, text: &str) -> bool {
        let content = self.content.clone().and_then(|content| self.body.get(content)).unwrap_or_default();
        let (content, text) = (serde_json::from_slice::<serde_json::Value>(content), serde_json::from_str(text));
        content.is_ok_and(|content| text.is_ok_and(|text: serde_json::Value| text == content))
    }

    /// A text that is JSON is narrowed as the structured content is. Where that has something that this text should have as well and has
    /// not, the text is of another shape and is hidden whole.
    fn text(&mut self, value: Range<usize>) -> Result<(), Unreadable> {
        let raw = self.body.get(value.clone()).unwrap_or_default();
        let text: String = serde_json::from_slice(raw).map_err(|_| Unreadable)?;
        if text.trim().is_empty() {
            return Ok(());
        }
        if let Failed::Yes = self.failed {
            // An error's words may quote what is to be hidden, however they are written.
            self.hide(value);
            return Ok(());
        }
        let limits = JsonLimits { bytes_max: text.len(), depth_max: JSON_DEPTH_MAX };
        if read(&mut Scratch::new(), text.as_bytes(), &limits).is_err() {
            if self.structured.is_none() {
                return Err(Unreadable);
            }
            self.hide(value);
            return Ok(());
        }
        if self.obligations.withhold_results() && !self.is_structured(&text) {
            // No rule was asked about what it says.
            self.hide(value);
            return Ok(());
        }
        let root = span::member(text.as_bytes(), &[]).ok_or(Unreadable)?;
        let mut found = Vec::new();
        let marks = place::values((text.as_bytes(), root), Written::Text, self.obligations, &mut found);
        if self.structured.as_ref().is_some_and(|structured| structured.exceeds(&marks)) {
            self.hide(value);
            return Ok(());
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut narrowed = Vec::with_capacity(text.len());
        let counts = splice(text.as_bytes(), found, &mut narrowed)?;
        let mut quoted = Vec::with_capacity(narrowed.len() + narrowed.len() / 8);
        reply::write_string(std::str::from_utf8(&narrowed).map_err(|_| Unreadable)?, &mut quoted);
        self.found.push(Found { range: value, with: With::Text(quoted, counts) });
        Ok(())
    }
}

/// Applies what was found, the outermost where one lies in another.
fn splice(body: &[u8], mut found: Vec<Found>, out: &mut Vec<u8>) -> Result<Counts, Unreadable> {
    found.sort_by_key(|found| (found.range.start, Reverse(found.range.end)));
    let mut end = 0;
    found.retain(|found| {
        let outside = found.range.start >= end;
        if outside {
            end = found.range.end;
        }
        outside
    });
    let mut counts = Counts::default();
    for found in &found {
        counts = counts.and(match &found.with {
            With::Redacted => Counts { redactions: 1, rows_dropped: 0 },
            With::Nothing => Counts::default(),
            With::Cut(rows) => Counts { redactions: 0, rows_dropped: *rows },
            With::Text(_, counts) => *counts,
        });
    }
    let edits: Vec<Edit<'_>> = found
        .iter()
        .map(|found| {
            let with: &[u8] = match &found.with {
                With::Redacted => REDACTED,
                With::Nothing => b"{}",
                With::Cut(_) => b"",
                With::Text(text, _) => text,
            };
            Edit { range: found.range.clone(), with }
        })
        .collect();
    apply(body, &edits, out).map_err(|_| Unreadable)?;
    Ok(counts)
}

#[cfg(test)]
mod tests;
