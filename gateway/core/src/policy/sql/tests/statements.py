"""Writes statements.txt: statements that a real SQLite prepares, one a line. Run: python3 statements.py > statements.txt"""
import itertools

TABLES = {"customers": ["id", "name", "region", "balance"], "orders": ["id", "customer_id", "total", "placed"],
          "financials": ["id", "account", "amount", "quarter"], "notes": ["id", "body", "author", "written"]}
CONDITIONS = ["{c} IS NOT NULL", "{c} = 1", "{c} IN (1, 2, 3)", "{c} BETWEEN 1 AND 9", "NOT {c} > 3 OR {c} = 5", "{c} LIKE 'a%' ESCAPE '!'",
              "CASE WHEN {c} > 1 THEN 1 ELSE 0 END = 1", "{c} || 'x' <> 'y''z'", "({c} + 1) * -2 < 0x1f", "coalesce({c}, 1.5e3) >= 0"]
out = []
for (table, columns), condition in itertools.product(TABLES.items(), CONDITIONS):
    where = condition.format(c=columns[1])
    out.append(f"SELECT {columns[0]}, {columns[1]} FROM {table} WHERE {where}")
    out.append(f"UPDATE {table} SET {columns[1]} = {columns[2]} WHERE {where}")
    out.append(f"DELETE FROM {table} WHERE {where}")
for table, columns in TABLES.items():
    quoted = ", ".join(f'"{column}"' for column in columns)
    out += [
        f"SELECT * FROM {table}", f"SELECT count(*) FROM {table}", f"select 1 from {table.upper()}", f'SELECT t.* FROM "{table}" AS t',
        f"SELECT t.{columns[0]} FROM `{table}` t", f"SELECT {quoted} FROM main.{table};", f"/* a note */ SELECT max({columns[2]}) -- another\nFROM {table}",
        f"SELECT DISTINCT {columns[1]} FROM {table} ORDER BY {columns[1]} DESC NULLS LAST LIMIT 5 OFFSET 2", f"SELECT {columns[1]} FROM {table} LIMIT 2, 5",
        f"SELECT {columns[1]}, sum({columns[2]}) FILTER (WHERE {columns[0]} > 1) FROM {table} GROUP BY 1 HAVING count(DISTINCT {columns[2]}) > 1",
        f"SELECT row_number() OVER (PARTITION BY {columns[1]} ORDER BY {columns[2]} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM {table}",
        f"SELECT lag({columns[1]}) OVER w FROM {table} WINDOW w AS (ORDER BY {columns[0]})",
        f"SELECT CAST({columns[1]} AS TEXT), upper(trim({columns[1]})), substr({columns[1]}, 1, 2) COLLATE NOCASE FROM {table}",
        f"SELECT strftime('%Y', {columns[3]}), julianday('now') - julianday({columns[3]}) FROM {table}", f"SELECT iif({columns[0]} > 1, 'a', 'b'), typeof({columns[1]}) FROM {table}",
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES (1, 2, 3, 4), (5, 6, 7, 8)", f"INSERT INTO {table} DEFAULT VALUES", f"INSERT OR IGNORE INTO {table} VALUES (1, 2, 3, 4)",
        f"INSERT INTO {table} ({columns[0]}) VALUES (1) ON CONFLICT DO NOTHING", f"INSERT INTO {table} ({columns[0]}) VALUES (1) ON CONFLICT ({columns[0]}) DO UPDATE SET {columns[1]} = excluded.{columns[1]}",
        f"INSERT INTO {table} ({columns[0]}) VALUES (1) RETURNING {columns[0]}, {columns[1]}", f"UPDATE {table} SET {columns[1]} = 1, {columns[2]} = {columns[2]} + 1 RETURNING *",
        f"DELETE FROM {table} WHERE {columns[0]} = 1 RETURNING {columns[0]}", f"DELETE FROM {table}", f"UPDATE OR IGNORE {table} SET {columns[1]} = 'x'",
        f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT x FROM n, {table}", f"SELECT {columns[1]} FROM {table} WHERE {columns[0]} == 1 AND {columns[1]} GLOB 'a*'",
    ]
for (a, ca), (b, cb) in itertools.permutations(TABLES.items(), 2):
    out += [
        f"SELECT a.{ca[1]}, b.{cb[1]} FROM {a} a JOIN {b} b ON a.{ca[0]} = b.{cb[0]}", f"SELECT * FROM {a}, {b}", f"SELECT x.{ca[1]} FROM {a} AS x LEFT OUTER JOIN {b} AS y USING ({ca[0]})",
        f"SELECT {ca[1]} FROM {a} NATURAL JOIN {b}", f"SELECT 1 FROM {a} CROSS JOIN {b}", f"SELECT * FROM ({a} JOIN {b} ON 1 = 1)", f"SELECT {ca[1]} FROM {a} WHERE {ca[0]} IN (SELECT {cb[0]} FROM {b})",
        f"SELECT {ca[1]} FROM {a} WHERE EXISTS (SELECT 1 FROM {b} WHERE {b}.{cb[0]} = {a}.{ca[0]})", f"SELECT (SELECT max({cb[2]}) FROM {b}) FROM {a}", f"SELECT s.c FROM (SELECT {cb[1]} AS c FROM {b}) s, {a}",
        f"SELECT {ca[1]} FROM {a} UNION SELECT {cb[1]} FROM {b}", f"SELECT {ca[1]} FROM {a} UNION ALL SELECT {cb[1]} FROM {b} EXCEPT SELECT {ca[2]} FROM {a} ORDER BY 1", f"SELECT {ca[1]} FROM {a} INTERSECT SELECT {cb[1]} FROM {b} LIMIT 3",
        f"WITH c AS (SELECT {ca[1]} AS v FROM {a}) SELECT v FROM c", f"WITH {a} AS (SELECT {cb[1]} AS v FROM {b}) SELECT v FROM {a}", f"WITH c AS (SELECT 1 AS v), d AS (SELECT v FROM c, {a}) SELECT * FROM d JOIN {b} ON 1",
        f"WITH c(v) AS (SELECT {ca[0]} FROM {a}) INSERT INTO {b} ({cb[0]}) SELECT v FROM c", f"WITH c AS (SELECT {ca[0]} AS v FROM {a}) UPDATE {b} SET {cb[1]} = (SELECT max(v) FROM c)", f"WITH c AS (SELECT {ca[0]} AS v FROM {a}) DELETE FROM {b} WHERE {cb[0]} IN (SELECT v FROM c)",
        f"WITH {b} AS (SELECT {ca[0]} AS v FROM {a}) SELECT * FROM (SELECT v FROM {b}) UNION SELECT v FROM {b}", f"INSERT INTO {a} ({ca[0]}, {ca[1]}) SELECT {cb[0]}, {cb[1]} FROM {b} WHERE {cb[0]} > 1",
        f"UPDATE {a} SET {ca[1]} = {b}.{cb[1]} FROM {b} WHERE {a}.{ca[0]} = {b}.{cb[0]}", f"UPDATE {a} AS t SET {ca[1]} = (SELECT {cb[1]} FROM {b} WHERE {cb[0]} = t.{ca[0]})", f"DELETE FROM {a} WHERE {ca[0]} NOT IN (SELECT {cb[0]} FROM {b} WHERE {cb[1]} = {ca[1]})",
        f"INSERT INTO {a} ({ca[0]}) VALUES ((SELECT max({cb[0]}) FROM {b}))", f"INSERT INTO {a} ({ca[0]}) SELECT {cb[0]} FROM {b} WHERE 1 ON CONFLICT ({ca[0]}) DO UPDATE SET {ca[1]} = (SELECT min({cb[1]}) FROM {b})", f"SELECT CASE WHEN EXISTS (SELECT * FROM {b}) THEN {ca[1]} END FROM {a} ORDER BY (SELECT count(*) FROM {b})",
        f"SELECT {ca[1]} FROM {a} WHERE {ca[0]} = (WITH q AS (SELECT {cb[0]} AS i FROM {b}) SELECT min(i) FROM q)",
    ]
out += ["SELECT 1", "VALUES (1, 2), (3, 4)", "SELECT 'financials'", "SELECT 1 AS financials", "SELECT financials.id FROM customers financials", "SELECT '-- ; /*' FROM orders", "SELECT ';' ;", "SELECT name AS \"Total (USD)\" FROM customers",
        "REPLACE INTO customers VALUES (1, 2, 3, 4)", "INSERT OR REPLACE INTO orders VALUES (1, 2, 3, 4)", "UPDATE OR REPLACE notes SET id = 3", "SELECT name FROM sqlite_master", "SELECT name FROM sqlite_schema"]
for statement in out:
    print(statement.replace("\n", "\\n"))
