//! Looks over the keys of a text. In: its tape. Out: whether readers may disagree about which member is which. Never here: which of two counts.

use simd_json::Node;

use super::width;

/// Whether any object on the tape names a key twice.
pub(super) fn any_key_repeats(nodes: &[Node<'_>], keys: &mut Vec<(u64, usize)>) -> bool {
    nodes.iter().enumerate().any(|(at, node)| match node {
        Node::Object { len: 0 | 1, .. } | Node::Array { .. } | Node::String(_) | Node::Static(_) => false,
        Node::Object { len, .. } if *len <= KEYS_COMPARED_MAX => few_repeat(nodes, at),
        Node::Object { .. } => many_repeat(nodes, at, keys),
    })
}

/// Whether any key on the tape holds U+0000: one reader's `name\u0000` is another's `name`.
pub(super) fn any_key_holds_nul(nodes: &[Node<'_>], text: &[u8]) -> bool {
    // Unescaped it is no JSON, so nearly every text is cleared without a look at its keys; most hold no escape at all.
    memchr::memchr(b'\\', text).is_some()
        && memchr::memmem::find(text, b"\\u0000").is_some()
        && (0..nodes.len()).any(|at| keys_of(nodes, at).any(|(_, key)| key.contains('\0')))
}

/// The keys of the object at `at`, each with its place on the tape.
fn keys_of<'n>(nodes: &'n [Node<'n>], at: usize) -> impl Iterator<Item = (usize, &'n str)> + Clone {
    let len = match nodes.get(at) {
        Some(Node::Object { len, .. }) => *len,
        Some(Node::Array { .. } | Node::String(_) | Node::Static(_)) | None => 0,
    };
    let mut next = at + 1;
    (0..len).map_while(move |_| {
        let key = key_at(nodes, next)?;
        let place = next;
        next += 1 + width(nodes.get(next + 1)?);
        Some((place, key))
    })
}

fn key_at<'n>(nodes: &'n [Node<'n>], at: usize) -> Option<&'n str> {
    match nodes.get(at)? {
        Node::String(key) => Some(key),
        Node::Array { .. } | Node::Object { .. } | Node::Static(_) => None,
    }
}

/// Keys mostly differ in length already, which is compared before any byte of theirs.
fn few_repeat(nodes: &[Node<'_>], at: usize) -> bool {
    // Keys that fall into different places differ.
    let mut places = 0_u64;
    let mut shares = false;
    for (_, key) in keys_of(nodes, at) {
        let place = 1 << place_of(key.as_bytes());
        shares |= places & place != 0;
        places |= place;
    }
    if !shares {
        return false;
    }
    let mut keys = keys_of(nodes, at);
    while let Some((_, key)) = keys.next() {
        if keys.clone().any(|(_, later)| later.len() == key.len() && later == key) {
            return true;
        }
    }
    false
}

/// One of 64 places, by a key's length and its ends.
fn place_of(key: &[u8]) -> u32 {
    let (first, last) = (key.first().copied().unwrap_or(0), key.last().copied().unwrap_or(0));
    (key.len() as u32 ^ u32::from(first) ^ u32::from(last) << 2) & 63
}

fn many_repeat(nodes: &[Node<'_>], at: usize, keys: &mut Vec<(u64, usize)>) -> bool {
    let state = ahash::RandomState::with_seeds(0x706f_7274, 0x6375_6c6c, 0x6973, 0x6b65_7973);
    keys.clear();
    keys.extend(keys_of(nodes, at).map(|(place, key)| (state.hash_one(key), place)));
    keys.sort_unstable_by(|(hash_a, a), (hash_b, b)| {
        hash_a.cmp(hash_b).then_with(|| key_at(nodes, *a).cmp(&key_at(nodes, *b)))
    });
    keys.windows(2).any(|pair| match pair {
        [(hash_a, a), (hash_b, b)] => hash_a == hash_b && key_at(nodes, *a) == key_at(nodes, *b),
        _ => false,
    })
}

/// Up to here comparing every pair (120 of them, mostly by length) is quicker than hashing.
const KEYS_COMPARED_MAX: usize = 16;
