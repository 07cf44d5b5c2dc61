//! Threads for work that takes its time, each with one job: reading answers, encoding files.
//!
//! The memory that a thread has taken stays with it. Were every job done wherever a thread is free, each thread would
//! come to hold what the largest of all jobs takes; so each kind of job has one thread, and its jobs are done in turn.
//! What a job logs says whose it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;
use tracing::Span;

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after the other, for all who hold a clone of this. It ends with the last job after the
/// last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread, under a name that tools show.
    pub(crate) fn start(name: &str) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in waiting {
                    // A job that panics is an error of who asked for it, and of nobody else.
                    drop(catch_unwind(AssertUnwindSafe(job)));
                }
            })
            .map_err(|error| Error::internal("cannot start a thread").with("thread", name).because(error))?;
        Ok(Self { jobs })
    }

    /// Does `work` when its turn comes.
    ///
    /// # Errors
    /// What `work` returns; [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the thread has failed.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        // Who asked may be gone by then, and then nobody wants the outcome.
        let span = Span::current();
        let job = Box::new(move || drop(done.send(span.in_scope(work))));
        let failed = || Error::internal("cannot finish a job: its thread has failed");
        self.jobs.send(job).map_err(|_| failed())?;
        outcome.await.map_err(|_| failed())?
    }
}

/// Runs work that takes its time off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|error| Error::internal("cannot finish a job: its thread ended").because(error))?
}
