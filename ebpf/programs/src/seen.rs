//! Reads packets as the kernel shows them. In: a context. Out: its bytes, whether they lie in one piece or not. Never here: what they mean.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_load_bytes};
use aya_ebpf::programs::{TcContext, XdpContext};
use portcullis_ebpf_common::packet::Bytes;

/// A packet by the kernel's own copying helpers, which read what is not in one piece too: a header split over pages would else pass unread.
pub struct Xdp<'a>(pub &'a XdpContext);

impl Bytes for Xdp<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut out = [0_u8; N];
        // SAFETY: the context is the one the kernel called us with, and `out` has the `N` bytes the helper may write.
        let done = unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, out.as_mut_ptr().cast(), N as u32) };
        (done == 0).then_some(out)
    }
}

/// The same of an skb.
pub struct Skb<'a>(pub &'a TcContext);

impl Bytes for Skb<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut out = [0_u8; N];
        // SAFETY: the context is the one the kernel called us with, and `out` has the `N` bytes the helper may write.
        let done = unsafe { bpf_skb_load_bytes(self.0.as_ptr(), offset, out.as_mut_ptr().cast(), N as u32) };
        (done == 0).then_some(out)
    }
}
