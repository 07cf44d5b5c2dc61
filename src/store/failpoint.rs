//! The place where a test can interfere with a store: errors before an effect, answers lost after it, and death at a
//! named point.
//!
//! In release builds a [`FailPoints`] is empty and its methods do nothing. It comes alive in builds with debug
//! assertions, which are those that tests run and users do not: unit tests give a store an `FaultInjection`, and the
//! environment variable `WDT_LAKE_FAILPOINT=name` aborts the real program the first time that the point `name` of
//! [`POINTS`] is reached, and `name@3` the third time. An abort runs no destructor and flushes nothing, so to the lake
//! it is a kill. A lake in a bucket passes [`BUCKET_POINTS`] too, and `WDT_LAKE_PART_BYTES=n` lets it put every object
//! of at least that size in parts of that size.

use bytes::Bytes;

use crate::error::Result;

/// The named points, in the order in which a commit and then a sweep pass them on local disk.
pub const POINTS: [&str; 12] = [
    "put.staged",
    "put.published",
    "land.file_written",
    "commit.files_written",
    "create.staged",
    "create.published",
    "commit.created",
    "commit.removed_one",
    "commit.done",
    "sweep.listed",
    "sweep.fenced",
    "sweep.deleted_one",
];

/// What a bucket has in place of the `put.*` and `create.*` of local disk, where nothing is staged and every step is a
/// request.
pub const BUCKET_POINTS: [&str; 7] = [
    "put.sending",
    "upload.begun",
    "upload.part_sent",
    "upload.parts_sent",
    "put.sent",
    "create.sending",
    "create.sent",
];

/// What a run that publishes passes besides.
#[cfg(any(test, debug_assertions))]
pub(crate) const PUBLISH_POINTS: [&str; 4] =
    ["publish.read", "publish.listed", "publish.created", "publish.checkpointed"];

/// What is done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Put,
    Create,
    Get,
    List,
    Delete,
}

/// One effect on, or question to, a store.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at what they interfere with"))]
pub(crate) struct Effect<'a> {
    pub(crate) op: Op,
    pub(crate) path: &'a str,
    pub(crate) body: Option<&'a Bytes>,
}

/// When a test is asked.
#[cfg(any(test, debug_assertions))]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at effects"))]
pub(crate) enum InjectedAt<'a> {
    /// Before an effect; an error means that there was none.
    Before(Effect<'a>),
    /// After it; an error means that the answer was lost.
    After(Effect<'a>),
    /// At a named point.
    Point(&'static str),
}

/// What a test does to a store.
#[cfg(any(test, debug_assertions))]
pub(crate) trait FaultInjection: Send + Sync {
    /// Called at every moment; what it returns is what the caller of the store gets.
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> futures::future::BoxFuture<'a, Result<()>>;
}

/// See the module documentation.
#[derive(Clone, Default)]
pub(crate) struct FailPoints {
    #[cfg(any(test, debug_assertions))]
    faults: Option<std::sync::Arc<dyn FaultInjection>>,
    #[cfg(any(test, debug_assertions))]
    part_bytes: Option<usize>,
}

#[cfg(any(test, debug_assertions))]
impl FailPoints {
    #[cfg(test)]
    pub(crate) fn new(faults: std::sync::Arc<dyn FaultInjection>) -> Self {
        Self { faults: Some(faults), part_bytes: None }
    }

    /// The same, and every object of at least so many bytes is put in parts of them.
    #[cfg(test)]
    pub(crate) fn in_parts_of(self, bytes: usize) -> Self {
        Self { part_bytes: Some(bytes), ..self }
    }

    /// The fail_points of a real process: alive when `WDT_LAKE_FAILPOINT` is set.
    pub(crate) fn of_process() -> Self {
        let part_bytes = std::env::var("WDT_LAKE_PART_BYTES").ok().and_then(|text| text.parse().ok());
        Self { faults: Abort::from_environment().map(|abort| std::sync::Arc::new(abort) as _), part_bytes }
    }

    /// From how many bytes on an object is put in parts, and how big the parts are, if a test says so.
    pub(crate) fn part_bytes(&self) -> Option<usize> {
        self.part_bytes
    }

    /// Whether anything looks at effects.
    pub(crate) fn are_watched(&self) -> bool {
        self.faults.is_some()
    }

    pub(crate) async fn before(&self, effect: Effect<'_>) -> Result<()> {
        self.ask(InjectedAt::Before(effect)).await
    }

    pub(crate) async fn after(&self, effect: Effect<'_>) -> Result<()> {
        self.ask(InjectedAt::After(effect)).await
    }

    pub(crate) async fn point(&self, name: &'static str) -> Result<()> {
        let mut listed = POINTS.iter().chain(&BUCKET_POINTS).chain(&PUBLISH_POINTS);
        debug_assert!(listed.any(|point| *point == name), "{name} is not listed");
        self.ask(InjectedAt::Point(name)).await
    }

    async fn ask(&self, moment: InjectedAt<'_>) -> Result<()> {
        match &self.faults {
            Some(faults) => faults.at(moment).await,
            None => Ok(()),
        }
    }
}

#[cfg(not(any(test, debug_assertions)))]
#[expect(clippy::unused_async, reason = "the same signatures as in test builds, where they wait")]
impl FailPoints {
    pub(crate) fn of_process() -> Self {
        Self::default()
    }

    pub(crate) fn part_bytes(&self) -> Option<usize> {
        None
    }

    pub(crate) fn are_watched(&self) -> bool {
        false
    }

    pub(crate) async fn before(&self, _effect: Effect<'_>) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn after(&self, _effect: Effect<'_>) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn point(&self, _name: &'static str) -> Result<()> {
        Ok(())
    }
}

/// Aborts the process at one point, after it was passed so many times.
#[cfg(any(test, debug_assertions))]
struct Abort {
    point: String,
    left: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, debug_assertions))]
impl Abort {
    fn from_environment() -> Option<Self> {
        let text = std::env::var("WDT_LAKE_FAILPOINT").ok()?;
        let (point, count) = text.split_once('@').unwrap_or((&text, "1"));
        Some(Self { point: point.to_owned(), left: count.parse().unwrap_or(1).into() })
    }
}

#[cfg(any(test, debug_assertions))]
impl FaultInjection for Abort {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> futures::future::BoxFuture<'a, Result<()>> {
        use std::sync::atomic::Ordering;
        if matches!(moment, InjectedAt::Point(name) if name == self.point)
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            std::process::abort();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_documented() {
        let text = include_str!("../../docs/lake-format.md");
        for name in POINTS.iter().chain(&BUCKET_POINTS).chain(&PUBLISH_POINTS) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}
