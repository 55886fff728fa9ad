use rustls::{HandshakeKind, ProtocolVersion};

use super::*;
use crate::scene::{Seen, TlsServer, stats, stub};

fn plan(kind: &str, connections: u32, more: &str) -> Plan {
    let text = format!(
        "about = \"a test\"\nkind = \"{kind}\"\ntransport = \"cleartext\"\nconnections = {connections}\n{more}"
    );
    Plan::parse(&text, "plan.toml").unwrap()
}

fn stage(target: Target) -> Stage {
    let place = Place { address: target.address, path: "/mcp".to_owned() };
    let (warm, length) = (Duration::ZERO, Duration::from_millis(100));
    Stage { target, place, tokens: Vec::new(), pace: Pace::Open { per_second: 1000.0 }, warm, length }
}

fn clear() -> Stage {
    stage(Target { address: stub(), security: None })
}

/// Carries the plan out; the words that the gate heard and the report.
fn check(plan: &Plan, stage: &Stage) -> (Vec<String>, Report) {
    let mut words = Vec::new();
    let report = play(plan, stage, &mut |word| {
        words.push(word.to_owned());
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!(report.errors, 0, "got {report:?}");
    (words, report)
}

#[test]
fn fewer_tokens_than_agents_are_refused() {
    let stage = Stage { tokens: vec!["t".into()], ..clear() };
    let failure = play(&plan("calls", 2, "agents = 2"), &stage, &mut |_| Ok(())).map(drop).unwrap_err();
    assert_eq!(failure.to_string(), "the plan wants 2 agents, and there are 1 tokens");
}

#[test]
fn every_agent_speaks_every_era() {
    let eras = "agents = 2\neras = [\"2026-07-28\", \"2025-11-25\"]";
    let stage = Stage { tokens: vec!["a".into(), "b".into()], ..clear() };
    let who: Vec<(String, Era)> = parties(&plan("calls", 4, eras), &stage)
        .unwrap()
        .into_iter()
        .map(|party| (party.token.unwrap().to_string(), party.era))
        .collect();
    let expected = [("a", Era::Modern), ("b", Era::Legacy), ("a", Era::Legacy), ("b", Era::Modern)];
    assert_eq!(who, expected.map(|(token, era)| (token.to_owned(), era)));
}

#[test]
fn calls_of_both_eras_with_churn_and_forbidden_ones_are_answered() {
    let more = "eras = [\"2026-07-28\", \"2025-11-25\"]\nchurn_calls = 10\nrefused_per_thousand = 100";
    let (words, report) = check(&plan("calls", 4, more), &clear());
    assert_eq!((words, report.requests, report.forbidden), (vec!["warm".to_owned()], 100, 10));
    assert_eq!(report.refused, 0, "the stub refuses nothing");
}

#[test]
fn long_requests_and_long_answers_arrive_whole() {
    let more = "request_bytes = \"1 MiB\"\nanswer_bytes = \"1 MiB\"";
    let stage = Stage { pace: Pace::Closed, ..clear() };
    let (_, report) = check(&plan("calls", 3, more), &stage);
    assert!(report.requests >= 3, "got {report:?}");
    assert_eq!(stats(stage.target.address).requests, report.requests);
}

#[test]
fn idle_connections_are_held_and_all_answer_afterwards() {
    let stage = clear();
    let plan = plan("idle", 200, "");
    let mut words = Vec::new();
    let report = play(&plan, &stage, &mut |word| {
        words.push((word.to_owned(), stats(stage.target.address).requests));
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!(words, [("held 200".to_owned(), 200)], "each made one call when it was opened");
    assert_eq!((report.held, report.requests, report.errors), (200, 200, 0), "got {report:?}");
    let stats = stats(stage.target.address);
    assert_eq!((stats.requests, stats.connections), (400, 200 + 1 + 2), "the same connections were asked");
}

#[test]
fn streams_of_both_eras_are_held_and_each_is_told_afterwards() {
    for eras in ["\"2026-07-28\"", "\"2025-11-25\"", "\"2026-07-28\", \"2025-11-25\""] {
        let stage = clear();
        let plan = plan("streams", 150, &format!("eras = [{eras}]"));
        let mut open = 0;
        let report = play(&plan, &stage, &mut |word| {
            assert_eq!(word, "held 150");
            open = stats(stage.target.address).streams;
            Ok(())
        });
        let report = report.unwrap();
        assert_eq!(open, 150, "given {eras}");
        assert_eq!((report.held, report.requests, report.errors), (150, 150, 0), "given {eras}, got {report:?}");
    }
}

#[test]
fn each_handshake_is_a_full_one_with_a_certificate() {
    let server = TlsServer::start();
    let stage = stage(Target { address: server.address, security: Some(server.security()) });
    let (_, report) = check(&plan("handshakes", 4, ""), &stage);
    assert_eq!((report.handshakes, report.requests), (100, 100), "got {report:?}");
    let wanted = Seen { kind: HandshakeKind::Full, version: ProtocolVersion::TLSv1_3, certificates: 1 };
    assert_eq!(server.seen(), vec![wanted; 100]);
}

#[test]
fn kept_and_idle_connections_over_tls_shake_hands_once() {
    let server = TlsServer::start();
    let stage = stage(Target { address: server.address, security: Some(server.security()) });
    let (_, report) = check(&plan("calls", 4, "answer_bytes = \"64 KiB\"\nrequest_bytes = \"64 KiB\""), &stage);
    assert_eq!((report.requests, server.seen().len()), (100, 4), "got {report:?}");
    let (words, report) = check(&plan("idle", 20, ""), &stage);
    assert_eq!((words, report.requests), (vec!["held 20".to_owned()], 20));
    assert_eq!(server.seen().len(), 4 + 20);
}

#[test]
fn a_server_without_the_right_authority_is_not_spoken_to() {
    let (server, other) = (TlsServer::start(), TlsServer::start());
    let stage = stage(Target { address: server.address, security: Some(other.security()) });
    let failure = play(&plan("idle", 2, ""), &stage, &mut |_| Ok(())).map(drop).unwrap_err();
    assert!(failure.to_string().contains("2 broken connections"), "got {failure}");
    assert_eq!(server.seen(), Vec::new());
}
