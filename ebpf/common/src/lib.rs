//! Agrees on the bytes in the kernel's maps. In: nothing. Out: keys and values with one layout on both sides. Never here: code
//! that runs in the kernel, or needs a heap.
//!
//! Every type is `repr(C)` and has no hidden padding: the kernel compares keys byte by byte, and padding would hold whatever lay
//! on the stack, so that equal flows would differ. The tests at the end prove it.
#![cfg_attr(not(test), no_std)]

pub mod packet;

/// An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291 §2.5.5.2), so that one prefix trie serves both: an IPv4 prefix of
/// length n is a prefix of length 96 + n here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The mapped form of an IPv4 address in network order.
    pub const fn from_v4(v4: [u8; 4]) -> Self {
        let [a, b, c, d] = v4;
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }
}

/// One flow. Ports are in host order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Where the packets come from.
    pub source: Address,
    /// Where they go: one of our listeners.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    zero: [u8; 3],
}

impl FlowKey {
    /// A key whose filler is zero, as the kernel's comparison needs it.
    pub const fn new(
        source: Address,
        source_port: u16,
        destination: Address,
        destination_port: u16,
        protocol: u8,
    ) -> Self {
        Self { source, destination, source_port, destination_port, protocol, zero: [0; 3] }
    }

    /// Its bytes as they lie in the kernel's maps.
    pub fn bytes(&self) -> [u8; 40] {
        let mut out = [0; 40];
        out[..16].copy_from_slice(&self.source.0);
        out[16..32].copy_from_slice(&self.destination.0);
        out[32..34].copy_from_slice(&self.source_port.to_ne_bytes());
        out[34..36].copy_from_slice(&self.destination_port.to_ne_bytes());
        out[36] = self.protocol;
        out
    }
}

/// One source: what bans and the SYN bucket are kept by. IPv6 sources are counted by their /64, because one host owns all of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey(pub Address);

impl SourceKey {
    /// The key of `address`: itself for IPv4, its /64 for IPv6.
    pub const fn of(address: Address) -> Self {
        match address.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..] => Self(address),
            [a, b, c, d, e, f, g, h, ..] => Self(Address([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])),
        }
    }
}

/// What is known of a flow that has not authenticated. The authenticated ones stand in a map of their own, which only user space
/// writes, so that no counter of the kernel races with the verdict.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// First packet, nanoseconds of CLOCK_MONOTONIC.
    pub first_ns: u64,
    /// Bytes seen since.
    pub bytes: u64,
    /// Packets seen since, its SYN among them.
    pub packets: u64,
    /// Whether user space has been told that it ran over: 0 or 1.
    pub told: u64,
}

/// A flow's clock may be started anew by a SYN after this long: its ports may be another connection's by then (RFC 9293 §3.4.1: as long as a
/// Linux host keeps a closed connection in TIME-WAIT).
pub const RESTART_NS: u64 = 60_000_000_000;

impl Flow {
    /// A flow that begins with this packet.
    pub const fn begun(now_ns: u64, bytes: u64) -> Self {
        Self { first_ns: now_ns, bytes, packets: 1, told: 0 }
    }

    /// Whether a SYN begins it anew. Whoever could restart the clock of a flow under way by sending SYNs into it would never be late.
    pub const fn restarts(&self, now_ns: u64) -> bool {
        self.packets <= 1 || now_ns.wrapping_sub(self.first_ns) > RESTART_NS
    }

    /// Counts a packet of `bytes` and judges the flow by `limits`.
    pub const fn count(&mut self, now_ns: u64, bytes: u64, limits: &Limits) -> Verdict {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
        if limits.deadline_ns != 0 && now_ns.wrapping_sub(self.first_ns) > limits.deadline_ns {
            Verdict::Late
        } else if limits.budget_bytes != 0 && self.bytes > limits.budget_bytes {
            Verdict::Greedy
        } else {
            Verdict::Young
        }
    }
}

/// The SYN token bucket of one source.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens left, in thousandths.
    pub tokens_milli: u64,
    /// When they were last counted, nanoseconds of CLOCK_MONOTONIC.
    pub counted_ns: u64,
}

/// A bucket that was not looked at for so long is full, whatever its rate; it also keeps the product of time and rate within 64 bits.
const FULL_AFTER_NS: u64 = 10_000_000_000;

impl Bucket {
    /// A bucket whose first token is taken now.
    pub const fn first(now_ns: u64, limits: &Limits) -> Self {
        Self { tokens_milli: limits.syn_burst.saturating_sub(1) * 1000, counted_ns: now_ns }
    }

    /// Takes one token, if there is one.
    pub const fn take(&mut self, now_ns: u64, limits: &Limits) -> bool {
        let full = limits.syn_burst * 1000;
        let passed = now_ns.wrapping_sub(self.counted_ns);
        let more = if passed > FULL_AFTER_NS { full } else { passed * limits.syn_per_second / 1_000_000 };
        // A packet sooner than a thousandth of a token must not move the clock: a fast flood would never see a bucket fill.
        if more > 0 {
            self.counted_ns = now_ns;
        }
        let tokens = self.tokens_milli.saturating_add(more);
        let tokens = if tokens > full { full } else { tokens };
        let taken = tokens >= 1000;
        self.tokens_milli = if taken { tokens - 1000 } else { tokens };
        taken
    }
}

/// What user space is told when a flow ran over its limits; once a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which flow.
    pub flow: FlowKey,
    /// [`Verdict::slot`] of [`Verdict::Late`] or [`Verdict::Greedy`].
    pub verdict: u32,
}

/// The key of a protected port: the protocol number above the port.
pub const fn port_key(protocol: u8, port: u16) -> u32 {
    (protocol as u32) << 16 | port as u32
}

/// Listeners that can be steered to; more cores than this share them.
pub const WORKERS_MAX: u32 = 256;

/// The limits that user space sets; zero switches a limit off.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// SYNs a second from one source.
    pub syn_per_second: u64,
    /// SYNs at once from one source.
    pub syn_burst: u64,
    /// A flow must authenticate within this time.
    pub deadline_ns: u64,
    /// Or within this many bytes.
    pub budget_bytes: u64,
}

/// What was done with a packet; the number is the slot of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed: the flow is authenticated.
    Authenticated = 0,
    /// Passed: within its deadline and budget.
    Young = 1,
    /// Passed: not for a port of ours.
    Foreign = 2,
    /// Passed: its source is on the list of allowed prefixes.
    Allowed = 3,
    /// Dropped: its source is on the list of denied prefixes.
    Denied = 4,
    /// Dropped: its source is banned and the ban has not expired.
    Banned = 5,
    /// Dropped: too many SYNs from its source.
    SynLimited = 6,
    /// Dropped: not authenticated within the deadline.
    Late = 7,
    /// Dropped: not authenticated within the budget.
    Greedy = 8,
    /// Passed: neither IPv4 nor IPv6, or cut short.
    Unread = 9,
    /// Dropped: the first fragment of a packet for a port of ours, whose rest could not be counted.
    Fragmented = 10,
    /// Dropped: more IPv6 extension headers than any honest sender writes.
    Tangled = 11,
}

impl Verdict {
    /// Every verdict, in the order of its slot.
    pub const ALL: [Self; 12] = [
        Self::Authenticated,
        Self::Young,
        Self::Foreign,
        Self::Allowed,
        Self::Denied,
        Self::Banned,
        Self::SynLimited,
        Self::Late,
        Self::Greedy,
        Self::Unread,
        Self::Fragmented,
        Self::Tangled,
    ];

    /// The slot of this verdict's counter.
    pub const fn slot(self) -> u32 {
        self as u32
    }

    /// Whether the packet goes no further.
    pub const fn drops(self) -> bool {
        match self {
            Self::Authenticated | Self::Young | Self::Foreign | Self::Allowed | Self::Unread => false,
            Self::Denied
            | Self::Banned
            | Self::SynLimited
            | Self::Late
            | Self::Greedy
            | Self::Fragmented
            | Self::Tangled => true,
        }
    }

    /// Its name in metrics and in `portcullis status`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Young => "young",
            Self::Foreign => "foreign",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Banned => "banned",
            Self::SynLimited => "syn_limited",
            Self::Late => "late",
            Self::Greedy => "greedy",
            Self::Unread => "unread",
            Self::Fragmented => "fragmented",
            Self::Tangled => "tangled",
        }
    }
}

/// Slots of the counter map, one a verdict.
pub const VERDICTS: u32 = Verdict::ALL.len() as u32;

#[cfg(test)]
mod tests {
    use std::mem::{align_of, offset_of, size_of};

    use super::*;

    /// A type without padding is as large as its fields together, and starts each where the one before it ends.
    #[test]
    fn no_type_has_padding_and_every_field_lies_where_the_kernel_reads_it() {
        let rows = [
            ("Address", size_of::<Address>(), align_of::<Address>(), 16, 1),
            ("SourceKey", size_of::<SourceKey>(), align_of::<SourceKey>(), 16, 1),
            ("FlowKey", size_of::<FlowKey>(), align_of::<FlowKey>(), 16 + 16 + 2 + 2 + 1 + 3, 2),
            ("Flow", size_of::<Flow>(), align_of::<Flow>(), 4 * 8, 8),
            ("Event", size_of::<Event>(), align_of::<Event>(), 40 + 4, 4),
            ("Bucket", size_of::<Bucket>(), align_of::<Bucket>(), 2 * 8, 8),
            ("Limits", size_of::<Limits>(), align_of::<Limits>(), 4 * 8, 8),
        ];
        for (name, size, align, size_expected, align_expected) in rows {
            assert_eq!((size, align), (size_expected, align_expected), "size and alignment of {name}");
        }
        let offsets = [
            offset_of!(FlowKey, source),
            offset_of!(FlowKey, destination),
            offset_of!(FlowKey, source_port),
            offset_of!(FlowKey, destination_port),
            offset_of!(FlowKey, protocol),
        ];
        assert_eq!(offsets, [0, 16, 32, 34, 36]);
    }

    #[test]
    fn verdicts_fill_their_slots_without_a_gap_and_have_names_of_their_own() {
        for (slot, verdict) in (0_u32..).zip(Verdict::ALL) {
            assert_eq!(verdict.slot(), slot, "slot of {verdict:?}");
        }
        let names: std::collections::BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
        assert_eq!(names.len(), VERDICTS as usize);
    }

    #[test]
    fn a_source_is_one_ipv4_address_or_the_64_bits_an_ipv6_host_owns() {
        let v4 = Address::from_v4([10, 0, 0, 1]);
        assert_eq!(SourceKey::of(v4), SourceKey(v4));
        assert_ne!(SourceKey::of(v4), SourceKey::of(Address::from_v4([10, 0, 0, 2])));
        let v6 = |host: u8| Address([0xfd, 0x77, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, host]);
        assert_eq!(SourceKey::of(v6(1)), SourceKey::of(v6(2)));
        assert_ne!(SourceKey::of(v6(1)), SourceKey::of(Address([0xfd; 16])));
    }

    const LIMITS: Limits = Limits { syn_per_second: 10, syn_burst: 3, deadline_ns: 1_000, budget_bytes: 500 };

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate_however_fast_it_is_asked() {
        let mut bucket = Bucket::first(0, &LIMITS);
        assert!(bucket.take(0, &LIMITS) && bucket.take(0, &LIMITS));
        assert!(!bucket.take(0, &LIMITS), "the burst is spent");
        // Asked every microsecond for one second.
        let given = (1..=1_000_000_u64).filter(|step| bucket.take(step * 1_000, &LIMITS)).count();
        assert_eq!(given, 10);
        assert!(bucket.take(u64::MAX / 2, &LIMITS), "an old bucket is full and nothing overflows");
    }

    #[test]
    fn a_flow_is_late_after_its_deadline_and_greedy_beyond_its_budget_and_neither_where_there_is_no_limit() {
        let rows = [
            (1_000, 500, Verdict::Young),
            (1_001, 0, Verdict::Late),
            (0, 501, Verdict::Greedy),
            (1_001, 501, Verdict::Late),
        ];
        for (now, bytes, expected) in rows {
            assert_eq!(Flow::begun(0, 0).count(now, bytes, &LIMITS), expected, "{bytes} bytes at {now} ns");
        }
        assert_eq!(Flow::begun(0, 0).count(u64::MAX, u64::MAX, &Limits::default()), Verdict::Young);
    }

    #[test]
    fn a_syn_restarts_a_flow_of_which_nothing_else_came_or_that_is_old() {
        let mut flow = Flow::begun(0, 0);
        assert!(flow.restarts(1));
        flow.count(1, 1, &LIMITS);
        assert!(!flow.restarts(RESTART_NS));
        assert!(flow.restarts(RESTART_NS + 1));
    }
}
