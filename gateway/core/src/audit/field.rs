//! Writes a record down and reads it back. In: fields of a closed set and their values. Out: bytes appended to a buffer, without allocation; the
//! same fields again. Never here: JSON, files.
//!
//! What a core writes down of a record is short and made for it alone: a byte for each field, its length, its bytes. What a third party reads
//! (`leaf`) is made of it later, off the way of the request. A record: its length (4 bytes), event (1), seq (8), time (8), then its fields,
//! each its number (1), its length (4) and its bytes. All numbers are little-endian.

use std::net::IpAddr;

use crate::time::UnixMillis;

/// How a field is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Eight bytes.
    Number,
    /// Eight bytes, two's complement.
    Signed,
    /// Shown in hexadecimal.
    Bytes,
    /// Four bytes or sixteen.
    Address,
    /// Texts, each after its length in two bytes.
    List,
    /// The text of a JSON value that nobody checked, such as an id.
    Id,
    /// The text of a JSON value, which never stands in the log itself.
    Value,
}

macro_rules! fields {
    ($($variant:ident = $name:literal $kind:ident,)+) => {
        /// Every field that a record can have, in the order of their names (RFC 8785 §3.2.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "`name` says what each is called, `record` what it holds")]
        #[repr(u8)]
        pub enum Field { $($variant,)+ }

        impl Field {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How many.
            pub const COUNT: usize = Self::ALL.len();

            /// As it stands in the log.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The same between quotes, with the colon behind it.
            pub(super) fn key(self) -> &'static str {
                match self { $(Self::$variant => concat!("\"", $name, "\":"),)+ }
            }

            /// How it is kept.
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }
        }
    };
}

fields! {
    Account = "account" Text,
    Actor = "actor" Text,
    Agent = "agent" Text,
    Arguments = "arguments" Value,
    ArgumentsBytes = "arguments_bytes" Number,
    ArgumentsCommit = "arguments_commit" Bytes,
    ArgumentsCut = "arguments_cut" Text,
    ArgumentsDigest = "arguments_digest" Value,
    ArgumentsRedacted = "arguments_redacted" Number,
    Boot = "boot" Text,
    Cause = "cause" Text,
    Certificate = "certificate" Bytes,
    Counted = "count" Number,
    Decision = "decision" Text,
    DecisionBoot = "decision_boot" Text,
    DecisionSeq = "decision_seq" Number,
    DecisionShard = "decision_shard" Number,
    Durability = "durability" Text,
    DurationUs = "duration_us" Number,
    Entries = "entries" List,
    Event = "event" Text,
    ErasedFields = "fields" List,
    FirstIndex = "first_index" Number,
    Issuer = "issuer" Text,
    TokenId = "jti" Text,
    Method = "method" Text,
    Mode = "mode" List,
    Prompt = "name" Text,
    Obligations = "obligations" List,
    Outcome = "outcome" Text,
    Pinned = "pinned" Text,
    Prev = "prev" Bytes,
    Previous = "previous" Number,
    Reason = "reason" Text,
    Redactions = "redactions" Number,
    RequestId = "request_id" Id,
    Result = "result" Value,
    ResultBytes = "result_bytes" Number,
    ResultCommit = "result_commit" Bytes,
    ResultCut = "result_cut" Text,
    ResultDigest = "result_digest" Value,
    ResultRedacted = "result_redacted" Number,
    Revision = "revision" Text,
    RowsDropped = "rows_dropped" Number,
    Rules = "rules" List,
    Seen = "seen" Text,
    Seq = "seq" Number,
    Server = "server" Text,
    Session = "session" Bytes,
    Shard = "shard" Number,
    Since = "since" Number,
    Snapshot = "snapshot" Number,
    SnapshotHash = "snapshot_hash" Text,
    Source = "source" Address,
    Status = "status" Number,
    Tool = "tool" Text,
    TornBytes = "torn_bytes" Number,
    Ts = "ts" Signed,
    Uri = "uri" Text,
    User = "user" Text,
    V = "v" Number,
    Version = "version" Text,
    What = "what" Text,
}

impl Field {
    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Bytes of a text that are kept. Six times the sum of what one record can hold, for the worst escapes, is below what an entry can be.
    fn bytes_max(self) -> usize {
        // The ids of rules that oblige stand among the rules already, in full.
        if self == Self::Uri {
            1024
        } else if self == Self::Obligations {
            96
        } else {
            256
        }
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`record` says what each is")]
#[repr(u8)]
pub enum Event {
    Decision = 1,
    Result,
    ResultBegun,
    ResultEnded,
    Refusal,
    ServerRequest,
    PolicySwapped,
    AgentSuspended,
    AgentResumed,
    ToolDrifted,
    GatewayStarted,
    GatewayStopped,
    OutcomeUnknown,
    AuditRead,
    AuditErased,
    AuditPruned,
    ToolApproved,
    AdminRead,
    AuditLost,
    AuditHeld,
    AuditReleased,
}

impl Event {
    const ALL: [Self; 21] = [
        Self::Decision,
        Self::Result,
        Self::ResultBegun,
        Self::ResultEnded,
        Self::Refusal,
        Self::ServerRequest,
        Self::PolicySwapped,
        Self::AgentSuspended,
        Self::AgentResumed,
        Self::ToolDrifted,
        Self::GatewayStarted,
        Self::GatewayStopped,
        Self::OutcomeUnknown,
        Self::AuditRead,
        Self::AuditErased,
        Self::AuditPruned,
        Self::ToolApproved,
        Self::AdminRead,
        Self::AuditLost,
        Self::AuditHeld,
        Self::AuditReleased,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// As it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Result => "result",
            Self::ResultBegun => "result.begun",
            Self::ResultEnded => "result.ended",
            Self::Refusal => "refusal",
            Self::ServerRequest => "server.request",
            Self::PolicySwapped => "policy.swapped",
            Self::AgentSuspended => "agent.suspended",
            Self::AgentResumed => "agent.resumed",
            Self::ToolDrifted => "tool.drifted",
            Self::GatewayStarted => "gateway.started",
            Self::GatewayStopped => "gateway.stopped",
            Self::OutcomeUnknown => "outcome.unknown",
            Self::AuditRead => "audit.read",
            Self::AuditErased => "audit.erased",
            Self::AuditPruned => "audit.pruned",
            Self::ToolApproved => "tool.approved",
            Self::AdminRead => "admin.read",
            Self::AuditLost => "audit.lost",
            Self::AuditHeld => "audit.held",
            Self::AuditReleased => "audit.released",
        }
    }
}

/// What stands before the fields of a record: length, event, seq, time.
const HEAD_BYTES: usize = 4 + 1 + 8 + 8;

/// One record under way.
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> Writer<'b> {
    /// Begins a record at the end of `out`.
    pub fn open(out: &'b mut Vec<u8>, event: Event, seq: u64, at: UnixMillis) -> Self {
        let start = out.len();
        let mut head = [0; HEAD_BYTES];
        let (length, rest) = head.split_at_mut(5);
        if let Some(last) = length.last_mut() {
            *last = event as u8;
        }
        let (seq_place, at_place) = rest.split_at_mut(8);
        seq_place.copy_from_slice(&seq.to_le_bytes());
        at_place.copy_from_slice(&at.0.to_le_bytes());
        out.extend_from_slice(&head);
        Self { out, start }
    }

    /// Ends the record: its length is known now.
    pub fn close(self) {
        let length = u32::try_from(self.out.len().saturating_sub(self.start)).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(self.start..self.start.saturating_add(4)) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// A text from anywhere. Longer than the field keeps: its beginning, its length and a digest of the whole.
    pub fn text(&mut self, field: Field, value: &str) {
        if value.len() <= field.bytes_max() {
            return self.bytes(field, value.as_bytes());
        }
        self.within(field, |out| cut(out, value.as_bytes(), prefix(value, field.bytes_max())));
    }

    /// The text, where there is one.
    pub fn text_if(&mut self, field: Field, value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    /// Bytes that should be a text; what is no UTF-8 becomes U+FFFD.
    pub fn lossy(&mut self, field: Field, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        if text.len() <= field.bytes_max() {
            return self.bytes(field, text.as_bytes());
        }
        self.within(field, |out| cut(out, value, prefix(&text, field.bytes_max())));
    }

    /// A whole number.
    pub fn number(&mut self, field: Field, value: u64) {
        self.bytes(field, &value.to_le_bytes());
    }

    /// An IP address; IPv4 in IPv6 clothes is shown as IPv4.
    pub fn address(&mut self, field: Field, value: IpAddr) {
        match value.to_canonical() {
            IpAddr::V4(address) => self.bytes(field, &address.octets()),
            IpAddr::V6(address) => self.bytes(field, &address.octets()),
        }
    }

    /// A list of texts.
    pub fn list(&mut self, field: Field, values: &[&str]) {
        self.within(field, |out| {
            for value in values {
                let start = out.len();
                out.extend_from_slice(&[0; 2]);
                if value.len() <= field.bytes_max() {
                    out.extend_from_slice(value.as_bytes());
                } else {
                    cut(out, value.as_bytes(), prefix(value, field.bytes_max()));
                }
                let length = u16::try_from(out.len().saturating_sub(start + 2)).unwrap_or(u16::MAX);
                if let Some(place) = out.get_mut(start..start + 2) {
                    place.copy_from_slice(&length.to_le_bytes());
                }
            }
        });
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, field: Field, value: &[u8]) {
        let mut head = [field as u8, 0, 0, 0, 0];
        if let Some(length) = head.last_chunk_mut::<4>() {
            *length = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes();
        }
        self.out.extend_from_slice(&head);
        self.out.extend_from_slice(value);
    }

    /// A value that `write` appends. Where it fails, nothing of the field stays.
    pub(super) fn value<E>(
        &mut self,
        field: Field,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.out.len();
        let mut written = Ok(());
        self.within(field, |out| written = write(out));
        if written.is_err() {
            self.out.truncate(before);
        }
        written
    }

    /// A field whose length is known once it is written.
    fn within(&mut self, field: Field, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&[field as u8, 0, 0, 0, 0]);
        let start = self.out.len();
        write(self.out);
        let length = u32::try_from(self.out.len().saturating_sub(start)).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(start - 4..start) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// The beginning of a text, and which text it was.
fn cut(out: &mut Vec<u8>, whole: &[u8], kept: &str) {
    out.extend_from_slice(kept.as_bytes());
    out.extend_from_slice("\u{2026} (".as_bytes());
    digits(out, whole.len() as u64);
    out.extend_from_slice(b" bytes, blake3 ");
    hex(out, blake3::hash(whole).as_bytes());
    out.push(b')');
}

/// The longest beginning of `value` of at most `bytes_max` bytes that ends between characters.
fn prefix(value: &str, bytes_max: usize) -> &str {
    value.get(..value.floor_char_boundary(bytes_max)).unwrap_or(value)
}

/// A record as it was written down.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'r> {
    /// What it is about.
    pub event: Event,
    /// Its number in its shard.
    pub seq: u64,
    /// When it was made.
    pub at: UnixMillis,
    slots: [Option<&'r [u8]>; Field::COUNT],
}

impl<'r> Fields<'r> {
    /// Takes the first record off `bytes`; none where they are no record of this version.
    pub fn split(bytes: &'r [u8]) -> Option<(Self, &'r [u8])> {
        let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
        let (record, after) = bytes.split_at_checked(length)?;
        let (head, mut rest) = record.split_at_checked(HEAD_BYTES)?;
        let event = Event::of(*head.get(4)?)?;
        let seq = u64::from_le_bytes(*head.get(5..)?.first_chunk()?);
        let at = UnixMillis(i64::from_le_bytes(*head.last_chunk()?));
        let mut slots = [None; Field::COUNT];
        while let Some((number, tail)) = rest.split_first() {
            let length = usize::try_from(u32::from_le_bytes(*tail.first_chunk()?)).ok()?;
            let (value, tail) = tail.get(4..)?.split_at_checked(length)?;
            *slots.get_mut(Field::of(*number)? as usize)? = Some(value);
            rest = tail;
        }
        Some((Self { event, seq, at, slots }, after))
    }

    /// The bytes of a field, where the record has it.
    pub fn bytes(&self, field: Field) -> Option<&'r [u8]> {
        self.slots.get(field as usize).copied().flatten()
    }

    /// A field that is a number.
    pub fn number(&self, field: Field) -> Option<u64> {
        Some(u64::from_le_bytes(*self.bytes(field)?.first_chunk()?))
    }

    /// A field that is a text.
    pub fn text(&self, field: Field) -> Option<&'r str> {
        std::str::from_utf8(self.bytes(field)?).ok()
    }

    /// Gives a field other bytes.
    pub fn set(&mut self, field: Field, value: &'r [u8]) {
        if let Some(slot) = self.slots.get_mut(field as usize) {
            *slot = Some(value);
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    for chunk in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        out.extend_from_slice(digits.get(..2 * chunk.len()).unwrap_or_default());
    }
}

/// Every record has some ten numbers; the formatter of the standard library takes several times as long for one.
pub(super) fn digits(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut left, mut at) = (value, digits.len());
    for pair in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
        // Two at a time: a division takes longer than all else here.
        let two = (left % 100) as u8;
        *pair = PAIRS.get(usize::from(two)).copied().unwrap_or_default();
        left /= 100;
        at -= 2;
        if left == 0 {
            at += usize::from(two < 10);
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// `00` to `99`.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it: out of bounds would fail the build")]
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut two = 0;
    while two < pairs.len() {
        pairs[two] = [b'0' + (two / 10) as u8, b'0' + (two % 10) as u8];
        two += 1;
    }
    pairs
};

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
