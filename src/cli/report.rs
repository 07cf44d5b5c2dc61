//! `wdt-lake report`: what a lake says, as one page of HTML.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::lake::LakeArgs;
use super::rows::{OutFile, cannot_write};
use super::{render, signals};
use crate::error::{Error, ErrorKind, Result, exit};
use crate::language::Language;
use crate::log::Lake;
use crate::report::{ReportPage, report};
use crate::text::{Text, text};
use crate::time::{Clock as _, SystemClock};
use crate::units::{plural, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// Where the page goes, a file that ends in `.html` by custom; `-` is standard output, and all else is then said
    /// on standard error. A file that stands there is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The language of the page; without it that of the environment: `WDT_LANG`, else the locale.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let target = OutFile::of(&args.out, &args.lake.output)?;
    let language = args.lang.unwrap_or_else(|| Language::from_env(|name| std::env::var(name).ok()));
    let lake = args.lake.open()?;
    let interrupt = signals::listen()?;
    let work = async {
        let names = lake.accounts().await?;
        if names.is_empty() {
            // A page of yesterday must not give way to an empty one, because a disk is not mounted.
            return Err(Error::new(ErrorKind::Lake, "there is no account in the lake")
                .with("lake", lake.store.root())
                .hint("is it the right place? `wdt-lake sync` fills a lake"));
        }
        let write = async |begin: &(dyn Fn() -> Result<File> + Sync)| {
            let mut lakes = Vec::new();
            for name in names {
                lakes.push(Lake::open(lake.store.clone(), name).await?);
            }
            let page = report(lakes, language, SystemClock.now()).await?;
            begin()?.write_all(page.html.as_bytes()).map_err(|error| cannot_write(&args.out).because(error))?;
            Ok(page)
        };
        target.write(&lake.store, write).await
    };
    let Some(written) = interrupt.unless_asked(Box::pin(work)).await else {
        return Err(Error::new(ErrorKind::Incomplete, "interrupted; nothing was written").hint("run again"));
    };
    let (page, bytes) = written?;
    match target.path() {
        None => super::print_note("reported", &to_text(&page, bytes, &Text::from("standard output"))),
        Some(path) => {
            let to = path.display().to_string();
            let told = Text::verbatim(&*to);
            args.lake.output.print(|| to_json(&page, bytes, &to), || to_text(&page, bytes, &told).into_told());
        }
    }
    Ok(exit::DONE)
}

fn to_text(page: &ReportPage, bytes: u64, to: &Text) -> Text {
    let as_of = page.as_of.map_or_else(|| Text::from("as of no time"), |as_of| text!("as of {as_of}", as_of));
    text!(
        "report of {accounts}, {as_of}: {requisitions}, {open} open, {gaps}; {size} to {to}",
        accounts = plural(page.accounts.len() as u64, "account"),
        as_of,
        requisitions = plural(page.requisitions, "requisition"),
        open = thousands(page.open),
        gaps = plural(page.gaps, "gap"),
        size = render::bytes(bytes),
        to
    )
}

fn to_json(page: &ReportPage, bytes: u64, to: &str) -> Value {
    json!({
        "command": "report",
        "out": to,
        "bytes": bytes,
        "accounts": page.accounts,
        "as_of": page.as_of,
        "requisitions": page.requisitions,
        "open": page.open,
        "open_num": render::decimal(page.open_scaled),
        "gaps": page.gaps,
        "quarantined": page.quarantined,
    })
}
