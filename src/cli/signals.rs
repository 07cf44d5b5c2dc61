//! SIGINT and SIGTERM, for the commands that end in order.
//!
//! They are waited for on a thread of their own, so that no call that blocks the others can keep the process alive:
//! some time after the run should have ended by itself, the thread ends it.

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
    let (ready, is_ready) = mpsc::channel();
    let listening = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::internal("cannot start the runtime for signals").because(error))?;
        runtime.block_on(watch(&interrupter, ready))
    };
    let failed = |error| Error::internal("cannot start a thread").with("thread", "signals").because(error);
    std::thread::Builder::new().name("signals".to_owned()).spawn(listening).map_err(failed)?;
    is_ready.recv().map_err(|_| Error::internal("cannot listen to signals"))?;
    Ok(interrupt)
}

/// Passes every signal on, and ends the process when that was no use.
async fn watch(interrupter: &Interrupter, ready: mpsc::Sender<()>) -> Result<()> {
    let mut signals = Signals::new().map_err(|error| Error::internal("cannot listen to signals").because(error))?;
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
