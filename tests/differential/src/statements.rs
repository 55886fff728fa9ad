//! Writes SQL. In: chance, how a tool's SQL is configured. Out: statements, each with what it does or why it is refused. Never here: parsing.
//!
//! A statement is put together from parts whose meaning is known, so that what it does is not read out of its text again.

use std::collections::BTreeSet;

use crate::chance::Chance;

/// How a tool takes SQL.
#[derive(Clone, Debug)]
pub struct Sql {
    /// The path of the argument that holds it.
    pub argument: Vec<String>,
    /// Whose SQL it is.
    pub dialect: Dialect,
    /// The schema of names without one.
    pub schema: Option<&'static str>,
    /// Functions that may be called beside the safe ones.
    pub functions: Vec<&'static str>,
    /// What is asked of the tool.
    pub statements: Vec<Statement>,
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL.
    MySql,
    /// SQLite.
    Sqlite,
    /// Any other.
    Generic,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its text.
    pub text: String,
    /// What it does, or why it is refused.
    pub facts: Result<Facts, &'static str>,
}

/// What a statement does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `select` and the like.
    pub kinds: BTreeSet<&'static str>,
    /// Tables as rules name them.
    pub tables: BTreeSet<String>,
    /// Functions.
    pub functions: BTreeSet<String>,
}

/// Kinds of statements that rules look for.
pub const KINDS: [&str; 6] = ["select", "insert", "update", "delete", "replace", "create"];

/// Tables.
pub const TABLES: [&str; 4] = ["customers", "orders", "financials", "notes"];

/// Functions; the last one is safe only where it is listed.
pub const FUNCTIONS: [&str; 4] = ["lower", "count", "abs", "my_total"];

/// The schema that some statements name.
pub const SCHEMA: &str = "shop";

/// What every dialect refuses, and why; a grammar of its own may refuse it as no statement at all.
const REFUSED: [(&str, &str); 9] = [
    ("SELECT a FROM customers \\", "sql_character"),
    ("SELECT a /* b", "sql_comment"),
    ("SELECT 'a FROM customers", "sql_literal"),
    ("SELEKT a FROM customers", "sql_unparsable"),
    ("SELECT a FROM customers; DELETE FROM customers", "sql_several_statements"),
    ("DROP TABLE customers", "sql_statement"),
    ("SELECT a FROM customers FOR UPDATE", "sql_construct"),
    ("SELECT a FROM rows", "sql_name"),
    ("SELECT unheard_of(a) FROM customers", "sql_function"),
];

impl Sql {
    /// How a tool takes SQL in this argument, and what it is asked.
    pub fn new(argument: Vec<String>, chance: &mut Chance) -> Self {
        let dialect = *chance.pick(&[Dialect::Postgres, Dialect::MySql, Dialect::Sqlite, Dialect::Generic]);
        let schema = chance.percent(35).then_some(SCHEMA);
        let functions = if chance.percent(60) { vec![FUNCTIONS[3]] } else { Vec::new() };
        let mut sql = Self { argument, dialect, schema, functions, statements: Vec::new() };
        for _ in 0..chance.within(6, 12) {
            let statement = if chance.percent(25) { refused(chance) } else { sql.statement(chance) };
            sql.statements.push(statement);
        }
        sql
    }

    /// The statement of this text.
    pub fn statement_of(&self, text: &str) -> Option<&Statement> {
        self.statements.iter().find(|statement| statement.text == text)
    }

    fn statement(&self, chance: &mut Chance) -> Statement {
        let mut draft = Draft { sql: self, facts: Facts::default(), strange: false };
        let text = draft.text(chance);
        Statement { text, facts: if draft.strange { Err("sql_function") } else { Ok(draft.facts) } }
    }
}

fn refused(chance: &mut Chance) -> Statement {
    let (text, why) = match chance.below(REFUSED.len() + 2) {
        0 => (format!("SELECT 1{}", " + 1".repeat(600)), "sql_too_long"),
        1 => (format!("SELECT {}1{}", "(".repeat(40), ")".repeat(40)), "sql_too_deep"),
        other => (REFUSED[other - 2].0.to_owned(), REFUSED[other - 2].1),
    };
    Statement { text, facts: Err(why) }
}

/// A statement that is being written.
struct Draft<'s> {
    sql: &'s Sql,
    facts: Facts,
    /// Whether it calls a function that is not listed.
    strange: bool,
}

impl Draft<'_> {
    fn text(&mut self, chance: &mut Chance) -> String {
        let replaces = matches!(self.sql.dialect, Dialect::MySql | Dialect::Sqlite);
        match chance.below(10) {
            0..=4 => self.query(2, chance),
            5 => {
                self.facts.kinds.insert("insert");
                let table = self.table(chance);
                if chance.percent(50) {
                    return format!("INSERT INTO {table} (a) VALUES ({})", self.value(chance));
                }
                format!("INSERT INTO {table} (a) {}", self.query(0, chance))
            }
            6 => {
                self.facts.kinds.insert("update");
                let table = self.table(chance);
                let value = self.value(chance);
                format!("UPDATE {table} SET a = {value} WHERE {}", self.condition(1, chance))
            }
            7 if replaces => {
                // The rows that are in its way are deleted.
                self.facts.kinds.extend(["insert", "replace"]);
                let table = self.table(chance);
                format!("REPLACE INTO {table} (a) VALUES ({})", self.value(chance))
            }
            _ => {
                self.facts.kinds.insert("delete");
                let table = self.table(chance);
                format!("DELETE FROM {table} WHERE {}", self.condition(1, chance))
            }
        }
    }

    fn query(&mut self, depth: usize, chance: &mut Chance) -> String {
        self.facts.kinds.insert("select");
        let column = self.value(chance);
        if depth > 0 && chance.percent(12) {
            return format!("SELECT {column}");
        }
        let first = self.table(chance);
        let from = match chance.below(5) {
            0 => format!("{first}, {} AS t2", self.table(chance)),
            1 => format!("{first} JOIN {} AS t2 USING (id)", self.table(chance)),
            2 if depth > 0 => format!("({}) AS t1", self.query(depth - 1, chance)),
            _ => first.clone(),
        };
        if from.starts_with('(') {
            // The table stands in the condition instead.
            return format!("SELECT {column} FROM {from} WHERE a IN (SELECT a FROM {first})");
        }
        let text = format!("SELECT {column} FROM {from}");
        match chance.below(6) {
            0 | 1 => format!("{text} WHERE {}", self.condition(depth, chance)),
            2 if depth > 0 => format!("{text} UNION {}", self.query(0, chance)),
            3 => format!("{text} ORDER BY a LIMIT 10"),
            _ => text,
        }
    }

    fn condition(&mut self, depth: usize, chance: &mut Chance) -> String {
        if depth > 0 && chance.percent(30) {
            return format!("a IN ({})", self.query(depth - 1, chance));
        }
        format!("b = {}", self.value(chance))
    }

    /// A column, a literal, or a call.
    fn value(&mut self, chance: &mut Chance) -> String {
        match chance.below(8) {
            0..=2 => "a".to_owned(),
            3 => "'x; DROP TABLE notes'".to_owned(),
            4 => "1".to_owned(),
            _ => {
                let name = if chance.percent(12) { FUNCTIONS[3] } else { *chance.pick(&FUNCTIONS[..3]) };
                self.strange |= name == FUNCTIONS[3] && self.sql.functions.is_empty();
                self.facts.functions.insert(name.to_owned());
                if chance.percent(20) { format!("{}(a)", name.to_uppercase()) } else { format!("{name}(a)") }
            }
        }
    }

    /// A table as the statement names it; the facts get every name under which rules know it.
    fn table(&mut self, chance: &mut Chance) -> String {
        let lower = *chance.pick(&TABLES);
        let written = if chance.percent(12) { lower[..1].to_uppercase() + &lower[1..] } else { lower.to_owned() };
        let qualified = chance.percent(25);
        let spellings = match self.sql.dialect {
            // Names fold.
            Dialect::Postgres | Dialect::Sqlite => vec![lower.to_owned()],
            // They do on some servers.
            Dialect::MySql | Dialect::Generic => vec![lower.to_owned(), written.clone()],
        };
        for name in spellings {
            match (qualified, self.sql.schema) {
                (false, None) => {
                    self.facts.tables.insert(name);
                }
                (_, Some(schema)) => {
                    self.facts.tables.insert(format!("{schema}.{name}"));
                }
                (true, None) => {
                    self.facts.tables.insert(format!("{SCHEMA}.{name}"));
                    self.facts.tables.insert(name);
                }
            }
        }
        if qualified { format!("{SCHEMA}.{written}") } else { written }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::policy::sql;

    use super::*;

    #[test]
    fn every_statement_does_what_it_was_written_to_do() {
        let (mut judged, mut refused) = (0, BTreeSet::new());
        for seed in 0..300 {
            let own = Sql::new(vec!["sql".to_owned()], &mut Chance::new(seed));
            let rules = crate::subject::sql_rules(&own);
            for Statement { text, facts } in &own.statements {
                let got = sql::read(text, &rules).map(|facts| Facts {
                    kinds: facts.kinds.into_iter().collect(),
                    tables: facts.tables.into_iter().map(String::from).collect(),
                    functions: facts.functions.into_iter().map(String::from).collect(),
                });
                match (facts, got) {
                    (Ok(facts), got) => {
                        assert_eq!(Ok(facts), got.as_ref(), "{text} in {rules:?}");
                        judged += 1;
                    }
                    (Err(why), Err(refusal)) => {
                        assert!(refusal.name() == *why || refusal.name() == "sql_unparsable", "{text}: {refusal:?}");
                        refused.insert(refusal.name());
                    }
                    (Err(why), Ok(facts)) => panic!("{text} is no {why}: {facts:?}"),
                }
            }
        }
        assert!(judged > 1000 && refused.len() == sql::SqlRefusal::ALL.len(), "{judged} judged, {refused:?}");
    }
}
