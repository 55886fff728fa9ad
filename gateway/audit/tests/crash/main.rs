//! Crashes of logs, and what is left of them.

mod check;
mod blows;
mod disk;
mod records;
mod survivors;
mod world;
mod points;
mod real;
mod small;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use oorandom::Rand64;
use portcullis_audit::disk::Disk;
use portcullis_audit::recovery::take_up;
use portcullis_audit::sequencer::Took;
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, ShardFile};

use blows::Faults;
use disk::SimDisk;
use points::Plan;
use records::{Author, Desk};

#[test]
fn no_crash_loses_a_record_that_was_acknowledged_or_leaves_a_log_that_does_not_verify() {
    let plan = Plan { points: 500, seed: 1, jobs: 2 };
    match points::run(&plan, |_| {}) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn a_journal_that_is_left_with_half_a_batch_in_it_is_taken_to_its_last_whole_one() {
    let disk = SimDisk::new(1);
    let held: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut sequencer, _) = take_up(held.clone(), Path::new("/audit"), world::keys()).unwrap();
    let home = Home { disk: held, folder: "/audit/wal".into(), key: world::keys().values, segment_bytes_max: 4096 };
    let mut file = ShardFile::create(&home, 1, 0, Arc::default()).unwrap();
    let (mut author, mut chance, mut seq) = (Author::default(), Rand64::new(1), 0);
    // The second batch is refused half-way, and so is cutting it off.
    for refuses in [None, Some((1, 3)), None] {
        disk.arm(Faults { refuses, ..Faults::default() });
        let mut desk = Desk { boot: 1, shard: 0, open: &mut Vec::new(), unknown: &mut Vec::new() };
        let mut batch = author.batch(&mut desk, seq, FRAME_HEAD_BYTES, &mut chance);
        let appended = file.append(&mut batch.bytes);
        assert_eq!(appended.is_err(), refuses.is_some());
        seq += if appended.is_ok() { batch.tried.len() as u64 } else { 0 };
        disk.lift();
        if refuses.is_some() {
            file.rotate().unwrap();
        }
    }
    file.owed().sync().unwrap();
    assert_eq!(sequencer.take(1, 0, file.owed()).unwrap(), Took::All);
    assert_eq!(sequencer.size(), seq);
}

#[test]
fn a_process_that_is_killed_at_any_moment_loses_nothing_it_acknowledged() {
    let child = |audit: &Path, seed: u64| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_writes", "--ignored", "--nocapture"]);
        command.env(AUDIT, audit).env(SEED, seed.to_string());
        command
    };
    match real::kill(40, 1, child) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
#[ignore = "it writes until it is killed by the test above, which starts it"]
fn a_process_that_writes() {
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    real::write_until_killed(Path::new(&std::env::var_os(AUDIT).unwrap()), seed).unwrap();
}

const AUDIT: &str = "CRASH_AUDIT";

const SEED: &str = "CRASH_SEED";

#[test]
fn a_full_disk_refuses_and_loses_nothing_and_goes_on_once_there_is_space() {
    match small::fill(1) {
        Ok(summary) => println!("{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}
