//! The thread that encodes, one file after the other.
//!
//! An encoder takes some 12 MiB while it works, and the memory of a thread stays with it. So files are not encoded wherever a thread is
//! free, but always here.

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A thread for work that is done in turn. It ends with the last job after this is dropped.
#[derive(Debug)]
pub(super) struct Encoder {
    jobs: mpsc::Sender<Job>,
}

impl Encoder {
    pub(super) fn start() -> Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("encoder".to_owned())
            .spawn(move || waiting.into_iter().for_each(|job| job()))
            .map_err(|error| Error::internal("start the thread that encodes").because(error))?;
        Ok(Self { jobs })
    }

    /// Does `work` when its turn comes.
    ///
    /// # Errors
    /// What `work` returns; [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the thread has failed.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        // Who asked may be gone by then, and then nobody wants the outcome.
        let job = Box::new(move || drop(done.send(work())));
        let failed = || Error::internal("the thread that encodes has failed");
        self.jobs.send(job).map_err(|_| failed())?;
        outcome.await.map_err(|_| failed())?
    }
}
