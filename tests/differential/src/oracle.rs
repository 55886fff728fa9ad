//! Answers with Cedar. In: the generator's ground, rules and questions. Out: what the decision must be, and which rules determine it. Never here: anything of the engine.
//!
//! Cedar's `Authorizer` judges the whole policy set, scopes included. What the product says beyond or beside Cedar is modelled here, and is all there is:
//! 1. A forbid that errs denies, and determines.
//! 2. An argument, account or claim that a rule in question reads and that is not what was promised denies. In question is a rule whose scope matches and
//!    that who, what and where alone do not decide, with those beside it (see [`crate::known`] and [`crate::convert`]).
//!    Where such a rule compares all arguments at once, keys that differ in case only are told apart.
//! 3. What who, what and where alone decide stays decided where the call cannot be read: a forbid that always holds determines alone, and where no
//!    permit can hold the denial names no rule.
//! 4. `connect` is implied by any possible permit on the server; `complete` follows what is completed and `task` the call that made it; a forbid on the
//!    action itself still counts.
//! 5. SQL that is not judged, and an instant for which calendars are not laid out, deny like any other misfit where a rule in question reads them.
//! 6. A call whose arguments are no object, or hold one that the schema rules out, is denied; so is a drifted tool and a method that nobody configured.

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicyId, PolicySet, Request, RestrictedExpression as Expression,
};

use crate::asks::{Ask, Call};
use crate::calendars::laid_out;
use crate::convert::{self, Misfit};
use crate::ground::{Claim, Column, Ground, Kind, Tool};
use crate::json::Json;
use crate::known::{Certainty, certainty};
use crate::rules::{Effect, Read, Rule};
use crate::statements::{Facts, Sql};
use crate::values::iso;

/// What the decision must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Permitted by exactly these rules.
    Allowed(Vec<u32>),
    /// Permitted because these rules could permit something; where they are many, some of them are named.
    Implied(Vec<u32>),
    /// Denied for this cause by exactly these rules.
    Denied(&'static str, Vec<u32>),
    /// Denied for one of these misfits.
    Unfit(Vec<Misfit>),
}

/// Cedar, made ready for one world.
pub struct Oracle<'w> {
    ground: &'w Ground,
    rules: &'w [Rule],
    set: PolicySet,
    /// All entities, by the user that the token names.
    entities: Vec<Entities>,
    /// By agent.
    principals: Vec<EntityUid>,
    /// By column: action and server.
    asked: Vec<(EntityUid, EntityUid)>,
    reads: Vec<Read>,
    /// By agent and column.
    cells: Vec<Vec<Cell>>,
    authorizer: Authorizer,
}

/// What is known before a call.
#[derive(Default)]
pub struct Cell {
    permits: Vec<u32>,
    always_forbidding: Vec<u32>,
    forbids: bool,
    /// Whether a call has to be looked at.
    open: bool,
    /// The rules in question.
    pub live: Vec<u32>,
    reads: Vec<usize>,
}

/// A question as the oracle sees it.
pub struct Prepared {
    context: Context,
    /// By read.
    misfits: Vec<Vec<Misfit>>,
    fits: bool,
    /// How many calendars are open.
    open: usize,
}

fn uid(ty: &str, id: &str) -> EntityUid {
    let ty: EntityTypeName = ty.parse().unwrap();
    EntityUid::from_type_name_and_id(ty, EntityId::new(id))
}

impl<'w> Oracle<'w> {
    /// Takes a world.
    pub fn new(ground: &'w Ground, rules: &'w [Rule]) -> Self {
        let mut set = PolicySet::new();
        for (number, rule) in rules.iter().enumerate() {
            set.add(Policy::parse(Some(PolicyId::new(number.to_string())), rule.text()).unwrap()).unwrap();
        }
        let mut reads: Vec<Read> = rules.iter().flat_map(Rule::reads).collect();
        reads.sort();
        reads.dedup();
        let mut oracle = Self {
            ground,
            rules,
            set,
            entities: ground.users.iter().map(|user| entities(ground, user.as_deref())).collect(),
            principals: ground.agents.iter().map(|agent| uid("Agent", &agent.id)).collect(),
            asked: ground.columns.iter().map(|column| asked(column, ground)).collect(),
            reads,
            cells: Vec::new(),
            authorizer: Authorizer::new(),
        };
        oracle.cells = (0..ground.agents.len())
            .map(|agent| (0..ground.columns.len()).map(|column| oracle.known(agent, column)).collect())
            .collect();
        oracle
    }

    fn known(&self, agent: usize, column: usize) -> Cell {
        let (agent, column) = (&self.ground.agents[agent], &self.ground.columns[column]);
        let server = &self.ground.servers[column.server].name;
        let mut cell = Cell::default();
        for (number, rule) in (0_u32..).zip(self.rules).filter(|(_, rule)| rule.matches(agent, column, server)) {
            let certain = certainty(rule, agent, column, server);
            match (rule.effect, certain) {
                (_, Certainty::Never) => continue,
                (Effect::Permit, Certainty::Always | Certainty::Open) => cell.permits.push(number),
                (Effect::Forbid, Certainty::Always) => cell.always_forbidding.push(number),
                (Effect::Forbid, Certainty::Open) => cell.forbids = true,
            }
            cell.open |= certain == Certainty::Open;
            cell.live.push(number);
        }
        if !cell.always_forbidding.is_empty() {
            // No permit can be among the reasons.
            cell.live.retain(|rule| self.rules[*rule as usize].effect == Effect::Forbid);
            cell.open = cell.forbids;
        }
        if cell.open {
            let own = |read: &Read| cell.live.iter().any(|rule| self.rules[*rule as usize].reads().contains(read));
            cell.reads = (0..self.reads.len()).filter(|read| own(&self.reads[*read])).collect();
        }
        cell
    }

    /// What is known of an agent on a column.
    pub fn cell(&self, agent: usize, column: usize) -> &Cell {
        &self.cells[agent][column]
    }

    /// What calendars and SQL came to in a question, where a rule in question reads them.
    pub fn facts(&self, (ask, prepared): (&Ask, &Prepared), agent: usize, column: usize) -> Vec<&'static str> {
        let reads = |wanted: &Read| self.cell(agent, column).reads.iter().any(|read| self.reads[*read] == *wanted);
        let mut met = Vec::new();
        if reads(&Read::Calendars) && laid_out(ask.now) {
            met.push(["no calendar open", "one calendar open", "several calendars open"][prepared.open.min(2)]);
        }
        let sql = self.ground.tool(column).and_then(|tool| tool.sql.as_ref()).filter(|_| reads(&Read::Sql));
        if let Some(Ok(facts)) = sql.map(|sql| convert::statement(sql, ask.arguments.as_ref())) {
            met.extend(&facts.kinds);
            met.push(["no table", "one table", "several tables"][facts.tables.len().min(2)]);
            met.push(if facts.functions.is_empty() { "no function" } else { "a function" });
        }
        met
    }

    /// A question, made ready.
    pub fn prepare(&self, ask: &Ask) -> Prepared {
        let tool = match &ask.call {
            Call::Tool(tool) => Some(&self.ground.servers[ask.server].tools[*tool]),
            _ => None,
        };
        let token = &self.ground.tokens[ask.token];
        let odd = |claim: &Claim| matches!(claim, Claim::List | Claim::Odd);
        let misfits = self.reads.iter().map(|read| match (read, tool) {
            (Read::Claim(name), _) if token.iter().any(|(own, claim)| own == name && odd(claim)) => {
                vec![("claim_unreadable", None)]
            }
            (Read::AnyClaim, _) if token.iter().any(|(_, claim)| odd(claim)) => vec![("claim_unreadable", None)],
            (Read::Calendars, _) if !laid_out(ask.now) => vec![("calendars_ended", None)],
            (_, Some(tool)) => convert::misfits(read, ask.arguments.as_ref(), tool),
            (_, None) => Vec::new(),
        });
        let misfits: Vec<Vec<Misfit>> = misfits.collect();
        let open = self.ground.calendars.iter().filter(|calendar| calendar.is_open(ask.now));
        let open: Vec<&str> = open.map(|calendar| calendar.name.as_str()).collect();
        let fits = misfits.iter().all(Vec::is_empty);
        Prepared { context: context(ask, tool, &open), misfits, fits, open: open.len() }
    }

    /// What the decision must be.
    pub fn decide(&self, ask: &Ask, prepared: &Prepared, agent: usize, user: usize) -> Expected {
        let column = |wanted: Kind| self.ground.column(ask.server, |column| column.kind == wanted).unwrap();
        let at = At { prepared, agent, user };
        let named = |action: &str| self.ground.column(ask.server, |column| column.action == action).unwrap();
        match &ask.call {
            Call::Connect => match self.judge(&at, column(Kind::Connect)) {
                Expected::Denied("no_rule", _) => implied(self.reachable(agent, ask.server)),
                decided => decided,
            },
            Call::Tool(tool) => self.tool(ask, &at, column(Kind::Tool(*tool))),
            Call::Resource(_) => self.judge(&at, column(Kind::Resource)),
            Call::Prompt(_) => self.judge(&at, column(Kind::Prompt)),
            Call::CompletePrompt(_) => {
                self.unless_forbidden(&at, self.judge(&at, column(Kind::Prompt)), column(Kind::Complete))
            }
            Call::CompleteResource(_) => {
                self.unless_forbidden(&at, self.judge(&at, column(Kind::Resource)), column(Kind::Complete))
            }
            Call::Task(None) => {
                let implied = implied(self.reachable(agent, ask.server));
                self.unless_forbidden(&at, implied, column(Kind::Task))
            }
            Call::Task(Some(tool)) => {
                let (tool, drifted) = (column(Kind::Tool(*tool)), self.ground.servers[ask.server].tools[*tool].drifted);
                let cell = self.cell(agent, tool);
                let listed = cell.always_forbidding.is_empty() && !cell.permits.is_empty() && !drifted;
                let made = if listed {
                    Expected::Allowed(cell.permits.clone())
                } else {
                    Expected::Denied("no_rule", Vec::new())
                };
                self.unless_forbidden(&at, made, column(Kind::Task))
            }
            Call::Sample => self.judge(&at, named("upstream.sample")),
            Call::Elicit => self.judge(&at, named("upstream.elicit")),
            Call::Roots => self.judge(&at, named("upstream.roots")),
            Call::Extension(method) => match self.ground.column(ask.server, |column| column.action == *method) {
                Some(column) => self.judge(&at, column),
                None => Expected::Denied("unknown_method", Vec::new()),
            },
        }
    }

    fn tool(&self, ask: &Ask, at: &At<'_>, column: usize) -> Expected {
        let tool = self.ground.tool(column).unwrap();
        if tool.drifted {
            return Expected::Denied("drifted", Vec::new());
        }
        let cell = self.cell(at.agent, column);
        if cell.always_forbidding.is_empty() && !cell.permits.is_empty() {
            match &ask.arguments {
                None => {}
                Some(Json::Object(members)) => {
                    let stranger = |(name, _): &(String, Json)| tool.input.field(name).is_none();
                    if tool.input.closed && members.iter().any(stranger) {
                        return Expected::Unfit(vec![("argument_undeclared", Some(String::new()))]);
                    }
                }
                Some(_) => return Expected::Unfit(vec![("argument_unreadable", Some(String::new()))]),
            }
        }
        self.judge(at, column)
    }

    fn unless_forbidden(&self, at: &At<'_>, followed: Expected, own: usize) -> Expected {
        match followed {
            Expected::Allowed(_) | Expected::Implied(_) => match self.judge(at, own) {
                Expected::Allowed(_) | Expected::Implied(_) | Expected::Denied("no_rule", _) => followed,
                denied => denied,
            },
            denied => denied,
        }
    }

    /// The permits that could hold anywhere on a server, on actions that are permitted by themselves.
    fn reachable(&self, agent: usize, server: usize) -> Vec<u32> {
        let own = |column: &Column| !follows(column.kind) && column.server == server;
        let columns = (0..self.ground.columns.len()).filter(|column| own(&self.ground.columns[*column]));
        let cells = columns.map(|column| self.cell(agent, column)).filter(|cell| cell.always_forbidding.is_empty());
        let mut all: Vec<u32> = cells.flat_map(|cell| cell.permits.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// One action, judged by itself.
    fn judge(&self, at: &At<'_>, number: usize) -> Expected {
        let (column, cell) = (&self.ground.columns[number], self.cell(at.agent, number));
        let early = if !cell.always_forbidding.is_empty() {
            Some(Expected::Denied("forbidden", cell.always_forbidding.clone()))
        } else if cell.permits.is_empty() && !(follows(column.kind) && cell.forbids) {
            Some(Expected::Denied("no_rule", Vec::new()))
        } else {
            None
        };
        if let (Some(decided), false) = (&early, cell.open) {
            return decided.clone();
        }
        if !at.prepared.fits {
            // All arguments at once are compared member by member, under their exact names.
            let whole = cell.reads.iter().any(|read| self.reads[*read] == Read::Value(Vec::new()));
            let one = |read: &Read| matches!(read, Read::Value(path) | Read::Presence(path) if !path.is_empty());
            let looked = cell.reads.iter().filter(|read| !(whole && one(&self.reads[**read])));
            let misfits: Vec<Misfit> = looked.flat_map(|read| at.prepared.misfits[*read].iter().cloned()).collect();
            if !misfits.is_empty() {
                return early.unwrap_or(Expected::Unfit(misfits));
            }
        }
        self.authorize(at, number)
    }

    /// Cedar over everything, except that an erring forbid denies.
    fn authorize(&self, at: &At<'_>, column: usize) -> Expected {
        let (principal, (action, server)) = (&self.principals[at.agent], &self.asked[column]);
        let context = at.prepared.context.clone();
        let request = Request::new(principal.clone(), action.clone(), server.clone(), context, None);
        let response = self.authorizer.is_authorized(&request.unwrap(), &self.set, &self.entities[at.user]);
        let number = |id: &PolicyId| AsRef::<str>::as_ref(id).parse::<u32>().unwrap();
        let mut reasons: Vec<u32> = response.diagnostics().reason().map(number).collect();
        reasons.sort_unstable();
        let mut erring: Vec<u32> = Vec::new();
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            let rule = number(error.policy_id());
            if self.rules[rule as usize].effect == Effect::Forbid {
                erring.push(rule);
            }
        }
        erring.sort_unstable();
        match (response.decision(), reasons.is_empty(), erring.is_empty()) {
            (Decision::Deny, false, _) => Expected::Denied("forbidden", reasons),
            (_, _, false) => Expected::Denied("rule_error", erring),
            (Decision::Allow, _, true) => Expected::Allowed(reasons),
            (Decision::Deny, true, true) => Expected::Denied("no_rule", Vec::new()),
        }
    }
}

fn asked(column: &Column, ground: &Ground) -> (EntityUid, EntityUid) {
    (uid("Action", &column.action), uid("Server", &ground.servers[column.server].name))
}

fn implied(permits: Vec<u32>) -> Expected {
    if permits.is_empty() { Expected::Denied("no_rule", permits) } else { Expected::Implied(permits) }
}

/// Who asks what.
struct At<'a> {
    prepared: &'a Prepared,
    agent: usize,
    user: usize,
}

/// Actions that follow others, so that a permit on them alone gives nothing to the server's lists.
fn follows(kind: Kind) -> bool {
    matches!(kind, Kind::Connect | Kind::Complete | Kind::Task)
}

fn entities(ground: &Ground, user: Option<&str>) -> Entities {
    let mut all = Vec::new();
    for agent in &ground.agents {
        let accounts = Expression::new_set(agent.accounts.iter().map(|one| Expression::new_string(one.clone())));
        let mut attributes = vec![("accounts".to_owned(), accounts)];
        attributes.extend(user.map(|user| ("user".to_owned(), Expression::new_string(user.to_owned()))));
        let parents = agent.groups.iter().map(|group| uid("Group", group)).collect();
        all.push(Entity::new(uid("Agent", &agent.id), attributes.into_iter().collect(), parents).unwrap());
    }
    for group in &ground.groups {
        all.push(Entity::new_no_attrs(uid("Group", group), Default::default()));
    }
    let mut seen: Vec<&str> = Vec::new();
    for column in &ground.columns {
        if !seen.contains(&column.action.as_str()) {
            seen.push(&column.action);
            let parents = column.groups.iter().map(|group| uid("Action", group)).collect();
            all.push(Entity::new_no_attrs(uid("Action", &column.action), parents));
        }
    }
    for server in &ground.servers {
        all.push(Entity::new_no_attrs(uid("Server", &server.name), Default::default()));
    }
    for (position, token) in ground.tokens.iter().enumerate() {
        let tags = token.iter().filter_map(|(name, claim)| {
            let text = match claim {
                Claim::Text(text) => text.clone(),
                Claim::Number(number) => number.to_string(),
                Claim::Truth(truth) => truth.to_string(),
                Claim::List | Claim::Odd => return None,
            };
            Some((name.clone(), Expression::new_string(text)))
        });
        all.push(Entity::new_with_tags(uid("Claims", &position.to_string()), [], [], tags).unwrap());
    }
    Entities::from_entities(all, None).unwrap()
}

fn texts<'t>(all: impl Iterator<Item = &'t str>) -> Expression {
    Expression::new_set(all.map(|text| Expression::new_string(text.to_owned())))
}

/// What SQL does. Where it is not judged it stands as doing nothing: no rule in question is then asked.
fn done(sql: &Sql, arguments: Option<&Json>) -> Expression {
    let none = Facts::default();
    let facts = convert::statement(sql, arguments).unwrap_or(&none);
    let members = [
        ("functions".to_owned(), texts(facts.functions.iter().map(String::as_str))),
        ("kinds".to_owned(), texts(facts.kinds.iter().copied())),
        ("tables".to_owned(), texts(facts.tables.iter().map(String::as_str))),
    ];
    Expression::new_record(members).unwrap()
}

fn context(ask: &Ask, tool: Option<&Tool>, open: &[&str]) -> Context {
    let text = |text: &str| Expression::new_string(text.to_owned());
    let mut pairs = vec![
        ("claims".to_owned(), Expression::new_entity_uid(uid("Claims", &ask.token.to_string()))),
        ("now".to_owned(), Expression::new_datetime(iso(ask.now))),
        // An IPv4 address inside IPv6 is the IPv4 address.
        ("source".to_owned(), Expression::new_ip(ask.source.to_string().trim_start_matches("::ffff:"))),
    ];
    pairs.push(("calendars".to_owned(), texts(open.iter().copied())));
    let named = tool.and_then(|tool| tool.account.as_ref());
    let account = match named {
        Some(path) => convert::reach(ask.arguments.as_ref(), path).and_then(convert::account),
        None => ask.account.clone(),
    };
    pairs.extend(account.map(|account| ("account".to_owned(), text(&account))));
    if let Some(tool) = tool {
        pairs.push(("input".to_owned(), convert::input(ask.arguments.as_ref(), &tool.input)));
        pairs.extend(tool.sql.as_ref().map(|sql| ("sql".to_owned(), done(sql, ask.arguments.as_ref()))));
    }
    match &ask.call {
        Call::Resource(uri) | Call::CompleteResource(uri) => pairs.push(("uri".to_owned(), text(uri))),
        Call::Prompt(name) | Call::CompletePrompt(name) => pairs.push(("name".to_owned(), text(name))),
        _ => {}
    }
    Context::from_pairs(pairs).unwrap()
}
