//! Changes what a log keeps where no gateway runs. In: an order. Out: what came of it, once the log says so. Never here: how it is done.
//!
//! The audit folder is taken for this process alone, as a gateway does, and the log is taken up as a start would.

use crate::cli::{self, Failure, Ways, run};
use crate::journal::desk::Order;
use crate::startup;
use crate::{kept, reload, sources};
use portcullis_audit::disk::RealDisk;
use portcullis_audit::keeping::{Done, Flight, Refused};
use portcullis_audit::recovery::Recovery;
use portcullis_audit::sequencer::{Fault, Sequencer};
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, Owed, ShardFile};
use portcullis_core::audit::encode;
use portcullis_core::config::settings::Settings;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

/// The shard that records of this process stand in: every gateway has it.
const SHARD: u16 = 0;

/// Carries an order out and records it; how many values are gone.
pub fn carried_out(ways: &Ways, order: Order) -> Result<usize, Failure> {
    let (settings, _) = sources::settings(&ways.config).map_err(cli::first)?;
    let folder = &settings.audit.folder;
    let about = std::fs::metadata(folder).map_err(|cause| super::unreadable(folder, &cause))?;
    let (me, owner) = (rustix::process::geteuid().as_raw(), (about.uid(), about.gid()));
    if me != owner.0 && me != 0 {
        // What another user writes there the gateway could not read at its next start.
        let cause = format!("no gateway runs, and `{}` belongs to uid {}", folder.display(), owner.0);
        return Err(Failure::new(cause, "start the gateway, or do it as that user or as root"));
    }
    let lock = startup::lock(folder).map_err(|cause| {
        let cause = format!("`{}`: {cause}, and does not answer on the control socket", folder.display());
        Failure::new(cause, "name its socket with `--socket`, or stop it")
    })?;
    let done = locked(&settings, order);
    // What root wrote there the gateway could not read at its next start.
    let handed = hand_over(folder, me, owner).map_err(|cause| {
        let help = "give all that is in it to that user, as `chown -R` does, before the gateway starts";
        Failure::new(format!("`{}` is not wholly its owner's: {cause}", folder.display()), help)
    });
    drop(lock);
    let done = done?;
    handed.map(|()| done)
}

/// Gives what user `me` owns in a folder to another.
fn hand_over(folder: &Path, me: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    if me == uid {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let (entry, about) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        if about.uid() == me {
            lchown(&entry, Some(uid), Some(gid))?;
        }
        if about.is_dir() {
            hand_over(&entry, me, (uid, gid))?;
        }
    }
    Ok(())
}

/// With the folder for this process alone.
fn locked(settings: &Settings, order: Order) -> Result<usize, Failure> {
    let folder = &settings.audit.folder;
    let keys = startup::keys(settings).map_err(run::failure)?;
    let wrapping = keys.values.clone();
    let (mut sequencer, recovery) = startup::take_up_log(settings, keys).map_err(run::failure)?;
    let home = Home {
        disk: Arc::new(RealDisk),
        folder: folder.join("wal"),
        key: wrapping,
        segment_bytes_max: settings.audit.segment_bytes_max,
    };
    let mut ledger = Ledger { home, recovery, written: None };
    let done = ledger.settle(&mut sequencer).and_then(|()| {
        let erased = order.carry_out(&mut sequencer, Flight::Over)?;
        ledger.settle(&mut sequencer)?;
        Ok(erased)
    });
    done.map_err(|refused| Failure::new(refused.to_string(), refused.help()))
}

/// A shard for the few records of this process.
struct Ledger {
    home: Home,
    recovery: Recovery,
    written: Option<(u64, Arc<Owed>, ShardFile, u64)>,
}

impl Ledger {
    /// Records what was done and has it forgotten.
    fn settle(&mut self, sequencer: &mut Sequencer) -> Result<(), Refused> {
        let done = sequencer.unrecorded()?;
        if done.is_empty() {
            return Ok(());
        }
        self.record(sequencer, &done)?;
        Ok(sequencer.recorded(&done)?)
    }

    fn record(&mut self, sequencer: &mut Sequencer, done: &[Done]) -> Result<(), Fault> {
        let told = kept::told(done);
        let lists = kept::lists(&told);
        let now = reload::now();
        let (boot, owed, mut file, mut next_seq) = match self.written.take() {
            Some(written) => written,
            None => {
                let boot = self.recovery.next_boot(u64::try_from(now.0).unwrap_or_default());
                let owed = Arc::new(Owed::default());
                let file = ShardFile::create(&self.home, boot, SHARD, owed.clone())?;
                (boot, owed, file, self.recovery.next_seq.get(&SHARD).copied().unwrap_or(0))
            }
        };
        let mut batch = vec![0; FRAME_HEAD_BYTES];
        for record in kept::records(&told, &lists) {
            encode::write(&mut batch, next_seq, now, &record);
            next_seq += 1;
        }
        file.append(&mut batch)?;
        owed.sync()?;
        sequencer.take(boot, SHARD, &owed)?;
        sequencer.publish()?;
        self.written = Some((boot, owed, file, next_seq));
        Ok(())
    }
}
