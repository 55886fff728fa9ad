//! The TLS handshake: half a one costs its deadline and nobody else's, and what is no handshake is shown the door.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

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

#[test]
fn a_flood_of_key_updates_costs_nobody_else() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream);
    let mut flood = TcpStream::connect(gateway.address()).unwrap();
    let mut connection = gateway.identity(None).unwrap().session();
    while connection.is_handshaking() {
        connection.complete_io(&mut flood).unwrap();
    }
    // Each asks the other side to change its keys as well; what comes back is never read.
    for _ in 0..5_000 {
        let asked = connection.refresh_traffic_keys().is_ok();
        if !asked || connection.write_tls(&mut flood).is_err() {
            break;
        }
    }
    assert!(serves(&gateway, gateway.address()));
    drop(flood);
    gateway.wait_metric("portcullis_connections_open", 0.0);
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
}

#[test]
fn no_handshake_is_made_anew_within_a_connection() {
    let upstream = Upstream::kind();
    let gateway = on_tls(&upstream);
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-servername", "gateway.test", "-connect", &gateway.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl, which `cargo xtask test` installs");
    // `R` on a line of its own asks for a renegotiation, which TLS 1.3 has abolished.
    client.stdin.take().unwrap().write_all(b"R\n").unwrap();
    let said = client.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert_eq!(said.matches("Server Temp Key").count(), 1, "a second handshake was made: {said}");
    assert!(serves(&gateway, gateway.address()));
}
