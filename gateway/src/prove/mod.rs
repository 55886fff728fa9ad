//! Proves. In: a question about rules. Out: that nothing breaks it, what breaks it, or that nobody knows. Never here: what the rules mean.

pub mod dialect;
pub mod solver;

use self::solver::{CURE, Program, Session};
use crate::cli::Failure;
use cedar_policy::{Entities, EntityTypeName, Request, RequestEnv};
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::SolverError;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env};
use portcullis_core::policy::question::{Ask, Question};
use std::time::Duration;
use tokio::time;

/// What came of a question.
#[derive(Debug)]
pub enum Answer {
    /// No request breaks it.
    Holds,
    /// The solver names one that does. It is a claim, to be confirmed.
    Broken(Box<(Request, Entities)>),
    /// Why nobody knows.
    Undecided(String),
}

/// Asks one question after the other.
pub struct Prover {
    program: Program,
    patience: Duration,
    compiler: Option<CedarSymCompiler<Session>>,
}

impl Prover {
    /// Starts the solver and tests it. `patience` is the time for one question.
    ///
    /// # Errors
    /// It cannot be started, or is not to be believed.
    pub async fn start(program: Program, patience: Duration) -> Result<Self, Failure> {
        let mut prover = Self { program, patience, compiler: None };
        prover.session().await?;
        Ok(prover)
    }

    /// Puts a question.
    ///
    /// # Errors
    /// The solver is gone for good, or is not to be believed: then nothing that it said is.
    pub async fn ask(&mut self, question: &Question) -> Result<Answer, Failure> {
        let compiled = match Compiled::of(question) {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Answer::Undecided(why)),
        };
        let patience = self.patience;
        let compiler = self.session().await?;
        let before = compiler.solver().asked();
        let answered = time::timeout(patience, compiled.ask(compiler)).await;
        let asked = compiler.solver().asked() > before;
        match answered {
            Err(_) => {
                self.compiler = None;
                Ok(Answer::Undecided(format!("no answer within {} s", patience.as_secs())))
            }
            Ok(Err(error)) => {
                self.compiler = None;
                Ok(Answer::Undecided(words(&error)))
            }
            Ok(Ok(Some(env))) => Ok(Answer::Broken(Box::new((env.request, env.entities)))),
            Ok(Ok(None)) => {
                if asked {
                    let again = time::timeout(patience, compiler.solver_mut().test_again()).await;
                    let again = again.unwrap_or_else(|_| Err(SolverError::Solver(SILENT.to_owned())));
                    again.map_err(|error| self.unbelievable(&error))?;
                }
                Ok(Answer::Holds)
            }
        }
    }

    async fn session(&mut self) -> Result<&mut CedarSymCompiler<Session>, Failure> {
        if self.compiler.is_none() {
            let mut session = self.program.start().map_err(|error| self.unbelievable(&error))?;
            let tested = time::timeout(self.patience, session.test()).await;
            let tested = tested.unwrap_or_else(|_| Err(SolverError::Solver(SILENT.to_owned())));
            tested.map_err(|error| self.unbelievable(&error))?;
            let compiler = CedarSymCompiler::new(session);
            self.compiler = Some(compiler.map_err(|error| Failure::new(words(&error), CURE))?);
        }
        self.compiler.as_mut().ok_or_else(|| Failure::new("the solver did not start", CURE))
    }

    fn unbelievable(&self, error: &SolverError) -> Failure {
        let said = match error {
            SolverError::Io(error) => error.to_string(),
            SolverError::Solver(said) => said.clone(),
            SolverError::UnrecognizedSolverOutput(said) => format!("it says `{said}`"),
            SolverError::SolverMarkedFailed => "it failed before".to_owned(),
        };
        let message = format!("the solver `{}` cannot be relied on: {said}", self.program.path.display());
        Failure::new(message, CURE)
    }
}

const SILENT: &str = "it does not answer";

/// A question as the solver's terms.
enum Compiled {
    Disjoint(CompiledPolicySet, CompiledPolicySet),
    Implies(CompiledPolicySet, CompiledPolicySet),
    NeverErrs(CompiledPolicy),
}

impl Compiled {
    fn of(question: &Question) -> Result<Self, String> {
        let ty = |name: &str| name.parse::<EntityTypeName>().map_err(|error| error.to_string());
        let env = RequestEnv::new(ty("Agent")?, question.action.clone(), ty("Server")?);
        let set = |set| CompiledPolicySet::compile(set, &env, &question.schema).map_err(|error| words(&error));
        Ok(match &question.ask {
            Ask::Disjoint(one, other) => Self::Disjoint(set(one)?, set(other)?),
            Ask::Implies(one, other) => Self::Implies(set(one)?, set(other)?),
            Ask::NeverErrs(policy) => {
                let policy = CompiledPolicy::compile(policy, &env, &question.schema);
                Self::NeverErrs(policy.map_err(|error| words(&error))?)
            }
        })
    }

    async fn ask(&self, compiler: &mut CedarSymCompiler<Session>) -> Result<Option<Env>, Error> {
        match self {
            Self::Disjoint(one, other) => compiler.check_disjoint_with_counterexample_opt(one, other).await,
            Self::Implies(one, other) => compiler.check_implies_with_counterexample_opt(one, other).await,
            Self::NeverErrs(policy) => compiler.check_never_errors_with_counterexample_opt(policy).await,
        }
    }
}

/// An error of the compiler, as one line.
fn words(error: &Error) -> String {
    match error {
        Error::PolicyNotWellTyped { errs } => {
            let first = errs.first().map(ToString::to_string).unwrap_or_default();
            format!("it cannot be asked: {first}")
        }
        Error::SolverUnknown => "the solver does not know".to_owned(),
        other => other.to_string(),
    }
}
