//! Builds and proves the kernel programs, which are a workspace of their own in `ebpf/`. In: its sources. Out: the committed object and what it
//! was made of. Never here: loading it.
//!
//! The gateway embeds the committed object, so that building it needs no toolchain for the kernel. What keeps the object honest is its manifest:
//! a hash over the sources is compared everywhere, and where the toolchain is, the object is built again and compared byte for byte.

mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use sha2::{Digest, Sha256};

use self::toolchain::Toolchain;
use crate::{place, process};

/// What to do with the kernel programs.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Subcommand)]
enum Deed {
    /// Install the toolchain that builds the object, under `target/tools`
    Setup,
    /// Build the object and write it and its manifest down
    Build,
    /// Prove that the committed object is what the sources build
    Check,
}

/// Installs, builds or checks.
///
/// # Errors
/// When the toolchain cannot be installed, the programs do not build, or the object is not what the sources build.
pub fn run(args: &Args) -> Result<()> {
    match args.deed {
        Deed::Setup => Toolchain::install().map(|_| println!("ready: `cargo xtask ebpf build`")),
        Deed::Build => build(),
        Deed::Check => {
            println!("{}", prove()?);
            process::run("cargo test of ebpf/common", &mut check_command()?)
        }
    }
}

/// The host tests of what kernel and user space share.
///
/// # Errors
/// When the repository cannot be found.
pub fn check_command() -> Result<Command> {
    let (root, target) = (place::root()?, place::target()?);
    let mut cargo = Command::new(place::cargo());
    cargo
        .args(["test", "--locked", "--package", "portcullis-ebpf-common", "--manifest-path"])
        .arg(root.join("ebpf/Cargo.toml"))
        .arg("--target-dir")
        .arg(target.join("ebpf"))
        .current_dir(root);
    Ok(cargo)
}

/// Proves that the committed object is what the sources build; the words say how far that went.
///
/// # Errors
/// When it is not.
pub fn prove() -> Result<String> {
    let folder = place::root()?.join("ebpf");
    let told = Manifest::read(&folder)?;
    let object = fs::read(folder.join(OBJECT)).with_context(|| format!("`ebpf/{OBJECT}` cannot be read; {REBUILD}"))?;
    ensure!(told.object == hash(&object), "`ebpf/{OBJECT}` is not the object its manifest names; {REBUILD}");
    ensure!(
        told.sources == sources(&folder)?,
        "the sources in `ebpf/` are not those the object was built of; {REBUILD}"
    );
    let Some(toolchain) = Toolchain::find()? else {
        return Ok(
            "ebpf: the object belongs to these sources by their hash; `cargo xtask ebpf setup` brings what rebuilds it"
                .to_owned(),
        );
    };
    let built = toolchain.build(&folder)?;
    ensure!(built == object, "the sources in `ebpf/` build another object than the committed one; {REBUILD}");
    Ok(format!("ebpf: the object was built again and is the same, {} bytes", object.len()))
}

const REBUILD: &str = "run `cargo xtask ebpf build` and commit what it writes";

/// The committed object, from `ebpf/` on.
const OBJECT: &str = "prebuilt/portcullis.bpf.o";

/// What it was made of.
const MANIFEST: &str = "prebuilt/MANIFEST";

fn build() -> Result<()> {
    let folder = place::root()?.join("ebpf");
    let Some(toolchain) = Toolchain::find()? else {
        bail!("the toolchain for the kernel programs is not installed; run `cargo xtask ebpf setup`");
    };
    let object = toolchain.build(&folder)?;
    let manifest = Manifest { object: hash(&object), sources: sources(&folder)? };
    fs::create_dir_all(folder.join("prebuilt")).context("`ebpf/prebuilt` cannot be made")?;
    fs::write(folder.join(OBJECT), &object).with_context(|| format!("`ebpf/{OBJECT}` cannot be written"))?;
    fs::write(folder.join(MANIFEST), manifest.written(&toolchain.versions()))
        .with_context(|| format!("`ebpf/{MANIFEST}` cannot be written"))?;
    println!("ebpf/{OBJECT}: {} bytes, sha256 {}", object.len(), manifest.object);
    Ok(())
}

/// What the manifest says of the object.
struct Manifest {
    object: String,
    sources: String,
}

impl Manifest {
    fn read(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join(MANIFEST))
            .with_context(|| format!("`ebpf/{MANIFEST}` cannot be read; {REBUILD}"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map(str::to_owned).with_context(|| format!("`ebpf/{MANIFEST}` names no `{name}`; {REBUILD}"))
        };
        Ok(Self { object: value("object-sha256")?, sources: value("sources-sha256")? })
    }

    fn written(&self, versions: &str) -> String {
        format!("object-sha256 {}\nsources-sha256 {}\n{versions}", self.object, self.sources)
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One hash over the name, the length and the bytes of every file the object is built of.
fn sources(folder: &Path) -> Result<String> {
    let mut all = Sha256::new();
    for path in source_files(folder) {
        let bytes = fs::read(&path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy();
        for part in [name.as_bytes(), &bytes] {
            all.update(u64::try_from(part.len())?.to_be_bytes());
            all.update(part);
        }
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let named = ["Cargo.lock", "Cargo.toml", "common", "programs"];
    let all = named.iter().map(|name| folder.join(name));
    all.flat_map(|path| if path.is_dir() { place::files(&path) } else { vec![path] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_renamed_or_moved_source_is_another_hash() {
        let folder = std::env::temp_dir().join(format!("portcullis-ebpf-sources-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in ["Cargo.lock", "Cargo.toml", "common/lib.rs", "programs/main.rs"] {
            write(name, "ab");
        }
        let first = sources(&folder).unwrap();
        assert_eq!(first, sources(&folder).unwrap());
        write("programs/main.rs", "ac");
        let changed = sources(&folder).unwrap();
        assert_ne!(first, changed);
        fs::rename(folder.join("programs/main.rs"), folder.join("programs/main2.rs")).unwrap();
        assert_ne!(changed, sources(&folder).unwrap());
        write("prebuilt/MANIFEST", "of no account");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_committed_object_belongs_to_the_sources_in_the_tree() {
        let folder = place::root().unwrap().join("ebpf");
        let told = Manifest::read(&folder).unwrap();
        assert_eq!(told.object, hash(&fs::read(folder.join(OBJECT)).unwrap()), "object");
        assert_eq!(told.sources, sources(&folder).unwrap(), "sources; {REBUILD}");
    }
}
