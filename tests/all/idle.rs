//! Connections on which nothing happens cost next to nothing, and go on when something does.

use portcullis_tests::client::Client;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::mcp;
use portcullis_tests::setup::{Setup, Tls};
use portcullis_tests::stream::{Events, Next};
use portcullis_tests::upstream::{Gate, Upstream};
use serde_json::json;

/// Enough for the bounds to stand far above what a heap takes and gives in one go.
const CONNECTIONS: usize = 1_500;
const STREAMS: usize = 800;

/// Twice what a release build needs or more; a buffer that stayed would cost four times as much, a request's state too.
const PLAIN_BYTES_MAX: u64 = 4 * 1024;
const TLS_BYTES_MAX: u64 = 24 * 1024;

/// What it needs is 6 KiB, and the smallest buffer that could stay has 4 KiB.
const STREAM_BYTES_MAX: u64 = 8 * 1024;

/// What the index's thread holds for a moment is no connection's.
const NO_INDEX: &str = "index = \"off\"";

fn calls(gateway: &Gateway, client: &mut Client) {
    let answer = client.exchange(&gateway.call("reader", "bare", json!({})));
    assert!(answer.is_result(), "{}", answer.text());
}

/// What each of `count` makes the process grow by.
fn each<T>(gateway: &Gateway, count: usize, mut make: impl FnMut() -> T) -> (u64, Vec<T>) {
    let before = gateway.resident_bytes();
    let made = (0..count).map(|_| make()).collect();
    (gateway.resident_bytes().saturating_sub(before) / count as u64, made)
}

fn upstream() -> Upstream {
    Upstream::calls(|request, wire| {
        wire.result(request, mcp::text_result("done"));
    })
}

#[test]
fn a_plain_connection_holds_no_buffer_while_it_is_idle_and_answers_afterwards() {
    let upstream = upstream();
    let gateway = Setup::open(&upstream).limits("connections = 10000").audit(NO_INDEX).start();
    let mut warm: Vec<Client> = (0..50).map(|_| gateway.connect()).collect();
    warm.iter_mut().for_each(|client| calls(&gateway, client));
    let (bytes, mut clients) = each(&gateway, CONNECTIONS, || gateway.connect());
    assert!(bytes <= PLAIN_BYTES_MAX, "{bytes} bytes for each connection that was never used");
    // All were idle, and all answer. Buffers and places for a crowd stay with the core, and the next crowd makes do with them.
    let use_twice = |clients: &mut Vec<Client>| {
        for _ in 0..2 {
            clients.iter_mut().for_each(|client| calls(&gateway, client));
        }
    };
    use_twice(&mut clients);
    let before = gateway.resident_bytes();
    let mut others: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.connect()).collect();
    use_twice(&mut others);
    let grown = gateway.resident_bytes().saturating_sub(before) / CONNECTIONS as u64;
    assert!(grown <= PLAIN_BYTES_MAX, "{grown} bytes for each connection that was used");
    assert_eq!(gateway.metric("portcullis_panics_total"), 0.0);
}

#[test]
fn a_tls_connection_holds_its_keys_and_no_buffer_of_ours_while_it_is_idle() {
    let upstream = upstream();
    let gateway = Setup::open(&upstream).limits("connections = 10000").tls(Tls::Optional).audit(NO_INDEX).start();
    let connected = || {
        let mut client = gateway.connect();
        calls(&gateway, &mut client);
        client
    };
    let warm: Vec<Client> = (0..50).map(|_| connected()).collect();
    let (bytes, mut clients) = each(&gateway, CONNECTIONS / 2, connected);
    assert!(bytes <= TLS_BYTES_MAX, "{bytes} bytes for each");
    clients.iter_mut().for_each(|client| calls(&gateway, client));
    drop(warm);
}

#[test]
fn a_silent_stream_holds_no_buffer_on_either_side_and_goes_on() {
    let gate = Gate::default();
    let at_script = gate.clone();
    let upstream = Upstream::calls(move |request, wire| {
        wire.stream("").event(&mcp::notification("notifications/progress", json!({"progressToken": 1, "progress": 1})));
        at_script.pass();
        wire.last_event(request, mcp::text_result("done"));
    });
    let gateway =
        Setup::open(&upstream).limits("connections = 10000\nagent_concurrency = 10000").audit(NO_INDEX).start();
    let open = || {
        let mut events = Events::open(gateway.connect(), &gateway.call("reader", "bare", json!({})));
        assert!(matches!(events.next_event(), Next::Event(_)));
        events
    };
    let warm: Vec<Events> = (0..20).map(|_| open()).collect();
    let (bytes, streams) = each(&gateway, STREAMS, open);
    assert!(bytes <= STREAM_BYTES_MAX, "{bytes} bytes for each");
    gate.open_for(STREAMS + warm.len());
    for mut events in warm.into_iter().chain(streams) {
        assert_eq!(events.message()["result"]["content"][0]["text"], json!("done"));
        assert_eq!(events.next_event(), Next::End);
    }
}
