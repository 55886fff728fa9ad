//! Promises of the seam, kept against real sockets on loopback. Descriptors of the whole process are counted, so these
//! run one after the other.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use portcullis_ring::{CoreConfig, Listener, Quiet, Socket, Wheel, run, spawn};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test on a ring of its own, with a turning wheel.
fn on_a_core<F: Future<Output = ()>>(test: impl FnOnce(Rc<Wheel>) -> F) {
    let _turn = my_turn();
    on_this_core(test);
}

fn my_turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_this_core<F: Future<Output = ()>>(test: impl FnOnce(Rc<Wheel>) -> F) {
    run(&CoreConfig { cpu: None, entries: 64 }, async {
        let wheel = Wheel::new();
        spawn(wheel.clone().drive());
        test(wheel).await;
    })
    .unwrap();
}

/// A listener of ours, a client of the standard library and our end of the connection.
async fn pair() -> (Listener, TcpStream, Socket) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
    let client = TcpStream::connect(listener.local_address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (listener, client, socket)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Polls once and tells whether it is still pending.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())).await
}

/// Lets every operation that was submitted reach the kernel: a tick passes only after the loop has parked.
async fn park(wheel: &Rc<Wheel>) {
    wheel.wait(Duration::from_millis(1)).await;
}

/// Waits until `condition` holds, turn by turn; a test that waits in vain is ended by the harness's patience.
async fn until(wheel: &Rc<Wheel>, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        park(wheel).await;
    }
    let open: Vec<_> =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| std::fs::read_link(entry.unwrap().path())).collect();
    panic!("waited in vain: {open:?}");
}

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_buffer_without_room_and_an_empty_send_never_reach_the_kernel() {
    on_a_core(|_| async {
        let (_listener, _client, socket) = pair().await;
        let (result, buffer) = socket.recv(Vec::new()).await;
        assert_eq!((result.unwrap_err().kind(), buffer), (io::ErrorKind::InvalidInput, Vec::new()));
        let mut full = Vec::with_capacity(3);
        full.extend_from_slice(b"abc");
        full.shrink_to_fit();
        let (result, buffer) = socket.recv(full).await;
        assert_eq!((result.unwrap_err().kind(), buffer), (io::ErrorKind::InvalidInput, b"abc".to_vec()));
        socket.send_all(Vec::new()).await.0.unwrap();
        assert!(!socket.is_poisoned());
    });
}

#[test]
fn a_receive_appends_and_a_long_send_arrives_whole() {
    on_a_core(|_| async {
        let (_listener, mut client, socket) = pair().await;
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        let echoed = sent.clone();
        let reading = std::thread::spawn(move || {
            client.write_all(b"head").unwrap();
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        let mut buffer = Vec::with_capacity(64);
        buffer.extend_from_slice(b"> ");
        let (result, buffer) = socket.recv(buffer).await;
        assert_eq!((result.unwrap(), buffer.as_slice()), (4, &b"> head"[..]));
        let (result, buffer) = socket.send_all(sent).await;
        result.unwrap();
        assert_eq!(buffer.len(), 4_000_000);
        socket.shutdown_write();
        assert!(reading.join().unwrap() == echoed);
        let (result, _) = socket.recv(Vec::with_capacity(8)).await;
        assert_eq!(result.unwrap(), 0);
    });
}

#[test]
fn a_cancelled_and_awaited_receive_loses_nothing_in_2000_races() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        let (send, commands) = mpsc::channel::<u32>();
        let writing = std::thread::spawn(move || {
            for round in commands {
                for _ in 0..(round % 40) * 50 {
                    std::hint::spin_loop();
                }
                client.write_all(&[round.to_le_bytes()[0]]).unwrap();
            }
        });
        let (mut won, mut cancelled) = (0, 0);
        for round in 0..2000_u32 {
            let mut receive = socket.recv(Vec::with_capacity(16));
            assert!(is_pending(&mut receive).await);
            send.send(round).unwrap();
            if round % 100 == 0 {
                park(&wheel).await;
            }
            socket.cancel().await;
            let (result, buffer) = receive.await;
            let buffer = match result {
                Ok(_) => {
                    won += 1;
                    buffer
                }
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                    cancelled += 1;
                    socket.recv(buffer).await.1
                }
            };
            assert_eq!(buffer, [round.to_le_bytes()[0]], "round {round}");
        }
        assert!(won > 0 && cancelled > 0, "both must happen to prove anything: {won} won, {cancelled} cancelled");
        assert!(!socket.is_poisoned());
        drop(send);
        writing.join().unwrap();
    });
}

#[test]
fn an_operation_dropped_in_flight_poisons_and_one_that_finished_does_not() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        client.write_all(b"x").unwrap();
        let mut finished = socket.recv(Vec::with_capacity(16));
        poll_fn(|context| std::pin::Pin::new(&mut finished).poll(context)).await.0.unwrap();
        drop(finished);
        assert!(!socket.is_poisoned());

        let other = socket.clone();
        let mut receive = socket.recv(Vec::with_capacity(16));
        assert!(is_pending(&mut receive).await);
        park(&wheel).await;
        drop(receive);
        assert!(socket.is_poisoned() && other.is_poisoned());

        let (_listener, client, socket) = pair().await;
        let mut send = socket.send_all(vec![0; 64 << 20]);
        assert!(is_pending(&mut send).await);
        park(&wheel).await;
        drop(send);
        assert!(socket.is_poisoned());
        drop(client);
    });
}

#[test]
fn a_socket_dropped_with_operations_in_flight_closes_at_once() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        let before = descriptors();
        let mut receive = socket.recv(Vec::with_capacity(16));
        let mut readable = socket.readable();
        let mut gone = socket.peer_gone();
        assert!(is_pending(&mut receive).await && is_pending(&mut readable).await && is_pending(&mut gone).await);
        park(&wheel).await;
        drop((receive, readable, gone));
        drop(socket);
        until(&wheel, || descriptors() == before - 1).await;
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_socket_dropped_while_its_readiness_lives_on_ends_the_readiness_and_closes() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        let before = descriptors();
        let mut gone = socket.peer_gone();
        assert!(is_pending(&mut gone).await);
        drop(socket);
        drop(gone.await);
        until(&wheel, || descriptors() == before - 1).await;
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_socket_without_operations_closes_with_its_last_handle() {
    on_a_core(|_| async {
        let (_listener, mut client, socket) = pair().await;
        let before = descriptors();
        let clone = socket.clone();
        drop(socket);
        assert_eq!(descriptors(), before);
        drop(clone);
        assert_eq!(descriptors(), before - 1);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_dropped_accept_leaks_no_descriptor_and_loses_no_connection() {
    on_a_core(|wheel| async move {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 64).unwrap();
        let before = descriptors();
        for _ in 0..10 {
            let mut accept = listener.accept();
            assert!(is_pending(&mut accept).await);
            park(&wheel).await;
            drop(accept);
        }
        let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_address()).unwrap()).collect();
        for client in &mut clients {
            let (socket, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            socket.send_all(b"hello".to_vec()).await.0.unwrap();
            let mut got = [0; 5];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"hello");
        }
        drop(clients);
        until(&wheel, || descriptors() == before).await;

        // One that accepted between the drop of its future and the drop of its listener is closed with it.
        let mut accept = listener.accept();
        assert!(is_pending(&mut accept).await);
        park(&wheel).await;
        drop(accept);
        let mut client = TcpStream::connect(listener.local_address()).unwrap();
        park(&wheel).await;
        drop(listener);
        until(&wheel, || descriptors() == before).await;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(client.read(&mut [0; 8]), Ok(0) | Err(_)));
    });
}

#[test]
fn a_stopped_listener_ends_the_accept_in_flight_and_every_later_one() {
    on_a_core(|wheel| async move {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 4).unwrap();
        let mut accept = listener.accept();
        assert!(is_pending(&mut accept).await);
        park(&wheel).await;
        listener.stop();
        assert!(accept.await.is_err());
        assert!(listener.accept().await.is_err());
    });
}

#[test]
fn two_listeners_share_an_address_and_accepted_sockets_have_no_delay() {
    on_a_core(|_| async {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let second = Listener::bind(first.local_address(), 16).unwrap();
        second.prefer_cpu(0).unwrap();
        let _client = TcpStream::connect(first.local_address()).unwrap();
        let (mut left, mut right) = (first.accept(), second.accept());
        let (socket, _) = poll_fn(|context| match std::pin::Pin::new(&mut left).poll(context) {
            Poll::Ready(result) => Poll::Ready(result.unwrap()),
            Poll::Pending => std::pin::Pin::new(&mut right).poll(context).map(Result::unwrap),
        })
        .await;
        assert!(socket2::SockRef::from(&socket).tcp_nodelay().unwrap());
    });
}

#[test]
fn a_deadline_cuts_a_receive_that_hangs_and_spares_one_that_was_in_time() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        let deadline = wheel.cut_at(&socket, Duration::from_secs(60));
        client.write_all(b"x").unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(8)).await.0.unwrap(), 1);
        assert!(!deadline.expired());
        drop(deadline);

        let deadline = wheel.cut_at(&socket, Duration::from_millis(30));
        let (result, _) = socket.recv(Vec::with_capacity(8)).await;
        assert_eq!(result.unwrap(), 0);
        assert!(deadline.expired() && socket.is_poisoned());
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_deadline_cuts_a_send_to_a_peer_that_does_not_read() {
    on_a_core(|wheel| async move {
        let (_listener, client, socket) = pair().await;
        let deadline = wheel.cut_at(&socket, Duration::from_millis(30));
        let (result, buffer) = socket.send_all(vec![7; 64 << 20]).await;
        assert!(result.is_err() && deadline.expired());
        assert_eq!(buffer.len(), 64 << 20);
        drop(client);
    });
}

#[test]
fn a_deadline_cuts_a_connect_that_hangs() {
    on_a_core(|wheel| async move {
        // A backlog that is full: further handshakes are not answered.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let mut filling = Vec::new();
        let hanging = loop {
            let socket = Socket::new_stream(&address).unwrap();
            let deadline = wheel.cut_at(&socket, Duration::from_millis(100));
            match socket.connect(address).await {
                Ok(()) => filling.push(socket),
                Err(_) => break deadline,
            }
            assert!(filling.len() < 10, "the backlog never filled");
        };
        assert!(hanging.expired());
    });
}

#[test]
fn a_refused_connect_is_an_error_and_a_taken_one_carries_bytes() {
    on_a_core(|_| async {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = Socket::new_stream(&gone).unwrap();
        assert_eq!(socket.connect(gone).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);

        let server = TcpListener::bind("[::1]:0").unwrap();
        let address = server.local_addr().unwrap();
        let socket = Socket::new_stream(&address).unwrap();
        socket.connect(address).await.unwrap();
        assert_eq!(socket.peer_address().unwrap(), address);
        let (mut theirs, _) = server.accept().unwrap();
        theirs.write_all(b"hi").unwrap();
        let (result, buffer) = socket.recv(Vec::with_capacity(8)).await;
        assert_eq!((result.unwrap(), buffer.as_slice()), (2, &b"hi"[..]));
    });
}

#[test]
fn readiness_tells_of_bytes_without_taking_them_and_forgets_old_news() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        let mut readable = socket.readable();
        assert!(is_pending(&mut readable).await);
        park(&wheel).await;
        drop(readable);
        // The poll that was left armed fires for these bytes; they are received before anybody asks again.
        client.write_all(b"old").unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(8)).await.0.unwrap(), 3);
        park(&wheel).await;
        let mut readable = socket.readable();
        assert!(is_pending(&mut readable).await);
        park(&wheel).await;
        assert!(is_pending(&mut readable).await, "old news was taken for new");
        assert_eq!(socket.is_quiet(), Quiet::Yes);
        client.write_all(b"new").unwrap();
        readable.await.unwrap();
        assert_eq!(socket.is_quiet(), Quiet::Bytes);
        assert_eq!(socket.recv(Vec::with_capacity(8)).await.1, b"new");
        assert!(!socket.is_poisoned());
    });
}

#[test]
fn a_thousand_dropped_waits_hold_one_operation() {
    on_a_core(|wheel| async move {
        let (_listener, mut client, socket) = pair().await;
        for _ in 0..1000 {
            let mut gone = socket.peer_gone();
            assert!(is_pending(&mut gone).await);
        }
        park(&wheel).await;
        let ring = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().contains("io_uring")))
            .unwrap();
        let info = std::fs::read_to_string(ring.to_string_lossy().replace("/fd/", "/fdinfo/")).unwrap();
        let polls = info.split("PollList:").nth(1).map(|list| list.matches("op=").count());
        assert!(polls.is_none_or(|count| count <= 3), "{info}");
        client.write_all(b"x").unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(8)).await.0.unwrap(), 1);
    });
}

#[test]
fn peer_gone_tells_of_an_end_and_of_a_reset_but_not_of_bytes() {
    on_a_core(|wheel| async move {
        for reset in [None, Some(Duration::ZERO)] {
            let (_listener, mut client, socket) = pair().await;
            let mut gone = socket.peer_gone();
            client.write_all(b"bytes").unwrap();
            park(&wheel).await;
            assert!(is_pending(&mut gone).await);
            assert_eq!(socket.is_quiet(), Quiet::Bytes);
            let receive = socket.recv(Vec::with_capacity(64));
            assert_eq!(receive.await.1, b"bytes");
            let mut receive = socket.recv(Vec::with_capacity(64));
            assert!(is_pending(&mut receive).await);
            socket2::SockRef::from(&client).set_linger(reset).unwrap();
            drop(client);
            gone.await.unwrap();
            assert_eq!(receive.await.0.is_err(), reset.is_some());
            assert_eq!(socket.is_quiet(), Quiet::Gone);
        }
    });
}

#[test]
fn two_sockets_are_waited_for_at_once() {
    on_a_core(|_| async {
        let (_left_listener, mut left_client, left) = pair().await;
        let (_right_listener, mut right_client, right) = pair().await;
        let mut receive = left.recv(Vec::with_capacity(8));
        let mut gone = right.peer_gone();
        assert!(is_pending(&mut receive).await && is_pending(&mut gone).await);
        right_client.write_all(b"r").unwrap();
        left_client.write_all(b"l").unwrap();
        let first = poll_fn(|context| {
            if let Poll::Ready((result, _)) = std::pin::Pin::new(&mut receive).poll(context) {
                return Poll::Ready(result.is_ok());
            }
            std::pin::Pin::new(&mut gone).poll(context).map(|_| false)
        })
        .await;
        assert!(first, "the left socket was the one that spoke");
        drop(right_client);
        gone.await.unwrap();
    });
}

#[test]
fn a_core_that_ends_with_operations_in_flight_frees_its_descriptors() {
    let _turn = my_turn();
    let before = descriptors();
    for _ in 0..20 {
        let clients = Rc::new(Cell::new(Vec::new()));
        let kept = clients.clone();
        on_this_core(|wheel| async move {
            let (listener, client, socket) = pair().await;
            kept.set(vec![client]);
            let idle = socket.clone();
            spawn(async move {
                let (result, _) = idle.recv(Vec::with_capacity(1 << 20)).await;
                drop(result);
            });
            spawn(async move { drop(listener.accept().await) });
            let mut dropped = pin!(socket.recv(Vec::with_capacity(1 << 20)));
            assert!(is_pending(&mut dropped).await);
            park(&wheel).await;
        });
        for client in &mut clients.take() {
            client.write_all(b"late").ok();
        }
    }
    assert_eq!(descriptors(), before);
}
