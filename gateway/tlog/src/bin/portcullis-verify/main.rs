//! Checks a log for someone who trusts only its key. In: the log's folder, its key; or a proof and an entry. Out: what was found, and 0, 1 or 2.
//! Never here: anything of the gateway.
#![forbid(unsafe_code)]

mod told;
mod words;

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_tlog::evidence::Evidence;
use portcullis_tlog::fault::Fault;
use portcullis_tlog::logs::{Before, Demands, Found, Reading};
use portcullis_tlog::note::{Note, VerifierKey};
use portcullis_tlog::verify::Files;

use crate::told::Progress;
use crate::words::{Checking, Slip, Task};

const USAGE: &str = "\
Checks an audit log of Portcullis, or any C2SP tlog-tiles log on disk.

Usage: portcullis-verify log --key KEY [WITNESSES] [--witnessed FILE] [--from INDEX] FOLDER
       portcullis-verify logs --key KEY… [WITNESSES] FOLDER
       portcullis-verify entry --key KEY [WITNESSES] --proof FILE.tlog-proof ENTRY

  log          Compute every hash of the log in FOLDER anew, hold it against its checkpoint, against what witnesses saw of it
               (`checkpoint.witnessed`), and follow the chain of each shard's records
  logs         The same for the logs 0000, 0001, … in FOLDER, each of which begins with the end of the one before
  entry        Check that the bytes of the file ENTRY are in the log, by a proof and without the log

  --key        The log's verifier key (`NAME+ID+KEY`), or a file that holds it. Of several logs, that of the last is needed; it vouches for those
               before. Every key that is given must be a log's
  --witnessed  The checkpoint that witnesses saw, from where nobody could remove it
  --from       The first entry that is still kept of a log that was pruned

WITNESSES, who must have seen the log; without any, nobody must:
  --witness    A witness's verifier key, or a file that holds it; may be given several times, and then all must
  --policy     A C2SP tlog-policy file: keys of logs, witnesses, and a quorum

Exit status: 0 everything is as it was signed, 1 something is not, 2 it could not be checked.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words::read(&words) {
        Ok(Task::Log(checking, folder)) => one_log(&checking, &folder),
        Ok(Task::Logs(checking, folder)) => all_logs(&checking, &folder),
        Ok(Task::Entry(checking, proof, entry)) => one_entry(&checking, &proof, &entry),
        Ok(Task::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Task::Version) => {
            println!("portcullis-verify {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(Slip::Usage) => {
            eprintln!("{USAGE}");
            ExitCode::from(UNCHECKED)
        }
        Err(Slip::Unreadable(cause)) => unchecked(&cause),
    }
}

/// It could not be checked, which says nothing of the log.
const UNCHECKED: u8 = 2;

fn one_log(checking: &Checking, folder: &Path) -> ExitCode {
    if !folder.is_dir() {
        return unchecked(&format_args!("`{}` is no folder", folder.display()));
    }
    let files = Folder(folder.to_owned());
    let key = checking.keys.iter().find(|key| key.name() == origin(&files)).or(checking.keys.first());
    let Some(key) = key else { return unchecked(&"no key") };
    let reading = check(&mut Reading::after(Before::Unknown), &files, key, &checking.demands);
    match reading {
        Ok(found) => {
            println!("ok: {found}");
            ExitCode::SUCCESS
        }
        Err(fault) => wrong("", &fault),
    }
}

fn all_logs(checking: &Checking, folder: &Path) -> ExitCode {
    let mut names: Vec<PathBuf> = match fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).filter(|path| path.is_dir()).collect(),
        Err(cause) => return unchecked(&format_args!("`{}`: {cause}", folder.display())),
    };
    names.sort();
    if names.is_empty() {
        return unchecked(&format_args!("there is no log in `{}`", folder.display()));
    }
    let (mut reading, mut used) = (Reading::after(Before::Nothing), vec![false; checking.keys.len()]);
    let last = names.len() - 1;
    for (number, path) in names.iter().enumerate() {
        let name = format!("{number:04}");
        if path.file_name().and_then(|name| name.to_str()) != Some(&name) {
            println!("NOT AS SIGNED: the log `{name}` is missing");
            return ExitCode::FAILURE;
        }
        let files = Folder(path.clone());
        let origin = origin(&files);
        let given = checking.keys.iter().position(|key| key.name() == origin);
        used.iter_mut().enumerate().filter(|(place, _)| Some(*place) == given).for_each(|(_, used)| *used = true);
        // The next log's first entry vouches for the end of this one, so its own word may be taken for its key.
        let beside = || fs::read_to_string(path.join("log.pub")).ok().and_then(|text| VerifierKey::parse(&text).ok());
        let key = given.and_then(|place| checking.keys.get(place).cloned());
        let Some(key) = key.or_else(|| beside().filter(|_| number < last)) else {
            return unchecked(&format_args!("no key was given of the log `{name}`, `{origin}`"));
        };
        // Of a log that goes on elsewhere, witnesses saw the one that followed.
        let policy = checking.demands.policy.clone().filter(|_| number == last);
        let demands = Demands { policy, ..Demands::default() };
        match check(&mut reading, &files, &key, &demands) {
            Ok(found) => println!("{name}: {found}"),
            Err(fault) => return wrong(&format!("{name}: "), &fault),
        }
    }
    let unused = checking.keys.iter().zip(used).find(|(_, used)| !used);
    if let Some((key, _)) = unused {
        println!("NOT AS SIGNED: there is no log of the key `{}`: the last ones were removed", key.name());
        return ExitCode::FAILURE;
    }
    match names.len() {
        1 => println!("ok: 1 log, as it was signed"),
        count => println!("ok: {count} logs, each as it was signed, each beginning with the end of the one before"),
    }
    ExitCode::SUCCESS
}

fn check(reading: &mut Reading, files: &Folder, key: &VerifierKey, demands: &Demands) -> Result<Found, Fault> {
    let mut progress = Progress::new();
    let found = reading.next(files, key, demands, |index| progress.at(index));
    progress.end();
    found
}

/// The first line of a checkpoint, which nothing vouches for yet.
fn origin(files: &Folder) -> String {
    let note = files.read("checkpoint").ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&note).lines().next().unwrap_or_default().to_owned()
}

fn wrong(place: &str, fault: &Fault) -> ExitCode {
    println!("NOT AS SIGNED: {place}{fault}");
    if let Some(index) = fault.index() {
        println!("first bad index: {index}");
    }
    ExitCode::FAILURE
}

fn one_entry(checking: &Checking, proof: &str, path: &Path) -> ExitCode {
    let entry = match fs::read(path) {
        Ok(entry) => entry,
        Err(cause) => return unchecked(&format_args!("the entry `{}`: {cause}", path.display())),
    };
    match entry_of(checking, proof, &entry) {
        Ok(told) => {
            println!("ok: {told}");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            println!("NOT AS SIGNED: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn entry_of(checking: &Checking, proof: &str, entry: &[u8]) -> Result<String, String> {
    let words = |cause: &dyn Display| cause.to_string();
    let evidence = Evidence::parse(proof).map_err(|cause| words(&cause))?;
    let origin = Note::parse(&evidence.checkpoint).map(|note| note.text().lines().next().unwrap_or_default());
    let key = checking.keys.iter().find(|key| origin == Ok(key.name())).or(checking.keys.first());
    let key = key.ok_or("no key")?;
    let checkpoint = evidence.check(entry, key).map_err(|cause| words(&cause))?;
    let mut told =
        format!("entry {} of {}, as `{}` signed it", evidence.index, checkpoint.head.size, checkpoint.origin);
    if let Some(policy) = &checking.demands.policy {
        let seen = policy.check(&evidence.checkpoint, key).map_err(|cause| format!("its checkpoint: {cause}"))?;
        let by: Vec<String> = seen.by.iter().map(|(name, at)| format!("`{name}` at {at}")).collect();
        told.push_str(&format!("; seen by {}", by.join(", ")));
    }
    Ok(told)
}

fn unchecked(cause: &impl Display) -> ExitCode {
    eprintln!("cannot check: {cause}");
    ExitCode::from(UNCHECKED)
}

/// A log on disk.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}
