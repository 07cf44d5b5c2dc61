//! An S3 server of another make beside the test process, which every reader knows how to talk to. It checks no
//! signatures.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::python;

const BUCKET: &str = "lakes";

/// The server; it ends with the test.
pub(crate) struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut command = python::EXTENSIONS.script("serve_s3.py", &[BUCKET]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let mut address = String::new();
        let told = BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut address);
        assert!(told.is_ok_and(|bytes| bytes > 0), "the server says where it is");
        Self { process, address: address.trim().to_owned() }
    }

    /// A place for a lake.
    pub(crate) fn lake(&self, name: &str) -> String {
        format!("s3://{BUCKET}/{name}")
    }

    /// How many uploads in parts were begun and neither completed nor aborted, and how many parts they have.
    pub(crate) fn open_uploads(&self) -> (usize, usize) {
        let listed = self.get(&[BUCKET], "uploads");
        let all = |tag| listed.split(tag).skip(1).filter_map(|rest: &str| rest.split('<').next());
        // The listing names the uploads one after the other, each with its key first.
        let keys = all("<Key>").zip(all("<UploadId>"));
        let parts = keys.map(|(key, id)| {
            let path: Vec<&str> = std::iter::once(BUCKET).chain(key.split('/')).collect();
            self.get(&path, &format!("uploadId={id}")).matches("<Part>").count()
        });
        (all("<UploadId>").count(), parts.sum())
    }

    fn get(&self, path: &[&str], query: &str) -> String {
        let mut url = url::Url::parse(&self.address).expect("an address");
        url.path_segments_mut().expect("a path").clear().extend(path);
        url.set_query(Some(query));
        let asked = async { reqwest::get(url).await?.error_for_status()?.text().await };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(asked).expect("an answer")
    }

    /// The variables that point a client at it.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "AKIDOFANYBODY"),
            ("AWS_SECRET_ACCESS_KEY", "anything"),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_REGION", "us-east-1"),
        ]
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
