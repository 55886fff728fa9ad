//! placeholder
#[derive(clap::Args)]
pub struct Args {}
impl Args { pub fn smoke()->Self{Args{}} }
pub fn run(_: &Args) -> anyhow::Result<()> { Ok(()) }
