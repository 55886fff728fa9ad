//! Upstreams and the gateway itself in trouble: said plainly, kept to those it concerns, and over when the trouble is.

use std::net::TcpListener;
use std::time::Duration;

use portcullis_tests::audit::text;
use portcullis_tests::client::Client;
use portcullis_tests::mcp;
use portcullis_tests::setup::{OPEN, Setup, fresh_address};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Upstream, kind};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};

#[test]
fn an_upstream_that_is_not_there_is_said_so_and_found_when_it_is() {
    let address = fresh_address();
    let setup = Setup::new()
        .server_at("crm", &format!("http://{address}/mcp"), "")
        .catalogue("crm", &mcp::tools())
        .policy(OPEN);
    let gateway = setup.start();
    let call = gateway.call("reader", "loose", json!({}));
    for _ in 0..5 {
        let answer = gateway.answer(&call);
        assert_eq!((answer.status(), answer.code()), (502, -33502), "{}", answer.text());
        assert!(!answer.text().contains(&address.ip().to_string()), "the answer names the upstream: {}", answer.text());
    }
    gateway.refusal("upstream_unreachable");
    let listener = TcpListener::bind(address).unwrap();
    let serving = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut socket, _) = listener.accept().unwrap();
        let mut room = [0; 4096];
        let _read = socket.read(&mut room).unwrap();
        let body = json!({"jsonrpc": "2.0", "id": 1, "result": mcp::text_result("back")}).to_string();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    });
    assert!(gateway.answer(&call).is_result());
    serving.join().unwrap();
}

#[test]
fn an_upstream_that_takes_no_connection_in_time_is_given_up() {
    // A queue of one that is full: the kernel answers no further SYN.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = fresh_address();
    socket.bind(&SockAddr::from(address)).unwrap();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let waiter = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        waiter.set_nonblocking(true).unwrap();
        let _pending = waiter.connect(&SockAddr::from(address));
        waiting.push(waiter);
    }
    let upstream = Upstream::kind();
    let setup =
        Setup::open(&upstream).server_at("hung", &format!("http://{address}/mcp"), "").catalogue("hung", &mcp::tools());
    let gateway = setup.timeouts("connect = \"200ms\"").start();
    let call = gateway.modern("reader", "hung", &mcp::modern("tools/call", mcp::call("loose", json!({}))));
    let answer = gateway.answer(&call);
    assert_eq!((answer.status(), answer.code()), (502, -33502), "{}", answer.text());
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({}))).is_result());
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_given_up() {
    let upstream = Upstream::calls(|request, wire| {
        match request.json().pointer("/params/arguments/how").and_then(serde_json::Value::as_str) {
            Some("head") => drop(wire.send("HTTP/1.1 200 OK\r\nContent-Ty")),
            Some("interim") => drop(wire.send("HTTP/1.1 100 Continue\r\n\r\n")),
            _ => {}
        }
        wire.hang();
    });
    let gateway = Setup::open(&upstream).timeouts("first_byte = \"300ms\"").start();
    for (number, how) in ["nothing", "head", "interim"].into_iter().enumerate() {
        let answer = gateway.answer(&gateway.call("reader", "loose", json!({"how": how})));
        assert_eq!((answer.status(), answer.code()), (504, -33502), "given {how}: {}", answer.text());
        upstream.wait_closed(upstream.wait_for(number + 1).connection);
    }
    let record = gateway.refusal("upstream_timed_out");
    assert_eq!(text(&record, "outcome"), "timed_out", "{record}");
}

#[test]
fn a_call_has_so_much_time_whatever_trickles_in() {
    let upstream = Upstream::calls(|request, wire| {
        if request.json().pointer("/params/arguments/how") == Some(&json!("stream")) {
            wire.stream("")
                .event(&mcp::notification("notifications/progress", json!({"progressToken": 1, "progress": 1})));
            wire.hang();
        } else {
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n");
            wire.send("{").hang();
        }
    });
    let gateway = Setup::open(&upstream).timeouts("first_byte = \"500ms\"\ntotal = \"1s\"").start();
    let answer = gateway.answer(&gateway.call("reader", "loose", json!({})));
    assert_eq!((answer.status(), answer.code()), (504, -33502), "{}", answer.text());
    let mut events = Events::open(gateway.connect(), &gateway.call("reader", "loose", json!({"how": "stream"})));
    events.message();
    assert_eq!(events.next_event(), Next::Broken);
    for connection in 0..2 {
        upstream.wait_closed(connection);
    }
}

#[test]
fn a_hung_upstream_holds_up_nobody_elses_calls() {
    const HUNG: usize = 100;
    let hung = Upstream::calls(|_, wire| wire.hang());
    let upstream = Upstream::kind();
    let setup = Setup::open(&upstream).server("hung", &hung, "").limits("agent_concurrency = 1000");
    let gateway = setup.start();
    let stuck = gateway.modern("writer", "hung", &mcp::modern("tools/call", mcp::call("loose", json!({}))));
    let mut waiting: Vec<Client> = (0..HUNG).map(|_| gateway.connect()).collect();
    for client in &mut waiting {
        client.send(stuck.bytes());
    }
    hung.wait_for(HUNG);
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.connect()).collect();
    for _ in 0..50 {
        for client in &mut clients {
            client.send(gateway.call("reader", "loose", json!({})).bytes());
        }
        for client in &mut clients {
            assert!(client.response().is_result());
        }
    }
    assert_eq!(gateway.metric("portcullis_requests_open"), HUNG as f64, "all of the others were served meanwhile");
    drop(waiting);
    gateway.wait_metric("portcullis_requests_open", 0.0);
}

#[test]
fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::start(move |request, wire| {
        if request.method() != "tools/call" {
            return kind(request, wire);
        }
        at_script.pass();
        wire.result(request, mcp::text_result("finished"));
    });
    let mut gateway = Setup::open(&upstream).start();
    let mut idle = gateway.connect();
    assert_eq!(idle.exchange(&gateway.get("/readyz")).status(), 200);
    let mut busy = gateway.connect();
    busy.send(gateway.call("reader", "loose", json!({})).bytes());
    upstream.wait_for(1);
    gateway.terminate();
    idle.closed();
    gate.open();
    let answer = busy.response();
    assert!(answer.is_result(), "{}", answer.text());
    busy.closed();
    assert!(gateway.ended().success(), "{}", gateway.log());
    let ended = gateway.record(|record| text(record, "event") == "result");
    assert_eq!(text(&ended, "outcome"), "complete");
    assert!(Client::try_connect(gateway.address(), None).is_err(), "it still listens");
}

#[test]
fn a_drain_waits_no_longer_than_it_may() {
    let upstream = Upstream::calls(|_, wire| wire.hang());
    let mut gateway = Setup::open(&upstream).timeouts("drain = \"300ms\"").start();
    let mut stuck = gateway.connect();
    stuck.send(gateway.call("reader", "loose", json!({})).bytes());
    upstream.wait_for(1);
    gateway.terminate();
    gateway.ended();
    stuck.rest();
    gateway.record(|record| text(record, "event") == "gateway.stopped");
}

#[test]
fn nothing_is_left_behind_by_calls_of_any_kind() {
    let upstream = Upstream::calls(|request, wire| {
        match request.json().pointer("/params/arguments/how").and_then(serde_json::Value::as_u64).unwrap_or_default()
            % 5
        {
            0 => drop(wire.result(request, mcp::text_result("fine"))),
            1 => wire.close(),
            2 => wire.reset(),
            3 => wire.stream("").chunk("data: {\"half").close(),
            _ => drop(wire.send("garbage\r\n\r\n")),
        }
    });
    let gateway = Setup::open(&upstream).timeouts("upstream_idle = \"500ms\"").start();
    let open_files = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({"how": 0}))).is_result());
    let before = open_files();
    for how in 0..200 {
        let mut client = gateway.connect();
        client.send(gateway.call("reader", "loose", json!({"how": how})).bytes());
        match how % 3 {
            0 => drop(client),
            1 => client.reset(),
            _ => drop(client.next_status()),
        }
    }
    gateway.wait_metric("portcullis_requests_open", 0.0);
    gateway.wait_metric("portcullis_connections_open", 0.0);
    // Kept upstream connections are let go after their idle time.
    let start = std::time::Instant::now();
    while open_files() > before + 4 {
        assert!(start.elapsed() < portcullis_tests::CEILING, "{} files were open, {} are", before, open_files());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
    assert!(gateway.answer(&gateway.call("reader", "loose", json!({"how": 0}))).is_result());
}
