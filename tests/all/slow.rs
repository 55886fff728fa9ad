//! Agents that take their time: cut at the deadline, cheap until then, and no burden for anybody else.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Client, Ended};
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, Tls};
use portcullis_tests::upstream::Upstream;
use portcullis_tests::wire::Framing;
use serde_json::json;
use socket2::{Domain, Socket, Type};

#[test]
fn a_head_that_does_not_come_in_time_ends_its_connection() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).timeouts("head = \"300ms\"\nkeep_alive = \"1s\"").start();
    let good = gateway.call("reader", "loose", json!({}));
    let head = good.head();
    for part in [&b""[..], b"P", b"POST /mcp/crm HTTP/1.1\r\n", &head[..head.len() - 2], &head[..head.len() - 1]] {
        let mut client = gateway.connect();
        client.send(part).rest();
    }
    // A second head has the same time, counted from its first byte.
    let mut client = gateway.connect();
    assert!(client.exchange(&good).is_result());
    client.send(&head[..20]).rest();
    // Nothing at all after an answer: `keep_alive` ends it.
    let mut client = gateway.connect();
    assert!(client.exchange(&good).is_result());
    client.closed();
    assert_eq!(upstream.called().len(), 2);
}

#[test]
fn a_body_that_does_not_come_in_time_is_refused_and_the_agent_hears_why() {
    for tls in [None, Some(Tls::Optional)] {
        let upstream = Upstream::kind();
        let setup = Setup::open(&upstream).timeouts("body = \"300ms\"");
        let gateway = tls.into_iter().fold(setup, Setup::tls).start();
        let good = gateway.call("reader", "loose", json!({}));
        for framing in [Framing::Length, Framing::Chunks(16)] {
            let request = good.clone().framed(framing);
            let bytes = request.bytes();
            for end in [request.head().len(), bytes.len() - 1] {
                // On a new connection, and after an answer on one.
                for served in [0, 1] {
                    let mut client = gateway.connect();
                    (0..served).for_each(|_| assert!(client.exchange(&good).is_result()));
                    let answer = client.send(&bytes[..end]).response();
                    assert_eq!((answer.head.status(), answer.head.field("connection")), (408, Some("close")));
                    assert_eq!(client.rest().1, Ended::Closed);
                }
            }
        }
        assert_eq!(upstream.called().len(), 4, "what was whole was called, and nothing else");
        assert_eq!(gateway.events("refusal").len(), 8);
        assert_eq!(gateway.refusal("body_too_slow")["status"], json!(408));
    }
}

#[test]
fn a_body_that_keeps_coming_is_as_late_as_one_that_does_not() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).timeouts("body = \"500ms\"").start();
    let request = gateway.call("reader", "loose", json!({"pad": "a".repeat(100_000)}));
    let socket = TcpStream::connect(gateway.address()).unwrap();
    let mut client = Client::over(socket.try_clone().unwrap(), None).unwrap();
    client.send(request.head());
    let begun = Instant::now();
    let mut body = request.bytes().into_iter().skip(request.head().len());
    // A byte whenever there is no answer yet: never silent for as long as the body may take.
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while socket.peek(&mut [0]).is_err() {
        client.send([body.next().unwrap()]);
    }
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(client.next_status(), 408);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(upstream.called().len(), 0);
}

#[test]
fn an_answer_that_is_not_read_in_time_ends_its_connection() {
    let text = "a".repeat(12 << 20);
    let upstream = Upstream::calls(move |request, wire| {
        wire.result(request, mcp::text_result(&text));
    });
    let gateway = Setup::open(&upstream).timeouts("write = \"500ms\"").start();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket), None).unwrap();
    client.send(gateway.call("reader", "loose", json!({})).bytes());
    upstream.wait_for(1);
    gateway.wait_metric("portcullis_requests_open", 0.0);
    gateway.wait_metric("portcullis_connections_open", 0.0);
    let (rest, _) = client.rest();
    assert!(rest.len() < 12 << 20, "the whole answer came");
}

#[test]
fn many_slow_agents_cost_little_and_hold_up_nobody() {
    const CONNECTIONS: usize = 400;
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).limits("agent_concurrency = 1000").start();
    let good = gateway.call("reader", "loose", json!({}));
    assert!(gateway.answer(&good).is_result());
    let before = gateway.resident_bytes();
    let huge = good.clone().framed(Framing::AsItIs).field("Content-Length", "4000000");
    let mut slow: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.connect()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        let bytes =
            if number % 2 == 0 { good.head()[..200].to_vec() } else { [huge.head(), vec![b' '; 1000]].concat() };
        client.send(bytes);
    }
    gateway.wait_metric("portcullis_requests_open", (CONNECTIONS / 2) as f64);
    for _ in 0..20 {
        assert!(gateway.answer(&good).is_result());
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    // A head's buffer is 8 KiB, a body's grows with what has come; both with room for the allocator and the kernel's rings.
    assert!(grown < CONNECTIONS as u64 * 48 * 1024, "{CONNECTIONS} slow agents cost {grown} bytes");
}

#[test]
fn connections_beyond_the_bound_are_refused_and_room_is_made_again() {
    let upstream = Upstream::kind();
    let gateway = Setup::open(&upstream).limits("connections = 8").start();
    gateway.wait_metric("portcullis_connections_open", 0.0);
    let good = gateway.call("reader", "loose", json!({}));
    let mut held: Vec<Client> = Vec::new();
    // The bound is kept core by core, so somewhere up to it further ones are turned away.
    while gateway.metric("portcullis_connections_refused_total") == 0.0 {
        assert!(held.len() < 64, "nobody is turned away");
        let mut client = gateway.connect();
        client.send(good.bytes());
        held.push(client);
    }
    assert!(held.len() > 4, "{} connections were the bound", held.len());
    drop(held);
    gateway.wait_metric("portcullis_connections_open", 0.0);
    assert!(gateway.answer(&good).is_result());
}
