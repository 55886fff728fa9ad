//! Describes where it was measured. In: nothing. Out: machine, kernel, versions. Never here: numbers of a run.

use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::subject::Subject;
use crate::process;

/// Processor, memory, kernel and how busy it was at the end.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": field(&read("/proc/cpuinfo"), "model name"),
        "cpus": std::thread::available_parallelism().ok().map(std::num::NonZero::get),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "distribution": distribution(&read("/etc/os-release")),
        "load_average": read("/proc/loadavg").trim(),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    })
}

fn distribution(release: &str) -> Option<String> {
    let line = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

/// Of each subject in its own words, of the compiler, and of the code.
pub fn versions(subjects: &[Subject]) -> Value {
    let mut versions = Map::new();
    for subject in subjects {
        versions.extend(subject.version().map(|version| (subject.name().to_owned(), json!(version))));
    }
    versions.insert("rustc".to_owned(), json!(process::first_line("rustc", &["-V"]).ok()));
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    versions.insert("commit".to_owned(), json!(commit));
    Value::Object(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_called_by_its_pretty_name() {
        let release = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(distribution(release).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(distribution("ID=debian\n"), None);
    }
}
