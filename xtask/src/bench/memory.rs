//! Reads what is held in memory. In: a pid. Out: user-space memory of it and its children; what the kernel holds for sockets. Never here: CPU time.

use std::fs;

use anyhow::{Context, Result};

use super::cpu;
use crate::process;

/// Memory of processes in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// In KiB.
    pub kib: u64,
    /// `pss`: pages shared between its processes count once. `rss` where the kernel does not say: they count in each.
    pub read_from: &'static str,
}

/// Memory of the kernel, of the whole machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Buffers of TCP sockets, in bytes (`/proc/net/sockstat`).
    pub socket_bytes: u64,
    /// Slab, in bytes (`/proc/meminfo`): sockets themselves, descriptors, entries of epoll and io_uring.
    pub slab_bytes: u64,
}

/// User-space memory of `root` and its descendants.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn user(root: u32) -> Result<User> {
    let family = cpu::family(root)?;
    let of = |file: &str, field: &str| -> Option<u64> {
        let read = |pid: &u32| kib(&fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?, field);
        // A child that has ended since it was listed holds nothing.
        family.iter().map(|pid| read(pid).or((*pid != root).then_some(0))).sum()
    };
    let pss = of("smaps_rollup", "Pss:").filter(|kib| *kib > 0).map(|kib| User { kib, read_from: "pss" });
    let rss = || of("status", "VmRSS:").map(|kib| User { kib, read_from: "rss" });
    pss.or_else(rss).with_context(|| format!("the memory of process {root} cannot be read"))
}

/// What the kernel holds now.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn kernel() -> Result<Kernel> {
    let sockets = fs::read_to_string("/proc/net/sockstat").context("`/proc/net/sockstat` cannot be read")?;
    let memory = fs::read_to_string("/proc/meminfo").context("`/proc/meminfo` cannot be read")?;
    let page: u64 =
        process::first_line("getconf", &["PAGESIZE"])?.parse().context("`getconf` knows no size of pages")?;
    Ok(Kernel {
        socket_bytes: socket_pages(&sockets).context("`sockstat` is not as proc(5) says")? * page,
        slab_bytes: kib(&memory, "Slab:").context("`meminfo` is not as proc(5) says")? * 1024,
    })
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 3`, the last in pages.
fn socket_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split_whitespace().next()?.parse().ok()
}

/// The number behind a field such as `VmRSS:  123 kB`.
fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What each of `count` costs when a size grows from `before` to `with`; one that shrank costs less than nothing.
pub fn each(before: u64, with: u64, count: u64) -> f64 {
    (with as f64 - before as f64) / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_names() {
        assert_eq!(kib("VmPeak:  900 kB\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
        assert_eq!(kib("VmPeak:  900 kB\n", "VmRSS:"), None);
        assert_eq!(
            socket_pages("sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 6 mem 31\nUDP: inuse 2 mem 7\n"),
            Some(31)
        );
        assert_eq!(socket_pages("UDP: inuse 2 mem 7\n"), None);
    }

    #[test]
    fn memory_is_shared_out_and_may_shrink() {
        let rows = [((1000, 5000, 4), 1000.0), ((5000, 1000, 4), -1000.0), ((0, 10, 0), 10.0)];
        for ((before, with, count), expected) in rows {
            assert!((each(before, with, count) - expected).abs() < 1e-9, "{before} to {with} by {count}");
        }
    }

    #[test]
    fn we_hold_something_ourselves() {
        assert!(user(std::process::id()).unwrap().kib > 0);
        assert!(kernel().unwrap().slab_bytes > 0);
    }
}
