//! `portcullis policy prove`: proofs about rules, offline. In: invariants, or other rules to compare with. Out: proved, refuted with a call that shows it, or
//! undecided. Never here: a decision on a live call.

use crate::cli::{self, End, Failure, Outcome, Ways, check, counted, say};
use crate::control::answers;
use crate::disk::{self, Guard};
use crate::history::History;
use crate::prove::solver::Program;
use crate::prove::{Answer, Prover};
use crate::sources;
use clap::Args;
use indicatif::ProgressBar;
use portcullis_core::config::snapshot::{Snapshot, Text};
use portcullis_core::diagnostic::{Diagnostic, Diagnostics};
use portcullis_core::policy::engine::Inputs;
use portcullis_core::policy::ground::Ground;
use portcullis_core::policy::invariant::{self, Agents, Claim};
use portcullis_core::policy::question::{self, About, Item};
use portcullis_core::policy::source::Source;
use portcullis_core::policy::witness::{self, Case};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to prove.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["file", "against"])))]
pub struct Prove {
    /// What must hold
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show what these rules newly permit and newly deny beside others: a folder of rules, or a version that served
    #[arg(long, value_name = "FOLDER|VERSION")]
    against: Option<String>,
    /// Seconds for one question
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// The solver to use, instead of cvc5 or z3 on the path
    #[arg(long, value_name = "PROGRAM")]
    solver: Option<PathBuf>,
}

/// What `--help` says.
pub const HELP: &str = "Prove what the rules permit and what they never permit, for every call there could be.\n\n\
    FILE lists invariants in TOML; the calls that one speaks of are written as Cedar permits:\n\n  \
    [[invariant]]\n  name = \"only finance reads financials\"\n  never = '''permit (principal, action == Action::\"crm.read_table\", resource)\n           \
    when { context.input.table == \"financials\" } unless { principal in Group::\"finance\" };'''\n\n\
    never         no such call is permitted\n\
    always        every such call is permitted\n\
    no-more-than  a folder of rules: they permit all that the current ones do\n\
    never-errors  \"forbids\" or \"rules\": none of them fails to evaluate\n\
    agents        \"any\" that could be registered (the default), or those \"registered\"\n\n\
    An SMT solver does the proving: cvc5 1.3 or z3 (`pip install z3-solver`), found on the path. What it refutes is confirmed by the \
    gateway's own engine and by Cedar before it is shown.\n\n\
    Exit code 0: all proved; 1: something refuted; 2: something undecided, or not even tried.";

/// One thing to prove.
struct Theorem {
    name: String,
    line: Option<u32>,
    agents: Agents,
    claim: Kind,
}

/// What it claims, and where the other rules are.
enum Kind {
    Own(Claim),
    NothingNew(usize),
    NothingGone(usize),
}

/// What came of one.
struct Finding {
    name: String,
    line: Option<u32>,
    asked: usize,
    cases: Vec<Case>,
    doubts: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Proved,
    Refuted,
    Undecided,
}

/// Why it ended before anything was proven.
enum Stop {
    Found(Diagnostics),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Diagnostics> for Stop {
    fn from(findings: Diagnostics) -> Self {
        Self::Found(findings)
    }
}

/// Proves what is asked.
pub fn prove(asked: &Prove, ways: &Ways) -> Outcome {
    let progress = check::spinner("reading and building");
    let proved = run(asked, &ways.config, &progress);
    progress.finish_and_clear();
    match proved {
        Ok((solver, findings)) => Ok(shown(&solver, &findings, ways)),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Found(findings)) => {
            if ways.json {
                say::json(&json!({"error": "findings", "findings": answers::findings(&findings)}));
            } else {
                cli::findings(&findings);
            }
            Ok(End::Undecided)
        }
    }
}

fn run(asked: &Prove, config: &Path, progress: &ProgressBar) -> Result<(String, Vec<Finding>), Stop> {
    let program = Program::find(asked.solver.as_deref())?;
    let texts = sources::read(config).map_err(|findings| sources::named(findings, config))?;
    let policies = texts.policies.clone();
    let snapshot = Snapshot::build(texts, 0).map_err(|findings| sources::named(findings, config))?;
    let (theorems, others) = theorems(asked, &snapshot)?;
    let file = asked.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(format!("no runtime: {error}"), "free memory or descriptors"))?;
    let name = program.name();
    let findings = snapshot.with_inputs(&policies, |inputs| {
        let mut prover = runtime.block_on(Prover::start(program, Duration::from_secs(asked.timeout)))?;
        let work = Work { file: &file, others: &others, progress };
        runtime.block_on(work.all(inputs, &theorems, &mut prover))
    })?;
    Ok((name, findings))
}

/// What is to be proven, and the other rules that it needs.
fn theorems(asked: &Prove, snapshot: &Snapshot) -> Result<(Vec<Theorem>, Vec<Vec<Text>>), Stop> {
    let (mut theorems, mut others, mut findings) = (Vec::new(), Vec::new(), Diagnostics::new());
    if let Some(file) = &asked.file {
        let cure = "name a file of invariants; `portcullis policy prove --help` shows one";
        let text =
            disk::read(file, Guard::Open).map_err(|failure| vec![sources::refused(file, &failure).help(cure)])?;
        for invariant in invariant::parse(&text, &file.display().to_string())? {
            let claim = match invariant.claim {
                Claim::NoMoreThan(folder) => {
                    let folder = file.parent().unwrap_or(Path::new("")).join(folder);
                    others.push(compared_with(&folder, (&file.display().to_string(), invariant.line), &mut findings));
                    Kind::NothingNew(others.len() - 1)
                }
                own @ (Claim::Never(_) | Claim::Always(_) | Claim::NeverErrors(_)) => Kind::Own(own),
            };
            let line = Some(invariant.line);
            theorems.push(Theorem { name: invariant.name.into(), line, agents: invariant.agents, claim });
        }
    }
    if let Some(against) = &asked.against {
        others.push(match against.parse::<u64>() {
            Ok(version) => version_of(version, snapshot)?,
            Err(_) => sources::rules(Path::new(against)).map_err(|found| {
                let cure = "`--against` takes a folder of `.cedar` files, or the number of a version that served";
                found.into_iter().map(|finding| finding.help(cure)).collect::<Diagnostics>()
            })?,
        });
        let beside = |what: &str, claim| Theorem {
            name: format!("{what} beside {against}"),
            line: None,
            agents: Agents::Any,
            claim,
        };
        theorems.push(beside("nothing is newly permitted", Kind::NothingNew(others.len() - 1)));
        theorems.push(beside("nothing is newly denied", Kind::NothingGone(others.len() - 1)));
    }
    if findings.is_empty() { Ok((theorems, others)) } else { Err(findings.into()) }
}

/// The rules that an invariant compares with; what is wrong with their folder is the invariant's own fault.
fn compared_with(folder: &Path, (file, line): (&str, u32), findings: &mut Diagnostics) -> Vec<Text> {
    sources::rules(folder).unwrap_or_else(|found| {
        let about = |finding: Diagnostic| {
            let message = format!("`no-more-than` of this invariant: {}: {}", finding.file, finding.message);
            Diagnostic { help: finding.help, ..Diagnostic::error(file, Some(line), message) }
        };
        findings.extend(found.into_iter().map(about));
        Vec::new()
    })
}

/// The rules of a version that served.
fn version_of(version: u64, snapshot: &Snapshot) -> Result<Vec<Text>, Stop> {
    let folder = &snapshot.settings.policy.history;
    let cure = "`portcullis policy history` lists the versions that are kept";
    let missing = || Failure::new(format!("version {version} is not kept in `{}`", folder.display()), cure);
    if !folder.is_dir() {
        return Err(missing().into());
    }
    let history = History::open(folder, u16::MAX).map_err(|error| Failure::new(error.to_string(), cure))?;
    let kept = history.read(version).map_err(|error| Failure::new(error.to_string(), cure))?;
    Ok(kept.ok_or_else(missing)?.sources.into_iter().map(Text::from).collect())
}

/// Proves one theorem after the other.
struct Work<'w> {
    file: &'w str,
    others: &'w [Vec<Text>],
    progress: &'w ProgressBar,
}

impl Work<'_> {
    async fn all(&self, inputs: Inputs<'_>, theorems: &[Theorem], prover: &mut Prover) -> Result<Vec<Finding>, Stop> {
        let ground = Ground::build(inputs)?;
        let sources: Vec<Vec<Source<'_>>> = self.others.iter().map(|texts| as_sources(texts)).collect();
        let mut books = Vec::with_capacity(sources.len());
        for sources in &sources {
            books.push(ground.other(sources)?);
        }
        let (mut abouts, mut wrong) = (Vec::with_capacity(theorems.len()), Diagnostics::new());
        for theorem in theorems {
            let other = |at: usize| books.get(at).ok_or_else(|| Failure::new("there are no other rules", "name them"));
            let about = match &theorem.claim {
                Kind::Own(Claim::Never(permits)) => ground.permits(self.file, permits).map(About::Never),
                Kind::Own(Claim::Always(permits)) => ground.permits(self.file, permits).map(About::Always),
                Kind::Own(Claim::NeverErrors(which)) => Ok(About::NeverErrors(*which)),
                Kind::Own(Claim::NoMoreThan(folder)) => {
                    Err(vec![Diagnostic::error(self.file, theorem.line, format!("`{folder}` was not read"))])
                }
                Kind::NothingNew(at) => Ok(About::NotMore(other(*at)?)),
                Kind::NothingGone(at) => Ok(About::NotLess(other(*at)?)),
            };
            match about {
                Ok(about) => abouts.push(about),
                Err(findings) => wrong.extend(findings),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        let mut findings = Vec::with_capacity(theorems.len());
        for (at, (theorem, about)) in theorems.iter().zip(&abouts).enumerate() {
            self.progress.set_message(format!("{}/{} {}", at + 1, theorems.len(), theorem.name));
            findings.push(self.one(&ground, theorem, about, prover).await?);
        }
        Ok(findings)
    }

    async fn one(
        &self,
        ground: &Ground<'_>,
        theorem: &Theorem,
        about: &About<'_>,
        prover: &mut Prover,
    ) -> Result<Finding, Stop> {
        let mut finding =
            Finding { name: theorem.name.clone(), line: theorem.line, asked: 0, cases: Vec::new(), doubts: Vec::new() };
        let items = question::items(ground, about);
        if items.is_empty() && matches!(about, About::Never(_) | About::Always(_)) {
            finding.doubts.push("`connect`, `complete` and `task` follow from other actions: name those".to_owned());
        }
        // A comparison shows one call for each action that differs; of an invariant one is enough.
        let compares = matches!(about, About::NotMore(_) | About::NotLess(_));
        for item in items {
            let shown = |case: &Case| {
                ground.surface.columns.get(item.column as usize).is_some_and(|one| *one.action == case.action)
            };
            if !finding.cases.is_empty() && (!compares || finding.cases.iter().any(shown)) {
                continue;
            }
            let (asked, mut answer) = self.ask(ground, theorem.agents, (about, item), prover).await?;
            finding.asked += asked;
            if matches!(&answer, Ok(Some(case)) if !case.registered) {
                // One who could be registered breaks it; better is one who is.
                let (asked, registered) = self.ask(ground, Agents::Registered, (about, item), prover).await?;
                finding.asked += asked;
                if let Ok(Some(case)) = registered {
                    answer = Ok(Some(case));
                }
            }
            match answer {
                Ok(case) => finding.cases.extend(case),
                Err(why) => {
                    let action = ground.surface.columns.get(item.column as usize).map_or("", |column| &column.action);
                    finding.doubts.push(format!("{action}: {why}"));
                }
            }
        }
        Ok(finding)
    }

    /// How many questions one action took, and what they came to: nothing breaks it, a call that does, or why nobody knows.
    async fn ask(
        &self,
        ground: &Ground<'_>,
        agents: Agents,
        (about, item): (&About<'_>, Item),
        prover: &mut Prover,
    ) -> Result<(usize, Result<Option<Case>, String>), Failure> {
        let question = match question::question(ground, about, item, agents) {
            Ok(question) => question,
            Err(why) => return Ok((0, Err(why))),
        };
        let answer = match prover.ask(&question).await? {
            Answer::Holds => Ok(None),
            Answer::Undecided(why) => Err(why),
            Answer::Broken(claimed) => {
                let confirmed = witness::confirm(ground, (about, agents), &question, (&claimed.0, &claimed.1));
                confirmed.map(Some).map_err(|why| format!("spurious: {why}"))
            }
        };
        Ok((1, answer))
    }
}

fn as_sources(texts: &[Text]) -> Vec<Source<'_>> {
    texts.iter().map(|text| Source { file: &text.file, text: &text.text }).collect()
}

impl Finding {
    fn verdict(&self) -> Verdict {
        match (self.cases.is_empty(), self.doubts.is_empty()) {
            (false, _) => Verdict::Refuted,
            (true, false) => Verdict::Undecided,
            (true, true) => Verdict::Proved,
        }
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Refuted => "refuted",
            Self::Undecided => "undecided",
        }
    }

    fn hue(self) -> say::Hue {
        match self {
            Self::Proved => say::Hue::Green,
            Self::Refuted => say::Hue::Red,
            Self::Undecided => say::Hue::Yellow,
        }
    }
}

/// What a proof is about.
const UNIVERSE: &str = "every agent that could be registered (or, where an invariant says so, those that are), with any user, claims, source and account or none, \
at any time from 1970 to 9999, all arguments of the types that the tools declare, any calendars open and any SQL that can be read; `connect`, `complete` and `task` follow from other actions and are not asked about, nor is what rules over results withhold of a call that was permitted";

fn shown(solver: &str, findings: &[Finding], ways: &Ways) -> End {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict() == verdict).count();
    let (proved, refuted, undecided) = (count(Verdict::Proved), count(Verdict::Refuted), count(Verdict::Undecided));
    if ways.json {
        let invariants: Vec<Value> = findings.iter().map(as_json).collect();
        say::json(&json!({
            "solver": solver, "universe": UNIVERSE, "proved": proved, "refuted": refuted, "undecided": undecided,
            "invariants": invariants,
        }));
    } else {
        findings.iter().for_each(told);
        say::line(&format!("{proved} proved, {refuted} refuted, {undecided} undecided by {solver}"));
        say::line(&say::painted(&format!("asked of {UNIVERSE}"), say::Hue::Dim));
    }
    match (refuted, undecided) {
        (0, 0) => End::Done,
        (0, _) => End::Undecided,
        (_, _) => End::Refused,
    }
}

fn told(finding: &Finding) {
    let verdict = finding.verdict();
    let word = say::painted(&format!("{:<9}", verdict.word()), verdict.hue());
    say::line(&format!("{word}  {} ({})", finding.name, counted(finding.asked, "question")));
    for case in &finding.cases {
        for (name, words) in case.words() {
            say::line(&format!("  {name:<9}  {words}"));
        }
        say::line("");
    }
    for doubt in &finding.doubts {
        say::line(&format!("  {doubt}"));
    }
}

fn as_json(finding: &Finding) -> Value {
    let cases: Vec<Value> = finding.cases.iter().map(Case::json).collect();
    json!({
        "name": finding.name, "line": finding.line, "verdict": finding.verdict().word(), "questions": finding.asked,
        "counterexamples": cases, "undecided": finding.doubts,
    })
}
