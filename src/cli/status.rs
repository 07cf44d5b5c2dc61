//! `wdt-lake status`: what a lake covers and holds, and when runs ended, account by account.

use serde_json::{Value, json};

use super::lake::{ByAccount, LakeArgs};
use super::render;
use super::status_check::{self, CheckArgs};
use crate::error::{ErrorKind, Result};
use crate::id::AccountName;
use crate::land::{CleanEnd, LastRun, Leftovers, last_run, leftovers};
use crate::log::{Lake, PendingStop, Table};
use crate::pipeline::{ExtraNames, extra_names, gaps_of};
use crate::publish::{Reached, StandingTable, iceberg_reached, published_tables};
use crate::publish_format::PublishFormat;
use crate::text::{Text, key, say, text};
use crate::time::{BeijingTime, Clock as _, Coverage, SystemClock, Window};
use crate::units::{plural, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// Read the column `extra` of all files too, and count the names in it: fields that the contract has no column
    /// for, and times that readers cannot represent.
    #[arg(long)]
    extra: bool,
    #[command(flatten)]
    check: CheckArgs,
}

impl Args {
    /// Whether the lake is to be judged, which has exit codes of its own.
    pub(super) fn is_check(&self) -> bool {
        self.check.check
    }
}

/// What is shown of an account.
struct Account {
    lake: Lake,
    leftovers: Leftovers,
    last_run: LastRun,
    /// How far it is published as Delta and Iceberg tables, where these are.
    published: Vec<Reached>,
    /// The names in `extra`, where they were asked for.
    extra: Option<ExtraNames>,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    if args.is_check() {
        return Ok(status_check::run(&args.lake, &args.check).await);
    }
    let lake = args.lake.open()?;
    let tables = match published_tables(&lake.store).await {
        Ok(tables) => tables,
        // `verify` says what to do about it; the lake is as it is.
        Err(error) if error.kind() == ErrorKind::Defect => {
            super::print_warning(&text!("{error}", error));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let one = async |name: &AccountName| {
        // The lease first: a run that ends meanwhile is then not taken for one whose end is not known.
        let last_run = last_run(&lake.store, name.clone(), SystemClock.now()).await?;
        let part = Lake::open(lake.store.clone(), name.clone()).await?;
        let leftovers = leftovers(&part, SystemClock.now()).await?;
        let published = reached(&part, &tables).await?;
        let extra = if args.extra { Some(extra_names(&part).await?) } else { None };
        Ok(Account { lake: part, leftovers, last_run, published, extra })
    };
    let shown = ByAccount::of(lake.accounts().await?, one).await;
    let code = shown.exit_code([]);
    let to_json = || {
        let accounts = shown.found.iter().map(|(_, account)| to_json(account)).chain(shown.failed_json());
        let accounts: Vec<Value> = accounts.collect();
        json!({"command": "status", "lake": lake.store.root(), "accounts": accounts, "exit_code": code})
    };
    let to_text = || match shown.is_empty() {
        true => say!("the lake is empty"),
        false => shown.found.iter().map(|(_, account)| to_text(account)).collect::<Vec<_>>().join("\n\n"),
    };
    args.lake.output.print(to_json, to_text);
    shown.print_failed();
    Ok(code)
}

impl Account {
    /// The last second of modified time that the ERP is known to have been asked for.
    fn checked_until(&self) -> Option<BeijingTime> {
        let asked = self.last_run.last_end.as_ref().and_then(|end| end.checked_until);
        self.lake.coverage().span().map(Window::end).max(asked)
    }

    /// When a sync last ended that left no gap in its range.
    fn last_success_at(&self) -> Option<BeijingTime> {
        self.last_run.last_end.as_ref().and_then(|end| end.succeeded_at)
    }

    /// Whether the last end that is known is that of the last run: no other has begun or has written to the log since.
    fn is_last(&self, end: &CleanEnd) -> bool {
        let newest = self.lake.state().newest().map(|newest| newest.number);
        self.last_run.at_work.is_none() && self.last_run.clean_end.as_ref() == Some(end) && end.newest == newest
    }
}

/// The covered seconds whose rows are not kept any more.
fn expired(lake: &Lake) -> &[Window] {
    lake.state().expired().map(|(_, live)| &*live.expired).unwrap_or_default()
}

/// The covered seconds whose rows are kept.
fn kept_coverage(lake: &Lake) -> Coverage {
    let mut coverage = lake.coverage().clone();
    expired(lake).iter().for_each(|range| coverage.remove(*range));
    coverage
}

fn to_json(account: &Account) -> Value {
    let Account { lake, leftovers, last_run, .. } = account;
    let window = |window: &Window| json!({"start": window.start(), "end": window.end()});
    json!({
        "account": lake.account(),
        "edition": lake.state().binding().map(|binding| binding.edition),
        "sid": lake.state().binding().map(|binding| &binding.sid),
        "host": lake.state().binding().map(|binding| &binding.host),
        "coverage": kept_coverage(lake).windows().iter().map(window).collect::<Vec<_>>(),
        "gaps": gaps_of(lake).iter().map(window).collect::<Vec<_>>(),
        "expired": expired(lake).iter().map(window).collect::<Vec<_>>(),
        "checked_until": account.checked_until(),
        "last_success_at": account.last_success_at(),
        "last_end": last_run.last_end.as_ref().map(|end| json!({
            "run": end.run, "ended_at": end.ended_at, "is_last": account.is_last(end),
        })),
        "at_work": last_run.at_work.map(|(run, seen_at)| json!({"run": run, "seen_at": seen_at})),
        "rows": {
            "purchase_apply": lake.rows(Table::PurchaseApply),
            "purchase_apply_detail": lake.rows(Table::PurchaseApplyDetail),
            "stop_reference": lake.rows(Table::StopReference),
            "quarantined": lake.quarantined(),
        },
        "pending_stops": lake.state().stops().pending().iter().map(|(number, held)| json!({
            "purchase_apply_no": number, "requested_at": held.requested_at, "state": state(held),
        })).collect::<Vec<_>>(),
        "commits": lake.state().live().len(),
        "last_commit": lake.state().last().map(|last| json!({
            "number": last.number, "run": last.run, "kind": last.kind.name(), "at": last.created_at,
        })),
        "unfinished_commits": leftovers.unfinished.len(),
        "files_to_delete": leftovers.deletable.len(),
        "kept_objects": leftovers.kept.len(),
        "kept_until": leftovers.kept_until,
        "untracked": leftovers.untracked,
        "published": account.published.iter().map(|Reached { table, format, version, number }| json!({
            "table": table.name(), "format": format.name(), "version": version, "manifest": number,
        })).collect::<Vec<_>>(),
        "extra": account.extra.as_ref().map(|names| {
            names.iter().map(|((table, name), rows)| json!({"table": table.name(), "name": name, "rows": rows})).collect::<Vec<_>>()
        }),
    })
}

/// Whether a pending stop has a result at all.
fn state(held: &PendingStop) -> &'static str {
    if held.is_unknown { key!("unknown") } else { key!("open") }
}

fn to_text(account: &Account) -> String {
    let Account { lake, leftovers, .. } = account;
    let mut lines = vec![match lake.state().binding() {
        Some(binding) => {
            say!(
                "{account} ({edition} edition, sid {sid}, {host})",
                account = lake.account(),
                edition = binding.edition,
                sid = binding.sid,
                host = binding.host
            )
        }
        None => lake.account().to_string(),
    }];
    lines.extend(covered(lake));
    lines.extend(runs(account));
    lines.extend(held(lake));
    lines.extend(pending(lake));
    if let Some(last) = lake.state().last() {
        lines.push(say!(
            "  last commit {kind} at {created_at} (number {number})\n              run {run}",
            kind = last.kind.name(),
            created_at = last.created_at,
            number = last.number,
            run = last.run
        ));
    }
    lines.extend(published(account));
    lines.extend(left(leftovers));
    lines.extend(account.extra.iter().flat_map(extra));
    lines.join("\n")
}

/// How far the account is published in every format.
async fn reached(lake: &Lake, tables: &[StandingTable]) -> Result<Vec<Reached>> {
    let mut reached: Vec<Reached> = tables.iter().filter_map(|table| table.reached(lake.account())).collect();
    for table in Table::ALL {
        match iceberg_reached(lake.store(), lake.account(), table).await {
            Ok(found) => reached.extend(found),
            // As with Delta tables.
            Err(error) if error.kind() == ErrorKind::Defect => super::print_warning(&text!("{error}", error)),
            Err(error) => return Err(error),
        }
    }
    Ok(reached)
}

/// How far the account is published, one line a format.
fn published(account: &Account) -> Vec<String> {
    let newest = account.lake.state().newest().map_or(0, |newest| newest.number);
    let line = |format: PublishFormat| {
        let of_format = account.published.iter().filter(|reached| reached.format == format);
        let is_behind = of_format.clone().any(|reached| reached.number < newest);
        let tables: Vec<String> = of_format
            .map(|Reached { table, version, number, .. }| {
                say!("{table} up to commit {number} (version {version})", table, number, version)
            })
            .collect();
        let behind = if is_behind { say!("; the rest by the next run that publishes") } else { String::new() };
        let (format, tables) = (format!("{:<11}", format.title()), tables.join(&say!(", ")));
        (!tables.is_empty()).then(|| say!("  {format} {tables}{behind}", format, tables, behind))
    };
    PublishFormat::ALL.into_iter().filter_map(line).collect()
}

/// When runs ended, as far as that is known, and how far they asked.
fn runs(account: &Account) -> Vec<String> {
    let checked = account.checked_until().map(|until| say!("  checked     until {until}", until));
    let mut lines: Vec<String> = checked.into_iter().collect();
    lines.push(match account.last_success_at() {
        Some(at) => say!("  succeeded   at {at}", at),
        None => say!("  succeeded   not known"),
    });
    if let Some((run, seen_at)) = account.last_run.at_work {
        lines.push(say!("  at work     seen at {seen_at}\n              run {run}", run, seen_at));
        return lines;
    }
    lines.push(match &account.last_run.last_end {
        Some(end) if account.is_last(end) => {
            say!("  last run    ended at {ended_at}\n              run {run}", ended_at = end.ended_at, run = end.run)
        }
        Some(end) => {
            say!(
                "  last run    its end is not known; the one before ended at {ended_at}\n              run {run}",
                ended_at = end.ended_at,
                run = end.run
            )
        }
        None => say!("  last run    its end is not known"),
    });
    lines
}

/// The names in `extra`.
fn extra(names: &ExtraNames) -> Vec<String> {
    if names.is_empty() {
        return vec![say!("  extra       no names")];
    }
    let line = |((table, name), rows): (&(Table, String), &u64)| {
        say!("  extra       {name} in {rows} of {table}", name = render::name(name), rows = plural(*rows, "row"), table)
    };
    names.iter().map(line).collect()
}

/// Objects beside the committed set.
fn left(leftovers: &Leftovers) -> Vec<String> {
    let mut lines = Vec::new();
    if let (false, Some(until)) = (leftovers.kept.is_empty(), leftovers.kept_until) {
        lines.push(say!("  kept        {objects} of removed commits until {until}: a bare glob counts their rows beside those in their place", objects = plural(leftovers.kept.len() as u64, "object"), until));
    }
    if !leftovers.unfinished.is_empty() {
        lines.push(say!(
            "  unfinished  {commits}: a run is at work, or one died; the next writing command clears it",
            commits = plural(leftovers.unfinished.len() as u64, "commit")
        ));
    }
    lines.extend(leftovers.untracked.iter().map(|name| say!("  untracked   {name}", name = render::name(name))));
    lines
}

fn covered(lake: &Lake) -> Vec<String> {
    let listed =
        |windows: &[Window]| windows.iter().map(Window::to_string).collect::<Vec<_>>().join("\n              ");
    let mut lines = match kept_coverage(lake).windows() {
        [] => vec![say!("  covers      nothing yet")],
        windows => vec![say!("  covers      {windows}", windows = listed(windows))],
    };
    let gaps = gaps_of(lake);
    if !gaps.is_empty() {
        lines.push(say!("  gaps        {gaps}", gaps = listed(&gaps)));
    }
    if !expired(lake).is_empty() {
        let ranges: Vec<String> = expired(lake).iter().map(|range| expired_range(*range)).collect();
        lines.push(say!("  expired     {ranges}", ranges = ranges.join("\n              ")));
    }
    lines
}

/// An expired range for people: the first of all begins where times do, which nobody needs to read.
fn expired_range(range: Window) -> String {
    if range.start() > BeijingTime::FIRST {
        return range.to_string();
    }
    say!("everything before {end}", end = range.end().plus_seconds(1))
}

fn held(lake: &Lake) -> Vec<String> {
    let rows = |table| thousands(lake.rows(table));
    let mut lines = vec![say!(
        "  rows        {headers} purchase_apply, {details} purchase_apply_detail",
        headers = rows(Table::PurchaseApply),
        details = rows(Table::PurchaseApplyDetail)
    )];
    if lake.rows(Table::StopReference) > 0 {
        lines.push(say!("              {stops} stop_reference", stops = rows(Table::StopReference)));
    }
    if lake.quarantined() > 0 {
        lines.push(say!("  quarantine  {records}", records = plural(lake.quarantined(), "record")));
        let files = lake.with_quarantine().flat_map(|(_, live)| &live.quarantine);
        lines.extend(
            files.map(|file| {
                say!("              {rows} in {path}", rows = file.rows, path = lake.store().uri(&file.path))
            }),
        );
    }
    lines
}

fn pending(lake: &Lake) -> Vec<String> {
    let stops = lake.state().stops().pending();
    if stops.is_empty() {
        return Vec::new();
    }
    let count = plural(stops.len() as u64, "requisition");
    let mut lines =
        vec![say!("  stops       {count} pending; the next `wdt-lake stop` settles what can be told", count)];
    lines.extend(stops.iter().map(|(number, stop)| {
        say!(
            "              {number} of {requested_at}: {stop}",
            number,
            requested_at = stop.requested_at,
            stop = Text::from(state(stop))
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::land::testing::{bare, binding, commit_of_kind, covering, window};
    use crate::log::read::ManifestNames;
    use crate::log::{CommitKind, Layout, LogState, Manifest, Sha256};
    use crate::store::Store;

    fn at(second: i64) -> BeijingTime {
        window(second, second).start()
    }

    /// A lake of which the first seconds have expired, and a commit stands behind a gap.
    fn with_expired() -> Account {
        let mut state = LogState::new(binding().name);
        let old = Manifest { wanted_from: Some(at(0)), ..covering(&state, CommitKind::Sync, window(0, 9)) };
        state.apply(&old, Sha256::of(b"1")).expect("follows");
        let mut expire = bare(&state);
        let commit = commit_of_kind(expire.id, CommitKind::Expire, None, vec![]);
        expire.commits.push(crate::log::Commit { expired: vec![window(0, 29)], ..commit });
        let expire = Manifest { removes: vec![old.id], keep_until: Some(at(90_000)), ..expire };
        state.apply(&expire, Sha256::of(b"2")).expect("follows");
        let new = covering(&state, CommitKind::Sync, window(60, 69));
        state.apply(&new, Sha256::of(b"3")).expect("follows");
        let kept = vec!["purchase_apply/x.parquet".to_owned()];
        Account {
            lake: Lake::of(Store::memory(), Layout::new(binding().name), state, ManifestNames::Plain),
            leftovers: Leftovers { kept, kept_until: Some(at(90_000)), ..Leftovers::default() },
            last_run: LastRun::default(),
            published: Vec::new(),
            extra: None,
        }
    }

    #[test]
    fn what_has_expired_is_told_from_what_is_covered() {
        let account = with_expired();
        let text = to_text(&account);
        for line in [
            format!("  covers      {}", window(60, 69)),
            format!("  gaps        {}", window(30, 59)),
            format!("  expired     {}", window(0, 29)),
            format!("  kept        1 object of removed commits until {}: ", at(90_000)),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert_eq!(
            expired_range(Window::new(BeijingTime::FIRST, at(29)).expect("in order")),
            format!("everything before {}", at(30))
        );
        let json = to_json(&account);
        let shown = |window: Window| json!([{"start": window.start(), "end": window.end()}]);
        assert_eq!((&json["coverage"], &json["expired"]), (&shown(window(60, 69)), &shown(window(0, 29))));
        assert_eq!((&json["kept_objects"], &json["kept_until"]), (&1.into(), &json!(at(90_000))));
    }

    #[test]
    fn the_end_of_the_last_run_is_known_only_while_nothing_came_after_it() {
        let mut account = with_expired();
        assert_eq!(account.checked_until(), Some(at(69)), "what is covered was asked for");
        assert!(to_text(&account).contains("last run    its end is not known"));
        let end = |newest| CleanEnd {
            run: RunId::generate(),
            ended_at: at(500),
            newest: Some(newest),
            last_sweep: at(500),
            checked_until: Some(at(400)),
            succeeded_at: Some(at(300)),
            published: std::collections::BTreeMap::new(),
        };
        for (newest, ended, at_work, is_last) in
            [(3, true, false, true), (2, true, false, false), (3, false, false, false), (3, true, true, false)]
        {
            let end = end(newest);
            account.last_run = LastRun {
                clean_end: ended.then(|| end.clone()),
                last_end: Some(end.clone()),
                at_work: at_work.then(|| (end.run, at(600))),
            };
            let json = to_json(&account);
            assert_eq!(json["last_end"], json!({"run": end.run, "ended_at": at(500), "is_last": is_last}));
            assert_eq!((&json["checked_until"], &json["last_success_at"]), (&json!(at(400)), &json!(at(300))));
            let text = to_text(&account);
            assert!(text.contains(&format!("  checked     until {}\n  succeeded   at {}", at(400), at(300))), "{text}");
            assert_eq!(text.contains("last run    ended at"), is_last, "{text}");
            assert_eq!(text.contains("at work"), at_work, "{text}");
        }
    }
}
