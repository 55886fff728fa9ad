//! The TLS handshake: half a one costs its deadline and nobody else's, and what is no handshake is shown the door.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use portcullis_tests::client::Client;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::setup::{Setup, Tls};
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::Request;
use serde_json::json;

fn on_tls(upstream: &Upstream) -> Gateway {
    Setup::open(upstream).timeouts("head = \"500ms\"").tls(Tls::Optional).start()
}

fn call(gateway: &Gateway) -> Request {
    gateway.call("reader", "loose", json!({}))
}

fn serves(gateway: &Gateway, address: SocketAddr) -> bool {
    Client::connect(address, gateway.identity(None).as_ref()).exchange(&call(gateway)).is_result()
}

/// Passes bytes on one at a time toward `to`, whole on the way back.
fn dribbler(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(to).unwrap();
        far.set_nodelay(true).unwrap();
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let mut byte = [0];
        while near.read(&mut byte).is_ok_and(|read| read == 1) && far.write_all(&byte).is_ok() {}
        let _closed = far.shutdown(Shutdown::Write);
    });
    address
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_a_handshake() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream);
    assert!(serves(&gateway, dribbler(gateway.address())));
}

#[test]
fn half_a_handshake_ends_at_its_deadline_and_a_flood_of_them_shuts_nobody_out() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream);
    // The head of a ClientHello record that never comes, and no byte at all.
    let mut half: Vec<TcpStream> = (0..300)
        .map(|number| {
            let mut socket = TcpStream::connect(gateway.address()).unwrap();
            if number % 2 == 0 {
                socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
            }
            socket
        })
        .collect();
    for _ in 0..20 {
        assert!(serves(&gateway, gateway.address()), "while handshakes hang");
    }
    for socket in &mut half {
        let mut rest = Vec::new();
        // It ends, in order or by a reset; a gateway that kept it would keep this waiting for ever.
        let _ended = socket.read_to_end(&mut rest);
    }
    gateway.wait_metric("portcullis_connections_open", 0.0);
    assert!(gateway.metric("portcullis_tls_handshakes_failed_total") >= 300.0);
    assert!(serves(&gateway, gateway.address()));
}

#[test]
fn what_is_no_handshake_is_ended_and_reaches_nobody() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream);
    let rows: [&[u8]; 5] = [
        b"POST /mcp/crm HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n",
        &[0x16, 0x03, 0x01, 0xFF, 0xFF],
        &[0x80, 0x2E, 0x01, 0x00, 0x02, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10],
        &[0x17, 0x03, 0x03, 0x00, 0x05, 1, 2, 3, 4, 5],
        &[0; 64],
    ];
    for bytes in rows {
        let mut socket = TcpStream::connect(gateway.address()).unwrap();
        socket.write_all(bytes).unwrap();
        let mut said = Vec::new();
        let _ended = socket.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP"), "{bytes:?}: {said:?}");
    }
    assert_eq!(upstream.requests().len(), 0);
    assert!(serves(&gateway, gateway.address()));
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
}
