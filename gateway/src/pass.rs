//! Passes requests through unread, for the side-by-side bench alone: what a plain proxy does, with our own hands. In: a request. Out: its
//! reply. Never here: a product; this module exists only under the feature `bench-pass`, with which `portcullis` itself does not compile.

use crate::case::Case;
use crate::downstream::{Answer, Downstream};
use crate::judge::{Expect, Plan};
use crate::own::{self, Entrance};
use crate::relay::Way;
use crate::upstream::forward;
use crate::upstream::request::Verb;
use crate::worker::Core;
use portcullis_core::protocol::era::Era;
use std::rc::Rc;

/// Serves one POST; everything else ends the connection.
pub async fn serve(core: &Rc<Core>, agent: &mut Downstream) {
    if attempt(core, agent).await.is_none() {
        agent.break_off();
    }
}

async fn attempt(core: &Rc<Core>, agent: &mut Downstream) -> Option<()> {
    let snapshot = core.snapshot();
    let case = Case::begin(core, agent.source);
    let server = match own::entrance(&snapshot, agent).ok()? {
        Entrance::Message(server) => server,
        Entrance::Own(page) => {
            own::answer(core, &snapshot, agent, page).await;
            return Some(());
        }
        Entrance::Stream(_) | Entrance::EndSession(_) => return None,
    };
    let timeouts = &snapshot.settings.timeouts;
    agent.read_body(snapshot.settings.limits.body_bytes_max, timeouts).await.ok()?;
    let plan = Plan { era: Era::Legacy { header_revision: None }, expect: Expect::Result, method: None };
    let way =
        Way { core, snapshot: &snapshot, server, case: &case, plan: &plan, obliged: &case.obliged, subject: None };
    let mut reply = forward::unchecked(&way, agent, Verb::Post).await.ok()?;
    let status = reply.head.status;
    let mut body = core.buffers.take(reply.room(snapshot.settings.limits.result_bytes_max));
    reply.whole(&mut body, snapshot.settings.limits.result_bytes_max).await.ok()?;
    reply.finish(core);
    let answer = Answer { status, content_type: Some("application/json"), fields: b"", body: &body };
    agent.answer_own(core, &answer, timeouts).await;
    core.buffers.give(body);
    Some(())
}
