//! Runs every stage over its files. In: texts. Out: what each stage made of them, and all they found. Never here: a stage that stops the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroize;

use super::{SETTINGS_FILE, Snapshot, Text, Texts};
use crate::config::settings::{self, Learn, Settings, UpstreamTls};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::identity::issuer::{Audience, Issuer, Issuers};
use crate::identity::keys::{Algorithm, KeySet};
use crate::identity::registry::Registry;
use crate::policy::calendar::Calendars;
use crate::policy::catalogue::Catalogue;
use crate::policy::drift::Drift;
use crate::policy::engine::{Engine, Inputs};
use crate::policy::index::AgentSource;
use crate::policy::source::{self, Source};
use crate::policy::spread::Spread;
use crate::policy::surface::{ServerSource, ToolRules};
use crate::policy::unchecked;
use crate::time::UnixMillis;
use crate::token::credential::{Channel, Lender, Wanted, WantedField};
use crate::token::scanner::Scanner;
use crate::token::secrets::Secrets;

/// What the stages made. An absent part has said why in `findings`.
pub(super) struct Gathered {
    pub settings: Settings,
    pub registry: Option<Arc<Registry>>,
    pub issuers: Option<Issuers>,
    pub engine: Option<Engine>,
    pub lender: Option<Lender>,
    pub scanner: Scanner,
    pub catalogues: Vec<Catalogue>,
    /// Whether each of them was ever listed.
    pub learned: Vec<bool>,
    pub drifts: Vec<Arc<Drift>>,
    pub findings: Diagnostics,
}

pub(super) fn gather(texts: Texts, before: Option<&Snapshot>, spread: Spread) -> Gathered {
    let Texts { settings, warnings: mut findings, agents, policies, catalogues, calendars, read_at, keys, secrets } =
        texts;
    let calendars = read_calendars(calendars.as_ref(), read_at, &mut findings);
    let registry = registry(&agents, &settings, before, &mut findings);
    let issuers = issuers(&settings, &keys, &mut findings);
    let secrets = read_secrets(secrets, &mut findings);
    let lender = secrets.as_ref().and_then(|secrets| lender(&settings, secrets, &mut findings));
    let learned: Vec<bool> = catalogues.iter().map(Option::is_some).collect();
    let read: Vec<Option<Catalogue>> = (settings.servers.iter().zip(&catalogues))
        .map(|(server, text)| catalogue(server, text.as_ref(), before, &mut findings))
        .collect();
    let broken = settings.servers.len() != read.len() || read.iter().any(Option::is_none);
    let catalogues: Vec<Catalogue> = read.into_iter().flatten().collect();
    let drifts: Vec<Arc<Drift>> = catalogues.iter().map(|catalogue| drift(catalogue, before)).collect();
    let engine = match calendars.filter(|_| !broken) {
        None => {
            syntax_only(&policies, &mut findings);
            None
        }
        Some(calendars) => engine(
            &Rules {
                calendars: &calendars,
                settings: &settings,
                policies: &policies,
                catalogues: &catalogues,
                learned: &learned,
                drifts: &drifts,
                earlier: before.map(|before| &*before.engine),
                spread,
            },
            registry.as_deref(),
            &agents,
            &mut findings,
        ),
    };
    let scanner = Scanner::new(secrets.as_ref().unwrap_or(&Secrets::none()));
    Gathered { settings, registry, issuers, engine, lender, scanner, catalogues, learned, drifts, findings }
}

/// The registry; one whose file is the same as before is not read again.
pub(super) fn registry(
    agents: &Text,
    settings: &Settings,
    before: Option<&Snapshot>,
    findings: &mut Diagnostics,
) -> Option<Arc<Registry>> {
    let registry = match before.filter(|before| before.registry_of == agents.digest()) {
        Some(before) => Arc::clone(&before.registry),
        None => Arc::new(kept(Registry::parse(&agents.text, &agents.file), findings)?),
    };
    findings.extend_from_slice(registry.warnings());
    let known: Vec<&str> = settings.issuers.iter().map(|issuer| &*issuer.name).collect();
    findings.extend(registry.unknown_issuers(&known, &agents.file));
    if registry.agents().len() == 0 {
        let finding = Diagnostic::warning(&*agents.file, None, "no agent is known, so every call is refused");
        findings.push(finding.help("enter the first as `[agent.ID]`"));
    }
    Some(registry)
}

fn read_calendars(text: Option<&Text>, read_at: UnixMillis, findings: &mut Diagnostics) -> Option<Calendars> {
    let Some(text) = text else { return Some(Calendars::default()) };
    let calendars = kept(Calendars::parse(&text.text, &text.file, read_at), findings)?;
    findings.extend_from_slice(calendars.warnings());
    Some(calendars)
}

fn issuers(settings: &Settings, keys: &[Text], findings: &mut Diagnostics) -> Option<Issuers> {
    let mut read = Vec::new();
    for (position, issuer) in settings.issuers.iter().enumerate() {
        let Some(text) = keys.get(position) else {
            findings.push(Diagnostic::error(SETTINGS_FILE, None, format!("issuer `{}` has no key set", issuer.name)));
            continue;
        };
        if let Some(keys) = kept(KeySet::parse(&text.text, &text.file), findings) {
            findings.extend_from_slice(keys.warnings());
            read.push(meant(issuer, keys));
        }
    }
    if read.len() != settings.issuers.len() {
        return None;
    }
    Issuers::new(read)
        .map_err(|same| {
            let message = format!("issuers `{}` and `{}` have the same `issuer`", same.first, same.second);
            findings.push(Diagnostic::error(SETTINGS_FILE, None, message).help("remove one of them"));
        })
        .ok()
}

fn meant(issuer: &settings::Issuer, keys: KeySet) -> Issuer {
    let algorithm = |algorithm: &settings::Algorithm| match algorithm {
        settings::Algorithm::EdDsa => Algorithm::EdDsa,
        settings::Algorithm::Es256 => Algorithm::Es256,
        settings::Algorithm::Rs256 => Algorithm::Rs256,
    };
    Issuer {
        name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        keys,
        algorithms: issuer.algorithms.iter().map(algorithm).collect(),
        audience: issuer.audience.clone().map_or(Audience::RouteResource, Audience::Fixed),
        agent_claims: std::iter::once(&issuer.agent_claim).chain(&issuer.agent_claim_fallbacks).cloned().collect(),
        user_claim: issuer.user_claim.clone(),
        account_claim: issuer.account_claim.clone(),
        token_types: issuer.token_types.clone(),
        clock_skew: issuer.clock_skew,
    }
}

fn read_secrets(text: Option<Text>, findings: &mut Diagnostics) -> Option<Secrets> {
    let Some(mut text) = text else { return Some(Secrets::none()) };
    let read = Secrets::parse(&text.text, &text.file);
    text.text.zeroize();
    let secrets = kept(read, findings)?;
    findings.extend_from_slice(secrets.warnings());
    Some(secrets)
}

fn lender(settings: &Settings, secrets: &Secrets, findings: &mut Diagnostics) -> Option<Lender> {
    let wanted: Vec<Wanted<'_>> = settings.servers.iter().map(wanted).collect();
    kept(Lender::build(&wanted, secrets, SETTINGS_FILE), findings)
}

/// What one server asks of the lender. The authority is the one connections to it are opened for.
pub fn wanted(server: &settings::Server) -> Wanted<'_> {
    let field = server.credential.as_ref();
    Wanted {
        server: &server.name,
        authority: &server.url.authority,
        channel: match server.url.tls {
            UpstreamTls::Plain => Channel::Plain,
            UpstreamTls::Tls => Channel::Tls,
        },
        field: field.map(|field| WantedField { header: &field.header, template: &field.template, line: None }),
    }
}

/// The reviewed tools; none yet is an empty catalogue, so that every tool of that server is refused. A file that is the same as before is not
/// read again.
fn catalogue(
    server: &settings::Server,
    text: Option<&Text>,
    before: Option<&Snapshot>,
    findings: &mut Diagnostics,
) -> Option<Catalogue> {
    let Some(text) = text else {
        let message = format!("no tools of server `{}` are approved yet, so every call to it is refused", server.name);
        let cure = match server.learn {
            Learn::Reviewed => format!("list and approve them with `portcullis tools learn {}`", server.name),
            Learn::FirstUse => "they are learned as soon as the server answers".to_owned(),
        };
        findings.push(Diagnostic::warning(SETTINGS_FILE, None, message).help(cure));
        return kept(Catalogue::learn(&server.name, &[]), findings);
    };
    let catalogue = match before.and_then(|before| before.read_from(text)) {
        Some(known) => known.clone(),
        None => kept(Catalogue::parse(&text.text, &text.file), findings)?,
    };
    findings.extend(catalogue.warnings(&text.file));
    if catalogue.server() != &*server.name {
        let message = format!("these are the tools of server `{}`, not of `{}`", catalogue.server(), server.name);
        findings.push(Diagnostic::error(&*text.file, None, message).help("correct the `catalogue` of the server"));
        return None;
    }
    Some(catalogue)
}

fn drift(catalogue: &Catalogue, before: Option<&Snapshot>) -> Arc<Drift> {
    let carried = before.and_then(|before| {
        let position = before.shape.catalogues.iter().position(|old| old.server() == catalogue.server())?;
        Some(before.shape.drifts.get(position)?.carried(before.shape.catalogues.get(position)?, catalogue))
    });
    Arc::new(carried.unwrap_or_else(|| Drift::new(catalogue)))
}

struct Rules<'r> {
    calendars: &'r Calendars,
    settings: &'r Settings,
    policies: &'r [Text],
    catalogues: &'r [Catalogue],
    learned: &'r [bool],
    drifts: &'r [Arc<Drift>],
    earlier: Option<&'r Engine>,
    spread: Spread,
}

fn engine(rules: &Rules<'_>, registry: Option<&Registry>, agents: &Text, findings: &mut Diagnostics) -> Option<Engine> {
    let tools: Vec<BTreeMap<Box<str>, ToolRules>> = (rules.settings.servers.iter().zip(rules.learned))
        .map(|(server, learned)| if *learned { tool_rules(server) } else { BTreeMap::new() })
        .collect();
    let parts = rules.settings.servers.iter().zip(rules.catalogues).zip(&tools).zip(rules.drifts);
    let servers: Vec<(ServerSource<'_>, Arc<Drift>)> = parts
        .map(|(((server, catalogue), tools), drift)| {
            let source =
                ServerSource { name: &server.name, catalogue, tools, extension_methods: &server.extension_methods };
            (source, Arc::clone(drift))
        })
        .collect();
    let sources: Vec<Source<'_>> =
        rules.policies.iter().map(|text| Source { file: &text.file, text: &text.text }).collect();
    let guessed = if registry.is_none() { guessed_agents(&agents.text) } else { Vec::new() };
    let agents: Vec<AgentSource<'_>> = match registry {
        Some(registry) => registry.agents().map(agent_source).collect(),
        None => guessed
            .iter()
            .map(|(id, groups)| AgentSource {
                id,
                groups: groups.iter().map(|group| &**group).collect(),
                accounts: Vec::new(),
            })
            .collect(),
    };
    if rules.policies.is_empty() {
        let finding = Diagnostic::warning(
            rules.settings.policy.folder.display().to_string(),
            None,
            "no rules, so every call is refused",
        );
        findings.push(finding.help("write the first into a `.cedar` file in this folder"));
    }
    let inputs = Inputs {
        sources: &sources,
        servers: &servers,
        agents: &agents,
        calendars: rules.calendars,
        settings_file: SETTINGS_FILE,
    };
    let built = Engine::build_after(inputs, rules.earlier, rules.spread);
    let engine = kept(built, findings)?;
    findings.extend_from_slice(engine.warnings());
    findings.extend(unchecked::warnings(&sources, &engine));
    registry.is_some().then_some(engine)
}

fn agent_source(agent: &crate::identity::registry::Agent) -> AgentSource<'_> {
    AgentSource {
        id: &agent.id,
        groups: agent.groups.iter().map(|group| &**group).collect(),
        accounts: agent.accounts.iter().map(|account| &**account).collect(),
    }
}

/// Ids and groups of a registry that is refused, so that the rules are checked against what it most likely means. Nothing is decided by them.
fn guessed_agents(text: &str) -> Vec<(String, Vec<String>)> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let agents = table.get("agent").and_then(toml::Value::as_table);
    let groups = |agent: &toml::Value| -> Vec<String> {
        let groups = agent.get("groups").and_then(toml::Value::as_array);
        groups.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned).collect()
    };
    agents.into_iter().flatten().map(|(id, agent)| (id.clone(), groups(agent))).collect()
}

/// What the configuration says of the tools. Of a server whose tools nobody has listed yet it cannot say anything that holds.
pub(super) fn tool_rules(server: &settings::Server) -> BTreeMap<Box<str>, ToolRules> {
    let rules = |tool: &settings::ToolSettings| ToolRules {
        groups: tool.groups.clone(),
        types: tool.types.clone(),
        output_types: tool.output_types.clone(),
        account: tool.account.clone(),
        sql: tool.sql.clone().map(Arc::new),
    };
    server.tools.iter().map(|(name, tool)| (name.clone(), rules(tool))).collect()
}

/// Where the tools are not known, what the rules say of them cannot be checked, but how they are written can.
fn syntax_only(policies: &[Text], findings: &mut Diagnostics) {
    let sources: Vec<Source<'_>> = policies.iter().map(|text| Source { file: &text.file, text: &text.text }).collect();
    if let Err(found) = source::parse(&sources) {
        findings.extend(found);
    }
}

/// The thing made, or its findings beside the others.
fn kept<T>(made: Result<T, Diagnostics>, findings: &mut Diagnostics) -> Option<T> {
    match made {
        Ok(thing) => Some(thing),
        Err(mut found) => {
            // A stage that refuses without a word would let the load fail for no reason an operator could see.
            if !found.iter().any(|finding| finding.severity == Severity::Error) {
                found.push(Diagnostic::error(SETTINGS_FILE, None, "a stage refused the load without saying why"));
            }
            findings.extend(found);
            None
        }
    }
}
