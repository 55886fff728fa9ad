//! Chains the lines of a shard. In: open records, or the bytes of a file. Out: sealed lines, or where the chain breaks. Never here: files.
//!
//! Each line ends with the SHA-256 of the line before it, newline excluded; the first one with zeros. A change of any line but the last
//! breaks the chain at the next. The last has no next: what its hash must be has to be known from elsewhere (`head`), or it is only known to
//! be well formed. That a whole tail was cut off is likewise only seen by who knows the head.

use aws_lc_rs::digest;
use serde::Deserialize;

use super::line;
use super::record::{self, Record, Stamp};
use crate::time::UnixMillis;

/// What a line names as the one before it.
pub type Hash = [u8; 32];

/// What the first line of a shard names: there was none.
pub const GENESIS: Hash = [0; 32];

/// The hash of a line, newline excluded.
pub fn hash(line: &[u8]) -> Hash {
    let mut bytes = GENESIS;
    for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, line).as_ref()) {
        *to = *from;
    }
    bytes
}

/// The end of a shard's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    last: Hash,
}

impl Chain {
    /// Goes on after the line with this hash; `GENESIS` for an empty shard.
    pub fn after(last: Hash) -> Self {
        Self { last }
    }

    /// The hash of the last line.
    pub fn head(&self) -> &Hash {
        &self.last
    }

    /// Closes the open record that `batch` holds from byte `start` on, and takes it into the chain.
    pub fn seal(&mut self, batch: &mut Vec<u8>, start: usize) {
        batch.extend_from_slice(PREV_KEY);
        line::hex(batch, &self.last);
        batch.extend_from_slice(b"\"}");
        self.last = hash(batch.get(start..).unwrap_or_default());
        batch.push(b'\n');
    }

    /// Checks all of `file`, which must begin after `from` and, where `head` is known, end with it.
    ///
    /// # Errors
    /// The first line that is not what was written, and why.
    pub fn verify(file: &[u8], from: &Position, head: Option<&Hash>) -> Result<Verified, Broken> {
        let mut walk = Walk::new(file, from);
        while let Some(line) = walk.next_line() {
            line?;
        }
        if walk.rest.is_empty() {
            let end = walk.position();
            return match head {
                Some(head) if *head != end.hash => Err(Broken { line: walk.lines, why: Why::NotTheHead }),
                Some(_) | None => Ok(Verified { lines: walk.lines, end }),
            };
        }
        Err(Broken { line: walk.lines + 1, why: Why::Unfinished })
    }
}

/// A shard under way: numbers records, writes and chains them.
#[derive(Clone, Debug)]
pub struct Shard {
    boot: Box<str>,
    number: u16,
    next: u64,
    chain: Chain,
}

impl Shard {
    /// Goes on where `position` ends; `Position::default()` for an empty shard.
    pub fn resume(boot: &str, number: u16, position: &Position) -> Self {
        Self { boot: boot.into(), number, next: position.next_seq, chain: Chain::after(position.hash) }
    }

    /// Appends `record`, sealed and with its newline, to `batch`, and gives its seq. Allocates only what `batch` lacks.
    pub fn append(&mut self, batch: &mut Vec<u8>, at: UnixMillis, record: &Record<'_>) -> u64 {
        let (start, seq) = (batch.len(), self.next);
        record::write(batch, &Stamp { boot: &self.boot, shard: self.number, seq, at }, record);
        self.chain.seal(batch, start);
        self.next = seq.saturating_add(1);
        seq
    }

    /// Where the chain ends.
    pub fn position(&self) -> Position {
        Position { next_seq: self.next, hash: *self.chain.head() }
    }
}

/// A place in a shard: between two lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The seq of the line that comes next.
    pub next_seq: u64,
    /// The hash of the line before; zeros where there is none.
    pub hash: Hash,
}

/// What was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many lines.
    pub lines: u64,
    /// Where the next segment must begin.
    pub end: Position,
}

/// Where a chain breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Line, from 1.
    pub line: u64,
    /// Why.
    pub why: Why,
}

/// Why a line is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no record of this version.
    NotARecord,
    /// It does not name the line before it.
    OtherPredecessor,
    /// Its number does not follow.
    OtherNumber,
    /// It has no newline.
    Unfinished,
    /// It is the last, and its hash is not the one that is known.
    NotTheHead,
}

impl Why {
    /// For an operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotARecord => "the line is no record",
            Self::OtherPredecessor => "the line does not follow from the one before it",
            Self::OtherNumber => "a number is missing before the line",
            Self::Unfinished => "the line is not finished",
            Self::NotTheHead => "the last line is not the one that was signed",
        }
    }
}

/// What is left of a shard after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes that hold whole lines of the chain; the file may be cut to this length unless `damage` says otherwise.
    pub valid_bytes: u64,
    /// The seq of the last of them.
    pub last_seq: Option<u64>,
    /// Its hash; that of `from` where there is none.
    pub last_hash: Hash,
    /// What follows them: the part of a write that the crash cut off.
    pub torn_tail_bytes: u64,
    /// More than a torn write: whole lines follow that do not belong. Somebody changed the file; it must be kept as it is.
    pub damage: Option<Broken>,
}

impl Recovered {
    /// Where a shard goes on.
    pub fn position(&self, from: &Position) -> Position {
        Position { next_seq: self.last_seq.map_or(from.next_seq, |seq| seq.saturating_add(1)), hash: self.last_hash }
    }
}

/// Finds the end of the chain in `file`, which begins after `from`.
pub fn recover(file: &[u8], from: &Position) -> Recovered {
    let mut walk = Walk::new(file, from);
    let mut broken = None;
    while let Some(line) = walk.next_line() {
        if let Err(fault) = line {
            broken = Some(fault);
            break;
        }
    }
    // A torn write leaves garbage or zeros; it does not leave a whole record behind the garbage.
    let records_follow =
        walk.rest.split_inclusive(|byte| *byte == b'\n').any(|line| head_of(line.trim_ascii_end()).is_some());
    let end = walk.position();
    Recovered {
        valid_bytes: (file.len() - walk.rest.len()) as u64,
        last_seq: if walk.lines == 0 { None } else { end.next_seq.checked_sub(1) },
        last_hash: end.hash,
        torn_tail_bytes: walk.rest.len() as u64,
        damage: broken.filter(|_| records_follow),
    }
}

/// The lines of a file, each checked against the one before.
struct Walk<'f> {
    /// What was not found right yet.
    rest: &'f [u8],
    lines: u64,
    position: Position,
}

impl<'f> Walk<'f> {
    fn new(file: &'f [u8], from: &Position) -> Self {
        Self { rest: file, lines: 0, position: *from }
    }

    fn position(&self) -> Position {
        self.position
    }

    /// The next whole line; none where no newline follows. After an error the walk stands before the line.
    fn next_line(&mut self) -> Option<Result<(), Broken>> {
        let newline = self.rest.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.rest.split_at_checked(newline)?;
        let fault = |why| Some(Err(Broken { line: self.lines + 1, why }));
        let Some(head) = head_of(line) else { return fault(Why::NotARecord) };
        if head.prev != self.position.hash {
            return fault(Why::OtherPredecessor);
        }
        if head.seq != self.position.next_seq {
            return fault(Why::OtherNumber);
        }
        self.position = Position { next_seq: head.seq.saturating_add(1), hash: hash(line) };
        self.lines += 1;
        self.rest = rest.strip_prefix(b"\n")?;
        Some(Ok(()))
    }
}

struct Head {
    seq: u64,
    prev: Hash,
}

/// Reads what the chain needs of a line: nothing else may stand where we write.
fn head_of(line: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Fields {
        v: u64,
        seq: u64,
    }
    let fields: Fields = serde_json::from_slice(line).ok()?;
    let prev = line.strip_suffix(b"\"}")?;
    let (before, hex) = prev.split_at_checked(prev.len().checked_sub(64)?)?;
    if fields.v != 1 || !before.ends_with(PREV_KEY) || !line.starts_with(b"{\"v\":1,\"event\":\"") {
        return None;
    }
    let mut prev = GENESIS;
    for (byte, pair) in prev.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(Head { seq: fields.seq, prev })
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const PREV_KEY: &[u8] = b",\"prev\":\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::samples::{answer, decision};
    use crate::audit::record::{Stop, Verdict};

    /// Three records, and where they end.
    fn log() -> (Vec<u8>, Position) {
        let mut shard = Shard::resume("b0", 3, &Position::default());
        let mut file = Vec::new();
        let seq = shard.append(&mut file, UnixMillis(1), &Record::Decision(decision(Verdict::Allow)));
        shard.append(&mut file, UnixMillis(2), &Record::Result(answer(seq)));
        shard.append(&mut file, UnixMillis(3), &Record::GatewayStopped(Stop { reason: "signal" }));
        (file, shard.position())
    }

    #[track_caller]
    fn check(file: &[u8], expected: Result<u64, (u64, Why)>) {
        let head = log().1.hash;
        let got = Chain::verify(file, &Position::default(), Some(&head));
        assert_eq!(got.map(|verified| verified.lines).map_err(|broken| (broken.line, broken.why)), expected);
    }

    fn lines(file: &[u8]) -> Vec<&[u8]> {
        file.split_inclusive(|byte| *byte == b'\n').collect()
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (file, end) = log();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                let got = Chain::verify(&changed, &Position::default(), Some(&end.hash));
                assert!(got.is_err(), "given bit {bit} of byte {at} of {}", String::from_utf8_lossy(&file));
            }
        }
    }

    #[test]
    fn lines_taken_away_added_or_moved_are_found() {
        let (file, _) = log();
        let all = lines(&file);
        check(&[all[1], all[2]].concat(), Err((1, Why::OtherPredecessor)));
        check(&[all[0], all[2]].concat(), Err((2, Why::OtherPredecessor)));
        check(&[all[0], all[2], all[1]].concat(), Err((2, Why::OtherPredecessor)));
        check(&[all[0], all[0], all[1], all[2]].concat(), Err((2, Why::OtherPredecessor)));
        check(&[all[0], all[1]].concat(), Err((2, Why::NotTheHead)));
        check(b"", Err((0, Why::NotTheHead)));
        check(&[all[0], b"{}\n", all[1], all[2]].concat(), Err((2, Why::NotARecord)));
        check(&[all[0], b"\n", all[1], all[2]].concat(), Err((2, Why::NotARecord)));
        check(&file[..file.len() - 1], Err((3, Why::Unfinished)));
    }

    #[test]
    fn a_number_left_out_is_found_although_the_hashes_fit() {
        let mut chain = Chain::after(GENESIS);
        let mut file = Vec::new();
        for seq in [0, 2] {
            let start = file.len();
            record::write(
                &mut file,
                &Stamp { boot: "b", shard: 0, seq, at: UnixMillis(0) },
                &Record::GatewayStopped(Stop { reason: "x" }),
            );
            chain.seal(&mut file, start);
        }
        let broken = Chain::verify(&file, &Position::default(), None).unwrap_err();
        assert_eq!(broken, Broken { line: 2, why: Why::OtherNumber });
        assert_eq!(broken.why.as_str(), "a number is missing before the line");
    }

    #[test]
    fn a_whole_log_is_verified_and_its_next_segment_goes_on() {
        let (mut file, end) = log();
        check(&file, Ok(3));
        let first = file.len();
        let mut shard = Shard::resume("b1", 3, &end);
        assert_eq!(shard.append(&mut file, UnixMillis(4), &Record::GatewayStopped(Stop { reason: "signal" })), 3);
        let next = Chain::verify(&file[first..], &end, None).unwrap();
        assert_eq!((next.lines, next.end), (1, shard.position()));
        assert_eq!(Chain::verify(&file, &Position::default(), None).unwrap().lines, 4);
    }

    #[test]
    fn a_torn_tail_is_told_from_a_changed_file() {
        let (file, end) = log();
        let two = file.len() - lines(&file)[2].len();
        for cut in two..file.len() {
            let got = recover(&file[..cut], &Position::default());
            assert_eq!(
                (got.valid_bytes, got.last_seq, got.damage),
                (two as u64, Some(1), None),
                "given a cut at {cut}"
            );
            assert_eq!(got.torn_tail_bytes, (cut - two) as u64);
        }
        let zeros = [&file[..two], &[0; 512][..]].concat();
        assert_eq!(recover(&zeros, &Position::default()).damage, None);
        let garbage = [&file[..two], &b"\x00\n\x01\x02\n{"[..]].concat();
        assert_eq!(recover(&garbage, &Position::default()).damage, None);

        let whole = recover(&file, &Position::default());
        assert_eq!(
            (whole.valid_bytes, whole.torn_tail_bytes, whole.position(&Position::default())),
            (file.len() as u64, 0, end)
        );
        let empty = recover(b"", &end);
        assert_eq!((empty.last_seq, empty.position(&end)), (None, end));

        let mut changed = file.clone();
        let at = lines(&file)[0].len() + 120;
        changed[at] ^= 1;
        let got = recover(&changed, &Position::default());
        assert!(got.damage.is_some(), "got {got:?}");
    }
}
