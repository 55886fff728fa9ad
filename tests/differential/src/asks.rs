//! Asks. In: the ground, chance. Out: calls with arguments that are right, wrong, missing, too many, or spelled oddly. Never here: answers.

use std::net::IpAddr;

use crate::calendars;
use crate::chance::Chance;
use crate::ground::{Ground, Tool};
use crate::json::Json;
use crate::shape::{Presence, Record, Ty};

/// One question, whoever asks it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The server, by its position.
    pub server: usize,
    /// What is asked of it.
    pub call: Call,
    /// The arguments of a tool's call.
    pub arguments: Option<Json>,
    /// The same as an agent writes them.
    pub body: String,
    /// The token, by its position.
    pub token: usize,
    /// The account of the token.
    pub account: Option<String>,
    /// When.
    pub now: i64,
    /// From where.
    pub source: IpAddr,
}

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The handshake.
    Connect,
    /// A tool.
    Tool(usize),
    /// Reading a resource.
    Resource(String),
    /// Getting a prompt.
    Prompt(String),
    /// Completing a prompt's argument.
    CompletePrompt(String),
    /// Completing a resource template.
    CompleteResource(String),
    /// A task of a tool, or any.
    Task(Option<usize>),
    /// The upstream asks for a model.
    Sample,
    /// The upstream asks for a user.
    Elicit,
    /// The upstream asks for folders.
    Roots,
    /// A method beyond MCP, known or not.
    Extension(String),
}

impl Call {
    /// Its name in the report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tool(_) => "tool",
            Self::Resource(_) => "resource",
            Self::Prompt(_) => "prompt",
            Self::CompletePrompt(_) => "complete prompt",
            Self::CompleteResource(_) => "complete resource",
            Self::Task(_) => "task",
            Self::Sample => "sample",
            Self::Elicit => "elicit",
            Self::Roots => "roots",
            Self::Extension(_) => "extension",
        }
    }
}

/// How carefully the arguments of one call are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Right,
    Messy,
}

/// A question by chance.
pub fn ask(ground: &Ground, chance: &mut Chance) -> Ask {
    let server = chance.below(ground.servers.len());
    let call = call(ground, server, chance);
    let mut arguments = None;
    let mut body = String::new();
    if let Call::Tool(tool) = &call {
        arguments = of_tool(&ground.servers[server].tools[*tool], ground, chance);
        if let Some(arguments) = &arguments {
            arguments.write(chance, &mut body);
        }
    }
    let pools = &ground.pools;
    Ask {
        server,
        call,
        arguments,
        body,
        token: chance.below(ground.tokens.len()),
        account: chance.percent(70).then(|| chance.pick(&pools.texts).clone()),
        now: if chance.percent(40) { *chance.pick(&pools.nows) } else { calendars::instant(&ground.calendars, chance) },
        source: *chance.pick(&pools.sources),
    }
}

fn call(ground: &Ground, server: usize, chance: &mut Chance) -> Call {
    let tool = |chance: &mut Chance| chance.below(ground.servers[server].tools.len());
    let text = |chance: &mut Chance| chance.pick(&ground.pools.texts).clone();
    match chance.below(100) {
        0..=69 => Call::Tool(tool(chance)),
        70..=74 => Call::Connect,
        75..=78 => Call::Resource(text(chance)),
        79..=82 => Call::Prompt(text(chance)),
        83..=85 => Call::CompletePrompt(text(chance)),
        86..=88 => Call::CompleteResource(text(chance)),
        89 | 90 => Call::Task(None),
        91..=93 => Call::Task(Some(tool(chance))),
        94 => Call::Sample,
        95 => Call::Elicit,
        96 => Call::Roots,
        97 => Call::Extension("unheard/of".to_owned()),
        _ => ground.servers[server].extensions.first().map_or(Call::Connect, |method| Call::Extension(method.clone())),
    }
}

fn of_tool(tool: &Tool, ground: &Ground, chance: &mut Chance) -> Option<Json> {
    match chance.below(60) {
        0 => return None,
        1 => return Some(chance.pick(&[Json::Null, Json::List(Vec::new()), Json::Text("x".to_owned())]).clone()),
        _ => {}
    }
    let care = if chance.percent(60) { Care::Right } else { Care::Messy };
    let mut whole = object(&tool.input, care, ground, chance);
    if let (Some(path), Json::Object(members)) = (&tool.account, &mut whole)
        && path.len() == 1
        && tool.input.field(&path[0]).is_none()
        && chance.percent(70)
    {
        let value = if chance.percent(90) { text(ground, chance) } else { wrong(ground, chance) };
        members.push((path[0].clone(), value));
    }
    if let Some(sql) = &tool.sql
        && chance.percent(90)
    {
        put(&mut whole, &sql.argument, &chance.pick(&sql.statements).text, chance);
    }
    Some(whole)
}

/// Puts SQL where the tool expects it; where there is nothing, it mostly comes to be there.
fn put(at: &mut Json, path: &[String], text: &str, chance: &mut Chance) {
    let Some((name, below)) = path.split_first() else {
        *at = Json::Text(text.to_owned());
        return;
    };
    let Json::Object(members) = at else { return };
    match members.iter().position(|(own, _)| own == name) {
        Some(position) => put(&mut members[position].1, below, text, chance),
        None if below.is_empty() && chance.percent(70) => members.push((name.clone(), Json::Text(text.to_owned()))),
        None => {}
    }
}

fn object(record: &Record, care: Care, ground: &Ground, chance: &mut Chance) -> Json {
    let mut members: Vec<(String, Json)> = Vec::new();
    for field in &record.fields {
        let left_out = match (field.presence, care) {
            (Presence::Required, Care::Right) => 0,
            (Presence::Required, Care::Messy) => 8,
            (Presence::Optional | Presence::Nullable, _) => 35,
        };
        if chance.percent(left_out) {
            continue;
        }
        let null = match (field.presence, care) {
            (Presence::Nullable, _) => 20,
            (Presence::Required | Presence::Optional, Care::Right) => 0,
            (Presence::Required | Presence::Optional, Care::Messy) => 4,
        };
        let value = match (&field.ty, care) {
            _ if chance.percent(null) => Json::Null,
            (_, Care::Messy) if chance.percent(10) => wrong(ground, chance),
            (None, _) => wrong(ground, chance),
            (Some(ty), _) => fit(ty, care, ground, chance),
        };
        members.push((field.name.clone(), value));
    }
    let strangers = if care == Care::Messy { 20 } else { 4 };
    if chance.percent(strangers) {
        stranger(record, &mut members, ground, chance);
    }
    if chance.percent(30) {
        members.reverse();
    }
    Json::Object(members)
}

/// A member that the schema does not declare: any, one of another tool, or a declared one in another case.
fn stranger(record: &Record, members: &mut Vec<(String, Json)>, ground: &Ground, chance: &mut Chance) {
    let name = match chance.below(4) {
        0 => "undeclared".to_owned(),
        1 => chance.pick(&crate::shape::NAMES).to_string(),
        _ => match record.fields.first() {
            Some(_) => {
                let name = &chance.pick(&record.fields).name;
                match chance.below(3) {
                    0 => name.to_uppercase(),
                    1 => name.replace('s', "ſ"),
                    _ => name.replacen('t', "T", 1),
                }
            }
            None => "x".to_owned(),
        },
    };
    if !members.iter().any(|(own, _)| *own == name) {
        let value = if chance.percent(50) { text(ground, chance) } else { wrong(ground, chance) };
        members.push((name, value));
    }
}

fn text(ground: &Ground, chance: &mut Chance) -> Json {
    Json::Text(chance.pick(&ground.pools.texts).clone())
}

fn fit(ty: &Ty, care: Care, ground: &Ground, chance: &mut Chance) -> Json {
    match ty {
        Ty::Text => text(ground, chance),
        Ty::Bool => Json::Bool(chance.percent(50)),
        Ty::Long => {
            let long = *chance.pick(&ground.pools.longs);
            let exact = long.unsigned_abs() < 9_007_199_254_740_992;
            Json::Number(match chance.below(10) {
                0 if exact => format!("{long}.0"),
                1 if exact => format!("{long}e0"),
                2 if exact && long % 10 == 0 => format!("{}E+1", long / 10),
                _ => long.to_string(),
            })
        }
        Ty::Decimal => Json::Number(decimal(ground, chance)),
        Ty::Set(element) => {
            let mut items: Vec<Json> = (0..chance.below(5)).map(|_| fit(element, care, ground, chance)).collect();
            if care == Care::Messy && chance.percent(10) {
                items.push(wrong(ground, chance));
            }
            if chance.percent(20) {
                items.extend(items.first().cloned());
            }
            Json::List(items)
        }
        Ty::Record(record) => object(record, care, ground, chance),
    }
}

fn decimal(ground: &Ground, chance: &mut Chance) -> String {
    let text = (*chance.pick(&ground.pools.decimals)).to_owned();
    match chance.below(10) {
        0 => format!("{text}00"),
        1 => format!("{text}e0"),
        2 => chance.pick(&["0", "-0", "7", "922337203685477", "1e3", "-0.0", "1.00000000000000001"]).to_string(),
        _ => text,
    }
}

/// A value that is of another type, or of the type but beyond what Cedar can hold; now and then it happens to fit.
fn wrong(ground: &Ground, chance: &mut Chance) -> Json {
    const NUMBERS: [&str; 16] = [
        "0",
        "1",
        "1.5",
        "0.12345",
        "1e20",
        "-1e20",
        "1e-9",
        "1e300",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740992.0",
        "922337203685478",
        "-922337203685478.5",
        "-0",
        "922337203685477.6",
    ];
    match chance.below(8) {
        0 => Json::Null,
        1 => Json::Bool(chance.percent(50)),
        2..=4 => Json::Number(chance.pick(&NUMBERS).to_string()),
        5 => Json::Object(vec![("region".to_owned(), text(ground, chance))]),
        6 => Json::List(vec![Json::Number("1".to_owned()), text(ground, chance)]),
        _ => text(ground, chance),
    }
}
