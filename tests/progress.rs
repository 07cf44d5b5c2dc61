//! What a person sees while a run is at work: bars on a terminal, which never fall and fit, and nothing elsewhere
//! before thirty seconds have passed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wdt_lake::sandbox::{Behaviour, Latency, Options, Sandbox, generate};

use crate::support::{LakeDir, Said, at, program_at, run};

/// An ERP that takes its time, so that there is something to see.
fn slow_erp() -> Sandbox {
    let behaviour = Behaviour { latency: Latency::exactly(Duration::from_millis(120)), ..Behaviour::default() };
    let requisitions = generate(5, 2_500, 60, at("2026-06-30 23:59:59"));
    Sandbox::start(Options { requisitions, behaviour, ..Options::default() }).expect("a sandbox")
}

fn command(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Command {
    let mut command = program_at(sandbox);
    command.args(["sync", "--lake", &lake.text(), "--from", "2026-05-02", "--to", "2026-06-30", "--page-size", "50"]);
    command.args(["--calls-per-minute", "6000"]).args(arguments);
    command
}

/// The command with a terminal of so many columns as its standard error; `stdout` is what came to the terminal.
fn on_terminal(columns: u32, command: &Command) -> Said {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/terminal.py");
    let mut terminal = Command::new("python3");
    terminal.arg(script).arg(columns.to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    run(&mut terminal)
}

/// The text of what came to a terminal, cut wherever the cursor was moved.
fn shown(said: &Said) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut characters = said.stdout.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' | '\n' => pieces.push(String::new()),
            '\u{1b}' => {
                let end = characters.find(char::is_ascii_alphabetic);
                if end != Some('m') {
                    pieces.push(String::new());
                }
            }
            other => pieces.last_mut().unwrap().push(other),
        }
    }
    pieces.retain(|piece| !piece.trim().is_empty());
    pieces
}

fn percents(pieces: &[String]) -> Vec<u64> {
    let before = pieces.iter().filter_map(|piece| piece.split_once("%  ").map(|(before, _)| before));
    before.filter_map(|before| before.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn the_bar_never_falls_and_fits() {
    for columns in [80, 120] {
        let (sandbox, lake) = (slow_erp(), LakeDir::new());
        let said = on_terminal(columns, &command(&sandbox, &lake, &[])).expect_code(0);
        let pieces = shown(&said);
        let percents = percents(&pieces);
        assert!(percents.len() >= 4 && percents.is_sorted(), "{percents:?}");
        let between = percents.iter().filter(|percent| (1..99).contains(*percent)).count();
        assert!(between >= 2, "pages count, not only windows: {percents:?}");
        assert!(pieces.iter().all(|piece| piece.chars().count() <= columns as usize), "{pieces:?}");
        let has = |words: &str| pieces.iter().any(|piece| piece.contains(words));
        assert!(has(" rows  ") && has(" calls (6000/min"), "{pieces:?}");
    }
}

/// Log lines stay whole: the bar makes room for them.
#[test]
fn logs_and_bars_do_not_tear_each_other() {
    let (sandbox, lake) = (slow_erp(), LakeDir::new());
    let said = on_terminal(400, &command(&sandbox, &lake, &["--log-level", "info"])).expect_code(0);
    let logged: Vec<String> = shown(&said).into_iter().filter(|piece| piece.contains("INFO")).collect();
    let commits = lake.manifests().len();
    assert_eq!(logged.iter().filter(|piece| piece.contains("committed")).count(), commits, "{logged:?}");
    assert!(logged.iter().all(|piece| piece.trim_start().starts_with("20") && !piece.contains('█')), "{logged:?}");
}

#[test]
fn quiet_and_json_show_nothing() {
    for (flags, wanted) in [(&["--quiet"][..], ""), (&["--log-format", "json"], "")] {
        let (sandbox, lake) = (slow_erp(), LakeDir::new());
        let said = on_terminal(80, &command(&sandbox, &lake, flags)).expect_code(0);
        assert_eq!(said.stdout, wanted, "{flags:?}");
    }
}

/// A run in a file or a pipe that is done soon says nothing of its way.
#[test]
fn without_a_terminal_a_short_run_is_silent() {
    let (sandbox, lake) = (slow_erp(), LakeDir::new());
    let said = run(&mut command(&sandbox, &lake, &[])).expect_code(0);
    assert_eq!(said.stderr, "");
}
