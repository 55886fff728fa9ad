//! Talks to an SMT solver. In: scripts. Out: its answers, each known to belong to its question. Never here: what they mean for rules.
//!
//! A solver is a program of the operator's, and what it says becomes a proof; so it is never believed without a test. Each session begins with two
//! questions whose answers are known, over the theories that rules need; one of them is asked again after every `unsat`. Every exchange stands between
//! two echoes of its own, so that no late or early word can pass for an answer.

use super::dialect::Dialect;
use crate::cli::Failure;
use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Bytes of one answer: models of large rule sets take some hundred KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How to get a solver.
pub const CURE: &str = "install one with `pip install z3-solver`, or cvc5 1.3 or later, or name it with `--solver`";

/// A solver that lies on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where.
    pub path: PathBuf,
    dialect: Dialect,
}

impl Program {
    /// The named program, or the first of `cvc5` and `z3` on the path.
    ///
    /// # Errors
    /// There is none.
    pub fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let on_path =
            |name: &Path| std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|file| file.is_file());
        let path = match named {
            Some(path) if path.components().count() > 1 => path.is_file().then(|| path.to_owned()),
            Some(name) => on_path(name),
            None => on_path(Path::new("cvc5")).or_else(|| on_path(Path::new("z3"))),
        };
        let path = path.ok_or_else(|| match named {
            Some(named) => Failure::new(format!("there is no solver `{}`", named.display()), CURE),
            None => Failure::new("there is no SMT solver on the path, so nothing can be proven", CURE),
        })?;
        let cvc5 = path.file_name().is_some_and(|name| name.to_string_lossy().contains("cvc5"));
        Ok(Self { dialect: if cvc5 { Dialect::Cvc5 } else { Dialect::Z3 }, path })
    }

    /// Its name, as in `z3`.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(&self) -> Result<Session, SolverError> {
        let arguments: &[&str] = match self.dialect {
            Dialect::Cvc5 => &["--lang", "smt"],
            // What it prints of a model is not abbreviated.
            Dialect::Z3 => &["-in", "pp.max_depth=1000000000", "pp.min_alias_size=1000000000"],
        };
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(SolverError::Solver("its streams are not ours".to_owned()));
        };
        Ok(Session {
            dialect: self.dialect,
            script: Vec::new(),
            stdin,
            stdout: BufReader::new(stdout),
            asked: 0,
            _child: child,
        })
    }
}

/// A running solver; dropping it ends it.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    script: Vec<u8>,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// How many scripts were sent.
    asked: u64,
    _child: Child,
}

impl Session {
    /// How many exchanges there were.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Asks what is known. A solver that answers wrong, or not these theories, is not believed in anything.
    ///
    /// # Errors
    /// In which way it fails.
    pub async fn test(&mut self) -> Result<(), SolverError> {
        self.known(KNOWN, "sat").await?;
        self.known(&format!("{KNOWN}{CONTRADICTION}"), "unsat").await
    }

    /// Asks again what is known to be satisfiable: an `unsat` just before it came from one who can still say the other.
    ///
    /// # Errors
    /// In which way it fails.
    pub async fn test_again(&mut self) -> Result<(), SolverError> {
        self.known(KNOWN, "sat").await
    }

    async fn known(&mut self, question: &str, expected: &str) -> Result<(), SolverError> {
        self.script.clear();
        self.script.extend_from_slice(b"(reset)\n(set-logic ALL)\n");
        self.script.extend_from_slice(question.as_bytes());
        self.script.extend_from_slice(b"(check-sat)\n");
        let answer = self.exchange().await?;
        if answer.trim() == expected {
            return Ok(());
        }
        Err(SolverError::Solver(format!("it answers `{}` where `{expected}` is known", shortened(&answer))))
    }

    /// Sends the script and gives what comes back for it.
    async fn exchange(&mut self) -> Result<String, SolverError> {
        self.asked += 1;
        let (begin, end) = (format!("portcullis begins {}", self.asked), format!("portcullis ends {}", self.asked));
        let script = String::from_utf8(std::mem::take(&mut self.script))
            .map_err(|_| SolverError::Solver("the question is no text".to_owned()))?;
        let script = format!("(echo \"{begin}\")\n{}\n(echo \"{end}\")\n", self.dialect.script(&script));
        match self.stdin.write_all(script.as_bytes()).await {
            // What one said who left before it heard us all is read below.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written?,
        }
        let first = self.line().await?;
        if first.trim().trim_matches('"') != begin {
            return Err(SolverError::UnrecognizedSolverOutput(shortened(&first)));
        }
        let mut answer = String::new();
        loop {
            let line = self.line().await?;
            if line.trim().trim_matches('"') == end {
                return Ok(answer);
            }
            if answer.len() as u64 + line.len() as u64 > ANSWER_BYTES_MAX {
                return Err(SolverError::Solver("the answer is too long".to_owned()));
            }
            answer.push_str(&line);
        }
    }

    async fn line(&mut self) -> Result<String, SolverError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stdout).take(ANSWER_BYTES_MAX);
        bounded.read_until(b'\n', &mut line).await?;
        if line.last() != Some(&b'\n') {
            return Err(SolverError::Solver("it ended in the middle of an answer".to_owned()));
        }
        String::from_utf8(line).map_err(|_| SolverError::Solver("its answer is no text".to_owned()))
    }
}

impl Solver for Session {
    fn smtlib_input(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.script.extend_from_slice(b"(set-option :produce-models true)\n");
        Ok(())
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        self.script.extend_from_slice(b"(check-sat)\n");
        let answer = self.exchange().await?;
        match answer.trim() {
            "sat" => Ok(Decision::Sat),
            "unsat" => Ok(Decision::Unsat),
            "unknown" => Ok(Decision::Unknown),
            _ => Err(SolverError::UnrecognizedSolverOutput(shortened(&answer))),
        }
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        match self.check_sat().await? {
            Decision::Unsat => Ok(DecisionWithModel::Unsat),
            Decision::Unknown => Ok(DecisionWithModel::Unknown),
            Decision::Sat => {
                self.script.extend_from_slice(b"(get-model)\n");
                let model = self.exchange().await?;
                if !model.trim_start().starts_with('(') || model.trim_start().starts_with("(error") {
                    return Err(SolverError::UnrecognizedSolverOutput(shortened(&model)));
                }
                Ok(DecisionWithModel::Sat { model: self.dialect.model(&model) })
            }
        }
    }
}

fn shortened(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Satisfiable, with what rules are made of: entities with sets of ancestors, strings, 64-bit numbers, things that may be absent.
const KNOWN: &str = r#"(declare-datatype Option (par (X) ((none) (some (val X)))))
(declare-datatype Agent ((Agent (agent_id String))))
(declare-datatype Group ((Group (group_id String))))
(declare-const agent Agent)
(declare-fun groups (Agent) (Set Group))
(declare-const limit (Option (_ BitVec 64)))
(declare-const table String)
(assert (set.member (Group "support") (groups agent)))
(assert (set.member table (set.insert "customers" "orders" (as set.empty (Set String)))))
(assert (not (= table "orders")))
(assert (= limit (some (_ bv5 64))))
(assert (bvslt (val limit) (_ bv6 64)))
"#;

/// What it excludes.
const CONTRADICTION: &str = r#"(assert (or (not (= table "customers")) (not (bvslt (_ bv4 64) (val limit))) (set.subset (groups agent) (as set.empty (Set Group)))))
"#;

#[cfg(test)]
#[path = "solver_tests.rs"]
mod tests;
