//! Checks a log for someone who trusts only its key. In: the log's folder, its key; or a proof and an entry. Out: what was found, and 0, 1 or 2.
//! Never here: anything of the gateway.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_tlog::evidence::Evidence;
use portcullis_tlog::note::VerifierKey;
use portcullis_tlog::verify::{Files, verify};

const USAGE: &str = "\
Checks an audit log of Portcullis, or any C2SP tlog-tiles log on disk.

Usage: portcullis-verify log --key KEY FOLDER
       portcullis-verify entry --key KEY --proof FILE.tlog-proof ENTRY

  log      Compute every hash of the log in FOLDER anew and hold it against its checkpoint
  entry    Check that the bytes of the file ENTRY are in the log, by a proof and without the log

  --key    The log's verifier key (`NAME+ID+KEY`), or a file that holds it

Exit status: 0 everything is as it was signed, 1 something is not, 2 it could not be checked.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["log", "--key", key, folder] => with_key(key, |key| log(key, Path::new(folder))),
        ["entry", "--key", key, "--proof", proof, entry] => with_key(key, |key| one_entry(key, proof, entry)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["--version" | "-V"] => {
            println!("portcullis-verify {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(UNCHECKED)
        }
    }
}

/// It could not be checked, which says nothing of the log.
const UNCHECKED: u8 = 2;

fn with_key(key: &str, check: impl FnOnce(&VerifierKey) -> ExitCode) -> ExitCode {
    // A key has two plus signs, which no sane file name has.
    let text = match key.matches('+').count() {
        0 | 1 => match fs::read_to_string(key) {
            Ok(text) => text,
            Err(cause) => return unchecked(&format_args!("the key file `{key}`: {cause}")),
        },
        _ => key.to_owned(),
    };
    match VerifierKey::parse(&text) {
        Ok(key) => check(&key),
        Err(cause) => unchecked(&format_args!("the key `{}`: {cause}", text.trim())),
    }
}

fn log(key: &VerifierKey, folder: &Path) -> ExitCode {
    if !folder.is_dir() {
        return unchecked(&format_args!("`{}` is no folder", folder.display()));
    }
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    let seen = |_, entry: &[u8]| {
        entries += 1;
        bytes += entry.len() as u64;
    };
    match verify(&Folder(folder.to_owned()), key, seen) {
        Ok(checkpoint) => {
            println!("ok: {entries} entries, {bytes} bytes, as `{}` signed them", checkpoint.origin);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("NOT AS SIGNED: {fault}");
            if let Some(index) = fault.index() {
                println!("first bad index: {index}");
            }
            ExitCode::FAILURE
        }
    }
}

fn one_entry(key: &VerifierKey, proof: &str, entry: &str) -> ExitCode {
    let (proof, entry) = match (fs::read_to_string(proof), fs::read(entry)) {
        (Ok(proof), Ok(entry)) => (proof, entry),
        (Err(cause), _) => return unchecked(&format_args!("the proof `{proof}`: {cause}")),
        (_, Err(cause)) => return unchecked(&format_args!("the entry `{entry}`: {cause}")),
    };
    match Evidence::parse(&proof).and_then(|evidence| Ok((evidence.index, evidence.check(&entry, key)?))) {
        Ok((index, checkpoint)) => {
            println!("ok: entry {index} of {}, as `{}` signed it", checkpoint.head.size, checkpoint.origin);
            ExitCode::SUCCESS
        }
        Err(cause) => {
            println!("NOT AS SIGNED: {cause}");
            ExitCode::FAILURE
        }
    }
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
