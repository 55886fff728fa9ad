use super::*;
use crate::{CoreConfig, run};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

/// A socket of ours and its peer.
fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Socket::from_fd(listener.accept().unwrap().0.into()), peer)
}

fn on_a_core<T>(work: impl Future<Output = T>) -> T {
    run(&CoreConfig { cpu: None, entries: 8 }, work).unwrap()
}

#[test]
fn a_socket_that_has_nothing_and_one_that_takes_nothing_do_not_block() {
    on_a_core(async {
        let (from, mut sender) = pair();
        let (to, _receiver) = pair();
        let mut pipe = Pipe::new(64 * 1024).unwrap();
        assert_eq!(pipe.fill(&from, 100).unwrap(), Moved::NotReady);
        assert_eq!(pipe.drain(&to).unwrap(), Moved::NotReady);
        sender.write_all(&[7; 10]).unwrap();
        assert_eq!(pipe.fill(&from, 0).unwrap(), Moved::NotReady, "nothing was asked for");
        // Nobody reads the other end: it fills up at some point and says so.
        let block = vec![7; 64 * 1024];
        let full = (0..10_000).any(|_| {
            sender.set_nonblocking(true).unwrap();
            let _full = sender.write(&block);
            pipe.fill(&from, 64 * 1024).unwrap();
            pipe.drain(&to).unwrap() == Moved::NotReady
        });
        assert!(full && pipe.held() > 0);
    });
}

#[test]
fn the_end_of_the_sender_and_the_absence_of_the_receiver_are_told() {
    on_a_core(async {
        let (from, mut sender) = pair();
        let (to, receiver) = pair();
        let mut pipe = Pipe::new(64 * 1024).unwrap();
        sender.write_all(b"last words").unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
        from.readable().await.unwrap();
        assert_eq!(pipe.fill(&from, 4).unwrap(), Moved::Bytes(4));
        assert_eq!(pipe.fill(&from, 100).unwrap(), Moved::Bytes(6));
        assert_eq!(pipe.fill(&from, 100).unwrap(), Moved::End);
        assert_eq!(pipe.drain(&to).unwrap(), Moved::Bytes(10));
        let (from, mut sender) = pair();
        drop(receiver);
        to.peer_gone().await.unwrap();
        // The first send after the peer closed may still be taken; its answer is a reset.
        let mut failed = false;
        for _ in 0..100 {
            sender.write_all(b"unheard").unwrap();
            from.readable().await.unwrap();
            pipe.fill(&from, 100).unwrap();
            failed |= pipe.drain(&to).is_err();
        }
        assert!(failed);
    });
}

#[test]
fn bytes_come_out_in_order_and_no_more_than_was_asked_for_goes_in() {
    on_a_core(async {
        let (from, mut sender) = pair();
        let (to, mut receiver) = pair();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let expected = bytes.clone();
        let feeding = std::thread::spawn(move || {
            sender.write_all(&bytes).unwrap();
            sender.write_all(b"next answer").unwrap();
            sender
        });
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            receiver.read_to_end(&mut got).unwrap();
            got
        });
        let mut pipe = Pipe::new(1 << 20).unwrap();
        let mut left = expected.len();
        while left > 0 || pipe.held() > 0 {
            match pipe.fill(&from, left).unwrap() {
                Moved::Bytes(count) => left -= count,
                Moved::NotReady if pipe.held() == 0 => from.readable().await.unwrap(),
                Moved::NotReady => {}
                Moved::End => panic!("the sender ended early"),
            }
            if pipe.held() > 0 && pipe.drain(&to).unwrap() == Moved::NotReady {
                to.writable().await.unwrap();
            }
        }
        drop(feeding.join().unwrap());
        // What was not asked for is still there, for the ring too, on a socket that does not wait any more.
        let (count, rest) = from.recv(Vec::with_capacity(100)).await;
        assert_eq!((count.unwrap(), &rest[..]), (11, &b"next answer"[..]));
        let (sent, _) = to.send_all(b"end".to_vec()).await;
        sent.unwrap();
        drop(to);
        let got = reading.join().unwrap();
        assert!(got.len() == expected.len() + 3 && got.starts_with(&expected));
    });
}
