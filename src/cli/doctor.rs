//! `wdt-lake doctor`: what the store of a lake can do of what a lake asks.

use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{ConfigArgs, LakeUri};
use super::lake::Output;
use super::sync::writers;
use crate::error::{Result, exit};
use crate::land::{AbilityOutcome, AbilityReport, examine};
use crate::store::{Access, Store};

/// Somebody waits for the answer.
const RETRY_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeUri,
    #[command(flatten)]
    config: ConfigArgs,
    /// One run at a time will write: do not insist on conditional creates.
    #[arg(long)]
    single_writer: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let store = Store::open(&args.lake.find(&args.config)?, Access::Read)?.written_by(writers(args.single_writer));
    let store = store.retrying_for(RETRY_TIME);
    let findings = examine(&store).await?;
    let code = if findings.iter().any(AbilityReport::is_fatal) { exit::LAKE } else { exit::DONE };
    args.output.print(|| to_json(&store, &findings, code), || to_text(&store, &findings, code));
    Ok(code)
}

fn to_json(store: &Store, findings: &[AbilityReport], code: u8) -> Value {
    let checks: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let (outcome, detail) = words(finding);
            json!({
                "check": finding.ability.name(), "outcome": outcome, "needed": finding.is_needed, "detail": detail, "hint": finding.hint,
            })
        })
        .collect();
    json!({"command": "doctor", "lake": store.root(), "checks": checks, "exit_code": code})
}

fn words(finding: &AbilityReport) -> (&'static str, Option<&str>) {
    match &finding.outcome {
        AbilityOutcome::Works(detail) => ("works", detail.as_deref()),
        AbilityOutcome::Fails(why) => ("fails", Some(why)),
        AbilityOutcome::Skipped(why) => ("skipped", Some(why)),
    }
}

fn to_text(store: &Store, findings: &[AbilityReport], code: u8) -> String {
    let mut lines = vec![store.root().to_owned()];
    for finding in findings {
        let (outcome, detail) = words(finding);
        let detail = detail.map_or_else(String::new, |detail| format!("  {detail}"));
        lines.push(
            format!("  {:<19} {outcome}{detail}", finding.ability.name().replace('_', " ")).trim_end().to_owned(),
        );
        if let (AbilityOutcome::Fails(_), Some(hint)) = (&finding.outcome, &finding.hint) {
            lines.push(format!("    hint: {hint}"));
        }
    }
    lines.push(match code {
        exit::DONE => "this store can hold a lake".to_owned(),
        _ => "this store cannot hold a lake as asked".to_owned(),
    });
    lines.join("\n")
}
