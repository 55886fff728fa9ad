//! Counts rates and budgets for all cores. In: what calls take, a file. Out: taken or not; the counts kept over swaps and restarts. Never here:
//! how a count is reckoned, which is the core's.
//!
//! A count belongs to an agent, a tool and a bound of a rule, so that swapping other rules leaves it alone. It is taken when a call is
//! decided and is not given back, whatever becomes of the call: the server may have done it. The counts are written once a second where
//! they changed, and at the end; so after a crash, which no drain preceded, at most what was taken within the last second is forgotten.

use crate::disk::{self, Guard, ReadFailure};
use crate::reload;
use crate::shared::Shared;
use dashmap::DashMap;
use portcullis_core::policy::meter::{Meter, Window};
use portcullis_core::policy::oblige::{Charge, Unmet};
use portcullis_core::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Cores read their clocks a tick apart, a busy one later; a time that is behind another core's by less than this is taken for that one, or
/// the last call of a burst over two cores would come too early. What is further behind is a clock that was set.
const APART_MS: i64 = 1_000;

/// Counts that are kept at once; a count beyond is not begun and its call refused. Each takes some hundred bytes, in memory and in the file,
/// which is written whole. Those that say nothing any more are dropped.
pub const METERS_MAX: usize = 100_000;

/// Between two writes of the file.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file, in the folder of kept rule sets.
const FILE: &str = "limits.json";

/// The shape of the file.
const VERSION: u32 = 1;

/// What all agents have used of all rates and budgets.
pub struct Meters {
    by_name: DashMap<[u8; 32], Meter, ahash::RandomState>,
    changed: AtomicBool,
    /// The latest time any core asked at.
    latest: AtomicI64,
    /// One write at a time.
    file: Mutex<PathBuf>,
}

#[derive(Deserialize, Serialize)]
struct Kept {
    v: u32,
    meters: Vec<KeptMeter>,
}

#[derive(Deserialize, Serialize)]
struct KeptMeter {
    name: String,
    #[serde(flatten)]
    used: Used,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Used {
    Calls { full_at: i64, parts: u32 },
    Sum { window: String, number: i64, used: u64 },
}

impl Meters {
    /// Takes up what the file in `folder` says. One that is missing says that nothing was used; one that cannot be read is an error, since
    /// going on without it would give everything back.
    pub fn take_up(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let text = match disk::read(&path, Guard::Open) {
            Ok(text) => Some(text),
            Err(ReadFailure::Missing) => None,
            Err(other) => return Err(io::Error::other(other.words(&path).0)),
        };
        let kept: Option<Kept> = text.map(|text| serde_json::from_str(&text)).transpose().map_err(io::Error::other)?;
        if let Some(other) = kept.as_ref().map(|kept| kept.v).filter(|v| *v != VERSION) {
            return Err(io::Error::other(format!("written in shape {other}, this gateway reads {VERSION}")));
        }
        let by_name = DashMap::default();
        for meter in kept.into_iter().flat_map(|kept| kept.meters) {
            let (name, used) = read(meter).ok_or_else(|| io::Error::other("a count in it cannot be read"))?;
            by_name.insert(name, used);
        }
        let (changed, latest) = (AtomicBool::new(false), AtomicI64::new(i64::MIN));
        Ok(Self { by_name, changed, latest, file: Mutex::new(path) })
    }

    /// Takes all of `charges` for a call of `tool` by `agent`, or none of them.
    pub fn take(&self, agent: &str, tool: &str, charges: &[Charge<'_>], now: UnixMillis) -> Result<(), Unmet> {
        if charges.is_empty() {
            return Ok(());
        }
        let now = self.agreed(now);
        for (position, charge) in charges.iter().enumerate() {
            if let Err(unmet) = self.take_one(agent, tool, charge, now) {
                for taken in charges.get(..position).unwrap_or_default() {
                    if let Some(mut meter) = self.by_name.get_mut(&name(agent, tool, taken)) {
                        taken.limit.give_back(&mut meter, taken.amount);
                    }
                }
                return Err(unmet);
            }
        }
        self.changed.store(true, Ordering::Release);
        Ok(())
    }

    /// One time for all cores, which does not step back by the little that lies between their clocks.
    fn agreed(&self, now: UnixMillis) -> UnixMillis {
        let latest = self.latest.fetch_max(now.0, Ordering::AcqRel);
        if latest.saturating_sub(now.0) <= APART_MS {
            return now.max(UnixMillis(latest));
        }
        self.latest.store(now.0, Ordering::Release);
        now
    }

    fn take_one(&self, agent: &str, tool: &str, charge: &Charge<'_>, now: UnixMillis) -> Result<(), Unmet> {
        let name = name(agent, tool, charge);
        let take = |meter: &mut Meter| charge.limit.take(meter, charge.amount, now);
        // The look-up's lock ends with its statement: what follows takes it again.
        let taken = self.by_name.get_mut(&name).map(|mut meter| take(&mut meter));
        let taken = match taken {
            Some(taken) => taken,
            None => {
                if self.by_name.len() >= METERS_MAX {
                    self.sweep(now);
                    if self.by_name.len() >= METERS_MAX {
                        return Err(Unmet::uncounted(charge));
                    }
                }
                let mut meter = self.by_name.entry(name).or_insert_with(|| charge.limit.unused());
                take(&mut meter)
            }
        };
        taken.map_err(|used_up| Unmet::used_up(charge, used_up))
    }

    fn sweep(&self, now: UnixMillis) {
        self.by_name.retain(|_, meter| !meter.is_idle(now));
    }

    /// Writes the file if something was taken since it was written last; waits for the disk.
    pub fn save(&self, now: UnixMillis) -> io::Result<()> {
        let path = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.sweep(now);
        let meters = self.by_name.iter().map(|entry| written(entry.key(), *entry.value())).collect();
        let text = serde_json::to_string(&Kept { v: VERSION, meters }).map_err(io::Error::other);
        let saved = text.and_then(|text| disk::replace(&path, text.as_bytes(), 0o640));
        if saved.is_err() {
            self.changed.store(true, Ordering::Release);
        }
        saved
    }
}

/// Saves the counts for as long as the control plane lives.
pub async fn save_forever(shared: Arc<Shared>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let saving = shared.clone();
        let saved = tokio::task::spawn_blocking(move || saving.meters.save(reload::now())).await;
        let Ok(saved) = saved else { return };
        match (&saved, failing) {
            (Err(error), false) => {
                tracing::error!(%error, "what agents have used of rates and budgets cannot be written; a restart now would forget it");
            }
            (Ok(()), true) => tracing::info!("what agents have used of rates and budgets is written again"),
            (Ok(()), false) | (Err(_), true) => {}
        }
        failing = saved.is_err();
    }
}

/// Saves them for the last time.
pub fn save_last(shared: &Shared) {
    if let Err(error) = shared.meters.save(reload::now()) {
        tracing::error!(%error, "what agents have used of rates and budgets could not be written; the next start will not know all of it");
    }
}

/// Whose count it is.
fn name(agent: &str, tool: &str, charge: &Charge<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(charge.name);
    for part in [agent, tool] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

fn written(name: &[u8; 32], meter: Meter) -> KeptMeter {
    let used = match meter {
        Meter::Calls { full_at, parts } => Used::Calls { full_at, parts },
        Meter::Sum { window, number, used } => Used::Sum { window: window.as_str().to_owned(), number, used },
    };
    KeptMeter { name: blake3::Hash::from_bytes(*name).to_hex().to_string(), used }
}

fn read(kept: KeptMeter) -> Option<([u8; 32], Meter)> {
    let name = blake3::Hash::from_hex(&kept.name).ok()?;
    let meter = match kept.used {
        Used::Calls { full_at, parts } => Meter::Calls { full_at, parts },
        Used::Sum { window, number, used } => Meter::Sum { window: Window::parse(&window)?, number, used },
    };
    Some((*name.as_bytes(), meter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::policy::meter::{Budget, Limit, Rate};

    const NOW: UnixMillis = UnixMillis(1_795_428_000_000);
    const RATE: Limit = Limit::Rate(Rate { count: 2, period_ms: 60_000 });
    const BUDGET: Limit = Limit::Budget(Budget { sum_max: 10, window: Window::Day });

    fn charge(name: &'static [u8; 32], limit: &'static Limit, amount: u64) -> Charge<'static> {
        Charge { rule: 0, name, limit, amount }
    }

    fn outcome(meters: &Meters, agent: &str, charges: &[Charge<'_>]) -> &'static str {
        meters.take(agent, "crm.pay", charges, NOW).map_or_else(|unmet| unmet.denial().cause().name(), |()| "taken")
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{}",
            r#"{"v":2,"meters":[]}"#,
            r#"{"v":1,"meters":[{"name":"x","calls":{"full_at":1,"parts":1}}]}"#,
            r#"{"v":1,"meters":[{"name":"00","sum":{"window":"year","number":1,"used":1}}]}"#,
        ] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(Meters::take_up(folder.path()).is_err(), "{text}");
        }
        std::fs::write(folder.path().join(FILE), r#"{"v":1,"meters":[]}"#).unwrap();
        assert!(Meters::take_up(folder.path()).is_ok());
    }

    #[test]
    fn a_call_takes_all_or_nothing_and_each_agent_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let meters = Meters::take_up(folder.path()).unwrap();
        let both = |amount| [charge(&[1; 32], &RATE, 1), charge(&[2; 32], &BUDGET, amount)];
        assert_eq!(outcome(&meters, "a", &both(6)), "taken");
        assert_eq!(outcome(&meters, "a", &both(6)), "budget_exceeded");
        assert_eq!(outcome(&meters, "a", &both(4)), "taken", "the refused call took nothing of the rate");
        assert_eq!(outcome(&meters, "a", &both(0)), "rate_exceeded");
        assert_eq!(outcome(&meters, "b", &both(10)), "taken");
    }

    #[test]
    fn a_core_whose_clock_is_a_tick_behind_gets_the_last_call_of_a_burst() {
        let folder = tempfile::tempdir().unwrap();
        let meters = Meters::take_up(folder.path()).unwrap();
        let one = [charge(&[1; 32], &RATE, 1)];
        let at = |ms: i64| meters.take("a", "crm.pay", &one, UnixMillis(NOW.0 + ms)).is_ok();
        assert_eq!([at(20), at(0), at(10)], [true, true, false]);
        // Set back by hours, the clock counts as it stands: half a minute later one call has come back.
        assert_eq!([at(-7_200_000), at(-7_169_000)], [false, true]);
    }

    #[test]
    fn what_was_used_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let all = [charge(&[1; 32], &RATE, 1), charge(&[2; 32], &BUDGET, 10)];
        {
            let meters = Meters::take_up(folder.path()).unwrap();
            meters.save(NOW).unwrap();
            assert!(!folder.path().join(FILE).exists(), "nothing was used, nothing is written");
            assert_eq!(outcome(&meters, "a", &all), "taken");
            meters.save(NOW).unwrap();
        }
        let meters = Meters::take_up(folder.path()).unwrap();
        assert_eq!(outcome(&meters, "a", &all[1..]), "budget_exceeded");
        assert_eq!(outcome(&meters, "a", &all[..1]), "taken");
        assert_eq!(outcome(&meters, "a", &all[..1]), "rate_exceeded");
        // What says nothing any more is not kept.
        meters.save(NOW.after(Duration::from_secs(2 * 86_400))).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), r#"{"v":1,"meters":[]}"#);
    }

    #[test]
    fn a_count_beyond_the_bound_is_refused_until_others_are_idle() {
        let folder = tempfile::tempdir().unwrap();
        let meters = Meters::take_up(folder.path()).unwrap();
        let one = [charge(&[1; 32], &BUDGET, 1)];
        for number in 0..METERS_MAX {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_le_bytes());
            meters.by_name.insert(name, Meter::Sum { window: Window::Day, number: i64::MAX, used: 1 });
        }
        assert_eq!(outcome(&meters, "a", &one), "limits_full");
        meters.by_name.alter_all(|_, _| Meter::Sum { window: Window::Day, number: 0, used: 1 });
        assert_eq!(outcome(&meters, "a", &one), "taken");
    }
}
