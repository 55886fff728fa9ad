//! Remembers the order in which records became entries. In: places in journals, the log's head. Out: a small file that is on the disk before the head
//! is signed. Never here: records.
//!
//! Whatever was signed may have been seen. So the order is on the disk first: after a crash the log goes on from exactly the head that may have
//! been signed, and no head of another order is ever signed beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use portcullis_core::audit::field;
use portcullis_tlog::proof::Head;
use portcullis_tlog::tree::{Edge, Hash};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, read, replace};
use crate::wal::Place;

/// Its name in the audit folder.
pub const ORDER_FILE: &str = "order.json";

/// Where a shard's records were taken up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The boot whose segments were read last.
    pub boot: u64,
    /// Up to where.
    pub place: Place,
    /// The number of the record that comes next.
    pub next_seq: u64,
    /// The leaf hash of the last.
    pub prev: Option<Hash>,
}

/// A call that was let pass and is not known to have ended: boot, shard and number of its decision.
pub type OpenCall = (u64, u16, u64);

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The number of the log that grows: the last folder below `logs`.
    pub log: u32,
    /// How large it is, and its head.
    pub head: Head,
    /// When its newest record was made, in Unix milliseconds.
    pub at: i64,
    /// Each shard.
    pub shards: BTreeMap<u16, Taken>,
    /// Calls whose end is awaited.
    pub open: BTreeSet<OpenCall>,
}

impl Default for Order {
    /// Of an empty log.
    fn default() -> Self {
        let head = Head { size: 0, hash: Edge::default().head() };
        Self { log: 0, head, at: 0, shards: BTreeMap::new(), open: BTreeSet::new() }
    }
}

impl Order {
    /// Reads it; none where there is none yet.
    ///
    /// # Errors
    /// As the system says, and where it is something else.
    pub fn read(disk: &dyn Disk, audit: &Path) -> io::Result<Option<Self>> {
        let path = audit.join(ORDER_FILE);
        let bytes = match read(disk, &path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {why}", path.display()));
        let file: File = serde_json::from_slice(&bytes).map_err(|cause| invalid(cause.to_string()))?;
        if file.v != VERSION {
            return Err(invalid(format!("version {}, and this program knows {VERSION}", file.v)));
        }
        file.order().ok_or_else(|| invalid("a hash in it is none".into())).map(Some)
    }

    /// Writes it; it is on the disk then.
    ///
    /// # Errors
    /// As the system says; the one before is then as it was.
    pub fn write(&self, disk: &dyn Disk, audit: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(&File::of(self)).map_err(io::Error::other)?;
        replace(disk, &audit.join(ORDER_FILE), &bytes)
    }
}

const VERSION: u32 = 2;

#[derive(Deserialize, Serialize)]
struct File {
    v: u32,
    log: u32,
    size: u64,
    root: String,
    at: i64,
    shards: BTreeMap<u16, Shard>,
    open: Vec<OpenCall>,
}

#[derive(Deserialize, Serialize)]
struct Shard {
    boot: u64,
    segment: u32,
    offset: u32,
    next_seq: u64,
    prev: Option<String>,
}

impl File {
    fn of(order: &Order) -> Self {
        let shard = |taken: &Taken| Shard {
            boot: taken.boot,
            segment: taken.place.segment,
            offset: taken.place.offset,
            next_seq: taken.next_seq,
            prev: taken.prev.as_ref().map(hex),
        };
        Self {
            v: VERSION,
            log: order.log,
            size: order.head.size,
            root: hex(&order.head.hash),
            at: order.at,
            shards: order.shards.iter().map(|(number, taken)| (*number, shard(taken))).collect(),
            open: order.open.iter().copied().collect(),
        }
    }

    fn order(self) -> Option<Order> {
        let mut shards = BTreeMap::new();
        for (number, shard) in self.shards {
            let prev = match shard.prev {
                Some(text) => Some(unhex(&text)?),
                None => None,
            };
            let place = Place { segment: shard.segment, offset: shard.offset };
            shards.insert(number, Taken { boot: shard.boot, place, next_seq: shard.next_seq, prev });
        }
        let head = Head { size: self.size, hash: unhex(&self.root)? };
        Some(Order { log: self.log, head, at: self.at, shards, open: self.open.into_iter().collect() })
    }
}

fn hex(hash: &Hash) -> String {
    let mut digits = Vec::with_capacity(64);
    field::hex(&mut digits, hash);
    String::from_utf8(digits).unwrap_or_default()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn an_order_is_read_as_it_was_written_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Order::read(&RealDisk, folder.path()).unwrap(), None);
        let taken = Taken { boot: 7, place: Place { segment: 1, offset: 99 }, next_seq: 5, prev: Some([3; 32]) };
        let order = Order {
            log: 1,
            head: Head { size: 9, hash: [8; 32] },
            at: -1,
            shards: [(2, taken), (3, Taken::default())].into(),
            open: [(7, 2, 4)].into(),
        };
        order.write(&RealDisk, folder.path()).unwrap();
        assert_eq!(Order::read(&RealDisk, folder.path()).unwrap(), Some(order));
        for text in [
            "",
            "{}",
            r#"{"v":9,"log":0,"size":0,"root":"","at":0,"shards":{},"open":[]}"#,
            r#"{"v":2,"log":0,"size":0,"root":"aa","at":0,"shards":{},"open":[]}"#,
        ] {
            std::fs::write(folder.path().join(ORDER_FILE), text).unwrap();
            let refused = Order::read(&RealDisk, folder.path()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }
}
