//! Names the revisions of MCP. In: a version text. Out: a revision and its era.

use std::fmt;

/// A released revision, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// HTTP+SSE, no version header.
    V2024_11_05,
    /// Streamable HTTP.
    V2025_03_26,
    /// `MCP-Protocol-Version`; servers are OAuth resource servers.
    V2025_06_18,
    /// The last with `initialize`.
    V2025_11_25,
    /// Stateless: every request carries its own `_meta`.
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revision a header, a `_meta` or an `initialize` names, exactly.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether it belongs to the modern era: metadata on every request instead of `initialize` and sessions.
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_released_revisions_are_known() {
        for text in ["", "2024-10-07", "2025-11-25 ", "2026-07-29", "DRAFT-2026-v1", "2025-6-18"] {
            assert_eq!(Revision::parse(text), None, "{text}");
        }
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
            assert_eq!(revision.is_modern(), revision == Revision::V2026_07_28);
        }
        assert!(Revision::ALL.is_sorted());
    }
}
