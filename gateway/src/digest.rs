//! Takes the digest of what passes in parts. In: a stream's bytes as they go out. Out: their BLAKE3, where the record is to hold it.
//! Never here: which bytes count.

use crate::relay::Way;
use portcullis_core::audit::capture::CaptureRule;

/// What BLAKE3 itself holds back until it is full: a chunk. Up to here the bytes are smaller than its state, which is two kilobytes.
const SHORT_BYTES_MAX: usize = 1024;

/// A digest that is being taken. Most streams are silent for most of their time, or short.
pub struct Digest(State);

enum State {
    /// The record holds none.
    None,
    /// All bytes so far.
    Short(Vec<u8>),
    Long(Box<blake3::Hasher>),
}

impl Digest {
    /// None at all.
    pub fn none() -> Self {
        Self(State::None)
    }

    /// As the result of this call is to be recorded.
    pub fn of(way: &Way<'_>) -> Self {
        let route = way.snapshot.server(way.server);
        Self::under(route.map_or(CaptureRule::Digest, |route| route.capture(way.case.tool).result))
    }

    fn under(rule: CaptureRule) -> Self {
        match rule {
            CaptureRule::None | CaptureRule::Size => Self::none(),
            CaptureRule::Digest | CaptureRule::Full => Self(State::Short(Vec::new())),
        }
    }

    /// Goes on by a part.
    pub fn update(&mut self, part: &[u8]) {
        match &mut self.0 {
            State::None => {}
            State::Short(bytes) if bytes.len() + part.len() <= SHORT_BYTES_MAX => {
                bytes.reserve_exact(part.len());
                bytes.extend_from_slice(part);
            }
            State::Short(bytes) => {
                let mut hasher = Box::new(blake3::Hasher::new());
                hasher.update(bytes).update(part);
                self.0 = State::Long(hasher);
            }
            State::Long(hasher) => {
                hasher.update(part);
            }
        }
    }

    /// Of all so far; zeroes where the record holds none.
    pub fn value(&self) -> [u8; 32] {
        match &self.0 {
            State::None => [0; 32],
            State::Short(bytes) => *blake3::hash(bytes).as_bytes(),
            State::Long(hasher) => *hasher.finalize().as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&[u8]]) {
        let mut digest = Digest::under(CaptureRule::Digest);
        parts.iter().for_each(|part| digest.update(part));
        assert_eq!(
            digest.value(),
            *blake3::hash(&parts.concat()).as_bytes(),
            "{:?}",
            parts.iter().map(|part| part.len())
        );
    }

    #[test]
    fn it_is_that_of_all_parts_together_however_they_were_cut() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * SHORT_BYTES_MAX).collect();
        check(&[]);
        for first in [0, 1, 1000, SHORT_BYTES_MAX, SHORT_BYTES_MAX + 1] {
            for second in [0, 1, 24, 25, SHORT_BYTES_MAX] {
                let (head, rest) = bytes.split_at(first);
                check(&[head, rest.split_at(second).0, b"", b"end"]);
            }
        }
    }

    #[test]
    fn bytes_are_kept_only_while_they_are_fewer_than_the_state_would_be() {
        let mut digest = Digest::under(CaptureRule::Full);
        digest.update(&[1; SHORT_BYTES_MAX]);
        assert!(matches!(&digest.0, State::Short(bytes) if bytes.capacity() == SHORT_BYTES_MAX));
        digest.update(&[1]);
        assert!(matches!(digest.0, State::Long(_)));
        for rule in [CaptureRule::None, CaptureRule::Size] {
            let mut digest = Digest::under(rule);
            digest.update(&[1; SHORT_BYTES_MAX]);
            assert_eq!((matches!(digest.0, State::None), digest.value()), (true, [0; 32]));
        }
    }
}
