//! The promises, tried against the sandbox, the real program, and real readers. One binary, one module for each
//! promise.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]
#![expect(clippy::too_many_lines, reason = "a test tells one story from its beginning to its end")]

mod support;

mod accounts;
mod audit;
mod bad_input;
mod changes;
mod compaction;
mod completeness;
mod compression;
#[cfg(unix)]
mod crash;
mod ddl;
mod delta;
#[cfg(all(unix, debug_assertions))]
mod delta_worlds;
mod doctor;
mod editions;
mod examples;
mod export;
mod fed;
#[cfg(target_os = "linux")]
mod first_process;
mod gateway_answers;
mod gateway_way;
#[cfg(all(unix, debug_assertions))]
mod golden;
#[cfg(unix)]
mod hostile_store;
mod iceberg;
#[cfg(unix)]
mod interrupt;
mod languages;
#[cfg(target_os = "linux")]
mod local_disk;
mod locations;
mod logs;
mod main_job;
mod manifest;
mod many_accounts;
mod metrics;
mod modules;
mod odd_answers;
mod oddities;
mod other_answers;
#[cfg(unix)]
mod outage;
#[cfg(unix)]
mod output;
#[cfg(unix)]
mod pages;
mod peak_memory;
mod peak_upkeep;
#[cfg(unix)]
mod progress;
mod readers;
mod reads;
#[cfg(unix)]
mod recipes;
mod replay;
mod report;
mod retention;
#[cfg(unix)]
mod s3_crash;
mod s3_lake;
mod s3_readers;
mod sandbox_command;
mod secrets;
mod server_clock;
mod shards;
mod spark;
mod status;
mod status_check;
mod stop;
#[cfg(unix)]
mod stop_faults;
mod stop_plan;
mod stop_worlds;
#[cfg(unix)]
mod two_at_once;
mod under_fire;
mod until;
#[cfg(all(unix, debug_assertions))]
mod upkeep_deaths;
mod vendor_pages;
mod verify;
#[cfg(unix)]
mod ways_in;
