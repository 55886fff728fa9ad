//! A log on disk, for tests.

use std::fs;
use std::path::Path;

use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::growth::Growth;
use portcullis_tlog::note::{Kind, NoteSigner};
use portcullis_tlog::tree::leaf_hash;

use super::item::hex;

/// 2026-11-23T10:00:00Z.
pub const START: i64 = 1_795_428_000_000;

/// Records as they would be logged, each a millisecond after the one before.
#[derive(Default)]
pub struct Records {
    pub leaves: Vec<Vec<u8>>,
    shards: [(u64, Option<String>); 2],
}

impl Records {
    /// Adds one of a shard; its number there. `facts` are members, to be sorted in with the rest.
    pub fn add(&mut self, shard: usize, event: &str, facts: &[(&str, serde_json::Value)]) -> u64 {
        let (seq, prev) = self.shards[shard].clone();
        let mut members: Vec<(&str, serde_json::Value)> = facts.to_vec();
        members.extend([
            ("v", 2.into()),
            ("event", event.into()),
            ("boot", "b0".into()),
            ("shard", shard.into()),
            ("seq", seq.into()),
            ("ts", (START + self.leaves.len() as i64).into()),
        ]);
        members.extend(prev.map(|prev| ("prev", prev.into())));
        members.sort_by_key(|(name, _)| *name);
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let leaf = format!("{{{}}}", members.join(",")).into_bytes();
        self.shards[shard] = (seq + 1, Some(hex(&leaf_hash(&leaf))));
        self.leaves.push(leaf);
        seq
    }

    /// A call that is let pass.
    pub fn allow(&mut self, shard: usize) -> u64 {
        let facts = [
            ("agent", "recon-17".into()),
            ("decision", "allow".into()),
            ("method", "tools/call".into()),
            ("request_id", 7.into()),
            ("rules", serde_json::json!(["support.cedar:3"])),
            ("server", "crm".into()),
            ("snapshot", 12.into()),
            ("snapshot_hash", "ab".into()),
            ("tool", "read_table".into()),
        ];
        self.add(shard, "decision", &facts)
    }

    /// Its end.
    pub fn end(&mut self, shard: usize, decision: u64, event: &str) -> u64 {
        let mut facts = vec![("agent", "recon-17".into()), ("decision_seq", decision.into()), ("server", "crm".into())];
        if event != "outcome.unknown" {
            facts.extend([("status", 200.into())]);
        }
        if event == "result" || event == "result.ended" {
            facts.extend([("duration_us", 1200.into()), ("outcome", "complete".into())]);
        }
        self.add(shard, event, &facts)
    }

    /// A call and its result at once.
    pub fn call(&mut self, shard: usize) -> u64 {
        let decision = self.allow(shard);
        self.end(shard, decision, "result")
    }

    /// A call that is refused.
    pub fn deny(&mut self, shard: usize) -> u64 {
        let facts = [
            ("agent", "recon-17".into()),
            ("cause", "no_rule".into()),
            ("decision", "deny".into()),
            ("method", "resources/read".into()),
            ("rules", serde_json::json!([])),
            ("server", "crm".into()),
            ("source", "10.0.0.7".into()),
            ("uri", "file:///x\"]\n".into()),
        ];
        self.add(shard, "decision", &facts)
    }
}

/// Writes the logs of an audit folder, one for each list of leaves; each but the first begins with the note of the one before.
pub fn write(folder: &Path, logs: &[&[Vec<u8>]]) {
    let mut before: Option<String> = None;
    for (number, leaves) in logs.iter().enumerate() {
        let origin = format!("example.com/log{number}");
        let signer = NoteSigner::new(&origin, Kind::Signature, &[7; 32]).unwrap();
        let folder = folder.join(format!("logs/{number:04}"));
        let mut growth = Growth::default();
        if let Some(note) = before.take() {
            growth.append(note.as_bytes()).unwrap();
        }
        for leaf in leaves.iter() {
            growth.append(leaf).unwrap();
        }
        for asset in growth.take() {
            let path = folder.join(asset.tile.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, asset.bytes).unwrap();
        }
        let note = Checkpoint { origin, head: growth.head() }.sign(&signer);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("checkpoint"), &note).unwrap();
        fs::write(folder.join("log.pub"), format!("{}\n", signer.verifier())).unwrap();
        before = Some(note);
    }
}
