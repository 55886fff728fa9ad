//! Gives a rule what it reads. In: who calls, what the call carries, where and when. Out: Cedar's context and entities, only as far as the plan says. Never here: decisions.

use std::collections::HashSet;
use std::net::IpAddr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Expression,
};

use super::calendar::{Calendars, Open};
use super::convert::{self, Account, Unfit};
use super::plan::Plan;
use super::reads::Fact;
use super::sql::{self, SqlFacts, SqlRefusal, SqlRules};
use super::who::Who;
use crate::identity::claims::ClaimValue;
use crate::protocol::json::Value;
use crate::time::UnixMillis;

/// What a call carries beside its caller.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// `params.arguments` of a `tools/call`.
    pub arguments: Option<Value<'a>>,
    /// Where the connection comes from.
    pub source: IpAddr,
    /// The time of the decision.
    pub now: UnixMillis,
}

/// An agent's standing facts, from the registry.
#[derive(Clone, Debug)]
pub struct Standing {
    /// `Agent::"…"`.
    pub uid: EntityUid,
    /// `Group::"…"` of each of its groups.
    pub groups: Box<[EntityUid]>,
    /// The customer accounts it may act for.
    pub accounts: Box<[Box<str>]>,
}

/// Why a fact cannot be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An argument.
    Argument(Unfit),
    /// A claim of a shape that no rule can read.
    Claim,
    /// SQL that is not judged, and the argument that holds it.
    Sql(SqlRefusal, Box<str>),
    /// The instant lies outside of what the calendars are laid out for.
    Calendars,
    /// Anything else; our own values always convert, so this is a defect, and a denial.
    Defect,
}

/// One of our types' entities. The type's name is a constant of ours.
pub fn entity(ty: &str, id: &str) -> Option<EntityUid> {
    Some(typed(&type_name(ty)?, id))
}

/// One of our types. Cedar parses its name, which takes longer than to make an entity of it.
pub fn type_name(ty: &str) -> Option<EntityTypeName> {
    ty.parse().ok()
}

/// An entity of a type.
pub fn typed(ty: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
}

/// What the plan reads of the caller and of what is asked for.
#[derive(Clone, Copy)]
pub struct Subjects<'a> {
    /// The caller's standing facts.
    pub standing: &'a Standing,
    /// The caller as the token shows it.
    pub who: &'a Who<'a>,
    /// The resource asked for.
    pub uri: Option<&'a str>,
    /// The prompt asked for.
    pub name: Option<&'a str>,
    /// The calendars of the snapshot.
    pub calendars: &'a Calendars,
}

/// The context of one evaluation.
pub fn context(plan: &Plan, of: Subjects<'_>, facts: &Facts<'_>) -> Result<Context, Missing> {
    let mut pairs: Vec<(String, Expression)> = Vec::with_capacity(8);
    let mut add = |name: &str, value: Expression| pairs.push((name.to_owned(), value));
    if let Some(input) = &plan.input {
        add("input", convert::input(input, facts.arguments).map_err(Missing::Argument)?);
    }
    if plan.facts.contains(Fact::Account)
        && let Some(account) = account(plan, of.who, facts)?
    {
        add(
            "account",
            Expression::new_string(match account {
                Account::Text(text) => text.to_owned(),
                Account::Number(number) => number.to_string(),
            }),
        );
    }
    if plan.facts.contains(Fact::Calendars) {
        let open = open_calendars(of.calendars, facts)?;
        let names =
            of.calendars.names().enumerate().filter(|(position, _)| open.contains(*position)).map(|(_, name)| name);
        add("calendars", texts(names));
    }
    if let Some(rules) = &plan.sql {
        let facts = sql_facts(rules, facts)?;
        let members = [
            ("kinds".to_owned(), texts(facts.kinds.iter().copied())),
            ("tables".to_owned(), texts(facts.tables.iter().map(|name| &**name))),
            ("functions".to_owned(), texts(facts.functions.iter().map(|name| &**name))),
        ];
        add("sql", Expression::new_record(members).map_err(|_| Missing::Defect)?);
    }
    if plan.facts.contains(Fact::Claims) {
        add("claims", Expression::new_entity_uid(entity("Claims", CLAIMS_ID).ok_or(Missing::Defect)?));
    }
    if plan.facts.contains(Fact::Now) {
        add("now", Expression::new_datetime(facts.now.rfc3339()));
    }
    if plan.facts.contains(Fact::Source) {
        add("source", Expression::new_ip(facts.source.to_canonical().to_string()));
    }
    for (fact, name, value) in [(Fact::Uri, "uri", of.uri), (Fact::Name, "name", of.name)] {
        if let (true, Some(value)) = (plan.facts.contains(fact), value) {
            add(name, Expression::new_string(value.to_owned()));
        }
    }
    Context::from_pairs(pairs).map_err(|_| Missing::Defect)
}

/// The SQL of a call as its tool's rules read it.
pub fn sql_facts(rules: &SqlRules, facts: &Facts<'_>) -> Result<SqlFacts, Missing> {
    let text = convert::text(facts.arguments, &rules.argument).map_err(Missing::Argument)?;
    sql::read(text, rules).map_err(|refusal| Missing::Sql(refusal, rules.argument.clone()))
}

/// The calendars that are open at the time of the decision.
pub fn open_calendars(calendars: &Calendars, facts: &Facts<'_>) -> Result<Open, Missing> {
    calendars.open(facts.now).ok_or(Missing::Calendars)
}

fn texts<'t>(all: impl Iterator<Item = &'t str>) -> Expression {
    Expression::new_set(all.map(|text| Expression::new_string(text.to_owned())))
}

/// The account of the call: the argument's where the tool's configuration names one, the token's otherwise.
pub(super) fn account<'a>(plan: &Plan, who: &Who<'a>, facts: &Facts<'a>) -> Result<Option<Account<'a>>, Missing> {
    match &plan.account {
        None => Ok(who.account.map(Account::Text)),
        Some(argument) => convert::account(argument, facts.arguments).map_err(Missing::Argument),
    }
}

/// The entities of one evaluation; most plans read none.
pub fn entities(plan: &Plan, of: Subjects<'_>, action: (&EntityUid, &[EntityUid])) -> Result<Entities, Missing> {
    let mut all = Vec::with_capacity(3);
    if plan.facts.contains(Fact::Principal) {
        let accounts =
            Expression::new_set(of.standing.accounts.iter().map(|account| Expression::new_string(account.to_string())));
        let user = of.who.user.map(|user| ("user".to_owned(), Expression::new_string(user.to_owned())));
        let attributes = [("accounts".to_owned(), accounts)].into_iter().chain(user);
        let agent = Entity::new_with_tags(of.standing.uid.clone(), attributes, of.standing.groups.iter().cloned(), []);
        all.push(agent.map_err(|_| Missing::Defect)?);
    }
    if plan.facts.contains(Fact::Claims) {
        let mut tags = Vec::new();
        of.who.claims.try_each(|name, value| {
            let asked = plan.computes_claims || plan.claims.iter().any(|asked| **asked == *name);
            match (asked, claim(value)) {
                (false, _) => {}
                (true, Some(text)) => tags.push((name.to_owned(), Expression::new_string(text))),
                (true, None) => return Err(Missing::Claim),
            }
            Ok(())
        })?;
        let claims = entity("Claims", CLAIMS_ID).ok_or(Missing::Defect)?;
        all.push(Entity::new_with_tags(claims, [], [], tags).map_err(|_| Missing::Defect)?);
    }
    if plan.facts.contains(Fact::Action) {
        all.push(Entity::new_no_attrs(action.0.clone(), action.1.iter().cloned().collect::<HashSet<_>>()));
    }
    Entities::from_entities(all, None).map_err(|_| Missing::Defect)
}

/// Tags are strings: numbers and truth values are given as they are written.
fn claim(value: &ClaimValue) -> Option<String> {
    match value {
        ClaimValue::Text(text) => Some(text.to_string()),
        ClaimValue::Integer(number) => Some(number.to_string()),
        ClaimValue::Truth(truth) => Some(truth.to_string()),
        ClaimValue::Texts(_) | ClaimValue::Unreadable => None,
    }
}

/// The id of the one claims entity of an evaluation; rules cannot name it.
const CLAIMS_ID: &str = "token";
