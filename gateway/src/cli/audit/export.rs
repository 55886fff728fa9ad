//! `portcullis audit export`: takes records out of the signed log. In: the logs in the audit folder, a span, a form. Out: a file, lines, or what a
//! receiver took; how many, under which checkpoint, and where to go on. Never here: the forms.

use super::indexed;
use crate::cli::{End, Failure, Outcome, Ways, counted, say};
use crate::disk::{self, Guard};
use crate::logged::{Reading, events};
use crate::{asked, tls};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use portcullis_audit::export::endpoint::{Endpoint, Scheme};
use portcullis_audit::export::jsonl::Jsonl;
use portcullis_audit::export::ocsf::Ocsf;
use portcullis_audit::export::otlp::Otlp;
use portcullis_audit::export::outlet::Outlet;
use portcullis_audit::export::parquet::Rows;
use portcullis_audit::export::source::{Position, Source, SourceError};
use portcullis_audit::export::syslog::Syslog;
use portcullis_audit::export::{self, Broken, Fault, NoValues, OpenCalls, Progress, Span, Summary, Values};
use portcullis_audit::reader::Reader;
use portcullis_core::audit::leaf::Value;
use rustls::ClientConfig;
use serde_json::json;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The leaves as they were hashed, a line each
    Jsonl,
    /// OCSF 1.9 API Activity events, a line each
    Ocsf,
    /// Columns, a row a call
    Parquet,
    /// OpenTelemetry logs, posted over HTTP
    Otlp,
    /// RFC 5424 messages
    Syslog,
}

/// What to take, and where to.
#[derive(Args, Clone, Debug)]
pub struct Export {
    /// In which form
    #[arg(short, long, value_enum)]
    pub format: Format,
    /// Only what was recorded at this time or later, RFC 3339 or a day; of a call its decision counts
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only what was recorded before this time; of a call its decision counts
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Only what stands behind this entry: LOG/INDEX as an export before told it, or INDEX of the newest log
    #[arg(long, value_name = "INDEX", conflicts_with = "cursor")]
    pub after: Option<String>,
    /// Go on where this file says, and write into it how far it came
    #[arg(long, value_name = "FILE")]
    pub cursor: Option<PathBuf>,
    /// Give calls that have no end yet as well; they come again with their end
    #[arg(long)]
    pub open: bool,
    /// With the arguments and results, where they are kept and not erased
    #[arg(long)]
    pub values: bool,
    /// The file to write, whole or not at all; standard output if none is named (`jsonl`, `ocsf`)
    #[arg(short, long, value_name = "FILE", conflicts_with = "endpoint")]
    pub output: Option<PathBuf>,
    /// The receiver: http:// or https:// (`otlp`), tcp://, tls:// or udp:// (`syslog`), HOST, perhaps :PORT and a path
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Trust these certificates at the receiver instead of the public ones
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub ca: Option<PathBuf>,
    /// A private file with further lines of the request's head, such as `Authorization: Bearer …` (`otlp`)
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub headers: Option<PathBuf>,
}

/// Writes down that the log is read: in which form, where to, and how many leaves or calls. Asked for before anything gets out; an export that cannot be
/// recorded is none.
fn recorded(run: (&Export, &Ways), how: &str, count: u64) -> Result<(), Failure> {
    let (asked, ways) = run;
    let to = match (&asked.output, &asked.endpoint) {
        (Some(file), _) => format!(" to `{}`", file.display()),
        (None, Some(endpoint)) => format!(" to {endpoint}"),
        (None, None) => String::new(),
    };
    let named = [("from", &asked.from), ("to", &asked.to), ("after", &asked.after)];
    let named = named.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
    let values = if asked.values { " with values" } else { "" };
    let what = format!("export {}{to}{}{values}{how}", name(asked.format), named.collect::<String>());
    indexed::record(ways, &Reading { what, count })
}

/// What is not written whole or not at all is recorded before its first byte, and again with its count.
const BEGUN: &str = ", begun";

/// Values as an export takes them.
struct Kept(Reader);

impl Values for Kept {
    fn of(&mut self, at: Position) -> io::Result<Option<String>> {
        let values = self.0.values(at.log, at.index)?;
        let text = |value| match value {
            Value::Json(json) => String::from_utf8(json).ok(),
            // The record has the commitment to it; a digest alone is no value.
            Value::Digest(_) => None,
        };
        Ok(values.arguments.or(values.result).and_then(text))
    }
}

/// Where values come from; none where none are asked for.
fn values(asked: &Export, folder: &Path) -> Result<Box<dyn Values>, Failure> {
    if !asked.values {
        return Ok(Box::new(NoValues));
    }
    Ok(Box::new(Kept(events::Values::open(folder)?.into_reader())))
}

/// Where it goes to.
enum Target {
    File(PathBuf),
    Standard,
    Receiver(Endpoint),
}

/// Runs the verb.
pub fn export(asked: &Export, ways: &Ways) -> Outcome {
    let folder = super::folder(ways)?;
    let target = target(asked)?;
    let source = Source::open(&folder).map_err(|cause| unopened(&cause, &folder))?;
    let span = span(asked, &source)?;
    let bar = bar();
    let mut values = values(asked, &folder)?;
    let cursor = asked.cursor.as_deref().filter(|_| matches!(target, Target::Receiver(_)));
    let mut marked = span.after;
    let mut unmarked = None;
    let mut progress = |seen: Progress| {
        bar.set_length(seen.total);
        bar.set_position(seen.read);
        if let (Some(cursor), Some(at)) = (cursor, seen.delivered.filter(|at| marked < Some(*at))) {
            marked = Some(at);
            unmarked = mark(cursor, at).err().or(unmarked.take());
        }
    };
    let run = Run { asked, ways, source: &source, span: &span, values: values.as_mut(), progress: &mut progress };
    let done = match &target {
        Target::File(path) => to_file(run, path),
        Target::Standard => to_standard(run),
        Target::Receiver(endpoint) => to_receiver(run, endpoint),
    };
    bar.finish_and_clear();
    if let Some(cause) = unmarked {
        return Err(unwritten(&cause, asked.cursor.as_deref().unwrap_or(Path::new("-"))));
    }
    let (summary, turned_down) = match done {
        Ok(done) => done,
        Err(Stop::Failure(failure)) => return Err(failure),
        // A reader that has seen enough (`| head`) ends it, and that is no failure.
        Err(Stop::Broken(Broken { fault: Fault::Write(cause), .. }))
            if cause.kind() == io::ErrorKind::BrokenPipe && matches!(target, Target::Standard) =>
        {
            return Ok(End::Done);
        }
        Err(Stop::Broken(broken)) => {
            if let (Some(cursor), Some(at)) = (cursor, broken.done.delivered) {
                mark(cursor, at).map_err(|cause| unwritten(&cause, cursor))?;
            }
            return Err(ended(asked, &target, &span, broken));
        }
    };
    let next = summary.delivered.or(span.after);
    if let (Some(cursor), Some(next)) = (&asked.cursor, next) {
        mark(cursor, next).map_err(|cause| unwritten(&cause, cursor))?;
    }
    tell(&Told { asked, ways, target: &target, source: &source, summary: &summary, turned_down, next });
    Ok(if turned_down > 0 { End::Refused } else { End::Done })
}

struct Run<'r> {
    asked: &'r Export,
    ways: &'r Ways,
    source: &'r Source,
    span: &'r Span,
    values: &'r mut dyn Values,
    progress: &'r mut dyn FnMut(Progress),
}

enum Stop {
    Failure(Failure),
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

type Done = Result<(Summary, u64), Stop>;

impl Run<'_> {
    /// Lines or columns into a writer.
    fn write(self, out: &mut (dyn Write + Send)) -> Result<Summary, Stop> {
        let Self { asked, source, span, values, progress, .. } = self;
        Ok(match asked.format {
            Format::Jsonl => export::leaves(source, span, &mut Jsonl::new(source, out, values), progress)?,
            Format::Ocsf => export::calls(source, span, &mut Ocsf::new(source, out), values, progress)?,
            Format::Parquet => {
                let mut rows = Rows::new(source, out).map_err(broken)?;
                export::calls(source, span, &mut rows, values, progress)?
            }
            Format::Otlp | Format::Syslog => unreachable_form(asked.format)?,
        })
    }
}

/// `target` has paired forms and places; this keeps a mistake there from writing anything.
fn unreachable_form(format: Format) -> Result<Summary, Failure> {
    Err(Failure { message: format!("`{}` is sent, not written", name(format)), help: None })
}

fn broken(fault: Fault) -> Stop {
    Stop::Broken(Broken { fault, done: Summary::default() })
}

fn to_file(run: Run<'_>, path: &Path) -> Done {
    let mut outlet = Outlet::begin(path).map_err(|cause| unwritten(&cause, path))?;
    let whose = (run.asked, run.ways);
    let summary = run.write(&mut outlet)?;
    recorded(whose, "", summary.records)?;
    outlet.commit().map_err(|cause| unwritten(&cause, path))?;
    Ok((summary, 0))
}

fn to_standard(run: Run<'_>) -> Done {
    let whose = (run.asked, run.ways);
    recorded(whose, BEGUN, 0)?;
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout());
    let summary = run.write(&mut out)?;
    recorded(whose, "", summary.records)?;
    Ok((summary, 0))
}

fn to_receiver(run: Run<'_>, endpoint: &Endpoint) -> Done {
    let Run { asked, ways, source, span, values, progress } = run;
    recorded((asked, ways), BEGUN, 0)?;
    let tls = match endpoint.scheme {
        Scheme::Https | Scheme::Tls => Some(trust(asked.ca.as_deref(), endpoint.scheme)?),
        Scheme::Http | Scheme::Tcp | Scheme::Udp => None,
    };
    let (result, turned_down) = match endpoint.scheme {
        Scheme::Http | Scheme::Https => {
            let fields = asked.headers.as_deref().map(headers).transpose()?.unwrap_or_default();
            let mut pause = std::thread::sleep;
            let mut sink = Otlp::new(source, endpoint, tls, &fields, &mut pause);
            let result = export::calls(source, span, &mut sink, values, progress);
            (result, sink.turned_down)
        }
        Scheme::Tcp | Scheme::Tls | Scheme::Udp => {
            let mut sink = Syslog::new(source, endpoint, tls, &host()).map_err(broken)?;
            (export::calls(source, span, &mut sink, values, progress), 0)
        }
    };
    let sent = match &result {
        Ok(summary) => summary,
        Err(broken) => &broken.done,
    };
    // What was sent was read, whether or not the rest went well.
    recorded((asked, ways), "", sent.records)?;
    Ok((result?, turned_down))
}

fn target(asked: &Export) -> Result<Target, Failure> {
    let form = name(asked.format);
    let wants = |help: &str| Failure::new(format!("`{form}` cannot go there"), help);
    match (asked.format, &asked.output, &asked.endpoint) {
        (Format::Otlp | Format::Syslog, _, None) => Err(wants("name its receiver with `--endpoint`")),
        (Format::Otlp | Format::Syslog, _, Some(text)) => {
            let endpoint = Endpoint::parse(text)
                .map_err(|cause| Failure::new(format!("`{text}` is no receiver: {cause}"), SHAPES))?;
            let fits = match endpoint.scheme {
                Scheme::Http | Scheme::Https => asked.format == Format::Otlp,
                Scheme::Tcp | Scheme::Tls | Scheme::Udp => asked.format == Format::Syslog,
            };
            if fits { Ok(Target::Receiver(endpoint)) } else { Err(wants(SHAPES)) }
        }
        (Format::Jsonl | Format::Ocsf | Format::Parquet, _, Some(_)) => Err(wants("name a file with `--output`")),
        (Format::Jsonl | Format::Ocsf | Format::Parquet, Some(path), None) => Ok(Target::File(path.clone())),
        (Format::Jsonl | Format::Ocsf, None, None) => Ok(Target::Standard),
        (Format::Parquet, None, None) => Err(wants("name a file with `--output`")),
    }
}

const SHAPES: &str =
    "`otlp` goes to `http://HOST:4318` or `https://HOST/PATH`, `syslog` to `tcp://`, `tls://` or `udp://HOST:PORT`";

fn span(asked: &Export, source: &Source) -> Result<Span, Failure> {
    let time = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => asked::time(text).map(|at| Some(at.0)).ok_or_else(|| {
            Failure::new(format!("`{text}` is no time"), "write it as RFC 3339 does, such as `2026-11-23T10:00:00Z`")
        }),
    };
    let newest = source.newest().map_or(0, |part| part.number);
    let place = |text: &str| {
        let at = Position::parse(text.trim(), newest);
        at.ok_or_else(|| {
            Failure::new(format!("`{text}` is no place in the log"), "an export tells it at its end: LOG/INDEX")
        })
    };
    let after = match (&asked.after, &asked.cursor) {
        (Some(text), _) => Some(place(text)?),
        (None, Some(file)) => match disk::read(file, Guard::Open) {
            Ok(text) => Some(place(&text)?),
            Err(disk::ReadFailure::Missing) => None,
            Err(other) => return Err(unread(&other, file)),
        },
        (None, None) => None,
    };
    // A cursor of another log would make an export pass over everything in silence.
    if let Some(after) = after.filter(|after| source.last().is_none_or(|last| *after > last)) {
        return Err(Failure::new(
            format!("the log ends before `{after}`"),
            "the place is of another log, or of one that was lost since; leave out `--after` or `--cursor` to begin anew",
        ));
    }
    let open = if asked.open { OpenCalls::Give } else { OpenCalls::Wait };
    Ok(Span { after, from: time(&asked.from)?, until: time(&asked.to)?, open })
}

/// Trust in receivers. A receiver of syslog speaks no HTTP, so nothing is said of that in the handshake.
fn trust(ca: Option<&Path>, scheme: Scheme) -> Result<Arc<ClientConfig>, Failure> {
    let text = ca.map(|file| disk::read(file, Guard::Open).map_err(|cause| unread(&cause, file))).transpose()?;
    let shown = ca.map(|file| file.display().to_string()).unwrap_or_default();
    let pem = text.as_ref().map(|text| tls::PemFile { name: &shown, text: text.as_bytes() });
    let config = tls::client_config(pem)?;
    match scheme {
        Scheme::Tls => {
            let mut config = ClientConfig::clone(&config);
            config.alpn_protocols.clear();
            Ok(Arc::new(config))
        }
        Scheme::Http | Scheme::Https | Scheme::Tcp | Scheme::Udp => Ok(config),
    }
}

/// Lines of a head. They are checked here, for a line too many would be a request of its own.
fn headers(file: &Path) -> Result<Vec<String>, Failure> {
    let text = disk::read(file, Guard::Private).map_err(|cause| unread(&cause, file))?;
    let mut fields = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name =
            line.split_once(':').map(|(name, _)| name).filter(|name| !name.is_empty() && name.bytes().all(token));
        let ours = |name: &str| OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        match name {
            Some(name) if !ours(name) && !line.contains(char::is_control) => fields.push(line.to_owned()),
            Some(_) | None => {
                return Err(Failure::new(
                    format!("{}:{number}: not a line of a request's head", file.display()),
                    "write `NAME: VALUE`; the host, lengths and the type of the content are ours to say",
                ));
            }
        }
    }
    Ok(fields)
}

const OURS: [&str; 5] = ["host", "content-length", "content-type", "transfer-encoding", "connection"];

/// The name of this machine, as messages of syslog carry it; `-` stands for none.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "-".to_owned(), |name| name.trim().to_owned())
}

fn mark(file: &Path, at: Position) -> io::Result<()> {
    let mut outlet = Outlet::begin(file)?;
    writeln!(outlet, "{at}")?;
    outlet.commit()
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} entries {per_sec} {eta} left") {
        bar.set_style(style);
    }
    bar
}

struct Told<'t> {
    asked: &'t Export,
    ways: &'t Ways,
    target: &'t Target,
    source: &'t Source,
    summary: &'t Summary,
    turned_down: u64,
    next: Option<Position>,
}

/// How many, under which checkpoint, and where to go on. Beside the records where those go to standard output.
fn tell(told: &Told<'_>) {
    let Told { summary, source, .. } = told;
    let checkpoint = source.newest().map(|part| part.log.checkpoint().text()).unwrap_or_default();
    let next = told.next.map(|next| next.to_string());
    let aside = matches!(told.target, Target::Standard);
    let say = |line: &str| if aside { say::note(line) } else { say::line(line) };
    if told.ways.json {
        let answer = json!({
            "format": name(told.asked.format), "records": summary.records, "no_place": summary.no_place,
            "unreadable": summary.unreadable, "under_way": summary.under_way, "turned_down": told.turned_down,
            "checkpoint": checkpoint, "after": next,
        });
        return say(&answer.to_string());
    }
    let noun = if told.asked.format == Format::Jsonl { "entry" } else { "record" };
    let many = if noun == "entry" { "entries" } else { "records" };
    let count = if summary.records == 1 { format!("1 {noun}") } else { format!("{} {many}", summary.records) };
    let mut lines = checkpoint.lines();
    let (origin, size, root) =
        (lines.next().unwrap_or_default(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    say(&format!("{count}, under the checkpoint of {size} entries of {origin}, {root}"));
    let asides = [
        (summary.no_place, "of events that the form has no place for"),
        (summary.unreadable, "of another version, passed over"),
        (told.turned_down, "that the receiver did not take, and will not"),
    ];
    for (number, words) in asides.into_iter().filter(|(number, _)| *number > 0) {
        say(&format!("  {} {words}", counted(usize::try_from(number).unwrap_or(usize::MAX), "record")));
    }
    if summary.under_way > 0 {
        let calls = counted(usize::try_from(summary.under_way).unwrap_or(usize::MAX), "call");
        say(&format!("  {calls} without an end yet; a next export gives them when they have one"));
    }
    if let Some(next) = next {
        say(&format!("  to go on from here: --after {next}"));
    }
}

fn ended(asked: &Export, target: &Target, span: &Span, broken: Broken) -> Failure {
    let message = broken.fault.to_string();
    match (target, broken.done.delivered.or(span.after)) {
        (Target::File(_) | Target::Standard, _) => Failure { message, help: None },
        (Target::Receiver(_), Some(_)) if asked.cursor.is_some() => {
            Failure::new(message, "what had arrived is marked in the cursor's file; the same command goes on there")
        }
        (Target::Receiver(_), Some(at)) => {
            Failure::new(message, format!("all up to there has arrived: go on with `--after {at}`"))
        }
        (Target::Receiver(_), None) => Failure::new(message, "nothing has arrived; try again from the beginning"),
    }
}

fn unopened(cause: &SourceError, folder: &Path) -> Failure {
    match cause {
        SourceError::NoLog => Failure::new(
            format!("there is no signed log in `{}` yet", folder.display()),
            "it begins with the first `portcullis run`; or the configuration names another folder in `[audit]`",
        ),
        SourceError::Unreadable { .. } => Failure::new(cause.to_string(), "read it as root or as the gateway's user"),
        SourceError::Key { .. } | SourceError::Refused { .. } => {
            Failure::new(cause.to_string(), "`portcullis-verify` tells what is wrong with the log")
        }
    }
}

fn unwritten(cause: &io::Error, path: &Path) -> Failure {
    Failure::new(
        format!("`{}` cannot be written: {cause}", path.display()),
        "name a file in a folder that you may write to",
    )
}

fn unread(cause: &disk::ReadFailure, file: &Path) -> Failure {
    let (words, cure) = cause.words(file);
    Failure::new(format!("{}: {words}", file.display()), cure)
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Jsonl => "jsonl",
        Format::Ocsf => "ocsf",
        Format::Parquet => "parquet",
        Format::Otlp => "otlp",
        Format::Syslog => "syslog",
    }
}
