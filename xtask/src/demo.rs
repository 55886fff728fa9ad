//! Shows the product at work. In: nothing but this repository. Out: a gateway with two agents, a line a call, and a scene to play in.
//! Never here: rules, agents and configuration, which lie in `tests/demo`.

mod agents;
mod lines;
pub mod log;
mod programs;
mod proofs;
mod scene;
mod stop;
mod tour;
mod tryout;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::place;
use crate::told::Told;

use lines::Face;
use scene::Scene;
use stop::Stop;

/// How long the demo stays.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// End after the tour; the exit code is 0 only if every line was as promised
    #[arg(long)]
    once: bool,
}

/// Builds everything, walks the tour and stays up.
///
/// # Errors
/// When something cannot be built or started, or a line of the tour is not as promised.
pub fn run(args: &Args) -> Result<()> {
    let target = place::target()?;
    fs::create_dir_all(&target).with_context(|| format!("`{}` cannot be made", target.display()))?;
    let _alone = alone(&target.join("demo.lock"))?;
    let face = Face::of_stdout();
    let programs = programs::build(&target)?;
    let stop = Stop::listen()?;
    let mut scene = Scene::set(&target.join("demo"), programs)?;
    scene.introduce(&face);
    let broken = tour::walk(&mut scene, &face, &stop)? + proofs::show(&scene, &face)?;
    if broken > 0 {
        println!("\n{broken} of the lines above are not as promised");
        return Err(Told.into());
    }
    if args.once {
        println!("\nEvery line is as promised.");
        return Ok(());
    }
    tryout::stay(&mut scene, &face, &stop)
}

/// Two demos would write into one folder; the second one is told.
fn alone(file: &Path) -> Result<File> {
    let lock = File::create(file).with_context(|| format!("`{}` cannot be written", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("another demo of this checkout is running; end it with Ctrl-C first"),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("`{}` cannot be locked", file.display())),
    }
}
