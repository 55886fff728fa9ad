//! The kernel programs. In: packets and sockets, and what user space wrote into the maps. Out: a verdict. Never here: how headers are read and
//! limits are counted, which is `common` and tested on the host.
#![no_std]
#![no_main]

mod admit;
mod seen;
mod steer;

/// The kernel lends some helpers to programs under the GPL alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The verifier admits no program that could come here; the compiler wants it all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
