//! Resolves a rule's scope. In: its principal, action and resource constraints. Out: whom it is about, and which columns it covers. Never here: conditions.

use std::sync::Arc;

use ahash::AHashMap;
use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::surface::{ServerIndex, Shape, Surface};

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

/// What a rule is about, before its conditions and as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whom.
    pub principal: PrincipalScope,
    /// Which actions.
    pub actions: Actions,
    /// Which servers.
    pub servers: Servers,
    /// How it is written.
    pub form: Form,
}

/// The actions that a scope names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actions {
    /// All.
    Every,
    /// Those of this id, and not the members of a group of that name.
    Exactly(Box<str>),
    /// Those of these ids and the members of these groups.
    Within(Box<[Box<str>]>),
}

/// The servers that a scope names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Servers {
    /// All.
    Every,
    /// One.
    Named(Box<str>),
    /// None: the constraint names something that is no server.
    Nowhere,
}

/// How a scope is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By types of ours alone, each in its own place, and by names in plain ASCII: where they exist, a validator has nothing to say of it.
    Plain,
    /// In some other way, which may be wrong.
    Other,
}

/// The columns a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Those whose action and server match, sorted.
    pub matching: Arc<[u32]>,
    /// Those whose action matches on whichever server, sorted; none where the rule covers every action.
    pub by_action: Option<Arc<[u32]>>,
    /// Names the shapes of those of the action, whatever their order and number.
    pub action_shapes: Shape,
    /// Names the shapes of both.
    pub shapes: Shape,
}

impl Scope {
    /// What a rule is about.
    pub fn of(policy: &Policy) -> Self {
        let (principals, actions, resources) =
            (policy.principal_constraint(), policy.action_constraint(), policy.resource_constraint());
        let plain = principal_is_plain(&principals) && action_is_plain(&actions) && resource_is_plain(&resources);
        Self {
            principal: principal_of(&principals),
            actions: match &actions {
                ActionConstraint::Any => Actions::Every,
                ActionConstraint::Eq(uid) => Actions::Exactly(named(uid).1.into()),
                ActionConstraint::In(uids) => Actions::Within(uids.iter().map(|uid| named(uid).1.into()).collect()),
            },
            servers: match &resources {
                ResourceConstraint::Any => Servers::Every,
                ResourceConstraint::Is(ty) if ty.to_string() == "Server" => Servers::Every,
                ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => server(uid),
                ResourceConstraint::IsIn(ty, uid) if ty.to_string() == "Server" => server(uid),
                ResourceConstraint::Is(_) | ResourceConstraint::IsIn(..) => Servers::Nowhere,
            },
            form: if plain { Form::Plain } else { Form::Other },
        }
    }
}

fn principal_of(constraint: &PrincipalConstraint) -> PrincipalScope {
    match constraint {
        PrincipalConstraint::Any => PrincipalScope::Everyone,
        PrincipalConstraint::Is(ty) => match ty.to_string().as_str() {
            "Agent" => PrincipalScope::Everyone,
            _ => PrincipalScope::Nobody,
        },
        PrincipalConstraint::Eq(uid) => match named(uid) {
            ("Agent", id) => PrincipalScope::Agent(id.into()),
            _ => PrincipalScope::Nobody,
        },
        PrincipalConstraint::In(uid) => ancestor(uid),
        PrincipalConstraint::IsIn(ty, uid) => match ty.to_string().as_str() {
            "Agent" => ancestor(uid),
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

fn server(uid: &EntityUid) -> Servers {
    match named(uid) {
        ("Server", name) => Servers::Named(name.into()),
        _ => Servers::Nowhere,
    }
}

/// Whether an entity is of this type, with a name that no reader can mistake.
fn is_plain(uid: &EntityUid, wanted: &str) -> bool {
    let (ty, id) = named(uid);
    ty == wanted && id.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic())
}

fn principal_is_plain(constraint: &PrincipalConstraint) -> bool {
    match constraint {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Is(ty) => ty.to_string() == "Agent",
        PrincipalConstraint::Eq(uid) => is_plain(uid, "Agent"),
        PrincipalConstraint::In(uid) => is_plain(uid, "Group"),
        PrincipalConstraint::IsIn(ty, uid) => ty.to_string() == "Agent" && is_plain(uid, "Group"),
    }
}

fn action_is_plain(constraint: &ActionConstraint) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is_plain(uid, "Action"),
        ActionConstraint::In(uids) => uids.iter().all(|uid| is_plain(uid, "Action")),
    }
}

fn resource_is_plain(constraint: &ResourceConstraint) -> bool {
    match constraint {
        ResourceConstraint::Any => true,
        ResourceConstraint::Is(ty) => ty.to_string() == "Server",
        ResourceConstraint::Eq(uid) => is_plain(uid, "Server"),
        ResourceConstraint::In(_) | ResourceConstraint::IsIn(..) => false,
    }
}

/// The columns of every scope that was asked about; many rules name the same.
#[derive(Default)]
pub struct Scopes<'s> {
    known: AHashMap<(&'s Actions, &'s Servers), Arc<Columns>>,
}

impl<'s> Scopes<'s> {
    /// Which columns a scope covers.
    pub fn columns(&mut self, scope: &'s Scope, surface: &Surface) -> Arc<Columns> {
        let made = || Arc::new(columns(scope, surface));
        Arc::clone(self.known.entry((&scope.actions, &scope.servers)).or_insert_with(made))
    }
}

/// Which columns a scope covers; an action or server that does not exist covers none.
pub fn columns(scope: &Scope, surface: &Surface) -> Columns {
    let by_action: Option<Arc<[u32]>> = match &scope.actions {
        Actions::Every => None,
        Actions::Exactly(id) => Some(surface.of_action(id).map_or_else(|| [].into(), |(own, _)| own.into())),
        Actions::Within(ids) => {
            let mut covered: Vec<u32> = Vec::new();
            for id in ids {
                if let Some((own, members)) = surface.of_action(id) {
                    covered.extend(own.iter().chain(members));
                }
            }
            covered.sort_unstable();
            covered.dedup();
            Some(covered.into())
        }
    };
    let wanted = match &scope.servers {
        Servers::Every => Some(None),
        Servers::Named(name) => surface.server(name).map(Some),
        Servers::Nowhere => None,
    };
    let matching = match wanted {
        None => [].into(),
        Some(wanted) => matching(by_action.as_ref(), wanted, surface),
    };
    let action_shapes = match &by_action {
        None => surface.shapes_of(0..surface.count()),
        Some(some) => surface.shapes_of(some.iter().copied()),
    };
    let matching_shapes =
        if by_action.as_ref() == Some(&matching) { action_shapes } else { surface.shapes_of(matching.iter().copied()) };
    let shapes = Shape::of_both(&matching_shapes, &action_shapes);
    Columns { matching, by_action, action_shapes, shapes }
}

fn matching(by_action: Option<&Arc<[u32]>>, wanted: Option<ServerIndex>, surface: &Surface) -> Arc<[u32]> {
    let matches = |column: &u32| match (wanted, surface.columns.get(*column as usize)) {
        (None, Some(_)) => true,
        (Some(wanted), Some(column)) => column.server == wanted,
        (Some(_) | None, None) => false,
    };
    match by_action {
        Some(some) if some.iter().all(matches) => Arc::clone(some),
        Some(some) => some.iter().copied().filter(matches).collect(),
        None => (0..surface.count()).filter(matches).collect(),
    }
}

/// Type and id; a namespaced type has no meaning here and reads as none of ours.
pub fn named(uid: &EntityUid) -> (&str, &str) {
    let ty = uid.type_name();
    let plain = if ty.namespace_components().next().is_none() { ty.basename() } else { "" };
    (plain, uid.id().unescaped())
}
