//! The command line: one file a command; parses and prints, decides nothing.
//!
//! Standard output is data: human text, or with `--json` one line with one object. Standard error is talk: logs,
//! progress, and at the end an error and its hint. Exit codes are those of [`crate::error::exit`].

mod accounts;
mod audit;
mod audit_text;
mod changes;
mod check;
mod compact;
mod completions;
mod config_show;
mod demo;
mod doctor;
mod each;
mod expire;
mod export;
mod files;
mod get;
#[cfg(test)]
mod help_tests;
mod init;
mod lake;
mod limits;
mod metrics;
mod output;
mod plan;
mod progress;
mod publish;
mod render;
mod replay;
mod report;
mod rows;
mod runs;
mod sandbox;
mod schema;
mod secret_command;
mod shard;
mod side_by_side;
mod signals;
mod status;
mod status_check;
mod stop;
mod sync;
mod sync_summary;
mod talk;
mod until;
mod verify;
mod views;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::print;
use self::talk::{LogFormat, LogLevel, print_error, print_hint, print_note, print_warning};
use crate::error::{Error, Result, exit};
use crate::language::Language;
use crate::pipeline::HealthLevel;
use crate::text;
use crate::text::text;

/// Purchase requisitions of the Wangdian (旺店通) ERP as an exact, provably complete Parquet lake.
#[derive(Debug, Parser)]
#[command(name = "wdt-lake", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// How much to say on standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn, value_name = "LEVEL", help_heading = "Logging")]
    log_level: LogLevel,
    /// Say nothing of how far a run is: no bars on a terminal, and no line every thirty seconds elsewhere.
    #[arg(short, long, global = true, help_heading = "Logging")]
    quiet: bool,
    /// How to say it.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = "Logging")]
    log_format: LogFormat,
}

// One line a paragraph: clap wraps them at the width of the terminal.
const AFTER_HELP: &str = "\
Account, by environment: WDT_EDITION (enterprise, y, flagship), WDT_SID, WDT_APPKEY, WDT_APPSECRET or \
WDT_APPSECRET_FILE, and WDT_BASE_URL or WDT_ENVIRONMENT (production, test). WDT_ACCOUNT names it in the lake (default: \
the sid).

Any number of accounts, and the lake, by a file: --config, else WDT_CONFIG, else wdt-lake.toml; see the README.

A lake at s3://bucket/prefix, by environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL \
and other AWS_* names; see the README, \"Lakes on S3\".

Exit codes: 0 done, 1 internal failure, 2 usage or configuration, 3 done with quarantined records, with stops that are \
not known to have stopped, or with findings of `audit`, 4 credentials or address refused, 5 gateway unavailable, 6 lake \
unavailable, held or in conflict, 7 incomplete (safe to run again), 8 defect found.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the main job against the embedded sandbox ERP; no account needed.
    Demo(demo::Args),
    /// Bring a lake up to date with the ERP.
    Sync(sync::Args),
    /// Show the windows that `sync` would walk, with estimated rows, calls and minutes.
    Plan(plan::Args),
    /// Write a wdt-lake.toml, and try it with one call.
    Init(init::Args),
    /// Make one cheap signed call: are credentials, clock, address and permissions right?
    Check(check::Args),
    /// Ask the ERP for requisitions by number and print them.
    Get(get::Args),
    /// Compare random windows and old open requisitions with the ERP; exit code 3 when something differs.
    Audit(audit::Args),
    /// Stop partly referenced requisitions, with every outcome on record; flagship only.
    Stop(stop::Args),
    /// Rebuild a lake without the ERP, from pages that were kept.
    Replay(replay::Args),
    /// Put the small commits of a lake together; `sync` does so at its end.
    Compact(compact::Args),
    /// Remove whole months from a lake; requisitions that are still open stay.
    Expire(expire::Args),
    /// Publish what is missing of a lake as Delta or Iceberg tables; `sync --publish delta` does so at its end.
    Publish(publish::Args),
    /// Show what a lake covers and holds.
    Status(status::Args),
    /// Check that a lake is what its commit log says; exit code 8 when it is not.
    Verify(verify::Args),
    /// List the committed files of a table, for readers.
    Files(files::Args),
    /// Write the rows of a table to a file or standard output: all of them, the latest versions, or what is open.
    Export(export::Args),
    /// Write one page of HTML about a lake: coverage, what is open and for how long, stops, quality, calls.
    Report(report::Args),
    /// Write the rows of a table that are new since a token, and print the next token.
    Changes(changes::Args),
    /// List the runs that committed, the newest first.
    Runs(runs::Args),
    /// Print SQL that makes views of a lake's latest state.
    Views(views::Args),
    /// Find out what the store of a lake can do, and whether settings and logs can be read.
    Doctor(doctor::Args),
    /// See which settings count, and where they come from.
    Config(config_show::Args),
    /// Show the data contract.
    Schema(schema::Args),
    /// Serve a simulated ERP on a loopback port.
    Sandbox(sandbox::Args),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::CompletionsArgs),
    /// Write the manual, for `man`.
    Man(completions::ManArgs),
}

/// Runs the command that the process was given.
pub fn main() -> ExitCode {
    text::speak(Language::from_env(|name| std::env::var(name).ok()));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            if error.use_stderr() {
                return ExitCode::from(usage_error());
            }
            output::remember(printed);
            return ended(exit::DONE, Codes::Usual);
        }
    };
    let codes = args.command.codes();
    talk::start(args.log_level, args.log_format, args.quiet);
    if args.command.only_prints() {
        output::check_open();
    }
    let code = match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            codes.of_error(&error)
        }
    };
    ended(code, codes)
}

/// Which exit codes a command has.
#[derive(Clone, Copy)]
enum Codes {
    /// Those of [`exit`].
    Usual,
    /// Those of a monitoring plugin.
    Monitor,
}

impl Codes {
    fn of_error(self, error: &Error) -> u8 {
        match self {
            Self::Usual => error.kind().exit_code(),
            Self::Monitor => HealthLevel::Unknown.exit_code(),
        }
    }
}

/// The exit code of a command that has `code`, unless its output was lost.
fn ended(code: u8, codes: Codes) -> ExitCode {
    ExitCode::from(match output::failure() {
        None => code,
        Some(error) => {
            print_error(&error);
            match codes {
                Codes::Usual => exit::combine([code, codes.of_error(&error)]),
                // Nobody has read how grave it is.
                Codes::Monitor => codes.of_error(&error),
            }
        }
    })
}

/// The exit code of what cannot be read as a command. A monitor must not take it for a finding.
fn usage_error() -> u8 {
    if status_check::was_meant(std::env::args_os()) {
        return status_check::print_unknown(&text!("the options of this check cannot be read; see standard error"));
    }
    exit::USAGE
}

impl Command {
    fn codes(&self) -> Codes {
        match self {
            Self::Status(args) if args.is_check() => Codes::Monitor,
            _ => Codes::Usual,
        }
    }

    /// Whether a command neither changes anything nor says something by its exit code: without its output it is for
    /// nothing.
    fn only_prints(&self) -> bool {
        matches!(
            self,
            Self::Plan(_)
                | Self::Get(_)
                | Self::Status(_)
                | Self::Files(_)
                | Self::Export(_)
                | Self::Report(_)
                | Self::Changes(_)
                | Self::Runs(_)
                | Self::Views(_)
                | Self::Schema(_)
                | Self::Verify(_)
                | Self::Audit(_)
                | Self::Check(_)
                | Self::Doctor(_)
                | Self::Config(_)
                | Self::Completions(_)
        )
    }
}

fn run(command: Command) -> Result<u8> {
    #[cfg(unix)]
    signals::first_process::obey()?;
    // One thread waits for the gateway and the store; decoding and the disk have threads beside it, and encoding one of
    // its own. Few threads, because each keeps memory of its own.
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(cores.max(2))
        .enable_all()
        .build()
        .map_err(|error| Error::internal("cannot start the runtime").because(error))?;
    let code = runtime.block_on(async {
        match command {
            Command::Demo(args) => Box::pin(demo::run(&args)).await,
            Command::Sync(args) => Box::pin(sync::run(&args)).await,
            Command::Plan(args) => Box::pin(plan::run(&args)).await,
            Command::Init(args) => Box::pin(init::run(&args)).await,
            Command::Check(args) => Box::pin(check::run(&args)).await,
            Command::Get(args) => Box::pin(get::run(&args)).await,
            Command::Audit(args) => Box::pin(audit::run(&args)).await,
            Command::Stop(args) => Box::pin(stop::run(&args)).await,
            Command::Replay(args) => Box::pin(replay::run(&args)).await,
            Command::Compact(args) => Box::pin(compact::run(&args)).await,
            Command::Expire(args) => Box::pin(expire::run(&args)).await,
            Command::Publish(args) => Box::pin(publish::run(&args)).await,
            Command::Status(args) => status::run(&args).await,
            Command::Verify(args) => Box::pin(verify::run(&args)).await,
            Command::Files(args) => files::run(&args).await,
            Command::Export(args) => Box::pin(export::run(&args)).await,
            Command::Report(args) => Box::pin(report::run(&args)).await,
            Command::Changes(args) => Box::pin(changes::run(&args)).await,
            Command::Runs(args) => runs::run(&args).await,
            Command::Views(args) => views::run(&args).await,
            Command::Doctor(args) => Box::pin(doctor::run(&args)).await,
            Command::Config(args) => config_show::run(&args),
            Command::Completions(args) => completions::completions(&args),
            Command::Man(args) => completions::man(&args),
            Command::Schema(args) => schema::run(&args).await,
            Command::Sandbox(args) => sandbox::run(&args).await,
        }
    });
    // A thread may wait for a disk or for the name of a host, and that wait cannot be broken off. The command has given
    // it up and said so: the process must not wait for it either.
    runtime.shutdown_background();
    code
}
