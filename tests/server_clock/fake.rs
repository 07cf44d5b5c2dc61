//! A gateway of which a test sets the `Date`, the judgement of timestamps and the rows, call by call.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use wdt_lake::{AccountSettings, BeijingTime, Edition, Window};

use super::now;
use crate::support::{LakeDir, Said, program, run};
use crate::under_fire::fixed;

/// What a call asked.
pub(super) struct Ask {
    /// Counted from 1.
    pub(super) nth: usize,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Ask {
    /// The timestamp that it is signed with.
    pub(super) fn timestamp(&self) -> i64 {
        let timestamp: i64 = self.parameters["timestamp"].parse().unwrap();
        if self.parameters.contains_key("method") { timestamp + 1_325_347_200 } else { timestamp }
    }

    fn number(&self, name: &str) -> usize {
        self.parameters[name].parse().unwrap()
    }

    /// The page of `rows` that it asks for, in order.
    pub(super) fn page(&self, rows: &[(String, BeijingTime)]) -> Value {
        let time = |name: &str| BeijingTime::parse(&self.parameters[name]).unwrap();
        let window = Window::new(time("start_time"), time("end_time")).unwrap();
        let mut own: Vec<_> = rows.iter().filter(|(_, modified)| window.contains(*modified)).collect();
        own.sort_by_key(|(number, modified)| (*modified, number.clone()));
        let (page, size) = (self.number("page_no"), self.number("page_size"));
        let list: Vec<Value> =
            own.iter().skip(page * size).take(size).map(|(number, modified)| row(number, *modified)).collect();
        let mut answer = json!({"code": 0, "message": "", "purchase_list": list});
        if page == 0 {
            answer["total_count"] = own.len().to_string().into();
        }
        answer
    }
}

fn row(number: &str, modified: BeijingTime) -> Value {
    let modified = modified.to_string();
    json!({
        "apply_id": number.trim_start_matches(|letter: char| !letter.is_ascii_digit()), "purchase_apply_no": number, "status": "25",
        "real_num": "3.0000", "modified": modified, "created": modified,
        "details_list": [{"rec_id": "1", "purchase_apply_no": number, "spec_no": "s1", "real_num": "3.0000"}],
    })
}

/// What it is answered.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) date: Option<String>,
    pub(super) body: Value,
}

impl Reply {
    /// By a clock that is so far ahead.
    pub(super) fn by(ahead: i64, body: Value) -> Self {
        Self { status: 200, date: Some(http_date(now().plus_seconds(ahead))), body }
    }
}

pub(super) fn http_date(time: BeijingTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.unix().try_into().unwrap()))
}

/// A gateway on a port of its own that answers one call after the other.
pub(super) struct Fake {
    pub(super) address: String,
    pub(super) asked: Arc<Mutex<Vec<i64>>>,
}

impl Fake {
    pub(super) fn new(answer: impl Fn(&Ask) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/openapi2", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some((mut stream, parameters)) = stream.ok().and_then(read) else { continue };
                let ask = Ask { nth: calls.lock().unwrap().len() + 1, parameters };
                calls.lock().unwrap().push(ask.timestamp());
                let Reply { status, date, body } = answer(&ask);
                let (body, date) = (body.to_string(), date.map(|date| format!("Date: {date}\r\n")).unwrap_or_default());
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\n{date}Content-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        Self { address, asked }
    }

    pub(super) fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The program's own, without a rate limit.
    pub(super) fn sync(&self, lake: &LakeDir, arguments: &[&str]) -> Said {
        let usual = ["sync", "--json", "--calls-per-minute", "0", "--max-retry-time", "1s", "--lake", &lake.text()];
        run(program().envs(fixed(Edition::Enterprise, &self.address)).args(usual).args(arguments))
    }

    pub(super) fn account(&self, edition: Edition) -> AccountSettings {
        let environment = fixed(edition, &self.address);
        AccountSettings::from_env(|name| environment.get(name).cloned(), |path| std::fs::read_to_string(path)).unwrap()
    }
}

/// Reads a request to its end: the parameters of its query string, and those of its form.
fn read(mut stream: TcpStream) -> Option<(TcpStream, BTreeMap<String, String>)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let path = lines.next()?.split(' ').nth(1)?.to_owned();
            let length =
                lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let query = path.split_once('?').map_or("", |(_, query)| query);
                let pairs = [query, body]
                    .into_iter()
                    .flat_map(|text| url::form_urlencoded::parse(text.as_bytes()).into_owned());
                return Some((stream, pairs.collect()));
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
