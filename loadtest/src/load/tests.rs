use std::net::SocketAddr;

use super::*;
use crate::scene::{stats, stub};

fn target(address: SocketAddr) -> Target {
    Target { address, security: None }
}

fn post(method: &str) -> Rc<[u8]> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    format!("POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes().into()
}

#[test]
fn nobody_listening_is_said_in_clear_words() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = Load::open(target(address), &post("ping"), 1).map(drop).unwrap_err();
    assert_eq!(failure.to_string(), format!("`{address}` cannot be connected to"));
}

#[test]
fn refused_requests_are_errors() {
    let mut load = Load::open(target(stub()), &post("nope"), 2).unwrap();
    let report = load.run(Pace::Closed, Duration::from_millis(20)).unwrap();
    assert!(report.requests > 0);
    assert_eq!((report.errors, report.non_200, report.last_status), (report.requests, report.requests, Some(404)));
}

#[test]
fn a_closed_loop_answers_every_request_over_the_connections_it_opened() {
    let address = stub();
    let mut load = Load::open(target(address), &post("tools/call"), 8).unwrap();
    let report = load.run(Pace::Closed, Duration::from_millis(50)).unwrap();
    assert!(report.requests > 8 && report.errors == 0, "got {report:?}");
    assert!(report.p50_us > 0.0 && report.p50_us <= report.p99_us && report.p99_us <= report.max_us, "got {report:?}");
    let stats = stats(address);
    let expected = (8 + 1 + 1, report.requests);
    assert_eq!((stats.connections, stats.requests), expected, "8 of the load, one that looked, one that asks");
}

#[test]
fn an_open_loop_sends_as_many_as_its_rate_says() {
    let mut load = Load::open(target(stub()), &post("tools/call"), 8).unwrap();
    let report = load.run(Pace::Open { per_second: 2000.0 }, Duration::from_millis(100)).unwrap();
    assert_eq!((report.requests, report.errors), (200, 0), "got {report:?}");
}

#[test]
fn connections_end_after_as_many_calls_as_they_may_make() {
    let (address, call) = (stub(), post("tools/call"));
    let slots = vec![Slot::new(Rc::clone(&call), call)];
    let mut load = Load::new(target(address), slots, Manner { calls_max: 5, refused_per_thousand: 0 }).unwrap();
    let report = load.run(Pace::Open { per_second: 1000.0 }, Duration::from_millis(100)).unwrap();
    assert_eq!((report.requests, report.errors, report.handshakes), (100, 0, 20), "got {report:?}");
    assert_eq!(stats(address).connections, 20 + 1 + 1);
}

#[test]
fn forbidden_calls_are_spread_evenly() {
    let mut spread = Spread { per_thousand: 250, owed: 0 };
    let picked: Vec<bool> = (0..8).map(|_| spread.pick() == Subject::Forbidden).collect();
    assert_eq!(picked, [false, false, false, true, false, false, false, true]);
}
