//! Writes leaves as JSON lines. In: leaves. Out: one line each: the log, the index, the leaf byte for byte. Never here: pairing, choosing.
//!
//! `{"log":ORIGIN,"index":N,"leaf":{…}}`, with `"value":…` behind it where values are asked for and this record's is there: the arguments of a
//! decision, the result of a result. The leaf stands as it was hashed: the bytes between `"leaf":` and the end of that object are the entry, so
//! that SHA-256 of a zero byte and them is the hash in the tree. The note that opens a rotated log has `"note"` in place of `"leaf"`.

use std::io::Write;

use serde_json::value::RawValue;

use super::source::{Leaf, Source};
use super::{Fault, Values};

/// Lines under way.
pub struct Jsonl<'j> {
    source: &'j Source,
    out: &'j mut dyn Write,
    values: &'j mut dyn Values,
    line: Vec<u8>,
}

impl<'j> Jsonl<'j> {
    /// To be written to `out`.
    pub fn new(source: &'j Source, out: &'j mut dyn Write, values: &'j mut dyn Values) -> Self {
        Self { source, out, values, line: Vec::new() }
    }

    /// Writes one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leaf(&mut self, leaf: &Leaf) -> Result<(), Fault> {
        self.line.clear();
        let origin = self.source.part(leaf.at.log).map(|part| part.origin()).unwrap_or_default();
        self.line.extend_from_slice(br#"{"log":"#);
        self.line.extend_from_slice(text(origin).as_bytes());
        self.line.extend_from_slice(format!(r#","index":{},"#, leaf.at.index).as_bytes());
        if leaf.is_record() {
            self.line.extend_from_slice(br#""leaf":"#);
            self.line.extend_from_slice(&leaf.bytes);
        } else {
            self.line.extend_from_slice(br#""note":"#);
            self.line.extend_from_slice(text(&String::from_utf8_lossy(&leaf.bytes)).as_bytes());
        }
        if let Some(value) = self.values.of(leaf.at).map_err(Fault::Values)? {
            self.line.extend_from_slice(br#","value":"#);
            self.line.extend_from_slice(on_one_line(value).as_bytes());
        }
        self.line.extend_from_slice(b"}\n");
        self.out.write_all(&self.line).map_err(Fault::Write)
    }

    /// Everything is written.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.out.flush().map_err(Fault::Write)
    }
}

/// A JSON value that does not break the line: as it is, or compact, or as a text where it is no JSON at all (a value that was cut).
fn on_one_line(value: String) -> String {
    if serde_json::from_str::<&RawValue>(&value).is_err() {
        return text(&value);
    }
    if !value.contains(['\n', '\r']) {
        return value;
    }
    // Outside of strings a line break is blank, and inside of them it cannot stand.
    value.replace(['\n', '\r'], " ")
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
