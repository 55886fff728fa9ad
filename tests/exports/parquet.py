"""Asks DuckDB about a Parquet file: parquet.py FILE. Prints one JSON line of answers."""

import json
import sys

import duckdb

FILE = sys.argv[1]


def asked(query: str):
    return duckdb.execute(query, [FILE]).fetchall()


def excluded(column: str, value: str) -> list[bool]:
    return [row[-1] for row in duckdb.execute("SELECT * FROM parquet_bloom_probe(?, ?, ?)", [FILE, column, value]).fetchall()]


print(
    json.dumps(
        {
            "rows": asked("SELECT count(*) FROM read_parquet(?)")[0][0],
            "types": dict(row[:2] for row in asked("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(?))")),
            "unsorted": asked(
                "WITH numbered AS (SELECT time, lag(time) OVER (PARTITION BY file_row_number // 32768 ORDER BY file_row_number) AS before"
                " FROM read_parquet(?, file_row_number = true))"
                " SELECT count(*) FROM numbered WHERE time < before"
            )[0][0],
            "calls": asked(
                "SELECT agent, tool, account, outcome, duration_us, rules, strftime(time, '%Y-%m-%dT%H:%M:%S.%g'), index, result_index"
                " FROM read_parquet(?) WHERE agent = 'recon-17' AND list_contains(rules, 'support.cedar:3') ORDER BY index LIMIT 2"
            ),
            "outcomes": dict(asked("SELECT coalesce(outcome, '-'), count(*) FROM read_parquet(?) GROUP BY ALL")),
            "values": asked("SELECT count(arguments), count(result) FROM read_parquet(?)")[0],
            "groups": asked("SELECT count(DISTINCT row_group_id) FROM parquet_metadata(?)")[0][0],
            "statistics": asked(
                "SELECT count(*) FROM parquet_metadata(?) WHERE path_in_schema = 'time' AND stats_min_value IS NOT NULL AND stats_max_value IS NOT NULL"
            )[0][0],
            "bloom": sorted(
                {row[0] for row in asked("SELECT path_in_schema FROM parquet_metadata(?) WHERE bloom_filter_offset IS NOT NULL")}
            ),
            "absent": {column: excluded(column, "nobody") for column in ("agent", "tool", "account")},
            "present": {column: excluded(column, value) for column, value in (("agent", "recon-17"), ("tool", "read_table"))},
            "metadata": {key.decode(): value.decode() for key, value in asked("SELECT key, value FROM parquet_kv_metadata(?)")},
        },
        default=str,
    )
)
