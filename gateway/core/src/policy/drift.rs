//! Remembers which tools are not what was reviewed. In: live definitions as lists pass by. Out: one bit per tool, read on every call. Never here: IO, locks.

use std::sync::atomic::{AtomicU64, Ordering};

use super::catalogue::{Catalogue, ToolIndex};
use super::pin::Pin;

/// What a live definition turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// Its pin is the reviewed one.
    AsReviewed,
    /// Its pin is another one; the tool is hidden and refused until somebody approves it.
    Drifted,
}

/// The drifted tools of one server, shared by all cores.
#[derive(Debug)]
pub struct Drift {
    words: Box<[AtomicU64]>,
}

impl Drift {
    /// Nothing has drifted yet.
    pub fn new(catalogue: &Catalogue) -> Self {
        Self { words: (0..catalogue.tools().len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The marks of `self` for the tools that `new` still holds under the same pin; a newly approved definition starts unmarked.
    pub fn carried(&self, old: &Catalogue, new: &Catalogue) -> Self {
        let next = Self::new(new);
        for (position, tool) in new.tools().iter().enumerate() {
            let before = old.find(&tool.name).filter(|index| old.tool(*index).is_some_and(|old| old.pin == tool.pin));
            if let (Some(before), Ok(position)) = (before, u32::try_from(position)) {
                next.observe(ToolIndex(position), self.of(before));
            }
        }
        next
    }

    /// Notes what the live list says of a tool.
    pub fn observe(&self, tool: ToolIndex, live: Live) {
        let Some(word) = self.words.get(tool.0 as usize / 64) else { return };
        let bit = 1 << (tool.0 % 64);
        // One bit alone is read and nothing else is published with it, so no ordering is needed.
        match live {
            Live::Drifted => word.fetch_or(bit, Ordering::Relaxed),
            Live::AsReviewed => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    /// What was last seen of a tool; a tool that does not exist counts as drifted.
    pub fn of(&self, tool: ToolIndex) -> Live {
        match self.words.get(tool.0 as usize / 64) {
            Some(word) if word.load(Ordering::Relaxed) & (1 << (tool.0 % 64)) == 0 => Live::AsReviewed,
            Some(_) | None => Live::Drifted,
        }
    }
}

/// Compares the raw bytes of a live `tools[]` element with a reviewed pin; what cannot be read has drifted.
pub fn compare(reviewed: Pin, element: &[u8]) -> Live {
    if Pin::of_bytes(element) == Some(reviewed) { Live::AsReviewed } else { Live::Drifted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_drifted_tool_stays_marked_until_it_is_seen_or_approved_again() {
        let tools: Vec<Value> = (0..70).map(|n| json!({"name": format!("t{n:02}")})).collect();
        let old = Catalogue::learn("s", &tools).unwrap();
        let drift = Drift::new(&old);
        for index in [3, 69] {
            drift.observe(ToolIndex(index), compare(old.tools()[index as usize].pin, b"{\"name\":\"x\"}"));
            assert_eq!(drift.of(ToolIndex(index)), Live::Drifted);
        }
        assert_eq!(drift.of(ToolIndex(4)), Live::AsReviewed);
        assert_eq!(drift.of(ToolIndex(1000)), Live::Drifted);
        let mut changed = tools.clone();
        changed[3] = json!({"name": "t03", "description": "new"});
        let new = Catalogue::learn("s", &changed[1..]).unwrap();
        let carried = drift.carried(&old, &new);
        assert_eq!((carried.of(ToolIndex(2)), carried.of(ToolIndex(68))), (Live::AsReviewed, Live::Drifted));
        drift.observe(ToolIndex(3), compare(old.tools()[3].pin, tools[3].to_string().as_bytes()));
        assert_eq!(drift.of(ToolIndex(3)), Live::AsReviewed);
        assert_eq!(compare(old.tools()[3].pin, b"not json"), Live::Drifted);
    }
}
