//! `wdt-lake export TABLE`: the rows of a table as they stand now, or the latest version of each requisition.

use std::fs::File;

use serde_json::{Value, json};

use super::lake::{LakeArgs, TableName};
use super::rows::{ByteOrderMark, OutArgs, RowsFormat, RowsTarget, RowsWriter};
use super::{render, signals};
use crate::error::{Error, ErrorClass, Result, exit};
use crate::log::{Lake, Table};
use crate::pipeline::{AccountExport, ExportColumns, ExportRange, ExportRequest, ExportedRows, TimesAs, export};
use crate::text::{Text, key, text};
use crate::time::{DateMeans, Window, parse_user_time};
use crate::units::{plural, thousands};

/// How many ranges of seconds are told one by one.
const TOLD_RANGES: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableName,
    #[command(flatten)]
    lake: LakeArgs,
    /// Only the latest version of each requisition; of details those of this version.
    #[arg(long)]
    latest: bool,
    /// Only requisitions that are open: their latest version is to confirm, to reference or partly referenced. With
    /// `open_num`, the quantity that is not referenced yet.
    #[arg(long)]
    open: bool,
    /// First modified time wanted: a date or a time in Beijing.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last modified second wanted; a date means its last second.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    rows: OutArgs,
    /// Times as wall clock in Beijing, without a time zone.
    #[arg(long)]
    beijing_time: bool,
    /// Begin CSV with a byte order mark: Excel needs it to take the file for UTF-8.
    #[arg(long)]
    bom: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let request = request(args)?;
    let target = args.rows.target(&args.lake.output)?;
    let mark = if args.bom { ByteOrderMark::Yes } else { ByteOrderMark::No };
    if mark == ByteOrderMark::Yes && target.format() != RowsFormat::Csv {
        return Err(Error::new(ErrorClass::ArgumentsConflict, "`--bom` is for CSV")
            .hint("leave it out, or write CSV by `--format csv`"));
    }
    let lake = args.lake.open()?;
    let interrupt = signals::listen()?;
    let work = async {
        let mut lakes = Vec::new();
        let names = lake.accounts().await?;
        if names.is_empty() {
            // A file of yesterday must not give way to an empty one, because a disk is not mounted.
            return Err(Error::new(ErrorClass::LakeMissing, "there is no account in the lake")
                .with("lake", lake.store.root())
                .hint("is it the right place? `wdt-lake sync` fills a lake"));
        }
        for name in names {
            lakes.push(Lake::open(lake.store.clone(), name).await?);
        }
        let write = async |begin: &(dyn Fn() -> Result<File> + Sync)| {
            let begin = || RowsWriter::begin(target.format(), mark, request.columns.schema(), begin()?);
            let (writer, accounts) = export(lakes, &request, begin).await?;
            writer.finish()?;
            Ok(accounts)
        };
        target.write(&lake.store, write).await
    };
    let Some(written) = interrupt.unless_asked(Box::pin(work)).await else {
        return Err(Error::new(ErrorClass::Interrupted, "interrupted; nothing was written").hint("run again"));
    };
    let exported = Exported { table: request.columns.table(), rows: request.rows, written: written? };
    exported.warnings().iter().for_each(super::print_warning);
    match target.path() {
        None => super::print_note(key!("exported"), &exported.to_text(&target)),
        Some(_) => args.lake.output.print(|| exported.to_json(&target), || exported.to_text(&target).into_told()),
    }
    Ok(exit::DONE)
}

fn request(args: &Args) -> Result<ExportRequest> {
    let table = args.table.get()?;
    if args.open && table == Table::StopReference {
        return Err(Error::new(ErrorClass::ArgumentsConflict, "stop references are not open or closed")
            .hint("`--latest` gives the last that is known of the latest stop of each requisition"));
    }
    let rows = match (args.open, args.latest) {
        (true, _) => ExportedRows::Open,
        (false, true) => ExportedRows::Latest,
        (false, false) => ExportedRows::All,
    };
    let from = args.from.as_deref().map(|text| parse_user_time(text, DateMeans::FirstSecond)).transpose()?;
    let to = args.to.as_deref().map(|text| parse_user_time(text, DateMeans::LastSecond)).transpose()?;
    if let Some((from, to)) = from.zip(to).filter(|(from, to)| from > to) {
        return Err(Error::new(
            ErrorClass::RangeWrong,
            text!("the range ends at {to}, before it starts at {from}", to, from),
        )
        .hint("--from must not be later than --to; times without an offset are Beijing time"));
    }
    let times = if args.beijing_time { TimesAs::BeijingWallClock } else { TimesAs::Instants };
    let columns = ExportColumns::of(table, rows, times)?;
    Ok(ExportRequest { rows, range: ExportRange { from, to }, columns })
}

/// What was exported.
struct Exported {
    table: Table,
    rows: ExportedRows,
    /// Account by account, and the bytes that were written.
    written: (Vec<AccountExport>, u64),
}

impl Exported {
    fn accounts(&self) -> &[AccountExport] {
        &self.written.0
    }

    fn sum(&self, of: impl Fn(&AccountExport) -> u64) -> u64 {
        self.accounts().iter().map(of).sum()
    }

    /// What is not among the rows.
    fn warnings(&self) -> Vec<Text> {
        let mut warnings = Vec::new();
        for AccountExport { account, omissions, .. } in self.accounts() {
            if !omissions.gaps.is_empty() {
                warnings.push(text!(
                    "{account}: the lake does not cover {gaps}",
                    account,
                    gaps = told(&omissions.gaps)
                ));
            }
            if !omissions.expired.is_empty() {
                let ranges = told(&omissions.expired);
                warnings.push(text!("{account}: expired, but for what was open then: {ranges}", account, ranges));
            }
            if omissions.quarantined > 0 {
                let records = plural(omissions.quarantined, "invalid record");
                warnings.push(text!("{account}: {records} in quarantine are not among the rows", account, records));
            }
        }
        warnings
    }

    fn to_text(&self, target: &RowsTarget) -> Text {
        let to =
            target.path().map_or_else(|| text!("standard output"), |path| Text::verbatim(path.display().to_string()));
        text!(
            "{table}: {rows} of {files}, {written} to {to}",
            table = self.table,
            rows = plural(self.sum(|one| one.rows), "row"),
            files = plural(self.sum(|one| one.files), "file"),
            written = render::bytes(self.written.1),
            to
        )
    }

    fn to_json(&self, target: &RowsTarget) -> Value {
        let window = |window: &Window| json!({"start": window.start(), "end": window.end()});
        let accounts = self.accounts().iter().map(|one| {
            json!({
                "account": one.account,
                "newest_manifest": one.newest,
                "rows": one.rows,
                "files": one.files,
                "gaps": one.omissions.gaps.iter().map(window).collect::<Vec<_>>(),
                "expired": one.omissions.expired.iter().map(window).collect::<Vec<_>>(),
                "quarantined": one.omissions.quarantined,
            })
        });
        let accounts: Vec<Value> = accounts.collect();
        let versions = match self.rows {
            ExportedRows::All => "all",
            ExportedRows::Latest => "latest",
            ExportedRows::Open => "open",
        };
        json!({
            "command": "export",
            "table": self.table.name(),
            "versions": versions,
            "out": target.path().map(|path| path.display().to_string()),
            "format": target.format().name(),
            "rows": self.sum(|one| one.rows),
            "files": self.sum(|one| one.files),
            "bytes": self.written.1,
            "accounts": accounts,
        })
    }
}

/// Ranges for people, of many the first ones.
fn told(ranges: &[Window]) -> Text {
    let mut told: Vec<Text> = ranges.iter().take(TOLD_RANGES).map(|range| text!("{range}", range)).collect();
    if let Some(more) = ranges.len().checked_sub(TOLD_RANGES).filter(|more| *more > 0) {
        told.push(text!("and {more} more", more = thousands(more as u64)));
    }
    Text::join(&told, key!(", "))
}
