//! Reads every file a snapshot is built from. In: the path of `portcullis.toml`. Out: all texts, or every finding of every file at once.
//! Never here: what the texts mean.

use crate::disk::{self, Guard, ReadFailure};
use crate::reload::now;
use portcullis_core::config;
use portcullis_core::config::settings::Settings;
use portcullis_core::config::snapshot::{SETTINGS_FILE, Text, Texts};
use portcullis_core::diagnostic::{Diagnostic, Diagnostics, Severity};
use std::path::{Path, PathBuf};

/// Rule files of one folder; more are a folder that was not meant.
const POLICY_FILES_MAX: usize = 10_000;

/// Reads the configuration alone.
pub fn settings(file: &Path) -> Result<(Settings, Diagnostics), Diagnostics> {
    let name = file.display().to_string();
    let text = disk::read(file, Guard::Open).map_err(|failure| {
        let finding = refused(file, &failure);
        let missing = matches!(failure, ReadFailure::Missing);
        vec![if missing {
            finding.help("write one with `portcullis init`, or name another with `--config`")
        } else {
            finding
        }]
    })?;
    config::parse(&text, &name, file.parent().unwrap_or(Path::new("")))
}

/// Reads the configuration and everything it names.
///
/// # Errors
/// Every finding of every file, if one of them is an error.
pub fn read(file: &Path) -> Result<Texts, Diagnostics> {
    let (settings, warnings) = settings(file)?;
    let mut findings = Diagnostics::new();
    let agents = text(&settings.agents_file, Guard::Open, &mut findings);
    let policies = policies(&settings.policy.folder, FOLDER_CURE, &mut findings);
    let catalogues = settings.servers.iter().map(|server| catalogue(&server.catalogue, &mut findings)).collect();
    let calendars = settings.policy.calendars.as_deref().and_then(|path| text(path, Guard::Open, &mut findings));
    let keys: Vec<Option<Text>> =
        settings.issuers.iter().map(|issuer| text(&issuer.keys, Guard::Open, &mut findings)).collect();
    let secrets = settings.secrets_file.as_deref().and_then(|path| text(path, Guard::Private, &mut findings));
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let (Some(agents), false) = (agents, refused) else {
        return Err(warnings.into_iter().chain(findings).collect());
    };
    let keys = keys.into_iter().flatten().collect();
    let warnings = warnings.into_iter().chain(findings).collect();
    Ok(Texts { settings, warnings, agents, policies, catalogues, calendars, read_at: now(), keys, secrets })
}

/// What mends a folder that the configuration names.
const FOLDER_CURE: &str = "create it, or correct `folder` in `[policy]`";

/// The rules of another folder than the one that the configuration names. One without rules would be no rules at all, and every comparison with it
/// a wrong answer to a slip of the fingers.
///
/// # Errors
/// Every finding of every file.
pub fn rules(folder: &Path) -> Result<Vec<Text>, Diagnostics> {
    const CURE: &str = "name a folder of `.cedar` files";
    let mut findings = Diagnostics::new();
    let texts = policies(folder, CURE, &mut findings);
    if texts.is_empty() && findings.is_empty() {
        let finding = Diagnostic::error(folder.display().to_string(), None, "the folder holds no `.cedar` file");
        findings.push(finding.help(CURE));
    }
    if findings.is_empty() { Ok(texts) } else { Err(findings) }
}

/// The findings with the operator's own name for the configuration file.
pub fn named(mut findings: Diagnostics, file: &Path) -> Diagnostics {
    for finding in &mut findings {
        if finding.file == SETTINGS_FILE {
            finding.file = file.display().to_string();
        }
    }
    findings
}

fn text(path: &Path, guard: Guard, findings: &mut Diagnostics) -> Option<Text> {
    match disk::read(path, guard) {
        Ok(text) => Some(Text { file: path.display().to_string(), text }),
        Err(failure) => {
            findings.push(refused(path, &failure));
            None
        }
    }
}

/// A catalogue that does not exist yet is one that was not learned yet.
fn catalogue(path: &Path, findings: &mut Diagnostics) -> Option<Text> {
    match disk::read(path, Guard::Open) {
        Ok(text) => Some(Text { file: path.display().to_string(), text }),
        Err(ReadFailure::Missing) => None,
        Err(failure) => {
            findings.push(refused(path, &failure));
            None
        }
    }
}

/// The rules of a folder, in the order of their files; `cure` is what helps where it cannot be read.
fn policies(folder: &Path, cure: &str, findings: &mut Diagnostics) -> Vec<Text> {
    let paths = match cedar_files(folder) {
        Ok(paths) => paths,
        Err(error) => {
            let finding = Diagnostic::error(
                folder.display().to_string(),
                None,
                format!("the folder of rules cannot be read: {error}"),
            );
            findings.push(finding.help(cure));
            return Vec::new();
        }
    };
    if paths.len() > POLICY_FILES_MAX {
        let message = format!("{} rule files, the limit is {POLICY_FILES_MAX}", paths.len());
        findings.push(Diagnostic::error(folder.display().to_string(), None, message));
        return Vec::new();
    }
    paths.iter().filter_map(|path| text(path, Guard::Open, findings)).collect()
}

/// The `.cedar` files of a folder, by name. Hidden ones are an editor's or a mount's, not the operator's.
fn cedar_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "cedar") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A file that was not read, as a finding.
pub fn refused(path: &Path, failure: &ReadFailure) -> Diagnostic {
    let (cause, cure) = failure.words(path);
    Diagnostic::error(path.display().to_string(), None, cause).help(cure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const CONFIG: &str = "secrets = \"secrets.toml\"\n[identity.idp]\nissuer = \"https://idp.example.com\"\nkeys = \"idp.json\"\n\
        [server.crm]\nurl = \"http://127.0.0.1:9000/mcp\"\ncredential = { header = \"authorization\", value = \"Bearer {secret:crm}\" }\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn every_file_that_cannot_be_read_is_named_at_once() {
        let folder = folder(&[("portcullis.toml", CONFIG), ("secrets.toml", "[secrets]\ncrm = \"s3cret-value\"\n")]);
        fs::set_permissions(folder.path().join("secrets.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        let findings = read(&folder.path().join("portcullis.toml")).err().unwrap();
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        for expected in [
            "agents.toml: the file does not exist",
            "idp.json: the file does not exist",
            "secrets.toml: holds secrets, and its mode 0644",
        ] {
            assert!(said.iter().any(|line| line.contains(expected)), "{expected} in {said:#?}");
        }
        let missing = read(&folder.path().join("none.toml")).err().unwrap();
        assert!(missing[0].to_string().contains("portcullis init"), "{}", missing[0]);
    }

    #[test]
    fn rules_come_in_the_order_of_their_names_and_a_missing_catalogue_is_none() {
        let files = [("portcullis.toml", CONFIG), ("agents.toml", ""), ("idp.json", "{}"), ("secrets.toml", "")];
        let folder = folder(&files);
        for name in ["b.cedar", "a.cedar", ".hidden.cedar", "a.cedar.bak", "readme.md"] {
            fs::write(folder.path().join("policies").join(name), name).unwrap();
        }
        fs::set_permissions(folder.path().join("secrets.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let texts = read(&folder.path().join("portcullis.toml")).ok().unwrap();
        assert_eq!(texts.policies.iter().map(|text| &*text.text).collect::<Vec<_>>(), ["a.cedar", "b.cedar"]);
        assert_eq!(texts.catalogues, [None]);
        assert_eq!(texts.keys.len(), 1);
    }
}
