//! Carries out on what a server sends what the permits oblige to. In: an answer or a notification of an obliged call. Out: what of it passes, or
//! that nothing does. Never here: which obligations there are, which was decided with the call.

use super::Change;
use crate::counters::Count;
use crate::ownership;
use crate::relay::Way;
use portcullis_core::config::settings::Mode;
use portcullis_core::filter::judged::{self, Brings};
use portcullis_core::filter::redact::{self, Unreadable};
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::result::Bearing;
use portcullis_core::protocol::json::Value;
use portcullis_core::protocol::reply::{self, ErrorReply};
use portcullis_core::refusal::{Refusal, UpstreamFailure};
use std::sync::atomic::Ordering;

/// Whether what comes here may be about a result that is to be narrowed. Servers of legacy sessions may tell of a call on any stream of
/// its session, so one such call marks the session for good.
pub fn is_on(way: &Way<'_>) -> bool {
    let marked = |session: &crate::session::Session| session.obliged.load(Ordering::Relaxed);
    way.obliged.touch_results() || way.case.session.as_ref().is_some_and(|session| marked(session))
}

/// Judges the result of a call that has to meet rules, as its server gave it. On a route that only observes an objection is noted.
fn judge(way: &Way<'_>, root: Value<'_>) -> Result<(), UpstreamFailure> {
    let Some(results) = way.obliged.results() else { return Ok(()) };
    way.core.counters.add(Count::PolicySlow);
    let Err(withheld) = judged::answer(root, Brings::of(way.plan.method), results) else { return Ok(()) };
    let cause = withheld.cause;
    let mut applied = way.case.applied.borrow_mut();
    applied.obligations.join(way.obliged);
    applied.objected = Some(withheld);
    match results.bearing() {
        Bearing::Withholds => Err(UpstreamFailure::Withheld(cause)),
        Bearing::Notes => {
            way.core.counters.add(Count::ObservedDenied);
            Ok(())
        }
    }
}

/// Judges an answer and narrows it; what passes stands in `out` then.
pub fn answer(way: &Way<'_>, body: &[u8], root: Value<'_>, out: &mut Vec<u8>) -> Result<Change, UpstreamFailure> {
    judge(way, root)?;
    if !way.obliged.touch_results() {
        return Ok(Change::AsItIs);
    }
    let mut applied = way.case.applied.borrow_mut();
    applied.obligations.join(way.obliged);
    match redact::answer(body, way.obliged, out) {
        Ok(counts) => {
            applied.counts = applied.counts.and(counts);
            Ok(Change::Changed)
        }
        Err(Unreadable) => Err(UpstreamFailure::Unreadable),
    }
}

/// Takes the words out of a notification; none where it may pass as it came.
pub fn notification(way: &Way<'_>, data: &[u8]) -> Result<Option<Vec<u8>>, UpstreamFailure> {
    if !is_on(way) {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(data.len());
    let counts = redact::notification(data, &mut out).map_err(|Unreadable| UpstreamFailure::Unreadable)?;
    let mut applied = way.case.applied.borrow_mut();
    applied.obligations.join(way.obliged);
    applied.counts = applied.counts.and(counts);
    Ok(Some(out))
}

/// Whether the words that a server says of this task may pass: not where what its tool gives back is narrowed for anybody, nor where the tool
/// is gone and nobody can tell.
pub fn words_pass(way: &Way<'_>, principal: &Principal, task: &str) -> bool {
    match ownership::task_tool(way.core, way.snapshot, way.server, principal, task, way.core.now()) {
        Ok(Some(tool)) => {
            let obliged = way.snapshot.engine.obligations_of(way.server, tool);
            let observes = way.snapshot.server(way.server).is_some_and(|route| route.settings.mode == Mode::Observe);
            // What a rule over results forbids passes there.
            let obliged = if observes { obliged.with_results(None) } else { obliged };
            !obliged.touch_results()
        }
        Ok(None) | Err(_) => false,
    }
}

/// Takes the words of servers out of a list of tasks.
pub fn tasks(list: &mut Vec<u8>) -> Result<(), UpstreamFailure> {
    let whole = std::mem::take(list);
    redact::task_list(&whole, list).map(|_| ()).map_err(|Unreadable| UpstreamFailure::Unreadable)
}

/// The answer on a stream in the place of one that is withheld, under the raw id of its request.
pub fn withheld(way: &Way<'_>, failure: UpstreamFailure, raw_id: &[u8]) -> Vec<u8> {
    if let UpstreamFailure::Withheld(_) = failure {
        way.core.counters.add(Count::ResultsWithheld);
    }
    way.case.applied.borrow_mut().withheld = Some(failure.name());
    let outward = Refusal::Upstream(failure).outward();
    let mut json = Vec::new();
    reply::write_error(Some(raw_id), &ErrorReply::new(outward.code, &outward.words), &mut json);
    json
}
