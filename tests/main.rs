//! The promises, tried against the sandbox, the real program, and real readers. One binary, one module for each promise.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod support;

mod bad_input;
mod completeness;
mod main_job;
mod manifest;
mod secrets;
mod under_fire;
