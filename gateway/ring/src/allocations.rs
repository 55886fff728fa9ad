//! Counts heap allocations of the cores. In: every allocation of the process. Out: how many each core made, and where. Never here: the product,
//! which is never built with the feature `count-allocations`.
//!
//! It lives here because an allocator is `unsafe` and this crate holds the only `unsafe` of user space.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator, counted.
pub struct Counting;

/// What a core is doing while it allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Whatever is not named below.
    Path,
    /// Evaluating policy.
    Policy,
    /// Copying one call in a thousand for whoever judges it a second time; no answer waits for what comes of it.
    Unattended,
}

/// Returns to the section before when dropped.
#[must_use = "a section that is dropped has ended"]
pub struct Within(Section);

/// From here on this thread is core `number`; what it allocated before is not counted.
pub fn claim(number: u16) {
    PLACE.set(Some(usize::from(number)));
}

/// Enters a section.
pub fn enter(section: Section) -> Within {
    Within(SECTION.replace(section))
}

/// What core `number` has allocated in `section`: allocations and growths.
pub fn count(number: u16, section: Section) -> u64 {
    let counts = COUNTS.get(usize::from(number)).and_then(|counts| counts.get(section as usize));
    counts.map_or(0, |count| count.load(Ordering::Relaxed))
}

/// From here on the first [`NAMED_MAX`] allocations on [`Section::Path`] are written to standard error with the way that led to them.
pub fn name_from_here_on() {
    NAMED.store(0, Ordering::Relaxed);
    NAMING.store(true, Ordering::Release);
}

impl Drop for Within {
    fn drop(&mut self) {
        SECTION.set(self.0);
    }
}

// SAFETY: every call is handed to the system's allocator as it came, so its promises are ours; counting neither unwinds nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as above; `place` came from the system's allocator, as all memory here does.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

fn note(bytes: usize) {
    let Some(place) = PLACE.get() else { return };
    let section = SECTION.get();
    if let Some(count) = COUNTS.get(place).and_then(|counts| counts.get(section as usize)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    if section == Section::Path && NAMING.load(Ordering::Acquire) && NAMED.fetch_add(1, Ordering::Relaxed) < NAMED_MAX {
        // What naming itself allocates is not counted.
        PLACE.set(None);
        eprintln!("worker-{place} allocates {bytes} bytes:\n{}", Backtrace::force_capture());
        PLACE.set(Some(place));
    }
}

thread_local! {
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
    static SECTION: Cell<Section> = const { Cell::new(Section::Path) };
}

static COUNTS: [[AtomicU64; 3]; CORES_MAX] = [const { [const { AtomicU64::new(0) }; 3] }; CORES_MAX];
static NAMING: AtomicBool = AtomicBool::new(false);
static NAMED: AtomicU64 = AtomicU64::new(0);

/// Cores that are counted; the proof runs one.
const CORES_MAX: usize = 64;

/// Allocations that are named: a path that allocates does so the same few ways again and again.
pub const NAMED_MAX: u64 = 24;
