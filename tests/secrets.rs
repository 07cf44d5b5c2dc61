//! Promise 6: no secret, signature or signed URL in anything that the program says or writes, at any level.

use wdt_lake::edition::Edition;
use wdt_lake::sandbox::Fault;

use crate::support::{LakeDir, erp_of, program_at, run};

/// Enterprise signs a form, flagship the URL itself.
#[test]
fn a_trace_level_run_under_fire_tells_no_secret() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        tells_no_secret(edition);
    }
}

fn tells_no_secret(edition: Edition) {
    let sandbox = erp_of(edition, 400, 20, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    // A refused signature, a broken connection and a server error first, so that errors are converted and logged too.
    sandbox.next_faults(["502", "disconnect", "html"].map(|name| Some(name.parse::<Fault>().unwrap())));
    let mut command = program_at(&sandbox);
    command.args([
        "sync",
        "--lake",
        &lake.text(),
        "--from",
        "2026-06-01",
        "--to",
        "2026-06-30",
        "--calls-per-minute",
        "0",
    ]);
    let text = run(command.args(["--log-level", "trace"])).expect_code(0);
    let json =
        run(program_at(&sandbox).args(["get", "POA1", "--log-level", "trace", "--log-format", "json"])).expect_code(0);
    let refused = run(program_at(&sandbox).env("WDT_APPSECRET", "another-secret:another-salt").args([
        "get",
        "POA1",
        "--log-level",
        "trace",
    ]))
    .expect_code(4);
    assert!(text.stderr.contains("trying again"), "the faults were met: {}", text.stderr);

    let mut said = [text, json, refused].map(|said| said.stdout + &said.stderr).concat();
    if edition == Edition::Flagship {
        // The call that changes the ERP, without an answer and refused: both are written into the lake.
        for fault in ["disconnect", "502"] {
            sandbox.choose_faults(move |call| (call.method == crate::stop::STOP).then(|| fault.parse().unwrap()));
            let mut command = program_at(&sandbox);
            command.args(["stop", "--yes", "--lake", &lake.text(), &format!("POA-{fault}"), "--log-level", "trace"]);
            let stopped = run(&mut command).expect_code(3);
            said += &(stopped.stdout + &stopped.stderr);
        }
    }
    for name in lake.files() {
        said.push_str(&String::from_utf8_lossy(&std::fs::read(lake.path().join(name)).unwrap()));
    }
    let (secret, salt) = sandbox.credentials().secret.expose().split_once(':').unwrap();
    for word in [secret, salt, "another-secret", "another-salt", "sign=", "&sign", "salt=", "appsecret"] {
        assert!(!said.contains(word), "`{word}` was said");
    }
    // Every signature that was sent is 32 hex digits; none of what was said is.
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let mut run_length = 0;
    for byte in said.bytes().chain([b' ']) {
        if is_hex(byte) {
            run_length += 1;
        } else {
            assert_ne!(run_length, 32, "something that looks like a signature was said");
            run_length = 0;
        }
    }
}
