//! `wdt-lake doctor`: what the store of a lake can do of what a lake asks.

use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{ConfigArgs, LakeUri};
use super::lake::Output;
use super::sync::writers;
use crate::error::{Result, exit};
use crate::land::{AbilityOutcome, AbilityReport, examine};
use crate::store::{Access, Store};
use crate::text::{Text, key, pad, say};

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

fn words(finding: &AbilityReport) -> (&'static str, Option<&Text>) {
    match &finding.outcome {
        AbilityOutcome::Works(detail) => (key!("works"), detail.as_ref()),
        AbilityOutcome::Fails(why) => (key!("fails"), Some(why)),
        AbilityOutcome::Skipped(why) => (key!("skipped"), Some(why)),
    }
}

fn to_text(store: &Store, findings: &[AbilityReport], code: u8) -> String {
    let mut lines = vec![store.root().to_owned()];
    for finding in findings {
        let (outcome, detail) = words(finding);
        let detail = detail.map_or_else(String::new, |detail| format!("  {detail:#}"));
        let ability = pad(Text::from(finding.ability.words()).told(), 19);
        lines.push(format!("  {ability} {}{detail}", Text::from(outcome).told()).trim_end().to_owned());
        if let (AbilityOutcome::Fails(_), Some(hint)) = (&finding.outcome, &finding.hint) {
            lines.push(say!("    hint: {hint}", hint));
        }
    }
    lines.push(match code {
        exit::DONE => say!("this store can hold a lake"),
        _ => say!("this store cannot hold a lake as asked"),
    });
    lines.join("\n")
}
