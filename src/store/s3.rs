//! A lake in a bucket: which settings count, and the S3 client that is built of them.
//!
//! Only environment variables that begin with `AWS_` count, under the names that object_store documents; a stray
//! `ENDPOINT` or `TIMEOUT` is none of our business. What is missing or contradicts itself is said before anything is
//! asked of the network: without credentials the client would look for instance metadata and wait for it, so that is
//! tried only when `AWS_EC2_METADATA_DISABLED=false` or `AWS_METADATA_ENDPOINT` asks for it. `AWS_PROFILE` and the
//! files of the AWS command line are not read.
//!
//! Two things are made easier than the client has them: plain http is allowed to a loopback address, and with
//! virtual-hosted style the bucket is put in front of the endpoint's host, where the endpoint does not name it yet.
//!
//! How an object is created only where nothing stands is said in `create`, how requests are repeated in `http`, what of
//! a listing is believed in `pages`.

mod create;
mod explain;
mod http;
mod listing;
mod pages;
mod refusal;
pub(crate) mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use url::{Host, Url};

pub(crate) use self::create::CreateHeader;
pub(crate) use self::explain::{Contact, Explained};
use self::http::{Connector, RetryTimes};
use self::pages::Listing;
pub(crate) use self::pages::{ListQuery, Unlisted};
pub(crate) use self::refusal::{is_taken, misses_bucket, refuses_condition};

use crate::error::{Error, ErrorClass, Result};
use crate::home;
use crate::text::key;
use crate::unsaid::Unsaid;

/// What every setting's name begins with.
const PREFIX: &str = "AWS_";
/// A proxy that nothing goes through, so that the client asks the environment for none.
const NO_PROXY: &str = "http://127.0.0.1:9";
const EVERYTHING: &str = "*,0.0.0.0/0,::/0";

/// The longest that one request may take, where `AWS_TIMEOUT` says nothing: a part of a big file may take long over a
/// slow line.
const REQUEST_TIME: &str = "120s";

const NO_CREDENTIALS: &str = key!(
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary keys), or \
AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, or run with container credentials; instance metadata is asked only with \
AWS_EC2_METADATA_DISABLED=false"
);
const NO_PROFILES: &str = key!(
    "AWS_PROFILE is not supported: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for example with \
`eval \"$(aws configure export-credentials --format env)\"`"
);

/// Where a lake lies, and how it is reached. Holds secrets, so it has no `Debug`.
struct Settings {
    bucket: String,
    prefix: Path,
    /// The root as people write it, without a slash at the end.
    root: String,
    options: Vec<(Key, String)>,
    create_header: CreateHeader,
    /// What people call the store's address.
    endpoint: String,
    secrets: Unsaid,
}

/// A client: for objects, and for the steps of uploads in parts.
trait Client: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Client for T {}

/// The objects of a lake in a bucket.
pub(crate) struct Bucket {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// The same, for uploads in parts.
    pub(crate) uploads: Arc<dyn MultipartStore>,
    /// The same, for creating objects, where that takes a client of its own.
    creator: Option<Arc<dyn ObjectStore>>,
    pub(crate) create_header: CreateHeader,
    /// The whole bucket, to be listed.
    client: AmazonS3,
    /// What all names of the lake begin with: nothing, or with a slash at its end.
    prefix: String,
    pub(crate) root: String,
    pub(crate) endpoint: String,
    patience: Arc<RetryTimes>,
    secrets: Unsaid,
}

/// What a listing shows, by names relative to the root of the lake. One that is not UTF-8 is nobody's, and shown as
/// well as it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Names with their sizes.
    pub(crate) objects: Vec<(String, u64)>,
    /// Folders, without the slash at their ends.
    pub(crate) folders: Vec<String>,
    /// On how many pages they came.
    pub(crate) pages: usize,
}

impl Bucket {
    /// The lake at `location`, by the settings in `variables`. Asks nothing of the network.
    pub(crate) fn open(location: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Self::open_over(Arc::new(ReqwestConnector::default()), location, variables)
    }

    /// The same over some network.
    pub(crate) fn open_over(
        network: Arc<dyn HttpConnector>,
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let settings = Settings::resolve(location, variables)?;
        let has_timeout = settings.options.iter().any(|(key, _)| *key == Key::Client(ClientConfigKey::Timeout));
        let patience = Arc::new(RetryTimes::new(has_timeout));
        let connector = || Connector { network: Arc::clone(&network), patience: Arc::clone(&patience) };
        let client = settings.build(settings.builder(connector(), ClientOptions::new()))?;
        let creator = settings.create_header.client_options().map(|options| {
            // Its requests are signed by the same key, which need not be fetched twice.
            let builder = settings.builder(connector(), options).with_credentials(Arc::clone(client.credentials()));
            settings.build(builder)
        });
        let creator = creator.transpose()?.map(|creator| settings.lake(creator) as _);
        let lake = settings.lake(client.clone());
        let prefix = match settings.prefix.as_ref() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            objects: Arc::clone(&lake) as _,
            uploads: lake,
            creator,
            create_header: settings.create_header,
            client,
            prefix,
            root: settings.root,
            endpoint: settings.endpoint,
            patience,
            secrets: settings.secrets,
        })
    }

    /// Repeats requests that fail for so long.
    pub(crate) fn retry_for(&self, time: Duration) {
        self.patience.retry_for(time);
    }

    /// Lists what a query asks for; its names are relative to the root of the lake.
    pub(crate) async fn list(&self, query: ListQuery<'_>) -> Result<Shown, Unlisted> {
        let whole = |name: &str| format!("{}{name}", self.prefix);
        let (prefix, after) = (whole(query.prefix), query.after.map(whole));
        let query = ListQuery { prefix: &prefix, after: after.as_deref(), ..query };
        let Listing { objects, folders, pages } = pages::list(&self.client, query).await?;
        let own = |key: &[u8]| String::from_utf8_lossy(key.get(self.prefix.len()..).unwrap_or_default()).into_owned();
        let folder = |name: &Vec<u8>| own(name.strip_suffix(b"/").unwrap_or(name));
        Ok(Shown {
            objects: objects.iter().map(|object| (own(&object.key), object.bytes)).collect(),
            folders: folders.iter().map(folder).collect(),
            pages,
        })
    }

    /// What went wrong, without secrets, and what may help.
    pub(crate) fn explain(&self, error: &object_store::Error) -> Explained {
        explain::explain(error, &self.secrets)
    }
}

impl Settings {
    fn resolve(location: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let (bucket, prefix, root) = parse_location(location)?;
        let mut set: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, value)| name.starts_with(PREFIX) && !value.trim().is_empty())
            .map(|(name, value)| (name, value.trim().to_owned()))
            .collect();
        for name in ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
            if let Some(path) = set.get_mut(name) {
                *path = home::expand(path).map_err(|error| error.with("set in", name))?.display().to_string();
            }
        }
        check_credentials(&set)?;
        let create_header = CreateHeader::take(&mut set)?;
        let virtual_hosted = is_true(&set, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST");
        // The most specific of several names counts, and the bucket is the location's.
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].map(|name| set.remove(name));
        let endpoint = endpoint.into_iter().flatten().next();
        let endpoint = endpoint.map(|text| resolve_endpoint(&text, &bucket, virtual_hosted, &set)).transpose()?;
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| set.get(*name));
        let shown = endpoint.as_ref().map_or_else(
            || format!("AWS, region {}", region.map_or("us-east-1", String::as_str)),
            |(url, _)| url.clone(),
        );
        if set.contains_key("AWS_SESSION_TOKEN") {
            set.remove("AWS_TOKEN");
        }
        for name in ["AWS_BUCKET", "AWS_BUCKET_NAME"] {
            set.remove(name);
        }

        let secrets = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"]
            .into_iter()
            .chain(["AWS_SSE_CUSTOMER_KEY_BASE64", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])
            .filter_map(|name| set.get(name).cloned());
        // What is no path may be the token itself.
        let token_files = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
        let misplaced = token_files.into_iter().filter_map(|name| set.get(name).filter(|file| !file.starts_with('/')));
        let secrets = secrets.chain(misplaced.cloned()).collect();
        let has_proxy = set.contains_key("AWS_PROXY_URL");
        // Overridden by what follows. We only ever delete one object at a time, and not every store knows the other
        // request.
        let mut options = vec![(Key::DisableBulkDelete, "true".to_owned())];
        // Names that the client does not know belong to other programs.
        options.extend(set.into_iter().filter_map(|(name, value)| Some((name.to_lowercase().parse().ok()?, value))));
        if let Some((url, is_loopback)) = endpoint {
            options.push((Key::Endpoint, url));
            if is_loopback {
                options.push((Key::Client(ClientConfigKey::AllowHttp), "true".to_owned()));
                // The client reads HTTP_PROXY for whatever it calls; no proxy stands between a machine and itself.
                if !has_proxy {
                    let direct = [(ClientConfigKey::ProxyUrl, NO_PROXY), (ClientConfigKey::ProxyExcludes, EVERYTHING)];
                    options.extend(direct.map(|(key, value)| (Key::Client(key), value.to_owned())));
                }
            }
        }
        Ok(Self { bucket, prefix, root, options, create_header, endpoint: shown, secrets })
    }

    fn builder(&self, connector: Connector, client_options: ClientOptions) -> AmazonS3Builder {
        // What is repeated, and for how long, is for the service below to decide.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let timeout = Key::Client(ClientConfigKey::Timeout);
        let mut builder = AmazonS3Builder::new()
            .with_retry(retry)
            .with_client_options(client_options)
            .with_http_connector(connector)
            .with_config(timeout, REQUEST_TIME);
        for (key, value) in &self.options {
            builder = builder.with_config(*key, value);
        }
        builder.with_bucket_name(&self.bucket)
    }

    fn build(&self, builder: AmazonS3Builder) -> Result<AmazonS3> {
        builder.build().map_err(|error| {
            let Explained { text, .. } = explain::explain(&error, &self.secrets);
            Error::new(ErrorClass::S3SettingsWrong, "the S3 settings do not make sense")
                .with("lake", &self.root)
                .hint("check the environment variables that begin with AWS_")
                .because(text)
        })
    }

    /// The part of the bucket that is the lake.
    fn lake(&self, client: AmazonS3) -> Arc<dyn Client> {
        match self.prefix.as_ref() {
            "" => Arc::new(client),
            _ => Arc::new(PrefixStore::new(client, self.prefix.clone())),
        }
    }
}

/// Bucket, prefix and root of `s3://bucket/prefix`.
fn parse_location(location: &str) -> Result<(String, Path, String)> {
    let bad = |why: &'static str| {
        Error::new(ErrorClass::LocationWrong, why)
            .with("lake", explain::without_userinfo(location))
            .hint("write `s3://bucket` or `s3://bucket/prefix`")
    };
    let (scheme, rest) = location.split_once("://").unwrap_or_default();
    let rest = rest.trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(fits) {
        return Err(bad("the lake's URI names no bucket"));
    }
    let path = Path::parse(prefix).map_err(|error| bad("the lake's prefix cannot be used").because(error))?;
    Ok((bucket.to_owned(), path, format!("{}://{rest}", scheme.to_lowercase())))
}

fn is_true(set: &BTreeMap<String, String>, name: &str) -> bool {
    set.get(name).is_some_and(|value| matches!(&*value.to_lowercase(), "1" | "true" | "on" | "yes" | "y"))
}

/// Whether any kind of credentials is set, so that a missing key is said at once.
fn check_credentials(set: &BTreeMap<String, String>) -> Result<()> {
    let has = |name: &str| set.contains_key(name);
    match (has("AWS_ACCESS_KEY_ID"), has("AWS_SECRET_ACCESS_KEY")) {
        (true, true) => return Ok(()),
        (true, false) => {
            return Err(Error::new(ErrorClass::S3SettingsWrong, "AWS_SECRET_ACCESS_KEY is not set")
                .hint("a key has two halves: set both"));
        }
        (false, true) => {
            return Err(Error::new(ErrorClass::S3SettingsWrong, "AWS_ACCESS_KEY_ID is not set")
                .hint("a key has two halves: set both"));
        }
        (false, false) => {}
    }
    let asks_metadata = set.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("false"));
    let others = [
        has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN"),
        has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        has("AWS_CONTAINER_CREDENTIALS_FULL_URI") && has("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        has("AWS_METADATA_ENDPOINT") || asks_metadata,
        is_true(set, "AWS_SKIP_SIGNATURE"),
    ];
    if others.contains(&true) {
        return Ok(());
    }
    let hint = if has("AWS_PROFILE") { NO_PROFILES } else { NO_CREDENTIALS };
    Err(Error::new(ErrorClass::S3SettingsWrong, "no credentials for S3 are set").hint(hint))
}

/// The endpoint as the client takes it, and whether it is on this very machine.
fn resolve_endpoint(
    text: &str,
    bucket: &str,
    virtual_hosted: bool,
    set: &BTreeMap<String, String>,
) -> Result<(String, bool)> {
    let shown = explain::without_userinfo(text);
    let bad = |why: &'static str, hint: &'static str| {
        Error::new(ErrorClass::S3SettingsWrong, why).with("endpoint", &shown).hint(hint)
    };
    let example = key!("AWS_ENDPOINT_URL is an address such as https://s3.example.com");
    let mut url = Url::parse(text).map_err(|_| bad("the S3 endpoint is not a URL", example))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(bad(
            "the S3 endpoint holds more than an address",
            "give the key in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    let (host, is_loopback, is_name) = match url.host() {
        Some(Host::Domain(name)) => (name.to_owned(), name == "localhost" || name.ends_with(".localhost"), true),
        Some(Host::Ipv4(address)) => (address.to_string(), address.is_loopback(), false),
        Some(Host::Ipv6(address)) => (address.to_string(), address.is_loopback(), false),
        None => return Err(bad("the S3 endpoint has no host", example)),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback || is_true(set, "AWS_ALLOW_HTTP") => {}
        "http" => {
            return Err(bad(
                "the S3 endpoint is plain http",
                "use https, or set AWS_ALLOW_HTTP=true where everybody on the way may read what is sent",
            ));
        }
        _ => return Err(bad("the S3 endpoint is neither http nor https", example)),
    }
    if virtual_hosted && !host.starts_with(&format!("{bucket}.")) {
        let named = is_name && url.set_host(Some(&format!("{bucket}.{host}"))).is_ok();
        if !named {
            return Err(bad(
                "virtual-hosted style needs an endpoint with a host name",
                "unset AWS_VIRTUAL_HOSTED_STYLE_REQUEST for an endpoint that is an IP address",
            ));
        }
    }
    Ok((url.as_str().trim_end_matches('/').to_owned(), is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const KEY: [(&str, &str); 2] =
        [("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-EXAMPLEKEY")];

    fn resolve(location: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::resolve(location, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn with_key(more: &[(&str, &str)]) -> Result<Settings> {
        resolve("s3://lake-1/a/b/", &[&KEY, more].concat())
    }

    fn option(settings: &Settings, key: Key) -> Option<&str> {
        settings.options.iter().rev().find(|(held, _)| *held == key).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn refused(resolved: Result<Settings>, words: &[&str]) {
        let error = resolved.err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Usage);
        let said = format!("{error} {}", error.hint_text().expect("a hint"));
        for word in words {
            assert!(said.contains(word), "`{word}` is missing: {said}");
        }
        for (_, secret) in KEY {
            assert!(!said.contains(secret), "{said}");
        }
    }

    #[test]
    fn the_location_is_a_bucket_and_a_prefix() {
        let settings = with_key(&[("AWS_BUCKET", "elsewhere")]).expect("resolved");
        assert_eq!(
            (&*settings.bucket, settings.prefix.as_ref(), &*settings.root),
            ("lake-1", "a/b", "s3://lake-1/a/b")
        );
        assert_eq!(option(&settings, Key::Bucket), None);
        assert_eq!(resolve("S3://lake-1/", &KEY).expect("resolved").root, "s3://lake-1");
        for bad in ["s3://", "s3:///a", "s3://AK:SK@bucket/a", "s3://b/a//b", "s3://b?x"] {
            refused(resolve(bad, &KEY), &["s3://bucket/prefix"]);
        }
    }

    #[test]
    fn only_names_of_aws_count_and_blank_ones_do_not() {
        let settings = with_key(&[
            ("TIMEOUT", "foo"),
            ("ENDPOINT", "http://x"),
            ("AWS_REGION", " eu-west-1 "),
            ("AWS_PAGER", "less"),
        ])
        .expect("resolved");
        assert_eq!(option(&settings, Key::Endpoint), None);
        assert_eq!(option(&settings, Key::Region), Some("eu-west-1"));
        assert_eq!(option(&settings, Key::Client(ClientConfigKey::Timeout)), None);
        assert_eq!(settings.endpoint, "AWS, region eu-west-1");
        let settings = with_key(&[("AWS_TIMEOUT", "5s"), ("AWS_ENDPOINT_URL", "  ")]).expect("resolved");
        assert_eq!(option(&settings, Key::Client(ClientConfigKey::Timeout)), Some("5s"));
        assert_eq!(option(&settings, Key::Endpoint), None);
    }

    #[test]
    fn missing_credentials_are_said_at_once() {
        refused(resolve("s3://lake", &[]), &["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"]);
        refused(resolve("s3://lake", &[("AWS_PROFILE", "work")]), &["AWS_PROFILE is not supported"]);
        refused(resolve("s3://lake", &KEY[..1]), &["AWS_SECRET_ACCESS_KEY is not set"]);
        refused(resolve("s3://lake", &KEY[1..]), &["AWS_ACCESS_KEY_ID is not set"]);
        refused(resolve("s3://lake", &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]), &["no credentials"]);
        refused(resolve("s3://lake", &[("AWS_ROLE_ARN", "arn:x")]), &["no credentials"]);
        for enough in [
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn:x")][..],
            &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")],
            &[("AWS_EC2_METADATA_DISABLED", "false")],
            &[("AWS_SKIP_SIGNATURE", "true")],
        ] {
            assert!(resolve("s3://lake", enough).is_ok(), "{enough:?}");
        }
        refused(resolve("s3://lake", &[("AWS_EC2_METADATA_DISABLED", "true")]), &["no credentials"]);
    }

    #[test]
    fn plain_http_is_for_loopback_or_on_request() {
        let allowed = |settings: &Settings| option(settings, Key::Client(ClientConfigKey::AllowHttp)) == Some("true");
        for (endpoint, allows) in [
            ("http://127.0.0.1:9000", true),
            ("http://localhost:9000/", true),
            ("http://[::1]:9000", true),
            ("https://minio.example.com", false),
        ] {
            let settings = with_key(&[("AWS_ENDPOINT_URL", endpoint)]).expect("resolved");
            assert_eq!(allowed(&settings), allows, "{endpoint}");
            assert_eq!(option(&settings, Key::Endpoint), Some(endpoint.trim_end_matches('/')));
        }
        let far = ("AWS_ENDPOINT_URL", "http://minio.example.com:9000");
        refused(with_key(&[far]), &["AWS_ALLOW_HTTP=true", "minio.example.com"]);
        assert!(allowed(&with_key(&[far, ("AWS_ALLOW_HTTP", "true")]).expect("resolved")));
        for bad in ["minio:9000", "ftp://x", "not a url", "https://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI-EXAMPLEKEY@host"]
        {
            refused(with_key(&[("AWS_ENDPOINT_URL", bad)]), &["endpoint"]);
        }
    }

    #[test]
    fn the_most_specific_endpoint_counts() {
        let all = [
            ("AWS_ENDPOINT", "https://a.example"),
            ("AWS_ENDPOINT_URL", "https://b.example"),
            ("AWS_ENDPOINT_URL_S3", "https://c.example"),
        ];
        assert_eq!(option(&with_key(&all).expect("resolved"), Key::Endpoint), Some("https://c.example"));
        assert_eq!(option(&with_key(&all[..2]).expect("resolved"), Key::Endpoint), Some("https://b.example"));
    }

    #[test]
    fn virtual_hosted_style_puts_the_bucket_before_the_host_once() {
        let style = ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true");
        for given in ["https://oss-cn-hangzhou.aliyuncs.com", "https://lake-1.oss-cn-hangzhou.aliyuncs.com"] {
            let settings = with_key(&[style, ("AWS_ENDPOINT_URL", given)]).expect("resolved");
            assert_eq!(option(&settings, Key::Endpoint), Some("https://lake-1.oss-cn-hangzhou.aliyuncs.com"));
        }
        refused(with_key(&[style, ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")]), &["virtual-hosted"]);
    }

    #[test]
    fn what_the_client_cannot_read_is_a_usage_error() {
        let variables = [&KEY[..], &[("AWS_TIMEOUT", "soon")]].concat();
        let error = Bucket::open("s3://lake", variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let error = error.err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
