//! Gathers what is wrong with one file. In: offsets and words. Out: diagnostics in the order of the lines. Never here: judgement.

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, line_of};

/// The findings of one file, all of them: an operator mends a file once, not once a finding.
pub struct Findings<'t> {
    file: &'t str,
    text: &'t str,
    found: Diagnostics,
}

impl<'t> Findings<'t> {
    /// Nothing found yet in `text`, which the operator knows as `file`.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// An error at byte `at`: cause and cure.
    pub fn refuse(&mut self, at: usize, message: impl Into<String>, cure: impl Into<String>) {
        let line = Some(line_of(self.text, at));
        self.found.push(Diagnostic::error(self.file, line, message).help(cure));
    }

    /// A warning at byte `at`: cause and cure.
    pub fn warn(&mut self, at: usize, message: impl Into<String>, cure: impl Into<String>) {
        let line = Some(line_of(self.text, at));
        self.found.push(Diagnostic::warning(self.file, line, message).help(cure));
    }

    /// An error of the file as a whole.
    pub fn refuse_file(&mut self, message: impl Into<String>, cure: impl Into<String>) {
        self.found.push(Diagnostic::error(self.file, None, message).help(cure));
    }

    /// A warning about the file as a whole.
    pub fn warn_file(&mut self, message: impl Into<String>, cure: impl Into<String>) {
        self.found.push(Diagnostic::warning(self.file, None, message).help(cure));
    }

    /// Whether any finding refuses the load.
    pub fn refused(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The line byte `at` lies in.
    pub fn line(&self, at: usize) -> u32 {
        line_of(self.text, at)
    }

    /// All findings, by line; those of the whole file last.
    pub fn sorted(mut self) -> Diagnostics {
        self.found.sort_by_key(|finding| finding.line.unwrap_or(u32::MAX));
        self.found
    }
}
