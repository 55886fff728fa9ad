//! Holds every statement that the index is written and asked with. In: nothing. Out: SQL. Never here: running it.
//!
//! They stand together so that a test can hold the plan of each against the promise that none reads a whole table. Words are numbers here
//! (`word`), positions are entries of all logs in one row of numbers: `log.base` and the index in the tree.

/// Raised whenever a table changes its meaning; an index of another version is built anew.
pub const VERSION: i64 = 1;

/// The tables. `call` has one row a call, and one for each record that is no part of one.
///
/// `posting` says which rows have a property: for each word of a facet and each block of 16,384 positions the places within the block, two
/// bytes each, in no order. It takes the place of ten indexes on `call` at a fraction of their cost: what is written lies together, at the end.
/// A question looks at block after block from the newest on; a hundred million entries are six thousand of them.
pub const TABLES: &str = "
CREATE TABLE log(number INTEGER PRIMARY KEY, base INTEGER NOT NULL, size INTEGER NOT NULL, edge BLOB NOT NULL, origin TEXT NOT NULL, root BLOB,
  ts INTEGER NOT NULL);
CREATE TABLE word(code INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE call(
  id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, boot INTEGER, shard INTEGER, seq INTEGER, event INTEGER NOT NULL,
  agent INTEGER, user INTEGER, account INTEGER, source INTEGER, server INTEGER, method INTEGER, tool INTEGER, uri INTEGER, name INTEGER,
  decision INTEGER, cause INTEGER, rules INTEGER, snapshot INTEGER, arguments_bytes INTEGER, actor INTEGER, more TEXT,
  begun INTEGER, result INTEGER, status INTEGER, outcome INTEGER, result_cause INTEGER, duration_us INTEGER, result_bytes INTEGER,
  result_more TEXT);
CREATE TABLE open(boot INTEGER, shard INTEGER, seq INTEGER, id INTEGER NOT NULL, PRIMARY KEY(boot, shard, seq)) WITHOUT ROWID;
CREATE TABLE posting(block INTEGER, facet INTEGER, word INTEGER, places BLOB NOT NULL, PRIMARY KEY(block, facet, word)) WITHOUT ROWID;
CREATE TABLE total(facet INTEGER, word INTEGER, n INTEGER NOT NULL, PRIMARY KEY(facet, word)) WITHOUT ROWID;
CREATE TABLE span(boot INTEGER, shard INTEGER, block INTEGER, seq_first INTEGER NOT NULL, seq_last INTEGER NOT NULL,
  ts_first INTEGER NOT NULL, ts_last INTEGER NOT NULL, PRIMARY KEY(boot, shard, block)) WITHOUT ROWID;
CREATE INDEX span_first ON span(ts_first, block);
CREATE INDEX span_last ON span(ts_last, block);
CREATE TABLE used(day INTEGER, event INTEGER, agent INTEGER, server INTEGER, tool INTEGER, decision INTEGER, cause INTEGER,
  n INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY(day, event, agent, server, tool, decision, cause)) WITHOUT ROWID;
CREATE TABLE latency(bucket INTEGER PRIMARY KEY, n INTEGER NOT NULL);
";

/// Empties the file.
pub const CLEAR: &str = "
DROP TABLE IF EXISTS log; DROP TABLE IF EXISTS word; DROP TABLE IF EXISTS call; DROP TABLE IF EXISTS open; DROP TABLE IF EXISTS posting;
DROP TABLE IF EXISTS total; DROP TABLE IF EXISTS span; DROP TABLE IF EXISTS used; DROP TABLE IF EXISTS latency;
";

macro_rules! statements {
    ($($(#[doc = $doc:literal])+ $name:ident = $sql:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $sql;)+
        /// Every statement with its name.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}

statements! {
    /// How far each log is in the index.
    LOGS = "SELECT number, base, size, edge, origin, root, ts FROM log WHERE number >= 0 ORDER BY number";
    /// Says so.
    LOG_SET = "INSERT OR REPLACE INTO log VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    /// The number of a word.
    WORD_CODE = "SELECT code FROM word WHERE text = ?1";
    /// A new word.
    WORD_ADD = "INSERT INTO word(text) VALUES(?1)";
    /// The word of a number.
    WORD_TEXT = "SELECT text FROM word WHERE code = ?1";
    /// A new row.
    CALL_ADD = "INSERT INTO call VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29,?30)";
    /// The same of a call that has nothing but what most have.
    CALL_ADD_PLAIN = "INSERT INTO call(id, ts, boot, shard, seq, event, agent, user, account, source, server, method, tool, decision, rules,
        snapshot, arguments_bytes, result, status, outcome, duration_us, result_bytes)
        VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22)";
    /// The end of a call whose decision was in the index before.
    CALL_END = "UPDATE call SET result=?2, status=coalesce(?3, status), outcome=?4, result_cause=?5, duration_us=?6, result_bytes=?7, result_more=?8 WHERE id=?1";
    /// The beginning of a release, likewise.
    CALL_BEGUN = "UPDATE call SET begun=?2, status=?3 WHERE id=?1";
    /// What the day's counts need of such a call.
    CALL_KEY = "SELECT agent, server, tool, method FROM call WHERE id=?1";
    /// One row.
    CALL_ONE = "SELECT * FROM call WHERE id = ?1";
    /// Rows between two positions, newest first.
    CALL_WALK = "SELECT * FROM call WHERE id >= ?1 AND id < ?2 ORDER BY id DESC";
    /// What a report on an account needs of a row.
    CALL_TOUCH = "SELECT ts, agent, user, server, tool, method, decision FROM call WHERE id = ?1";
    /// The oldest time there is.
    CALL_FIRST = "SELECT ts FROM call WHERE id >= 0 ORDER BY id LIMIT 1";
    /// The newest, and the start of the gateway it is of.
    CALL_LAST = "SELECT ts, boot FROM call WHERE id >= 0 AND boot IS NOT NULL ORDER BY id DESC LIMIT 1";
    /// A call that has not ended.
    OPEN_ADD = "INSERT OR REPLACE INTO open VALUES(?1, ?2, ?3, ?4)";
    /// Whether one has not.
    OPEN_ONE = "SELECT id FROM open WHERE boot=?1 AND shard=?2 AND seq=?3";
    /// It has.
    OPEN_END = "DELETE FROM open WHERE boot=?1 AND shard=?2 AND seq=?3";
    /// All that have not.
    OPEN_ALL = "SELECT id FROM open WHERE boot >= 0";
    /// Rows that have a property.
    POSTING_ADD = "INSERT INTO posting VALUES(?1,?2,?3,?4) ON CONFLICT(block, facet, word)
        DO UPDATE SET places = CAST(places || excluded.places AS BLOB)";
    /// Those of one block.
    POSTING_ONE = "SELECT places FROM posting WHERE block=?1 AND facet=?2 AND word=?3";
    /// More rows have a word of a facet of few words.
    TOTAL_ADD = "INSERT INTO total VALUES(?1,?2,?3) ON CONFLICT(facet, word) DO UPDATE SET n = n + excluded.n";
    /// Whether any has.
    TOTAL_ONE = "SELECT n FROM total WHERE facet=?1 AND word=?2";
    /// How many rows have each word of such a facet.
    TOTAL_ALL = "SELECT word, n FROM total WHERE facet=?1";
    /// What a block holds of a shard.
    SPAN_ADD = "INSERT INTO span VALUES(?1,?2,?3,?4,?5,?6,?7) ON CONFLICT(boot, shard, block) DO UPDATE SET
        seq_first=min(seq_first, excluded.seq_first), seq_last=max(seq_last, excluded.seq_last),
        ts_first=min(ts_first, excluded.ts_first), ts_last=max(ts_last, excluded.ts_last)";
    /// The first block with something as new as this.
    SPAN_FROM = "SELECT min(block) FROM span WHERE ts_last >= ?1";
    /// The last block with something older than this.
    SPAN_TO = "SELECT max(block) FROM span WHERE ts_first < ?1";
    /// Blocks in which a record may stand.
    SPAN_HOLDING = "SELECT block FROM span WHERE boot=?1 AND shard=?2 AND seq_first<=?3 AND seq_last>=?3 ORDER BY block";
    /// Counts of a day.
    USED_ADD = "INSERT INTO used VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)
        ON CONFLICT(day, event, agent, server, tool, decision, cause)
        DO UPDATE SET n = n + excluded.n, first = min(first, excluded.first), last = max(last, excluded.last)";
    /// Counts of a span of days.
    USED_DAYS = "SELECT event, agent, server, tool, decision, cause, sum(n), min(first), max(last) FROM used
        WHERE day BETWEEN ?1 AND ?2 GROUP BY event, agent, server, tool, decision, cause";
    /// Calls that took as long as this.
    LATENCY_ADD = "INSERT INTO latency VALUES(?1, ?2) ON CONFLICT(bucket) DO UPDATE SET n = n + excluded.n";
    /// All of them, quickest first.
    LATENCY_ALL = "SELECT bucket, n FROM latency WHERE bucket >= 0 ORDER BY bucket";
}
