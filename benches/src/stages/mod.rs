//! The stages of a call, in the order a call meets them. In: the bench's files. Out: each stage by itself, then the whole call. Never here:
//! measuring; one list is timed, counted in allocations and counted in instructions.

#[cfg(feature = "memory")]
mod call;
mod pure;
#[cfg(feature = "memory")]
mod shell;

use crate::Scene;
use crate::stage::Stage;

/// What is left out without the feature `memory`; empty with it.
pub const LEFT_OUT: &str = if cfg!(feature = "memory") {
    ""
} else {
    "left out: the stages that need a connection, and the whole call; add `--features portcullis-benches/memory`"
};

/// All of them.
///
/// # Panics
/// When a stage does not do what it is there for.
pub fn all() -> Vec<Stage> {
    // A process measures once and ends.
    let scene: &'static Scene = Box::leak(Box::new(Scene::new("EdDSA")));
    let mut stages = Vec::new();
    stages.push(pure::head(scene));
    stages.push(pure::head_behind_another(scene));
    #[cfg(feature = "memory")]
    stages.extend(shell::before_judgement(scene));
    stages.extend(pure::tokens(scene));
    stages.extend(pure::bodies());
    stages.extend(pure::decisions(scene));
    stages.push(pure::decision_record());
    #[cfg(feature = "memory")]
    stages.extend(shell::judgement(scene));
    stages.push(pure::reply_head());
    #[cfg(feature = "memory")]
    stages.extend(shell::after_judgement(scene));
    stages.push(pure::result_record());
    stages.push(pure::answer_head());
    stages.extend(pure::lists());
    #[cfg(feature = "memory")]
    stages.extend(call::whole(scene));
    stages
}
