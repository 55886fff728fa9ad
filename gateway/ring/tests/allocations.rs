//! The seam allocates nothing for a request once a connection is warm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use portcullis_ring::spare::Buffers;
use portcullis_ring::{CoreConfig, Listener, Wheel, run, spawn};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came; the counter neither allocates nor has a drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_connection_receives_sends_waits_and_sets_deadlines_without_allocating() {
    let rounds = 400;
    let counted = run(&CoreConfig { cpu: None, entries: 64 }, async {
        let wheel = Wheel::new();
        spawn(wheel.clone().drive());
        let buffers = Buffers::new();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let address = listener.local_address();
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut answer = [0; 5];
            for _ in 0..rounds {
                stream.write_all(b"hello").unwrap();
                stream.read_exact(&mut answer).unwrap();
            }
        });
        let (socket, _) = listener.accept().await.unwrap();
        let mut at_half = 0;
        for round in 0..rounds {
            if round == rounds / 2 {
                at_half = COUNT.get();
            }
            let deadline = wheel.cut_at(&socket, Duration::from_secs(30));
            socket.readable().await.unwrap();
            let gone = socket.peer_gone();
            let (result, buffer) = socket.recv(buffers.take(4096)).await;
            assert_eq!(result.unwrap(), 5);
            deadline.extend(Duration::from_secs(60));
            drop((gone, deadline));
            if round % 50 == 0 {
                wheel.wait(Duration::from_millis(1)).await;
            }
            let (result, buffer) = socket.send_all(buffer).await;
            result.unwrap();
            buffers.give(buffer);
        }
        let counted = COUNT.get() - at_half;
        client.join().unwrap();
        counted
    });
    assert_eq!(counted.unwrap(), 0);
}
