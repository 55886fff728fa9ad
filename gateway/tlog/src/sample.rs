//! A log in memory, for tests.

use std::collections::BTreeMap;
use std::io;

use crate::checkpoint::Checkpoint;
use crate::growth::Growth;
use crate::note::{Kind, NoteSigner};
use crate::proof::Nodes;
use crate::tile::Node;
use crate::tree::{Hash, leaf_hash};
use crate::verify::Files;

pub const ORIGIN: &str = "example.com/log";

/// What would lie on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    pub size: u64,
}

pub fn signer() -> NoteSigner {
    NoteSigner::new(ORIGIN, Kind::Signature, &[7; 32]).unwrap()
}

/// The entry at an index: its length differs from its neighbours'.
pub fn entry(index: u64) -> Vec<u8> {
    format!("entry {index} {}", "x".repeat((index % 7) as usize)).into_bytes()
}

impl Memory {
    /// A log of `size` entries.
    pub fn of(size: u64) -> Self {
        let (mut growth, mut memory) = (Growth::default(), Self::default());
        (0..size).for_each(|index| assert_eq!(growth.append(&entry(index)), Ok(index)));
        memory.write(&mut growth);
        memory
    }

    /// Writes what has grown, and signs it.
    pub fn write(&mut self, growth: &mut Growth) {
        for asset in growth.take() {
            self.files.insert(asset.tile.path(), asset.bytes);
        }
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), head: growth.head() };
        self.files.insert("checkpoint".to_owned(), checkpoint.sign(&signer()).into_bytes());
        self.size = growth.head().size;
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.get(path).cloned())
    }
}

impl Nodes for Memory {
    type Error = String;

    fn node(&mut self, node: Node) -> Result<Hash, String> {
        let tile = node.tile(self.size).ok_or("beyond the tree")?;
        let bytes = self.files.get(&tile.path()).ok_or_else(|| format!("{} is missing", tile.path()))?;
        node.hash(bytes).ok_or_else(|| format!("{node:?} is not in its tile"))
    }
}

/// Records of three shards that take turns, as the gateway writes them.
#[derive(Clone, Debug, Default)]
pub struct Records {
    count: u64,
    last: [Option<Hash>; 3],
    /// When the next is made.
    pub at: u64,
}

impl Records {
    pub fn next(&mut self) -> Vec<u8> {
        let (shard, seq) = (self.count % 3, self.count / 3);
        let last = &mut self.last[shard as usize];
        let prev = last.map(|hash| {
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"prev\":\"{digits}\",")
        });
        let (prev, at) = (prev.unwrap_or_default(), self.at + 1000);
        let record = format!(
            "{{\"agent\":\"agent-{seq}\",\"boot\":\"b\",\"event\":\"decision\",{prev}\"seq\":{seq},\"shard\":{shard},\"ts\":{at},\"v\":2}}"
        );
        *last = Some(leaf_hash(record.as_bytes()));
        self.count += 1;
        self.at += 1;
        record.into_bytes()
    }

    pub fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.next()).collect()
    }
}
