//! Runs one core. In: the core's number and a future. Out: the future's output. Never here: sockets.

use std::cell::Cell;
use std::future::Future;
use std::io;

/// How one core runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreConfig {
    /// The processor the thread is pinned to, counted from 0; absent leaves the thread to the scheduler.
    pub cpu: Option<usize>,
    /// Entries of the submission queue; the kernel rounds up to a power of two. 1024 is right for a worker.
    pub entries: u32,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self { cpu: None, entries: ENTRIES_DEFAULT }
    }
}

/// A task of this core; dropping it lets the task run on.
pub type Task = tokio::task::JoinHandle<()>;

/// Pins the calling thread and runs `future` on a ring of its own until it ends; what it spawned and left is dropped.
///
/// The ring is made with cooperative task running, which alone saves a quarter of the CPU of a proxied request, and a
/// single issuer. Deferred task running hangs under this engine's way of parking, so it is never asked for.
///
/// # Errors
/// The processor does not exist, or the kernel refuses the ring; [`probe`](crate::probe) tells why and what to do.
pub fn run<F: Future>(config: &CoreConfig, future: F) -> io::Result<F::Output> {
    if let Some(cpu) = config.cpu {
        pin(cpu)?;
    }
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(config.entries.saturating_mul(4).max(COMPLETIONS_MIN)).setup_coop_taskrun().setup_single_issuer();
    let mut builder = tokio_uring::builder();
    builder.entries(config.entries).uring_builder(&ring);
    // Dropped in reverse, on a panic of the future too: the phase turns to closing, the ring ends, nothing runs.
    let _afterwards = Enter(Phase::Outside);
    let runtime = tokio_uring::Runtime::new(&builder)?;
    let _teardown = Enter(Phase::Closing);
    PHASE.set(Phase::Running);
    Ok(runtime.block_on(future))
}

/// Starts a task on this core.
///
/// # Panics
/// Outside [`run`].
pub fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Task {
    tokio_uring::spawn(future)
}

/// True while operations can be submitted from this thread.
pub(crate) fn is_running() -> bool {
    PHASE.get() == Phase::Running
}

/// True while the ring of this thread is being torn down.
///
/// The engine then frees what abandoned operations hold *before* it cancels them, while the kernel may still write
/// there; so whatever the kernel may reach is leaked instead in this phase. It is bounded by the operations in flight at
/// the end of a core, which is the end of the process.
pub(crate) fn is_closing() -> bool {
    PHASE.get() == Phase::Closing
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Outside,
    Running,
    Closing,
}

thread_local! {
    static PHASE: Cell<Phase> = const { Cell::new(Phase::Outside) };
}

/// Enters a phase when dropped.
struct Enter(Phase);

impl Drop for Enter {
    fn drop(&mut self) {
        PHASE.set(self.0);
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no processor {cpu}")));
    }
    // SAFETY: `cpu_set_t` is an array of integers, for which all zeroes are a valid value (the empty set).
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below CPU_SETSIZE, so the bit lies inside `set`, which we hold exclusively.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: thread 0 is the calling thread; `set` is initialised, lives across the call and its true size is given.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const ENTRIES_DEFAULT: u32 = 1024;
/// Four completions for each submission of a default core: accepts, receives and polls finish in bursts.
const COMPLETIONS_MIN: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_does_not_exist_is_refused() {
        for cpu in [1023, 1024, usize::MAX] {
            let result = run(&CoreConfig { cpu: Some(cpu), ..CoreConfig::default() }, async {});
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "cpu {cpu}");
        }
    }

    #[test]
    fn a_core_runs_its_future_and_what_it_spawned() {
        let sum = run(&CoreConfig { cpu: Some(0), entries: 8 }, async {
            assert!(is_running());
            let (sender, receiver) = tokio::sync::oneshot::channel();
            drop(spawn(async move { sender.send(7).unwrap() }));
            receiver.await.unwrap() + 1
        });
        assert_eq!(sum.unwrap(), 8);
        assert!(!is_running() && !is_closing());
    }
}
