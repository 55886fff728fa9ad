//! Says what a load is. In: a plan's TOML. Out: a plan in which nothing contradicts anything, or the place, the cause and the cure.
//! Never here: rates in numbers where the plan speaks of a saturation that is yet to be measured.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Connections of one plan: a process has 20,000 descriptors on common hosts, and listeners, polls and files need some of them.
pub const CONNECTIONS_MAX: u32 = 19_000;

/// Tokens of one plan; as many agents as a large registry has.
pub const AGENTS_MAX: u32 = 10_000;

/// Arguments of one call; gateways refuse bodies beyond 4 MiB, and a call has some members around its arguments.
pub const REQUEST_BYTES_MAX: Bytes = Bytes((4 << 20) - 1024);

/// One answer; a gateway that reads results whole holds one for each call in flight.
pub const ANSWER_BYTES_MAX: Bytes = Bytes(16 << 20);

/// One load, checked. `Deserialize` alone checks shapes; [`Plan::parse`] and [`Plan::read`] check the rest as well.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// One sentence for the report.
    pub about: String,
    /// What the connections do.
    pub kind: Kind,
    /// What they run over.
    pub transport: Transport,
    /// How many there are at once; of `handshakes`, how many are being made at once.
    pub connections: u32,
    /// How calls follow each other.
    #[serde(default)]
    pub pace: Pace,
    /// Arguments are padded to about this size.
    #[serde(default)]
    pub request_bytes: Bytes,
    /// Bodies of answers have about this size; the request tells the stub.
    #[serde(default)]
    pub answer_bytes: Bytes,
    /// Calls with an argument that the rule forbids, of a thousand; spread evenly, counted apart.
    #[serde(default)]
    pub refused_per_thousand: u16,
    /// Tokens taken in turn by the connections.
    #[serde(default = "one")]
    pub agents: u32,
    /// Revisions taken in turn by the connections.
    #[serde(default = "modern")]
    pub eras: Vec<Era>,
    /// Calls after which a connection is closed and opened anew; 0: never.
    #[serde(default)]
    pub churn_calls: u32,
    /// Who is measured by this plan.
    #[serde(default = "everyone")]
    pub subjects: Vec<Subject>,
}

/// What connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One call after another.
    Calls,
    /// Connect, one call, close: with TLS a full handshake each. The answer to the call proves that the server finished the handshake.
    Handshakes,
    /// One call when opened, then nothing until all are asked once.
    Idle,
    /// A stream of events each, silent until the server has news for all.
    Streams,
}

/// What connections run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Cleartext,
    /// TLS 1.3 with a client certificate.
    Mtls,
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Each connection sends as soon as it is answered.
    #[default]
    Closed,
    /// So much of a rate that was measured before: who runs the plan knows it and passes it on.
    OfSaturation(f64),
    /// So many a second, whatever the answers do.
    PerSecond(f64),
}

/// A revision of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub enum Era {
    /// Without sessions; every request says all about itself.
    #[serde(rename = "2026-07-28")]
    Modern,
    /// With `initialize` and sessions.
    #[serde(rename = "2025-11-25")]
    Legacy,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Portcullis with everything on, records batched.
    Portcullis,
    /// The same, each record on the disk before its call goes on.
    PortcullisStrict,
    /// Portcullis without its checks.
    PortcullisPass,
    /// nginx as a plain pass-through.
    Nginx,
    /// haproxy as a plain pass-through.
    Haproxy,
    /// No proxy at all.
    Direct,
}

/// A size, written as `200 B`, `64 KiB` or `1 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u32);

/// Why a plan is none: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// File and line.
    pub place: String,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
}

impl Plan {
    /// Reads a plan from its file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no plan.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let place = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &place),
            Err(cause) => {
                let (cause, cure) = (format!("cannot be read: {cause}"), "name a file of `loadtest/plans`".to_owned());
                Err(PlanError { place, cause, cure })
            }
        }
    }

    /// Reads a plan from its text; `place` names it in errors.
    ///
    /// # Errors
    /// When it is no TOML, has other members than a plan has, or contradicts itself.
    pub fn parse(text: &str, place: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|error| {
            let line =
                error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.split('\n').count());
            let cure = "write it as the other plans do".to_owned();
            PlanError { place: format!("{place}:{line}"), cause: error.message().to_owned(), cure }
        })?;
        match plan.fault() {
            None => Ok(plan),
            Some(Fault { member, cause, cure }) => {
                let line = text.lines().position(|line| line.trim_start().starts_with(member)).unwrap_or(0) + 1;
                Err(PlanError { place: format!("{place}:{line}"), cause, cure: cure.to_owned() })
            }
        }
    }

    fn fault(&self) -> Option<Fault> {
        self.fault_of_sizes()
            .or_else(|| self.fault_of_pace())
            .or_else(|| self.fault_of_kind())
            .or_else(|| self.fault_of_parties())
    }

    fn fault_of_sizes(&self) -> Option<Fault> {
        let bound = |member, number: u32, most: u32, cure| {
            let cause = format!("`{member}` is {number}, not 1 to {most}");
            (number == 0 || number > most).then_some(Fault { member, cause, cure })
        };
        let size = |member, size: Bytes, most: Bytes| {
            let cause = format!("`{member}` is `{size}`, more than `{most}`");
            (size > most).then_some(Fault { member, cause, cure: "ask for less" })
        };
        bound("connections", self.connections, CONNECTIONS_MAX, "choose a number in between")
            .or_else(|| bound("agents", self.agents, AGENTS_MAX, "choose a number in between"))
            .or_else(|| size("request_bytes", self.request_bytes, REQUEST_BYTES_MAX))
            .or_else(|| size("answer_bytes", self.answer_bytes, ANSWER_BYTES_MAX))
            .or_else(|| {
                let cause = format!("`refused_per_thousand` is {}, more than 1000", self.refused_per_thousand);
                let cure = "write 1000 to have every call refused";
                (self.refused_per_thousand > 1000).then_some(Fault { member: "refused_per_thousand", cause, cure })
            })
    }

    fn fault_of_pace(&self) -> Option<Fault> {
        let (number, right) = match self.pace {
            Pace::Closed => return None,
            Pace::OfSaturation(share) => (share, share > 0.0 && share <= 2.0),
            Pace::PerSecond(rate) => (rate, rate > 0.0 && rate <= 10_000_000.0),
        };
        let cause = format!("`{number}` is no pace");
        let cure = "write a share above 0 and at most 2, or a number of calls above 0";
        (!right).then_some(Fault { member: "pace", cause, cure })
    }

    fn fault_of_kind(&self) -> Option<Fault> {
        let held = match self.kind {
            Kind::Calls => return None,
            Kind::Handshakes if self.churn_calls == 0 => return None,
            Kind::Handshakes => {
                let cause = "connections of `handshakes` end after each call".to_owned();
                return Some(Fault { member: "churn_calls", cause, cure: "leave `churn_calls` out" });
            }
            Kind::Idle | Kind::Streams => "held connections",
        };
        let fault = |member, cure| Some(Fault { member, cause: format!("{held} know no `{member}`"), cure });
        match () {
            () if self.pace != Pace::Closed => fault("pace", "leave `pace` out"),
            () if self.refused_per_thousand > 0 => fault("refused_per_thousand", "leave `refused_per_thousand` out"),
            () if self.churn_calls > 0 => fault("churn_calls", "leave `churn_calls` out"),
            () => None,
        }
    }

    fn fault_of_parties(&self) -> Option<Fault> {
        let fault = |member, cause: &str, cure| Some(Fault { member, cause: cause.to_owned(), cure });
        let repeated = self
            .subjects
            .iter()
            .enumerate()
            .any(|(at, one)| self.subjects.iter().skip(at + 1).any(|other| one == other));
        match () {
            () if self.about.trim().is_empty() => {
                fault("about", "a plan without a sentence explains nothing", "say what it measures")
            }
            () if self.eras.is_empty() => {
                fault("eras", "connections must speak something", "name `2026-07-28` or `2025-11-25`")
            }
            () if self.subjects.is_empty() => {
                fault("subjects", "nobody is measured", "name a subject, or leave `subjects` out")
            }
            () if repeated => fault("subjects", "a subject is named twice", "name each once"),
            () if self.transport == Transport::Mtls && self.subjects.contains(&Subject::Direct) => {
                fault("subjects", "the stub speaks no TLS, so `direct` does not go with `mtls`", "leave `direct` out")
            }
            () => None,
        }
    }
}

struct Fault {
    member: &'static str,
    cause: String,
    cure: &'static str,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Portcullis, Self::PortcullisStrict, Self::PortcullisPass, Self::Nginx, Self::Haproxy, Self::Direct];

    /// As plans and reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::PortcullisStrict => "portcullis_strict",
            Self::PortcullisPass => "portcullis_pass",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }
}

impl Bytes {
    /// As a length.
    pub fn length(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Default for Bytes {
    /// What a small call or a small answer has.
    fn default() -> Self {
        Self(200)
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fault = || format!("`{text}` is no size such as `200 B`, `64 KiB` or `1 MiB`");
        let (number, unit) = text.trim().split_once(' ').ok_or_else(fault)?;
        let factor = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return Err(fault()),
        };
        let number: u32 = number.parse().map_err(|_| fault())?;
        number.checked_mul(factor).map(Self).ok_or_else(fault)
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => write!(out, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => write!(out, "{} KiB", bytes >> 10),
            bytes => write!(out, "{bytes} B"),
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; {}", self.place, self.cause, self.cure)
    }
}

impl Error for PlanError {}

fn one() -> u32 {
    1
}

fn modern() -> Vec<Era> {
    vec![Era::Modern]
}

fn everyone() -> Vec<Subject> {
    Subject::ALL.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "about = \"a test\"\nkind = \"calls\"\ntransport = \"cleartext\"\nconnections = 64\n";

    fn check(more: &str, expected: &str) {
        let text = if more.starts_with("about") { more.to_owned() } else { format!("{HEAD}{more}") };
        let got = Plan::parse(&text, "p.toml").map(drop).unwrap_err().to_string();
        assert!(got.contains(expected), "given {text}\nexpect {expected}\ngot {got}");
    }

    #[test]
    fn what_is_no_plan_is_refused_with_its_place() {
        check("pase = \"closed\"", "p.toml:5: unknown field `pase`, expected one of");
        check("pace = \"open\"", "p.toml:5: unknown variant `open`");
        check("pace = { of_saturation = 0 }", "p.toml:5: `0` is no pace; write a share above 0");
        check("pace = { per_second = -1 }", "p.toml:5: `-1` is no pace");
        check("request_bytes = \"200\"", "p.toml:5: `200` is no size such as `200 B`");
        check("request_bytes = \"9999 MiB\"", "`9999 MiB` is no size");
        check("request_bytes = \"4 MiB\"", "p.toml:5: `request_bytes` is `4 MiB`, more than");
        check("answer_bytes = \"17 MiB\"", "`answer_bytes` is `17 MiB`, more than `16 MiB`; ask for less");
        check("refused_per_thousand = 1001", "p.toml:5: `refused_per_thousand` is 1001, more than 1000");
        check("agents = 0", "p.toml:5: `agents` is 0, not 1 to 10000");
        check("eras = []", "p.toml:5: connections must speak something");
        check("eras = [\"2024-11-05\"]", "unknown variant `2024-11-05`");
        check("subjects = []", "nobody is measured");
        check("subjects = [\"nginx\", \"nginx\"]", "a subject is named twice");
        check(
            "about = \" \"\nkind = \"calls\"\ntransport = \"cleartext\"\nconnections = 1",
            "p.toml:1: a plan without a sentence",
        );
        check(
            "about = \"x\"\nkind = \"calls\"\ntransport = \"cleartext\"\nconnections = 20000",
            "p.toml:4: `connections` is 20000",
        );
        check("about = \"x\"\nkind = \"calls\"\ntransport = \"cleartext\"", "missing field `connections`");
    }

    #[test]
    fn what_contradicts_its_kind_or_transport_is_refused() {
        let plan = |kind: &str, more: &str| {
            format!("about = \"x\"\nkind = \"{kind}\"\ntransport = \"cleartext\"\nconnections = 1\n{more}")
        };
        for kind in ["idle", "streams"] {
            check(&plan(kind, "pace = { per_second = 5 }"), "p.toml:5: held connections know no `pace`");
            check(&plan(kind, "churn_calls = 5"), "p.toml:5: held connections know no `churn_calls`");
            check(&plan(kind, "refused_per_thousand = 5"), "held connections know no `refused_per_thousand`");
        }
        check(&plan("handshakes", "churn_calls = 5"), "p.toml:5: connections of `handshakes` end after each call");
        check("about = \"x\"\nkind = \"calls\"\ntransport = \"mtls\"\nconnections = 1", "the stub speaks no TLS");
    }

    #[test]
    fn what_is_left_out_has_the_values_of_the_plainest_load() {
        let plan = Plan::parse(HEAD, "p.toml").unwrap();
        assert_eq!((plan.pace, plan.request_bytes, plan.answer_bytes), (Pace::Closed, Bytes(200), Bytes(200)));
        assert_eq!((plan.agents, plan.refused_per_thousand, plan.churn_calls), (1, 0, 0));
        assert_eq!((plan.eras, plan.subjects), (vec![Era::Modern], Subject::ALL.to_vec()));
    }

    #[test]
    fn paces_and_sizes_are_read_as_written() {
        let read = |more: &str| Plan::parse(&format!("{HEAD}{more}"), "p.toml").unwrap();
        assert_eq!(read("pace = \"closed\"").pace, Pace::Closed);
        assert_eq!(read("pace = { of_saturation = 0.5 }").pace, Pace::OfSaturation(0.5));
        assert_eq!(read("pace = { per_second = 2000 }").pace, Pace::PerSecond(2000.0));
        for (text, bytes) in [("0 B", 0), ("200 B", 200), ("64 KiB", 65_536), ("1 MiB", 1_048_576)] {
            let plan = read(&format!("answer_bytes = \"{text}\""));
            assert_eq!((plan.answer_bytes, plan.answer_bytes.to_string()), (Bytes(bytes), text.to_owned()));
        }
    }

    #[test]
    fn every_plan_of_the_bench_is_one() {
        let wanted = [
            "handshakes",
            "idle",
            "idle_sse",
            "idle_tls",
            "mixed",
            "mtls_small",
            "open_loop_90",
            "open_loop_half",
            "plain_1m",
            "plain_64k",
            "plain_small",
            "request_1m",
            "request_64k",
        ];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
        let mut found: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found, wanted);
        for name in wanted {
            let plan = Plan::read(&folder.join(format!("{name}.toml")));
            assert!(plan.is_ok(), "{}", plan.unwrap_err());
        }
    }

    #[test]
    fn subjects_are_named_as_plans_spell_them() {
        for subject in Subject::ALL {
            assert_eq!(serde_json::to_value(subject).unwrap(), subject.name());
        }
    }
}
