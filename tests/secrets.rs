//! Promise 6: no secret, signature or signed URL in anything that the program says or writes, at any level.

use wdt_lake::Edition;
use wdt_lake::sandbox::Fault;

use crate::support::fake::{Fake, ok};
use crate::support::{LakeDir, erp_of, program, program_at, run, sync};

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

/// What a server says that repeats the address, the body and the secret in one spelling after the other.
fn echoes(secret: &str, salt: &str) -> Vec<String> {
    let every = |prefix: &str, upper: bool| -> String {
        let hex = |byte: u8| if upper { format!("{prefix}{byte:02X}") } else { format!("{prefix}{byte:02x}") };
        salt.bytes().map(hex).collect()
    };
    let form: String = form_urlencoded::byte_serialize(salt.as_bytes()).collect();
    let json: String = salt.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    vec![
        format!("signed with {secret}:{salt}"),
        format!("bad address /openapi?sid=x&salt={form}&v=1.0"),
        format!("bad address /openapi?sid=x&salt={}&v=1.0", form.to_lowercase()),
        format!("bad address /openapi?sid=x&salt={}&v=1.0", form.replace('+', "%20")),
        format!("bad address /openapi?sid=x&salt={}&v=1.0", every("%", true)),
        format!("bad address /openapi?sid=x&salt={}&v=1.0", every("%", false)),
        format!("bad address %2Fopenapi%3Fsalt%3D{}%26v", every("%25", true)),
        format!("bad field {{\"salt\":\"{json}\"}}"),
        format!("bad salt {}", salt.to_uppercase()),
    ]
}

/// Every spelling in a refusal, in the reason of a stop, and in what cannot be read.
#[test]
fn a_salt_that_the_server_repeats_is_told_in_no_spelling() {
    let (secret, salt) = ("hunter/one", "qz7/w+v &=%盐k");
    for echo in echoes(secret, salt) {
        let text = serde_json::Value::from(echo.clone());
        for body in [
            format!("{{\"status\":1,\"message\":{text}}}"),
            format!("{{\"status\":100,\"message\":{text}}}"),
            format!(
                "{{\"status\":0,\"total\":1,\"data\":[{{\"order_no\":\"POA1\",\"error\":{text},\"error_code\":1}}]}}"
            ),
            format!("{{\"status\":0,\"total\":{text},\"data\":{text}}}"),
        ] {
            let (address, _server) = crate::under_fire::answering(Vec::leak(body.clone().into_bytes()));
            let lake = LakeDir::new();
            let mut said = String::new();
            for arguments in [&["check"][..], &["stop", "--yes", "--json", "--lake", &lake.text(), "POA1"]] {
                let mut command = program();
                command.envs(crate::under_fire::fixed(Edition::Flagship, &address));
                command.env("WDT_APPSECRET", format!("{secret}:{salt}")).args(arguments);
                command.args(["--log-level", "trace", "--max-retry-time", "0s", "--timeout", "5s"]);
                said += &format!("{:?}", run(&mut command));
            }
            for name in lake.files() {
                said.push_str(&String::from_utf8_lossy(&std::fs::read(lake.path().join(name)).unwrap()));
            }
            let lower = said.to_lowercase();
            for part in ["qz7", "hunter", "盐", "%71", "%2571", "u0071", "w+v", "%e7"] {
                assert!(!lower.contains(part), "`{part}` of {body}\n{said}");
            }
        }
    }
}

/// Everything that lies in a lake, decompressed where it is.
fn kept_in(lake: &LakeDir) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = std::fs::read(lake.path().join(&name)).unwrap();
        let bytes = if name.ends_with(".zst") { zstd::stream::decode_all(&bytes[..]).unwrap() } else { bytes };
        (name, bytes)
    };
    lake.files().into_iter().map(read).collect()
}

fn replayed(lake: &LakeDir) -> LakeDir {
    let rebuilt = LakeDir::new();
    let mut command = program();
    run(command.args(["replay", "--json", "--from-raw", &lake.text(), "--lake", &rebuilt.text()]));
    run(program().args(["verify", "--deep", "--lake", &rebuilt.text()])).expect_code(0);
    rebuilt
}

/// A gateway that repeats the request in every answer, also in those that nobody can read: what is kept of them is kept
/// without what signs, and a lake is rebuilt of it all the same.
#[test]
fn what_is_kept_of_answers_that_repeat_the_request_has_no_secret() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        let sandbox = erp_of(edition, 60, 10, "2026-06-29 23:59:59");
        sandbox.behave(|behaviour| behaviour.oddities = "request-echo,unreadable-quote=30".parse().unwrap());
        let lake = LakeDir::new();
        let arguments = ["--keep-raw", "--from", "2026-06-01", "--to", "2026-06-30", "--max-retry-time", "20s"];
        let summary = sync(&sandbox, &lake, &arguments).expect_code(3).json();
        let rebuilt = replayed(&lake);
        let (secret, salt) = sandbox.credentials().secret.expose().split_once(':').unwrap();
        let mut repeated = 0;
        for (name, bytes) in kept_in(&lake).into_iter().chain(kept_in(&rebuilt)) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(secret) && !text.contains(salt), "{edition}: {name}");
            repeated += usize::from(name.starts_with("_quarantine/") || name.starts_with("_raw/"));
            for piece in text.split("sign=").skip(1) {
                assert!(piece.starts_with("(hidden)"), "{edition}: {name}: {}", &piece[..20]);
            }
        }
        assert!(repeated >= 4, "raw and quarantine of both lakes");
        let rows = |lake: &LakeDir| {
            let told = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
            told["accounts"][0]["rows"].clone()
        };
        assert_eq!(rows(&lake), rows(&rebuilt), "{edition}");
        assert!(summary["rows"]["purchase_apply"].as_u64().unwrap() > 50, "{edition}: {summary}");
    }
}

/// The same of a record that does not fit, and of the page that it stands on.
#[test]
fn an_invalid_record_that_repeats_the_request_is_kept_without_its_secrets() {
    let fake = Fake::replying(|request| {
        let path = request.split(' ').nth(1).unwrap();
        let (start, total) = ("2026-05-03 10:00:00", 2);
        let broken = serde_json::json!({"purchase_apply_no": "A1", "status": "x", "modified": start, "echo": path});
        let sound = serde_json::json!({"purchase_apply_no": "A2", "status": 25, "modified": start, "detail_list": []});
        let data = serde_json::json!({"total_count": total, "order_list": [broken, sound]});
        ok(serde_json::json!({"status": 0, "data": data}).to_string().as_bytes())
    });
    let lake = LakeDir::new();
    let mut command = program();
    command.envs(crate::under_fire::fixed(Edition::Flagship, &fake.url()));
    command.env("WDT_APPSECRET", "s3cr3tvalue99:s4lt v4lue/77").args(["sync", "--keep-raw", "--lake", &lake.text()]);
    run(command.args(["--from", "2026-05-03", "--to", "2026-05-03", "--max-retry-time", "2s"])).expect_code(3);
    let rebuilt = replayed(&lake);
    for lake in [&lake, &rebuilt] {
        let kept = kept_in(lake);
        let (_, line) = kept.iter().find(|(name, _)| name.starts_with("_quarantine/")).unwrap();
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        let raw: serde_json::Value = serde_json::from_str(line["raw"].as_str().unwrap()).unwrap();
        let echo = raw["echo"].as_str().unwrap();
        assert!(echo.contains("salt=(hidden)&method=") && echo.contains("sign=(hidden)"), "{echo}");
        for (name, bytes) in kept.iter().filter(|(name, _)| name.starts_with('_')) {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("v4lue") && !text.contains("s3cr3t"), "{name}");
        }
    }
}

#[test]
fn a_file_without_end_is_no_secret_and_no_configuration() {
    let sandbox = erp_of(Edition::Enterprise, 10, 5, "2026-06-30 23:59:59");
    let folder = tempfile::TempDir::new().unwrap();
    let large = folder.path().join("large.toml");
    std::fs::write(&large, "#".repeat(17 << 20)).unwrap();
    let large = large.to_str().unwrap();
    let lake = LakeDir::new();
    let began = std::time::Instant::now();
    let mut endless = vec![("WDT_APPSECRET_FILE", large), ("WDT_CONFIG", large)];
    if cfg!(unix) {
        endless.extend([("WDT_APPSECRET_FILE", "/dev/zero"), ("WDT_CONFIG", "/dev/zero")]);
    }
    for (variable, path) in endless {
        let mut command = program_at(&sandbox);
        let said = run(command.env_remove("WDT_APPSECRET").env(variable, path).arg("check")).expect_code(2);
        assert!(said.stderr.contains(variable) && said.stderr.contains("too large"), "{variable}: {}", said.stderr);
    }
    let sandbox = erp_of(Edition::Flagship, 10, 5, "2026-06-30 23:59:59");
    let mut command = program_at(&sandbox);
    let said = run(command.args(["stop", "--lake", &lake.text(), "--file", large])).expect_code(2);
    assert!(said.stderr.contains("more than 16777216 bytes"), "{}", said.stderr);
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn short_secrets_do_not_mangle_what_is_said() {
    let body = br#"{"status":1,"message":"invalid salt=t&v=1: the server cannot say whether it is a test"}"#;
    let (address, _server) = crate::under_fire::answering(body);
    let mut command = program();
    command.envs(crate::under_fire::fixed(Edition::Flagship, &address)).arg("check");
    let said = run(command.args(["--max-retry-time", "0s"]));
    let told = "invalid salt=(hidden)&v=1: the server cannot say whether it is a test";
    assert!(said.stderr.contains(told), "{}", said.stderr);
}

#[test]
fn a_secret_that_cannot_be_right_is_refused_in_words_and_never_shown() {
    let sandbox = erp_of(Edition::Enterprise, 10, 5, "2026-06-30 23:59:59");
    let secret = sandbox.credentials().secret.expose().to_owned();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("secret");
    let check = |variable: &str, value: &str| {
        let mut command = program_at(&sandbox);
        run(command.env_remove("WDT_APPSECRET").env(variable, value).args(["check", "--log-level", "trace"]))
    };
    let in_file = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        check("WDT_APPSECRET_FILE", path.to_str().unwrap())
    };
    for text in [secret.clone(), format!("{secret}\n"), format!("\u{feff}{secret}\r\n"), format!(" {secret} \n\n")] {
        in_file(text.as_bytes()).expect_code(0);
    }
    let calls = sandbox.world().calls().len();
    let mut wrong = vec![
        (check("WDT_APPSECRET_FILE", "m4rker-of-a-secret"), "WDT_APPSECRET_FILE"),
        (check("WDT_APPSECRET_FILE", &"m4rker".repeat(100)), "WDT_APPSECRET_FILE"),
        (check("WDT_CONFIG", "m4rker-of-a-secret"), "WDT_CONFIG"),
        (in_file(b"\xff\xfem\x004\x00r\x00"), "UTF-8"),
        (in_file(b"\xef\xbb\xbf\n"), "empty"),
    ];
    for (text, word) in [
        ("\"m4rker\"", "quotes"),
        ("'m4rker'", "quotes"),
        ("\u{201c}m4rker\u{201d}", "quotes"),
        ("m4rker\u{200b}", "zero-width space (U+200B)"),
        ("m4r\u{200d}ker", "zero-width joiner (U+200D)"),
        ("m4rker\u{feff}", "byte order mark (U+FEFF)"),
        ("m4rker\nm4rker", "several lines"),
    ] {
        wrong.push((in_file(text.as_bytes()), word));
        wrong.push((check("WDT_APPSECRET", text), word));
    }
    for (said, word) in wrong {
        let said = said.expect_code(2);
        assert!(said.stderr.contains(word) && said.stderr.contains("hint: "), "{word}: {}", said.stderr);
        assert!(!format!("{said:?}").contains("m4r"), "{said:?}");
    }
    assert_eq!(sandbox.world().calls().len(), calls, "nothing was called");
}
