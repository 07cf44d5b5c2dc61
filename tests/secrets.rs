//! Promise 6: no secret, signature or signed URL in anything that the program says or writes, at any level.

use wdt_lake::Edition;
use wdt_lake::sandbox::Fault;

use crate::support::{LakeDir, erp_of, program, program_at, run};

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
