//! Holds handed-out names to their owners. In: what a request names, what a reply hands out. Out: whose it is. Never here: sessions, which
//! are found where the message is read.

use crate::case::Case;
use crate::session::{Handed, Holding};
use crate::worker::Core;
use portcullis_core::config::snapshot::{Route, Snapshot};
use portcullis_core::identity::principal::Principal;
use portcullis_core::policy::catalogue::ToolIndex;
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::refusal::OwnershipRefusal;
use portcullis_core::time::UnixMillis;
use std::time::Duration;

/// How long a `requestState` may be brought back; servers mean minutes, people who are asked take longer.
const REQUEST_STATE_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How long a task without a `ttl` is remembered.
const TASK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A `requestState` passes only from the principal it was handed to, for the very call it belongs to.
pub fn check_request_state(
    core: &Core,
    route: &Route,
    principal: &Principal,
    state: &str,
    call: &str,
    now: UnixMillis,
) -> Result<(), OwnershipRefusal> {
    let held = core.shared.owners.find(Handed::RequestState, &route.settings.name, state, principal, now);
    if held.is_some_and(|held| *held.subject == *call) { Ok(()) } else { Err(OwnershipRefusal::UnknownRequestState) }
}

/// The tool whose call made this task, if the task is this principal's.
pub fn task_tool(
    core: &Core,
    snapshot: &Snapshot,
    server: ServerIndex,
    principal: &Principal,
    id: &str,
    now: UnixMillis,
) -> Result<Option<ToolIndex>, OwnershipRefusal> {
    let route = snapshot.server(server).ok_or(OwnershipRefusal::UnknownTask)?;
    let held = core.shared.owners.find(Handed::Task, &route.settings.name, id, principal, now);
    let held = held.ok_or(OwnershipRefusal::UnknownTask)?;
    // A tool that is no longer known is no tool of "any": its tasks are out of reach with it.
    snapshot.engine.tool(server, &held.subject).map(Some).map_err(|_| OwnershipRefusal::UnknownTask)
}

/// Whether a task is this principal's, for filtering lists and notifications.
pub fn owns_task(core: &Core, route: &Route, principal: &Principal, id: &str, now: UnixMillis) -> bool {
    core.shared.owners.find(Handed::Task, &route.settings.name, id, principal, now).is_some()
}

/// The raw arguments of the call that made this task, empty where it had none; nothing where they were not kept.
pub fn task_arguments(
    core: &Core,
    route: &Route,
    principal: &Principal,
    id: &str,
    now: UnixMillis,
) -> Option<Box<[u8]>> {
    core.shared.owners.find(Handed::Task, &route.settings.name, id, principal, now)?.arguments
}

/// A call whose reply hands out a name.
pub struct Call<'c> {
    /// What the name is bound to.
    pub words: &'c str,
    /// Its raw arguments, where they are kept.
    pub arguments: Option<Box<[u8]>>,
}

/// Remembers what a reply hands out. False when it cannot be remembered: then its use will be refused, and the operator is told.
pub fn bind(
    core: &Core,
    route: &Route,
    principal: &Principal,
    case: &Case,
    (handed, name): (Handed, &str),
    call: Call<'_>,
) -> bool {
    let lifetime = match handed {
        Handed::Task => TASK_LIFETIME,
        Handed::RequestState => REQUEST_STATE_LIFETIME,
    };
    let expires = case.at.after(lifetime);
    let mut holding = Holding::new(principal, call.words, expires);
    holding.arguments = call.arguments;
    let bound = core.shared.owners.bind(handed, &route.settings.name, name, holding, case.at);
    if !bound {
        tracing::warn!(server = %route.settings.name, kind = ?handed, "a name that the server handed out could not be bound to its owner; its use will be refused");
    }
    bound
}
