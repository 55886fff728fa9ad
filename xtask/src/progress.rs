//! Shows that long work goes on. In: steps and words. Out: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Work of a known number of steps.
pub struct Progress {
    bar: ProgressBar,
    surface: Surface,
    steps: u64,
}

#[derive(Clone, Copy)]
enum Surface {
    Terminal,
    Plain,
}

impl Progress {
    /// Begins `steps` steps of work; written to standard error, so that standard output stays clean.
    pub fn begin(steps: u64) -> Self {
        let surface = if std::io::stderr().is_terminal() { Surface::Terminal } else { Surface::Plain };
        let bar = match surface {
            Surface::Terminal => ProgressBar::new(steps),
            Surface::Plain => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        if matches!(surface, Surface::Terminal) {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, surface, steps }
    }

    /// The next step starts.
    pub fn step(&self, words: &str) {
        self.bar.inc(1);
        match self.surface {
            Surface::Terminal => self.bar.set_message(words.to_owned()),
            Surface::Plain => eprintln!("[{}/{}] {words}", self.bar.position(), self.steps),
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match self.surface {
            Surface::Terminal => self.bar.println(line),
            Surface::Plain => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
