//! Texts that reach for the table `financials` past the facts. `evasions.txt`: the dialects a row is tried in (`p`ostgres, `m`ysql, `s`qlite, `g`eneric),
//! then the text, with `\n`, `\t`, `\r`, `\0`, `\\` and `\u{…}` as in Rust. Each is refused, or `financials` is among its tables.

use super::sqlite::Oracle;
use super::*;

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter == '\\').then(|| letters.next().unwrap()) {
            None => out.push(letter),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some('\\') => out.push('\\'),
            Some('u') => {
                let code: String = letters.by_ref().skip(1).take_while(|letter| *letter != '}').collect();
                out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
            }
            Some(other) => panic!("no escape: {other}"),
        }
    }
    out
}

#[test]
fn no_text_reaches_a_table_that_the_facts_do_not_name() {
    let oracle = Oracle::new();
    let (mut rows, mut refused, mut confirmed) = (0, 0, 0);
    for line in include_str!("evasions.txt").lines() {
        let (dialects, text) = line.split_once('|').unwrap_or_else(|| panic!("no dialects: {line}"));
        let text = unescaped(text);
        for letter in dialects.chars() {
            let dialect = match letter {
                'p' => Dialect::Postgres,
                'm' => Dialect::MySql,
                's' => Dialect::Sqlite,
                'g' => Dialect::Generic,
                other => panic!("no dialect {other}: {line}"),
            };
            match read(&text, &rules(dialect)) {
                Err(_) => refused += 1,
                Ok(facts) => assert!(
                    facts.tables.iter().any(|table| **table == *"financials"),
                    "given {line} in {dialect:?}\ngot {facts:?}"
                ),
            }
        }
        // Whatever SQLite makes of it, our facts do not say otherwise.
        if let (Ok(said), Ok(facts)) = (oracle.prepare(&text), read(&text, &rules(Dialect::Sqlite))) {
            for table in said.tables {
                assert!(
                    facts.tables.iter().any(|own| **own == *table),
                    "given {line}\nSQLite reads {table}\ngot {facts:?}"
                );
                confirmed += 1;
            }
        }
        rows += 1;
    }
    assert!(rows >= 200 && refused > 300 && confirmed > 20, "{rows} rows, {refused} refused, {confirmed} confirmed");
}
