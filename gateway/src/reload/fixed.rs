//! Names what cannot change while the gateway runs. In: the settings that serve and the new ones. Out: a finding for each. Never here: silence.

use portcullis_core::config::settings::Settings;
use portcullis_core::diagnostic::{Diagnostic, Diagnostics};
use std::fmt::Debug;
use std::path::Path;

/// A finding for each setting that differs and needs a restart. A change that was taken and not obeyed would be worse than none.
pub fn changed(old: &Settings, new: &Settings, file: &Path) -> Diagnostics {
    let mut found = Findings { file: file.display().to_string(), found: Vec::new() };
    found.compare("address` in `[listen]", &old.listen.address, &new.listen.address);
    found.compare("workers", &old.workers, &new.workers);
    found.compare("io", &old.io, &new.io);
    found.compare("folder` in `[audit]", &old.audit.folder, &new.audit.folder);
    found.compare("durability` in `[audit]", &old.audit.durability, &new.audit.durability);
    found.compare("segment` in `[audit]", &old.audit.segment_bytes_max, &new.audit.segment_bytes_max);
    found.compare("backlog` in `[audit]", &old.audit.backlog_bytes_max, &new.audit.backlog_bytes_max);
    found.compare("index` in `[audit]", &old.audit.index, &new.audit.index);
    found.compare("socket` in `[control]", &old.control, &new.control);
    found.compare("address` in `[metrics]", &old.metrics, &new.metrics);
    found.compare("history` in `[policy]", &old.policy.history, &new.policy.history);
    found.compare("keep` in `[policy]", &old.policy.keep, &new.policy.keep);
    found.compare("sessions` in `[limits]", &old.limits.sessions_max, &new.limits.sessions_max);
    found.compare("owners` in `[limits]", &old.limits.owners_max, &new.limits.owners_max);
    found.compare("session_idle` in `[timeouts]", &old.timeouts.session_idle, &new.timeouts.session_idle);
    found.compare("format` or `level` in `[log]", &old.log, &new.log);
    let (was, wanted) = (&old.kernel, &new.kernel);
    found.compare("ebpf` in `[kernel]", &was.ebpf, &wanted.ebpf);
    found.compare("interfaces` in `[kernel]", &was.interfaces, &wanted.interfaces);
    found.compare("deadline` in `[kernel]", &was.deadline, &wanted.deadline);
    found.compare("budget` in `[kernel]", &was.budget_bytes, &wanted.budget_bytes);
    found.compare("connects` in `[kernel]", &was.connects_per_second, &wanted.connects_per_second);
    found.compare("trusted` in `[kernel]", &was.trusted, &wanted.trusted);
    found.compare("pins` in `[kernel]", &was.pins, &wanted.pins);
    found.found
}

struct Findings {
    file: String,
    found: Diagnostics,
}

impl Findings {
    fn compare<T: PartialEq + Debug>(&mut self, name: &str, old: &T, new: &T) {
        if old != new {
            let message = format!("`{name}` cannot change while the gateway runs: needs a restart");
            self.found.push(
                Diagnostic::error(&*self.file, None, message).help("restart the gateway, or take the change back"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let text = format!(
            "{text}\n[server.crm]\nurl = \"http://127.0.0.1:9000/mcp\"\n[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"idp.json\"\n"
        );
        portcullis_core::config::parse(&text, "portcullis.toml", Path::new("")).unwrap().0
    }

    #[track_caller]
    fn check(new: &str, expected: &[&str]) {
        let found = changed(&settings(""), &settings(new), Path::new("portcullis.toml"));
        let said: Vec<String> = found.iter().map(|finding| finding.message.clone()).collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|name| format!("`{name} cannot change while the gateway runs: needs a restart"))
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_needs_a_restart_is_refused_by_name() {
        check("workers = 3", &["workers`"]);
        check("[listen]\naddress = \"127.0.0.1:8081\"", &["address` in `[listen]`"]);
        check(
            "[audit]\nfolder = \"elsewhere\"\ndurability = \"strict\"",
            &["folder` in `[audit]`", "durability` in `[audit]`"],
        );
        check("[control]\nsocket = \"other.sock\"", &["socket` in `[control]`"]);
        check(
            "[kernel]\ndeadline = \"5s\"\ntrusted = [\"10.0.0.0/8\"]",
            &["deadline` in `[kernel]`", "trusted` in `[kernel]`"],
        );
        check("[metrics]\naddress = \"127.0.0.1:9464\"", &["address` in `[metrics]`"]);
    }

    #[test]
    fn what_can_change_may() {
        check("", &[]);
        check("[limits]\nbody = \"1 MiB\"\n[timeouts]\ntotal = \"200s\"", &[]);
    }
}
