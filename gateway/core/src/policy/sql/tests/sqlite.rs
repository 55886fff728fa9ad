//! Our facts against what a real SQLite says of the same statement while it prepares it. `statements.txt` is written by `statements.py`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;

/// What SQLite said: kinds and tables.
#[derive(Debug, Default)]
pub(super) struct Said {
    kinds: BTreeSet<&'static str>,
    pub(super) tables: BTreeSet<String>,
}

/// A database with the tables of the statements, and what its authorizer hears.
pub(super) struct Oracle {
    database: Connection,
    said: Arc<Mutex<Said>>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        let database = Connection::open_in_memory().unwrap();
        let tables = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name, region, balance); CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id, total, placed);
            CREATE TABLE financials (id INTEGER PRIMARY KEY, account, amount, quarter); CREATE TABLE notes (id INTEGER PRIMARY KEY, body, author, written);";
        database.execute_batch(tables).unwrap();
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        let hear = move |context: AuthContext<'_>| {
            let mut said = heard.lock().unwrap();
            let (kind, table) = match context.action {
                AuthAction::Select => ("select", None),
                AuthAction::Read { table_name, .. } => ("", Some(table_name)),
                AuthAction::Insert { table_name } => ("insert", Some(table_name)),
                AuthAction::Update { table_name, .. } => ("update", Some(table_name)),
                AuthAction::Delete { table_name } => ("delete", Some(table_name)),
                _ => ("", None),
            };
            said.kinds.extend(Some(kind).filter(|kind| !kind.is_empty()));
            // Names of subqueries are reported as well.
            let own = ["customers", "orders", "financials", "notes", "sqlite_master"];
            said.tables.extend(table.map(str::to_ascii_lowercase).filter(|table| own.contains(&table.as_str())));
            Authorization::Allow
        };
        database.authorizer(Some(hear)).unwrap();
        Self { database, said }
    }

    /// What it says of a statement; its error where it cannot be prepared.
    pub(super) fn prepare(&self, text: &str) -> Result<Said, String> {
        std::mem::take(&mut *self.said.lock().unwrap());
        let prepared = self.database.prepare(text).map(drop).map_err(|error| error.to_string());
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        prepared.map(|()| said)
    }
}

fn rules(schema: Option<&str>) -> SqlRules {
    SqlRules { argument: "/sql".into(), dialect: Dialect::Sqlite, schema: schema.map(Box::from), functions: Vec::new() }
}

#[test]
fn kinds_and_tables_are_what_a_real_sqlite_reports() {
    let oracle = Oracle::new();
    let mut checked = 0;
    for line in include_str!("statements.txt").lines() {
        let text = line.replace("\\n", "\n");
        let said = oracle.prepare(&text).unwrap_or_else(|error| panic!("given {text}\ngot {error}"));
        let facts = read(&text, &rules(None)).unwrap_or_else(|refusal| panic!("given {text}\ngot {refusal:?}"));
        // A qualified name counts under both spellings.
        let tables: BTreeSet<String> = facts
            .tables
            .iter()
            .filter(|name| !name.contains('.') && &***name != "sqlite_schema")
            .map(|name| name.to_string())
            .collect();
        assert_eq!(tables, said.tables, "given {text}");
        let writes = |kind: &&&str| ["insert", "update", "delete"].contains(*kind);
        let own: BTreeSet<&str> = facts.kinds.iter().filter(writes).copied().collect();
        let reported: BTreeSet<&str> = said.kinds.iter().filter(writes).copied().collect();
        assert_eq!(own, reported, "given {text}");
        // SQLite calls the reading half of `UPDATE … FROM` a selection as well; here the word itself counts.
        let selects = text.to_ascii_uppercase().contains("SELECT") || text.starts_with("VALUES");
        assert_eq!(facts.kinds.contains(&"select"), selects, "given {text}");
        checked += 1;
    }
    assert!(checked >= 500, "{checked} statements");
}

#[test]
fn a_schema_names_every_table_once() {
    let facts = read("SELECT * FROM Customers c, main.orders, other.\"Notes\"", &rules(Some("main"))).unwrap();
    assert_eq!(facts.tables, ["main.customers", "main.orders", "other.notes"].map(Box::from));
}
