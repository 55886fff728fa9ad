use serde_json::{Value, json};

use super::Store;

fn store() -> Store {
    Store::open(std::path::Path::new(":memory:")).unwrap()
}

#[track_caller]
fn check(ask: impl FnOnce(&mut Store) -> Result<Value, super::StoreError>, pointer: &str, expected: Value) {
    let got = match ask(&mut store()) {
        Ok(value) => value.pointer(pointer).cloned(),
        Err(error) => Some(json!(error.0)),
    };
    assert_eq!(got, Some(expected), "at `{pointer}`");
}

#[test]
fn an_unknown_table_is_refused_with_the_known_ones() {
    check(
        |s| s.read_table("users", 1),
        "",
        json!("there is no table `users`; there are customers, financials, orders"),
    );
    check(
        |s| s.read_table("customers\" --", 1),
        "",
        json!("there is no table `customers\" --`; there are customers, financials, orders"),
    );
}

#[test]
fn an_unknown_column_is_refused() {
    let row = json!({"quarter": "2026-Q4", "id) --": 1});
    check(
        |s| s.write_table("financials", row.as_object().unwrap()),
        "",
        json!("table `financials` has no column `id) --`; it has id, quarter, revenue_cents, profit_cents"),
    );
}

#[test]
fn two_statements_are_refused_and_neither_runs() {
    let mut store = store();
    for sql in ["DELETE FROM orders; DROP TABLE orders", "DELETE FROM orders; nonsense", ""] {
        assert!(store.run_sql(sql, 10).is_err(), "{sql}");
    }
    assert_eq!(store.run_sql("SELECT count(*) AS n FROM orders", 10).unwrap()["rows"][0]["n"], json!(4));
}

#[test]
fn no_second_database_can_be_opened() {
    let folder = std::env::temp_dir().join(format!("portcullis-crm-{}", std::process::id()));
    let file = folder.with_extension("db");
    for sql in [format!("ATTACH '{}' AS other", file.display()), format!("VACUUM INTO '{}'", file.display())] {
        assert!(store().run_sql(&sql, 10).is_err(), "{sql}");
        assert!(!file.exists(), "{sql}");
    }
}

#[test]
fn values_are_bound_and_come_back_as_they_went_in() {
    let mut store = store();
    let name = "Robert'); DROP TABLE customers; --";
    let row = json!({"name": name, "email": "r@example.com", "city": null});
    let id = store.write_table("customers", row.as_object().unwrap()).unwrap()["id"].clone();
    assert_eq!(id, json!(4));
    let rows = store.read_table("customers", 10).unwrap();
    assert_eq!(rows.pointer("/rows/3/name"), Some(&json!(name)));
    assert_eq!(rows.pointer("/rows/3/city"), Some(&Value::Null));
}

#[test]
fn rows_are_read_up_to_the_limit() {
    check(|s| s.read_table("customers", 2), "/count", json!(2));
    check(
        |s| s.read_table("customers", 9),
        "/rows/0",
        json!({
        "id": 1, "name": "Ada Moreau", "email": "ada@example.com", "city": "Lyon", "ssn": "078-05-1120"}),
    );
    check(|s| s.run_sql("SELECT name FROM customers", 1), "/count", json!(1));
}

#[test]
fn a_statement_without_rows_says_how_many_it_changed() {
    check(|s| s.run_sql("UPDATE orders SET cents = 0 WHERE customer_id = 1", 9), "/changed", json!(2));
}
