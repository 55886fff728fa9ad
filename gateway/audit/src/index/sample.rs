//! Logs on disk, for tests.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::logs::{self, Numbered};

/// An audit folder that grows.
pub struct Folder {
    folder: TempDir,
    number: u32,
    growth: Growth,
}

impl Folder {
    /// With a log of no entries and no checkpoint.
    pub fn new() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap(), number: 0, growth: Growth::default() };
        made.begin();
        made
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.path().join("logs").join(logs::name(self.number))
    }

    fn signer(&self) -> NoteSigner {
        NoteSigner::new(&format!("example.com/audit/{}", self.number), Kind::Signature, &[7; 32]).unwrap()
    }

    fn begin(&self) {
        fs::create_dir_all(self.log()).unwrap();
        fs::write(self.log().join("log.pub"), format!("{}\n", self.signer().verifier())).unwrap();
    }

    /// Appends entries and signs.
    pub fn write(&mut self, entries: &[Vec<u8>]) {
        for entry in entries {
            self.growth.append(entry).unwrap();
        }
        for asset in self.growth.take() {
            let path = self.log().join(asset.tile.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, asset.bytes).unwrap();
        }
        let origin = format!("example.com/audit/{}", self.number);
        let checkpoint = Checkpoint { origin, head: self.growth.head() }.sign(&self.signer());
        fs::write(self.log().join("checkpoint"), checkpoint).unwrap();
    }

    /// Begins the next log.
    pub fn rotate(&mut self) {
        let last = fs::read(self.log().join("checkpoint")).unwrap();
        self.number += 1;
        self.growth = Growth::default();
        self.begin();
        self.write(&[last]);
    }

    pub fn logs(&self) -> Vec<Numbered> {
        logs::open(self.path()).unwrap()
    }
}

/// A leaf: `members` over what every record has.
pub fn leaf(event: &str, seq: u64, members: Value) -> Vec<u8> {
    let mut leaf = json!({
        "v": 2, "event": event, "boot": "1795428000000", "shard": 0, "seq": seq, "ts": 1_795_428_000_000_i64 + seq as i64 * 10,
    });
    leaf.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    leaf.to_string().into_bytes()
}

/// A decision.
pub fn decision(seq: u64, verdict: &str, members: Value) -> Vec<u8> {
    let mut all = json!({
        "agent": "recon-17", "server": "crm", "method": "tools/call", "tool": "read_table", "decision": verdict,
        "rules": ["support.cedar:3"], "snapshot": 12, "arguments_bytes": 21,
    });
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    leaf("decision", seq, all)
}

/// The end of a call.
pub fn result(seq: u64, decision_seq: u64, members: Value) -> Vec<u8> {
    let mut all = json!({
        "agent": "recon-17", "server": "crm", "decision_seq": decision_seq, "status": 200, "outcome": "complete",
        "duration_us": 1_200, "result_bytes": 100,
    });
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    leaf("result", seq, all)
}
