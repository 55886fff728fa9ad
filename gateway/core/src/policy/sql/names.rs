//! Knows names. In: identifiers as parsed, a dialect. Out: how rules name them, and whether they are safe. Never here: scopes.

use sqlparser::ast::{DataType, Ident, ObjectName, ObjectNamePart};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::{Dialect, SqlRefusal, SqlRules};

/// PostgreSQL cuts longer names to this length, so that two spellings would be one table; MySQL and others refuse them.
const NAME_BYTES_MAX: usize = 63;

/// One part of a name that can be a table's: letters, digits and `_`, and no word that could be part of the grammar.
pub(super) fn plain(ident: &Ident) -> Result<&str, SqlRefusal> {
    let Ident { value, quote_style, span: _ } = ident;
    let fits = !value.is_empty()
        && value.len() <= NAME_BYTES_MAX
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = match quote_style {
        None => !STRUCTURAL.iter().any(|word| value.eq_ignore_ascii_case(word)),
        Some('"' | '`') => true,
        Some(_) => false,
    };
    if fits && named { Ok(value) } else { Err(SqlRefusal::Name) }
}

/// Whether the parser knows the unquoted name as a word of some grammar. Before a second name it could be a modifier for a server: `UPDATE LOW_PRIORITY t`.
pub(super) fn is_keyword(ident: &Ident) -> bool {
    let Token::Word(word) = Token::make_word(&ident.value, None) else { return true };
    ident.quote_style.is_none() && word.keyword != Keyword::NoKeyword
}

/// The parts of a name without any calls in it.
pub(super) fn parts(name: &ObjectName) -> Result<Vec<&Ident>, SqlRefusal> {
    let ObjectName(parts) = name;
    let idents = parts.iter().map(|part| match part {
        ObjectNamePart::Identifier(ident) => Ok(ident),
        ObjectNamePart::Function(_) => Err(SqlRefusal::Construct),
    });
    idents.collect()
}

/// Every way in which rules may name a table.
pub(super) fn tables(parts: &[&Ident], rules: &SqlRules) -> Result<Vec<Box<str>>, SqlRefusal> {
    let checked: Vec<(&str, &Ident)> =
        parts.iter().map(|part| Ok((plain(part)?, *part))).collect::<Result<_, SqlRefusal>>()?;
    let lower = |written: &str| written.to_ascii_lowercase();
    let spelled = |fold: &dyn Fn(&str, &Ident) -> String| -> Vec<String> {
        checked.iter().map(|(written, ident)| fold(written, ident)).collect()
    };
    let spellings = match rules.dialect {
        Dialect::Postgres => vec![spelled(&|written, ident| {
            if ident.quote_style.is_none() { lower(written) } else { written.to_owned() }
        })],
        Dialect::Sqlite => vec![spelled(&|written, _| lower(written))],
        Dialect::MySql | Dialect::Generic => {
            vec![spelled(&|written, _| written.to_owned()), spelled(&|written, _| lower(written))]
        }
    };
    let mut out: Vec<Box<str>> = Vec::with_capacity(2);
    for spelling in &spellings {
        match (spelling.as_slice(), &rules.schema) {
            ([table], None) => out.push(table.as_str().into()),
            ([table], Some(schema)) => out.push(format!("{schema}.{table}").into()),
            ([schema, table], Some(_)) => out.push(format!("{schema}.{table}").into()),
            ([schema, table], None) => out.extend([format!("{schema}.{table}").into(), table.as_str().into()]),
            (_, _) => return Err(SqlRefusal::Name),
        }
    }
    if rules.dialect == Dialect::Sqlite {
        // SQLite's own tables have two names.
        let own: Vec<Box<str>> = out
            .iter()
            .filter(|name| name.contains("sqlite_") && name.ends_with("schema"))
            .map(|name| name.replace("schema", "master").into())
            .collect();
        out.extend(own);
    }
    Ok(out)
}

/// The name of a common table expression as scopes compare it. Where servers differ in whether case counts, it does here: what is then not found is a table.
pub(super) fn scoped(ident: &Ident, dialect: Dialect) -> String {
    match (dialect, ident.quote_style) {
        (Dialect::Postgres, None) | (Dialect::Sqlite, _) => ident.value.to_ascii_lowercase(),
        (Dialect::Postgres, Some(_)) | (Dialect::MySql | Dialect::Generic, _) => ident.value.clone(),
    }
}

/// Types that name nothing but a kind of value. A type by name could be a table's row type, or `regclass`, which turns a text into a table.
pub(super) fn data_type(ty: &DataType) -> Result<(), SqlRefusal> {
    use DataType as T;
    let plain = match ty {
        T::Character(_)
        | T::Char(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Varchar(_)
        | T::Nvarchar(_)
        | T::Text => true,
        T::Clob(_) | T::Binary(_) | T::Varbinary(_) | T::Blob(_) | T::Bytea | T::Uuid | T::JSON | T::JSONB => true,
        T::Numeric(_)
        | T::Decimal(_)
        | T::DecimalUnsigned(_)
        | T::Dec(_)
        | T::Float(_)
        | T::Real
        | T::Float4
        | T::Float8 => true,
        T::Double(_) | T::DoublePrecision | T::Bool | T::Boolean => true,
        T::TinyInt(_)
        | T::SmallInt(_)
        | T::MediumInt(_)
        | T::Int(_)
        | T::Int2(_)
        | T::Int4(_)
        | T::Int8(_)
        | T::Integer(_)
        | T::BigInt(_) => true,
        T::IntUnsigned(_)
        | T::IntegerUnsigned(_)
        | T::BigIntUnsigned(_)
        | T::Signed
        | T::SignedInteger
        | T::Unsigned
        | T::UnsignedInteger => true,
        T::Date | T::Time(_, _) | T::Datetime(_) | T::Timestamp(_, _) | T::Interval { fields: _, precision: _ } => true,
        T::Array(element) => return array(element),
        _ => false,
    };
    if plain { Ok(()) } else { Err(SqlRefusal::Construct) }
}

fn array(element: &sqlparser::ast::ArrayElemTypeDef) -> Result<(), SqlRefusal> {
    use sqlparser::ast::ArrayElemTypeDef as Shape;
    match element {
        Shape::SquareBracket(ty, _) => data_type(ty),
        Shape::None | Shape::AngleBracket(_) | Shape::Parenthesis(_) | Shape::Qualified(_, _) => {
            Err(SqlRefusal::Construct)
        }
    }
}

/// Words that some server takes for grammar where another, or the parser, takes a table or an alias.
const STRUCTURAL: &[&str] = &[
    "all",
    "and",
    "anti",
    "any",
    "array",
    "as",
    "asc",
    "asof",
    "at",
    "begin",
    "between",
    "by",
    "call",
    "case",
    "cast",
    "checkpoint",
    "collate",
    "commit",
    "concurrent",
    "connect",
    "copy",
    "create",
    "cross",
    "current",
    "dateadd",
    "dbcc",
    "declare",
    "default",
    "delayed",
    "delete",
    "desc",
    "describe",
    "distinct",
    "distinctrow",
    "distribute",
    "div",
    "do",
    "drop",
    "dumpfile",
    "else",
    "end",
    "escape",
    "except",
    "exec",
    "execute",
    "exists",
    "explain",
    "extended",
    "false",
    "fetch",
    "final",
    "first",
    "following",
    "for",
    "force",
    "format",
    "from",
    "full",
    "generated",
    "glob",
    "global",
    "go",
    "goto",
    "grant",
    "group",
    "grouping",
    "handler",
    "having",
    "high_priority",
    "if",
    "ignore",
    "ilike",
    "in",
    "index",
    "indexed",
    "inner",
    "insert",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "key",
    "lateral",
    "left",
    "like",
    "limit",
    "lines",
    "load",
    "local",
    "lock",
    "low_priority",
    "match",
    "match_recognize",
    "materialized",
    "merge",
    "minus",
    "mod",
    "natural",
    "next",
    "not",
    "notnull",
    "null",
    "of",
    "offset",
    "on",
    "only",
    "option",
    "or",
    "order",
    "ordinality",
    "outer",
    "outfile",
    "over",
    "overlaps",
    "partition",
    "pivot",
    "positional",
    "preceding",
    "prewhere",
    "prior",
    "procedure",
    "purge",
    "qualify",
    "quick",
    "raiserror",
    "reconfigure",
    "recursive",
    "references",
    "regexp",
    "replace",
    "return",
    "returning",
    "revert",
    "revoke",
    "right",
    "rlike",
    "rollback",
    "row",
    "rows",
    "sample",
    "select",
    "semi",
    "separator",
    "set",
    "settings",
    "share",
    "shutdown",
    "similar",
    "some",
    "sql_big_result",
    "sql_buffer_result",
    "sql_cache",
    "sql_calc_found_rows",
    "sql_no_cache",
    "sql_small_result",
    "start",
    "straight_join",
    "system",
    "table",
    "tablesample",
    "temp",
    "temporary",
    "then",
    "throw",
    "to",
    "top",
    "true",
    "truncate",
    "union",
    "unique",
    "unlogged",
    "unnest",
    "unpivot",
    "update",
    "use",
    "using",
    "value",
    "values",
    "variadic",
    "view",
    "waitfor",
    "when",
    "where",
    "while",
    "window",
    "with",
    "within",
    "without",
    "xor",
];
