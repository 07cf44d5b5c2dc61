//! SIGINT and SIGTERM, for the commands that end in order.
//!
//! They are waited for on a thread of their own, so that no call that blocks the others can keep the process alive:
//! some time after the run should have ended by itself, the thread ends it.
//!
//! All other commands leave signals to the kernel, which ends a process without a handler. It does not do so with the
//! first process of a container: that one has a thread which ends it, so that no init program is needed before it.

use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorClass, Result, exit};
use crate::pipeline::{Interrupt, Interrupter};

/// When the process is ended that was asked once. Its run gives up somewhat earlier, and tells what it did.
const LAST_MOMENT: Duration = Duration::from_millis(9_500);
/// The same after it was asked twice.
const AT_ONCE: Duration = Duration::from_millis(1_000);

/// Listens from this call on, so that nothing is lost that comes before it is awaited.
pub(super) fn listen() -> Result<Interrupt> {
    let (interrupter, interrupt) = Interrupt::new();
    on_a_thread("signals", |ready| watch(interrupter, ready))?;
    #[cfg(unix)]
    first_process::COMMAND_LISTENS.store(true, std::sync::atomic::Ordering::SeqCst);
    Ok(interrupt)
}

/// Begins to wait for signals on a thread of its own, and returns when it does so.
fn on_a_thread<F: Future<Output = Result<()>>>(
    name: &'static str,
    waiting: impl FnOnce(mpsc::Sender<()>) -> F + Send + 'static,
) -> Result<()> {
    let (ready, is_ready) = mpsc::channel();
    let listening = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::internal("cannot start the runtime for signals").because(error))?;
        runtime.block_on(waiting(ready))
    };
    let failed = |error| Error::internal("cannot start a thread").with("thread", name).because(error);
    std::thread::Builder::new().name(name.to_owned()).spawn(listening).map_err(failed)?;
    is_ready.recv().map_err(|_| cannot_listen())
}

fn cannot_listen() -> Error {
    Error::internal("cannot listen to signals")
}

/// Passes every signal on, and ends the process when that was no use.
async fn watch(interrupter: Interrupter, ready: mpsc::Sender<()>) -> Result<()> {
    let mut signals = Signals::new().map_err(|error| cannot_listen().because(error))?;
    // Who waits for it is there.
    let _ = ready.send(());
    signals.next().await;
    interrupter.ask();
    let mut limit = Instant::now() + LAST_MOMENT;
    loop {
        tokio::select! {
            () = signals.next() => {
                interrupter.ask();
                limit = limit.min(Instant::now() + AT_ONCE);
            }
            () = tokio::time::sleep_until(limit) => end(),
        }
    }
}

#[expect(clippy::exit, reason = "whatever still runs cannot be reached any more")]
fn end() {
    super::print_error(
        &Error::new(ErrorClass::Interrupted, "interrupted, and what was under way did not end")
            .hint("run again: what is committed stays"),
    );
    std::process::exit(exit::INCOMPLETE.into());
}

/// The first process of a container, or of anything else with process numbers of its own.
#[cfg(unix)]
pub(super) mod first_process {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{cannot_listen, on_a_thread};
    use crate::error::Result;

    /// Whether the command has said by [`super::listen`] that it ends in order by itself.
    pub(super) static COMMAND_LISTENS: AtomicBool = AtomicBool::new(false);

    /// Lets a signal end the process as it would end any other. The kernel does not end the first process by a signal
    /// that it has no handler for.
    pub(in crate::cli) fn obey() -> Result<()> {
        if std::process::id() == 1 { on_a_thread("first process", watch) } else { Ok(()) }
    }

    async fn watch(ready: mpsc::Sender<()>) -> Result<()> {
        let of = |kind| signal(kind).map_err(|error| cannot_listen().because(error));
        let (mut interrupt, mut terminate) = (of(SignalKind::interrupt())?, of(SignalKind::terminate())?);
        let (mut hang_up, mut quit) = (of(SignalKind::hangup())?, of(SignalKind::quit())?);
        // Who waits for it is there.
        let _ = ready.send(());
        loop {
            tokio::select! {
                () = next(&mut interrupt) => end_unless_command_listens(SignalKind::interrupt()),
                () = next(&mut terminate) => end_unless_command_listens(SignalKind::terminate()),
                () = next(&mut hang_up) => end(SignalKind::hangup()),
                () = next(&mut quit) => end(SignalKind::quit()),
            }
        }
    }

    /// None after the last signal, which does not come.
    async fn next(signal: &mut Signal) {
        if signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    fn end_unless_command_listens(kind: SignalKind) {
        if !COMMAND_LISTENS.load(Ordering::SeqCst) {
            end(kind);
        }
    }

    /// With the number that a shell gives to the end by a signal.
    #[expect(clippy::exit, reason = "what the kernel would do with any other process")]
    fn end(kind: SignalKind) {
        std::process::exit(128 + kind.as_raw_value());
    }
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix, where it can fail")]
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
