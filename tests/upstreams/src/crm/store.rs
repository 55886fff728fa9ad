//! Keeps the tables in one SQLite file. In: table names, rows, SQL. Out: JSON values, or words that say what is wrong.
//! Names of tables and columns come from the database itself; values are always bound, never spliced into SQL.

use std::path::Path;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::limits::Limit;
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Batch, Connection, Statement, params_from_iter};
use serde_json::{Map, Value, json};

/// The database behind the tools.
pub struct Store {
    connection: Connection,
}

/// What went wrong, in words for the caller of the tool.
#[derive(Debug)]
pub struct StoreError(pub String);

impl<E: std::error::Error> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl Store {
    /// Opens the file, and fills it with sample tables if it has none.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(file)?;
        // No second database: `ATTACH` and `VACUUM INTO` could write to any file of this user.
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))?;
        if tables == 0 {
            connection.execute_batch(SAMPLE)?;
        }
        Ok(Self { connection })
    }

    /// The first `limit` rows of a table: `{"table", "count", "rows": [{column: value}]}`.
    pub fn read_table(&mut self, table: &str, limit: u64) -> Result<Value, StoreError> {
        let table = self.known_table(table)?;
        let sql = format!("SELECT * FROM {} ORDER BY rowid LIMIT ?1", quoted(&table));
        let mut statement = self.connection.prepare(&sql)?;
        let rows = collect(&mut statement, [Cell::Integer(i64::try_from(limit)?)], limit)?;
        Ok(json!({"table": table, "count": rows.len(), "rows": rows}))
    }

    /// Adds a row: `{"table", "id"}`.
    pub fn write_table(&mut self, table: &str, row: &Map<String, Value>) -> Result<Value, StoreError> {
        let table = self.known_table(table)?;
        let columns = self.columns(&table)?;
        if let Some(unknown) = row.keys().find(|name| !columns.contains(name)) {
            return Err(StoreError(format!(
                "table `{table}` has no column `{unknown}`; it has {}",
                columns.join(", ")
            )));
        }
        if row.is_empty() {
            return Err(StoreError("a row needs at least one column".to_owned()));
        }
        let names: Vec<String> = row.keys().map(|name| quoted(name)).collect();
        let places = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", quoted(&table), names.join(", "));
        let cells = row.values().map(cell).collect::<Result<Vec<Cell>, StoreError>>()?;
        self.connection.execute(&sql, params_from_iter(cells))?;
        Ok(json!({"table": table, "id": self.connection.last_insert_rowid()}))
    }

    /// Runs one statement: `{"columns", "rows", "count"}`, or `{"changed"}` for one that returns nothing.
    pub fn run_sql(&mut self, sql: &str, limit: u64) -> Result<Value, StoreError> {
        let mut batch = Batch::new(&self.connection, sql);
        let mut statement = batch.next()?.ok_or_else(|| StoreError("there is no statement".to_owned()))?;
        if !matches!(batch.next(), Ok(None)) {
            return Err(StoreError("only one statement at a time".to_owned()));
        }
        if statement.column_count() == 0 {
            return Ok(json!({"changed": statement.execute([])?}));
        }
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let rows = collect(&mut statement, [], limit)?;
        Ok(json!({"columns": columns, "count": rows.len(), "rows": rows}))
    }

    fn known_table(&self, name: &str) -> Result<String, StoreError> {
        let tables = self.names("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", [])?;
        let known = tables.iter().find(|table| *table == name).cloned();
        known.ok_or_else(|| StoreError(format!("there is no table `{name}`; there are {}", tables.join(", "))))
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, StoreError> {
        self.names("SELECT name FROM pragma_table_info(?1)", [table])
    }

    fn names<P: rusqlite::Params>(&self, sql: &str, values: P) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let names = statement.query_map(values, |row| row.get(0))?;
        Ok(names.collect::<Result<Vec<String>, rusqlite::Error>>()?)
    }
}

fn collect<const N: usize>(
    statement: &mut Statement<'_>,
    cells: [Cell; N],
    limit: u64,
) -> Result<Vec<Value>, StoreError> {
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = statement.query(params_from_iter(cells))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        if rows.len() as u64 == limit {
            break;
        }
        let mut object = Map::new();
        for (index, column) in columns.iter().enumerate() {
            object.insert(column.clone(), json_value(row.get_ref(index)?));
        }
        rows.push(Value::Object(object));
    }
    Ok(rows)
}

fn json_value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => json!(String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => json!(format!("{} bytes", bytes.len())),
    }
}

fn cell(value: &Value) -> Result<Cell, StoreError> {
    match value {
        Value::Null => Ok(Cell::Null),
        Value::Bool(truth) => Ok(Cell::Integer(i64::from(*truth))),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Cell::Integer(whole)),
            (None, Some(real)) => Ok(Cell::Real(real)),
            (None, None) => Err(StoreError(format!("`{number}` is out of range"))),
        },
        Value::String(text) => Ok(Cell::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => Err(StoreError("a column holds one value, no list or object".to_owned())),
    }
}

/// An SQL identifier, with its quotes doubled (SQL-92 §5.2).
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The sample tables: enough to show a rule on a table, a column to redact, and a table that is nobody's business.
const SAMPLE: &str = "
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT, ssn TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id),
    item TEXT NOT NULL, cents INTEGER NOT NULL, placed TEXT NOT NULL);
CREATE TABLE financials (id INTEGER PRIMARY KEY, quarter TEXT NOT NULL, revenue_cents INTEGER NOT NULL,
    profit_cents INTEGER NOT NULL);
INSERT INTO customers (name, email, city, ssn) VALUES
    ('Ada Moreau', 'ada@example.com', 'Lyon', '078-05-1120'),
    ('Bruno Keller', 'bruno@example.com', 'Berlin', '219-09-9999'),
    ('Chidi Okafor', 'chidi@example.com', 'Lagos', '457-55-5462');
INSERT INTO orders (customer_id, item, cents, placed) VALUES
    (1, 'desk', 42900, '2026-09-14'), (1, 'lamp', 5900, '2026-09-21'),
    (2, 'chair', 18900, '2026-10-02'), (3, 'shelf', 12900, '2026-10-17');
INSERT INTO financials (quarter, revenue_cents, profit_cents) VALUES
    ('2026-Q1', 918273600, 123456700), ('2026-Q2', 1029384700, 142536400), ('2026-Q3', 1102938400, 151617100);
";

#[cfg(test)]
mod tests;
