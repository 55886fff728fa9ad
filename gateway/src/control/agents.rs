//! Edits the registry file. In: its text, an agent, a status. Out: the same text with one word changed. Never here: files.
//!
//! Comments, order and white space stay as the operator wrote them.

use portcullis_core::diagnostic::{did_you_mean, line_of};
use portcullis_core::identity::registry::Status;
use toml_edit::{DocumentMut, Item, TableLike, Value, value};

/// Why the registry was not edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditFailure {
    /// It is no TOML.
    Unreadable(String),
    /// It knows no such agent; perhaps another was meant.
    Unknown(Option<String>),
    /// A retired agent never comes back.
    Retired,
}

impl EditFailure {
    /// Cause and cure, in words for the operator.
    pub fn words(&self, id: &str) -> (String, Option<String>) {
        match self {
            Self::Unreadable(why) => (
                format!("the registry file cannot be edited: {why}"),
                Some(
                    "mend it (`portcullis check` names the file and all that is wrong with it), then try again".into(),
                ),
            ),
            Self::Unknown(near) => (
                format!("unknown agent `{id}`"),
                near.clone().or(Some("list them with `portcullis agent list`".into())),
            ),
            Self::Retired => (format!("agent `{id}` is retired"), Some("enter it anew under another id".into())),
        }
    }
}

/// The text with the agent's `status` set.
pub fn with_status(text: &str, id: &str, status: Status) -> Result<String, EditFailure> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let why = error.message().lines().next().unwrap_or("no TOML");
        EditFailure::Unreadable(match error.span() {
            Some(span) => format!("line {}: {why}", line_of(text, span.start)),
            None => why.to_owned(),
        })
    })?;
    let agents = document.get_mut("agent").and_then(Item::as_table_like_mut).ok_or(EditFailure::Unknown(None))?;
    if agents.get(id).is_none() {
        return Err(EditFailure::Unknown(did_you_mean(id, agents.iter().map(|(known, _)| known))));
    }
    let agent = agents.get_mut(id).and_then(Item::as_table_like_mut);
    let agent = agent.ok_or_else(|| EditFailure::Unreadable(format!("agent `{id}` is not a table")))?;
    set_status(agent, status)?;
    Ok(document.to_string())
}

fn set_status(agent: &mut dyn TableLike, status: Status) -> Result<(), EditFailure> {
    let Some(word) = agent.get_mut("status").and_then(Item::as_value_mut) else {
        agent.insert("status", value(status.as_str()));
        return Ok(());
    };
    if word.as_str() == Some(Status::Retired.as_str()) {
        return Err(EditFailure::Retired);
    }
    // The comment behind the word belongs to the operator.
    let decor = word.decor().clone();
    *word = Value::from(status.as_str());
    *word.decor_mut() = decor;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# Who may call.
[agent.crm-bot]          # the old one
owner = "a@example.com"
status = "active"        # reviewed in May

[agent.reader]
owner = "b@example.com"

[agent.gone]
owner = "c@example.com"
status = "retired"
"#;

    #[track_caller]
    fn check(text: &str, id: &str, status: Status, expected: Result<&str, EditFailure>) {
        assert_eq!(with_status(text, id, status), expected.map(str::to_owned));
    }

    #[test]
    fn an_agent_that_is_not_there_or_never_comes_back_is_refused() {
        check(FILE, "crm-bto", Status::Suspended, Err(EditFailure::Unknown(Some("did you mean `crm-bot`?".into()))));
        check("", "crm-bot", Status::Suspended, Err(EditFailure::Unknown(None)));
        check(FILE, "gone", Status::Active, Err(EditFailure::Retired));
        let Err(broken) = with_status("[agent.x]\nowner = \"a\"\n[agent", "x", Status::Active) else {
            panic!("edited")
        };
        let words = broken.words("x").0;
        assert!(words.starts_with("the registry file cannot be edited: line 3: "), "{words}");
        assert!(matches!(with_status("agent.x = 1", "x", Status::Active), Err(EditFailure::Unreadable(_))));
    }

    #[test]
    fn one_word_changes_and_everything_else_stays() {
        let suspended =
            FILE.replacen("status = \"active\"        # reviewed", "status = \"suspended\"        # reviewed", 1);
        check(FILE, "crm-bot", Status::Suspended, Ok(&suspended));
        check(&suspended, "crm-bot", Status::Active, Ok(FILE));
        let added =
            FILE.replacen("owner = \"b@example.com\"\n", "owner = \"b@example.com\"\nstatus = \"suspended\"\n", 1);
        check(FILE, "reader", Status::Suspended, Ok(&added));
        check(
            "agent.x = { owner = \"a\" }\n",
            "x",
            Status::Suspended,
            Ok("agent.x = { owner = \"a\" , status = \"suspended\" }\n"),
        );
    }
}
