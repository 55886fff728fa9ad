//! Reads what a process costs. In: a pid. Out: CPU time of every thread of it and its children, and their resident memory.
//!
//! The scheduler's own count (`schedstat`, nanoseconds) is what is reported. It forgets threads that have ended, so the process's
//! total (`stat`, ticks) is read beside it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};

/// Linux shows times in `stat` in hundredths on every architecture (USER_HZ).
const TICK_NS: u64 = 10_000_000;

/// One thread, named by process and thread id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thread {
    pid: u32,
    tid: u32,
}

/// CPU time used so far by a process and its descendants.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    threads: BTreeMap<Thread, (String, u64)>,
    ticks_ns: u64,
}

/// CPU time used between two readings, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By every thread.
    pub total_ns: u64,
    /// By the threads on the path of the request.
    pub path_ns: u64,
    /// By the processes as wholes; larger than `total_ns` beyond a tick or two where threads ended meanwhile.
    pub ticks_ns: u64,
}

impl Usage {
    /// What `root` and its descendants have used.
    ///
    /// # Errors
    /// When `root` is gone.
    pub fn of(root: u32) -> Result<Self> {
        let mut usage = Self::default();
        for pid in family(root)? {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let read = |file: &str| fs::read_to_string(task.path().join(file));
                // A thread may end between the listing and the reading.
                let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else { continue };
                let ns = times
                    .split_whitespace()
                    .next()
                    .and_then(|first| first.parse().ok())
                    .context("`schedstat` is empty")?;
                usage.threads.insert(Thread { pid, tid }, (name.trim().to_owned(), ns));
            }
            if let Ok(stat) = Stat::of(pid) {
                usage.ticks_ns += stat.ticks * TICK_NS;
            }
        }
        usage.threads.first_key_value().with_context(|| format!("process {root} is gone"))?;
        Ok(usage)
    }

    /// What was used since `earlier`. `on_path` is asked with the pid and the name of each thread.
    pub fn since(&self, earlier: &Self, on_path: impl Fn(u32, &str) -> bool) -> Spent {
        let mut spent = Spent { ticks_ns: self.ticks_ns.saturating_sub(earlier.ticks_ns), ..Spent::default() };
        for (thread, (name, now)) in &self.threads {
            let before = earlier.threads.get(thread).map_or(0, |(_, before)| *before);
            let used = now.saturating_sub(before);
            spent.total_ns += used;
            if on_path(thread.pid, name) {
                spent.path_ns += used;
            }
        }
        spent
    }
}

impl Spent {
    /// Whether threads that ended took time with them that `total_ns` does not show.
    pub fn lost_threads(&self) -> bool {
        self.ticks_ns > self.total_ns + self.total_ns / 20 + 4 * TICK_NS
    }
}

/// Resident memory of `root` and its descendants, in KiB.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn resident_kib(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in family(root)? {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        sum +=
            line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Threads of `root` and its descendants that may leave `cpus`, a list as the kernel writes it; a proxy that chooses its cores itself could. The kernel's own
/// io_uring workers are left out: the kernel places them.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn strays(root: u32, cpus: &str) -> Result<Vec<String>> {
    let mut strays = Vec::new();
    for pid in family(root)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            let (name, allowed) = (field("Name:"), field("Cpus_allowed_list:"));
            let within = cpus == allowed || cpus.split('-').any(|end| end == allowed);
            if !allowed.is_empty() && !within && !name.starts_with("iou-wrk") {
                strays.push(format!("`{name}` on cpus {allowed}"));
            }
        }
    }
    Ok(strays)
}

/// `root` and every process below it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn family(root: u32) -> Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("`/proc` cannot be read")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Ok(stat) = Stat::of(pid) {
            parents.insert(pid, stat.parent);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat"))?).context("`stat` is not as proc(5) says")
    }

    /// The name in parentheses may hold anything, so fields count from the last closing one: state, parent, … utime and stime 11 later.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 100 0 0 0 21 34 0 0 20 0 1 0 5 1 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 3, ticks: 55 }));
        assert_eq!(Stat::parse("7 (cut off) S 3"), None);
    }

    #[test]
    fn only_time_since_the_earlier_reading_counts_and_new_threads_count_whole() {
        let usage = |rows: &[(u32, &str, u64)]| Usage {
            threads: rows
                .iter()
                .map(|(tid, name, ns)| (Thread { pid: 1, tid: *tid }, ((*name).to_owned(), *ns)))
                .collect(),
            ticks_ns: 0,
        };
        let before = usage(&[(1, "main", 100), (2, "worker-0", 1000)]);
        let after = usage(&[(1, "main", 150), (2, "worker-0", 4000), (3, "iou-wrk-2", 7)]);
        let spent = after.since(&before, |_, name| name.starts_with("worker-"));
        assert_eq!(spent, Spent { total_ns: 3057, path_ns: 3000, ticks_ns: 0 });
    }

    #[test]
    fn our_own_time_is_seen_to_grow() {
        let before = Usage::of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        let after = loop {
            sum = (0..100_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
            let after = Usage::of(std::process::id()).unwrap();
            if after.since(&before, |_, _| true).total_ns > 0 {
                break after;
            }
        };
        assert!(after.since(&before, |_, _| false).path_ns == 0, "nothing is on a path that nobody is on; {sum}");
        assert!(resident_kib(std::process::id()).unwrap() > 0);
    }
}
