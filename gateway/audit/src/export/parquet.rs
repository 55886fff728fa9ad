//! Writes items as rows of a Parquet file. In: items. Out: one row a call or record, with statistics and bloom filters. Never here: pairing,
//! choosing.
//!
//! Each row group is sorted by time and says so; groups follow each other in the order of the log, so that the statistics of `time` tell a reader
//! which groups it needs. `agent`, `tool`, `account` and `id` have bloom filters. The signed checkpoints under which the rows were read stand in
//! the file's metadata as `portcullis.checkpoint.ORIGIN`; `log` and `index` lead from a row back to its entry, and so to its proof.

use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{KeyValue, SortingColumn};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::parser::parse_message_type;
use ::parquet::schema::types::ColumnPath;
use portcullis_core::audit::view::Entry;

use super::calls::{Answer, Item};
use super::item;
use super::source::{Position, Source};
use super::{Both, Fault, Put, Sink, Values};

/// Rows of a group at most: large enough to read columns in one sweep, small enough to sort in memory.
const GROUP_ROWS_MAX: usize = 32_768;

/// Bytes of texts and values of a group at which it is written.
const GROUP_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One in a hundred groups is read in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Rows under way.
pub struct Rows<'r> {
    source: &'r Source,
    writer: Option<SerializedFileWriter<&'r mut (dyn Write + Send)>>,
    rows: Vec<Row>,
    bytes: usize,
    delivered: Option<Position>,
}

/// The cells of a row, in the order of [`COLUMNS`].
type Row = Vec<Cell>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Null,
    Number(i64),
    Text(String),
    List(Vec<String>),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Unix milliseconds, always there.
    Time,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A text that is looked for: with a bloom filter.
    Key,
    /// Texts.
    List,
}

/// What a cell is read off.
struct Seen<'s> {
    item: &'s Item,
    entry: &'s Entry,
    end: Option<&'s Entry>,
    origin: &'s str,
}

type Column = (&'static str, Kind, fn(&Seen<'_>) -> Cell);

/// The columns; the values stand behind them.
const COLUMNS: [Column; 38] = [
    ("time", Kind::Time, |seen| Cell::Number(seen.entry.ts)),
    ("id", Kind::Key, |seen| Cell::Text(seen.item.first.id())),
    ("log", Kind::Text, |seen| Cell::Text(seen.origin.to_owned())),
    ("index", Kind::Number, |seen| number(Some(seen.item.first.leaf.at.index))),
    ("result_index", Kind::Number, |seen| number(seen.item.end().map(|end| end.leaf.at.index))),
    ("event", Kind::Text, |seen| Cell::Text(seen.entry.event.clone())),
    ("agent", Kind::Key, |seen| text(&seen.entry.agent)),
    ("user", Kind::Text, |seen| text(&seen.entry.user)),
    ("account", Kind::Key, |seen| text(&seen.entry.account)),
    ("issuer", Kind::Text, |seen| text(&seen.entry.issuer)),
    ("jti", Kind::Text, |seen| text(&seen.entry.jti)),
    ("certificate", Kind::Text, |seen| text(&seen.entry.certificate)),
    ("source", Kind::Text, |seen| text(&seen.entry.source)),
    ("server", Kind::Text, |seen| text(&seen.entry.server)),
    ("session", Kind::Text, |seen| text(&seen.entry.session)),
    ("revision", Kind::Text, |seen| text(&seen.entry.revision)),
    ("method", Kind::Text, |seen| text(&seen.entry.method)),
    ("tool", Kind::Key, |seen| text(&seen.entry.tool)),
    ("uri", Kind::Text, |seen| text(&seen.entry.uri)),
    ("prompt", Kind::Text, |seen| text(&seen.entry.name)),
    ("request_id", Kind::Text, |seen| text(&item::request_id(seen.entry))),
    ("decision", Kind::Text, |seen| text(&seen.entry.decision)),
    ("cause", Kind::Text, |seen| text(&seen.entry.cause)),
    ("rules", Kind::List, |seen| list(&seen.entry.rules)),
    ("snapshot", Kind::Number, |seen| number(seen.entry.snapshot)),
    ("snapshot_hash", Kind::Text, |seen| text(&seen.entry.snapshot_hash)),
    ("arguments_bytes", Kind::Number, |seen| number(seen.entry.arguments_bytes)),
    ("arguments_commit", Kind::Text, |seen| text(&seen.entry.arguments_commit)),
    ("outcome", Kind::Text, |seen| outcome(seen.item)),
    ("status", Kind::Number, |seen| number(seen.end.and_then(|end| end.status).or(seen.entry.status).map(u64::from))),
    ("result_cause", Kind::Text, |seen| seen.end.map_or(Cell::Null, |end| text(&end.cause))),
    ("result_rules", Kind::List, |seen| seen.end.map_or(Cell::Null, |end| list(&end.rules))),
    ("duration_us", Kind::Number, |seen| number(seen.end.and_then(|end| end.duration_us))),
    ("redactions", Kind::Number, |seen| number(seen.end.and_then(|end| end.redactions))),
    ("rows_dropped", Kind::Number, |seen| number(seen.end.and_then(|end| end.rows_dropped))),
    ("result_bytes", Kind::Number, |seen| number(seen.end.and_then(|end| end.result_bytes))),
    ("result_commit", Kind::Text, |seen| seen.end.map_or(Cell::Null, |end| text(&end.result_commit))),
    ("actor", Kind::Text, |seen| text(&seen.entry.actor)),
];

/// The values, as JSON text; all null where they were not asked for.
const VALUES: [(&str, Kind); 2] = [("arguments", Kind::Text), ("result", Kind::Text)];

impl<'r> Rows<'r> {
    /// To be written to `out`.
    ///
    /// # Errors
    /// When the beginning of the file cannot be written.
    pub fn new(source: &'r Source, out: &'r mut (dyn Write + Send)) -> Result<Self, Fault> {
        let writer = begin(out).map_err(Fault::Parquet)?;
        Ok(Self { source, writer: Some(writer), rows: Vec::new(), bytes: 0, delivered: None })
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let Some(writer) = self.writer.as_mut().filter(|_| !rows.is_empty()) else { return Ok(()) };
        let mut order: Vec<&Row> = rows.iter().collect();
        // Stable: what was recorded in the same millisecond stays in the order of the log.
        order.sort_by_key(|row| match row.first() {
            Some(Cell::Number(time)) => *time,
            Some(Cell::Null | Cell::Text(_) | Cell::List(_)) | None => i64::MIN,
        });
        let mut group = writer.next_row_group()?;
        for (place, (_, kind)) in columns().enumerate() {
            let Some(mut column) = group.next_column()? else { break };
            let cells = order.iter().map(|row| row.get(place).unwrap_or(&Cell::Null));
            write(&mut column, kind, cells)?;
            column.close()?;
        }
        group.close().map(drop)
    }

    fn close(&mut self) -> Result<(), ParquetError> {
        self.group()?;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        for part in self.source.parts() {
            let name = format!("portcullis.checkpoint.{}", part.origin());
            writer.append_key_value_metadata(KeyValue::new(name, part.log.note().to_owned()));
        }
        writer.close().map(drop)
    }
}

impl Sink for Rows<'_> {
    fn put(&mut self, item: &Item, values: &mut dyn Values) -> Result<Put, Fault> {
        let entry = &item.first.entry;
        let origin = self.source.part(item.first.leaf.at.log).map(|part| part.origin()).unwrap_or_default();
        let seen = Seen { item, entry, end: item.result().map(|end| &end.entry), origin };
        let mut row: Row = COLUMNS.iter().map(|(_, _, cell)| cell(&seen)).collect();
        let both = Both::of(item, values)?;
        row.extend([text(&both.arguments), text(&both.result)]);
        self.bytes += row.iter().map(Cell::bytes).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.group().map_err(Fault::Parquet)?;
        }
        Ok(Put::Taken)
    }

    fn reached(&mut self, at: Position) -> Result<(), Fault> {
        self.delivered = Some(at);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.close().map_err(Fault::Parquet)
    }

    fn delivered(&self) -> Option<Position> {
        self.delivered
    }
}

impl Cell {
    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::List(texts) => texts.iter().map(String::len).sum(),
        }
    }
}

fn columns() -> impl Iterator<Item = (&'static str, Kind)> {
    COLUMNS.iter().map(|(name, kind, _)| (*name, *kind)).chain(VALUES)
}

fn begin(out: &mut (dyn Write + Send)) -> Result<SerializedFileWriter<&mut (dyn Write + Send)>, ParquetError> {
    let mut schema = "message portcullis_audit {".to_owned();
    for (name, kind) in columns() {
        schema.push_str(&match kind {
            Kind::Time => format!("required int64 {name} (TIMESTAMP(MILLIS,true));"),
            Kind::Number => format!("optional int64 {name};"),
            Kind::Text | Kind::Key => format!("optional binary {name} (STRING);"),
            Kind::List => format!(
                "optional group {name} (LIST) {{ repeated group list {{ required binary element (STRING); }} }}"
            ),
        });
    }
    schema.push('}');
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("portcullis ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: 0, descending: false, nulls_first: false }]));
    for (name, _) in columns().filter(|(_, kind)| *kind == Kind::Key) {
        properties = properties
            .set_column_bloom_filter_enabled(ColumnPath::from(name), true)
            .set_column_bloom_filter_fpp(ColumnPath::from(name), BLOOM_FALSE_POSITIVES);
    }
    SerializedFileWriter::new(out, Arc::new(parse_message_type(&schema)?), Arc::new(properties.build()))
}

/// Writes a column of a group. Levels as in the format's "Nested Encoding": how much of a value is there, and whether a list goes on.
fn write<'c>(
    column: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'c Cell>,
) -> Result<(), ParquetError> {
    let (mut numbers, mut texts, mut there, mut goes_on) =
        (Vec::new(), Vec::new(), Vec::<i16>::new(), Vec::<i16>::new());
    for cell in cells {
        match cell {
            Cell::Null => {
                there.push(0);
                goes_on.push(0);
            }
            Cell::Number(value) => {
                numbers.push(*value);
                there.push(1);
            }
            Cell::Text(text) => {
                texts.push(ByteArray::from(text.as_str()));
                there.push(1);
            }
            Cell::List(elements) if elements.is_empty() => {
                there.push(1);
                goes_on.push(0);
            }
            Cell::List(elements) => {
                for (place, element) in elements.iter().enumerate() {
                    texts.push(ByteArray::from(element.as_str()));
                    there.push(2);
                    goes_on.push(i16::from(place > 0));
                }
            }
        }
    }
    match kind {
        Kind::Time => column.typed::<Int64Type>().write_batch(&numbers, None, None),
        Kind::Number => column.typed::<Int64Type>().write_batch(&numbers, Some(&there), None),
        Kind::Text | Kind::Key => column.typed::<ByteArrayType>().write_batch(&texts, Some(&there), None),
        Kind::List => column.typed::<ByteArrayType>().write_batch(&texts, Some(&there), Some(&goes_on)),
    }
    .map(drop)
}

fn text(value: &Option<String>) -> Cell {
    value.as_ref().map_or(Cell::Null, |value| Cell::Text(value.clone()))
}

fn number(value: Option<u64>) -> Cell {
    value.map_or(Cell::Null, |value| Cell::Number(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn list(values: &[String]) -> Cell {
    Cell::List(values.to_vec())
}

/// How a call ended, also where nobody knows.
fn outcome(item: &Item) -> Cell {
    match &item.answer {
        Answer::Given(end) => text(&end.entry.outcome),
        Answer::Unknown(_) => Cell::Text("unknown".to_owned()),
        Answer::Open { .. } => Cell::Text("open".to_owned()),
        Answer::NotExpected => text(&item.first.entry.outcome),
    }
}
