//! Erases values and holds calls. In: which calls, who asks, why. Out: values that are gone from every file; calls that stay; what is to be recorded of
//! it. Never here: waiting, records.
//!
//! `keeping.json` has the holds and the erasure under way. Each change is decided there first, then done, then recorded by whoever asked for it, then
//! forgotten: a start finds what was interrupted, does it again, which changes nothing that was done, and has it recorded.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use portcullis_tlog::tile::{self, Row, Tile, WIDTH};
use serde::{Deserialize, Serialize};

use crate::calls::{Facts, Found, Wanted, id};
use crate::disk::{Disk, read, replace};
use crate::reader::Name;
use crate::sequencer::{Fault, Sequencer};
use crate::wal;

/// Its name in the audit folder.
pub const KEEPING_FILE: &str = "keeping.json";

/// Holds at a time: each is looked at for each call that is to go.
pub const HOLDS_MAX: usize = 1_000;

/// Calls that must stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// What it is called.
    pub name: String,
    /// Which calls.
    pub calls: Wanted,
    /// Why.
    pub reason: String,
    /// Who placed it, or lifts it.
    pub actor: String,
    /// How far it is.
    pub state: State,
}

/// How far a hold is. It holds in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not recorded yet.
    Placing,
    /// In force.
    Placed,
    /// To be lifted once that is recorded.
    Lifting,
}

/// An erasure that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Of which calls.
    pub calls: Vec<Found>,
    /// The size of the log in which they were found: what came later is looked through for more of them.
    pub size: u64,
    /// `/params/arguments…`, `/result…` or `/error…`; all where there is none.
    pub fields: Vec<String>,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What was done and is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Values are gone.
    Erased(Erasure),
    /// Calls are held.
    Placed(Hold),
    /// They no longer are to be.
    Lifted(Hold),
}

/// Whether calls may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// A gateway runs.
    Possible,
    /// None does.
    Over,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keeping {
    v: u32,
    /// In the order of their names.
    pub holds: Vec<Hold>,
    /// At most one is under way.
    pub erasing: Option<Erasure>,
}

const VERSION: u32 = 1;

impl Keeping {
    /// Reads it.
    ///
    /// # Errors
    /// As the system says, and where it is something else.
    pub fn read(disk: &dyn Disk, audit: &Path) -> io::Result<Self> {
        let path = audit.join(KEEPING_FILE);
        let bytes = match read(disk, &path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Self { v: VERSION, ..Self::default() }),
            bytes => bytes?,
        };
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {why}", path.display()));
        let kept: Self = serde_json::from_slice(&bytes).map_err(|cause| invalid(cause.to_string()))?;
        if kept.v != VERSION {
            return Err(invalid(format!("version {}, and this program knows {VERSION}", kept.v)));
        }
        Ok(kept)
    }

    fn write(&self, disk: &dyn Disk, audit: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        replace(disk, &audit.join(KEEPING_FILE), &bytes)
    }

    /// What is to be recorded.
    fn unfinished(&self) -> Vec<Done> {
        let mut done: Vec<Done> = self.erasing.iter().cloned().map(Done::Erased).collect();
        done.extend(self.holds.iter().filter_map(|hold| match hold.state {
            State::Placing => Some(Done::Placed(hold.clone())),
            State::Placed => None,
            State::Lifting => Some(Done::Lifted(hold.clone())),
        }));
        done
    }
}

impl Sequencer {
    /// Does again what was decided and perhaps not done. Nothing else is erased, held or let go before.
    ///
    /// # Errors
    /// As the system says.
    pub fn resume_keeping(&mut self) -> Result<(), Fault> {
        let kept = Keeping::read(&*self.disk, &self.audit)?;
        if let Some(erasure) = kept.erasing {
            self.carry_out(&erasure)?;
        }
        self.halfway = false;
        Ok(())
    }

    /// What was done and is not known to be recorded. What an earlier try could not finish is done first: nothing is recorded before.
    ///
    /// # Errors
    /// As the system says.
    pub fn unrecorded(&mut self) -> Result<Vec<Done>, Fault> {
        if self.halfway {
            self.resume_keeping()?;
        }
        Ok(Keeping::read(&*self.disk, &self.audit)?.unfinished())
    }

    /// These are recorded: they are forgotten.
    ///
    /// # Errors
    /// As the system says; they are recorded again then.
    pub fn recorded(&self, done: &[Done]) -> Result<(), Fault> {
        let mut kept = Keeping::read(&*self.disk, &self.audit)?;
        for done in done {
            match done {
                Done::Erased(erasure) => kept.erasing = kept.erasing.filter(|other| other != erasure),
                Done::Placed(placed) => {
                    let same = kept.holds.iter_mut().filter(|hold| *hold == placed);
                    same.for_each(|hold| hold.state = State::Placed);
                }
                Done::Lifted(lifted) => kept.holds.retain(|hold| hold != lifted),
            }
        }
        Ok(kept.write(&*self.disk, &self.audit)?)
    }

    /// Holds calls.
    ///
    /// # Errors
    /// When there is a hold of this name, there are too many, or as the system says.
    pub fn place(&self, hold: Hold) -> Result<(), Refused> {
        let mut kept = Keeping::read(&*self.disk, &self.audit)?;
        if kept.holds.iter().any(|other| other.name == hold.name) {
            return Err(Refused::HoldExists(hold.name));
        }
        if kept.holds.len() >= HOLDS_MAX {
            return Err(Refused::TooManyHolds);
        }
        kept.holds.push(Hold { state: State::Placing, ..hold });
        kept.holds.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(kept.write(&*self.disk, &self.audit)?)
    }

    /// Lifts a hold, once that is recorded.
    ///
    /// # Errors
    /// When there is none of this name, or as the system says.
    pub fn lift(&self, name: &str, actor: &str, reason: &str) -> Result<(), Refused> {
        let mut kept = Keeping::read(&*self.disk, &self.audit)?;
        let hold = kept.holds.iter_mut().find(|hold| hold.name == name);
        let hold = hold.ok_or_else(|| Refused::NoHold(name.to_owned()))?;
        hold.state = State::Lifting;
        (hold.actor, hold.reason) = (actor.to_owned(), reason.to_owned());
        Ok(kept.write(&*self.disk, &self.audit)?)
    }

    /// Erases values of calls, or all of them where no fields are named. The journals that held them must have been left, and taken; how many values
    /// are gone.
    ///
    /// # Errors
    /// When a call is held, under way or not what it is said to be, and nothing is erased then; as the system says, and the erasure is then done by
    /// the next start.
    pub fn erase_calls(&mut self, mut erasure: Erasure, flight: Flight) -> Result<usize, Refused> {
        self.publish()?;
        let mut kept = Keeping::read(&*self.disk, &self.audit)?;
        if kept.erasing.is_some() {
            return Err(Refused::Unfinished);
        }
        let mut entries = Entries::of(self);
        for call in &erasure.calls {
            let facts = self.facts(&mut entries, call, flight)?;
            if let Some(hold) = kept.holds.iter().find(|hold| hold.calls.means(&facts)) {
                return Err(Refused::Held { call: call.name, hold: hold.name.clone() });
            }
        }
        for index in erasure.size..self.order.head.size {
            let Some(of) = entries.facts(index)?.and_then(|facts| facts.result_of()) else { continue };
            erasure.calls.iter_mut().filter(|call| call.name == of).for_each(|call| call.results.push(index));
        }
        kept.erasing = Some(erasure.clone());
        self.halfway = true;
        kept.write(&*self.disk, &self.audit)?;
        let gone = self.carry_out(&erasure)?;
        self.halfway = false;
        Ok(gone)
    }

    /// What the log says of a call, after what was said of it was held against that.
    fn facts(&self, entries: &mut Entries<'_>, call: &Found, flight: Flight) -> Result<Facts, Refused> {
        if flight == Flight::Possible && self.order.open.contains(&call.name) {
            return Err(Refused::UnderWay(call.name));
        }
        let other = || Refused::OtherEntry(call.name);
        let decision = entries.facts(call.decision)?.filter(|facts| facts.is_decision() && facts.name() == call.name);
        for index in &call.results {
            entries.facts(*index)?.filter(|facts| facts.result_of() == Some(call.name)).ok_or_else(other)?;
        }
        decision.ok_or_else(other)
    }

    fn carry_out(&mut self, erasure: &Erasure) -> Result<usize, Fault> {
        self.let_go()?;
        let (arguments, results) = parted(&erasure.fields);
        let mut gone = 0;
        for call in &erasure.calls {
            gone += self.erase_some(call.decision, &arguments)?;
            for index in &call.results {
                gone += self.erase_some(*index, &results)?;
            }
        }
        Ok(gone)
    }

    fn erase_some(&mut self, index: u64, pointers: &Pointers<'_>) -> Result<usize, Fault> {
        match pointers {
            Pointers::None => Ok(0),
            Pointers::All => self.erase(index, &[]),
            Pointers::Some(some) => self.erase(index, some),
        }
    }

    /// Destroys the journals that are in the log, and what was torn off from some: under their keys lie values that are to be gone.
    fn let_go(&mut self) -> Result<(), Fault> {
        self.publish()?;
        self.tidy(self.signed);
        if let Some(path) = self.consumed.first() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(io::Error::other(format!("the journal `{name}` cannot be destroyed")).into());
        }
        let folder = self.wal_folder();
        for name in self.disk.names(&folder)?.iter().filter(|name| name.contains(".torn")) {
            wal::destroy(&*self.disk, &folder.join(name))?;
        }
        Ok(self.disk.sync_folder(&folder)?)
    }
}

/// Entries of the log as the disk holds them, read bundle by bundle.
struct Entries<'s> {
    disk: &'s dyn Disk,
    log: PathBuf,
    size: u64,
    bundle: Option<(u64, Vec<u8>)>,
}

impl<'s> Entries<'s> {
    /// All that is published.
    fn of(sequencer: &'s Sequencer) -> Self {
        Self { disk: &*sequencer.disk, log: sequencer.log_folder(), size: sequencer.order.head.size, bundle: None }
    }

    /// What one says of itself; none beyond the end, or where it is no record.
    fn facts(&mut self, index: u64) -> io::Result<Option<Facts>> {
        let number = index / WIDTH;
        if self.bundle.as_ref().is_none_or(|(read, _)| *read != number) {
            let Some(tile) = Tile::of(Row::Entries, number, self.size) else { return Ok(None) };
            self.bundle = Some((number, read(self.disk, &self.log.join(tile.path()))?));
        }
        let bundle = self.bundle.as_ref().map_or(&[][..], |(_, bundle)| bundle);
        let entry = tile::entries(bundle).nth(usize::try_from(index % WIDTH).unwrap_or(usize::MAX));
        Ok(entry.and_then(Result::ok).and_then(Facts::of))
    }
}

/// Which parts of a value are meant.
enum Pointers<'f> {
    None,
    All,
    Some(Vec<&'f str>),
}

impl<'f> Pointers<'f> {
    fn of(pointers: Vec<&'f str>) -> Self {
        match pointers.as_slice() {
            [] => Self::None,
            some if some.iter().any(|pointer| pointer.is_empty()) => Self::All,
            _ => Self::Some(pointers),
        }
    }
}

/// What stands before a pointer into arguments.
const ARGUMENTS: &str = "/params/arguments";

/// Whether a field can be erased by this name.
pub fn is_field(field: &str) -> bool {
    [ARGUMENTS, "/result", "/error"]
        .iter()
        .any(|place| field.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The fields of arguments, and those of what came back.
fn parted(fields: &[String]) -> (Pointers<'_>, Pointers<'_>) {
    if fields.is_empty() {
        return (Pointers::All, Pointers::All);
    }
    let arguments = fields.iter().filter_map(|field| field.strip_prefix(ARGUMENTS)).collect();
    let results = fields.iter().filter(|field| !field.starts_with(ARGUMENTS)).map(String::as_str).collect();
    (Pointers::of(arguments), Pointers::of(results))
}

/// Why something is not done.
#[derive(Debug)]
pub enum Refused {
    /// The log stands still.
    Fault(Fault),
    /// A call must stay.
    Held {
        /// Which.
        call: Name,
        /// By which hold.
        hold: String,
    },
    /// A call has not ended.
    UnderWay(Name),
    /// The log has something else at the places that were named.
    OtherEntry(Name),
    /// An earlier erasure is not recorded.
    Unfinished,
    /// There is a hold of this name.
    HoldExists(String),
    /// There is none.
    NoHold(String),
    /// As many as can be.
    TooManyHolds,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Refused {
    fn from(cause: io::Error) -> Self {
        Self::Fault(cause.into())
    }
}

impl Refused {
    /// What helps.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Fault(_) => "mend what is named here, such as the disk of the audit folder, then try again",
            Self::Held { .. } => "`portcullis audit hold list` tells why; `portcullis audit hold remove` lifts it",
            Self::UnderWay(_) => "wait until it has ended",
            Self::OtherEntry(_) => "name it as `portcullis audit tail` does",
            Self::Unfinished => "make room for the journals in the audit folder, then try again",
            Self::HoldExists(_) => "give it another name, or remove the other first",
            Self::NoHold(_) => "`portcullis audit hold list` shows those there are",
            Self::TooManyHolds => "remove one, or place one over an agent, an account or a span of time",
        }
    }

    /// One of our own words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fault(_) => "disk",
            Self::Held { .. } => "held",
            Self::UnderWay(_) => "under_way",
            Self::OtherEntry(_) => "unknown_call",
            Self::Unfinished => "unfinished",
            Self::HoldExists(_) => "hold_exists",
            Self::NoHold(_) => "unknown_hold",
            Self::TooManyHolds => "too_many_holds",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(out, "{fault}"),
            Self::Held { call, hold } => write!(out, "the call `{}` is held by `{hold}`; nothing was erased", id(call)),
            Self::UnderWay(call) => write!(out, "the call `{}` is still under way; nothing was erased", id(call)),
            Self::OtherEntry(call) => write!(out, "the log has no call `{}` there; nothing was erased", id(call)),
            Self::Unfinished => write!(out, "an earlier erasure is not in the log yet; nothing was erased"),
            Self::HoldExists(name) => write!(out, "there is a hold `{name}` already"),
            Self::NoHold(name) => write!(out, "there is no hold `{name}`"),
            Self::TooManyHolds => write!(out, "there are {HOLDS_MAX} holds, and no more can be"),
        }
    }
}

impl std::error::Error for Refused {}
