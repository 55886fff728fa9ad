//! Admits packets. In: a packet as XDP or as tcx sees it. Out: passed or dropped, counted either way, and an event when a flow first runs over.

use crate::seen::{Skb, Xdp};
use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::programs::{TcContext, XdpContext};
use portcullis_ebpf_common::packet::{self, Bytes, Carried, Packet, Segment};
use portcullis_ebpf_common::{Bucket, Event, Flow, FlowKey, Limits, SourceKey, VERDICTS, Verdict, port_key};

#[map]
static LIMITS: Array<Limits> = Array::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(VERDICTS, 0);
#[map]
static ALLOWED: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1024, 0);
#[map]
static DENIED: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1024, 0);
/// Our ports, by [`port_key`].
#[map]
static PORTS: HashMap<u32, u32> = HashMap::with_max_entries(64, 0);
/// Until when a source is banned, nanoseconds of CLOCK_MONOTONIC.
#[map]
static BANS: LruHashMap<SourceKey, u64> = LruHashMap::with_max_entries(65_536, 0);
#[map]
static BUCKETS: LruHashMap<SourceKey, Bucket> = LruHashMap::with_max_entries(65_536, 0);
#[map]
static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(131_072, 0);
/// Flows that have authenticated; written by user space alone.
#[map]
static MARKS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(131_072, 0);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 17, 0);

/// As early as the driver, or the kernel in its place, lets us.
#[xdp]
pub fn admit(ctx: XdpContext) -> u32 {
    // SAFETY: the context is the one the kernel called us with.
    let bytes = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    if judged(&Xdp(&ctx), bytes).drops() { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// Where an interface takes no XDP program.
#[classifier]
pub fn admit_tc(ctx: TcContext) -> i32 {
    let bytes = u64::from(ctx.len());
    (if judged(&Skb(&ctx), bytes).drops() { TC_ACT_SHOT } else { TC_ACT_OK }) as i32
}

/// Does nothing: what a program costs at the least.
#[xdp]
pub fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[inline(always)]
fn judged<B: Bytes>(bytes: &B, length: u64) -> Verdict {
    let verdict = match packet::read(bytes) {
        Some(packet) => verdict(&packet, length),
        None => Verdict::Unread,
    };
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict.slot()) {
        // SAFETY: the slot is this core's own, and the program is not interrupted by itself.
        unsafe { *counter = (*counter).wrapping_add(1) }
    }
    verdict
}

#[inline(always)]
fn verdict(packet: &Packet, length: u64) -> Verdict {
    let address = Key::new(128, packet.source.0);
    if ALLOWED.get(&address).is_some() {
        return Verdict::Allowed;
    }
    if DENIED.get(&address).is_some() {
        return Verdict::Denied;
    }
    // SAFETY: the helper takes nothing and only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the value is copied at once; that it may be replaced meanwhile only decides which ban is seen.
    if let Some(until) = unsafe { BANS.get(&SourceKey::of(packet.source)) }
        && *until > now
    {
        return Verdict::Banned;
    }
    match &packet.carried {
        Carried::Segment(segment) => flow(packet, segment, now, length),
        Carried::Other => Verdict::Foreign,
        Carried::Short => Verdict::Unread,
        Carried::Tangled => Verdict::Tangled,
    }
}

#[inline(always)]
fn flow(packet: &Packet, segment: &Segment, now: u64, length: u64) -> Verdict {
    // SAFETY: only whether there is an entry is asked.
    if unsafe { PORTS.get(&port_key(segment.protocol, segment.destination_port)) }.is_none() {
        return Verdict::Foreign;
    }
    if segment.fragmented {
        return Verdict::Fragmented;
    }
    let Some(limits) = LIMITS.get(0) else { return Verdict::Young };
    let key = FlowKey::new(
        packet.source,
        segment.source_port,
        packet.destination,
        segment.destination_port,
        segment.protocol,
    );
    if segment.opens() {
        return opened(&key, now, length, limits);
    }
    // SAFETY: only whether there is an entry is asked.
    if unsafe { MARKS.get(&key) }.is_some() {
        return Verdict::Authenticated;
    }
    if segment.ends() {
        return Verdict::Young;
    }
    let Some(known) = FLOWS.get_ptr_mut(&key) else {
        // Under way before the program came, or forgotten for younger ones: its clock starts now.
        let mut young = Flow::begun(now, length);
        young.packets = 2;
        let _full = FLOWS.insert(&key, &young, 0);
        return Verdict::Young;
    };
    // SAFETY: the map keeps the place while the program runs. Two cores may count at once and lose a packet, which the limits bear.
    let known = unsafe { &mut *known };
    let verdict = known.count(now, length, limits);
    if verdict.drops() && known.told == 0 {
        known.told = 1;
        tell(&key, verdict);
    }
    verdict
}

#[inline(always)]
fn opened(key: &FlowKey, now: u64, length: u64, limits: &Limits) -> Verdict {
    let source = SourceKey::of(key.source);
    if limits.syn_per_second != 0 {
        match BUCKETS.get_ptr_mut(&source) {
            Some(bucket) => {
                // SAFETY: the map keeps the place while the program runs; cores that race take a token too many at worst.
                if !unsafe { &mut *bucket }.take(now, limits) {
                    return Verdict::SynLimited;
                }
            }
            None => {
                let _full = BUCKETS.insert(&source, &Bucket::first(now, limits), 0);
            }
        }
    }
    // SAFETY: the value is read at once, and a race only decides which of two packets starts the clock.
    let restarts = unsafe { FLOWS.get(key) }.is_none_or(|known| known.restarts(now));
    if restarts {
        let _full = FLOWS.insert(key, &Flow::begun(now, length), 0);
    }
    Verdict::Young
}

#[inline(always)]
fn tell(flow: &FlowKey, verdict: Verdict) {
    // A full ring loses the word and not the verdict; the worker's own deadline closes the socket then.
    if let Some(mut place) = EVENTS.reserve::<Event>(0) {
        place.write(Event { flow: *flow, verdict: verdict.slot() });
        place.submit(0);
    }
}
