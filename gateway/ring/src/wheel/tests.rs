//! The lists against a simple model, and the ends of waits.

use super::*;
use std::collections::BTreeMap;
use std::task::Wake;

struct Count(std::sync::atomic::AtomicU32);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A wait that is due at `tick`.
fn wait_until(wheel: &Rc<Wheel>, tick: u64) -> Wait {
    Wait { wheel: wheel.clone(), key: wheel.lists.borrow_mut().insert(tick, Duty::Wake(None)) }
}

fn is_ready(wait: &mut Wait, count: &std::sync::Arc<Count>) -> bool {
    let waker = count.clone().into();
    Pin::new(wait).poll(&mut Context::from_waker(&waker)).is_ready()
}

fn counter() -> std::sync::Arc<Count> {
    std::sync::Arc::new(Count(0.into()))
}

#[test]
fn a_wait_ends_at_its_tick_and_not_before() {
    for due in [1, 2, 1023, 1024, 1025, 2048, 5000] {
        let (wheel, count) = (Wheel::new(), counter());
        let mut wait = wait_until(&wheel, due);
        assert!(!is_ready(&mut wait, &count));
        for tick in 1..due {
            wheel.turn_to(tick);
            assert!(!is_ready(&mut wait, &count), "due {due}, tick {tick}");
        }
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 0);
        wheel.turn_to(due);
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1, "due {due}");
        assert!(is_ready(&mut wait, &count), "due {due}");
        drop(wait);
        assert!(wheel.is_empty());
    }
}

#[test]
fn a_stalled_loop_expires_all_that_was_due_and_nothing_else() {
    for stall in [1, 500, 1023, 1024, 1025, 10_000] {
        let (wheel, count) = (Wheel::new(), counter());
        wheel.turn_to(77);
        let mut waits: Vec<_> = (78..=77 + 2 * stall).step_by(7).map(|due| (due, wait_until(&wheel, due))).collect();
        wheel.turn_to(77 + stall);
        for (due, wait) in &mut waits {
            assert_eq!(is_ready(wait, &count), *due <= 77 + stall, "due {due}, stall {stall}");
        }
    }
}

#[test]
fn random_arming_moving_and_dropping_agrees_with_a_sorted_map() {
    let wheel = Wheel::new();
    let socket = Socket::new_stream(&"127.0.0.1:1".parse().unwrap()).unwrap();
    let mut armed: BTreeMap<u32, (Deadline, u64)> = BTreeMap::new();
    let (mut seed, mut tick) = (42_u64, 0_u64);
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for name in 0..20_000_u32 {
        match random(4) {
            0 | 1 => {
                let due = tick + 1 + random(3000);
                let duty = Duty::Cut(Rc::downgrade(socket.shared()));
                let key = wheel.lists.borrow_mut().insert(due, duty);
                armed.insert(name, (Deadline { wheel: wheel.clone(), key }, due));
            }
            2 => {
                let chosen =
                    armed.range(u32::try_from(random(u64::from(name) + 1)).unwrap()..).next().map(|(key, _)| *key);
                if let Some(chosen) = chosen {
                    let (deadline, due) = armed.get_mut(&chosen).unwrap();
                    let later = tick + 1 + random(3000);
                    wheel.lists.borrow_mut().postpone(deadline.key, later);
                    if *due > tick {
                        *due = later;
                    }
                }
            }
            _ => {
                tick += random(5);
                wheel.turn_to(tick);
                let dropped: Vec<u32> = armed.keys().copied().filter(|_| random(50) == 0).collect();
                for (name, (deadline, due)) in &armed {
                    assert_eq!(deadline.expired(), *due <= tick, "{name} due {due} at {tick}");
                }
                for name in dropped {
                    armed.remove(&name);
                }
            }
        }
        assert_eq!(wheel.len(), armed.len());
    }
    let slots = wheel.lists.borrow().entries.len();
    armed.clear();
    assert!(wheel.is_empty());
    // What was freed is used again.
    let again: Vec<_> = (0..slots).map(|_| wait_until(&wheel, tick + 5)).collect();
    assert_eq!(wheel.lists.borrow().entries.len(), slots);
    drop(again);
}

#[test]
fn a_deadline_that_expired_cuts_and_poisons_and_cannot_be_put_off() {
    let wheel = Wheel::new();
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let socket = Socket::from_fd(ours.into());
    let deadline = wheel.cut_at(&socket, Duration::from_secs(1));
    deadline.extend(Duration::from_secs(2));
    wheel.turn_to(1_000_000);
    assert!(deadline.expired() && socket.is_poisoned());
    deadline.extend(Duration::from_secs(1));
    assert!(deadline.expired());
    assert_eq!(socket.is_quiet(), crate::Quiet::Gone);
}

#[test]
fn a_deadline_outlives_its_socket_without_keeping_it_open() {
    let wheel = Wheel::new();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let socket = Socket::from_fd(ours.into());
    let deadline = wheel.cut_at(&socket, Duration::from_secs(1));
    drop(socket);
    assert_eq!(Socket::from_fd(theirs.into()).is_quiet(), crate::Quiet::Gone);
    wheel.turn_to(1_000_000);
    assert!(deadline.expired());
}

#[test]
fn the_clock_is_the_system_s() {
    let wheel = Wheel::new();
    let system = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(i64::try_from(system).unwrap().abs_diff(wheel.now()) < 1000);
}
