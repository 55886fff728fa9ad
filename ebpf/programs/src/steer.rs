//! Steers connections to workers. In: a connection or datagram, and the core it came in on. Out: a listener, or another core.

use crate::seen::Xdp;
use aya_ebpf::bindings::{sk_action, xdp_action};
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::{map, sk_reuseport, xdp};
use aya_ebpf::maps::{Array, CpuMap, ReusePortSockArray};
use aya_ebpf::programs::{SkReuseportContext, XdpContext};
use portcullis_ebpf_common::WORKERS_MAX;
use portcullis_ebpf_common::packet::{self, Carried};

/// How many workers there are: of QUIC, and of cores to spread over.
#[map]
static WORKERS: Array<u32> = Array::with_max_entries(1, 0);
/// TCP listeners by the core of their worker.
#[map]
static LISTENERS: ReusePortSockArray = ReusePortSockArray::with_max_entries(WORKERS_MAX, 0);
/// UDP sockets by worker.
#[map]
static DATAGRAMS: ReusePortSockArray = ReusePortSockArray::with_max_entries(WORKERS_MAX, 0);
#[map]
static CORES: CpuMap = CpuMap::with_max_entries(WORKERS_MAX, 0);

/// A connection lands on the worker of the core that received its SYN; where that has none, the kernel's own hash chooses.
#[sk_reuseport]
pub fn steer_tcp(ctx: SkReuseportContext) -> u32 {
    // SAFETY: the helper takes nothing.
    let core = unsafe { bpf_get_smp_processor_id() };
    let _none = LISTENERS.select_reuseport(&ctx, core);
    sk_action::SK_PASS
}

/// A datagram lands on the worker whose number its connection id's first byte names (RFC 8999 §5.1, §5.2), whatever address it comes from.
#[sk_reuseport]
pub fn steer_quic(ctx: SkReuseportContext) -> u32 {
    let workers = workers();
    if workers == 0 {
        return sk_action::SK_PASS;
    }
    let (start, end) = (ctx.data(), ctx.data_end());
    // The data begins with the UDP header of 8 bytes.
    let Some(first) = byte(start, end, 8) else { return sk_action::SK_PASS };
    // A long header has a version of four bytes and the id's length before the id, a short one nothing.
    let id = if first & 0x80 != 0 { byte(start, end, 14) } else { byte(start, end, 9) };
    if let Some(id) = id {
        let _none = DATAGRAMS.select_reuseport(&ctx, u32::from(id) % workers);
    }
    sk_action::SK_PASS
}

/// Spreads flows over the cores where a single queue brings them all to one.
#[xdp]
pub fn spread(ctx: XdpContext) -> u32 {
    let workers = workers();
    if workers == 0 {
        return xdp_action::XDP_PASS;
    }
    let Some(read) = packet::read(&Xdp(&ctx)) else { return xdp_action::XDP_PASS };
    let Carried::Segment(segment) = read.carried else { return xdp_action::XDP_PASS };
    let mut hash = u32::from(segment.source_port) << 16 | u32::from(segment.destination_port);
    for byte in read.source.0 {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash ^= hash >> 15;
    hash = hash.wrapping_mul(0x2c1b_3c6d);
    hash ^= hash >> 12;
    CORES.redirect(hash % workers, 0).unwrap_or(xdp_action::XDP_PASS)
}

#[inline(always)]
fn workers() -> u32 {
    WORKERS.get(0).copied().unwrap_or(0)
}

#[inline(always)]
fn byte(start: usize, end: usize, offset: usize) -> Option<u8> {
    if start + offset + 1 > end {
        return None;
    }
    // SAFETY: the byte lies before the end of the packet, as was just compared.
    Some(unsafe { *((start + offset) as *const u8) })
}
