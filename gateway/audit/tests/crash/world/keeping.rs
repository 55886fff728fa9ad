//! Erases calls while a log lives, and holds them, as an operator has it done. In: a running gateway. Out: what was promised by that. Never here: what a
//! crash leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_audit::calls::{Facts, Found, Wanted};
use portcullis_audit::disk::Disk;
use portcullis_audit::keeping::{Erasure, Flight, Hold, Keeping, Refused, State};
use portcullis_audit::recovery::OpenError;
use portcullis_audit::sequencer::{Sequencer, log_folder};
use portcullis_audit::wal::SegmentReader;
use portcullis_tlog::verify;
use serde_json::Value;

use super::{Life, World, audit, keys};
use crate::check::{self, Asked, Erasures, Tree};
use crate::disk::SimDisk;
use crate::records::canary;
use crate::survivors::Cut;

/// Longer logs are not searched for calls: that would take more time than all the crashes.
const ENTRIES_MAX: u64 = 8_000;

/// The calls of a log, and by index the number that its author gave each record.
struct Calls {
    size: u64,
    found: Vec<Found>,
    numbers: BTreeMap<u64, u64>,
}

impl World {
    /// Erases a call, or the canary in what it asked: the cores leave their segments, and all of those is taken before.
    pub(super) fn erase_call(&mut self, life: &mut Life) -> Result<(), String> {
        if let Err(fault) = life.sequencer.unrecorded().and_then(|done| life.sequencer.recorded(&done)) {
            return self.passing(fault);
        }
        let calls = self.calls()?;
        let left: Vec<Option<u32>> = life.cores.iter().map(|core| core.owed.occupied()).collect();
        for at in 0..life.cores.len() {
            self.rotate(&life.cores[at])?;
            self.sync(life, at)?;
            self.take(life, at)?;
        }
        let is_left = |(core, segment): (&super::Core, &Option<u32>)| {
            segment.is_none_or(|segment| core.owed.durable().segment > segment)
        };
        if calls.found.is_empty() || !life.cores.iter().zip(&left).all(is_left) {
            return Ok(());
        }
        let call = calls.found[self.below(calls.found.len() as u64) as usize].clone();
        let fields = if self.below(2) == 0 { Vec::new() } else { vec!["/params/arguments/canary".to_owned()] };
        let erasure = Erasure {
            calls: vec![call],
            size: calls.size,
            fields,
            actor: "uid 0".to_owned(),
            reason: "asked".to_owned(),
        };
        if self.below(4) == 0 && !self.held(life, &erasure)? {
            return Ok(());
        }
        let erased = life.sequencer.erase_calls(erasure.clone(), Flight::Over);
        self.tell(|| format!("erase {erasure:?}: {erased:?}"));
        self.asked(&erasure, Asked::Tried);
        match erased {
            Ok(_) => {
                let decided = self.kept(&self.now())?.erasing;
                let decided = decided.ok_or("it was erased, and is not to be recorded")?;
                self.asked(&decided, Asked::Done);
                self.nowhere(&decided, &calls)?;
            }
            Err(Refused::Fault(fault)) => {
                self.passing(fault)?;
                self.decided(Asked::Tried)?;
            }
            // A hold that could not be lifted.
            Err(Refused::Held { .. }) if !self.kept(&self.now())?.holds.is_empty() => {}
            Err(refused) => return Err(format!("{erasure:?}: {refused}")),
        }
        Ok(())
    }

    /// A call that is held is not erased, and the hold outlasts a power cut; whether it was lifted again.
    fn held(&mut self, life: &mut Life, erasure: &Erasure) -> Result<bool, String> {
        let names = erasure.calls.iter().map(|call| call.name).collect();
        let (actor, reason) = (erasure.actor.clone(), erasure.reason.clone());
        let name = format!("hold {}", self.disk.operations());
        let calls = Wanted { names, ..Wanted::default() };
        let hold = Hold { name: name.clone(), calls, reason, actor, state: State::Placing };
        match life.sequencer.place(hold) {
            Err(Refused::Fault(fault)) => return self.passing(fault).map(|()| false),
            Err(refused) => return Err(format!("no hold is placed: {refused}")),
            Ok(()) => {}
        }
        if !self.kept(&self.disk.restarted(Cut::Power))?.holds.iter().any(|hold| hold.name == name) {
            return Err("a hold is forgotten by a power cut".to_owned());
        }
        match life.sequencer.erase_calls(erasure.clone(), Flight::Over) {
            Err(Refused::Held { .. }) => {}
            Err(Refused::Fault(fault)) => return self.passing(fault).map(|()| false),
            other => return Err(format!("a call is held, and erasing it gave {other:?}")),
        }
        let lifted = life.sequencer.lift(&name, "uid 0", "over").and_then(|()| {
            let done = life.sequencer.unrecorded()?;
            Ok(life.sequencer.recorded(&done)?)
        });
        match lifted {
            Ok(()) => Ok(true),
            Err(Refused::Fault(fault)) => self.passing(fault).map(|()| false),
            Err(refused) => Err(format!("the hold is not lifted: {refused}")),
        }
    }

    /// A start does what was decided and perhaps not done.
    pub(super) fn resumed(&mut self, sequencer: &mut Sequencer) -> Result<(), OpenError> {
        sequencer.resume_keeping()?;
        self.decided(Asked::Done).map_err(OpenError::Journal)
    }

    /// What the copy of a log promises once it is taken up.
    pub(super) fn resumed_copy(&self, sequencer: &mut Sequencer, disk: &dyn Disk) -> Result<Erasures, String> {
        sequencer.resume_keeping().map_err(|fault| format!("after the crash nothing is erased: {fault}"))?;
        let mut erasures = self.erasures.clone();
        if let Some(erasure) = Keeping::read(disk, audit()).map_err(|cause| cause.to_string())?.erasing {
            ask(&mut erasures, &erasure, Asked::Done);
        }
        Ok(erasures)
    }

    /// Notes what `keeping.json` says of the erasure under way.
    fn decided(&mut self, how: Asked) -> Result<(), String> {
        if let Some(erasure) = self.kept(&self.now())?.erasing {
            self.asked(&erasure, how);
        }
        Ok(())
    }

    fn asked(&mut self, erasure: &Erasure, how: Asked) {
        ask(&mut self.erasures, erasure, how);
    }

    /// What the files hold now, also where everything has stopped.
    fn now(&self) -> SimDisk {
        if self.disk.ended() { self.disk.restarted(Cut::Kill) } else { self.disk.copied() }
    }

    fn kept(&self, disk: &SimDisk) -> Result<Keeping, String> {
        Keeping::read(disk, audit()).map_err(|cause| format!("`keeping.json` cannot be read: {cause}"))
    }

    fn calls(&self) -> Result<Calls, String> {
        let mut calls = Calls { size: 0, found: Vec::new(), numbers: BTreeMap::new() };
        if self.seen.is_empty() || self.size() > ENTRIES_MAX {
            return Ok(calls);
        }
        let disk: Arc<dyn Disk> = Arc::new(self.now());
        let files = Tree { disk: &*disk, folder: log_folder(audit(), 0) };
        let mut found: BTreeMap<_, Found> = BTreeMap::new();
        let seen = |index: u64, entry: &[u8]| {
            let said: Value = serde_json::from_slice(entry).unwrap_or_default();
            let number =
                said.get("agent").and_then(Value::as_str).and_then(|agent| agent.strip_prefix('a')?.parse().ok());
            calls.numbers.extend(number.map(|number| (index, number)));
            let Some(facts) = Facts::of(entry) else { return };
            if facts.is_decision() {
                found.insert(facts.name(), Found { name: facts.name(), decision: index, results: Vec::new() });
            }
            if let Some(call) = facts.result_of().and_then(|name| found.get_mut(&name)) {
                call.results.push(index);
            }
        };
        let checkpoint = verify::verify(&files, &self.public, seen).map_err(|fault| fault.to_string())?;
        (calls.size, calls.found) = (checkpoint.head.size, found.into_values().collect());
        Ok(calls)
    }

    /// No journal, and nothing that was torn off one, holds what was erased.
    fn nowhere(&self, erasure: &Erasure, calls: &Calls) -> Result<(), String> {
        let disk = self.now();
        let gone: Vec<String> = check::erased(erasure)
            .filter_map(|index| calls.numbers.get(&index).map(|number| canary(*number)))
            .collect();
        let folder = audit().join("wal");
        for name in disk.names(&folder).map_err(|cause| cause.to_string())? {
            let read = || {
                let mut reader = SegmentReader::open(&disk, &folder.join(&name), &keys().values, 0)?;
                let end = reader.length()?;
                let mut all = Vec::new();
                while let Some(batch) = reader.next(end)? {
                    all.extend_from_slice(batch);
                }
                Ok::<_, std::io::Error>(String::from_utf8_lossy(&all).into_owned())
            };
            let held = read().map_err(|cause| format!("`{name}`: {cause}"))?;
            if let Some(canary) = gone.iter().find(|canary| held.contains(*canary)) {
                return Err(format!("`{name}` still holds {canary}"));
            }
        }
        Ok(())
    }
}

fn ask(erasures: &mut Erasures, erasure: &Erasure, how: Asked) {
    for index in check::erased(erasure) {
        let of = erasures.entry(index).or_default();
        let asked = if erasure.fields.is_empty() { &mut of.all } else { &mut of.canary };
        *asked = how.max(*asked);
    }
}
