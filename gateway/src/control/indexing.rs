//! Keeps the index of the log up with it, off the way. In: how much is signed. Out: an index some seconds behind at most. Never here: questions; what the
//! index does not hold yet is read when somebody asks.

use crate::journal::sequencing::Standing;
use crate::logged::{Caught, Fault, Opened, Unanswered};
use crate::startup::process;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks. Each costs a transaction, so that many calls share one; what is newer is read when somebody asks.
const INTERVAL: Duration = Duration::from_secs(5);

/// An index that cannot be kept up is told about so often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(600);

/// An index must not take the room that the log itself needs: below this, it stays as it is.
const ROOM_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// The logs and their index, as near to them as can be now: another process may be writing it, or the disk be nearly full. What this process added to the
/// newest log itself, from entry `own` on, is not hashed again.
///
/// # Errors
/// When there is nothing to ask yet, or it cannot be read or believed.
pub fn caught_up(folder: &Path, own: Option<u64>) -> Result<(Opened, Caught), Unanswered> {
    let room = rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if room < ROOM_BYTES_MIN {
        return Err(Unanswered::new(
            Fault::Moment,
            format!("the index is not made while the disk has less than {} MiB of room", ROOM_BYTES_MIN >> 20),
            "make room on the disk of the audit folder",
        ));
    }
    let mut opened = Opened::open(folder)?;
    if let Some(own) = own {
        opened.index.believe(own);
    }
    let caught = opened.catch_up(&mut |_| {})?;
    Ok((opened, caught))
}

/// Starts the thread. It ends with the process: what it was at is read again by the next one.
pub fn start(folder: PathBuf, standing: Arc<Standing>) -> io::Result<()> {
    let run = move || {
        process::yield_to_all();
        let (mut indexed, mut complained): (u64, Option<Instant>) = (0, None);
        loop {
            std::thread::sleep(INTERVAL);
            let signed = standing.signed();
            if signed == indexed {
                continue;
            }
            // The lock on the index is let go between two looks, so that a command line may bring it further itself.
            match caught_up(&folder, Some(standing.begun())).map(|(_, caught)| caught) {
                Ok(caught) if caught.behind.is_none() => {
                    indexed = signed;
                    complained = None;
                    if let Some(again) = caught.again {
                        tracing::warn!(%again, entries = caught.entries, "the index of the audit log was made again from the first entry on");
                    }
                }
                // Somebody else writes it.
                Ok(_) => {}
                Err(unanswered) if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) => {
                    complained = Some(Instant::now());
                    tracing::warn!(cause = %unanswered.message, cure = %unanswered.help, "the index of the audit log is not kept up; the log itself is whole");
                }
                Err(_) => {}
            }
        }
    };
    std::thread::Builder::new().name("indexer".into()).spawn(run).map(drop)
}
