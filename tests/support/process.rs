//! The program while it runs: signals that reach it at a call of its own, never by the clock.

use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use wdt_lake::sandbox::Sandbox;

use super::{Said, said};

/// Nothing here takes nearly as long; a test that waits longer has found a hang.
const HANG: Duration = Duration::from_secs(120);

/// Sends a signal, such as `KILL`, to a process that was started and not waited for.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {process}")]).status().expect("a shell");
    assert!(sent.success(), "{name} was sent");
}

/// Starts the program, to be waited for with [`end`].
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits for the program's end.
pub(crate) fn end(child: Child) -> Said {
    let output: Output = child.wait_with_output().expect("the program ends");
    said(output)
}

/// Waits until something is told.
pub(crate) fn told<T>(by: &Receiver<T>) -> T {
    by.recv_timeout(HANG).expect("told in time")
}

/// Calls `act` when the sandbox has worked on the `nth` call from now on and has not answered it yet. The world stands
/// still meanwhile.
pub(crate) fn at_call(sandbox: &Sandbox, nth: u64, act: impl FnOnce() + Send + 'static) {
    let (calls, act) = (AtomicU64::new(0), Mutex::new(Some(act)));
    sandbox.after_call(move |_, _| {
        if calls.fetch_add(1, Ordering::SeqCst) + 1 == nth
            && let Some(act) = act.lock().expect("no panic").take()
        {
            act();
        }
    });
}

/// Runs the program and sends it a signal at its `nth` call, which is answered only after the program has ended. When
/// it makes fewer calls, it just runs.
pub(crate) fn run_signalled(sandbox: &Sandbox, command: &mut Command, nth: u64, name: &'static str) -> Said {
    run_signalled_once(|| true, sandbox, command, nth, name)
}

/// The same, but with the signal no sooner than something `is_so`, which must come about without further calls.
pub(crate) fn run_signalled_once(
    is_so: impl Fn() -> bool + Send + 'static,
    sandbox: &Sandbox,
    command: &mut Command,
    nth: u64,
    name: &'static str,
) -> Said {
    let (started, process) = channel();
    let (ended, end_of_it) = channel::<()>();
    at_call(sandbox, nth, move || {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < HANG, "what the signal waits for does not come about");
            thread::sleep(Duration::from_millis(5));
        }
        signal(told(&process), name);
        // Ends when the sender is dropped.
        let _ = end_of_it.recv_timeout(HANG);
    });
    let child = start(command);
    started.send(child.id()).expect("the hook is there");
    let said = end(child);
    drop(ended);
    sandbox.forget_script();
    said
}
