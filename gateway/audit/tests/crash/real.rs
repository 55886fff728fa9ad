//! Kills processes, and fills disks. In: a folder of this machine. Out: what a process that was killed at any moment has told, held against what it
//! left; the same of a disk without space. Never here: simulated disks.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use oorandom::Rand64;
use portcullis_audit::disk::{Disk, RealDisk};
use portcullis_audit::keys::Keys;
use portcullis_audit::recovery::take_up;
use portcullis_audit::sequencer::{Sequencer, log_folder};
use portcullis_audit::wal::{FRAME_HEAD_BYTES, Home, Owed, ShardFile};
use portcullis_tlog::checkpoint::Checkpoint;
use portcullis_tlog::tree::Hash;

use crate::check::{self, Asked, Erasure, Promises, Stored};
use crate::records::{Author, Certain, Desk, Kept, Ledger, Tried};

/// Kills of one log before the next begins.
const KILLS_A_LOG: u64 = 20;

/// What was told of a log.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    seen: BTreeMap<u64, Hash>,
    erasures: BTreeMap<u64, Erasure>,
}

fn keys(audit: &Path) -> Result<Keys, String> {
    Keys::take_up(&audit.join("keys"), "edge-1/audit").map_err(|cause| cause.to_string())
}

fn say(line: &str) {
    // Whoever listens may have gone; then this process is about to be killed.
    let _gone = io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// Writes records below `audit` and tells of each before and after, until somebody ends it.
pub fn write_until_killed(audit: &Path, seed: u64) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (sequencer, recovery) = take_up(disk.clone(), audit, keys(audit)?).map_err(|cause| cause.to_string())?;
    let boot = recovery.boot.unwrap_or(0) + 1;
    let home = Home { disk, folder: audit.join("wal"), key: keys(audit)?.values, segment_bytes_max: 16 * 1024 };
    let owed: Arc<Owed> = Arc::default();
    let mut file = ShardFile::create(&home, boot, 0, owed.clone()).map_err(|cause| cause.to_string())?;
    thread::spawn(move || grow(sequencer, boot, &owed, seed));
    let mut chance = Rand64::new(u128::from(seed));
    let (mut author, mut open) = (Author { number: seed * 1_000_000 }, Vec::new());
    let mut unknown = recovery.unknown.clone();
    let mut seq = recovery.next_seq.get(&0).copied().unwrap_or(0);
    loop {
        let mut desk = Desk { boot, shard: 0, open: &mut open, unknown: &mut unknown };
        let mut batch = author.batch(&mut desk, seq, FRAME_HEAD_BYTES, &mut chance);
        for ((boot, shard, seq), tried) in &batch.tried {
            let value = match &tried.value {
                Kept::Nothing => "-",
                Kept::Digest => "#",
                Kept::Json(text) => text,
            };
            say(&format!("tries {boot} {shard} {seq} {} {value}", tried.number));
        }
        file.append(&mut batch.bytes).map_err(|cause| cause.to_string())?;
        for ((boot, shard, seq), _) in &batch.tried {
            say(&format!("wrote {boot} {shard} {seq}"));
        }
        seq += batch.tried.len() as u64;
        open = batch.open;
    }
}

fn grow(mut sequencer: Sequencer, boot: u64, owed: &Arc<Owed>, seed: u64) {
    let mut chance = Rand64::new(u128::from(seed) << 32);
    let mut round = || -> Result<(), String> {
        owed.sync().map_err(|cause| cause.to_string())?;
        sequencer.take(boot, 0, owed).map_err(|cause| cause.to_string())?;
        if let Some(checkpoint) = sequencer.publish().map_err(|cause| cause.to_string())? {
            say(&format!("signed {} {}", checkpoint.head.size, check::hex(&checkpoint.head.hash)));
        }
        if sequencer.signed() > 0 && chance.rand_range(0..4) == 0 {
            let index = chance.rand_range(0..sequencer.signed());
            say(&format!("erases {index}"));
            sequencer.erase(index, &["/canary"]).map_err(|cause| cause.to_string())?;
            say(&format!("erased {index}"));
        }
        Ok(())
    };
    while let Ok(()) = round() {}
    say("failed");
}

impl Told {
    fn hear(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.splitn(6, ' ');
        let what = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let number = |at: usize| rest.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(u64::MAX);
        let name = (number(0), number(1) as u16, number(2));
        match what {
            "tries" => {
                let value = match rest.get(4).copied().unwrap_or_default() {
                    "-" => Kept::Nothing,
                    "#" => Kept::Digest,
                    text => Kept::Json(text.to_owned()),
                };
                let tried = Tried { number: number(3), value, certain: Certain::Not };
                self.ledger.entry(name).or_default().push(tried);
            }
            "wrote" => {
                let tried = self.ledger.get_mut(&name).and_then(|tried| tried.last_mut());
                tried.ok_or("written, and never tried")?.certain = Certain::AgainstKill;
            }
            "signed" => drop(self.seen.insert(number(0), unhex(rest.get(1).copied().unwrap_or_default())?)),
            "erases" | "erased" => {
                let asked = if what == "erased" { Asked::Done } else { Asked::Tried };
                let erasure = self.erasures.entry(number(0)).or_default();
                erasure.canary = erasure.canary.max(asked);
            }
            _ if line.starts_with("failed") => return Err("the log does not grow".to_owned()),
            // A test has things to say of itself.
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, audit: &Path) -> Result<(), String> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let Keys { signer, values } = keys(audit)?;
        let note = std::fs::read_to_string(log_folder(audit, 0).join("checkpoint")).unwrap_or_default();
        if let Ok(checkpoint) = Checkpoint::open(&note, signer.verifier()) {
            self.seen.insert(checkpoint.head.size, checkpoint.head.hash);
        }
        let taken = take_up(disk.clone(), audit, keys(audit)?);
        let (_, recovery) = taken.map_err(|cause| format!("it is not taken up: {cause}"))?;
        let stored = Stored { disk: &disk, audit, key: values, public: signer.verifier() };
        let promises = Promises { ledger: &self.ledger, seen: &self.seen, erasures: &self.erasures };
        check::check(&stored, &recovery, &promises)
    }
}

fn unhex(text: &str) -> Result<Hash, String> {
    let digits = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(digits).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("`{text}` is no hash"))
}

/// Starts `child` and kills it at some moment, `kills` times; `child` makes the command that writes below a folder, from a seed.
pub fn kill(kills: u64, seed: u64, child: impl Fn(&Path, u64) -> Command) -> Result<String, String> {
    let mut chance = Rand64::new(u128::from(seed));
    let (mut acknowledged, mut left) = (0, kills);
    while left > 0 {
        let folder = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        let audit = folder.path().join("audit");
        let mut told = Told::default();
        for turn in 0..KILLS_A_LOG.min(left) {
            let heard = [0, 5, 400][chance.rand_range(0..3) as usize];
            let lines = chance.rand_range(0..heard + 1);
            one_kill(child(&audit, turn + 1), lines, &mut told)?;
            told.check(&audit).map_err(|why| format!("kill {turn} of seed {seed}: {why}"))?;
        }
        let certain = told.ledger.values().flatten().filter(|tried| tried.certain > Certain::Not);
        acknowledged += certain.count();
        left -= KILLS_A_LOG.min(left);
    }
    Ok(format!("{kills} processes were killed while they wrote; all of {acknowledged} acknowledged records are there"))
}

/// Lets a child write, and kills it once it has told so many lines.
fn one_kill(mut command: Command, lines: u64, told: &mut Told) -> Result<(), String> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|cause| cause.to_string())?;
    let mut output = BufReader::new(child.stdout.take().ok_or("it has no output")?);
    let (mut heard, mut line) = (0, String::new());
    let mut killed = lines == 0;
    if killed {
        child.kill().map_err(|cause| cause.to_string())?;
    }
    // What it told before it was killed is still to be read; its last line may be half of one.
    while output.read_line(&mut line).map_err(|cause| cause.to_string())? > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            told.hear(whole)?;
        }
        line.clear();
        heard += 1;
        if heard >= lines && !killed {
            child.kill().map_err(|cause| cause.to_string())?;
            killed = true;
        }
    }
    let status = child.wait().map_err(|cause| cause.to_string())?;
    if killed { Ok(()) } else { Err(format!("it ended by itself: {status}")) }
}
