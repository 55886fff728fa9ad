//! Remembers proven callers on one core. In: the evidence again. Out: the principal it proved, without an allocation. Never here: refusals.
//!
//! Verifying a signature costs several times what the rest of a request does; looking it up costs some 40 ns. A refusal is never kept,
//! so nobody can fill the cache with sprayed tokens, and a key set or agent that changes is seen at once: its snapshot has a new generation.

use crate::identity::principal::{Evidence, Principal};
use crate::identity::thumbprint::Thumbprint;
use crate::secret::Secret;
use crate::time::UnixMillis;
use std::rc::Rc;
use std::time::Duration;

/// How long a proof is taken from the cache: a clock that jumps or a check that was forgotten here ends after it.
pub const REMEMBERED_MAX: Duration = Duration::from_secs(60);

/// Entries a core keeps: with tokens of 1 KiB some 5 MiB.
pub const ENTRIES_MAX_DEFAULT: usize = 4096;

/// Entries that share a set. One set is all that a lookup or an insert ever looks at.
const WAYS: usize = 8;

/// What is looked up: all that a proof depends on.
#[derive(Clone, Copy)]
pub struct Shown<'e> {
    /// What the request and its connection show.
    pub evidence: Evidence<'e>,
    /// The resource URI of the route.
    pub resource: &'e str,
    /// The number of the snapshot in force.
    pub generation: u64,
    /// The time.
    pub now: UnixMillis,
}

/// The proven callers of one core.
pub struct Cache {
    hasher: ahash::RandomState,
    sets: Box<[Vec<Entry>]>,
}

struct Entry {
    hash: u64,
    generation: u64,
    since: UnixMillis,
    until: UnixMillis,
    /// The whole token; absent where a certificate alone was shown.
    token: Option<Secret<Vec<u8>>>,
    resource: Box<str>,
    certificate: Option<Thumbprint>,
    principal: Rc<Principal>,
}

impl Entry {
    fn is_of(&self, shown: &Shown<'_>, hash: u64) -> bool {
        self.hash == hash
            && self.token.as_ref().map(|token| token.expose().as_slice()) == shown.evidence.token.map(str::as_bytes)
            && *self.resource == *shown.resource
            && self.certificate == shown.evidence.certificate.map(|names| names.thumbprint())
    }

    fn is_fresh(&self, shown: &Shown<'_>) -> bool {
        self.generation == shown.generation && self.since <= shown.now && shown.now < self.until
    }
}

impl Cache {
    /// A cache of about `entries_max` entries. The hasher's seeds must be random: the shell draws them, so that no peer can aim at a set.
    pub fn new(entries_max: usize, hasher: ahash::RandomState) -> Self {
        let sets = entries_max.div_ceil(WAYS).max(1);
        Self { hasher, sets: (0..sets).map(|_| Vec::new()).collect() }
    }

    /// The principal this very evidence proved, while the proof holds. The source is judged anew: one token may come from many addresses.
    pub fn find(&self, shown: &Shown<'_>) -> Option<Rc<Principal>> {
        let hash = self.hash(shown);
        let entry = self.sets.get(self.set(hash))?.iter().find(|entry| entry.is_of(shown, hash))?;
        (entry.is_fresh(shown) && entry.principal.record().allows_source(shown.evidence.source))
            .then(|| Rc::clone(&entry.principal))
    }

    /// Keeps what `shown` has just proved, and hands it back to be used. Where a set is full, the entry that ends first makes room.
    pub fn keep(&mut self, shown: &Shown<'_>, principal: Principal) -> Rc<Principal> {
        let principal = Rc::new(principal);
        let bound = shown.now.after(REMEMBERED_MAX);
        let until = principal.expires().map_or(bound, |end| end.min(bound));
        let hash = self.hash(shown);
        let set = self.set(hash);
        let Some(set) = self.sets.get_mut(set) else { return principal };
        set.retain(|entry| entry.is_fresh(shown) && !entry.is_of(shown, hash));
        if until <= shown.now {
            return principal;
        }
        if set.len() >= WAYS
            && let Some((first, _)) = set.iter().enumerate().min_by_key(|(_, entry)| entry.until)
        {
            set.swap_remove(first);
        }
        set.push(Entry {
            hash,
            generation: shown.generation,
            since: shown.now,
            until,
            token: shown.evidence.token.map(|token| Secret::new(token.as_bytes().to_vec())),
            resource: shown.resource.into(),
            certificate: shown.evidence.certificate.map(|names| names.thumbprint()),
            principal: Rc::clone(&principal),
        });
        principal
    }

    /// Entries kept, fresh or not.
    pub fn len(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn hash(&self, shown: &Shown<'_>) -> u64 {
        let certificate = shown.evidence.certificate.map(|names| names.thumbprint());
        self.hasher.hash_one((shown.evidence.token, shown.resource, certificate))
    }

    fn set(&self, hash: u64) -> usize {
        usize::try_from(hash % self.sets.len() as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
