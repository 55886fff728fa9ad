//! Resolves a rule's scope. In: its principal, action and resource constraints. Out: whom it is about, and which columns it covers. Never here: conditions.

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::surface::Surface;

/// Whom a rule is about, before its conditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalScope {
    /// Every agent.
    Everyone,
    /// One agent.
    Agent(Box<str>),
    /// The members of one group.
    Group(Box<str>),
    /// Nobody: the constraint names something that is neither an agent nor a group.
    Nobody,
}

/// The columns a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Those whose action and server match, sorted.
    pub matching: Vec<u32>,
    /// Those whose action matches on whichever server, sorted; none where the rule covers every action.
    pub by_action: Option<Vec<u32>>,
}

/// Whom the rule is about.
pub fn principal(policy: &Policy) -> PrincipalScope {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => PrincipalScope::Everyone,
        PrincipalConstraint::Is(ty) => match ty.to_string().as_str() {
            "Agent" => PrincipalScope::Everyone,
            _ => PrincipalScope::Nobody,
        },
        PrincipalConstraint::Eq(uid) => match named(&uid) {
            ("Agent", id) => PrincipalScope::Agent(id.into()),
            _ => PrincipalScope::Nobody,
        },
        PrincipalConstraint::In(uid) => ancestor(&uid),
        PrincipalConstraint::IsIn(ty, uid) => match ty.to_string().as_str() {
            "Agent" => ancestor(&uid),
            _ => PrincipalScope::Nobody,
        },
    }
}

/// `in` is reflexive: an agent is in itself.
fn ancestor(uid: &EntityUid) -> PrincipalScope {
    match named(uid) {
        ("Agent", id) => PrincipalScope::Agent(id.into()),
        ("Group", id) => PrincipalScope::Group(id.into()),
        _ => PrincipalScope::Nobody,
    }
}

/// Which columns the rule covers; an action or server that does not exist covers none.
pub fn columns(policy: &Policy, surface: &Surface) -> Columns {
    let by_action = match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => {
            Some(surface.of_action(named(&uid).1).map_or_else(Vec::new, |(own, _)| own.to_vec()))
        }
        ActionConstraint::In(uids) => {
            let mut covered: Vec<u32> = Vec::new();
            for uid in &uids {
                if let Some((own, members)) = surface.of_action(named(uid).1) {
                    covered.extend(own.iter().chain(members));
                }
            }
            covered.sort_unstable();
            covered.dedup();
            Some(covered)
        }
    };
    let server = match policy.resource_constraint() {
        ResourceConstraint::Any => Some(None),
        ResourceConstraint::Is(ty) => (ty.to_string() == "Server").then_some(None),
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => server(&uid, surface),
        ResourceConstraint::IsIn(ty, uid) => (ty.to_string() == "Server").then(|| server(&uid, surface)).flatten(),
    };
    let matching = match server {
        None => Vec::new(),
        Some(wanted) => {
            let mut all = Vec::new();
            let every = || 0..u32::try_from(surface.columns.len()).unwrap_or(u32::MAX);
            match &by_action {
                Some(some) => all.extend(some),
                None => all.extend(every()),
            }
            all.retain(|column: &u32| match (wanted, surface.columns.get(*column as usize)) {
                (None, Some(_)) => true,
                (Some(wanted), Some(column)) => column.server == wanted,
                (Some(_) | None, None) => false,
            });
            all
        }
    };
    Columns { matching, by_action }
}

fn server(uid: &EntityUid, surface: &Surface) -> Option<Option<super::surface::ServerIndex>> {
    match named(uid) {
        ("Server", name) => surface.server(name).map(Some),
        _ => None,
    }
}

/// Type and id; a namespaced type has no meaning here and reads as none of ours.
pub fn named(uid: &EntityUid) -> (&str, &str) {
    let ty = uid.type_name();
    let plain = if ty.namespace_components().next().is_none() { ty.basename() } else { "" };
    (plain, uid.id().unescaped())
}
