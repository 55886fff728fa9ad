//! Reads the command line. In: its words. Out: what is to be checked, with every key and file it names read. Never here: checking.

use std::fs;
use std::path::PathBuf;

use portcullis_tlog::logs::Demands;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::policy::Policy;

/// What is to be checked.
pub enum Task {
    /// One log.
    Log(Checking, PathBuf),
    /// Logs that follow each other.
    Logs(Checking, PathBuf),
    /// One entry, by its proof.
    Entry(Checking, String, PathBuf),
    /// Nothing: how it is used.
    Help,
    /// Nothing: which version this is.
    Version,
}

/// By what.
pub struct Checking {
    /// Keys of logs that are trusted.
    pub keys: Vec<VerifierKey>,
    /// Witnesses and the rest.
    pub demands: Demands,
}

/// Why the words are none that can be followed.
pub enum Slip {
    /// They are not of any form that is known.
    Usage,
    /// Something that they name cannot be read.
    Unreadable(String),
}

/// Reads them.
pub fn read(words: &[&str]) -> Result<Task, Slip> {
    let (verb, words) = words.split_first().ok_or(Slip::Usage)?;
    if words.is_empty() {
        match *verb {
            "help" | "--help" | "-h" => return Ok(Task::Help),
            "--version" | "-V" => return Ok(Task::Version),
            _ => {}
        }
    }
    let mut typed = Typed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            typed.places.push(word);
            continue;
        }
        let value = *words.next().ok_or(Slip::Usage)?;
        match *word {
            "--key" => typed.keys.push(value),
            "--witness" => typed.witnesses.push(value),
            "--policy" => once(&mut typed.policy, value)?,
            "--witnessed" => once(&mut typed.witnessed, value)?,
            "--from" => once(&mut typed.from, value)?,
            "--proof" => once(&mut typed.proof, value)?,
            _ => return Err(Slip::Usage),
        }
    }
    let [place] = *typed.places.as_slice() else { return Err(Slip::Usage) };
    match (*verb, typed.proof) {
        ("log", None) => Ok(Task::Log(typed.checking()?, place.into())),
        // Each log has a first entry of its own, and a last checkpoint.
        ("logs", None) if typed.from.is_none() && typed.witnessed.is_none() => {
            Ok(Task::Logs(typed.checking()?, place.into()))
        }
        ("entry", Some(proof)) if typed.from.is_none() && typed.witnessed.is_none() => {
            let checking = typed.checking()?;
            Ok(Task::Entry(checking, file("the proof", proof)?, place.into()))
        }
        _ => Err(Slip::Usage),
    }
}

/// The words, sorted.
#[derive(Default)]
struct Typed<'w> {
    keys: Vec<&'w str>,
    witnesses: Vec<&'w str>,
    policy: Option<&'w str>,
    witnessed: Option<&'w str>,
    from: Option<&'w str>,
    proof: Option<&'w str>,
    places: Vec<&'w str>,
}

fn once<'w>(place: &mut Option<&'w str>, value: &'w str) -> Result<(), Slip> {
    if place.replace(value).is_some() { Err(Slip::Usage) } else { Ok(()) }
}

impl Typed<'_> {
    fn checking(&self) -> Result<Checking, Slip> {
        let mut keys: Vec<VerifierKey> = self.keys.iter().map(|text| key("key", text)).collect::<Result<_, _>>()?;
        let policy = match (self.policy, self.witnesses.as_slice()) {
            (None, []) => None,
            (None, witnesses) => {
                let keys = witnesses.iter().map(|text| key("witness's key", text)).collect::<Result<_, _>>()?;
                Some(Policy::all_of(keys))
            }
            (Some(path), []) => {
                let text = fs::read(path).map_err(|cause| Slip::Unreadable(format!("the policy `{path}`: {cause}")))?;
                let policy = Policy::parse(&text);
                Some(policy.map_err(|cause| Slip::Unreadable(format!("the policy `{path}`: {cause}")))?)
            }
            // Which of the two would hold would be a guess.
            (Some(_), _) => return Err(Slip::Usage),
        };
        keys.extend(policy.iter().flat_map(|policy| policy.logs().iter().cloned()));
        if keys.is_empty() {
            return Err(Slip::Usage);
        }
        let witnessed = self.witnessed.map(|path| file("the witnessed checkpoint", path)).transpose()?;
        let from = self.from.map_or(Some(0), |from| from.parse().ok()).ok_or(Slip::Usage)?;
        Ok(Checking { keys, demands: Demands { policy, witnessed, from } })
    }
}

fn key(what: &str, key: &str) -> Result<VerifierKey, Slip> {
    // A key has two plus signs, which no sane file name has.
    let text = match key.matches('+').count() {
        0 | 1 => file(&format!("the {what} file"), key)?,
        _ => key.to_owned(),
    };
    VerifierKey::parse(&text).map_err(|cause| Slip::Unreadable(format!("the {what} `{}`: {cause}", text.trim())))
}

fn file(what: &str, path: &str) -> Result<String, Slip> {
    fs::read_to_string(path).map_err(|cause| Slip::Unreadable(format!("{what} `{path}`: {cause}")))
}
