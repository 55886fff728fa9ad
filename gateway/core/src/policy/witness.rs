//! Confirms a counterexample. In: what a solver claims, the rules. Out: a call that can be read and made, on which our engine and Cedar both do what was claimed; or why not. Never here: solvers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cedar_policy::{Authorizer, Context, Decision, Effect, Entities, EvalResult, PolicySet, Request};
use serde_json::{Map, Value, json};

use super::calendar::Calendars;
use super::engine::{Action, Engine};
use super::extract::{address, instant, plain, string, strings, tags, typed};
use super::facts::{self, Facts};
use super::ground::{Book, Ground};
use super::index::AgentSource;
use super::invariant::Agents;
use super::load::Rule;
use super::mend;
use super::question::{About, Account, Question};
use super::scope;
use super::sql::{self, SqlFacts};
use super::surface::{Column, Subject};
use super::who::{Claims, Who};
use crate::identity::AgentIndex;
use crate::identity::claims::ClaimValue;
use crate::limits::JSON_DEPTH_MAX;
use crate::protocol::json::{JsonLimits, Scratch, read};
use crate::time::UnixMillis;

/// A call that shows that something does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Who calls.
    pub agent: String,
    /// Whether this agent is in the registry, just like that.
    pub registered: bool,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its accounts.
    pub accounts: Vec<String>,
    /// The user it acts for.
    pub user: Option<String>,
    /// The server.
    pub server: String,
    /// The action.
    pub action: String,
    /// The arguments of a call of a tool.
    pub arguments: Option<Value>,
    /// The resource that is read.
    pub uri: Option<String>,
    /// The prompt that is got.
    pub name: Option<String>,
    /// The customer account.
    pub account: Option<String>,
    /// The token's claims that matter.
    pub claims: BTreeMap<String, String>,
    /// Where the call comes from.
    pub source: IpAddr,
    /// When.
    pub now: UnixMillis,
    /// What becomes of it, as `permitted by support` or `denied (no_rule)`.
    pub outcome: String,
    /// The arguments as Cedar's JSON.
    input: Value,
}

/// The id of an agent that nobody registered.
const SOMEBODY: &str = "some-agent";

/// Bytes of arguments that a solver may invent.
const ARGUMENTS_BYTES_MAX: usize = 1 << 20;

/// What is claimed, as a call that our engine and Cedar's `Authorizer` both judge as claimed. A registered agent is named where one will do.
///
/// # Errors
/// Why the claim is not confirmed: then nothing was learned.
pub fn confirm(
    ground: &Ground<'_>,
    (about, agents): (&About<'_>, Agents),
    question: &Question,
    (request, entities): (&Request, &Entities),
) -> Result<Case, String> {
    let column = ground.surface.columns.get(question.item.column as usize).ok_or("there is no such action")?;
    let claimed = Case::of(ground, question, column, (request, entities))?;
    // As the solver says it, and with the time and the statement that fit what it says of calendars and SQL.
    let fitted = claimed.fitted(ground, column, request);
    let claims: Vec<Case> = std::iter::once(claimed).chain(fitted).collect();
    let judge = Judge { ground, about, question, column };
    for (position, agent) in ground.agents().iter().enumerate() {
        let other = about.other().map(|book| &book.engine);
        for claimed in &claims {
            if let Ok(case) = judge.plainest(claimed.by(agent), (&ground.book.engine, other), position) {
                return Ok(case);
            }
        }
    }
    if agents == Agents::Registered {
        return Err("no registered agent can make the call".to_owned());
    }
    let mut refused = Err("there is no call".to_owned());
    for claimed in claims {
        refused = judge.tried(claimed);
        if refused.is_ok() {
            break;
        }
    }
    refused
}

impl<'b> About<'b> {
    fn other(&self) -> Option<&'b Book<'b>> {
        match self {
            Self::NotMore(other) | Self::NotLess(other) => Some(other),
            Self::Never(_) | Self::Always(_) | Self::NeverErrors(_) => None,
        }
    }
}

struct Judge<'j> {
    ground: &'j Ground<'j>,
    about: &'j About<'j>,
    question: &'j Question,
    column: &'j Column,
}

impl Judge<'_> {
    /// The call by an agent that nobody registered.
    fn tried(&self, claimed: Case) -> Result<Case, String> {
        let agent = AgentSource {
            id: &claimed.agent,
            groups: claimed.groups.iter().map(String::as_str).collect(),
            accounts: claimed.accounts.iter().map(String::as_str).collect(),
        };
        let untried = "the call cannot be tried";
        let (engine, position) = self.ground.trial(&self.ground.book, &agent).ok_or(untried)?;
        let other = match self.about.other() {
            Some(book) => Some(self.ground.trial(book, &agent).ok_or(untried)?.0),
            None => None,
        };
        self.plainest(claimed, (&engine, other.as_ref()), position)
    }

    /// The call, freed of all that the solver chose at will: what does not bear on it only misleads a reader.
    fn plainest(&self, case: Case, engines: (&Engine, Option<&Engine>), position: usize) -> Result<Case, String> {
        let outcome = self.holds(&case, engines, position)?;
        let mut plainest = Case { outcome, ..case };
        let plainer: [fn(&mut Case); 5] = [
            |case| case.now = NOON,
            |case| case.source = LOOPBACK,
            |case| case.user = None,
            |case| case.account = None,
            |case| case.claims.clear(),
        ];
        for plainer in plainer {
            let mut tried = plainest.clone();
            plainer(&mut tried);
            // Without an account, a rule that reads it would break what must hold for another reason.
            if tried.account != plainest.account && self.about.reads_account(self.ground, self.question.item.column) {
                continue;
            }
            if let Ok(outcome) = self.holds(&tried, engines, position) {
                plainest = Case { outcome, ..tried };
            }
        }
        Ok(plainest)
    }

    /// Whether the call breaks what must hold; what becomes of it.
    fn holds(&self, case: &Case, engines: (&Engine, Option<&Engine>), position: usize) -> Result<String, String> {
        let (context, entities) = case.concrete(self.column, self.ground.calendars())?;
        let uid = |ty: &str, id: &str| facts::entity(ty, id).ok_or("the call cannot be named");
        let (agent, server) = (uid("Agent", &case.agent)?, uid("Server", &case.server)?);
        let request = Request::new(agent, self.question.action.clone(), server, context, None);
        let call = (&request.map_err(|error| error.to_string())?, &entities);
        let (permitted, outcome) = self.decided(case, (engines.0, &self.ground.book), position, call)?;
        match self.about {
            About::Never(named) if permitted && matches(named, call)? => Ok(outcome),
            About::Always(named) if !permitted && matches(named, call)? => Ok(outcome),
            About::Never(_) | About::Always(_) => Err(format!("the call is {outcome}, or not one that is meant")),
            About::NotMore(book) | About::NotLess(book) => {
                let engine = engines.1.ok_or("there are no other rules")?;
                let (before, was) = self.decided(case, (engine, book), position, call)?;
                let wider = matches!(self.about, About::NotMore(_));
                if permitted == wider && before != wider {
                    return Ok(format!("{outcome}, by the other rules {was}"));
                }
                Err(format!("the call is {outcome}, by the other rules {was}"))
            }
            About::NeverErrors(_) => self.fails(call, permitted, outcome),
        }
    }

    fn fails(&self, call: (&Request, &Entities), permitted: bool, outcome: String) -> Result<String, String> {
        let at = self.question.item.rule.unwrap_or(usize::MAX);
        let rule = self.ground.book.rules.get(at).ok_or("there is no such rule")?;
        let numbered = rule.parsed.numbered();
        let response = Authorizer::new().is_authorized(call.0, &self.ground.book.set, call.1);
        let failed = response.diagnostics().errors().any(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id() == numbered.id(),
        });
        match (failed, rule.parsed.effect, permitted) {
            (true, Effect::Forbid, true) => Err(format!("rule `{}` fails and the call is {outcome}", rule.parsed.id)),
            (true, Effect::Forbid | Effect::Permit, _) => Ok(format!("{outcome}; rule `{}` fails", rule.parsed.id)),
            (false, _, _) => Err(format!("rule `{}` does not fail", rule.parsed.id)),
        }
    }

    /// What our engine decides; Cedar over all rules must agree.
    fn decided(
        &self,
        case: &Case,
        (engine, book): (&Engine, &Book<'_>),
        position: usize,
        call: (&Request, &Entities),
    ) -> Result<(bool, String), String> {
        let forbids =
            |id: &cedar_policy::PolicyId| book.set.policy(id).is_some_and(|rule| rule.effect() == Effect::Forbid);
        let response = Authorizer::new().is_authorized(call.0, &book.set, call.1);
        let failed_forbid = response.diagnostics().errors().any(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => forbids(error.policy_id()),
        });
        let cedar = response.decision() == Decision::Allow && !failed_forbid;
        let mut scratch = Scratch::new();
        let text = case.arguments.as_ref().map(Value::to_string);
        let limits = JsonLimits { bytes_max: ARGUMENTS_BYTES_MAX, depth_max: JSON_DEPTH_MAX };
        let document = match &text {
            Some(text) => Some(read(&mut scratch, text.as_bytes(), &limits).map_err(|_| "the arguments are no JSON")?),
            None => None,
        };
        let arguments = document.as_ref().map(|document| document.root());
        let claims: Vec<(Box<str>, ClaimValue)> = case
            .claims
            .iter()
            .map(|(name, value)| (name.as_str().into(), ClaimValue::Text(value.as_str().into())))
            .collect();
        let who = Who {
            agent: AgentIndex(u32::try_from(position).unwrap_or(u32::MAX)),
            id: &case.agent,
            user: case.user.as_deref(),
            account: case.account.as_deref(),
            claims: Claims::Listed(&claims),
        };
        let action = action(self.column, case)?;
        let facts = Facts { arguments, source: case.source, now: case.now };
        let decision = engine.decide(&who, self.column.server, action, &facts);
        let rules = |rules: &[u32]| {
            let ids: Vec<&str> = rules.iter().filter_map(|rule| engine.policy_id(*rule)).collect();
            ids.join(", ")
        };
        let (permitted, outcome) = match &decision {
            Ok(permit) => (true, format!("permitted by {}", rules(permit.determining().rules()))),
            Err(denial) => match rules(denial.determining().rules()) {
                by if by.is_empty() => (false, format!("denied ({})", denial.cause().name())),
                by => (false, format!("denied by {by} ({})", denial.cause().name())),
            },
        };
        if permitted != cedar {
            let said = if cedar { "permits" } else { "denies" };
            return Err(format!("the call is {outcome}, but Cedar {said} it"));
        }
        Ok((permitted, outcome))
    }
}

/// Whether one of the permits matches.
fn matches(named: &[Rule], call: (&Request, &Entities)) -> Result<bool, String> {
    let mut set = PolicySet::new();
    for rule in named {
        set.add(rule.parsed.numbered()).map_err(|error| error.to_string())?;
    }
    Ok(Authorizer::new().is_authorized(call.0, &set, call.1).decision() == Decision::Allow)
}

fn action<'c>(column: &'c Column, case: &'c Case) -> Result<Action<'c>, String> {
    Ok(match column.subject {
        Subject::Tool(tool) => Action::Tool(tool),
        Subject::ResourceRead => Action::ResourceRead { uri: case.uri.as_deref().unwrap_or_default() },
        Subject::PromptGet => Action::PromptGet { name: case.name.as_deref().unwrap_or_default() },
        Subject::Sample => Action::Sample,
        Subject::Elicit => Action::Elicit,
        Subject::Roots => Action::Roots,
        Subject::Extension(_) => Action::Extension { method: &column.action },
        Subject::Connect | Subject::Complete | Subject::Task => {
            return Err("what follows from other actions is not asked about".to_owned());
        }
    })
}

impl Case {
    /// What the solver's request says.
    fn of(
        ground: &Ground<'_>,
        question: &Question,
        column: &Column,
        (request, entities): (&Request, &Entities),
    ) -> Result<Self, String> {
        let principal = request.principal().ok_or("the call has no caller")?;
        let agent = entities.get(principal);
        let attribute = |name: &str| agent.and_then(|agent| agent.attr(name)).and_then(Result::ok);
        let ancestors = entities.ancestors(principal).into_iter().flatten();
        let groups: BTreeSet<String> = ancestors
            .filter_map(|uid| match scope::named(uid) {
                ("Group", id) if ground.knows_group(id) => Some(id.to_owned()),
                _ => None,
            })
            .collect();
        let id = principal.id().unescaped();
        let known = ground.agents().iter().any(|agent| agent.id == id);
        let context = request.context().ok_or("the call has no context")?;
        let text = |name: &str| context.get(name).as_ref().and_then(string);
        let input = context.get("input");
        let tool = matches!(column.subject, Subject::Tool(_));
        let claims = match context.get("claims") {
            Some(EvalResult::EntityUid(uid)) => entities.get(&uid).map(tags).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let face = ground.surface.faces.get(usize::from(column.server.0)).ok_or("there is no such server")?;
        Ok(Self {
            agent: if known { id.to_owned() } else { SOMEBODY.to_owned() },
            registered: false,
            groups: groups.into_iter().collect(),
            accounts: attribute("accounts").map(strings).unwrap_or_default(),
            user: attribute("user").as_ref().and_then(string),
            server: face.name.to_string(),
            action: column.action.to_string(),
            arguments: tool.then(|| plain(input.as_ref())),
            uri: text("uri"),
            name: text("name"),
            account: match question.item.account {
                Account::Named => text("account"),
                Account::Absent => None,
            },
            claims,
            source: context.get("source").as_ref().and_then(address).unwrap_or(LOOPBACK),
            now: instant(request, entities)?,
            outcome: String::new(),
            input: typed(input.as_ref()),
        })
    }

    /// What its statement does, where the tool takes one and it can be read.
    fn sql(&self, column: &Column) -> Option<SqlFacts> {
        let rules = column.sql.as_ref()?;
        sql::read(self.arguments.as_ref()?.pointer(&rules.argument)?.as_str()?, rules).ok()
    }

    /// The same call at a time and with a statement that have what the solver says of calendars and of SQL.
    fn fitted(&self, ground: &Ground<'_>, column: &Column, request: &Request) -> Option<Self> {
        let context = request.context()?;
        let open = context.get("calendars").map(strings).unwrap_or_default();
        let mut fitted = self.clone();
        fitted.now = mend::instant(ground.calendars(), &open).unwrap_or(self.now);
        if let (Some(rules), Some(EvalResult::Record(facts))) = (&column.sql, context.get("sql")) {
            let of = |name: &str| facts.get(name).cloned().map(strings).unwrap_or_default();
            let statement = mend::statement(&of("kinds"), &of("tables"), &of("functions"))?;
            for place in fitted.arguments.iter_mut().chain([&mut fitted.input]) {
                *place.pointer_mut(&rules.argument)? = json!(statement);
            }
        }
        Some(fitted)
    }

    /// The same call by a registered agent.
    fn by(&self, agent: &AgentSource<'_>) -> Self {
        Self {
            agent: agent.id.to_owned(),
            registered: true,
            groups: agent.groups.iter().map(|group| (*group).to_owned()).collect(),
            accounts: agent.accounts.iter().map(|account| (*account).to_owned()).collect(),
            ..self.clone()
        }
    }

    /// Cedar's context and entities.
    fn concrete(&self, column: &Column, calendars: &Calendars) -> Result<(Context, Entities), String> {
        let mut context = Map::new();
        let extension = |name: &str, text: String| json!({"__extn": {"fn": name, "arg": text}});
        context.insert("now".into(), extension("datetime", self.now.rfc3339()));
        context.insert("source".into(), extension("ip", self.source.to_canonical().to_string()));
        context.insert("claims".into(), json!({"__entity": {"type": "Claims", "id": "token"}}));
        for (name, value) in [("account", &self.account), ("uri", &self.uri), ("name", &self.name)] {
            context.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        if self.arguments.is_some() {
            context.insert("input".into(), self.input.clone());
        }
        // What cannot be told is left out: a rule that reads it fails.
        context.extend(mend::open(calendars, self.now).map(|open| ("calendars".to_owned(), json!(open))));
        if let Some(facts) = self.sql(column) {
            let members = json!({"kinds": facts.kinds, "tables": facts.tables, "functions": facts.functions});
            context.insert("sql".into(), members);
        }
        let context = Context::from_json_value(Value::Object(context), None).map_err(|error| error.to_string())?;
        let mut attributes = json!({"accounts": self.accounts});
        if let (Some(user), Some(members)) = (&self.user, attributes.as_object_mut()) {
            members.insert("user".into(), json!(user));
        }
        let of = |ty: &str, id: &str| json!({"type": ty, "id": id});
        let groups: Vec<Value> = self.groups.iter().map(|group| of("Group", group)).collect();
        let of_action: Vec<Value> = column.groups.iter().map(|group| of("Action", group)).collect();
        let entities = json!([
            {"uid": of("Agent", &self.agent), "attrs": attributes, "parents": groups},
            {"uid": of("Claims", "token"), "attrs": {}, "parents": [], "tags": self.claims},
            {"uid": of("Action", &self.action), "attrs": {}, "parents": of_action},
        ]);
        let entities = Entities::from_json_value(entities, None).map_err(|error| error.to_string())?;
        Ok((context, entities))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "agent": self.agent, "registered": self.registered, "groups": self.groups, "accounts": self.accounts, "user": self.user,
            "server": self.server, "action": self.action, "arguments": self.arguments, "uri": self.uri, "name": self.name,
            "account": self.account, "claims": self.claims, "source": self.source.to_string(), "now": self.now.rfc3339(),
            "outcome": self.outcome,
        })
    }

    /// For people: what is called, by whom, with what; only what the call carries.
    pub fn words(&self) -> Vec<(&'static str, String)> {
        let none = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        let known = if self.registered { "registered" } else { "not registered: any agent in these groups" };
        let mut words = vec![("agent", format!("{} ({known}); groups: {}", self.agent, none(&self.groups)))];
        let mut say = |name, value: Option<String>| words.extend(value.map(|value| (name, value)));
        say("accounts", (!self.accounts.is_empty()).then(|| none(&self.accounts)));
        say("user", self.user.as_ref().map(|user| format!("{user:?}")));
        say("action", Some(self.action.clone()));
        say("server", Some(self.server.clone()));
        say("arguments", self.arguments.as_ref().map(Value::to_string));
        say("uri", self.uri.as_ref().map(|uri| format!("{uri:?}")));
        say("name", self.name.as_ref().map(|name| format!("{name:?}")));
        say("account", Some(self.account.as_ref().map_or_else(|| "none".to_owned(), |account| format!("{account:?}"))));
        say("claims", (!self.claims.is_empty()).then(|| json!(self.claims).to_string()));
        say("from", Some(format!("{} at {}", self.source, self.now.rfc3339())));
        say("outcome", Some(self.outcome.clone()));
        words
    }
}

/// When a call is made whose time no rule asks: noon of 2026-01-05, a Monday.
const NOON: UnixMillis = UnixMillis(1_767_614_400_000);

/// Where a call comes from that no rule asks.
const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
