//! Reads `agents.toml`. In: its text. Out: the registry, or every finding with its line. Never here: lookups.

use super::{AGENT_ID_BYTES_MAX, Agent, IssuerNames, Names, Registry, Status, TOKEN_LIFETIME_DEFAULT, names};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, did_you_mean, line_of};
use crate::identity::AgentIndex;
use crate::identity::certificate::{dns_name, is_spiffe};
use crate::identity::network::Network;
use crate::time::UnixMillis;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const AGENT_KEYS: [&str; 11] = [
    "owner",
    "status",
    "groups",
    "accounts",
    "networks",
    "token_lifetime_max",
    "created",
    "expires",
    "last_reviewed",
    "certificates",
    "tokens",
];

pub(super) fn read(text: &str, file: &str) -> Result<Registry, Diagnostics> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        vec![Diagnostic::error(file, line, format!("not TOML: {}", error.message().replace('\n', ", ")))]
    })?;
    let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut reader = Reader {
        file,
        breaks,
        findings: Vec::new(),
        registry: Registry::empty(),
        reading: "".into(),
        bound: HashMap::new(),
    };
    for (key, value) in table.get_ref() {
        match (&**key.get_ref(), value.get_ref()) {
            ("agent", DeValue::Table(agents)) => {
                // The table is sorted by name; where two agents share a name, the one further down is the finding's.
                let mut in_file_order: Vec<_> = agents.iter().collect();
                in_file_order.sort_by_key(|(id, _)| id.span().start);
                for (id, record) in in_file_order {
                    reader.agent(id, record);
                }
            }
            ("agent", _) => {
                reader.error(value.span(), "`agent` is not a table".into(), Some("write `[agent.ID]`".into()))
            }
            (other, _) => {
                let near =
                    did_you_mean(other, ["agent"]).unwrap_or_else(|| "agents are written as `[agent.ID]`".into());
                reader.error(key.span(), format!("unknown key `{other}`"), Some(near));
            }
        }
    }
    reader.finish()
}

struct Reader<'t> {
    file: &'t str,
    /// Where lines end, so that 100,000 agents need no 100,000 walks over the file.
    breaks: Vec<usize>,
    findings: Diagnostics,
    registry: Registry,
    /// The agent that is being read.
    reading: Box<str>,
    /// Where each name was first bound.
    bound: HashMap<Binding, u32>,
}

/// What is bound: the issuer and kind of a token's claim, or the kind of a certificate's name; then the name.
type Binding = (Box<str>, &'static str, Box<str>);

type Value<'t> = Spanned<DeValue<'t>>;
type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;

impl Reader<'_> {
    fn finish(mut self) -> Result<Registry, Diagnostics> {
        self.findings.sort_by_key(|finding| finding.line);
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(self.findings);
        }
        self.registry.warnings = self.findings;
        Ok(self.registry)
    }

    fn agent(&mut self, id: &Key<'_>, record: &Value<'_>) {
        let name = &**id.get_ref();
        self.reading = name.into();
        self.check_id(id);
        let DeValue::Table(fields) = record.get_ref() else {
            return self.error(
                record.span(),
                format!("agent `{name}` is not a table"),
                Some(format!("write `[agent.{name}]`")),
            );
        };
        let index = AgentIndex(u32::try_from(self.registry.agents.len()).unwrap_or(u32::MAX));
        let mut agent = Agent {
            id: name.into(),
            owner: "".into(),
            status: Status::Active,
            groups: Vec::new(),
            accounts: Vec::new(),
            networks: Vec::new(),
            token_lifetime_max: TOKEN_LIFETIME_DEFAULT,
            created: None,
            expires: None,
            last_reviewed: None,
        };
        let mut bindings = 0;
        for (key, value) in fields {
            let word = &**key.get_ref();
            match word {
                "owner" => agent.owner = self.text(word, value).unwrap_or_default().into(),
                "status" => agent.status = self.status(value).unwrap_or(Status::Suspended),
                "groups" => agent.groups = self.words(word, value),
                "accounts" => agent.accounts = self.words(word, value),
                "networks" => agent.networks = self.networks(value),
                "token_lifetime_max" => agent.token_lifetime_max = self.lifetime(value).unwrap_or_default(),
                "created" => agent.created = self.instant(word, value),
                "expires" => agent.expires = self.instant(word, value),
                "last_reviewed" => agent.last_reviewed = self.instant(word, value),
                "certificates" => bindings += self.certificates(value, index),
                "tokens" => bindings += self.tokens(value, index),
                other => {
                    let near = did_you_mean(other, AGENT_KEYS);
                    self.error(key.span(), format!("unknown key `{other}` of agent `{name}`"), near);
                }
            }
        }
        if agent.owner.is_empty() {
            let cure = "name who answers for it: `owner = \"team@example.com\"`";
            self.error(id.span(), format!("agent `{name}` has no `owner`"), Some(cure.into()));
        }
        if bindings == 0 && agent.status == Status::Active {
            let cure = "give it `certificates` or `tokens`, or set `status = \"suspended\"`";
            self.error(id.span(), format!("agent `{name}` can never be recognised"), Some(cure.into()));
        }
        self.registry.ids.insert(name.into(), index);
        self.registry.agents.push(Arc::new(agent));
    }

    fn check_id(&mut self, id: &Key<'_>) {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let name = &**id.get_ref();
        if name.is_empty() || name.len() > AGENT_ID_BYTES_MAX || !name.bytes().all(allowed) {
            let cure = format!("use 1 to {AGENT_ID_BYTES_MAX} of a-z, 0-9, `-` and `_`");
            self.error(id.span(), format!("agent id `{}` is not allowed", name.escape_debug()), Some(cure));
        }
    }

    fn status(&mut self, value: &Value<'_>) -> Option<Status> {
        let word = self.text("status", value)?;
        let known = [Status::Active, Status::Suspended, Status::Retired];
        let status = known.into_iter().find(|status| status.as_str() == word);
        if status.is_none() {
            let near = did_you_mean(word, known.map(Status::as_str));
            let cure = near.unwrap_or_else(|| "it is `active`, `suspended` or `retired`".into());
            self.error(value.span(), format!("unknown status `{word}`"), Some(cure));
        }
        status
    }

    fn networks(&mut self, value: &Value<'_>) -> Vec<Network> {
        let mut networks = Vec::new();
        for (text, span) in self.texts("networks", value) {
            match Network::parse(text) {
                Ok(network) => networks.push(network),
                Err(error) => {
                    self.error(span, format!("`{text}` is not a network"), Some(error.cure()));
                }
            }
        }
        // An empty list is not "nowhere": written out, it would silently mean "anywhere".
        if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            self.error(value.span(), "`networks` is empty".into(), Some("leave it out to allow every source".into()));
        }
        networks
    }

    fn lifetime(&mut self, value: &Value<'_>) -> Option<Duration> {
        let text = self.text("token_lifetime_max", value)?;
        let lifetime = lifetime(text);
        if lifetime.is_none() {
            let cure = "write a number with its unit, from `1s` to `365d`: `90s`, `15m`, `1h`, `7d`";
            self.error(value.span(), format!("`{text}` is not a lifetime"), Some(cure.into()));
        }
        lifetime
    }

    /// A date means its first instant in UTC, so that `expires` never lasts longer than someone thought.
    fn instant(&mut self, word: &str, value: &Value<'_>) -> Option<UnixMillis> {
        let text = match value.get_ref() {
            DeValue::Datetime(moment) => moment.to_string(),
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => {
                String::new()
            }
        };
        let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-01-31".len())?;
            date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp())
        });
        if instant.is_none() {
            let cure = format!("write `{word} = 2026-01-31` or `{word} = 2026-01-31T12:00:00Z`");
            self.error(value.span(), format!("`{word}` is not a date or a time with its zone"), Some(cure));
        }
        instant.map(|at| UnixMillis(at.as_millisecond()))
    }

    fn certificates(&mut self, value: &Value<'_>, index: AgentIndex) -> usize {
        let list = self.texts("certificates", value);
        for (text, span) in &list {
            let dns = text.strip_prefix("dns:").and_then(dns_name);
            if let Some(name) = dns {
                let taken = bind(&mut self.registry.dns, &name, index);
                self.report_taken(taken, ("".into(), "dns", name), (text, span.clone()));
            } else if is_spiffe(text) {
                let taken = bind(&mut self.registry.spiffe, text, index);
                self.report_taken(taken, ("".into(), "spiffe", (*text).into()), (text, span.clone()));
            } else {
                let cure = "write `spiffe://trust-domain/path` or `dns:host.example`";
                self.error(
                    span.clone(),
                    format!("`{}` is no name of a certificate", text.escape_debug()),
                    Some(cure.into()),
                );
            }
        }
        list.len()
    }

    fn tokens(&mut self, value: &Value<'_>, index: AgentIndex) -> usize {
        let DeValue::Array(list) = value.get_ref() else {
            let cure = "write `tokens = [{ issuer = \"okta\", client_id = \"…\" }]`";
            self.error(value.span(), "`tokens` is not a list".into(), Some(cure.into()));
            return 0;
        };
        for item in list {
            self.token(item, index);
        }
        list.len()
    }

    fn token(&mut self, item: &Value<'_>, index: AgentIndex) {
        let (mut issuer, mut client, mut subject) = (None, None, None);
        for (key, value) in item.get_ref().as_table().into_iter().flatten() {
            let word = &**key.get_ref();
            match word {
                "issuer" => issuer = self.text(word, value),
                "client_id" => client = self.text(word, value),
                "sub" => subject = self.text(word, value),
                other => {
                    let near = did_you_mean(other, ["issuer", "client_id", "sub"]);
                    let cure = near.unwrap_or_else(|| "a binding has `issuer` and `client_id` or `sub`".into());
                    self.error(key.span(), format!("unknown key `{other}` of a token binding"), Some(cure));
                }
            }
        }
        let (Some(issuer), Some(name), true) = (issuer, client.or(subject), client.is_none() || subject.is_none())
        else {
            let cure = "write `{ issuer = \"okta\", client_id = \"…\" }` or, for tokens without a client, `{ issuer = \"okta\", sub = \"…\" }`";
            return self.error(
                item.span(),
                "a token binding has `issuer` and one of `client_id` and `sub`".into(),
                Some(cure.into()),
            );
        };
        let line = self.line(item.span());
        let names = self.registry.tokens.entry(issuer.into()).or_insert_with(|| IssuerNames {
            line,
            clients: names(),
            subjects: names(),
        });
        let (names, kind) =
            if client.is_some() { (&mut names.clients, "client_id") } else { (&mut names.subjects, "sub") };
        let taken = bind(names, name, index);
        self.report_taken(taken, (issuer.into(), kind, name.into()), (name, item.span()));
    }

    /// A name that two agents share would make either act as the other. Which of the two is wrong, only the operator knows.
    fn report_taken(&mut self, taken: Option<AgentIndex>, binding: Binding, (name, span): (&str, Range<usize>)) {
        let here = self.line(span.clone());
        let Some(other) = taken else {
            self.bound.insert(binding, here);
            return;
        };
        let place = match self.bound.get(&binding) {
            Some(line) if *line != here => format!(" in line {line}"),
            Some(_) | None => " in the same line".to_owned(),
        };
        let own = self.reading.clone();
        let owner = self.registry.agent(other).map(|agent| agent.id.clone());
        let (message, cure) = match owner {
            Some(id) => (
                format!("`{name}` is bound to two agents, here to `{own}` and{place} to `{id}`"),
                "take it from the one whose it is not: a name proves one agent",
            ),
            None => (format!("`{name}` is bound twice to agent `{own}`, here and{place}"), "bind every name once"),
        };
        self.error(span, message, Some(cure.into()));
    }

    fn words(&mut self, word: &str, value: &Value<'_>) -> Vec<Box<str>> {
        self.texts(word, value).into_iter().map(|(text, _)| text.into()).collect()
    }

    fn texts<'v>(&mut self, word: &str, value: &'v Value<'_>) -> Vec<(&'v str, Range<usize>)> {
        let DeValue::Array(list) = value.get_ref() else {
            self.error(value.span(), format!("`{word}` is not a list"), Some(format!("write `{word} = [\"…\"]`")));
            return Vec::new();
        };
        list.iter().filter_map(|item| Some((self.text(word, item)?, item.span()))).collect()
    }

    fn text<'v>(&mut self, word: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.error(value.span(), format!("`{word}` takes text that is not empty"), None);
        }
        text
    }

    fn line(&self, span: Range<usize>) -> u32 {
        let before = self.breaks.partition_point(|at| *at < span.start);
        u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
    }

    fn error(&mut self, span: Range<usize>, message: String, cure: Option<String>) {
        let finding = Diagnostic::error(self.file, Some(self.line(span)), message);
        self.findings.push(Diagnostic { help: cure, ..finding });
    }
}

/// Binds, or says to whom the name is bound already.
fn bind(names: &mut Names, name: &str, index: AgentIndex) -> Option<AgentIndex> {
    if let Some(other) = names.get(name) {
        return Some(*other);
    }
    names.insert(name.into(), index);
    None
}

/// `90s`, `15m`, `1h`, `7d`: from a second to a year.
fn lifetime(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(unit).filter(|seconds| (1..=365 * 86_400).contains(seconds)).map(Duration::from_secs)
}
