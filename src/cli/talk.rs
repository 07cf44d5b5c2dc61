//! Standard error: logs, warnings, errors and their hints, as text or as one JSON object a line.
//!
//! Text is in the language of the process, but for logs; JSON is in English. Times are Beijing time with its offset. In
//! JSON numbers are numbers, and whatever is said has a `level` and a
//! `message`.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

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
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let subscriber = tracing_subscriber::fmt()
        .with_timer(BeijingTimes)
        .with_env_filter(EnvFilter::new(format!("error,wdt_lake={level}")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
    }
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
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{}", say!("error[{code}]: {error}", code = error.code(), error));
    if let Some(hint) = error.hint_said() {
        let _ = writeln!(stderr, "{}", say!("hint: {hint}", hint));
    }
}

pub(super) fn print_hint(hint: &Text) {
    if is_json() {
        return log("INFO", json!({"message": hint}));
    }
    let _ = writeln!(io::stderr().lock(), "{}", say!("hint: {hint}", hint));
}

/// Something to know that is no data of the command: its name and what it is.
pub(super) fn print_note(name: &'static str, value: &Text) {
    let note = text!("{name}: {value}", name = Text::from(name), value);
    if is_json() {
        return log("INFO", json!({"message": note}));
    }
    let _ = writeln!(io::stderr().lock(), "{note:#}");
}

pub(super) fn print_warning(warning: &Text) {
    if is_json() {
        return log("WARN", json!({"message": warning}));
    }
    let _ = writeln!(io::stderr().lock(), "{}", say!("warning: {warning}", warning));
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

fn log(level: &str, mut event: Value) {
    event["timestamp"] = rfc3339_beijing(SystemClock.now_micros()).into();
    event["level"] = level.into();
    let _ = writeln!(io::stderr().lock(), "{event}");
}
