//! Starts subjects. In: who, where the upstream is, over what. Out: a proxy that listens, configured by the files of `loadtest/configs`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_loadtest::plan::Transport;

use super::papers::Papers;
use super::subject::{Family, Proxy, Subject};
use super::{LOAD_CPU, PROXY_CPU};
use crate::place;
use crate::process::Running;

/// A proxy must listen within this time; a cold start with checks takes a fraction of a second.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Whether answers of the upstream may be gathered before they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Whole answers: gathering them is what is fast.
    Whole,
    /// Streams of events, each of which has to go on at once.
    Streams,
}

/// Under what a subject is started.
#[derive(Clone, Copy)]
pub struct Setting<'s> {
    /// Its files lie in a folder of its name below this one.
    pub folder: &'s Path,
    /// Where the upstream listens.
    pub upstream: SocketAddr,
    /// What agents reach it over.
    pub transport: Transport,
    /// What it answers.
    pub answers: Answers,
    /// What it shows, and what it is shown.
    pub papers: &'s Papers,
}

impl<'s> Setting<'s> {
    /// Clear text and whole answers.
    pub fn clear(folder: &'s Path, upstream: SocketAddr, papers: &'s Papers) -> Self {
        Self { folder, upstream, transport: Transport::Cleartext, answers: Answers::Whole, papers }
    }
}

/// Starts `subject` by `command`, which lacks only the arguments that name its configuration; gives it back once it listens.
///
/// # Errors
/// When it does not start, or is none that can be.
pub fn start(subject: Subject, mut command: Command, setting: &Setting<'_>) -> Result<Proxy> {
    let folder = setting.folder.join(subject.name());
    set_aside(setting.folder, &folder)?;
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let template = Template { subject, folder: &folder, address, setting };
    let configuration = match subject.family() {
        Family::Nginx => {
            let file = template.write("nginx.conf.in", "nginx.conf")?;
            command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&file);
            file
        }
        Family::Haproxy => {
            let file = template.write("haproxy.cfg.in", "haproxy.cfg")?;
            command.arg("-db").arg("-f").arg(&file);
            file
        }
        Family::Portcullis => {
            let file = template.write("portcullis.toml.in", "portcullis.toml")?;
            command.arg("run").arg("--config").arg(&file);
            template.write("catalogue.json", "catalogue.json")?;
            template.write("bench.cedar", "policies/bench.cedar")?;
            fs::write(folder.join("agents.toml"), &setting.papers.registry)?;
            fs::write(folder.join("keys.json"), &setting.papers.keys)?;
            file
        }
        Family::ThirdParty | Family::Direct => bail!("`{}` is none that could be started", subject.name()),
    };
    let log = File::create(folder.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&folder);
    let mut running = Running::start(subject.name(), &mut command)?;
    running
        .wait_until(START_LIMIT, || TcpStream::connect(address).is_ok())
        .with_context(|| format!("its words are in `{}`", folder.join("log").display()))?;
    let (path, token) = ("/mcp/bench".to_owned(), setting.papers.token.clone());
    let configuration = Some(configuration);
    Ok(Proxy { subject, address, path, token, configuration, running: Some(running), foreign: None })
}

/// Where what earlier rounds wrote waits to be removed.
pub const SPENT: &str = "spent";

/// Makes room for a subject's files below `stage`. What an earlier round left is emptied and put aside, and removed only when everything is measured:
/// for minutes after ten thousand files of a log were removed, ext4 passes over each of their places whenever a file is made, and the round after would
/// measure that.
fn set_aside(stage: &Path, folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for file in place::files(folder) {
        // What is no file holds nothing; what cannot be emptied only takes room.
        let _emptied = fs::OpenOptions::new().write(true).truncate(true).open(file);
    }
    let spent = stage.join(SPENT);
    fs::create_dir_all(&spent)?;
    let free = (0_u32..).map(|number| spent.join(number.to_string())).find(|place| !place.exists());
    fs::rename(folder, free.context("no name is free")?).context("what an earlier round left cannot be put aside")
}

/// `program`, bound to the proxies' core before its first thread starts; with a second worker, to the load's core as well.
pub fn pinned(subject: Subject, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpus(subject)).arg(program);
    command
}

/// The cores that a subject may use, as the kernel lists them.
pub fn cpus(subject: Subject) -> String {
    if subject.workers() > 1 { format!("{LOAD_CPU}-{PROXY_CPU}") } else { PROXY_CPU.to_string() }
}

/// What the configurations are filled in with.
struct Template<'a> {
    subject: Subject,
    folder: &'a Path,
    address: SocketAddr,
    setting: &'a Setting<'a>,
}

impl Template<'_> {
    /// Fills in a file of `loadtest/configs` and writes it into the folder.
    fn write(&self, from: &str, to: &str) -> Result<PathBuf> {
        let source = place::root()?.join("loadtest/configs").join(from);
        let text = fs::read_to_string(&source).with_context(|| format!("`{}` cannot be read", source.display()))?;
        let target = self.folder.join(to);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, self.fill(&text)).with_context(|| format!("`{}` cannot be written", target.display()))?;
        Ok(target)
    }

    /// Lines that begin with `#?tls `, `#?clear `, `#?size ` … lose that word where it holds, and go where it does not. To whoever does not fill a
    /// file in like this they are comments.
    fn fill(&self, text: &str) -> String {
        let papers = self.setting.papers;
        let blanks = [
            ("@FOLDER@", self.folder.display().to_string()),
            ("@PORT@", self.address.port().to_string()),
            ("@UPSTREAM@", self.setting.upstream.to_string()),
            ("@CA@", papers.ca.display().to_string()),
            ("@CERTIFICATE@", papers.server_certificate.display().to_string()),
            ("@KEY@", papers.server_key.display().to_string()),
            ("@BOTH@", papers.server_both.display().to_string()),
        ];
        let two = self.subject.workers() > 1;
        let conditions = [
            ("#?always ", true),
            ("#?one ", !two),
            ("#?two ", two),
            ("#?clear ", self.setting.transport == Transport::Cleartext),
            ("#?tls ", self.setting.transport == Transport::Mtls),
            ("#?whole ", self.setting.answers == Answers::Whole),
            ("#?streams ", self.setting.answers == Answers::Streams),
            ("#?batched ", self.subject != Subject::PortcullisStrict),
            ("#?strict ", self.subject == Subject::PortcullisStrict),
            ("#?size ", self.subject == Subject::PortcullisSize),
        ];
        let mut filled = String::new();
        for line in text.lines() {
            let bare = line.trim_start();
            let indent = line.get(..line.len() - bare.len()).unwrap_or_default();
            let line = match conditions.iter().find_map(|(word, holds)| Some((bare.strip_prefix(word)?, *holds))) {
                None => line.to_owned(),
                Some((_, false)) => continue,
                Some((rest, true)) => format!("{indent}{rest}"),
            };
            filled.push_str(&blanks.iter().fold(line, |line, (blank, value)| line.replace(blank, value)));
            filled.push('\n');
        }
        filled
    }
}

/// A loopback address that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn papers() -> Papers {
        let file = |name: &str| PathBuf::from(format!("/papers/{name}"));
        Papers {
            tokens: file("tokens"),
            token: String::new(),
            ca: file("ca.pem"),
            server_certificate: file("server.pem"),
            server_key: file("server.key"),
            server_both: file("both.pem"),
            client_certificate: file("client.pem"),
            client_key: file("client.key"),
            keys: String::new(),
            registry: String::new(),
        }
    }

    fn filled(subject: Subject, transport: Transport, text: &str) -> String {
        let papers = papers();
        let upstream = "127.0.0.1:9000".parse().unwrap();
        let setting = Setting { transport, ..Setting::clear(Path::new("/bench"), upstream, &papers) };
        let address = "127.0.0.1:8000".parse().unwrap();
        Template { subject, folder: Path::new("/bench/x"), address, setting: &setting }.fill(text)
    }

    #[test]
    fn a_line_stays_only_where_its_word_holds() {
        let text = "a @PORT@\n  #?clear b @UPSTREAM@\n  #?tls c @CA@\n#?strict d\n#?batched e\n#?size f\n# g\n";
        let rows = [
            (Subject::Portcullis, Transport::Cleartext, "a 8000\n  b 127.0.0.1:9000\ne\n# g\n"),
            (Subject::PortcullisStrict, Transport::Mtls, "a 8000\n  c /papers/ca.pem\nd\n# g\n"),
            (Subject::PortcullisSize, Transport::Mtls, "a 8000\n  c /papers/ca.pem\ne\nf\n# g\n"),
        ];
        for (subject, transport, expected) in rows {
            assert_eq!(filled(subject, transport, text), expected, "{subject:?} over {transport:?}");
        }
    }

    #[test]
    fn every_configuration_is_filled_in_to_its_last_blank() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtest/configs");
        for name in ["nginx.conf.in", "haproxy.cfg.in", "portcullis.toml.in"] {
            let text = fs::read_to_string(configs.join(name)).unwrap();
            for transport in [Transport::Cleartext, Transport::Mtls] {
                let filled = filled(Subject::PortcullisSize, transport, &text);
                assert!(!filled.contains('@') && !filled.contains("\n#?"), "{name} over {transport:?}: {filled}");
                let tls = transport == Transport::Mtls;
                assert_eq!(filled.contains("/papers/ca.pem"), tls, "{name} over {transport:?}");
            }
        }
    }

    #[test]
    fn only_a_second_worker_may_use_the_core_of_the_load() {
        for subject in Subject::ALL {
            let expected = if subject == Subject::PortcullisWorkers2 { "0-1" } else { "1" };
            assert_eq!(cpus(subject), expected, "{subject:?}");
        }
    }
}
