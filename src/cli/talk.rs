//! Standard error: logs, warnings, errors and their hints, as text or as one JSON object a line.
//!
//! Times are Beijing time with its offset. In JSON numbers are numbers, and whatever is said has a `level` and a
//! `message`.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::Error;
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

/// The time of an event.
struct BeijingTimes;

impl FormatTime for BeijingTimes {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&rfc3339_beijing(SystemClock.now_micros()))
    }
}

/// Only our own events are shown below warnings: HTTP libraries write URLs, and those can carry signatures.
pub(super) fn start(level: LogLevel, format: LogFormat) {
    let _ = FORMAT.set(format);
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
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).init(),
    }
}

/// An error as every JSON output tells it.
pub(super) fn error_json(error: &Error) -> Value {
    json!({"message": error.to_string(), "hint": error.hint_text(), "exit_code": error.kind().exit_code()})
}

pub(super) fn print_error(error: &Error) {
    if is_json() {
        return say("ERROR", error_json(error));
    }
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "error: {error}");
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

pub(super) fn print_hint(hint: &str) {
    if is_json() {
        return say("INFO", json!({"message": hint}));
    }
    let _ = writeln!(io::stderr().lock(), "hint: {hint}");
}

/// Something to know that is no data of the command: its name and what it is.
pub(super) fn print_note(name: &str, value: &str) {
    if is_json() {
        return say("INFO", json!({"message": format!("{name}: {value}")}));
    }
    let _ = writeln!(io::stderr().lock(), "{name}: {value}");
}

pub(super) fn print_warning(warning: &str) {
    if is_json() {
        return say("WARN", json!({"message": warning}));
    }
    let _ = writeln!(io::stderr().lock(), "warning: {warning}");
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

fn say(level: &str, mut event: Value) {
    event["timestamp"] = rfc3339_beijing(SystemClock.now_micros()).into();
    event["level"] = level.into();
    let _ = writeln!(io::stderr().lock(), "{event}");
}
