//! Promises about the end of one direction, kept against real sockets on loopback.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use portcullis_ring::{CoreConfig, Listener, run};

#[test]
fn ending_the_peers_direction_ends_a_receive_and_not_a_send_in_flight() {
    let answer = vec![b'x'; 16 << 10];
    let expected = answer.clone();
    run(&CoreConfig { cpu: None, entries: 64 }, async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let mut client = TcpStream::connect(listener.local_address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        // Both are handed over in this very turn, before the kernel has seen either.
        let sending = socket.send_all(answer);
        let receiving = socket.recv(Vec::with_capacity(64));
        socket.shutdown_read();
        assert_eq!(receiving.await.0.unwrap(), 0);
        sending.await.0.unwrap();
        socket.shutdown_write();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == expected, "got {} bytes of {}", got.len(), expected.len());
    })
    .unwrap();
}

#[test]
fn a_send_whose_end_nobody_asks_for_arrives_and_gives_its_buffer_back_when_asked() {
    run(&CoreConfig { cpu: None, entries: 64 }, async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
        let client = TcpStream::connect(listener.local_address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let sending = socket.send_all(b"answer".to_vec());
        let mut reading = client.try_clone().unwrap();
        let peer = std::thread::spawn(move || {
            let mut got = [0; 6];
            reading.read_exact(&mut got).unwrap();
            std::io::Write::write_all(&mut reading, b"next").unwrap();
            got
        });
        let (count, _) = socket.recv(Vec::with_capacity(64)).await;
        assert_eq!(count.unwrap(), 4, "the next request comes although nobody waited for the send");
        assert_eq!(peer.join().unwrap(), *b"answer");
        let (sent, buffer) = sending.await;
        sent.unwrap();
        assert_eq!(buffer, b"answer");
    })
    .unwrap();
}
