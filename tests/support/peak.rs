//! How much memory the program takes at most, as the kernel has counted it when the program ends: no moment is missed,
//! and nothing is polled.

use std::path::Path;
use std::process::Command;

use super::{Said, run};

/// Python's `wait4` tells what a process took; in our own code it would need `unsafe`.
const MEASURE: &str = include_str!("peak.py");

/// Runs the program, and gives its largest resident set in bytes. `None` where the kernel does not count as Linux does.
pub(crate) fn run_measured(command: &Command) -> Option<(Said, u64)> {
    if !Path::new("/proc/self/status").exists() {
        // Written past the capture of the test harness, so that nobody takes the silence for a passed check.
        use std::io::Write as _;
        let _ = std::io::stderr().write_all(b"\n*** NOT TESTED: peak memory. There is no /proc on this machine.\n");
        return None;
    }
    let told = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut measured = Command::new("python3");
    measured.args(["-S", "-E", "-c", MEASURE]).arg(told.path()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    let said = run(&mut measured);
    let kibibytes = std::fs::read_to_string(told.path()).expect("written");
    let kibibytes: u64 = kibibytes.trim().parse().unwrap_or_else(|_| panic!("no peak was told: {said:?}"));
    Some((said, kibibytes << 10))
}
