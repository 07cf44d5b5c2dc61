//! The program as the first process of a container, with no init program before it: the kernel ends such a process by
//! no signal that it has no handler for, and whoever stops the container waits and then kills it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use wdt_lake::sandbox::Sandbox;

use crate::support::process::{at_call, end, signal, start, told};
use crate::support::{LakeDir, Said, erp, program_at};

/// As long as the call that the signal comes in waits for the end of the program.
const HANG: Duration = Duration::from_secs(60);

/// How a process gets process numbers of its own: as root, or as root of a user namespace.
const WAYS: [&[&str]; 2] = [&["--pid", "--fork"], &["--user", "--map-root-user", "--pid", "--fork"]];

/// The way that this machine allows, or none, which is said.
fn way() -> Option<&'static [&'static str]> {
    let works = |way: &&&[&str]| {
        let tried = Command::new("unshare").args(**way).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = WAYS.iter().find(works).copied();
    if found.is_none() {
        let said = b"\n*** NOT TESTED: signals to the first process of a container. This machine allows no `unshare --pid`. ***\n\n";
        std::io::stderr().write_all(said).unwrap();
    }
    found
}

/// The same command as the first process of its own process numbers.
fn first(way: &[&str], command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(way).arg("--kill-child").arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    unshare
}

/// The only child of `unshare`, by its number outside.
fn child_of(process: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// What the program says that gets a signal in its first call, which is answered only after the program has ended.
fn signalled(sandbox: &Sandbox, command: &mut Command, name: &'static str) -> Said {
    let (started, process) = channel();
    let (ended, end_of_it) = channel::<()>();
    at_call(sandbox, 1, move || {
        signal(child_of(told(&process)), name);
        // Ends when the sender is dropped.
        let _ = end_of_it.recv_timeout(HANG);
    });
    let child = start(command);
    started.send(child.id()).unwrap();
    let said = end(child);
    drop(ended);
    sandbox.forget_script();
    said
}

#[test]
fn a_signal_ends_a_command_that_has_no_handler() {
    let Some(way) = way() else { return };
    let erp = erp(50, 2, "2026-06-29 23:59:59");
    let mut check = program_at(&erp);
    check.arg("check");
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let said = signalled(&erp, &mut first(way, &check), name).expect_code(code);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{name}");
    }
}

#[test]
fn a_sync_still_ends_in_order() {
    let Some(way) = way() else { return };
    let erp = erp(50, 2, "2026-06-29 23:59:59");
    let lake = LakeDir::new();
    let mut sync = program_at(&erp);
    sync.args(["sync", "--json", "--lake", &lake.text(), "--from", "2026-06-28", "--to", "2026-06-29"]);
    for name in ["TERM", "INT"] {
        let said = signalled(&erp, &mut first(way, &sync), name).expect_code(7);
        assert_eq!(said.json()["interrupted"], true, "{name}");
        assert!(lake.lease_is_free(), "{name}: the lease was given back");
    }
    signalled(&erp, &mut first(way, &sync), "HUP").expect_code(129);
}
