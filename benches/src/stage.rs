//! One stage of a call, to be run as often as one likes. In: work. Out: the same work, once, and what it allocates. Never here: time.

use std::hint::black_box;

/// Turns after which buffers and tables have grown to their size.
pub const WARM_TURNS: usize = 70;

/// Turns over which allocations are counted, so that what comes only now and then is seen.
const ALLOCATING_TURNS: u64 = 50;

/// What a stage says of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Warm, it allocates nothing.
    NoAllocation,
    /// It allocates: what it makes is kept, or it is off the way of a call.
    None,
}

/// One stage.
pub struct Stage {
    /// What it is called: `STAGE` or `STAGE/CASE`.
    pub name: String,
    /// What it says of the heap.
    pub promise: Promise,
    /// How much it reads or writes, where that says something.
    pub bytes: Option<u64>,
    turn: Box<dyn FnMut()>,
}

impl Stage {
    /// A stage that allocates nothing; what `work` gives is used.
    pub fn new<T>(name: &str, mut work: impl FnMut() -> T + 'static) -> Self {
        let turn = Box::new(move || {
            black_box(work());
        });
        Self { name: name.to_owned(), promise: Promise::NoAllocation, bytes: None, turn }
    }

    /// The same, of so many bytes.
    #[must_use]
    pub fn of_bytes(self, bytes: usize) -> Self {
        Self { bytes: Some(bytes as u64), ..self }
    }

    /// The same, which promises nothing of the heap.
    #[must_use]
    pub fn may_allocate(self) -> Self {
        Self { promise: Promise::None, ..self }
    }

    /// Does it once.
    pub fn once(&mut self) {
        (self.turn)();
    }

    /// Does it until it is warm.
    pub fn warm(&mut self) {
        for _ in 0..WARM_TURNS {
            self.once();
        }
    }

    /// Allocations of one turn of a warm stage; an allocation that does not come in every turn makes it a fraction.
    pub fn allocations(&mut self) -> f64 {
        let counted = allocation_counter::measure(|| (0..ALLOCATING_TURNS).for_each(|_| self.once()));
        counted.count_total as f64 / ALLOCATING_TURNS as f64
    }
}
