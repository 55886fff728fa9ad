//! Carries a plan out. In: the plan, a place, tokens, a pace in numbers. Out: its report. Never here: the command line.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::held::{Answer, Question, Whom};
use crate::load::{Load, Manner, Slot};
use crate::message::{Party, Place, Sizes, Subject};
use crate::plan::{Era, Kind, Plan};
use crate::reply::Outcome;
use crate::report::{Report, Tally};
use crate::schedule::Pace;
use crate::wire::Target;

/// Where a plan is carried out, and by whom.
pub struct Stage {
    /// Where connections go.
    pub target: Target,
    /// What they ask.
    pub place: Place,
    /// Bearer tokens, taken in turn; none: none is shown.
    pub tokens: Vec<Rc<str>>,
    /// How calls follow each other.
    pub pace: Pace,
    /// Before anything is measured.
    pub warm: Duration,
    /// What is measured.
    pub length: Duration,
}

/// Carries `plan` out. `gate` is told a word, `warm` or `held N`, when the load is ready, and may wait.
///
/// # Errors
/// When there are fewer tokens than agents, nobody listens, or the server does not serve at all.
pub fn play(plan: &Plan, stage: &Stage, gate: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
    let parties = open_sessions(stage, parties(plan, stage)?)?;
    match plan.kind {
        Kind::Calls | Kind::Handshakes => calls(plan, stage, &parties, gate),
        Kind::Idle => idle(plan, stage, &parties, gate),
        Kind::Streams => streams(stage, &parties, gate),
    }
}

fn calls(plan: &Plan, stage: &Stage, parties: &[Party], gate: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
    let calls_max = match (plan.kind, plan.churn_calls) {
        (Kind::Handshakes, _) => 1,
        (Kind::Calls | Kind::Idle | Kind::Streams, 0) => u32::MAX,
        (Kind::Calls | Kind::Idle | Kind::Streams, calls) => calls,
    };
    let manner = Manner { calls_max, refused_per_thousand: plan.refused_per_thousand };
    let mut load = Load::new(stage.target.clone(), callers(plan, stage, parties), manner)?;
    if plan.kind == Kind::Calls {
        load.connect_all()?;
    }
    if !stage.warm.is_zero() {
        load.run(stage.pace, stage.warm)?;
    }
    gate("warm")?;
    load.run(stage.pace, stage.length)
}

fn idle(plan: &Plan, stage: &Stage, parties: &[Party], gate: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
    let mut load = Load::new(stage.target.clone(), callers(plan, stage, parties), Manner::default())?;
    let question = Question { request: &|slot| Rc::clone(&slot.permitted), answer: Answer::Whole(Outcome::Good) };
    let opened = open(&mut load, &question)?;
    gate(&format!("held {}", load.held()))?;
    let mut report = load.ask_held()?;
    (report.held, report.handshakes) = opened;
    Ok(report)
}

fn streams(stage: &Stage, parties: &[Party], gate: &mut dyn FnMut(&str) -> Result<()>) -> Result<Report> {
    let mut messages = Shared::default();
    let slots = parties.iter().map(|party| {
        let stream = messages.of(party, || stage.place.stream(party));
        Slot::new(Rc::clone(&stream), stream)
    });
    let mut load = Load::new(stage.target.clone(), slots.collect(), Manner::default())?;
    let Some(first) = parties.first() else { bail!("a plan without connections") };
    // It goes the way of the streams, so that whoever stands in between is asked the same by everyone.
    let wake = stage.place.call(first, Subject::Wake, Sizes::default());
    let mut waker = Load::open(stage.target.clone(), &wake, 1)?;
    // A modern stream begins with its acknowledgement, a legacy one with nothing.
    let events = if parties.iter().all(|party| party.era == Era::Modern) { 1 } else { 0 };
    let question = Question { request: &|slot| Rc::clone(&slot.permitted), answer: Answer::Stream(events) };
    let opened = open(&mut load, &question)?;
    gate(&format!("held {}", load.held()))?;
    let mut report = load.tell_streams(&mut waker)?;
    (report.held, report.handshakes) = opened;
    Ok(report)
}

/// Asks all connections and keeps them; how many are held and how many were made.
fn open(load: &mut Load, question: &Question<'_>) -> Result<(u64, u64)> {
    let mut tally = Tally::new()?;
    if std::io::stderr().is_terminal() {
        eprintln!("opening {} connections", load.slots.len());
    }
    load.ask(Whom::All, question, &mut tally)?;
    match tally.failure() {
        Some(failure) if tally.good() == 0 => bail!("no connection could be opened: {failure}"),
        Some(failure) => eprintln!("not all connections could be opened: {failure}"),
        None => {}
    }
    let held = u64::try_from(load.held())?;
    Ok((held, tally.good()))
}

/// The slots of a plan whose connections call.
fn callers(plan: &Plan, stage: &Stage, parties: &[Party]) -> Vec<Slot> {
    let sizes = Sizes { request: plan.request_bytes, answer: plan.answer_bytes };
    let (mut permitted, mut forbidden) = (Shared::default(), Shared::default());
    let slot = |party: &Party| {
        let calls = permitted.of(party, || stage.place.call(party, Subject::Permitted, sizes));
        let refused = match plan.refused_per_thousand {
            0 => Rc::clone(&calls),
            _ => forbidden.of(party, || stage.place.call(party, Subject::Forbidden, sizes)),
        };
        Slot::new(calls, refused)
    };
    parties.iter().map(slot).collect()
}

/// What a request without a session depends on: a token and an era.
type Speaker = (Option<Rc<str>>, Era);

/// Requests that say the same are one: 18,000 copies would cost the generator its caches.
#[derive(Default)]
struct Shared {
    made: HashMap<Speaker, Rc<[u8]>>,
}

impl Shared {
    fn of(&mut self, party: &Party, make: impl FnOnce() -> Rc<[u8]>) -> Rc<[u8]> {
        if party.session.is_some() {
            return make();
        }
        Rc::clone(self.made.entry((party.token.clone(), party.era)).or_insert_with(make))
    }
}

/// Who speaks on each connection.
fn parties(plan: &Plan, stage: &Stage) -> Result<Vec<Party>> {
    let agents = usize::try_from(plan.agents)?;
    if !stage.tokens.is_empty() && stage.tokens.len() < agents {
        bail!("the plan wants {agents} agents, and there are {} tokens", stage.tokens.len());
    }
    let party = |index: usize| {
        let token = stage.tokens.get(index % agents).cloned();
        // Where the agents are a multiple of the eras, each round of agents begins with another one, so that every agent speaks all.
        let shift = if agents.is_multiple_of(plan.eras.len()) { index / agents } else { 0 };
        let era = plan.eras.get((index + shift) % plan.eras.len()).copied().unwrap_or(Era::Modern);
        Party { token, era, session: None }
    };
    Ok((0..usize::try_from(plan.connections)?).map(party).collect())
}

/// Opens a session for each that speaks the legacy era. It lives on beyond the connection that opened it.
fn open_sessions(stage: &Stage, mut parties: Vec<Party>) -> Result<Vec<Party>> {
    let legacy: Vec<&mut Party> = parties.iter_mut().filter(|party| party.era == Era::Legacy).collect();
    if legacy.is_empty() {
        return Ok(parties);
    }
    let slot = |party: &&mut Party| {
        let hello = stage.place.hello(party);
        Slot::new(Rc::clone(&hello), hello)
    };
    let mut load = Load::new(stage.target.clone(), legacy.iter().map(slot).collect(), Manner::default())?;
    say(&mut load, Outcome::Good)?;
    for (party, slot) in legacy.into_iter().zip(&mut load.slots) {
        party.session = slot.connection.as_ref().and_then(|connection| connection.session()).map(Into::into);
        slot.permitted = stage.place.ready(party);
    }
    say(&mut load, Outcome::Refused(202))?;
    Ok(parties)
}

fn say(load: &mut Load, wanted: Outcome) -> Result<()> {
    let mut tally = Tally::new()?;
    let question = Question { request: &|slot| Rc::clone(&slot.permitted), answer: Answer::Whole(wanted) };
    load.ask(Whom::All, &question, &mut tally)?;
    match tally.failure() {
        Some(failure) => bail!("sessions cannot be opened: {failure}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
