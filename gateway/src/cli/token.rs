//! `portcullis token`: makes keys and tokens to try things out with. In: a verb. Out: a key pair, or one token on standard output. Never here: an
//! identity provider; who needs one for good names it in `[identity.NAME]`.

mod mint;

use crate::cli::{End, Failure, Outcome, Ways, keys, say};
use crate::disk;
use clap::{Args, Subcommand};
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What to make.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a key pair that signs tokens, to try things out: NAME.pem, and NAME.jwks.json for `keys` in `[identity.NAME]`
    Key(Key),
    /// Print a token that the gateway takes for an agent, to try things out
    #[command(long_about = mint::HELP)]
    Mint(Box<mint::Mint>),
}

/// Where to make it.
#[derive(Args, Debug)]
pub struct Key {
    /// The folder, made where it is missing
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// What the two files are called
    #[arg(long, default_value = "example")]
    pub name: String,
}

/// Runs the verb.
pub fn token(verb: &TokenVerb, ways: &Ways) -> Outcome {
    match verb {
        TokenVerb::Key(key) => pair(key, ways),
        TokenVerb::Mint(wish) => mint::mint(wish, ways),
    }
}

/// Writes both halves, or none where one of them exists.
fn pair(key: &Key, ways: &Ways) -> Outcome {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if key.name.is_empty() || !key.name.chars().all(plain) {
        return Err(Failure::new(format!("`{}` is no name of a file", key.name), "use letters, digits, `-` and `_`"));
    }
    let (private, public) =
        (key.out.join(format!("{}.pem", key.name)), key.out.join(format!("{}.jwks.json", key.name)));
    if let Some(there) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(exists(there));
    }
    let made = keys::make(&format!("{}-1", key.name))?;
    fs::create_dir_all(&key.out).map_err(|error| unwritten(&key.out, &error))?;
    // The private half first: a public half that nobody can sign for would only puzzle.
    write(&private, &made.private, 0o600)?;
    write(&public, &made.public, 0o644)?;
    if ways.json {
        say::json(&json!({"written": [private.display().to_string(), public.display().to_string()]}));
        return Ok(End::Done);
    }
    say::line(&format!("wrote {}", private.display()));
    say::line(&format!("wrote {}", public.display()));
    say::note(&format!(
        "for trying out: whoever can read {} can be any agent of an issuer with these keys\n\
         name the issuer in portcullis.toml, then `portcullis token mint --key {}`:\n\n\
         [identity.{}]\nissuer = \"https://{}.test\"\nkeys = \"{}\"",
        private.display(),
        private.display(),
        key.name,
        key.name,
        public.display(),
    ));
    Ok(End::Done)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    disk::create(path, text.as_bytes(), mode).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => unwritten(path, &error),
    })
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        format!("`{}` exists", path.display()),
        "nothing is ever overwritten: choose another folder, or another `--name`",
    )
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("`{}` cannot be written: {error}", path.display()),
        "choose a folder that this user can write to",
    )
}
