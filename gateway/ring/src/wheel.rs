//! Keeps the deadlines and the clock of one core. In: durations, ticks. Out: sockets shut down, tasks woken, the time.
//! Never here: what a deadline means.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::socket::{Shared, Socket};

/// How coarse deadlines are: one ends up to this much late, never early.
pub const TICK: Duration = Duration::from_millis(TICK_MILLIS);

/// The deadlines of one core. Arming, moving and disarming cost a few list links and allocate nothing once as many
/// have been armed together before.
pub struct Wheel {
    lists: RefCell<Lists>,
    now: Cell<i64>,
    /// The coarse monotonic clock at the start, in milliseconds.
    epoch: i64,
}

impl Wheel {
    /// A wheel at the present time; it turns once [`Wheel::drive`] runs.
    pub fn new() -> Rc<Self> {
        let wheel =
            Self { lists: RefCell::new(Lists::new()), now: Cell::new(0), epoch: clock(libc::CLOCK_MONOTONIC_COARSE) };
        wheel.refresh();
        Rc::new(wheel)
    }

    /// Turns the wheel and refreshes the clock, for ever: the first task of a core.
    pub async fn drive(self: Rc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.refresh();
            self.turn_to(self.elapsed_millis() / TICK_MILLIS);
        }
    }

    /// Milliseconds since the Unix epoch, as of the last tick.
    pub fn now(&self) -> i64 {
        self.now.get()
    }

    /// Reads the clock anew, as precisely as the kernel's own tick (1–4 ms); for work that ran longer than a tick.
    pub fn refresh(&self) {
        self.now.set(clock(libc::CLOCK_REALTIME_COARSE));
    }

    /// Shuts `socket` down after `after`, unless the deadline is dropped before: the operation in flight then finishes,
    /// and [`Deadline::expired`] tells why.
    pub fn cut_at(self: &Rc<Self>, socket: &Socket, after: Duration) -> Deadline {
        let duty = Duty::Cut(Rc::downgrade(socket.shared()));
        let key = self.lists.borrow_mut().insert(self.due(after), duty);
        Deadline { wheel: self.clone(), key }
    }

    /// Resolves after `after`.
    pub fn wait(self: &Rc<Self>, after: Duration) -> Wait {
        let key = self.lists.borrow_mut().insert(self.due(after), Duty::Wake(None));
        Wait { wheel: self.clone(), key }
    }

    /// How many deadlines and waits are armed or expired and not yet dropped.
    pub fn len(&self) -> usize {
        self.lists.borrow().used
    }

    /// True when nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(clock(libc::CLOCK_MONOTONIC_COARSE).saturating_sub(self.epoch)).unwrap_or(0)
    }

    /// The first tick that begins after `after` from now.
    fn due(&self, after: Duration) -> u64 {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_millis().saturating_add(after) / TICK_MILLIS + 1
    }

    fn turn_to(&self, tick: u64) {
        self.lists.borrow_mut().expire(tick);
        // One at a time and without holding the lists: waking or cutting may disarm others.
        loop {
            let Some(duty) = self.lists.borrow_mut().next_expired() else { return };
            match duty {
                Duty::Cut(socket) => {
                    if let Some(socket) = socket.upgrade() {
                        socket.poison();
                        socket.shutdown();
                    }
                }
                Duty::Wake(Some(waker)) => waker.wake(),
                Duty::Wake(None) | Duty::Expired | Duty::Free => {}
            }
        }
    }
}

/// A deadline that shuts a socket down. Dropping it disarms it.
#[must_use = "a deadline that is dropped is disarmed"]
pub struct Deadline {
    wheel: Rc<Wheel>,
    key: u32,
}

impl Deadline {
    /// True once the socket was shut down for it.
    pub fn expired(&self) -> bool {
        self.wheel.lists.borrow().is_expired(self.key)
    }

    /// A wait of the same wheel, for what is to take time without an end of the socket.
    pub fn wait(&self, after: Duration) -> Wait {
        self.wheel.wait(after)
    }

    /// Puts it off to `after` from now; one that has expired stays so.
    pub fn extend(&self, after: Duration) {
        let due = self.wheel.due(after);
        self.wheel.lists.borrow_mut().postpone(self.key, due);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let duty = self.wheel.lists.borrow_mut().remove(self.key);
        drop(duty);
    }
}

/// A wait for time to pass. Dropping it disarms it.
#[must_use = "nothing is waited for unless it is polled"]
pub struct Wait {
    wheel: Rc<Wheel>,
    key: u32,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let replaced = match self.wheel.lists.borrow_mut().duty(self.key) {
            Some(Duty::Wake(Some(waker))) if waker.will_wake(context.waker()) => return Poll::Pending,
            Some(Duty::Wake(waker)) => waker.replace(context.waker().clone()),
            Some(Duty::Expired | Duty::Cut(_) | Duty::Free) | None => return Poll::Ready(()),
        };
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // Taken out first: dropping a waker must not find the lists held.
        let duty = self.wheel.lists.borrow_mut().remove(self.key);
        drop(duty);
    }
}

/// What happens when an entry is due.
enum Duty {
    Cut(Weak<Shared>),
    Wake(Option<Waker>),
    /// It was due; its owner still holds it.
    Expired,
    Free,
}

struct Entry {
    duty: Duty,
    due: u64,
    /// The list it is linked into, or `NONE`.
    list: u32,
    previous: u32,
    next: u32,
}

/// Entries in a slab, linked into one list for each tick of a turn, one of the expired and one of the free.
struct Lists {
    entries: Vec<Entry>,
    heads: Vec<u32>,
    free: u32,
    used: usize,
    tick: u64,
}

impl Lists {
    fn new() -> Self {
        Self { entries: Vec::new(), heads: vec![NONE; EXPIRED as usize + 1], free: NONE, used: 0, tick: 0 }
    }

    fn insert(&mut self, due: u64, duty: Duty) -> u32 {
        self.used += 1;
        let entry = Entry { duty, due, list: NONE, previous: NONE, next: NONE };
        let key = self.free;
        let key = if let Some(free) = self.entries.get_mut(key as usize) {
            self.free = free.next;
            *free = entry;
            key
        } else {
            let key = u32::try_from(self.entries.len()).unwrap_or(NONE);
            self.entries.push(entry);
            key
        };
        self.link(key, self.list_of(due));
        key
    }

    fn remove(&mut self, key: u32) -> Duty {
        self.unlink(key);
        let free = self.free;
        let Some(entry) = self.entries.get_mut(key as usize) else { return Duty::Free };
        entry.next = free;
        let duty = std::mem::replace(&mut entry.duty, Duty::Free);
        self.free = key;
        self.used -= 1;
        duty
    }

    fn postpone(&mut self, key: u32, due: u64) {
        let list = self.list_of(due);
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        if entry.list >= EXPIRED {
            return;
        }
        entry.due = due;
        if entry.list != list {
            self.unlink(key);
            self.link(key, list);
        }
    }

    fn duty(&mut self, key: u32) -> Option<&mut Duty> {
        self.entries.get_mut(key as usize).map(|entry| &mut entry.duty)
    }

    fn is_expired(&self, key: u32) -> bool {
        self.entries.get(key as usize).is_some_and(|entry| matches!(entry.duty, Duty::Expired))
    }

    /// Moves what is due by `tick` to the list of the expired.
    fn expire(&mut self, tick: u64) {
        // After a stall of more than a turn every list is due once, not once for every turn.
        let first = (self.tick + 1).max((tick + 1).saturating_sub(u64::from(EXPIRED)));
        for passed in first..=tick {
            let mut key = self.head(self.list_of(passed));
            while let Some(entry) = self.entries.get(key as usize) {
                let (next, due) = (entry.next, entry.due);
                if due <= tick {
                    self.unlink(key);
                    self.link(key, EXPIRED);
                }
                key = next;
            }
        }
        self.tick = self.tick.max(tick);
    }

    fn next_expired(&mut self) -> Option<Duty> {
        let key = self.head(EXPIRED);
        self.unlink(key);
        self.entries.get_mut(key as usize).map(|entry| std::mem::replace(&mut entry.duty, Duty::Expired))
    }

    /// The list of a tick. What is due already waits for the next tick.
    fn list_of(&self, due: u64) -> u32 {
        u32::try_from(due.max(self.tick + 1) % u64::from(EXPIRED)).unwrap_or(0)
    }

    fn head(&self, list: u32) -> u32 {
        self.heads.get(list as usize).copied().unwrap_or(NONE)
    }

    fn link(&mut self, key: u32, list: u32) {
        let next = self.head(list);
        if let Some(neighbour) = self.entries.get_mut(next as usize) {
            neighbour.previous = key;
        }
        if let Some(entry) = self.entries.get_mut(key as usize) {
            (entry.list, entry.previous, entry.next) = (list, NONE, next);
        }
        if let Some(head) = self.heads.get_mut(list as usize) {
            *head = key;
        }
    }

    fn unlink(&mut self, key: u32) {
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        let (list, previous, next) = (entry.list, entry.previous, entry.next);
        (entry.list, entry.previous, entry.next) = (NONE, NONE, NONE);
        if list == NONE {
            return;
        }
        if let Some(neighbour) = self.entries.get_mut(next as usize) {
            neighbour.previous = previous;
        }
        if let Some(neighbour) = self.entries.get_mut(previous as usize) {
            neighbour.next = next;
        } else if let Some(head) = self.heads.get_mut(list as usize) {
            *head = next;
        }
    }
}

/// A kernel clock in milliseconds; the coarse ones are read without a system call in a few nanoseconds.
fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec. An unknown clock leaves it as it is, and both that are asked for
    // exist since Linux 2.6.32.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    #[cfg(feature = "memory")]
    if let Some(millis) = crate::memory::clock() {
        return millis;
    }
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

const TICK_MILLIS: u64 = 20;
/// Lists of one turn, 20 s: longer than most deadlines, so an entry is passed over seldom. Its number names the list of
/// the expired.
const EXPIRED: u32 = 1024;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests;
