//! Brings the compiler and the linker of the kernel programs. In: exact versions. Out: an object that is the same wherever it is built.
//!
//! The compiler and the linker have to share their LLVM, and the compiler needs the sources of its own `core`. Debian 12 has such a pair: its
//! rustc for browsers with its sources, and LLVM 22. The packages are unpacked beside what we build and not installed, so nothing of the host's
//! own Rust changes; LLVM alone is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::needs::{self, Need};
use crate::{place, process};

/// Debian's rustc whose LLVM the linker shares.
const RUSTC_PACKAGE: &str = "1.96.0+dfsg1-1~deb12u2";
const RUSTC: &str = "1.96.0";
const LINKER: &str = "0.13.0";

const NEEDS: [Need; 4] = [
    Need { program: "llvm-config-22", probe: &[], package: "llvm-22-dev" },
    Need { program: "llvm-objcopy-22", probe: &[], package: "llvm-22" },
    Need { program: "gcc", probe: &[], package: "gcc" },
    Need { program: "dpkg-deb", probe: &[], package: "dpkg" },
];

/// A toolchain that is there.
pub struct Toolchain {
    folder: PathBuf,
}

impl Toolchain {
    fn at() -> Result<Self> {
        Ok(Self { folder: place::target()?.join("tools/ebpf") })
    }

    fn rustc(&self) -> PathBuf {
        self.folder.join("bin/rustc")
    }

    fn linker(&self) -> PathBuf {
        self.folder.join("bin/bpf-linker")
    }

    /// The toolchain, if all of it is there in the very versions.
    ///
    /// # Errors
    /// When the repository cannot be found.
    pub fn find() -> Result<Option<Self>> {
        let found = Self::at()?;
        let whole = found.has_rustc() && found.has_linker() && needs::find("llvm-objcopy-22").is_some();
        Ok(whole.then_some(found))
    }

    /// Brings whatever of it is missing.
    ///
    /// # Errors
    /// When something cannot be installed.
    pub fn install() -> Result<Self> {
        needs::ensure(&NEEDS)?;
        let toolchain = Self::at()?;
        fs::create_dir_all(toolchain.folder.join("bin")).context("`target/tools/ebpf` cannot be made")?;
        if !toolchain.has_rustc() {
            toolchain.unpack()?;
        }
        ensure!(toolchain.has_rustc(), "the unpacked rustc is not {RUSTC} with LLVM 22");
        if !toolchain.has_linker() {
            let mut cargo = Command::new(place::cargo());
            cargo
                .args(["install", "bpf-linker", "--version", LINKER, "--locked", "--no-default-features"])
                .args(["--features", "llvm-22", "--force", "--root"])
                .arg(&toolchain.folder)
                .env("LLVM_PREFIX", "/usr/lib/llvm-22")
                .env("CARGO_TARGET_DIR", toolchain.folder.join("build"));
            process::run("cargo install bpf-linker", &mut cargo)?;
        }
        ensure!(toolchain.has_linker(), "the installed bpf-linker is not {LINKER}");
        Ok(toolchain)
    }

    fn has_rustc(&self) -> bool {
        let told = Command::new(self.rustc()).arg("-vV").output();
        told.is_ok_and(|told| {
            let text = String::from_utf8_lossy(&told.stdout).into_owned();
            text.contains(&format!("release: {RUSTC}\n")) && text.contains("LLVM version: 22.")
        })
    }

    fn has_linker(&self) -> bool {
        let told = Command::new(self.linker()).arg("--version").output();
        told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).trim() == format!("bpf-linker {LINKER}"))
    }

    /// Unpacks Debian's rustc, its libraries and the sources of its `core`.
    fn unpack(&self) -> Result<()> {
        let packages = self.folder.join("packages");
        let root = self.folder.join("root");
        fs::create_dir_all(&packages).context("`target/tools/ebpf/packages` cannot be made")?;
        fs::create_dir_all(&root).context("`target/tools/ebpf/root` cannot be made")?;
        let names = ["rustc-web", "libstd-rust-web-1.96", "libstd-rust-web-dev", "rust-web-src"];
        let wanted = names.map(|name| format!("{name}={RUSTC_PACKAGE}"));
        let mut apt = Command::new("apt-get");
        process::run("apt-get download", apt.args(["download", "-qq"]).args(&wanted).current_dir(&packages))?;
        for file in place::files(&packages) {
            process::run("dpkg-deb", Command::new("dpkg-deb").arg("-x").arg(&file).arg(&root))?;
        }
        fs::remove_dir_all(&packages).context("the packages cannot be removed")?;
        // Debian's rustc looks for its libraries where the package would have been installed.
        let (libraries, program) = (root.join("usr/lib/x86_64-linux-gnu"), root.join("usr/bin/rustc"));
        let wrapper = format!(
            "#!/bin/sh\nexport LD_LIBRARY_PATH='{}'\nexec '{}' \"$@\"\n",
            libraries.display(),
            program.display()
        );
        fs::write(self.rustc(), wrapper).context("the wrapper of rustc cannot be written")?;
        fs::set_permissions(self.rustc(), fs::Permissions::from_mode(0o755)).context("it cannot be made executable")
    }

    /// Builds the programs in `folder`; no path of this machine is in the object.
    ///
    /// # Errors
    /// When they do not build.
    pub fn build(&self, folder: &Path) -> Result<Vec<u8>> {
        let target = place::target()?.join("ebpf-object");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&path)))?;
        let mut cargo = Command::new(place::cargo());
        cargo
            .args(["build", "--locked", "--release", "--package", "portcullis-ebpf", "-Z", "build-std=core"])
            .args(["--target", "bpfel-unknown-none", "--target-dir"])
            .arg(&target)
            .current_dir(folder)
            .env("PATH", path)
            .env("RUSTC", self.rustc())
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(folder)?)
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        process::run("cargo build of ebpf/programs", &mut cargo)?;
        let (built, stripped) =
            (target.join("bpfel-unknown-none/release/portcullis-ebpf"), target.join("portcullis.bpf.o"));
        let mut objcopy = Command::new("llvm-objcopy-22");
        process::run("llvm-objcopy-22", objcopy.arg("--strip-debug").arg(built).arg(&stripped))?;
        fs::read(&stripped).with_context(|| format!("`{}` cannot be read", stripped.display()))
    }

    fn flags(&self, folder: &Path) -> Result<String> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).context("no home folder")?;
        let library = self.folder.join("root/usr/lib/rustlib/src/rust");
        let real = library.canonicalize().context("the sources of `core` are not there")?;
        let folders = [
            (folder.to_owned(), "/ebpf"),
            (home.join("registry/src"), "/registry"),
            (library, "/rust-src"),
            (real, "/rust-src"),
        ];
        let mut flags: Vec<String> =
            ["-Cdebuginfo=2", "-Clink-arg=--btf", "--cfg=bpf_target_arch=\"x86_64\""].map(str::to_owned).into();
        flags.extend(folders.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
        Ok(flags.join("\x1f"))
    }

    /// The versions that made the object, a line each.
    pub fn versions(&self) -> String {
        format!("rustc {RUSTC} ({RUSTC_PACKAGE})\nbpf-linker {LINKER} (llvm-22)\n")
    }
}
