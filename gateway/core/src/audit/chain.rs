//! Chains the writes of a shard. In: records, or the bytes of a file. Out: lines, or where the chain breaks. Never here: files.
//!
//! A core writes the records of one loop turn at once. The first line of each write ends with the BLAKE3 hash of the write before it, all of its
//! lines and their newlines; the very first with zeros. Every line has the number that follows. A change of any write but the last breaks the
//! chain at the next. The last has no next: what its hash must be has to be known from elsewhere (`head`), or it is only known to be well
//! formed. That a whole tail was cut off is likewise only seen by who knows the head. One hash a write instead of one a line lets the hash work
//! on many blocks at once, and costs a call a third.

use serde::Deserialize;

use super::line;
use super::record::{self, Record, Stamp};
use crate::time::UnixMillis;

/// What a write names as the one before it.
pub type Hash = [u8; 32];

/// What the first write of a shard names: there was none.
pub const GENESIS: Hash = [0; 32];

/// The hash of a write, newlines included.
pub fn hash(write: &[u8]) -> Hash {
    *blake3::hash(write).as_bytes()
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
    if !walk.rest().is_empty() {
        return Err(Broken { line: walk.lines + 1, why: Why::Unfinished });
    }
    let end = walk.position();
    match head {
        Some(head) if *head != end.hash => Err(Broken { line: walk.lines, why: Why::NotTheHead }),
        Some(_) | None => Ok(Verified { lines: walk.lines, end }),
    }
}

/// A shard under way: numbers records, writes and chains them.
#[derive(Clone, Debug)]
pub struct Shard {
    boot: Box<str>,
    number: u16,
    next: u64,
    last: Hash,
}

impl Shard {
    /// Goes on where `position` ends; `Position::default()` for an empty shard.
    pub fn resume(boot: &str, number: u16, position: &Position) -> Self {
        Self { boot: boot.into(), number, next: position.next_seq, last: position.hash }
    }

    /// Appends `record` with its newline to `write`, and gives its seq; the first of an empty one names the write before. Allocates only
    /// what `write` lacks.
    pub fn append(&mut self, write: &mut Vec<u8>, at: UnixMillis, record: &Record<'_>) -> u64 {
        let (first, seq) = (write.is_empty(), self.next);
        record::write(write, &Stamp { boot: &self.boot, shard: self.number, seq, at }, record);
        if first {
            write.extend_from_slice(PREV_KEY);
            line::hex(write, &self.last);
            write.push(b'"');
        }
        write.extend_from_slice(b"}\n");
        self.next = seq.saturating_add(1);
        seq
    }

    /// Takes a whole write into the chain: what is appended from here on belongs to the next.
    pub fn seal(&mut self, write: &[u8]) {
        self.last = hash(write);
    }

    /// Where the chain ends, all that was appended being sealed.
    pub fn position(&self) -> Position {
        Position { next_seq: self.next, hash: self.last }
    }
}

/// A place in a shard: between two writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The seq of the line that comes next.
    pub next_seq: u64,
    /// The hash of the write before; zeros where there is none.
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
    /// It does not name the write before it.
    OtherPredecessor,
    /// Its number does not follow.
    OtherNumber,
    /// It has no newline.
    Unfinished,
    /// The last write ends with it, and its hash is not the one that is known.
    NotTheHead,
}

impl Why {
    /// For an operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotARecord => "the line is no record",
            Self::OtherPredecessor => "the line does not follow from what was written before it",
            Self::OtherNumber => "a number is missing before the line",
            Self::Unfinished => "the line is not finished",
            Self::NotTheHead => "the last write is not the one that was signed",
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
    /// The hash of the last write, as much of it as is there; that of `from` where there is none.
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
    let rest = walk.rest();
    let records_follow =
        rest.split_inclusive(|byte| *byte == b'\n').any(|line| head_of(line.trim_ascii_end()).is_some());
    let end = walk.position();
    Recovered {
        valid_bytes: (file.len() - rest.len()) as u64,
        last_seq: if walk.lines == 0 { None } else { end.next_seq.checked_sub(1) },
        last_hash: end.hash,
        torn_tail_bytes: rest.len() as u64,
        damage: broken.filter(|_| records_follow),
    }
}

/// The lines of a file, each checked against what stands before it.
struct Walk<'f> {
    file: &'f [u8],
    /// Where the write under way begins.
    write: usize,
    /// How much was found right.
    valid: usize,
    lines: u64,
    next_seq: u64,
    /// The hash of the write before the one under way.
    before: Hash,
}

impl<'f> Walk<'f> {
    fn new(file: &'f [u8], from: &Position) -> Self {
        Self { file, write: 0, valid: 0, lines: 0, next_seq: from.next_seq, before: from.hash }
    }

    /// What was not found right yet.
    fn rest(&self) -> &'f [u8] {
        self.file.get(self.valid..).unwrap_or_default()
    }

    fn position(&self) -> Position {
        Position { next_seq: self.next_seq, hash: self.hash() }
    }

    /// The hash of the write under way, as far as it is found right.
    fn hash(&self) -> Hash {
        match self.file.get(self.write..self.valid) {
            None | Some([]) => self.before,
            Some(write) => hash(write),
        }
    }

    /// The next whole line; none where no newline follows. After an error the walk stands before the line.
    fn next_line(&mut self) -> Option<Result<(), Broken>> {
        let newline = self.rest().iter().position(|byte| *byte == b'\n')?;
        let line = self.rest().get(..newline)?;
        let fault = |why| Some(Err(Broken { line: self.lines + 1, why }));
        let Some(head) = head_of(line) else { return fault(Why::NotARecord) };
        match head.prev {
            Some(prev) if prev != self.hash() => return fault(Why::OtherPredecessor),
            None if self.lines == 0 => return fault(Why::OtherPredecessor),
            Some(_) | None if head.seq != self.next_seq => return fault(Why::OtherNumber),
            Some(prev) => (self.before, self.write) = (prev, self.valid),
            None => {}
        }
        self.next_seq = head.seq.saturating_add(1);
        self.lines += 1;
        self.valid += newline + 1;
        Some(Ok(()))
    }
}

struct Head {
    seq: u64,
    /// Where it is the first of a write.
    prev: Option<Hash>,
}

/// Reads what the chain needs of a line: nothing else may stand where we write.
fn head_of(line: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Fields {
        v: u64,
        seq: u64,
        #[serde(default)]
        prev: Option<serde::de::IgnoredAny>,
    }
    let fields: Fields = serde_json::from_slice(line).ok()?;
    if fields.v != 1 || !line.starts_with(b"{\"v\":1,\"event\":\"") {
        return None;
    }
    let prev = match fields.prev {
        Some(_) => Some(prev_of(line)?),
        None => None,
    };
    Some(Head { seq: fields.seq, prev })
}

/// The hash at the end of a line.
fn prev_of(line: &[u8]) -> Option<Hash> {
    let prev = line.strip_suffix(b"\"}")?;
    let (before, hex) = prev.split_at_checked(prev.len().checked_sub(64)?)?;
    if !before.ends_with(PREV_KEY) {
        return None;
    }
    let mut prev = GENESIS;
    for (byte, pair) in prev.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(prev)
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

    /// Two writes, of two records and of one, and where they end.
    fn log() -> (Vec<u8>, Position) {
        let mut shard = Shard::resume("b0", 3, &Position::default());
        let mut file = Vec::new();
        let seq = shard.append(&mut file, UnixMillis(1), &Record::Decision(decision(Verdict::Allow)));
        shard.append(&mut file, UnixMillis(2), &Record::Result(answer(seq)));
        shard.seal(&file);
        file.extend(stopped(&mut shard));
        (file, shard.position())
    }

    /// A write of one record.
    fn stopped(shard: &mut Shard) -> Vec<u8> {
        let mut write = Vec::new();
        shard.append(&mut write, UnixMillis(3), &Record::GatewayStopped(Stop { reason: "signal" }));
        shard.seal(&write);
        write
    }

    #[track_caller]
    fn check(file: &[u8], expected: Result<u64, (u64, Why)>) {
        let head = log().1.hash;
        let got = verify(file, &Position::default(), Some(&head));
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
                let got = verify(&changed, &Position::default(), Some(&end.hash));
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
        check(&[all[0], all[1], all[1], all[2]].concat(), Err((3, Why::OtherNumber)));
        check(&[all[0], all[1]].concat(), Err((2, Why::NotTheHead)));
        check(b"", Err((0, Why::NotTheHead)));
        check(&[all[0], b"{}\n", all[1], all[2]].concat(), Err((2, Why::NotARecord)));
        check(&[all[0], b"\n", all[1], all[2]].concat(), Err((2, Why::NotARecord)));
        check(&file[..file.len() - 1], Err((3, Why::Unfinished)));
    }

    #[test]
    fn a_first_line_that_names_nothing_or_half_a_hash_is_none() {
        let (file, _) = log();
        let text = String::from_utf8(file).unwrap();
        let prev = format!(",\"prev\":\"{}\"", "0".repeat(64));
        check(text.replace(&prev, "").as_bytes(), Err((1, Why::OtherPredecessor)));
        check(text.replace(&prev, ",\"prev\":\"00\"").as_bytes(), Err((1, Why::NotARecord)));
        check(text.replace(&prev, ",\"prev\":null").as_bytes(), Err((1, Why::OtherPredecessor)));
    }

    #[test]
    fn a_number_left_out_is_found_although_the_hashes_fit() {
        let mut file = Vec::new();
        let mut shard = Shard::resume("b", 0, &Position::default());
        file.extend(stopped(&mut shard));
        let mut shard = Shard::resume("b", 0, &Position { next_seq: 2, ..shard.position() });
        file.extend(stopped(&mut shard));
        let broken = verify(&file, &Position::default(), None).unwrap_err();
        assert_eq!(broken, Broken { line: 2, why: Why::OtherNumber });
        assert_eq!(broken.why.as_str(), "a number is missing before the line");
    }

    #[test]
    fn a_whole_log_is_verified_and_its_next_segment_goes_on() {
        let (mut file, end) = log();
        check(&file, Ok(3));
        let first = file.len();
        let mut shard = Shard::resume("b1", 3, &end);
        file.extend(stopped(&mut shard));
        assert_eq!(shard.position().next_seq, 4);
        let next = verify(&file[first..], &end, None).unwrap();
        assert_eq!((next.lines, next.end), (1, shard.position()));
        assert_eq!(verify(&file, &Position::default(), None).unwrap().lines, 4);
    }

    #[test]
    fn a_torn_tail_is_told_from_a_changed_file() {
        let (file, end) = log();
        let ends: Vec<usize> = lines(&file)
            .iter()
            .scan(0, |at, line| {
                *at += line.len();
                Some(*at)
            })
            .collect();
        // A write that was cut off leaves its whole lines, and what goes on names those.
        for cut in ends[0]..file.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let got = recover(&file[..cut], &Position::default());
            let expected = (ends[whole - 1] as u64, Some(whole as u64 - 1), None);
            assert_eq!((got.valid_bytes, got.last_seq, got.damage), expected, "given a cut at {cut}");
            assert_eq!(got.torn_tail_bytes, (cut - ends[whole - 1]) as u64);
            let mut on = file[..ends[whole - 1]].to_vec();
            on.extend(stopped(&mut Shard::resume("b1", 3, &got.position(&Position::default()))));
            assert_eq!(verify(&on, &Position::default(), None).unwrap().lines, whole as u64 + 1);
        }
        let two = ends[1];
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
