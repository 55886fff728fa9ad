//! Takes commands. In: words on the command line. Out: lines for people, or JSON; exit code 0 for done, 1 for refused, 2 for not even tried.
//! Never here: what the gateway does.

pub mod agent;
pub mod audit;
pub mod book;
pub mod check;
pub mod client;
pub mod completions;
pub mod drain;
pub mod init;
pub mod kernel;
pub mod keys;
pub mod policy;
pub mod recorded;
pub mod prove;
pub mod reload;
pub mod run;
pub mod say;
pub mod schema;
pub mod segments;
pub mod status;
pub mod token;
pub mod tools;
pub mod witness;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use portcullis_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// A security gateway for the Model Context Protocol.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// What holds for every verb.
    #[command(flatten)]
    pub ways: Ways,
}

/// What holds for every verb.
#[derive(Args, Clone, Debug)]
pub struct Ways {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "portcullis.toml")]
    pub config: PathBuf,
    /// The control socket, instead of the one the configuration names
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve agents until told to stop
    Run,
    /// Tell all that is wrong with the configuration, agents, rules and catalogues
    Check,
    /// Write a starter configuration
    Init(init::Init),
    /// Tell how the gateway stands
    Status,
    /// Explain, test, compare, change and take back the rules
    Policy {
        /// What to do with them.
        #[command(subcommand)]
        verb: policy::PolicyVerb,
    },
    /// List, suspend and resume agents
    Agent {
        /// What to do with them.
        #[command(subcommand)]
        verb: agent::AgentVerb,
    },
    /// Make keys and tokens to try things out with
    Token {
        /// Which of them.
        #[command(subcommand)]
        verb: token::TokenVerb,
    },
    /// List, compare and approve the tools of a server
    Tools {
        /// What to do with them.
        #[command(subcommand)]
        verb: tools::ToolsVerb,
    },
    /// Tell what stands in front of the listeners
    Kernel {
        /// What to do with it.
        #[command(subcommand)]
        verb: kernel::KernelVerb,
    },
    /// Read the audit log
    Audit {
        /// What to read.
        #[command(subcommand)]
        verb: audit::AuditVerb,
    },
    /// Cosign the audit logs of gateways, on a host that is not theirs
    Witness(witness::Witness),
    /// Have the gateway read its files again
    Reload,
    /// Have the gateway finish what is under way and stop
    Drain,
    /// Print the JSON schema of the configuration
    Schema,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// How a verb ended that could be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked: exit code 0.
    Done,
    /// It was looked at and refused, or something is wrong with the files: exit code 1.
    Refused,
    /// It was tried and nobody knows: exit code 2.
    Undecided,
}

/// Why a verb could not even be tried: exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause: lower case, no full stop.
    pub message: String,
    /// The cure, where one is known.
    pub help: Option<String>,
}

impl Failure {
    /// With its cure.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

impl From<Diagnostic> for Failure {
    fn from(finding: Diagnostic) -> Self {
        Self { message: Diagnostic { help: None, ..finding.clone() }.to_string(), help: finding.help }
    }
}

/// What a verb came to.
pub type Outcome = Result<End, Failure>;

/// Says what is left to say, and gives the exit code.
pub fn end(outcome: Outcome, ways: &Ways) -> ExitCode {
    match outcome {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Refused) => ExitCode::from(1),
        Ok(End::Undecided) => ExitCode::from(2),
        Err(failure) => {
            if ways.json {
                say::json(&json!({"error": "failed", "message": failure.message, "help": failure.help}));
            } else {
                say::error(&failure.message, failure.help.as_deref());
            }
            ExitCode::from(2)
        }
    }
}

/// The first of the findings that refuse, as what ended the verb.
pub fn first(findings: Diagnostics) -> Failure {
    match findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        Some(finding) => finding.into(),
        None => Failure::new("the files do not load", "`portcullis check` tells why"),
    }
}

/// Shows findings, one a line; an error among them refuses.
pub fn findings(findings: &Diagnostics) {
    for finding in findings {
        say::finding(&finding.to_string());
    }
}

/// A text member of an answer, or nothing to read.
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an answer.
fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// `1 rule`, `2 rules`.
fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The members of a list of an answer.
fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_a_slip_of_the_fingers_is_told() {
        Cli::command().debug_assert();
        let refused = Cli::try_parse_from(["portcullis", "polic"]).unwrap_err().to_string();
        assert!(refused.contains("policy"), "{refused}");
        assert!(Cli::try_parse_from(["portcullis", "agent", "suspend"]).is_err());
        let parsed =
            Cli::try_parse_from(["portcullis", "policy", "rollback", "3", "--expect", "4", "--json", "-c", "x.toml"])
                .unwrap();
        assert!(parsed.ways.json);
        assert_eq!(parsed.ways.config.to_str(), Some("x.toml"));
    }
}
