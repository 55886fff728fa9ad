//! Reads the audit log as an outsider would: JSON lines and SHA-256, nothing of the gateway's own code. In: its folder. Out: the records
//! since the last look, and whether the chain holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One record, as far as the tour shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Record {
    /// `decision`, `refusal`, `result` and others.
    pub event: String,
    /// Who asked, where that was proven.
    pub agent: Option<String>,
    /// What was asked.
    pub method: Option<String>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Why it was refused.
    pub cause: Option<String>,
    /// The rules that decided.
    #[serde(default)]
    pub rules: Vec<String>,
}

impl Record {
    /// Whether it let something pass.
    pub fn allows(&self) -> bool {
        self.decision.as_deref() == Some("allow")
    }
}

/// The log, and how far it was read.
pub struct Log {
    folder: PathBuf,
    read: BTreeMap<PathBuf, usize>,
}

/// What a whole log is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Records.
    pub records: usize,
    /// Chains, one a worker and one for the control plane.
    pub chains: usize,
}

impl Log {
    /// The log in `folder`, from its beginning.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, read: BTreeMap::new() }
    }

    /// The records since the last look. What an agent has been answered is in the log already, so there is nothing to wait for.
    pub fn news(&mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for file in segments(&self.folder)? {
            let text = read(&file)?;
            let seen = self.read.entry(file).or_default();
            let fresh = text.get(*seen..).unwrap_or_default();
            // A last line without its end is still being written.
            let whole = fresh.rfind('\n').map_or(0, |end| end + 1);
            for line in fresh.get(..whole).unwrap_or_default().lines() {
                records.push(serde_json::from_str(line).with_context(|| format!("no record: `{line}`"))?);
            }
            *seen += whole;
        }
        Ok(records)
    }
}

/// Walks every chain: the first line of each write ends with the BLAKE3 hash of the write before it, the very first with zeros.
///
/// # Errors
/// Where a line names another write than stands before it.
pub fn verify(folder: &Path) -> Result<Extent> {
    let mut heads: BTreeMap<String, String> = BTreeMap::new();
    let mut records = 0;
    for file in segments(folder)? {
        // `BOOT-SHARD-SEGMENT.jsonl`: a chain goes on from segment to segment.
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let shard = name.split('-').nth(1).with_context(|| format!("`{}` is no segment", file.display()))?;
        let head = heads.entry(shard.to_owned()).or_insert_with(|| "0".repeat(64));
        let mut write = blake3::Hasher::new();
        for (position, line) in read(&file)?.lines().enumerate() {
            // The first line of a write names the write before; the others belong to it.
            let named = line.rsplit_once(",\"prev\":\"").and_then(|(_, rest)| rest.strip_suffix("\"}"));
            if position > 0 && named.is_some() {
                *head = write.finalize().to_hex().to_string();
                write.reset();
            }
            if named.map_or(position == 0, |named| named != head) {
                bail!("{}:{}: the chain is broken before this line", file.display(), position + 1);
            }
            write.update(line.as_bytes()).update(b"\n");
            records += 1;
        }
        if write.count() > 0 {
            *head = write.finalize().to_hex().to_string();
        }
    }
    Ok(Extent { records, chains: heads.len() })
}

fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines chained as the gateway chains them.
    fn chained(records: &[&str]) -> String {
        let mut head = "0".repeat(64);
        let mut text = String::new();
        for record in records {
            let line = format!("{{\"event\":\"{record}\",\"prev\":\"{head}\"}}");
            let line = format!("{line}\n");
            head = blake3::hash(line.as_bytes()).to_hex().to_string();
            text.push_str(&line);
        }
        text
    }

    fn folder(files: &[(&str, &str)]) -> PathBuf {
        let name = files.iter().map(|(name, _)| *name).collect::<String>();
        let folder = std::env::temp_dir().join(format!("portcullis-demo-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
        folder
    }

    #[test]
    fn a_changed_or_missing_line_breaks_the_chain_at_the_next() {
        let text = chained(&["a", "b", "c"]);
        let without: String =
            text.lines().filter(|line| !line.contains("\"b\"")).map(|line| format!("{line}\n")).collect();
        for (broken, line) in [(text.replace("\"b\"", "\"x\""), 3), (without, 2)] {
            let folder = folder(&[("1-000-00000.jsonl", &broken)]);
            let error = verify(&folder).unwrap_err().to_string();
            fs::remove_dir_all(&folder).unwrap();
            assert!(error.contains(&format!("00000.jsonl:{line}: ")), "{error}");
        }
    }

    #[test]
    fn a_chain_goes_on_over_segments_and_is_read_once() {
        let text = chained(&["a", "b", "c"]);
        let (first, second) = text.split_at(text.match_indices('\n').nth(1).unwrap().0 + 1);
        let folder = folder(&[("1-000-00000.jsonl", first), ("1-000-00001.jsonl", second), ("1-001-00000.jsonl", "")]);
        let extent = verify(&folder);
        let mut log = Log::new(folder.clone());
        let (fresh, later) = (log.news().unwrap(), log.news().unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(extent.unwrap(), Extent { records: 3, chains: 2 });
        assert_eq!(fresh.iter().map(|record| &*record.event).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(later.is_empty());
    }
}
