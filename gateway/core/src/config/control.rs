//! Finds the control socket in a file that is being edited. In: the text of `portcullis.toml`. Out: the socket, and the first of what is wrong
//! elsewhere. Never here: IO, a socket that the file might not mean.
//!
//! Whoever must suspend an agent now may not be told to mend the file first.

use std::path::Path;

use super::findings::Findings;
use super::settings::control::Control;
use super::{mean, parse, shaped};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, line_of};

/// The control socket that `text` names, and an error of the file that lies elsewhere, if it has one.
///
/// # Errors
/// Every error of the file, where one of them is about the socket, or could hide what the file says of it.
pub fn control(text: &str, file: &str, folder: &Path) -> Result<(Control, Option<Diagnostic>), Diagnostics> {
    let found = match parse(text, file, folder) {
        Ok((settings, _)) => return Ok((settings.control, None)),
        Err(found) => found.into_iter().filter(|finding| finding.severity == Severity::Error).collect::<Diagnostics>(),
    };
    let (mut tree, faults) = toml::de::DeTable::parse_recoverable(text);
    let others: Vec<_> = tree.get_ref().keys().filter(|key| *key.get_ref() != TABLE).cloned().collect();
    others.iter().for_each(|key| drop(tree.get_mut().remove(key)));
    let lines = lines(text);
    let fault_line = |fault: &toml::de::Error| fault.span().map(|span| line_of(text, span.start));
    let hit = faults.iter().any(|fault| fault_line(fault).is_none_or(|line| lines.contains(&line)));
    let lost = tree.get_ref().is_empty() && !lines.is_empty();
    if hit || lost {
        return Err(found);
    }
    let mut own = Findings::new(file, text);
    let typed = shaped(tree, &mut own);
    let control = mean::control_alone(typed.as_ref().and_then(|typed| typed.control.as_ref()), folder, &mut own);
    if own.refused() { Err(own.sorted()) } else { Ok((control, found.into_iter().next())) }
}

/// The table's name in the file.
const TABLE: &str = "control";

/// The lines that speak of the control socket, from 1.
fn lines(text: &str) -> Vec<u32> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.trim_start();
        let head = line.strip_prefix('[').map(|name| name.trim_start_matches(['[', ' ', '\t', '"', '\'']));
        if let Some(head) = head {
            inside = is_ours(head);
        }
        if inside || is_ours(line.trim_start_matches(['"', '\''])) {
            lines.push(number);
        }
    }
    lines
}

/// `control]`, `control = …`, `control.socket = …`; not `controls`.
fn is_ours(text: &str) -> bool {
    let after = text.strip_prefix(TABLE).map(|rest| rest.chars().next());
    after.is_some_and(|next| next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-' && next != '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The socket, then the finding, or the finding alone.
    fn check(text: &str, expected: Result<(&str, Option<&str>), &str>) {
        let got = control(text, "p.toml", Path::new("/etc/portcullis"));
        let got =
            got.map(|(control, finding)| (control.socket.display().to_string(), finding.map(|one| one.to_string())));
        let got = got.map_err(|findings| findings[0].to_string());
        let expected = expected.map(|(socket, finding)| (socket.to_owned(), finding.map(str::to_owned)));
        assert_eq!(got, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_file_that_is_wrong_about_the_socket_is_refused_with_its_finding() {
        for (text, expected) in [
            (
                "[control]\nsocket = 7\n",
                "p.toml:2: `control.socket` must be a text, not a whole number; write it like `\"…\"`",
            ),
            (
                "[control]\nsokcet = \"a.sock\"\n",
                "p.toml:2: unknown key `sokcet` in `[control]`; did you mean `socket`?",
            ),
            ("[control]\nsocket = \"\"\n", "p.toml:2: `` is no path; write the name of a file or folder"),
        ] {
            check(text, Err(expected));
        }
        for text in [
            "[control]\nsocket = \"a.sock\n",
            "[control\nsocket = \"a.sock\"\n",
            "[control]\nsocket = \"a.sock\"\nsocket = \"b.sock\"\n",
            "[control]\nsocket = \"a.sock\"\n[listen]\n[control]\nsocket = \"b.sock\"\n",
            "agents = \"\"\"\n[control]\nsocket = \"a.sock\"\n",
        ] {
            assert!(control(text, "p.toml", Path::new("")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_finding_elsewhere_leaves_the_socket_known() {
        let own = "[control]\nsocket = \"a.sock\"\n";
        let wrong = "p.toml:3: unknown key `agnets` in the file; did you mean `agents`?";
        check(&format!("\n\nagnets = \"a\"\n{own}"), Ok(("/etc/portcullis/a.sock", Some(wrong))));
        check("\n\nagnets = \"a\"\n", Ok(("/run/portcullis/control.sock", Some(wrong))));
        let (control, finding) =
            control(&format!("[listen]\naddress = \n{own}"), "p.toml", Path::new("/etc/portcullis")).unwrap();
        assert_eq!(control.socket, Path::new("/etc/portcullis/a.sock"));
        assert!(finding.unwrap().to_string().starts_with("p.toml:2: "));
        check(&format!("[server.crm]\nurl = \"http://127.0.0.1:1\"\n{own}"), Ok(("/etc/portcullis/a.sock", None)));
    }
}
