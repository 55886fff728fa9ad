//! Knows who is measured. In: a name. Out: what it is, what it needs, which of its threads serve. Never here: starting it (`launch`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::launch::{self, Setting};
use crate::needs::{self, Need};
use crate::process::{self, Running};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Subject {
    /// Portcullis with everything on
    Portcullis,
    /// The same with every record on the disk before anything is sent on
    #[value(name = "portcullis_strict")]
    PortcullisStrict,
    /// The same, keeping of results only how long they were
    #[value(name = "portcullis_size")]
    PortcullisSize,
    /// Portcullis without its checks
    #[value(name = "portcullis_pass")]
    PortcullisPass,
    /// Portcullis with everything on, one worker, free to use the load's core too
    #[value(name = "portcullis_workers_1")]
    PortcullisWorkers1,
    /// The same with two workers
    #[value(name = "portcullis_workers_2")]
    PortcullisWorkers2,
    /// nginx as a plain pass-through
    Nginx,
    /// haproxy as a plain pass-through
    Haproxy,
    /// A gateway that somebody else started
    #[value(name = "third_party")]
    ThirdParty,
    /// No proxy at all
    Direct,
}

/// Whose program a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Ours.
    Portcullis,
    /// nginx.
    Nginx,
    /// haproxy.
    Haproxy,
    /// Somebody's, running already.
    ThirdParty,
    /// Nobody's.
    Direct,
}

impl Subject {
    /// Everyone, in the order of tables and plots.
    pub const ALL: [Self; 10] = [
        Self::Portcullis,
        Self::PortcullisStrict,
        Self::PortcullisSize,
        Self::PortcullisPass,
        Self::PortcullisWorkers1,
        Self::PortcullisWorkers2,
        Self::Nginx,
        Self::Haproxy,
        Self::ThirdParty,
        Self::Direct,
    ];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::PortcullisStrict => "portcullis_strict",
            Self::PortcullisSize => "portcullis_size",
            Self::PortcullisPass => "portcullis_pass",
            Self::PortcullisWorkers1 => "portcullis_workers_1",
            Self::PortcullisWorkers2 => "portcullis_workers_2",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::ThirdParty => "third_party",
            Self::Direct => "direct",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// What it is, for readers of the report.
    pub fn about(self) -> &'static str {
        match self {
            Self::Portcullis => {
                "token verified, a rule over an argument decided, decision and result recorded; records written before anything is sent on, synced within 100 ms (`batched`)"
            }
            Self::PortcullisStrict => {
                "the same, with every record synced to the disk before anything is sent on (`strict`)"
            }
            Self::PortcullisSize => {
                "as `portcullis`, keeping of results only how long they were (`capture.result = \"size\"`) and reading of long ones only the beginning (`inspect = \"envelope\"`)"
            }
            Self::PortcullisPass => "a build of the bench alone: the same data plane with no check and no record",
            Self::PortcullisWorkers1 => "as `portcullis`, one worker on the proxies' core",
            Self::PortcullisWorkers2 => "as `portcullis`, two workers, one of them on the core of load and upstream",
            Self::Nginx => "plain pass-through, one worker, no access log",
            Self::Haproxy => "plain pass-through, one thread, no log",
            Self::ThirdParty => "a gateway that was started and configured by somebody else",
            Self::Direct => "no proxy: the load asks the upstream itself",
        }
    }

    /// Whose program it is.
    pub fn family(self) -> Family {
        match self {
            Self::Portcullis
            | Self::PortcullisStrict
            | Self::PortcullisSize
            | Self::PortcullisPass
            | Self::PortcullisWorkers1
            | Self::PortcullisWorkers2 => Family::Portcullis,
            Self::Nginx => Family::Nginx,
            Self::Haproxy => Family::Haproxy,
            Self::ThirdParty => Family::ThirdParty,
            Self::Direct => Family::Direct,
        }
    }

    /// Whether it decides by the rules of the bench.
    pub fn judges(self) -> bool {
        self.family() == Family::Portcullis && self != Self::PortcullisPass
    }

    /// How many workers it has; two need the load's core as well.
    pub fn workers(self) -> u32 {
        match self {
            Self::PortcullisWorkers2 => 2,
            Self::Portcullis
            | Self::PortcullisStrict
            | Self::PortcullisSize
            | Self::PortcullisPass
            | Self::PortcullisWorkers1
            | Self::Nginx
            | Self::Haproxy
            | Self::ThirdParty
            | Self::Direct => 1,
        }
    }

    /// What must be installed for it.
    pub fn need(self) -> Option<Need> {
        match self.family() {
            Family::Nginx => Some(Need { program: "nginx", probe: &[], package: "nginx-light" }),
            Family::Haproxy => Some(Need { program: "haproxy", probe: &[], package: "haproxy" }),
            Family::Portcullis | Family::ThirdParty | Family::Direct => None,
        }
    }

    /// Its version in its own words.
    pub fn version(self) -> Option<String> {
        match self.family() {
            Family::Nginx => process::first_line(&program("nginx").to_string_lossy(), &["-v"]).ok(),
            Family::Haproxy => process::first_line(&program("haproxy").to_string_lossy(), &["-v"]).ok(),
            Family::Portcullis | Family::ThirdParty | Family::Direct => None,
        }
    }

    /// Writes its configuration into `folder` and starts it in clear text on the proxies' core; gives it back once it listens.
    ///
    /// # Errors
    /// When it does not start. Its own words stand in `FOLDER/NAME/log`.
    pub fn start(self, folder: &Path, binary: &Path, upstream: SocketAddr) -> Result<Proxy> {
        self.start_with(folder, launch::pinned(self, binary), upstream)
    }

    /// The same, with a command that runs it in another way.
    ///
    /// # Errors
    /// As [`Subject::start`].
    pub fn start_with(self, folder: &Path, command: Command, upstream: SocketAddr) -> Result<Proxy> {
        let papers = super::papers::Papers::make(&folder.join("papers"), 1)?;
        launch::start(self, command, &Setting::clear(folder, upstream, &papers))
    }
}

/// A subject that runs, or the stub itself.
pub struct Proxy {
    /// Which one.
    pub subject: Subject,
    /// Where the load goes.
    pub address: SocketAddr,
    /// What the load asks there.
    pub path: String,
    /// A bearer token that is good there; the proxies that check nothing pass it on.
    pub token: String,
    /// What it was configured with, for the report.
    pub configuration: Option<PathBuf>,
    pub(super) running: Option<Running>,
    /// Of a process that somebody else started.
    pub(super) foreign: Option<u32>,
}

impl Proxy {
    /// The stub itself, reached without a proxy.
    pub fn direct(address: SocketAddr, token: String) -> Self {
        let path = "/mcp".to_owned();
        Self { subject: Subject::Direct, address, path, token, configuration: None, running: None, foreign: None }
    }

    /// The pid whose family is counted; none without a proxy.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid).or(self.foreign)
    }

    /// Whether a thread is on the path of the request.
    pub fn on_path(&self, pid: u32, thread: &str) -> bool {
        match self.subject.family() {
            Family::Portcullis => thread.starts_with("worker-"),
            // The master only waits; its worker does the work.
            Family::Nginx => Some(pid) != self.pid(),
            // Which threads of a stranger serve is not known, so all count.
            Family::Haproxy | Family::ThirdParty => true,
            Family::Direct => false,
        }
    }
}

/// Where a program lies; its bare name when it is not found, so that the error names it.
pub fn program(name: &str) -> PathBuf {
    needs::find(name).unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_report_is_the_name_on_the_command_line() {
        use clap::ValueEnum;
        assert_eq!(Subject::value_variants(), Subject::ALL);
        for subject in Subject::ALL {
            let typed = subject.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), subject.name());
            assert_eq!(Subject::named(subject.name()), Some(subject));
        }
        assert_eq!(Subject::named("apache"), None);
    }
}
