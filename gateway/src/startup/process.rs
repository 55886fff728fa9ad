//! Sets the process up. In: nothing. Out: what the kernel grants. Never here: configuration.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// No core dump and no debugger of another process reads our memory: it holds upstream credentials (law 6).
pub fn hide_memory() {
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps stay possible, and they would hold upstream credentials; disable them with `ulimit -c 0`");
    }
}

/// Takes the calling thread behind the workers wherever it shares a processor with one: building rules is work of milliseconds that nobody's call
/// should wait for. It stays there, as threads that build have no other work in a hurry.
pub fn yield_to_workers() {
    // Giving up priority is never refused; were it, the build would only compete.
    let _as_before = rustix::process::setpriority_process(None, BUILD_NICENESS);
}

/// How far behind: a tenth of a worker's share where both want all of a processor.
const BUILD_NICENESS: i32 = 10;

/// Takes the calling thread behind everything else that wants the processor: what it does can wait for a quiet moment.
pub fn yield_to_all() {
    let _as_before = rustix::process::setpriority_process(None, LEAST_NICENESS);
}

/// As far behind as there is: a worker beside it keeps 98 % of a processor.
const LEAST_NICENESS: i32 = 19;

/// File descriptors this process may open, after raising the limit as far as it is allowed: each connection needs one on either side.
pub fn raise_descriptor_limit() -> Option<u64> {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = rustix::process::setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files stays where it is; raise it with `ulimit -n` or `LimitNOFILE=`");
    }
    rustix::process::getrlimit(Resource::Nofile).current
}

/// The processors this process may run on, ascending.
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_at_least_one_processor_and_grants_descriptors() {
        assert!(!allowed_cpus().is_empty());
        assert!(raise_descriptor_limit().is_none_or(|limit| limit >= 64));
    }
}
