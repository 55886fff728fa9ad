//! Keeps every rule set that ever served. In: a set and its number. Out: the same set, later. Never here: what a rule means.
//!
//! `history/NNNNNN.json`, one file a version. A number is written here before any record of the audit log names it, so that a number in
//! the log always leads to its rules.

use crate::disk::{self, Guard, ReadFailure};
use portcullis_core::config::snapshot::Text;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// One rule set that served.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Its number.
    pub version: u64,
    /// The hash over everything it was built from but the values of secrets.
    pub hash: String,
    /// When it was put in force, RFC 3339 in UTC.
    pub applied_at: String,
    /// Who did it.
    pub by: By,
    /// How it came to be.
    pub how: How,
    /// The version whose rules an operator took back, for as long as they serve and the files say something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_from: Option<u64>,
    /// The rules.
    pub sources: Vec<KeptText>,
    /// The registry it served with.
    pub agents: KeptText,
}

/// Who put a rule set in force.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct By {
    /// The user at the other end of the control socket, or ours at start and on a signal.
    pub uid: u32,
}

impl By {
    /// Ourselves.
    pub fn us() -> Self {
        Self { uid: rustix::process::geteuid().as_raw() }
    }

    /// As records name who did something.
    pub fn actor(self) -> String {
        format!("uid {}", self.uid)
    }
}

/// How a rule set came to be in force.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The gateway started with it.
    Start,
    /// The files were read again.
    Apply,
    /// An earlier set was taken back.
    Rollback,
    /// An agent was suspended or resumed; the rules stayed.
    Agent,
    /// The tools of a server were listed for the first time.
    Learned,
}

impl How {
    /// The word in files, records and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Agent => "agent",
            Self::Learned => "learned",
        }
    }
}

/// A file as it was.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct KeptText {
    /// As the operator names it.
    pub file: String,
    /// All of it.
    pub text: String,
}

impl From<&Text> for KeptText {
    fn from(text: &Text) -> Self {
        Self { file: text.file.clone(), text: text.text.clone() }
    }
}

impl From<KeptText> for Text {
    fn from(kept: KeptText) -> Self {
        Self { file: kept.file, text: kept.text }
    }
}

/// The folder of rule sets.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
    keep: usize,
}

impl History {
    /// Opens the folder, making it if it is missing; at most `keep` sets stay in it.
    pub fn open(folder: &Path, keep: u16) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        Ok(Self { folder: folder.to_owned(), keep: usize::from(keep).max(1) })
    }

    /// The folder as it is, to look into; it is not made.
    pub fn at(folder: &Path, keep: u16) -> Self {
        Self { folder: folder.to_owned(), keep: usize::from(keep).max(1) }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The numbers that are kept, ascending.
    pub fn versions(&self) -> io::Result<Vec<u64>> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            versions.extend(entry?.file_name().to_str().and_then(version_of));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// The set of this number, if it is still kept and readable.
    pub fn read(&self, version: u64) -> io::Result<Option<Kept>> {
        let path = self.path(version);
        let text = match disk::read(&path, Guard::Open) {
            Ok(text) => text,
            Err(ReadFailure::Missing) => return Ok(None),
            Err(other) => return Err(io::Error::other(format!("{}: {}", path.display(), other.words(&path).0))),
        };
        let kept = unsealed(&text, version).map_err(|why| io::Error::other(format!("{}: {why}", path.display())))?;
        Ok(Some(kept))
    }

    /// The set that served last, if the history is not empty. One that cannot be read is named in the log and passed over.
    pub fn latest(&self) -> io::Result<Option<Kept>> {
        for version in self.versions()?.into_iter().rev() {
            match self.read(version) {
                Ok(Some(kept)) => return Ok(Some(kept)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a kept rule set cannot be read"),
            }
        }
        Ok(None)
    }

    /// The number for content of this hash: the last one's own if it is the same content, else the next. A number is never used twice
    /// for different content, even where its file was removed or cannot be read.
    pub fn number(&self, hash: &str) -> io::Result<u64> {
        let last = self.versions()?.last().copied().unwrap_or(0);
        match self.latest()? {
            Some(kept) if kept.hash == hash && kept.version == last => Ok(last),
            Some(_) | None => Ok(last + 1),
        }
    }

    /// Keeps a set, and lets go of the oldest beyond the bound.
    pub fn keep(&self, kept: &Kept) -> io::Result<()> {
        let text = sealed(kept).map_err(io::Error::other)?;
        disk::replace(&self.path(kept.version), format!("{text}\n").as_bytes(), 0o640)?;
        let versions = self.versions()?;
        let surplus = versions.len().saturating_sub(self.keep);
        for version in versions.into_iter().take(surplus) {
            fs::remove_file(self.path(version))?;
        }
        Ok(())
    }

    fn path(&self, version: u64) -> PathBuf {
        self.folder.join(format!("{version:06}.json"))
    }
}

/// The set as it is written: with a digest of itself, so that a set that rotted on its disk is never taken back.
fn sealed(kept: &Kept) -> serde_json::Result<String> {
    let mut whole = serde_json::to_value(kept)?;
    let digest = digest(&whole);
    if let Some(members) = whole.as_object_mut() {
        members.insert(DIGEST.into(), digest.into());
    }
    serde_json::to_string_pretty(&whole)
}

/// The set, if it is what was written under this number.
fn unsealed(text: &str, version: u64) -> Result<Kept, String> {
    let mut whole: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let written = whole.as_object_mut().and_then(|members| members.remove(DIGEST));
    let written = written.ok_or("it carries no digest of itself")?;
    if written.as_str() != Some(&digest(&whole)) {
        return Err("it is not what was written: its digest differs".into());
    }
    let kept: Kept = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    if kept.version != version {
        return Err(format!("it is version {} under the number {version}", kept.version));
    }
    Ok(kept)
}

/// The member that holds the digest.
const DIGEST: &str = "digest";

/// BLAKE3 over the members in the order of their names.
fn digest(whole: &serde_json::Value) -> String {
    format!("blake3:{}", blake3::hash(whole.to_string().as_bytes()).to_hex())
}

fn version_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(version: u64, hash: &str) -> Kept {
        let text = |file: &str| KeptText { file: file.into(), text: format!("// {version}") };
        Kept {
            version,
            hash: hash.into(),
            applied_at: "2026-01-01T00:00:00.000Z".into(),
            by: By { uid: 7 },
            how: How::Apply,
            rules_from: None,
            sources: vec![text("policies/a.cedar")],
            agents: text("agents.toml"),
        }
    }

    #[test]
    fn the_same_content_keeps_its_number_and_other_content_gets_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(&folder.path().join("history"), 8).unwrap();
        assert_eq!(history.number("sha256:a").unwrap(), 1);
        history.keep(&set(1, "sha256:a")).unwrap();
        assert_eq!(history.number("sha256:a").unwrap(), 1);
        assert_eq!(history.number("sha256:b").unwrap(), 2);
        history.keep(&set(2, "sha256:b")).unwrap();
        // Going back is a change too: a number names one span of time, so that a compare-and-swap cannot be fooled by A, B, A.
        assert_eq!(history.number("sha256:a").unwrap(), 3);
        assert_eq!(history.read(1).unwrap(), Some(set(1, "sha256:a")));
        assert_eq!(history.latest().unwrap(), Some(set(2, "sha256:b")));
    }

    #[test]
    fn the_oldest_sets_go_and_a_broken_one_never_gives_its_number_away() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path(), 3).unwrap();
        (1..=5).for_each(|version| history.keep(&set(version, &format!("sha256:{version}"))).unwrap());
        assert_eq!(history.versions().unwrap(), [3, 4, 5]);
        assert_eq!(history.read(2).unwrap(), None);
        fs::write(folder.path().join("000005.json"), "{").unwrap();
        fs::write(folder.path().join("notes.json"), "{}").unwrap();
        assert!(history.read(5).is_err());
        assert_eq!(history.latest().unwrap().map(|kept| kept.version), Some(4));
        assert_eq!(history.number("sha256:4").unwrap(), 6);
    }

    #[test]
    fn ten_thousand_damaged_sets_give_no_rule_away() {
        let whole = sealed(&set(7, "sha256:a")).unwrap();
        assert_eq!(unsealed(&whole, 7), Ok(set(7, "sha256:a")));
        assert!(
            unsealed(&whole, 8).unwrap_err().contains("version 7 under the number 8"),
            "a stale set in another's place"
        );
        let (mut state, mut refused) = (0x9e37_79b9_7f4a_7c15_u64, 0);
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..10_000 {
            let mut bytes = whole.clone().into_bytes();
            match next(4) {
                0 => bytes.truncate(next(bytes.len())),
                1 => {
                    let at = next(bytes.len());
                    bytes[at] ^= 1 << next(8);
                }
                2 => {
                    let (from, len) = (next(bytes.len()), 1 + next(40));
                    bytes.drain(from..(from + len).min(whole.len()));
                }
                _ => {
                    let (at, from) = (next(bytes.len()), next(whole.len() - 8));
                    bytes.splice(at..at, whole.as_bytes()[from..from + 8].to_vec());
                }
            }
            let read = String::from_utf8(bytes).map_err(|error| error.to_string()).and_then(|text| unsealed(&text, 7));
            match read {
                // White space may come and go; what it means may not.
                Ok(kept) => assert_eq!(kept, set(7, "sha256:a")),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 9_000, "{refused}");
    }
}
