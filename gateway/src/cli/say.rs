//! Prints. In: words. Out: lines on standard output and standard error, coloured on a terminal. Never here: what they mean.
//!
//! A reader that goes away (`| head`) ends the printing, never the process with a panic.

use serde_json::Value;
use std::io::{self, IsTerminal, Write};

/// How words stand out on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// As it should be.
    Green,
    /// Worth a look.
    Yellow,
    /// Wrong.
    Red,
    /// Beside the point.
    Dim,
}

/// One line on standard output.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// One JSON document on standard output.
pub fn json(value: &Value) {
    line(&format!("{value:#}"));
}

/// One JSON document on one line, for streams.
pub fn json_line(value: &Value) {
    line(&value.to_string());
}

/// One line on standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Cause and cure on standard error.
pub fn error(message: &str, help: Option<&str>) {
    let word = paint("error", Hue::Red, io::stderr().is_terminal());
    match help {
        Some(help) => note(&format!("{word}: {message}\n  help: {help}")),
        None => note(&format!("{word}: {message}")),
    }
}

/// A finding on standard error.
pub fn finding(text: &str) {
    let hue = if text.contains(": warning: ") { Hue::Yellow } else { Hue::Red };
    note(&paint(text, hue, io::stderr().is_terminal()));
}

/// The words for standard output.
pub fn painted(text: &str, hue: Hue) -> String {
    paint(text, hue, io::stdout().is_terminal())
}

fn paint(text: &str, hue: Hue, terminal: bool) -> String {
    if !terminal || std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) {
        return text.to_owned();
    }
    let code = match hue {
        Hue::Green => 32,
        Hue::Yellow => 33,
        Hue::Red => 31,
        Hue::Dim => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Rows in columns; the last column is not padded.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_alone() {
        assert_eq!(paint("x", Hue::Red, false), "x");
        if std::env::var_os("NO_COLOR").is_none() {
            assert_eq!(paint("x", Hue::Green, true), "\u{1b}[32mx\u{1b}[0m");
        }
    }
}
