//! Holds what was typed of SQL. In: TOML. Out: the same, each value with its place. Never here: defaults, meaning.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::at::At;

/// An argument that holds SQL.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Sql {
    /// JSON pointer of the argument.
    #[schemars(required, extend("examples" = ["/sql"]))]
    pub argument: Option<At<String>>,
    /// Whose SQL it is.
    #[schemars(required)]
    pub dialect: Option<At<DialectText>>,
    /// The schema of tables named without one; every table is then `schema.table` to rules.
    #[schemars(extend("examples" = ["public"]))]
    pub schema: Option<At<String>>,
    /// Functions that may be called beside those without effects.
    #[serde(default)]
    pub functions: Vec<At<String>>,
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DialectText {
    /// PostgreSQL
    Postgres,
    /// MySQL and MariaDB
    Mysql,
    /// SQLite
    Sqlite,
    /// only what all of them read alike
    Generic,
}
