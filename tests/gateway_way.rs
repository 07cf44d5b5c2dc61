//! The way to a gateway: certificates that are in order or not, and proxies. What no repetition makes better ends at
//! once, with exit code 2, the cause and what to do.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use wdt_lake::Edition;

use crate::support::fake::{Connection, Fake, http, ok};
use crate::support::{LakeDir, Said, erp, program, program_at, run};
use crate::under_fire::fixed;

const PAGE: &[u8] = br#"{"code":0,"message":"","total_count":"0","purchase_list":[]}"#;

/// An authority of the test's own, and a file that names it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A gateway with a certificate for `host` that was good until `year`.
    fn gateway(&self, host: &str, year: i32) -> Fake {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let config = Arc::new(config);
        let wrap = move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            Box::new(StreamOwned::new(connection, stream)) as Box<dyn Connection>
        };
        Fake::wrapped(Box::new(wrap), |_, stream| drop(stream.write_all(&ok(PAGE))))
    }
}

/// One call of the gateway at `address`.
fn check(address: &str) -> Command {
    check_for(address, "5m")
}

/// The same, tried again for so long.
fn check_for(address: &str, max_retry_time: &str) -> Command {
    let mut command = program();
    command.envs(fixed(Edition::Enterprise, address)).args(["check", "--timeout", "20s"]);
    command.args(["--max-retry-time", max_retry_time]);
    command
}

fn tls_address(fake: &Fake) -> String {
    format!("https://127.0.0.1:{}/openapi2", fake.port())
}

#[track_caller]
fn ends_at_once(said: Said, fake: &Fake, words: &[&str]) {
    let said = said.expect_code(2);
    for word in words {
        assert!(said.stderr.contains(word), "`{word}` is missing:\n{}", said.stderr);
    }
    assert!(said.stderr.contains("hint: "), "{}", said.stderr);
    assert!(!said.stderr.contains("sign="), "{}", said.stderr);
    assert_eq!(fake.accepted(), 1, "it was tried again:\n{}", said.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn an_authority_that_ssl_cert_file_names_is_trusted() {
    let authority = Authority::new("ours");
    let fake = authority.gateway("127.0.0.1", 2100);
    run(check(&tls_address(&fake)).env("SSL_CERT_FILE", authority.file.path())).expect_code(0);
    assert_eq!(fake.asked().len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn certificates_that_are_not_in_order_end_the_run_at_once() {
    let authority = Authority::new("ours");
    let other = Authority::new("other");
    let fake = authority.gateway("127.0.0.1", 2100);
    let said = run(check(&tls_address(&fake)).env("SSL_CERT_FILE", other.file.path()));
    ends_at_once(said, &fake, &["no secure connection", "UnknownIssuer", "SSL_CERT_FILE"]);
    let fake = authority.gateway("127.0.0.1", 2001);
    let said = run(check(&tls_address(&fake)).env("SSL_CERT_FILE", authority.file.path()));
    ends_at_once(said, &fake, &["no secure connection", "expired", "clock"]);
    let fake = authority.gateway("erp.example", 2100);
    let said = run(check(&tls_address(&fake)).env("SSL_CERT_FILE", authority.file.path()));
    ends_at_once(said, &fake, &["no secure connection", "not valid for name", "WDT_BASE_URL"]);
}

#[test]
fn a_certificate_that_nobody_knows_stops_a_sync_too() {
    let fake = Authority::new("nobody").gateway("127.0.0.1", 2100);
    let lake = LakeDir::new();
    let mut command = program();
    command.envs(fixed(Edition::Enterprise, &tls_address(&fake)));
    let said = run(command.args(["sync", "--from", "2026-06-01", "--to", "2026-06-30", "--lake", &lake.text()]));
    ends_at_once(said, &fake, &["no secure connection"]);
}

#[test]
fn what_speaks_no_tls_ends_the_run_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}/openapi2", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(&http(400, &[], b"this is plain HTTP")).unwrap();
        // Until the other end has read it.
        let _ = stream.read(&mut [0; 4096]);
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_err()
    });
    let said = run(&mut check(&address)).expect_code(2);
    assert!(said.stderr.contains("no secure connection"), "{}", said.stderr);
    assert!(said.stderr.contains("does not speak TLS"), "{}", said.stderr);
    assert!(server.join().unwrap(), "it was tried again");
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_certificates_is_told_so_and_needs_none_for_plain_http() {
    let nowhere = ("SSL_CERT_FILE", "/nowhere/at/all.pem");
    let said = run(check("https://127.0.0.1:9/openapi2").env(nowhere.0, nowhere.1)).expect_code(2);
    assert!(said.stderr.contains("hint: ") && said.stderr.contains("ca-certificates"), "{}", said.stderr);
    let fake = Fake::answering(|_| ok(PAGE));
    run(check(&fake.url()).env(nowhere.0, nowhere.1)).expect_code(0);
}

const FAR: &str = "http://erp.invalid/openapi2";

#[test]
fn a_gateway_elsewhere_is_called_through_the_proxy() {
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let proxy = Fake::answering(|_| ok(PAGE));
        let address = format!("http://user:pr0xypass@127.0.0.1:{}", proxy.port());
        run(check(FAR).env(variable, address)).expect_code(0);
        let asked = proxy.asked();
        assert_eq!(asked.len(), 1, "{variable}");
        let head = asked[0].1.to_lowercase();
        assert!(head.starts_with("post http://erp.invalid/openapi2/purchase_apply_query.php http/1.1\r\n"), "{head}");
        // user:pr0xypass
        assert!(head.contains("proxy-authorization: basic dxnlcjpwcjb4exbhc3m="), "{head}");
    }
}

#[test]
fn no_proxy_is_kept_to_in_all_its_forms() {
    for (arguments, no_proxy) in [(&["--no-proxy"][..], ""), (&[], "erp.invalid"), (&[], "*"), (&[], ".invalid")] {
        let proxy = Fake::answering(|_| ok(PAGE));
        let address = format!("http://127.0.0.1:{}", proxy.port());
        let mut command = check_for(FAR, "0s");
        command.args(arguments).env("HTTP_PROXY", &address).env("NO_PROXY", no_proxy);
        // Nobody has that name.
        run(&mut command).expect_code(5);
        assert_eq!(proxy.accepted(), 0, "{arguments:?} {no_proxy}");
    }
}

#[test]
fn this_machine_is_never_called_through_a_proxy() {
    let proxy = Fake::answering(|_| http(503, &[], b""));
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let set = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let proxies = set.map(|name| (name, address.clone()));
    let sandbox = erp(20, 5, "2026-06-30 23:59:59");
    run(program_at(&sandbox).envs(proxies.clone()).arg("check")).expect_code(0);
    let lake = LakeDir::new();
    run(program().envs(proxies).args(["demo", "--lake", &lake.text()])).expect_code(0);
    assert_eq!(proxy.accepted(), 0);
}

#[test]
fn a_proxy_that_fails_is_named_without_its_password() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for gateway in [FAR, "https://erp.invalid/openapi2"] {
        let mut command = check_for(gateway, "0s");
        command.env("ALL_PROXY", format!("http://user:pr0xypass@127.0.0.1:{port}"));
        let said = run(command.args(["--log-level", "trace"])).expect_code(5);
        assert!(said.stderr.contains(&format!("127.0.0.1:{port}, from ALL_PROXY")), "{}", said.stderr);
        assert!(!said.stderr.contains("pr0xypass"), "{}", said.stderr);
    }
}

#[test]
fn a_proxy_that_wants_a_name_ends_the_run_at_once() {
    for gateway in [FAR, "https://erp.invalid/openapi2"] {
        let proxy = Fake::answering(|_| http(407, &[("Proxy-Authenticate", "Basic")], b""));
        let address = format!("http://user:pr0xypass@127.0.0.1:{}", proxy.port());
        let said = run(check(gateway).env("ALL_PROXY", address));
        ends_at_once(said, &proxy, &["the proxy asks for a name and a password", "ALL_PROXY"]);
    }
}

#[test]
fn an_address_that_is_no_proxy_is_a_usage_error() {
    let said = run(check(FAR).env("HTTP_PROXY", "htp://user:pr0xypass@127.0.0.1:1")).expect_code(2);
    assert!(said.stderr.contains("HTTP_PROXY is no address of a proxy"), "{}", said.stderr);
    assert!(!said.stderr.contains("pr0xypass"), "{}", said.stderr);
}

/// Where nobody listens the account is not to blame: the hint names the address.
#[test]
fn an_address_where_nobody_listens_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = run(&mut check_for(&format!("http://127.0.0.1:{port}/openapi2"), "0s")).expect_code(5);
    let hint = said.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("{said:?}"));
    assert!(hint.contains(&format!("the address 127.0.0.1:{port} ")) && hint.contains("WDT_BASE_URL"), "{hint}");
    assert!(!hint.contains("SECRET") && !hint.contains("APPKEY"), "{hint}");
    let port = port.to_string();
    let proxied =
        run(check_for("http://gateway.invalid/openapi2", "0s").env("HTTP_PROXY", format!("http://127.0.0.1:{port}")))
            .expect_code(5);
    assert!(proxied.stderr.contains("check the proxy") && proxied.stderr.contains("gateway.invalid:80"), "{proxied:?}");
}
