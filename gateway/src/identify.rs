//! Brings the evidence of a request before the registry. In: the Authorization field, the certificate, the source. Out: the principal, and
//! its place among the calls it may have in flight. Never here: the rules of proof, which are `core::identity`.

use crate::case::Case;
use crate::counters::Count;
use crate::downstream::Downstream;
use crate::http1::field::{Field, FieldValue};
use crate::shared::{self, InFlight};
use crate::worker::Core;
use portcullis_core::config::snapshot::Snapshot;
use portcullis_core::identity::cache::Shown;
use portcullis_core::identity::error::{IdentityError, TokenError};
use portcullis_core::identity::principal::{Evidence, Principal, authenticate};
use portcullis_core::policy::surface::ServerIndex;
use portcullis_core::refusal::{LimitRefusal, Refusal, RouteRefusal};
use std::rc::Rc;

/// Who sent the request, proven against this route.
pub fn principal(
    core: &Core,
    snapshot: &Snapshot,
    server: ServerIndex,
    agent: &Downstream,
    case: &mut Case,
) -> Result<Rc<Principal>, Refusal> {
    let route = snapshot.server(server).ok_or(Refusal::Route(RouteRefusal::UnknownPath))?;
    let token = bearer(agent).map_err(Refusal::Identity)?;
    let evidence = Evidence { token, certificate: agent.certificate.as_deref(), source: agent.source };
    let shown = Shown { evidence, resource: &route.resource, generation: snapshot.version, now: core.now() };
    let known = core.tokens.borrow().find(&shown);
    let principal = match known {
        Some(principal) => principal,
        None => {
            core.counters.add(Count::TokensVerified);
            let proven = authenticate(&snapshot.registry, &snapshot.issuers, evidence, &route.resource, shown.now)
                .map_err(Refusal::Identity)?;
            core.tokens.borrow_mut().keep(&shown, proven)
        }
    };
    agent.line.prove(core, principal.agent());
    case.principal = Some(principal.clone());
    Ok(principal)
}

/// The scheme and the space behind it.
const SCHEME: &str = "Bearer ";

/// The token of `Authorization: Bearer …` (RFC 6750 §2.1): the field at most once, the scheme in any case, one space.
fn bearer(agent: &Downstream) -> Result<Option<&str>, IdentityError> {
    let value = match agent.value(Field::Authorization) {
        FieldValue::Absent => return Ok(None),
        FieldValue::Repeated => return Err(TokenError::Malformed.into()),
        FieldValue::Once(range) => agent.bytes(range),
    };
    let text = std::str::from_utf8(value).map_err(|_| TokenError::Malformed)?;
    let (scheme, token) = text.split_at_checked(SCHEME.len()).ok_or(TokenError::Malformed)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || token.is_empty() {
        return Err(TokenError::Malformed.into());
    }
    Ok(Some(token))
}

/// A place among the calls this agent may have in flight, across cores.
pub fn place(core: &Core, snapshot: &Snapshot, principal: &Principal) -> Result<InFlight, Refusal> {
    let counter = core.agent_counter(principal.agent());
    shared::enter(&counter, snapshot.settings.limits.agent_concurrency_max)
        .ok_or(Refusal::Limit(LimitRefusal::AgentBusy))
}
