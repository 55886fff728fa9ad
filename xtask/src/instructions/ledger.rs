//! Keeps what a stage may cost. In: `benches/instructions.toml`. Out: its numbers, and the file anew. Never here: counting.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::compare::{Change, Comparison};
use super::count::Counted;
use crate::place;

/// What stands above the numbers.
const HEADER: &str = "\
# What one turn of each stage may cost, in instructions as callgrind counts them: `cargo xtask instructions` fails on more than 2 % more.
# Written by `cargo xtask instructions --accept \"WHY\"`; `why` says why a number last changed. The numbers belong to the compiler that is named
# and to the CPU that callgrind emulates, which has AVX2 but neither AVX-512 nor SHA-NI: hashes and signatures cost more than where these are there.
";

/// The file.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The compiler.
    pub rustc: String,
    /// The features of the CPU.
    pub features: String,
    /// The stages, in the order of a call.
    #[serde(rename = "stage", default)]
    pub entries: Vec<Entry>,
}

/// One stage.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Instructions of one turn.
    pub instructions: u64,
    /// Why the number last changed.
    pub why: String,
}

fn file() -> Result<PathBuf> {
    Ok(place::root()?.join("benches/instructions.toml"))
}

impl Ledger {
    /// The file as it stands; empty where there is none yet.
    ///
    /// # Errors
    /// When it cannot be read as what it is.
    pub fn read() -> Result<Self> {
        let file = file()?;
        match fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text).with_context(|| format!("`{}` cannot be read", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("`{}` cannot be read", file.display())),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let ledger: Self = toml::from_str(text)?;
        for (index, entry) in ledger.entries.iter().enumerate() {
            ensure!(entry.instructions > 0, "stage `{}` costs nothing", entry.name);
            let twice = ledger.entries.iter().skip(index + 1).any(|other| other.name == entry.name);
            ensure!(!twice, "stage `{}` stands there twice", entry.name);
        }
        Ok(ledger)
    }

    /// The entry of a stage.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// What stands there once `counted` is accepted: new numbers where they differ by more than the tolerance, and where nothing could be judged
    /// all of them; the others stay, so that many small steps cannot add up unseen.
    ///
    /// # Errors
    /// When no reason is given.
    pub fn accept(&self, comparison: &Comparison, counted: &Counted, why: &str) -> Result<Self> {
        ensure!(!why.trim().is_empty(), "say why: the reason is kept beside the number");
        let entry = |row: &super::compare::Row| match (&row.change, self.entry(&row.name)) {
            (Change::Same(_), Some(entry)) if comparison.is_judged() => Some(entry.clone()),
            (Change::Gone, _) => None,
            (Change::Same(_) | Change::Dearer(_) | Change::Cheaper(_) | Change::New, _) => {
                Some(Entry { name: row.name.clone(), instructions: row.instructions, why: why.trim().to_owned() })
            }
        };
        let entries = comparison.rows.iter().filter_map(entry).collect();
        Ok(Self { rustc: counted.rustc.clone(), features: counted.features.clone(), entries })
    }

    fn text(&self) -> Result<String> {
        Ok(format!("{HEADER}\n{}", toml::to_string(self)?))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self) -> Result<()> {
        let file = file()?;
        fs::write(&file, self.text()?).with_context(|| format!("`{}` cannot be written", file.display()))?;
        println!("written down in {}", file.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "rustc = \"rustc 1\"\nfeatures = \"avx2\"\n\n[[stage]]\nname = \"head\"\ninstructions = 100\nwhy = \"first\"\n";

    fn check(text: &str, words: &str) {
        let error = format!("{:#}", Ledger::parse(text).unwrap_err());
        assert!(error.contains(words), "text: {text}: {error}");
    }

    #[test]
    fn a_file_that_could_be_misread_is_refused() {
        check("", "missing field");
        check(&GOOD.replace("100", "-1"), "invalid value");
        check(&GOOD.replace("100", "0"), "costs nothing");
        check(&GOOD.replace("why = \"first\"", "because = \"first\""), "unknown field");
        check(&format!("{GOOD}{}", GOOD.split_once("\n\n").unwrap().1), "stands there twice");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let ledger = Ledger::parse(GOOD).unwrap();
        assert_eq!(ledger.entry("head").unwrap().instructions, 100);
        assert_eq!(Ledger::parse(&ledger.text().unwrap()).unwrap(), ledger);
    }
}
