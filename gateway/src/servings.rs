//! Keeps what a connection needs only while something happens on it. In: how serving begins. Out: places in which it runs. Never here: what
//! serving means.
//!
//! The state of a request under way is ten times that of a connection that waits. So a connection's own task holds the waiting alone,
//! and borrows a place for the rest; places are kept, so that a connection that wakes up allocates none.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;

/// Places kept while unused; with more connections waking up at once than this, the others allocate theirs.
const SPARE_MAX: usize = 256;

/// Where a connection is served: empty, or the future that serves it.
pub type Serving<F> = Pin<Box<Option<F>>>;

/// The places of one core.
pub struct Servings<M, F> {
    begin: M,
    spare: RefCell<Vec<Serving<F>>>,
}

impl<M, F: Future> Servings<M, F> {
    /// No places yet. `begin` makes the future that serves a connection from when it wakes up until it waits again.
    pub fn new<T>(begin: M) -> Self
    where
        M: Fn(T) -> F,
    {
        Self { begin, spare: RefCell::new(Vec::with_capacity(SPARE_MAX)) }
    }

    /// Serves in a place of its own.
    pub async fn serve<T>(&self, what: T) -> Option<F::Output>
    where
        M: Fn(T) -> F,
    {
        let mut place = self.spare.borrow_mut().pop().unwrap_or_else(|| Box::pin(None));
        place.set(Some((self.begin)(what)));
        let served = place.as_mut().as_pin_mut()?.await;
        place.set(None);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(place);
        }
        Some(served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_place_is_used_again_and_what_was_in_it_is_gone() {
        let alive = Rc::new(());
        let begun = Rc::new(Cell::new(0));
        let (held, count) = (alive.clone(), begun.clone());
        let servings = Servings::new(move |answer: u8| {
            count.set(count.get() + 1);
            let held = held.clone();
            async move {
                let _held = held;
                answer
            }
        });
        let mut context = Context::from_waker(Waker::noop());
        for answer in 1..=3 {
            let mut serving = std::pin::pin!(servings.serve(answer));
            assert_eq!(serving.as_mut().poll(&mut context), Poll::Ready(Some(answer)));
            assert_eq!((servings.spare.borrow().len(), begun.get()), (1, answer));
        }
        // The closure's own, and the test's: none is left behind in a place.
        assert_eq!(Rc::strong_count(&alive), 2);
    }

    #[test]
    fn the_places_kept_are_bounded() {
        let servings = Servings::new(|wait: Rc<Cell<bool>>| {
            std::future::poll_fn(move |_| match wait.get() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
        });
        let wait = Rc::new(Cell::new(true));
        let mut context = Context::from_waker(Waker::noop());
        let mut all: Vec<_> = (0..SPARE_MAX + 10).map(|_| Box::pin(servings.serve(wait.clone()))).collect();
        assert!(all.iter_mut().all(|serving| serving.as_mut().poll(&mut context).is_pending()));
        wait.set(false);
        assert!(all.iter_mut().all(|serving| serving.as_mut().poll(&mut context).is_ready()));
        assert_eq!(servings.spare.borrow().len(), SPARE_MAX);
    }
}
