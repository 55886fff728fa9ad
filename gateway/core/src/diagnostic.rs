//! Tells an operator what is wrong with a file. In: place, cause, cure. Out: one readable line, or JSON. Never here: IO.

use std::fmt;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The load is refused; the last good snapshot goes on serving.
    Error,
    /// The load goes on; the operator should look.
    Warning,
}

/// One finding: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file as the operator named it.
    pub file: String,
    /// Line, counted from 1; absent where the whole file is meant.
    pub line: Option<u32>,
    /// The cause: lower case, no full stop, the operator's own words in backticks.
    pub message: String,
    /// The cure, where one is known.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding that refuses the load.
    pub fn error(file: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, file: file.into(), line, message: message.into(), help: None }
    }

    /// A finding that only warns.
    pub fn warning(file: impl Into<String>, line: Option<u32>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, line, message) }
    }

    /// The same finding with its cure.
    #[must_use]
    pub fn help(mut self, cure: impl Into<String>) -> Self {
        self.help = Some(cure.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: ", self.file)?,
            None => write!(out, "{}: ", self.file)?,
        }
        if self.severity == Severity::Warning {
            out.write_str("warning: ")?;
        }
        out.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(out, "; {help}"),
            None => Ok(()),
        }
    }
}

/// What a check found, in the order it was found.
pub type Diagnostics = Vec<Diagnostic>;

/// The line, from 1, in which the byte `offset` of `text` lies.
pub fn line_of(text: &str, offset: usize) -> u32 {
    let upto = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
    let breaks = upto.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX - 1) + 1
}

/// `; did you mean `x`?` for the closest of `known`, if one is close enough to be a slip of the fingers.
pub fn did_you_mean<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_place_cause_cure() {
        let finding = Diagnostic::error("policy/support.cedar", Some(12), "unknown tool `reed_table` on server `crm`")
            .help(did_you_mean("reed_table", ["write_table", "read_table"]).unwrap());
        assert_eq!(
            finding.to_string(),
            "policy/support.cedar:12: unknown tool `reed_table` on server `crm`; did you mean `read_table`?"
        );
        assert_eq!(did_you_mean("zebra", ["read_table"]), None);
        assert_eq!(line_of("a\nb\nc", 2), 2);
    }
}
