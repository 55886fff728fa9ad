//! Says which witnesses have to have seen a log. In: a policy as text, a checkpoint with cosignatures. Out: what was seen and when, or who is
//! missing. Never here: files, clocks.
//!
//! C2SP tlog-policy: logs, witnesses, groups of them, and a quorum. Of keys, those of Ed25519 alone: a policy that names others is refused, since a
//! quorum over them could not be judged.

use std::fmt;

use crate::checkpoint::{Checkpoint, NotACheckpoint};
use crate::note::{KeyError, Kind, Note, NoteError, Unproven, VerifierKey};

/// Bytes of a policy at most: 64 logs, witnesses and groups each, with long names and addresses.
const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Logs, witnesses and groups at most, each; the specification asks for 32.
const DEFINED_MAX: usize = 128;

/// Who has to have seen a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    quorum: Rule,
}

/// When enough have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// Nobody has to.
    Nobody,
    /// This one of the witnesses.
    Witness(usize),
    /// So many of these.
    Group { least: usize, members: Vec<Rule> },
}

/// A checkpoint that enough witnesses saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// What they saw.
    pub checkpoint: Checkpoint,
    /// Who did, and when, in seconds since 1970.
    pub by: Vec<(String, u64)>,
}

impl Policy {
    /// That every one of these witnesses has to have seen a log.
    pub fn all_of(witnesses: Vec<VerifierKey>) -> Self {
        let members: Vec<Rule> = (0..witnesses.len()).map(Rule::Witness).collect();
        let quorum = if members.is_empty() { Rule::Nobody } else { Rule::Group { least: members.len(), members } };
        Self { logs: Vec::new(), witnesses, quorum }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// The first line that is none of a policy, from 1, and why.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let whole = |cause| PolicyError { line: 0, cause };
        if text.len() > POLICY_BYTES_MAX {
            return Err(whole(PolicyCause::TooLong));
        }
        let mut reading = Reading::default();
        for (line, words) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            reading.line(words).map_err(|cause| PolicyError { line, cause })?;
        }
        let quorum = reading.quorum.ok_or(whole(PolicyCause::NoQuorum))?;
        Ok(Self { logs: reading.logs, witnesses: reading.witnesses, quorum })
    }

    /// The logs it is about; none where that is known from elsewhere.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Whether anybody has to have seen the log.
    pub fn demands(&self) -> bool {
        self.quorum != Rule::Nobody
    }

    /// Holds a checkpoint of the log whose key this is against the policy.
    ///
    /// # Errors
    /// When the log did not sign it, a witness's cosignature does not hold, or too few are there.
    pub fn check(&self, note: &str, key: &VerifierKey) -> Result<Witnessed, Unwitnessed> {
        let checkpoint = Checkpoint::open(note, key).map_err(Unwitnessed::Checkpoint)?;
        let note = Note::parse(note).map_err(Unwitnessed::Note)?;
        let mut by = Vec::new();
        let mut seen = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            let at = match witness.verify(&note) {
                Ok(at) => Some(at),
                Err(Unproven::NotSigned) => None,
                Err(Unproven::Forged) => return Err(Unwitnessed::Forged { witness: witness.name().to_owned() }),
            };
            seen.push(at.is_some());
            by.extend(at.map(|at| (witness.name().to_owned(), at)));
        }
        if self.quorum.is_met(&seen) {
            return Ok(Witnessed { checkpoint, by });
        }
        let missing = self.witnesses.iter().zip(&seen).filter(|(_, seen)| !**seen);
        Err(Unwitnessed::TooFew { missing: missing.map(|(witness, _)| witness.name().to_owned()).collect() })
    }
}

impl Rule {
    fn is_met(&self, seen: &[bool]) -> bool {
        match self {
            Self::Nobody => true,
            Self::Witness(place) => seen.get(*place).copied().unwrap_or(false),
            Self::Group { least, members } => members.iter().filter(|rule| rule.is_met(seen)).count() >= *least,
        }
    }
}

/// A policy that is being read.
#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    /// What names stand for, and whether a group has taken them.
    names: Vec<(Vec<u8>, Rule, Taken)>,
    quorum: Option<Rule>,
}

/// Whether a name is a member of a group; it can be in one alone, so that no witness counts twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    No,
    Yes,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyCause> {
        if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err(PolicyCause::ControlCharacter);
        }
        let words: Vec<&[u8]> =
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        match *words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => {
                let key = verifier(key, Kind::Signature, &self.logs)?;
                self.logs.push(key);
                Ok(())
            }
            [b"witness", name, key] | [b"witness", name, key, _] => {
                let key = verifier(key, Kind::Cosignature, &self.witnesses)?;
                self.define(name, Rule::Witness(self.witnesses.len()))?;
                self.witnesses.push(key);
                Ok(())
            }
            [b"group", name, least, ref members @ ..] if !members.is_empty() => {
                let rule = self.group(least, members)?;
                self.define(name, rule)
            }
            [b"quorum", name] => {
                let rule = match name {
                    b"none" => Rule::Nobody,
                    name => self.named(name)?.1.clone(),
                };
                if self.quorum.replace(rule).is_some() { Err(PolicyCause::Twice) } else { Ok(()) }
            }
            _ => Err(PolicyCause::Form),
        }
    }

    fn group(&mut self, least: &[u8], members: &[&[u8]]) -> Result<Rule, PolicyCause> {
        let least = match least {
            b"any" => 1,
            b"all" => members.len(),
            number => std::str::from_utf8(number)
                .ok()
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|number| number.parse().ok())
                .filter(|least| (1..=members.len()).contains(least))
                .ok_or(PolicyCause::Threshold)?,
        };
        let mut rules = Vec::with_capacity(members.len());
        for member in members {
            let (_, rule, taken) = self.named(member)?;
            if std::mem::replace(taken, Taken::Yes) == Taken::Yes {
                return Err(PolicyCause::Taken);
            }
            rules.push(rule.clone());
        }
        Ok(Rule::Group { least, members: rules })
    }

    fn define(&mut self, name: &[u8], rule: Rule) -> Result<(), PolicyCause> {
        if name == b"none" || self.named(name).is_ok() {
            return Err(PolicyCause::Twice);
        }
        if self.names.len() >= 2 * DEFINED_MAX {
            return Err(PolicyCause::TooMany);
        }
        self.names.push((name.to_vec(), rule, Taken::No));
        Ok(())
    }

    fn named(&mut self, name: &[u8]) -> Result<&mut (Vec<u8>, Rule, Taken), PolicyCause> {
        self.names.iter_mut().find(|(known, ..)| known == name).ok_or(PolicyCause::Unknown)
    }
}

/// A key that is not there yet, under whatever name.
fn verifier(text: &[u8], kind: Kind, known: &[VerifierKey]) -> Result<VerifierKey, PolicyCause> {
    let text = std::str::from_utf8(text).map_err(|_| PolicyCause::Key(KeyError::NotAKey))?;
    let key = VerifierKey::parse(text).map_err(PolicyCause::Key)?;
    if key.kind() != kind {
        return Err(PolicyCause::Kind);
    }
    if known.iter().any(|known| known.is_same_key(&key)) {
        return Err(PolicyCause::Twice);
    }
    if known.len() >= DEFINED_MAX {
        return Err(PolicyCause::TooMany);
    }
    Ok(key)
}

/// Where a text stops being a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, from 1; 0 for the whole.
    pub line: usize,
    /// Why.
    pub cause: PolicyCause,
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyCause {
    /// It is longer than any policy.
    TooLong,
    /// It holds a control character beside tabs and newlines.
    ControlCharacter,
    /// The line is no `log`, `witness`, `group` or `quorum`.
    Form,
    /// A key is none that is known here.
    Key(KeyError),
    /// The key of a log where a witness's is wanted, or the reverse.
    Kind,
    /// A name, a key or the quorum is there twice, or a name is `none`.
    Twice,
    /// A name that no line before it defines.
    Unknown,
    /// A member of a group is in another already.
    Taken,
    /// A group asks for none of its members, or for more than it has.
    Threshold,
    /// More is defined than anybody needs.
    TooMany,
    /// There is no quorum.
    NoQuorum,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        match self.cause {
            PolicyCause::TooLong => write!(out, "it is longer than {POLICY_BYTES_MAX} bytes"),
            PolicyCause::ControlCharacter => write!(out, "it holds a control character"),
            PolicyCause::Form => write!(out, "it is no `log`, `witness`, `group` or `quorum`"),
            PolicyCause::Key(cause) => write!(out, "{cause}"),
            PolicyCause::Kind => write!(out, "a log's key stands where a witness's is wanted, or the reverse"),
            PolicyCause::Twice => write!(out, "a name, a key or the quorum is there twice"),
            PolicyCause::Unknown => write!(out, "it names what no line before it defines"),
            PolicyCause::Taken => write!(out, "a member of the group is in another already"),
            PolicyCause::Threshold => {
                write!(out, "the group does not ask for `any`, `all`, or 1 up to all of its members")
            }
            PolicyCause::TooMany => write!(out, "it defines more than {DEFINED_MAX} of a kind"),
            PolicyCause::NoQuorum => write!(out, "it has no `quorum`"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Why a checkpoint does not count as witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwitnessed {
    /// There is none.
    Missing,
    /// The log did not sign it.
    Checkpoint(crate::checkpoint::Refused),
    /// It is no note.
    Note(NoteError),
    /// What was signed is no checkpoint.
    Form(NotACheckpoint),
    /// A cosignature does not hold.
    Forged {
        /// Whose.
        witness: String,
    },
    /// Too few saw it.
    TooFew {
        /// Who did not.
        missing: Vec<String>,
    },
    /// They saw it before the entries that are still kept.
    Old {
        /// How many entries they saw.
        seen: u64,
        /// The first entry that is kept.
        from: u64,
    },
}

impl fmt::Display for Unwitnessed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(out, "there is none"),
            Self::Checkpoint(cause) => write!(out, "{cause}"),
            Self::Note(cause) => write!(out, "{cause}"),
            Self::Form(cause) => write!(out, "{cause}"),
            Self::Forged { witness } => write!(out, "the cosignature of `{witness}` does not hold"),
            Self::TooFew { missing } => write!(out, "too few cosigned it; missing: `{}`", missing.join("`, `")),
            Self::Old { seen, from } => {
                write!(out, "it is of {seen} entries, and only those from {from} on are still kept")
            }
        }
    }
}

impl std::error::Error for Unwitnessed {}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
