//! A gateway that answers raw bytes, for what the sandbox is too well-behaved to send.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use wdt_lake::{AccountSettings, Edition};

/// What an answer is written to.
pub(crate) trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

type Wrap = dyn Fn(TcpStream) -> Box<dyn Connection> + Send + Sync;

/// Serves until the process ends.
pub(crate) struct Fake {
    port: u16,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
    accepted: Arc<Mutex<usize>>,
}

impl Fake {
    /// Answers the nth request, from 1, by what `answer` writes; every connection takes one request.
    pub(crate) fn start(answer: impl Fn(usize, &mut dyn Connection) + Send + Sync + 'static) -> Self {
        Self::wrapped(Box::new(|stream| Box::new(stream)), answer)
    }

    /// The same with a bytes-only answer.
    pub(crate) fn answering(answer: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |nth, stream| drop(stream.write_all(&answer(nth))))
    }

    /// The same by what each request says, head and body.
    pub(crate) fn hearing(answer: impl Fn(&str, &mut dyn Connection) + Send + Sync + 'static) -> Self {
        Self::serve(Box::new(|stream| Box::new(stream)), move |_, request, stream| answer(request, stream))
    }

    /// The same, of an answer that depends on the request, head and body.
    pub(crate) fn replying(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::serve(Box::new(|stream| Box::new(stream)), move |_, request, stream| {
            drop(stream.write_all(&answer(request)));
        })
    }

    /// The same over connections that are wrapped, in TLS for example.
    pub(crate) fn wrapped(
        wrap: Box<Wrap>,
        answer: impl Fn(usize, &mut dyn Connection) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(wrap, move |nth, _, stream| answer(nth, stream))
    }

    fn serve(wrap: Box<Wrap>, answer: impl Fn(usize, &str, &mut dyn Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (asked, accepted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let fake = Self { port, asked: Arc::clone(&asked), accepted: Arc::clone(&accepted) };
        let (wrap, answer) = (Arc::new(wrap), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                *accepted.lock().expect("no panic") += 1;
                let (wrap, answer, asked) = (Arc::clone(&wrap), Arc::clone(&answer), Arc::clone(&asked));
                std::thread::spawn(move || {
                    let mut stream = wrap(stream);
                    let Some(request) = read_request(&mut *stream) else { return };
                    let nth = {
                        let mut asked = asked.lock().expect("no panic");
                        asked.push((Instant::now(), request.clone()));
                        asked.len()
                    };
                    answer(nth, &request, &mut *stream);
                    let _ = stream.flush();
                });
            }
        });
        fake
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/openapi2", self.port)
    }

    /// The requests, head and body, with the time at which each was there.
    pub(crate) fn asked(&self) -> Vec<(Instant, String)> {
        self.asked.lock().expect("no panic").clone()
    }

    /// How many connections were made, those without a request included.
    pub(crate) fn accepted(&self) -> usize {
        *self.accepted.lock().expect("no panic")
    }

    /// An account of this gateway.
    pub(crate) fn account(&self, edition: Edition) -> AccountSettings {
        let variable = |name: &str| {
            Some(match name {
                "WDT_EDITION" => edition.name().to_owned(),
                "WDT_SID" => "acme2".to_owned(),
                "WDT_APPKEY" => "k".to_owned(),
                "WDT_APPSECRET" => "s3cret:s4lt".to_owned(),
                "WDT_BASE_URL" => self.url(),
                _ => return None,
            })
        };
        AccountSettings::from_env(variable, |path| std::fs::read_to_string(path)).expect("an account")
    }
}

fn read_request(stream: &mut dyn Connection) -> Option<String> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// A complete HTTP answer.
pub(crate) fn http(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        answer += &format!("{name}: {value}\r\n");
    }
    [answer.as_bytes(), b"\r\n", body].concat()
}

/// A complete HTTP 200.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    http(200, &[], body)
}
