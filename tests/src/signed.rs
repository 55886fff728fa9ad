//! Writes signed logs. In: records. Out: the files of an audit folder, as a gateway leaves them. Never here: a gateway.

use std::fs;
use std::path::Path;

use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::tree::leaf_hash;
use serde_json::{Map, Value, json};

/// 2026-11-23T10:00:00Z.
pub const START: i64 = 1_795_428_000_000;

/// What the log is called.
pub const ORIGIN: &str = "example.com/gateway/audit";

/// Records of one shard in the order of their leaves, a millisecond apart.
#[derive(Default)]
pub struct Signed {
    leaves: Vec<Vec<u8>>,
    prev: Option<String>,
}

impl Signed {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Adds a record; its number in the shard.
    pub fn add(&mut self, event: &str, facts: Value) -> u64 {
        let seq = self.leaves.len() as u64;
        let common =
            json!({"v": 2, "event": event, "boot": "1795428000000", "shard": 0, "seq": seq, "ts": START + seq as i64});
        let mut members: Vec<(String, Value)> = [facts, common]
            .into_iter()
            .flat_map(|object| object.as_object().cloned().unwrap_or_else(Map::new))
            .chain(self.prev.take().map(|prev| ("prev".to_owned(), prev.into())))
            .collect();
        // As RFC 8785 writes it: the names and numbers here need no more than their order.
        members.sort_by(|one, other| one.0.cmp(&other.0));
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let leaf = format!("{{{}}}", members.join(",")).into_bytes();
        self.prev = Some(leaf_hash(&leaf).iter().map(|byte| format!("{byte:02x}")).collect());
        self.leaves.push(leaf);
        seq
    }

    /// The leaf at an index, as text.
    pub fn leaf(&self, index: usize) -> &str {
        std::str::from_utf8(&self.leaves[index]).expect("records are text")
    }

    /// Writes the log below an audit folder, under a checkpoint; the text of that.
    pub fn write(&self, audit: &Path) -> String {
        let signer = NoteSigner::new(ORIGIN, Kind::Signature, &[7; 32]).expect("a name");
        let mut growth = Growth::default();
        for leaf in &self.leaves {
            growth.append(leaf).expect("a leaf is short");
        }
        let folder = audit.join("logs/0000");
        for asset in growth.take() {
            let path = folder.join(asset.tile.path());
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, asset.bytes).expect("a tile");
        }
        let note = Checkpoint { origin: ORIGIN.to_owned(), head: growth.head() }.sign(&signer);
        fs::write(folder.join("checkpoint"), &note).expect("a checkpoint");
        fs::write(folder.join("log.pub"), format!("{}\n", signer.verifier())).expect("a key");
        note
    }
}
