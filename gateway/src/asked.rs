//! Reads a question about the rules. In: words of a command line, of a file of cases, or of the control socket. Out: a call to try out, or
//! what is wrong with it. Never here: the answer.

use portcullis_core::identity::claims::ClaimValue;
use portcullis_core::policy::trial::{Target, Trial};
use portcullis_core::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::net::{IpAddr, Ipv4Addr};

/// A question as it was typed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// The agent's id.
    pub agent: String,
    /// `SERVER.TOOL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The server of a `uri` or `prompt`, or the one that is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// A resource to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// A prompt to get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The arguments, as they would stand in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Box<RawValue>>,
    /// What the call brings, as it would stand in `structuredContent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    /// When, RFC 3339; now if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Where the connection comes from; 127.0.0.1 if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The user the agent acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The customer account of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Claims of the token.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub claims: serde_json::Map<String, Value>,
}

/// What is wrong with a question: cause and cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// The cause.
    pub message: String,
    /// The cure.
    pub help: &'static str,
}

impl Unclear {
    fn new(message: impl Into<String>, help: &'static str) -> Self {
        Self { message: message.into(), help }
    }
}

impl Asked {
    /// The call that is meant; `now` stands in where no time is given.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub fn trial(&self, now: UnixMillis) -> Result<Trial, Unclear> {
        let (server, target) = self.target()?;
        let claims = self.claims.iter().map(|(name, value)| (name.as_str().into(), claim(value)));
        Ok(Trial {
            agent: self.agent.as_str().into(),
            user: self.user.as_deref().map(Box::from),
            account: self.account.as_deref().map(Box::from),
            claims: claims.collect(),
            server: server.into(),
            target,
            arguments: self.arguments.as_ref().map(|raw| raw.get().as_bytes().into()),
            output: self.output.as_ref().map(|raw| raw.get().as_bytes().into()),
            source: self.source.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            at: self.at.as_deref().map_or(Ok(now), |at| time(at).ok_or_else(|| no_time(at)))?,
        })
    }

    fn target(&self) -> Result<(&str, Target), Unclear> {
        let server = || {
            self.server.as_deref().ok_or_else(|| Unclear::new("no server is named", "name it, as in `--server crm`"))
        };
        match (&self.tool, &self.uri, &self.prompt) {
            (Some(tool), None, None) => match (tool.split_once('.'), &self.server) {
                (_, Some(server)) => Ok((server, Target::Tool(tool.as_str().into()))),
                (Some((server, name)), None) => Ok((server, Target::Tool(name.into()))),
                (None, None) => Err(Unclear::new(
                    format!("tool `{tool}` names no server"),
                    "write it as SERVER.TOOL, such as `crm.read_table`",
                )),
            },
            (None, Some(uri), None) => Ok((server()?, Target::ResourceRead(uri.as_str().into()))),
            (None, None, Some(name)) => Ok((server()?, Target::PromptGet(name.as_str().into()))),
            (None, None, None) if self.server.is_some() => Ok((server()?, Target::Connect)),
            (None, None, None) => {
                Err(Unclear::new("nothing is asked for", "name a tool as SERVER.TOOL, such as `crm.read_table`"))
            }
            (Some(_) | None, Some(_) | None, Some(_) | None) => {
                Err(Unclear::new("several things are asked for at once", "name a tool, a `uri` or a `prompt`"))
            }
        }
    }

    /// What is asked for, in a few words.
    pub fn words(&self) -> String {
        let server = self.server.as_deref().unwrap_or_default();
        let about = match (&self.tool, &self.uri, &self.prompt) {
            (Some(tool), _, _) if server.is_empty() => tool.clone(),
            (Some(tool), _, _) => format!("{server}.{tool}"),
            (None, Some(uri), _) => format!("{server} resources/read {uri}"),
            (None, None, Some(prompt)) => format!("{server} prompts/get {prompt}"),
            (None, None, None) => format!("{server} connect"),
        };
        let arguments = self.arguments.as_ref().map(|raw| format!(" {}", raw.get())).unwrap_or_default();
        let output = self.output.as_ref().map(|raw| format!(" bringing {}", raw.get())).unwrap_or_default();
        format!("{} {about}{arguments}{output}", self.agent)
    }
}

/// An instant, or a civil day, which begins at midnight in UTC.
pub fn time(text: &str) -> Option<UnixMillis> {
    let instant = text.parse::<jiff::Timestamp>().ok();
    let day =
        || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp());
    instant.or_else(day).map(|at| UnixMillis(at.as_millisecond()))
}

fn no_time(text: &str) -> Unclear {
    Unclear::new(format!("`{text}` is no time"), "write it as RFC 3339 does, such as `2026-11-23T10:00:00Z`")
}

/// A claim as the identity stage would hand it on.
fn claim(value: &Value) -> ClaimValue {
    match value {
        Value::String(text) => ClaimValue::Text(text.as_str().into()),
        Value::Bool(truth) => ClaimValue::Truth(*truth),
        Value::Number(number) => number.as_i64().map_or(ClaimValue::Unreadable, ClaimValue::Integer),
        Value::Array(list) => {
            let texts: Option<Vec<Box<str>>> = list.iter().map(|one| one.as_str().map(Box::from)).collect();
            texts.map_or(ClaimValue::Unreadable, ClaimValue::Texts)
        }
        Value::Null | Value::Object(_) => ClaimValue::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(json: &str) -> Asked {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_question_that_is_not_clear_is_refused_with_its_cure() {
        for (json, expected) in [
            (r#"{"agent": "a"}"#, "nothing is asked for"),
            (r#"{"agent": "a", "tool": "read"}"#, "tool `read` names no server"),
            (r#"{"agent": "a", "uri": "x:y"}"#, "no server is named"),
            (r#"{"agent": "a", "tool": "s.t", "uri": "x:y"}"#, "several things are asked for at once"),
            (r#"{"agent": "a", "tool": "s.t", "at": "noon"}"#, "`noon` is no time"),
        ] {
            assert_eq!(asked(json).trial(UnixMillis(0)).unwrap_err().message, expected, "{json}");
        }
        assert!(serde_json::from_str::<Asked>(r#"{"agnet": "a"}"#).is_err());
    }

    #[test]
    fn a_question_is_read_as_it_is_meant() {
        let trial = asked(
            r#"{"agent": "a", "tool": "crm.read.all", "arguments": {"a": 1, "a": 2}, "at": "2026-11-23T10:00:00+01:00",
                "claims": {"level": 3, "teams": ["x"], "odd": {}}}"#,
        );
        let words = trial.words();
        let trial = trial.trial(UnixMillis(0)).unwrap();
        assert_eq!((&*trial.server, &trial.target), ("crm", &Target::Tool("read.all".into())));
        assert_eq!(trial.at.rfc3339(), "2026-11-23T09:00:00.000Z");
        // The raw text is kept, so that what a request would be refused for is refused here.
        assert_eq!(trial.arguments.as_deref(), Some(br#"{"a": 1, "a": 2}"#.as_slice()));
        assert_eq!(trial.claims.len(), 3);
        assert_eq!(words, r#"a crm.read.all {"a": 1, "a": 2}"#);
        assert_eq!(asked(r#"{"agent": "a", "server": "crm"}"#).trial(UnixMillis(7)).unwrap().target, Target::Connect);
        assert_eq!(time("2026-11-23").map(UnixMillis::rfc3339).as_deref(), Some("2026-11-23T00:00:00.000Z"));
    }
}
