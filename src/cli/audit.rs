//! `wdt-lake audit`: what the ERP says now, compared with the lake.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts::{AccountArgs, Chosen, LakeUri};
use super::audit_text;
use super::lake::Output;
use super::sync::CallArgs;
use super::talk::error_json;
use crate::error::{Result, exit};
use crate::gateway::CallPolicy;
use crate::id::AccountName;
use crate::pipeline::{
    self, AuditOptions, AuditReport, OpenAudit, OpenDifference, OpenFinding, SampleAudit, WindowAudit,
};
use crate::requisition::ApplyId;
use crate::store::{Access, Store};
use crate::time::SystemClock;
use crate::transform::{Change, Comparison, LandedHeader, Version};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["sample", "open"]).required(true).multiple(true))]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    lake: LakeUri,
    /// Walk so many random windows again that the lake covers, and report rows that came late or changed; one to some
    /// twelve calls each.
    #[arg(long, value_name = "WINDOWS")]
    sample: Option<NonZeroU32>,
    /// Choose the windows that this number stands for, to repeat an audit [default: a random one].
    #[arg(long, value_name = "NUMBER", requires = "sample")]
    seed: Option<u32>,
    /// Query so many of the oldest open requisitions by number, and report those that the ERP lacks or shows
    /// otherwise; one call each.
    #[arg(long, value_name = "REQUISITIONS")]
    open: Option<NonZeroU32>,
    #[command(flatten)]
    calls: CallArgs,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let (_, chosen) = args.account.all()?;
    let store = Store::open(&args.lake.find(&args.account.config)?, Access::Read)?;
    let store = store.retrying_for(args.calls.store_retry_time());
    let seed = args.seed.unwrap_or_else(random_seed);
    let mut audited = Vec::new();
    for Chosen { name, settings, terms, .. } in chosen {
        let ready = settings.and_then(|account| Ok((account, args.options(args.calls.policy(&terms)?, seed))));
        let report = match ready {
            Ok((account, options)) => {
                Box::pin(pipeline::audit(&account, store.clone(), &options, Arc::new(SystemClock))).await
            }
            Err(error) => AuditReport::stopped_by(error),
        };
        audited.push((name, report));
    }
    let code = exit::combine(audited.iter().map(|(_, report)| report.exit_code()));
    let to_json = || {
        let accounts: Vec<Value> = audited.iter().map(|(name, report)| account_json(name, report)).collect();
        json!({"command": "audit", "lake": store.root(), "accounts": accounts, "exit_code": code})
    };
    let to_text = || {
        let accounts: Vec<String> = audited.iter().map(|(name, report)| audit_text::account(name, report)).collect();
        accounts.join("\n\n")
    };
    args.output.print(to_json, to_text);
    for (name, report) in audited {
        let unproved = report.sample.into_iter().flat_map(|sample| sample.windows);
        let errors = unproved.filter_map(|audited| audited.outcome.err()).chain(report.stopped);
        errors.for_each(|error| super::print_error(&error.with("account", &name)));
    }
    Ok(code)
}

/// The random end of a new id.
fn random_seed() -> u32 {
    Uuid::now_v7().as_bytes().iter().rev().take(4).fold(0, |seed, byte| (seed << 8) | u32::from(*byte))
}

impl Args {
    fn options(&self, calls: CallPolicy, seed: u32) -> AuditOptions {
        let count = |number: Option<NonZeroU32>| number.and_then(|number| usize::try_from(number.get()).ok());
        AuditOptions { calls, sample: count(self.sample).map(|windows| (windows, seed)), open: count(self.open) }
    }
}

fn account_json(account: &AccountName, report: &AuditReport) -> Value {
    json!({
        "account": account,
        "sample": report.sample.as_ref().map(sample_json),
        "open": report.open.as_ref().map(open_json),
        "calls": report.calls,
        "error": report.stopped.as_ref().map(error_json),
        "exit_code": report.exit_code(),
    })
}

fn sample_json(sample: &SampleAudit) -> Value {
    let (at_least, at_most) = sample.lateness().unzip();
    json!({
        "seed": sample.seed,
        "rows": sample.compared().map(|(_, found)| found.given).sum::<u64>(),
        "late": sample.late(),
        "late_at_least_s": at_least,
        "late_at_most_s": at_most,
        "changed": sample.changed(),
        "gone": sample.compared().map(|(_, found)| found.gone).sum::<u64>(),
        "unidentified": sample.compared().map(|(_, found)| found.unidentified).sum::<u64>(),
        "windows": sample.windows.iter().map(window_json).collect::<Vec<_>>(),
    })
}

fn window_json(audited: &WindowAudit) -> Value {
    let nothing = Comparison::default();
    let found = audited.outcome.as_ref().unwrap_or(&nothing);
    let late = found.late.iter().map(|version| {
        let (at_least, at_most) = audited.lateness(found, version.modified);
        let mut late = version_json(version);
        late["late_at_least_s"] = at_least.into();
        late["late_at_most_s"] = at_most.into();
        late
    });
    let changed = found.changed.iter().map(|(version, change)| {
        let mut changed = version_json(version);
        let (what, columns) = match change {
            Change::Values(columns) => ("values", &**columns),
            Change::BecameValid => ("became_valid", &[][..]),
            Change::BecameInvalid => ("became_invalid", &[][..]),
            Change::InvalidText => ("invalid_text", &[][..]),
        };
        changed["change"] = what.into();
        changed["columns"] = columns.into();
        changed
    });
    json!({
        "start": audited.window.start(),
        "end": audited.window.end(),
        "committed_at": audited.committed_at,
        "walked_at": audited.walked_at,
        "rows": found.given,
        "late": late.collect::<Vec<_>>(),
        "changed": changed.collect::<Vec<_>>(),
        "gone": found.gone,
        "unidentified": found.unidentified,
        "error": audited.outcome.as_ref().err().map(error_json),
    })
}

fn version_json(version: &Version) -> Value {
    json!({
        "purchase_apply_no": version.number,
        "apply_id": version.apply_id.map(ApplyId::get),
        "modified": version.modified,
    })
}

fn open_json(open: &OpenAudit) -> Value {
    json!({
        "asked": open.asked,
        "same": open.same,
        "newer": open.newer,
        "findings": open.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn finding_json(OpenFinding { lake, difference }: &OpenFinding) -> Value {
    let state = |header: &LandedHeader| json!({"modified": header.modified, "status": header.status, "status_name": header.status_name});
    let (what, erp, reason) = match difference {
        OpenDifference::Missing => ("missing", None, None),
        OpenDifference::NotShown => ("not_shown", None, None),
        OpenDifference::OtherStatus(header) => ("other_status", Some(state(header)), None),
        OpenDifference::OtherTime(header) => ("other_time", Some(state(header)), None),
        OpenDifference::Invalid(reason) => ("invalid", None, Some(reason)),
    };
    json!({
        "purchase_apply_no": lake.number,
        "apply_id": lake.header.apply_id.map(ApplyId::get),
        "finding": what,
        "lake": state(&lake.header),
        "erp": erp,
        "reason": reason,
    })
}
