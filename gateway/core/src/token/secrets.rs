//! Reads the secrets file. In: its text. Out: named secrets. Never here: the file itself, and in no finding a value.

use crate::diagnostic::{Diagnostic, Diagnostics, did_you_mean, line_of};
use crate::secret::Secret;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// The secrets by name.
pub struct Secrets {
    named: BTreeMap<Box<str>, Secret<String>>,
    warnings: Diagnostics,
}

/// A secret shorter than this is not looked for in responses: it would be found in innocent text.
pub const SCANNED_BYTES_MIN: usize = 8;

/// A secret longer than this is no header value: field lines are bounded to 8 KiB by common servers.
pub const SECRET_BYTES_MAX: usize = 4096;

/// Whether only its owner may read a file of this Unix mode: 0600 or less.
pub fn mode_is_private(mode: u32) -> bool {
    mode & 0o177 == 0
}

impl Secrets {
    /// No secrets, for a gateway without a secrets file.
    pub fn none() -> Self {
        Self { named: BTreeMap::new(), warnings: Vec::new() }
    }

    /// Reads a table `[secrets]` of names and strings. The caller wipes the text afterwards.
    pub fn parse(text: &str, file: &str) -> Result<Self, Diagnostics> {
        // The parser's own message is left out: it may quote the line, and the line may hold a secret.
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            vec![Diagnostic::error(file, line, "not TOML").help("write `name = \"value\"` under `[secrets]`")]
        })?;
        let mut secrets = Self::none();
        let mut errors = Diagnostics::new();
        for (key, value) in table.into_inner() {
            let line = Some(line_of(text, key.span().start));
            match (&**key.get_ref(), value.into_inner()) {
                ("secrets", DeValue::Table(entries)) => {
                    for (key, value) in entries {
                        let line = Some(line_of(text, key.span().start));
                        match secrets.take(key.get_ref(), value.into_inner()) {
                            Ok(warning) => {
                                secrets.warnings.extend(warning.map(|why| Diagnostic::warning(file, line, why)))
                            }
                            Err((why, cure)) => errors.push(Diagnostic::error(file, line, why).help(cure)),
                        }
                    }
                }
                (other, _) => {
                    let near = did_you_mean(other, ["secrets"]);
                    let cure = near.unwrap_or_else(|| "secrets stand under `[secrets]`".into());
                    errors.push(
                        Diagnostic::error(file, line, format!("unknown key `{}`", other.escape_debug())).help(cure),
                    );
                }
            }
        }
        if errors.is_empty() { Ok(secrets) } else { Err(errors) }
    }

    fn take(&mut self, name: &str, value: DeValue<'_>) -> Result<Option<String>, (String, &'static str)> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if name.is_empty() || !name.bytes().all(allowed) {
            let shown = name.escape_debug();
            return Err((format!("secret name `{shown}` is not allowed"), "use a-z, 0-9, `-` and `_`"));
        }
        let DeValue::String(value) = value else {
            return Err((format!("secret `{name}` is not a string"), "put the value in quotes"));
        };
        let value = Secret::new(value.into_owned());
        let length = value.expose().len();
        if length == 0 {
            return Err((format!("secret `{name}` is empty"), "write its value, or remove the line"));
        }
        if length > SECRET_BYTES_MAX {
            return Err((format!("secret `{name}` is longer than {SECRET_BYTES_MAX} bytes"), "no header takes it"));
        }
        if !is_field_value(value.expose()) {
            let cure = "a header takes visible ASCII and inner spaces; look for a line break at the end";
            return Err((format!("secret `{name}` cannot stand in a header"), cure));
        }
        self.named.insert(name.into(), value);
        let short = length < SCANNED_BYTES_MIN;
        Ok(short.then(|| {
            format!("secret `{name}` is shorter than {SCANNED_BYTES_MIN} bytes, so responses are not scanned for it")
        }))
    }

    /// What the operator should look at, though it loads.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The secret of this name.
    pub fn find(&self, name: &str) -> Option<&Secret<String>> {
        self.named.get(name)
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(|name| &**name)
    }

    /// The values, for the scanner.
    pub(super) fn values(&self) -> impl Iterator<Item = &Secret<String>> {
        self.named.values()
    }
}

/// RFC 9110 §5.5 without obs-text and tabs: a CR, LF or NUL here would let a value write further header lines.
pub(super) fn is_field_value(value: &str) -> bool {
    !value.starts_with(' ') && !value.ends_with(' ') && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let findings = Secrets::parse(text, "secrets.toml").err().unwrap_or_default();
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), expected, "{text}");
        assert!(!found.join("").contains("hunter"), "a finding shows a value");
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_without_showing_a_value() {
        let place = "secrets.toml:2: ";
        let bad =
            "cannot stand in a header; a header takes visible ASCII and inner spaces; look for a line break at the end";
        check("[secrets]\ncrm = 'hunter2", &format!("{place}not TOML; write `name = \"value\"` under `[secrets]`"));
        check("\ncrm = 'hunter2'", &format!("{place}unknown key `crm`; secrets stand under `[secrets]`"));
        check("\n[secret]\ncrm='hunter2'", &format!("{place}unknown key `secret`; did you mean `secrets`?"));
        check(
            "[secrets]\nCRM = 'hunter2'",
            &format!("{place}secret name `CRM` is not allowed; use a-z, 0-9, `-` and `_`"),
        );
        check("[secrets]\ncrm = 7", &format!("{place}secret `crm` is not a string; put the value in quotes"));
        check("[secrets]\ncrm = ''", &format!("{place}secret `crm` is empty; write its value, or remove the line"));
        for value in
            ["hunter2\\n", "hunter2\\r\\nx: y", "hunter2\\u0000", "hunter2 ", " hunter2", "hunter2é", "hunter\\t2"]
        {
            check(&format!("[secrets]\ncrm = \"{value}\""), &format!("{place}secret `crm` {bad}"));
        }
        let long = format!("[secrets]\ncrm = '{}'", "x".repeat(SECRET_BYTES_MAX + 1));
        check(&long, &format!("{place}secret `crm` is longer than 4096 bytes; no header takes it"));
        check(
            "[secrets]\ncrm = 'a'\ncrm = 'b'",
            "secrets.toml:3: not TOML; write `name = \"value\"` under `[secrets]`",
        );
    }

    #[test]
    fn secrets_are_found_by_name_and_short_ones_warned_of() {
        let secrets = Secrets::parse("[secrets]\ncrm = \"a-long-secret\"\npin = \"1234\"", "secrets.toml").unwrap();
        assert_eq!(secrets.find("crm").unwrap().expose(), "a-long-secret");
        assert!(secrets.find("none").is_none());
        let warnings: Vec<String> = secrets.warnings().iter().map(ToString::to_string).collect();
        let expected =
            "secrets.toml:3: warning: secret `pin` is shorter than 8 bytes, so responses are not scanned for it";
        assert_eq!(warnings, [expected]);
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["crm", "pin"]);
        assert!(Secrets::parse("", "secrets.toml").unwrap().names().next().is_none());
    }

    #[test]
    fn only_the_owner_may_read_the_file() {
        for (mode, private) in [
            (0o100_600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o700, false),
            (0o644, false),
        ] {
            assert_eq!(mode_is_private(mode), private, "{mode:o}");
        }
    }
}
