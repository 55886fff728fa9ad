use std::net::TcpStream;

use crate::scene::{exchange, stats, stub};
use std::io::{Read, Write};

#[test]
fn requests_that_come_together_or_in_pieces_are_answered_in_turn() {
    let address = stub();
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let request = format!("POST /mcp HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (first, second) = request.split_at(30);
    stream.write_all(format!("{request}{first}").as_bytes()).unwrap();
    assert_eq!(exchange(&mut stream).1, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    stream.write_all(second.as_bytes()).unwrap();
    assert_eq!(exchange(&mut stream).1, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let chunked =
        format!("POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    stream.write_all(chunked.as_bytes()).unwrap();
    assert_eq!(exchange(&mut stream).1, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(stats(address).requests, 3);
}

#[test]
fn what_is_no_request_ends_its_connection() {
    let mut stream = TcpStream::connect(stub()).unwrap();
    stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn a_stream_that_its_client_left_counts_no_more() {
    let address = stub();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    assert_eq!(stats(address).streams, 1);
    drop(stream);
    // The stub learns of it in its own time.
    while stats(address).streams > 0 {
        std::thread::yield_now();
    }
}
