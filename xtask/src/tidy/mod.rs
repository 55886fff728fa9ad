//! Enforces the house rules that a machine can check. In: the tree. Out: `path:line: rule: cause; cure`. Never here: mending.

pub mod source;
pub mod text;
pub mod tokens;
pub mod syntax;
pub mod layout;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use crate::place;
use crate::told::Told;
use source::Tree;

/// What `tidy` is asked.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Check the tree below this folder instead of the repository
    #[arg(long)]
    root: Option<PathBuf>,
}

/// One offence against one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path below the top, with `/`.
    pub path: String,
    /// Line, counted from 1; 0 where the whole file or folder is meant.
    pub line: usize,
    /// The rule that was broken.
    pub rule: Rule,
    /// What is wrong.
    pub cause: String,
}

/// The rules. Each has fixtures of its own name under `xtask/fixtures/tidy/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A file of code has at most 500 lines.
    FileLength,
    /// A function has at most 70 lines.
    FunctionLength,
    /// A module of the core imports only from modules listed above it.
    ModuleOrder,
    /// The core does no IO, reads no clock, rolls no dice and never waits.
    PureCore,
    /// `unsafe` stands only where it is allowed.
    UnsafePlace,
    /// `unsafe` says why it holds.
    UnsafeReason,
    /// Tests wait for events, never for time.
    TestSleep,
    /// A match on an enum of ours has no wildcard arm.
    WildcardArm,
    /// Nothing is left to be done later.
    Marker,
    /// Product code never unwraps.
    Unwrap,
    /// Paths do not climb twice.
    SuperSuper,
    /// Names say what a thing is.
    VagueName,
    /// The top level is the user's.
    TopLevel,
    /// A dependency states its need.
    DependencyReason,
    /// Nothing names the machine it was written on.
    MachinePath,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 15] = [
        Self::FileLength,
        Self::FunctionLength,
        Self::ModuleOrder,
        Self::PureCore,
        Self::UnsafePlace,
        Self::UnsafeReason,
        Self::TestSleep,
        Self::WildcardArm,
        Self::Marker,
        Self::Unwrap,
        Self::SuperSuper,
        Self::VagueName,
        Self::TopLevel,
        Self::DependencyReason,
        Self::MachinePath,
    ];

    /// The rule's name in findings, exceptions and fixtures.
    pub fn name(self) -> &'static str {
        match self {
            Self::FileLength => "file-length",
            Self::FunctionLength => "function-length",
            Self::ModuleOrder => "module-order",
            Self::PureCore => "pure-core",
            Self::UnsafePlace => "unsafe-place",
            Self::UnsafeReason => "unsafe-reason",
            Self::TestSleep => "test-sleep",
            Self::WildcardArm => "wildcard-arm",
            Self::Marker => "marker",
            Self::Unwrap => "unwrap",
            Self::SuperSuper => "super-super",
            Self::VagueName => "vague-name",
            Self::TopLevel => "top-level",
            Self::DependencyReason => "dependency-reason",
            Self::MachinePath => "machine-path",
        }
    }

    /// What to do about a finding.
    pub fn cure(self) -> &'static str {
        match self {
            Self::FileLength => "split it by topic",
            Self::FunctionLength => "keep the branching here and move straight work into leaves",
            Self::ModuleOrder => "move the shared thing up, or the module down, in `lib.rs`",
            Self::PureCore => "take the value as an argument and do the deed in the shell",
            Self::UnsafePlace => "go through `portcullis-ring`, `gateway/src/kernel` or a safe crate",
            Self::UnsafeReason => "write `// SAFETY:` above it, naming every invariant and why it holds",
            Self::TestSleep => "advance the clock, or wait for the event itself",
            Self::WildcardArm => "name every variant, so that a new one breaks the build",
            Self::Marker => "do it now, or open it with the tracker and delete the line",
            Self::Unwrap => "use `let-else`, `?` or a named error",
            Self::SuperSuper => "start the path at `crate`",
            Self::VagueName => "name the thing by what it is in this field",
            Self::TopLevel => "move it below one of the folders of the house, or restore it",
            Self::DependencyReason => "say on its line what it is needed for",
            Self::MachinePath => "use a path relative to the repository, or the name a user would type",
        }
    }

    fn check(self, tree: &Tree, out: &mut Vec<Finding>) {
        match self {
            Self::FileLength => text::file_length(tree, out),
            Self::FunctionLength => syntax::function_length(tree, out),
            Self::ModuleOrder => tokens::module_order(tree, out),
            Self::PureCore => tokens::pure_core(tree, out),
            Self::UnsafePlace => tokens::unsafe_place(tree, out),
            Self::UnsafeReason => syntax::unsafe_reason(tree, out),
            Self::TestSleep => tokens::test_sleep(tree, out),
            Self::WildcardArm => syntax::wildcard_arm(tree, out),
            Self::Marker => text::marker(tree, out),
            Self::Unwrap => tokens::unwrap(tree, out),
            Self::SuperSuper => tokens::super_super(tree, out),
            Self::VagueName => tokens::vague_name(tree, out),
            Self::TopLevel => layout::top_level(tree, out),
            Self::DependencyReason => layout::dependency_reason(tree, out),
            Self::MachinePath => text::machine_path(tree, out),
        }
    }

    /// The findings of this rule over `tree`, in order, without those that a reasoned exception covers.
    pub fn findings(self, tree: &Tree) -> Vec<Finding> {
        let mut out = Vec::new();
        self.check(tree, &mut out);
        out.retain(|finding| !tree.excepted(&finding.path, finding.line, self.name()));
        out.sort();
        out.dedup();
        out
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}: {}; {}", self.path, self.line, self.rule.name(), self.cause, self.rule.cure())
    }
}

/// Prints every finding; fails when there is one.
///
/// # Errors
/// When the tree cannot be read, or is not tidy.
pub fn run(args: &Args) -> Result<()> {
    let root = match &args.root {
        Some(root) => root.clone(),
        None => place::root()?,
    };
    let tree = Tree::read(&root)?;
    let findings: Vec<Finding> = Rule::ALL.iter().flat_map(|rule| rule.findings(&tree)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} rules, {} files, {} findings", Rule::ALL.len(), tree.files.len(), findings.len());
    if findings.is_empty() { Ok(()) } else { Err(Told.into()) }
}
