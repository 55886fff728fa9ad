//! Reads SQL as far as rules ask about it. In: the text of an argument, how its tool is configured. Out: kinds, tables and functions, or a refusal. Never here: IO, execution.
//!
//! Whatever a server could read otherwise than we do is refused, so that the facts are about the statement that will run. Three sieves, each a list
//! of what is let through: the lexer (characters, literals and comments that every server of the dialect takes alike; its tokens are the only ones
//! the parser sees), the walk over the syntax tree (kinds of nodes), and the functions (those without effects, and those that the tool's
//! configuration adds).
//!
//! What cannot be seen in a text: what a view reads, where a search path leads, what a user's own function or operator does. So rules should permit
//! listed tables rather than forbid some, and the tool's own account in the database should be able to do no more than that.

mod expressions;
mod functions;
mod lexer;
mod names;
mod walk;
mod writes;

use sqlparser::ast::Statement;
use sqlparser::dialect::{GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::{Parser, ParserError};

use self::walk::Walk;

/// Bytes of one text. Statements that people and models write stay below 4 KiB.
pub const SQL_BYTES_MAX: usize = 16 * 1024;

/// Tokens of one text: a list of 1,000 values has 2,000.
pub const TOKENS_MAX: usize = 4096;

/// Operators of one text: they nest to the left, and what is nested is freed recursively, on a worker's stack.
pub const OPERATORS_MAX: usize = 512;

/// Nesting of one statement, which parser and walk recurse by.
pub const DEPTH_MAX: usize = 32;

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL: unquoted names fold to lower case.
    Postgres,
    /// MySQL and MariaDB: whether names fold depends on the server, so both spellings are given.
    MySql,
    /// SQLite: names fold whether quoted or not.
    Sqlite,
    /// Any other: only what all of them read alike.
    Generic,
}

/// What the configuration says of a tool that takes SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SqlRules {
    /// RFC 6901 pointer of the argument that holds the text.
    pub argument: Box<str>,
    /// Whose SQL it is.
    pub dialect: Dialect,
    /// The schema of names without one. With it every table is named `schema.table`; without it a qualified name counts under both spellings.
    pub schema: Option<Box<str>>,
    /// Functions that may be called beside the safe ones, in lower case.
    pub functions: Vec<Box<str>>,
}

/// What rules read as `context.sql`. All three sorted, each entry once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlFacts {
    /// What is done anywhere in the statement: `select`, `insert`, `update`, `delete`, `replace` (rows that are in the way are deleted), `create` (`SELECT INTO`).
    pub kinds: Vec<&'static str>,
    /// Every table that is read or written; names of common table expressions are resolved and not among them.
    pub tables: Vec<Box<str>>,
    /// Every function that is called.
    pub functions: Vec<Box<str>>,
}

/// Why a text gives no facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SqlRefusal {
    /// More than [`SQL_BYTES_MAX`] bytes, [`TOKENS_MAX`] tokens or [`OPERATORS_MAX`] operators.
    TooLong,
    /// Deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A character or operator that servers read differently, or a control character.
    Character,
    /// A comment that some servers run, or end elsewhere.
    Comment,
    /// A string, number or quoted name that servers read differently.
    Literal,
    /// No statement of the dialect.
    Unparsable,
    /// More than one statement.
    SeveralStatements,
    /// A kind of statement that is not judged: everything but SELECT, INSERT, UPDATE and DELETE.
    Statement,
    /// A part of a statement that is not judged.
    Construct,
    /// A table name or alias that could be read as something else.
    Name,
    /// A function that neither is safe by itself nor is listed for the tool.
    Function,
}

impl SqlRefusal {
    /// Every one, for tests and for documents.
    pub const ALL: [Self; 11] = [
        Self::TooLong,
        Self::TooDeep,
        Self::Character,
        Self::Comment,
        Self::Literal,
        Self::Unparsable,
        Self::SeveralStatements,
        Self::Statement,
        Self::Construct,
        Self::Name,
        Self::Function,
    ];

    /// The stable name that audit records and metrics carry.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLong => "sql_too_long",
            Self::TooDeep => "sql_too_deep",
            Self::Character => "sql_character",
            Self::Comment => "sql_comment",
            Self::Literal => "sql_literal",
            Self::Unparsable => "sql_unparsable",
            Self::SeveralStatements => "sql_several_statements",
            Self::Statement => "sql_statement",
            Self::Construct => "sql_construct",
            Self::Name => "sql_name",
            Self::Function => "sql_function",
        }
    }

    /// What the agent is told, so that it can write the statement more plainly; it names no value.
    pub fn words(self) -> &'static str {
        match self {
            Self::TooLong => "denied by policy: the SQL is too long",
            Self::TooDeep => "denied by policy: the SQL is nested too deeply",
            Self::Character => "denied by policy: the SQL holds a character or operator that is not taken",
            Self::Comment => "denied by policy: the SQL holds a comment that is not taken",
            Self::Literal => "denied by policy: the SQL holds a literal or quoted name that is not taken",
            Self::Unparsable => "denied by policy: the SQL cannot be parsed",
            Self::SeveralStatements => "denied by policy: the SQL holds more than one statement",
            Self::Statement => "denied by policy: the SQL is not a SELECT, INSERT, UPDATE or DELETE",
            Self::Construct => "denied by policy: the SQL uses a construct that is not taken",
            Self::Name => "denied by policy: the SQL uses a name that is not taken",
            Self::Function => "denied by policy: the SQL calls a function that is not listed",
        }
    }
}

/// The facts of a text.
///
/// # Errors
/// The first reason for which the text is not judged.
pub fn read(text: &str, rules: &SqlRules) -> Result<SqlFacts, SqlRefusal> {
    let tokens = lexer::tokens(text, rules.dialect)?;
    let parser = match rules.dialect {
        Dialect::Postgres => Parser::new(&PostgreSqlDialect {}),
        Dialect::MySql => Parser::new(&MySqlDialect {}),
        Dialect::Sqlite => Parser::new(&SQLiteDialect {}),
        Dialect::Generic => Parser::new(&GenericDialect {}),
    };
    let parsed = parser.with_recursion_limit(DEPTH_MAX).with_tokens(tokens).parse_statements();
    let statements: Vec<Statement> = parsed.map_err(|error| match error {
        ParserError::RecursionLimitExceeded => SqlRefusal::TooDeep,
        ParserError::TokenizerError(_) | ParserError::ParserError(_) => SqlRefusal::Unparsable,
    })?;
    match statements.as_slice() {
        [] => Err(SqlRefusal::Unparsable),
        [statement] => Walk::of(statement, rules),
        [_, _, ..] => Err(SqlRefusal::SeveralStatements),
    }
}

#[cfg(test)]
mod tests;
