//! Keeps empty buffers for reuse. In: used buffers. Out: empty ones with room. Never here: content.

use std::cell::RefCell;

/// The buffers of one core. A buffer given back is emptied; what would exceed the bound is freed.
pub struct Buffers {
    shelves: RefCell<[Shelf; SIZES.len()]>,
}

struct Shelf {
    size: usize,
    kept_max: usize,
    buffers: Vec<Vec<u8>>,
}

impl Buffers {
    /// An empty stock; the shelves are allocated here, so that giving back never allocates.
    pub fn new() -> Self {
        let shelf = |(size, kept_max)| Shelf { size, kept_max, buffers: Vec::with_capacity(kept_max) };
        Self { shelves: RefCell::new(SIZES.map(shelf)) }
    }

    /// An empty buffer with a capacity of at least `bytes_min`; allocates only where the shelf is empty.
    pub fn take(&self, bytes_min: usize) -> Vec<u8> {
        let mut shelves = self.shelves.borrow_mut();
        match shelves.iter_mut().find(|shelf| shelf.size >= bytes_min) {
            Some(shelf) => shelf.buffers.pop().unwrap_or_else(|| Vec::with_capacity(shelf.size)),
            None => Vec::with_capacity(bytes_min),
        }
    }

    /// Takes a buffer back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let capacity = buffer.capacity();
        let mut shelves = self.shelves.borrow_mut();
        // A buffer that grew beyond its shelf's double would hold memory that the bound does not count.
        let fits = |shelf: &&mut Shelf| shelf.size <= capacity && capacity / 2 < shelf.size;
        if let Some(shelf) = shelves.iter_mut().rev().find(fits)
            && shelf.buffers.len() < shelf.kept_max
        {
            shelf.buffers.push(buffer);
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes and number kept: heads and small bodies, TLS records, whole results, longer ones, the longest that come often. A buffer may be
/// twice its shelf's size, so a core keeps at most 34 MiB.
const SIZES: [(usize, usize); 6] = [
    (4 << 10, 256),
    (16 << 10 | 512, 128),
    (64 << 10 | 1024, 32),
    (128 << 10 | 1024, 16),
    (256 << 10 | 1024, 16),
    (1 << 20 | 4096, 4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_comes_again_empty() {
        let buffers = Buffers::new();
        let mut buffer = buffers.take(4096);
        buffer.extend_from_slice(b"secret");
        let place = buffer.as_ptr();
        buffers.give(buffer);
        let again = buffers.take(100);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(again.capacity() >= 4096);
    }

    #[test]
    fn every_buffer_has_the_room_that_was_asked_for() {
        let buffers = Buffers::new();
        for _ in 0..2 {
            for bytes in [0, 1, 4096, 4097, 16384, 16896, 16897, 65536, 131_072, 10_000_000] {
                let buffer = buffers.take(bytes);
                assert!(buffer.capacity() >= bytes, "{bytes}");
                buffers.give(buffer);
            }
        }
    }

    #[test]
    fn the_stock_is_bounded_in_number_and_in_bytes() {
        let buffers = Buffers::new();
        for _ in 0..1000 {
            for bytes in [0, 100, 4096, 9000, 20_000, 70_000, 140_000, 200_000, 1_000_000] {
                buffers.give(Vec::with_capacity(bytes));
            }
        }
        let shelves = buffers.shelves.borrow();
        let bytes: usize = shelves.iter().flat_map(|shelf| &shelf.buffers).map(Vec::capacity).sum();
        assert!(bytes <= 34 << 20, "{bytes}");
        assert!(
            shelves
                .iter()
                .all(|shelf| shelf.buffers.len() <= shelf.kept_max && shelf.buffers.capacity() == shelf.kept_max)
        );
    }
}
