//! Promises about SQL.

mod evasions;
mod sqlite;

use super::*;

fn rules(dialect: Dialect) -> SqlRules {
    SqlRules { argument: "/sql".into(), dialect, schema: None, functions: vec!["my_total".into()] }
}

/// `kinds; tables; functions`, or the name of the refusal.
fn shown(text: &str, dialect: Dialect) -> String {
    match read(text, &rules(dialect)) {
        Ok(facts) => format!("{}; {}; {}", facts.kinds.join(" "), facts.tables.join(" "), facts.functions.join(" ")),
        Err(refusal) => refusal.name().to_owned(),
    }
}

#[track_caller]
fn check(dialect: Dialect, text: &str, expected: &str) {
    assert_eq!(shown(text, dialect), expected, "given {text} in {dialect:?}");
}

const EVERY: [Dialect; 4] = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite, Dialect::Generic];

/// A statement, and the refusal it meets.
const REFUSED: [(&str, &str); 42] = [
    ("SELECT 1 FROM t WHERE a = '\0'", "sql_literal"),
    ("SELECT 1 \0", "sql_character"),
    ("SELECT 1 \\", "sql_character"),
    ("SELECT 1\rFROM t", "sql_character"),
    ("SELECT \u{fb01}nancials FROM t", "sql_character"),
    ("SELECT\u{a0}1", "sql_character"),
    ("SELECT $1 FROM t", "sql_character"),
    ("SELECT ? FROM t", "sql_character"),
    ("SELECT @a FROM t", "sql_character"),
    ("SELECT 1 # x", "sql_character"),
    ("SELECT 1 /* open", "sql_comment"),
    ("SELECT a/**/b FROM t", "sql_comment"),
    ("SELECT 1 /*! + 1 */", "sql_comment"),
    ("SELECT /*+ SET_VAR(a=1) */ 1", "sql_comment"),
    ("SELECT 1 /* a /* b */ */", "sql_comment"),
    ("SELECT 1 -- a\rFROM t", "sql_comment"),
    ("SELECT 'it\\'s'", "sql_literal"),
    ("SELECT E'a'", "sql_literal"),
    ("SELECT N'a'", "sql_literal"),
    ("SELECT 'open", "sql_literal"),
    ("SELECT 1e5from t", "sql_literal"),
    ("SELECT 1. FROM t", "sql_literal"),
    ("SELECT .5 FROM t", "sql_literal"),
    ("", "sql_unparsable"),
    ("-- nothing", "sql_unparsable"),
    ("SELEC 1", "sql_unparsable"),
    ("SELECT 1 2", "sql_unparsable"),
    ("SELECT 1; SELECT 2", "sql_several_statements"),
    ("SELECT 1; DROP TABLE t;", "sql_several_statements"),
    ("DROP TABLE t", "sql_statement"),
    ("CREATE TABLE t (a INT)", "sql_statement"),
    ("ALTER TABLE t ADD COLUMN a INT", "sql_statement"),
    ("EXPLAIN SELECT 1", "sql_statement"),
    ("COMMIT", "sql_statement"),
    ("SELECT * FROM t FOR UPDATE", "sql_construct"),
    ("SELECT * FROM a.b.c.d", "sql_name"),
    ("SELECT * FROM rows", "sql_name"),
    ("SELECT * FROM 'financials'", "sql_name"),
    ("SELECT sleep(5)", "sql_function"),
    ("SELECT pg_sleep(5)", "sql_function"),
    ("SELECT load_extension('x')", "sql_function"),
    ("SELECT pg_catalog.lower('x')", "sql_function"),
];

#[test]
fn each_refusal_has_its_statement() {
    for (text, expected) in REFUSED {
        for dialect in EVERY {
            let got = shown(text, dialect);
            // A server's own grammar may stop the parser earlier; let through it must not be.
            assert!(
                got == expected || (got == "sql_unparsable" && expected != "sql_several_statements"),
                "given {text:?} in {dialect:?}\nexpect {expected}\ngot {got}"
            );
        }
        check(Dialect::Generic, text, expected);
    }
    check(Dialect::Generic, &format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX)), "sql_too_long");
    check(Dialect::Generic, &format!("SELECT {}1", "1,".repeat(TOKENS_MAX / 2)), "sql_too_long");
    check(Dialect::Generic, &format!("SELECT 1{}", "+1".repeat(OPERATORS_MAX + 1)), "sql_too_long");
    check(
        Dialect::Generic,
        &format!("SELECT {}1{}", "(".repeat(DEPTH_MAX + 1), ")".repeat(DEPTH_MAX + 1)),
        "sql_too_deep",
    );
    let mut names: Vec<&str> = SqlRefusal::ALL.iter().map(|refusal| refusal.name()).collect();
    for name in names.clone() {
        let mut shown = REFUSED.iter().map(|(_, expected)| *expected).chain(["sql_too_long", "sql_too_deep"]);
        assert!(shown.any(|expected| expected == name), "no row for {name}");
    }
    names.dedup();
    assert_eq!(names.len(), SqlRefusal::ALL.len());
}

#[test]
fn what_runs_text_or_reads_files_is_refused() {
    use Dialect::{MySql, Postgres, Sqlite};
    let rows = [
        (Postgres, "DO 'BEGIN END'"),
        (Postgres, "EXECUTE p"),
        (Postgres, "PREPARE p AS SELECT 1"),
        (Postgres, "CALL p()"),
        (Postgres, "COPY t FROM '/etc/passwd'"),
        (Postgres, "COPY t TO PROGRAM 'sh'"),
        (Postgres, "COPY (SELECT 1) TO STDOUT"),
        (Postgres, "SET search_path TO x"),
        (Postgres, "LOAD 'x'"),
        (Postgres, "SELECT 'financials'::regclass"),
        (Postgres, "SELECT CAST('financials' AS regclass)"),
        (Postgres, "SELECT regclass 'financials'"),
        (Postgres, "SELECT to_regclass('financials')"),
        (Postgres, "SELECT NULL::financials"),
        (Postgres, "SELECT query_to_xml('SELECT 1', true, true, '')"),
        (Postgres, "SELECT pg_read_file('x')"),
        (Postgres, "SELECT lo_import('x')"),
        (Postgres, "SELECT dblink('x')"),
        (Postgres, "SELECT set_config('a', 'b', true)"),
        (Postgres, "SELECT nextval('s')"),
        (Postgres, "SELECT 1 OPERATOR(pg_catalog.+) 1"),
        (Postgres, "LISTEN x"),
        (Postgres, "VACUUM"),
        (Postgres, "LOCK TABLE t"),
        (Postgres, "MERGE INTO t USING u ON a = b WHEN MATCHED THEN DELETE"),
        (Postgres, "TABLE financials"),
        (Postgres, "SELECT * FROM t TABLESAMPLE SYSTEM (1)"),
        (Postgres, "DECLARE c CURSOR FOR SELECT 1"),
        (Postgres, "SELECT repeat('x', 1000000000)"),
        (Postgres, "SELECT * FROM generate_series(1, 1000000000)"),
        (MySql, "LOAD DATA INFILE 'x' INTO TABLE t"),
        (MySql, "SELECT 1 INTO OUTFILE '/tmp/x'"),
        (MySql, "SELECT a INTO b FROM t"),
        (MySql, "SELECT load_file('x')"),
        (MySql, "CALL p()"),
        (MySql, "DO sleep(5)"),
        (MySql, "HANDLER t OPEN"),
        (MySql, "SET @a = 1"),
        (MySql, "PREPARE s FROM 'SELECT 1'"),
        (MySql, "SHOW TABLES"),
        (MySql, "DESCRIBE financials"),
        (MySql, "DESC financials"),
        (MySql, "SELECT benchmark(1, 1)"),
        (MySql, "SELECT \"x\""),
        (MySql, "SELECT _utf8'x'"),
        (MySql, "SELECT 1 FROM t PROCEDURE analyse()"),
        (MySql, "SELECT {d '2024-01-01'}"),
        (Sqlite, "ATTACH 'x' AS y"),
        (Sqlite, "DETACH y"),
        (Sqlite, "PRAGMA writable_schema = 1"),
        (Sqlite, "VACUUM INTO 'x'"),
        (Sqlite, "SELECT * FROM pragma_table_info('t')"),
        (Sqlite, "SELECT writefile('x', 'y')"),
        (Sqlite, "SELECT fts3_tokenizer('x')"),
        (Sqlite, "SELECT [a] FROM t"),
        (Sqlite, "SELECT randomblob(1000000000)"),
        (Sqlite, "SELECT a MATCH 'x' FROM t"),
        (Sqlite, "SELECT :a"),
        (Sqlite, "REINDEX"),
    ];
    for (dialect, text) in rows {
        assert!(read(text, &rules(dialect)).is_err(), "given {text} in {dialect:?}\ngot {}", shown(text, dialect));
    }
}

#[test]
fn names_fold_as_their_server_folds_them() {
    use Dialect::{Generic, MySql, Postgres, Sqlite};
    check(Postgres, "SELECT * FROM Customers", "select; customers; ");
    check(Postgres, "SELECT * FROM \"Customers\"", "select; Customers; ");
    check(Postgres, "SELECT * FROM Public . \"Customers\"", "select; Customers public.Customers; ");
    check(Sqlite, "SELECT * FROM \"Customers\", `ORDERS`", "select; customers orders; ");
    check(MySql, "SELECT * FROM `Customers`", "select; Customers customers; ");
    check(Generic, "SELECT * FROM Shop.Customers", "select; Customers Shop.Customers customers shop.customers; ");
    check(MySql, "WITH X AS (SELECT 1) SELECT * FROM x", "select; x; ");
    check(Postgres, "WITH X AS (SELECT 1) SELECT * FROM x", "select; ; ");
    check(Postgres, "WITH \"X\" AS (SELECT 1) SELECT * FROM x", "select; x; ");
    check(Postgres, "SELECT Lower(a), MY_TOTAL(a) FROM t", "select; t; lower my_total");
    check(Postgres, "SELECT \"Lower\"(a) FROM t", "sql_function");
}

#[test]
fn common_table_expressions_hide_tables_where_every_server_says_so() {
    use Dialect::Postgres;
    check(Postgres, "WITH x AS (SELECT * FROM t) SELECT * FROM x", "select; t; ");
    check(Postgres, "WITH t AS (SELECT * FROM t) SELECT * FROM t", "select; t; ");
    check(Postgres, "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "select; b; ");
    check(Postgres, "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a", "select; ; ");
    check(Postgres, "WITH x AS (SELECT 1) SELECT * FROM public.x", "select; public.x x; ");
    check(Postgres, "SELECT * FROM (WITH x AS (SELECT 1) SELECT * FROM x) y, x", "select; x; ");
    check(Postgres, "WITH x AS (SELECT 1) DELETE FROM x", "delete select; x; ");
    check(
        Postgres,
        "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x",
        "delete insert select; t u; ",
    );
    check(Postgres, "WITH x AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM x", "select update; t; ");
}

#[test]
fn what_people_write_is_understood() {
    use Dialect::{Generic, MySql, Postgres, Sqlite};
    check(
        Postgres,
        "SELECT c.name, sum(o.total)::numeric(10, 2) AS \"Total (USD)\" FROM customers c JOIN orders AS o ON o.customer_id = c.id WHERE o.placed >= date_trunc('month', now()) - INTERVAL '1 month' GROUP BY c.name ORDER BY 2 DESC LIMIT 10;",
        "select; customers orders; date_trunc now sum",
    );
    check(
        Postgres,
        "SELECT data->>'a', data #>> '{a,b}', tags[1], a ~* '^\\d+$' FROM events WHERE tags @> ARRAY['x'] AND a ILIKE '%x%' AND b = ANY(ARRAY[1, 2])",
        "select; events; ",
    );
    check(
        Postgres,
        "SELECT * FROM customers c, LATERAL (SELECT * FROM orders o WHERE o.customer_id = c.id) x",
        "select; customers orders; ",
    );
    check(
        Postgres,
        "SELECT DISTINCT ON (a) a, extract(year FROM placed), trim(BOTH ' ' FROM name), substring(name FROM 1 FOR 2), position('a' IN name) FROM t",
        "select; t; extract position substring trim",
    );
    check(Postgres, "SELECT * INTO copy FROM t", "sql_name");
    check(Postgres, "SELECT * INTO backup FROM t", "create select; backup t; ");
    check(
        Postgres,
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING a",
        "insert update; t; ",
    );
    check(Postgres, "DELETE FROM t USING u WHERE t.a = u.a", "delete; t u; ");
    check(
        Postgres,
        "SELECT count(*) FILTER (WHERE a > 1), percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t GROUP BY GROUPING SETS ((a), ())",
        "select; t; count percentile_cont",
    );
    check(
        MySql,
        "SELECT `name`, DATE_FORMAT(placed, '%Y'), IF(a > 1, 'x', 'y') FROM shop.orders WHERE a <=> NULL LIMIT 5, 10",
        "select; orders shop.orders; date_format if",
    );
    check(MySql, "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a)", "insert update; t; values");
    check(MySql, "UPDATE t JOIN u ON t.a = u.a SET t.b = 1", "update; t u; ");
    check(MySql, "DELETE a FROM t AS a JOIN u ON a.x = u.x", "delete; t u; ");
    check(MySql, "DELETE v FROM t AS a JOIN u ON a.x = u.x", "delete; t u v; ");
    check(MySql, "SELECT GROUP_CONCAT(DISTINCT a ORDER BY a SEPARATOR ', ') FROM t", "select; t; group_concat");
    check(
        Sqlite,
        "SELECT json_extract(body, '$.a'), strftime('%Y', a) FROM notes WHERE a GLOB 'x*'",
        "select; notes; json_extract strftime",
    );
    check(Sqlite, "REPLACE INTO t VALUES (1)", "insert replace; t; ");
    check(Generic, "SELECT a FROM t WHERE b = 'it''s' AND c BETWEEN 1 AND 2 -- done", "select; t; ");
    check(Generic, "VALUES (1), (2)", "select; ; ");
}

#[test]
fn the_deepest_and_longest_texts_fit_a_small_stack() {
    let chain = |unit: &str, count: usize| format!("SELECT 1{}", unit.repeat(count));
    let rows = [
        chain("+1", OPERATORS_MAX),
        chain(" AND 1", OPERATORS_MAX),
        chain(" UNION SELECT 1", OPERATORS_MAX),
        chain(" IS NULL", OPERATORS_MAX),
        format!("SELECT {}1{}", "(".repeat(2000), ")".repeat(2000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(15), ")".repeat(15)),
        format!("SELECT {}1", "NOT ".repeat(400)),
        format!("SELECT {}1", "- ".repeat(500)),
        format!("SELECT {}1{}", "lower(".repeat(500), ")".repeat(500)),
        format!("SELECT * FROM {}t{}", "(".repeat(500), ")".repeat(500)),
        format!("SELECT {}1{}", "CASE WHEN ".repeat(300), " THEN 1 END".repeat(300)),
    ];
    let walk = move || {
        for text in rows {
            for dialect in EVERY {
                let _ = read(&text, &rules(dialect));
            }
        }
    };
    // A worker's stack has 2 MiB, and a request has used little of it.
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(walk).unwrap().join().unwrap();
}
