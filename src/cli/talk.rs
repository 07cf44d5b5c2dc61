//! Standard error: logs, warnings, errors and their hints, as text or as one JSON object a line.
//!
//! Text is in the language of the process, but for logs; JSON is in English. Times are Beijing time with its offset. In
//! JSON numbers are numbers, and whatever is said has a `level` and a
//! `message`.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::OnceLock;

use clap::ValueEnum;
use indicatif::MultiProgress;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::Error;
use crate::text::{Text, say, text};
use crate::time::{Clock as _, SystemClock, rfc3339_beijing};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// How everything is said, once that is known.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();
/// Whether nothing is said of how far a run is, once that is known.
static QUIET: OnceLock<bool> = OnceLock::new();
/// The bars of a run at work, at the lower end of the terminal.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// The time of an event.
struct BeijingTimes;

impl FormatTime for BeijingTimes {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&rfc3339_beijing(SystemClock.now_micros()))
    }
}

/// Only our own events are shown below warnings: HTTP libraries write URLs, and those can carry signatures.
pub(super) fn start(level: LogLevel, format: LogFormat, quiet: bool) {
    let _ = FORMAT.set(format);
    let _ = QUIET.set(quiet);
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let shown = Targets::new().with_default(LevelFilter::ERROR).with_target("wdt_lake", level);
    let registry = tracing_subscriber::registry().with(shown);
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(BeijingTimes)
        .with_writer(|| AboveBars)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).init(),
    }
}

/// Whether nothing is to be said of how far a run is.
pub(super) fn is_quiet() -> bool {
    QUIET.get() == Some(&true)
}

/// Whether a person looks at standard error, who wants to see bars. One JSON object a line is for machines.
pub(super) fn has_terminal() -> bool {
    io::stderr().is_terminal() && !is_json()
}

/// Where bars are drawn. From the first one on, all that is said goes above them.
pub(super) fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Standard error, with the bars taken away while something is written to it.
struct AboveBars;

impl io::Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().lock().write_all(bytes);
        match BARS.get() {
            Some(bars) => bars.suspend(write)?,
            None => write()?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Reads the value of an option; what is wrong is said with what to write instead.
pub(super) fn read<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| match error.hint_text() {
        Some(hint) => format!("{error}\n\nhint: {hint}"),
        None => error.to_string(),
    })
}

/// An error as every JSON output tells it.
pub(super) fn error_json(error: &Error) -> Value {
    json!({
        "code": error.code(), "message": error.to_string(), "hint": error.hint_text(), "exit_code": error.kind().exit_code(),
    })
}

pub(super) fn print_error(error: &Error) {
    if is_json() {
        return log("ERROR", error_json(error));
    }
    let mut text = say!("error[{code}]: {error}", code = error.code(), error) + "\n";
    if let Some(hint) = error.hint_said() {
        text += &say!("hint: {hint}", hint);
        text.push('\n');
    }
    write_line(&text);
}

pub(super) fn print_hint(hint: &Text) {
    if is_json() {
        return log("INFO", json!({"message": hint}));
    }
    write_line(&(say!("hint: {hint}", hint) + "\n"));
}

/// Something to know that is no data of the command: its name and what it is.
pub(super) fn print_note(name: &'static str, value: &Text) {
    let note = text!("{name}: {value}", name = Text::from(name), value);
    if is_json() {
        return log("INFO", json!({"message": note}));
    }
    write_line(&format!("{note:#}\n"));
}

pub(super) fn print_warning(warning: &Text) {
    if is_json() {
        return log("WARN", json!({"message": warning}));
    }
    write_line(&(say!("warning: {warning}", warning) + "\n"));
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

fn log(level: &str, mut event: Value) {
    event["timestamp"] = rfc3339_beijing(SystemClock.now_micros()).into();
    event["level"] = level.into();
    write_line(&format!("{event}\n"));
}

/// Nobody can be told when that fails.
fn write_line(text: &str) {
    let _ = AboveBars.write_all(text.as_bytes());
}
