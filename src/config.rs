//! What the user set, validated: accounts from the environment or a file, secrets that cannot be printed.
//!
//! One account is configured by `WDT_*` environment variables, listed in [`mod@env`], any number by a [`ConfigFile`]. Everything here is
//! pure: variables and files come in through functions, so that tests need no process environment.

mod file;
#[cfg(test)]
mod fuzz_tests;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

use url::{Host, Url};

use crate::edition::Edition;
use crate::error::{Error, Result};
use crate::id::AccountName;
use crate::time::BeijingTime;

pub use file::{ConfigFile, DEFAULT_PATH, FileAccount};

/// The environment variables that wdt-lake reads. Nothing else in the environment configures the gateway.
pub mod env {
    /// `enterprise`, `y` or `flagship`.
    pub const EDITION: &str = "WDT_EDITION";
    /// The seller account (卖家账号) that Wangdian issued.
    pub const SID: &str = "WDT_SID";
    /// The interface account (接口账号).
    pub const APPKEY: &str = "WDT_APPKEY";
    /// The app secret; of flagship `secret:salt`. Prefer [`APPSECRET_FILE`] where the environment of a process can be seen by others.
    pub const APPSECRET: &str = "WDT_APPSECRET";
    /// A file that holds the app secret, for mounted secrets.
    pub const APPSECRET_FILE: &str = "WDT_APPSECRET_FILE";
    /// The address of the gateway; of enterprise and Y up to and without the method's name. Not together with [`ENVIRONMENT`].
    pub const BASE_URL: &str = "WDT_BASE_URL";
    /// `production` (default) or `test`: the vendor's own addresses.
    pub const ENVIRONMENT: &str = "WDT_ENVIRONMENT";
    /// The account's name in the lake; the sid where it fits.
    pub const ACCOUNT: &str = "WDT_ACCOUNT";

    /// What refusals of the gateway mean, before the built-in table: `CODE=VERDICT` or `TEXT=VERDICT`, separated by `;`.
    pub const REFUSALS: &str = "WDT_REFUSALS";

    /// A configuration file: the place of accounts that are not set by the variables above.
    pub const CONFIG: &str = "WDT_CONFIG";

    /// All that set an account.
    pub const ALL: [&str; 9] =
        [EDITION, SID, APPKEY, APPSECRET, APPSECRET_FILE, BASE_URL, ENVIRONMENT, ACCOUNT, REFUSALS];
}

/// A text that no log, error or manifest can hold: it has no `Display`, no `Serialize`, and `Debug` hides it.
///
/// ```compile_fail
/// let secret = wdt_lake::config::Secret::new("hidden");
/// println!("{secret}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for signing only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The two parts of a flagship app secret, which is issued as `secret:salt`; `None` when it has not both.
    pub fn split_salt(&self) -> Option<(Secret, Secret)> {
        let (secret, salt) = self.0.split_once(':')?;
        (!secret.is_empty() && !salt.is_empty()).then(|| (Self::new(secret), Self::new(salt)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// One `sid` with its credentials and edition, known by a name.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// Its name in the lake and in messages.
    pub name: AccountName,
    /// Which protocol it speaks.
    pub edition: Edition,
    /// The seller account.
    pub sid: String,
    /// The interface account.
    pub appkey: String,
    /// The app secret.
    pub secret: Secret,
    /// The gateway, without a trailing slash; of enterprise and Y without the method's name.
    pub base_url: Url,
}

/// How an account is called, and from when, as far as it is set. What is typed with a command goes before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Calls within any sixty seconds; 0 for no budget.
    pub calls_per_minute: Option<u32>,
    /// Calls under way at once.
    pub concurrency: Option<NonZeroU32>,
    /// First modified time wanted.
    pub from: Option<BeijingTime>,
    /// What refusals mean, as [`env::REFUSALS`] says it.
    pub refusals: String,
    /// Where that was set.
    pub refusals_from: String,
}

impl Terms {
    /// What the environment says of its account.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let refusals = variable(env::REFUSALS).unwrap_or_default();
        Self { refusals, refusals_from: env::REFUSALS.to_owned(), ..Self::default() }
    }
}

impl AccountSettings {
    /// Reads one account from environment variables; `variable` gives a variable's value, `read_file` a file's text.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage), naming every missing variable at once.
    pub fn from_env(
        variable: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut missing: Vec<&str> =
            [env::EDITION, env::SID, env::APPKEY].into_iter().filter(|name| set(name).is_none()).collect();
        if set(env::APPSECRET).is_none() && set(env::APPSECRET_FILE).is_none() {
            missing.push(env::APPSECRET);
        }
        if !missing.is_empty() {
            return Err(Error::usage(format!("no account: {} not set", missing.join(", "))).hint(
                "set WDT_EDITION, WDT_SID, WDT_APPKEY and WDT_APPSECRET (or WDT_APPSECRET_FILE), or write a wdt-lake.toml; `wdt-lake demo` \
                 needs none of them",
            ));
        }
        let text = |name| set(name).map(|value| value.trim().to_owned()).unwrap_or_default();
        let edition: Edition = text(env::EDITION).parse()?;
        let sid = text(env::SID);
        let name = match set(env::ACCOUNT) {
            Some(name) => name.trim().parse()?,
            None => name_of(&sid, env::ACCOUNT)?,
        };
        let secret = secret(set, read_file)?;
        check_salt(edition, &secret)?;
        Ok(Self {
            secret,
            base_url: base_url(edition, set(env::BASE_URL), set(env::ENVIRONMENT), AddressNames::ENVIRONMENT)?,
            appkey: text(env::APPKEY),
            name,
            edition,
            sid,
        })
    }

    /// The gateway's host without its port: what the lake binds the account to.
    pub fn gateway_host(&self) -> String {
        self.base_url.host_str().unwrap_or_default().to_owned()
    }
}

/// What is said of a flagship app secret that is not `secret:salt`.
pub(crate) fn no_salt() -> Error {
    Error::usage("the app secret of a flagship account is not of the form secret:salt")
        .hint("give the whole app secret as Wangdian issued it, both parts with the colon between them")
}

fn check_salt(edition: Edition, secret: &Secret) -> Result<()> {
    if edition == Edition::Flagship && secret.split_salt().is_none() { Err(no_salt()) } else { Ok(()) }
}

/// The name of an account that was given none; `setting` is where one can be given.
fn name_of(sid: &str, setting: &str) -> Result<AccountName> {
    sid.parse::<AccountName>().map_err(|_| {
        Error::usage(format!("the sid `{sid}` cannot be the account's name in the lake")).hint(format!(
            "set {setting} to a name that starts with a letter and has up to 64 letters, digits, `_` and `-`"
        ))
    })
}

fn secret(set: impl Fn(&str) -> Option<String>, read_file: impl Fn(&str) -> std::io::Result<String>) -> Result<Secret> {
    match (set(env::APPSECRET), set(env::APPSECRET_FILE)) {
        (Some(_), Some(_)) => {
            Err(Error::usage("WDT_APPSECRET and WDT_APPSECRET_FILE are both set").hint("keep one of them"))
        }
        (Some(text), None) => Ok(Secret::new(text.trim())),
        (None, file) => {
            let file = file.unwrap_or_default();
            secret_in_file(read_file(&file))
                // What stands there is not said: it may be the secret itself.
                .map_err(|error| error.hint(format!("{} is the path of a file that holds it", env::APPSECRET_FILE)))
        }
    }
}

/// The secret that a file holds, whose text is the outcome of reading it.
fn secret_in_file(text: std::io::Result<String>) -> Result<Secret> {
    let text = text.map_err(|error| Error::usage("the secret's file cannot be read").because(error))?;
    match text.trim() {
        "" => Err(Error::usage("the secret's file is empty")),
        text => Ok(Secret::new(text)),
    }
}

/// The settings of an address, as the user knows them.
#[derive(Clone, Copy)]
struct AddressNames {
    base_url: &'static str,
    environment: &'static str,
}

impl AddressNames {
    const ENVIRONMENT: Self = Self { base_url: env::BASE_URL, environment: env::ENVIRONMENT };
    const FILE: Self = Self { base_url: "base_url", environment: "environment" };
}

/// The vendor's addresses.
///
/// Source: the method's page for enterprise; the vendor's other pages and public clients for Y and flagship.
fn vendor_url(edition: Edition, environment: &str, names: AddressNames) -> Result<&'static str> {
    match (edition, environment) {
        (Edition::Enterprise, "production") => Ok("https://api.wangdian.cn/openapi2"),
        (Edition::Enterprise, "test") => Ok("https://sandbox.wangdian.cn/openapi2"),
        (Edition::Y, "production") => Ok("https://openapi.huice.com/openapi"),
        (Edition::Y, "test") => Ok("https://openapi.ali.huice.cc/openapi"),
        (Edition::Flagship, "production") => Ok("http://wdt.wangdian.cn/openapi"),
        (Edition::Flagship, "test") => Ok("http://47.92.239.46/openapi"),
        _ => Err(Error::usage(format!("unknown environment `{environment}`"))
            .hint(format!("{} is `production` or `test`", names.environment))),
    }
}

fn base_url(edition: Edition, given: Option<String>, environment: Option<String>, names: AddressNames) -> Result<Url> {
    let name = names.base_url;
    let text = match (given, environment) {
        (Some(_), Some(_)) => {
            return Err(Error::usage(format!("{name} and {} are both set", names.environment)).hint("keep one of them"));
        }
        (Some(given), None) => given,
        (None, environment) => {
            vendor_url(edition, environment.as_deref().unwrap_or("production").trim(), names)?.to_owned()
        }
    };
    let wrong =
        |why: &str| Error::usage(format!("{name} {why}")).hint("it looks like https://api.wangdian.cn/openapi2");
    let url = Url::parse(text.trim().trim_end_matches('/')).map_err(|_| wrong("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("is not an http or https address"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not carry a user, a query or a fragment"));
    }
    Ok(url)
}

/// Whether signed calls to `url` can be read on their way: plain HTTP to a host that is not this machine.
pub fn is_exposed(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] =
        [("WDT_EDITION", "enterprise"), ("WDT_SID", "acme2"), ("WDT_APPKEY", "key"), ("WDT_APPSECRET", "s3cret")];

    fn load(change: &[(&str, &str)]) -> Result<AccountSettings> {
        let all: std::collections::BTreeMap<_, _> = GOOD.into_iter().chain(change.iter().copied()).collect();
        AccountSettings::from_env(
            |name| all.get(name).map(|value| (*value).to_owned()),
            |path| {
                if path == "/run/secret" {
                    Ok("from file\n".to_owned())
                } else {
                    Err(std::io::ErrorKind::NotFound.into())
                }
            },
        )
    }

    #[test]
    fn an_account_from_the_environment() {
        let account = load(&[]).expect("settings");
        assert_eq!(account.name.as_str(), "acme2");
        assert_eq!(account.base_url.as_str(), "https://api.wangdian.cn/openapi2");
        assert_eq!(account.secret.expose(), "s3cret");
        assert!(!format!("{account:?}").contains("s3cret"), "the secret cannot be printed");
        assert_eq!(load(&[("WDT_ENVIRONMENT", "test")]).expect("test").gateway_host(), "sandbox.wangdian.cn");
        assert_eq!(
            load(&[("WDT_APPSECRET", ""), ("WDT_APPSECRET_FILE", "/run/secret")]).expect("file").secret.expose(),
            "from file"
        );
        let flagship = load(&[("WDT_EDITION", "flagship"), ("WDT_APPSECRET", "s3cret:s4lt")]).expect("flagship");
        assert_eq!(flagship.base_url.as_str(), "http://wdt.wangdian.cn/openapi");
        assert_eq!(load(&[("WDT_SID", "123"), ("WDT_ACCOUNT", "shop")]).expect("named").name.as_str(), "shop");
    }

    #[test]
    fn what_is_wrong_is_said_at_once() {
        let none =
            AccountSettings::from_env(|_| None, |_| Err(std::io::ErrorKind::NotFound.into())).expect_err("nothing set");
        for name in [env::EDITION, env::SID, env::APPKEY, env::APPSECRET] {
            assert!(none.to_string().contains(name), "{none}");
        }
        for change in [
            ("WDT_EDITION", "basic"),
            ("WDT_SID", "123"),
            ("WDT_ACCOUNT", "a b"),
            ("WDT_BASE_URL", "ftp://x"),
            ("WDT_BASE_URL", "not a url"),
            ("WDT_BASE_URL", "http://u:p@h/"),
            ("WDT_ENVIRONMENT", "staging"),
            ("WDT_APPSECRET_FILE", "/run/secret"),
            ("WDT_EDITION", "flagship"),
        ] {
            let error = load(&[change]).expect_err(change.1);
            assert_eq!(error.kind().exit_code(), 2, "{error}");
            assert!(error.hint_text().is_some(), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        assert!(load(&[("WDT_BASE_URL", "http://h"), ("WDT_ENVIRONMENT", "test")]).is_err());
    }

    #[test]
    fn plain_http_is_exposed_unless_it_stays_on_this_machine() {
        for (url, exposed) in [
            ("http://127.0.0.1:8080/openapi2", false),
            ("http://localhost/x", false),
            ("http://[::1]/x", false),
            ("http://10.0.0.1/x", true),
            ("http://wdt.wangdian.cn/openapi", true),
            ("https://api.wangdian.cn/openapi2", false),
        ] {
            assert_eq!(is_exposed(&Url::parse(url).expect("url")), exposed, "{url}");
        }
    }
}
