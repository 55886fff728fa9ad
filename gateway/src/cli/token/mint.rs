//! `portcullis token mint`: signs one token. In: an agent, a key, what the configuration says of its issuer and the server. Out: the token.
//! Never here: whether the gateway will take it; but what would surely make it refuse is said.

use crate::cli::keys::Signer;
use crate::cli::{End, Failure, Outcome, Ways, first, say};
use crate::disk::{self, Guard, ReadFailure};
use crate::{reload, sources};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use portcullis_core::config::settings::{Algorithm, Issuer, Server, Settings};
use portcullis_core::config::units;
use portcullis_core::diagnostic::did_you_mean;
use portcullis_core::identity::claims::AgentClaim;
use portcullis_core::identity::issuer::{ACCESS_TOKEN, WITHOUT_TYPE};
use portcullis_core::identity::registry::{Registry, Status};
use portcullis_core::time::UnixMillis;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whose token, for what, for how long.
#[derive(Args, Debug)]
pub struct Mint {
    /// The agent's id in the registry; without a configuration, what the token's `client_id` is to be
    #[arg(long, value_name = "ID")]
    pub agent: String,
    /// The server it is for; not needed where there is only one
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// The issuer: its name in the configuration, or an `iss` of your own
    #[arg(long, value_name = "NAME|URL")]
    pub issuer: Option<String>,
    /// The audience, instead of the URL of the server's route
    #[arg(long, value_name = "URI")]
    pub audience: Option<String>,
    /// The private key, PEM or JWK, readable by its owner alone [default: keys/ISSUER.pem beside the configuration]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// How long it counts
    #[arg(long = "for", value_name = "SPAN", default_value = "10m")]
    pub lifetime: String,
    /// One more claim; the value is JSON, or else a text
    #[arg(long, value_name = "NAME=VALUE")]
    pub claim: Vec<String>,
}

/// What `--help` says.
pub const HELP: &str = "Print a token that the gateway takes for an agent, to try things out.\n\n\
    Issuer, audience and claims are what the configuration says of this agent; the key is one whose public half is in the issuer's key set. \
    `portcullis init` and `portcullis token key` make such keys. With `--issuer URL`, `--audience` and `--key` no configuration is needed.\n\n\
    curl --header \"authorization: Bearer $(portcullis token mint --agent example-bot)\" …";

/// Longer ones are for identity providers.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// All that a token says, and how it is signed.
struct Plan {
    issuer: String,
    audience: String,
    /// The claim that names the agent, and its value.
    agent: (String, String),
    subject: String,
    kind: Option<String>,
    key: PathBuf,
    /// The issuer in the configuration, where it is one of its.
    configured: Option<Issuer>,
    /// What the agent's own record makes of it.
    notes: Vec<String>,
}

/// Prints the token, and nothing else on standard output.
pub fn mint(wish: &Mint, ways: &Ways) -> Outcome {
    let lifetime = lifetime(&wish.lifetime)?;
    let plan = plan(wish, ways)?;
    let name = plan.key.display().to_string();
    let text = disk::read(&plan.key, Guard::Private).map_err(|failure| {
        let missing = matches!(failure, ReadFailure::Missing);
        let cure = "make one with `portcullis token key --out FOLDER`, or name it with `--key`";
        let finding = sources::refused(&plan.key, &failure);
        Failure::from(if missing { finding.help(cure) } else { finding })
    })?;
    let signer = Signer::read(&text, &name)?;
    let id = match &plan.configured {
        Some(issuer) => published(issuer, &signer, &name)?,
        None => signer.id.clone(),
    };
    let now = reload::now();
    let expires = now.after(lifetime);
    let header = header(&signer, id, plan.kind.as_deref());
    let claims = claims(&plan, now, expires, &wish.claim)?;
    let broken = || Failure::new("the key gave no signature", "make another with `portcullis token key --out FOLDER`");
    let token = signer.token(&header, &claims).ok_or_else(broken)?;
    let about = format!("agent `{}` at {} until {}", wish.agent, plan.audience, expires.rfc3339());
    if ways.json {
        say::json(
            &json!({"token": token, "header": header, "claims": claims, "expires_at": expires.rfc3339(), "notes": plan.notes}),
        );
        return Ok(End::Done);
    }
    say::note(&format!("for trying out: {about}; whoever can read {name} can be any agent of its issuer"));
    plan.notes.iter().for_each(|note| say::note(&format!("warning: {note}")));
    say::line(&token);
    Ok(End::Done)
}

fn lifetime(text: &str) -> Result<Duration, Failure> {
    let span = units::duration(text)
        .map_err(|fault| Failure::new(fault.message, "write a number with `s`, `m` or `h`, such as `--for 10m`"))?;
    if span < Duration::from_secs(1) || span > LIFETIME_MAX {
        return Err(Failure::new(format!("`{text}` is no lifetime of a token to try out"), "write `1s` to `24h`"));
    }
    Ok(span)
}

fn plan(wish: &Mint, ways: &Ways) -> Result<Plan, Failure> {
    let read = sources::settings(&ways.config);
    if let (Some(issuer), Some(audience), Some(key)) = (&wish.issuer, &wish.audience, &wish.key)
        && issuer.contains("://")
        && !read.as_ref().is_ok_and(|(settings, _)| settings.issuers.iter().any(|own| *own.issuer == **issuer))
    {
        return Ok(Plan {
            issuer: issuer.clone(),
            audience: audience.clone(),
            agent: ("client_id".into(), wish.agent.clone()),
            subject: wish.agent.clone(),
            kind: Some(ACCESS_TOKEN.into()),
            key: key.clone(),
            configured: None,
            notes: Vec::new(),
        });
    }
    let (settings, _) = read.map_err(|findings| {
        let failure = first(findings);
        let help = failure.help.map(|help| format!("{help}; ")).unwrap_or_default();
        Failure::new(
            failure.message,
            format!("{help}without a configuration give `--issuer URL`, `--audience` and `--key`"),
        )
    })?;
    configured(wish, &settings, &ways.config)
}

/// As the configuration has it.
fn configured(wish: &Mint, settings: &Settings, file: &Path) -> Result<Plan, Failure> {
    let agents = settings.agents_file.display().to_string();
    let text = disk::read(&settings.agents_file, Guard::Open)
        .map_err(|failure| Failure::from(sources::refused(&settings.agents_file, &failure)))?;
    let registry = Registry::parse(&text, &agents).map_err(first)?;
    let Some(index) = registry.find(&wish.agent) else {
        let near = did_you_mean(&wish.agent, registry.agents().map(|agent| &*agent.id));
        return Err(Failure::new(
            format!("no agent `{}` in {agents}", wish.agent),
            near.unwrap_or_else(|| format!("enter it there as `[agent.{}]`", wish.agent)),
        ));
    };
    let (issuer, claim, value) = binding(wish, settings, &registry.bindings(index), &agents)?;
    let audience = match (&wish.audience, &issuer.audience) {
        (Some(audience), _) => audience.clone(),
        (None, Some(fixed)) => fixed.to_string(),
        (None, None) => server(wish, settings)?.resource(&settings.listen.public_url),
    };
    let name = match claim {
        AgentClaim::Client => issuer.agent_claim.to_string(),
        AgentClaim::Subject => "sub".to_owned(),
    };
    let beside = || file.parent().unwrap_or(Path::new("")).join("keys").join(format!("{}.pem", issuer.name));
    let kind = issuer.token_types.iter().find(|kind| &***kind == ACCESS_TOKEN).or(issuer.token_types.first());
    Ok(Plan {
        issuer: issuer.issuer.to_string(),
        audience,
        subject: if claim == AgentClaim::Subject { value.to_owned() } else { wish.agent.clone() },
        agent: (name, value.to_owned()),
        kind: kind.filter(|kind| &***kind != WITHOUT_TYPE).map(ToString::to_string),
        key: wish.key.clone().unwrap_or_else(beside),
        configured: Some(issuer.clone()),
        notes: notes(&registry, &wish.agent),
    })
}

/// By which of its bindings the agent is to be known.
fn binding<'b>(
    wish: &Mint,
    settings: &'b Settings,
    bindings: &[(&'b str, AgentClaim, &'b str)],
    agents: &str,
) -> Result<(&'b Issuer, AgentClaim, &'b str), Failure> {
    let meant = |issuer: &Issuer| {
        wish.issuer.as_ref().is_none_or(|wanted| *wanted == *issuer.name || *wanted == *issuer.issuer)
    };
    let known = bindings.iter().filter_map(|(name, claim, value)| {
        settings
            .issuers
            .iter()
            .find(|issuer| *issuer.name == **name && meant(issuer))
            .map(|issuer| (issuer, *claim, *value))
    });
    // An issuer that never puts the agent into `sub` cannot prove a binding by `sub`, and the other way round.
    let names = |issuer: &Issuer, kind: &str| {
        *issuer.agent_claim == *kind || issuer.agent_claim_fallbacks.iter().any(|name| **name == *kind)
    };
    let fits = |(issuer, claim, _): &(&Issuer, AgentClaim, &str)| match claim {
        AgentClaim::Client => *issuer.agent_claim != *"sub",
        AgentClaim::Subject => names(issuer, "sub"),
    };
    let fitting: Vec<_> = known.filter(fits).collect();
    match fitting.as_slice() {
        [] => {
            let example =
                wish.issuer.as_deref().or(settings.issuers.first().map(|issuer| &*issuer.name)).unwrap_or("example");
            Err(Failure::new(
                format!(
                    "no token of {} proves agent `{}`",
                    match &wish.issuer {
                        Some(issuer) => format!("issuer `{issuer}`"),
                        None => "any issuer".to_owned(),
                    },
                    wish.agent
                ),
                format!(
                    "bind it in {agents}: `tokens = [{{ issuer = \"{example}\", client_id = \"{}\" }}]`",
                    wish.agent
                ),
            ))
        }
        [one, rest @ ..] => {
            if rest.iter().any(|(issuer, _, _)| issuer.name != one.0.name) {
                let mut names: Vec<&str> = fitting.iter().map(|(issuer, _, _)| &*issuer.name).collect();
                names.dedup();
                return Err(Failure::new(
                    format!("tokens of several issuers prove agent `{}`: {}", wish.agent, names.join(", ")),
                    "name one with `--issuer`",
                ));
            }
            Ok(*one)
        }
    }
}

fn server<'s>(wish: &Mint, settings: &'s Settings) -> Result<&'s Server, Failure> {
    let names = || settings.servers.iter().map(|server| &*server.name);
    let Some(wanted) = &wish.server else {
        return match settings.servers.as_slice() {
            [only] => Ok(only),
            [] => Err(Failure::new("the configuration has no server", "add one as `[server.NAME]`")),
            [_, _, ..] => Err(Failure::new(
                "a token is for one server, and there are several",
                format!("name one with `--server`: {}", names().collect::<Vec<_>>().join(", ")),
            )),
        };
    };
    settings.servers.iter().find(|server| *server.name == **wanted).ok_or_else(|| {
        let near = did_you_mean(wanted, names());
        Failure::new(
            format!("no server is called `{wanted}`"),
            near.unwrap_or_else(|| "name one of the configuration's `[server.NAME]`".into()),
        )
    })
}

/// What the agent's record makes of any token.
fn notes(registry: &Registry, id: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let agent = registry.find(id).and_then(|index| registry.agent(index));
    if let Some(agent) = agent {
        match agent.status {
            Status::Active => {}
            Status::Suspended | Status::Retired => {
                notes.push(format!("agent `{id}` is {}, so the gateway refuses it", agent.status.as_str()));
            }
        }
        if agent.expires.is_some_and(|expires| expires <= reload::now()) {
            notes.push(format!("agent `{id}` has expired, so the gateway refuses it"));
        }
    }
    notes
}

/// The id under which the issuer's key set has this key. A token by a key that it does not have would be refused, and nobody would be told why.
fn published(issuer: &Issuer, signer: &Signer, file: &str) -> Result<Option<String>, Failure> {
    let set = issuer.keys.display();
    let text = disk::read(&issuer.keys, Guard::Open)
        .map_err(|failure| Failure::from(sources::refused(&issuer.keys, &failure)))?;
    let read: Value = serde_json::from_str(&text).unwrap_or_default();
    let known = read.get("keys").and_then(Value::as_array).into_iter().flatten().find(|jwk| signer.is(jwk));
    let Some(known) = known else {
        return Err(Failure::new(
            format!("the public half of `{file}` is not in {set}, so the gateway would refuse the token"),
            format!("name with `--key` the key that belongs to it, or add `{}` to its `keys`", signer.public()),
        ));
    };
    let own = match signer.algorithm() {
        "ES256" => Algorithm::Es256,
        _ => Algorithm::EdDsa,
    };
    if !issuer.algorithms.contains(&own) {
        return Err(Failure::new(
            format!("issuer `{}` may not sign with {}", issuer.name, signer.algorithm()),
            format!("add it to `algorithms` in `[identity.{}]`, or sign with another key", issuer.name),
        ));
    }
    Ok(known.get("kid").and_then(Value::as_str).map(str::to_owned))
}

fn header(signer: &Signer, id: Option<String>, kind: Option<&str>) -> Value {
    let mut members = Map::new();
    members.insert("alg".into(), json!(signer.algorithm()));
    members.extend(kind.map(|kind| ("typ".to_owned(), json!(kind))));
    members.extend(id.map(|id| ("kid".to_owned(), json!(id))));
    Value::Object(members)
}

fn claims(plan: &Plan, now: UnixMillis, expires: UnixMillis, more: &[String]) -> Result<Value, Failure> {
    let mut unique = [0; 12];
    rand::fill(&mut unique)
        .map_err(|_| Failure::new("no token could be named", "the system's source of randomness is broken"))?;
    let mut members = Map::new();
    members.insert("iss".into(), json!(plan.issuer));
    members.insert("aud".into(), json!(plan.audience));
    members.insert("sub".into(), json!(plan.subject));
    members.insert(plan.agent.0.clone(), json!(plan.agent.1));
    members.insert("iat".into(), json!(now.seconds()));
    members.insert("exp".into(), json!(expires.seconds()));
    members.insert("jti".into(), json!(URL_SAFE_NO_PAD.encode(unique)));
    for claim in more {
        let Some((name, value)) = claim.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::new(
                format!("`{claim}` is no claim"),
                "write `--claim NAME=VALUE`, such as `--claim level=3` or `--claim 'teams=[\"a\"]'`",
            ));
        };
        members.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value)));
    }
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_from_a_second_to_a_day() {
        for text in ["", "10", "0s", "25h", "500ms", "soon"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
        assert_eq!(lifetime("10m").ok(), Some(Duration::from_secs(600)));
        assert_eq!(lifetime("24h").ok(), Some(LIFETIME_MAX));
    }

    #[test]
    fn further_claims_are_json_or_text_and_can_take_the_place_of_any() {
        let plan = Plan {
            issuer: "https://i.test".into(),
            audience: "http://127.0.0.1/mcp/crm".into(),
            agent: ("cid".into(), "bot".into()),
            subject: "bot".into(),
            kind: None,
            key: "k".into(),
            configured: None,
            notes: Vec::new(),
        };
        let of = |more: &[&str]| {
            let more: Vec<String> = more.iter().map(|claim| (*claim).to_owned()).collect();
            claims(&plan, UnixMillis(1_000), UnixMillis(2_000), &more)
        };
        assert!(of(&["level"]).is_err() && of(&["=3"]).is_err());
        let made = of(&["level=3", "team=a b", "teams=[\"x\"]", "sub=eve"]).ok().unwrap();
        assert_eq!((&made["level"], &made["team"], &made["teams"]), (&json!(3), &json!("a b"), &json!(["x"])));
        assert_eq!((&made["sub"], &made["cid"], &made["exp"]), (&json!("eve"), &json!("bot"), &json!(2)));
    }
}
