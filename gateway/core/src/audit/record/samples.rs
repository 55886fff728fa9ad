//! Records for tests of this stage.

use super::*;
use crate::audit::capture::{CaptureRule, Content};

pub(in crate::audit) fn part(raw: &[u8]) -> Part<'_> {
    Part { content: Content::Whole(raw), rule: CaptureRule::Full, redact: &[] }
}

pub(in crate::audit) const NOTHING: Part<'static> =
    Part { content: Content::Absent, rule: CaptureRule::Full, redact: &[] };

pub(in crate::audit) fn judged(verdict: Verdict) -> Judged<'static> {
    let allowed = verdict == Verdict::Allow;
    Judged {
        verdict,
        cause: if allowed { None } else { Some("no_rule") },
        rules: if allowed { &["support.cedar:3"] } else { &[] },
        snapshot: 12,
        snapshot_hash: "c0ffee",
    }
}

pub(in crate::audit) fn decision(verdict: Verdict) -> Decision<'static> {
    Decision {
        caller: Caller {
            agent: "recon-17",
            user: None,
            account: None,
            issuer: None,
            token_id: None,
            certificate: None,
        },
        source: None,
        server: "crm",
        session: None,
        revision: None,
        method: "tools/call",
        subject: Subject::Tool("read_table"),
        arguments: part(br#"{"table":"customers"}"#),
        judged: judged(verdict),
        obligations: &[],
        request_id: None,
    }
}

pub(in crate::audit) fn answer(decision_seq: u64) -> Answer<'static> {
    Answer {
        decision_seq,
        agent: "recon-17",
        server: "crm",
        status: 200,
        outcome: Outcome::Complete,
        cause: None,
        result: part(br#"{"content":[]}"#),
        obliged: Default::default(),
        objected: None,
        duration_us: 1_200,
    }
}
