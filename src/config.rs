//! What the user set, validated: accounts from the environment or a file, secrets that cannot be printed.
//!
//! One account is configured by `WDT_*` environment variables, listed in [`mod@env`], any number by a [`ConfigFile`].
//! Everything here is pure: variables and files come in through functions, so that tests need no process environment.

mod file;
#[cfg(test)]
mod fuzz_tests;
mod secret;
mod secret_source;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::id::AccountName;
use crate::publish_format::PublishFormat;
use crate::text::{Text, text};
use crate::time::BeijingTime;
use crate::units::span;

pub(crate) use file::{ConfigFile, DEFAULT_PATH, FileAccount};
pub(crate) use secret::Secret;
use secret::check_salt;
pub(crate) use secret::no_salt;
pub(crate) use secret::plain_word;

/// The environment variables that wdt-lake reads. Nothing else in the environment configures the gateway.
pub(crate) mod env {
    /// `enterprise`, `y` or `flagship`.
    pub(crate) const EDITION: &str = "WDT_EDITION";
    /// The seller account (卖家账号) that Wangdian issued.
    pub(crate) const SID: &str = "WDT_SID";
    /// The interface account (接口账号).
    pub(crate) const APPKEY: &str = "WDT_APPKEY";
    /// The app secret; of flagship `secret:salt`. Prefer [`APPSECRET_FILE`] where the environment of a process can be
    /// seen by others.
    pub(crate) const APPSECRET: &str = "WDT_APPSECRET";
    /// A file that holds the app secret, for mounted secrets.
    pub(crate) const APPSECRET_FILE: &str = "WDT_APPSECRET_FILE";
    /// The address of the gateway; of enterprise and Y up to and without the method's name. Not together with
    /// [`ENVIRONMENT`].
    pub(crate) const BASE_URL: &str = "WDT_BASE_URL";
    /// `production` (default) or `test`: the vendor's own addresses.
    pub(crate) const ENVIRONMENT: &str = "WDT_ENVIRONMENT";
    /// The account's name in the lake; the sid where it fits.
    pub(crate) const ACCOUNT: &str = "WDT_ACCOUNT";

    /// What refusals of the gateway mean, before the built-in table: `CODE=VERDICT` or `TEXT=VERDICT`, separated by
    /// `;`.
    pub(crate) const REFUSALS: &str = "WDT_REFUSALS";

    /// `false` forbids `stop` to make its calls; `true` by default.
    pub(crate) const ALLOW_STOP: &str = "WDT_ALLOW_STOP";
    /// The most numbers that one `stop` may call; no limit by default.
    pub(crate) const MAX_STOPS: &str = "WDT_MAX_STOPS";

    /// How long `sync` and `expire` keep the files of removed commits: `15m`, `7d`. They go at once by default.
    pub(crate) const KEEP_REMOVED: &str = "WDT_KEEP_REMOVED";
    /// The table formats in which `sync` publishes, with commas between them: `delta`, `iceberg`. None by default.
    pub(crate) const PUBLISH: &str = "WDT_PUBLISH";

    /// A configuration file: the place of accounts that are not set by the variables above.
    pub(crate) const CONFIG: &str = "WDT_CONFIG";

    /// All that set an account.
    pub(crate) const ALL: [&str; 13] = [
        EDITION,
        SID,
        APPKEY,
        APPSECRET,
        APPSECRET_FILE,
        BASE_URL,
        ENVIRONMENT,
        ACCOUNT,
        REFUSALS,
        ALLOW_STOP,
        MAX_STOPS,
        KEEP_REMOVED,
        PUBLISH,
    ];
}

/// One `sid` with its credentials and edition, known by a name. Its `Debug` leaves out what a secret may stand in by
/// mistake.
#[derive(Clone)]
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

impl fmt::Debug for AccountSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, edition, sid, .. } = self;
        let mut shown = f.debug_struct("AccountSettings");
        shown.field("name", name).field("edition", edition).field("sid", sid).finish_non_exhaustive()
    }
}

/// How an account is called, and from when, as far as it is set. What is typed with a command goes before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountDefaults {
    /// Calls within any sixty seconds; 0 for no limit.
    pub calls_per_minute: Option<u32>,
    /// Requests in flight.
    pub concurrency: Option<NonZeroU32>,
    /// The name of the limit that it shares with other accounts: both numbers are for all of them together.
    pub limit: Option<String>,
    /// First modified time wanted.
    pub from: Option<BeijingTime>,
    /// What refusals mean, as [`env::REFUSALS`] says it.
    pub refusals: String,
    /// Where that was set.
    pub refusals_from: String,
    /// What `stop` may do.
    pub stops: StopTerms,
    /// How long the files of removed commits are kept.
    pub keep_removed: Option<Duration>,
    /// The formats in which the lake is published.
    pub publish: Vec<PublishFormat>,
}

/// How long the files of removed commits are kept where a lake is published and nothing else is said: as long a reader
/// can go back to an older version.
const KEEP_REMOVED_WHEN_PUBLISHED: Duration = Duration::from_secs(7 * 86_400);

/// How long the files of removed commits are kept, where it is `set` or not, in a lake that is published in `formats`.
pub(crate) fn keep_removed_when(set: Option<Duration>, formats: &[PublishFormat]) -> Duration {
    set.unwrap_or(if formats.is_empty() { Duration::ZERO } else { KEEP_REMOVED_WHEN_PUBLISHED })
}

/// What `stop` may do of its own accord for an account. What is typed with a command does not go before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopTerms {
    /// Whether it may make calls that stop at all.
    pub permission: StopPermission,
    /// The most numbers that one command may call; nothing for no limit.
    pub most: Option<u32>,
}

/// Whether requisitions of an account may be stopped by this program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopPermission {
    /// As if nothing was set.
    #[default]
    Allowed,
    /// `allow_stop = false`.
    Forbidden,
}

impl StopPermission {
    fn of(is_allowed: bool) -> Self {
        if is_allowed { Self::Allowed } else { Self::Forbidden }
    }
}

impl AccountDefaults {
    /// What the environment says of its account.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when what limits stops or keeps files cannot be read: it must not
    /// be taken for no limit, nor for nothing.
    pub(crate) fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let wrong = |name: &str, what: &'static str| {
            let what = Text::from(what);
            Error::new(ErrorClass::SettingWrong, text!("{name} is not {what}", name, what)).hint(text!(
                "set {name} to {what}, or unset it",
                name,
                what
            ))
        };
        let permission = match set(env::ALLOW_STOP).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => StopPermission::Allowed,
            Some("true") => StopPermission::of(true),
            Some("false") => StopPermission::of(false),
            Some(_) => return Err(wrong(env::ALLOW_STOP, "`true` or `false`")),
        };
        let most = set(env::MAX_STOPS).map(|text| text.parse().map_err(|_| wrong(env::MAX_STOPS, "a whole number")));
        Ok(Self {
            refusals: variable(env::REFUSALS).unwrap_or_default(),
            refusals_from: env::REFUSALS.to_owned(),
            stops: StopTerms { permission, most: most.transpose()? },
            keep_removed: keep_removed_of(set(env::KEEP_REMOVED))?,
            publish: publish_of(set(env::PUBLISH))?,
            ..Self::default()
        })
    }
}

/// The value of [`env::KEEP_REMOVED`].
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it is no duration.
pub(crate) fn keep_removed_of(set: Option<String>) -> Result<Option<Duration>> {
    let set = set.filter(|text| !text.trim().is_empty());
    set.map(|text| duration(text.trim()).map_err(|error| error.with("set in", env::KEEP_REMOVED))).transpose()
}

/// The value of [`env::PUBLISH`].
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it names something else.
pub(crate) fn publish_of(set: Option<String>) -> Result<Vec<PublishFormat>> {
    let set = set.unwrap_or_default();
    let names = set.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(PublishFormat::parse).collect::<Result<_>>().map_err(|error| error.with("set in", env::PUBLISH))
}

/// A duration as a user writes it. What was written is not repeated: it may be a secret in the wrong place.
fn duration(text: &str) -> Result<Duration> {
    span(text)
        .map_err(|_| Error::new(ErrorClass::SettingWrong, "not a duration").hint("write for example 15m, 12h or 7d"))
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
            return Err(Error::new(ErrorClass::SettingMissing, text!("no account: {missing} not set", missing = missing.join(", "))).hint(
                "set WDT_EDITION, WDT_SID, WDT_APPKEY and WDT_APPSECRET (or WDT_APPSECRET_FILE), or write a wdt-lake.toml; `wdt-lake demo` \
                 needs none of them",
            ));
        }
        let text = |name| set(name).map(|value| value.trim().to_owned()).unwrap_or_default();
        let edition: Edition = parsed(env::EDITION, &text(env::EDITION))?;
        let sid = text(env::SID);
        let name = match set(env::ACCOUNT) {
            Some(name) => parsed(env::ACCOUNT, name.trim())?,
            None => name_of(&sid, env::ACCOUNT)?,
        };
        let secret = secret::of_environment(set, read_file)?;
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

/// What a variable says. It is repeated only where it is plainly no secret that was taken for it.
fn parsed<T: FromStr<Err = Error>>(variable: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: Error| match plain_word(text) {
        Some(_) => error,
        None => error
            .hint_said()
            .cloned()
            .into_iter()
            .fold(Error::new(ErrorClass::SettingWrong, text!("{variable} cannot be read", variable)), Error::hint),
    })
}

/// The name of an account that was given none; `setting` is where one can be given.
fn name_of(sid: &str, setting: &str) -> Result<AccountName> {
    sid.parse::<AccountName>().map_err(|_| {
        // Secrets are mistaken for it.
        let shown = plain_word(sid).map(|sid| format!(" `{sid}`")).unwrap_or_default();
        Error::new(ErrorClass::SettingWrong, text!("the sid{shown} cannot be the account's name in the lake", shown))
            .hint(text!(
                "set {setting} to a name that starts with a letter and has up to 64 letters, digits, `_` and `-`",
                setting
            ))
    })
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
        _ => Err(Error::new(
            ErrorClass::SettingWrong,
            text!("{environment} is neither `production` nor `test`", environment = names.environment),
        )
        .hint(text!(
            "write one of them, or leave it out and give the address by {base_url}",
            base_url = names.base_url
        ))),
    }
}

fn base_url(edition: Edition, given: Option<String>, environment: Option<String>, names: AddressNames) -> Result<Url> {
    let name = names.base_url;
    let text = match (given, environment) {
        (Some(_), Some(_)) => {
            return Err(Error::new(
                ErrorClass::SettingsConflict,
                text!("{name} and {environment} are both set", name, environment = names.environment),
            )
            .hint("keep one of them"));
        }
        (Some(given), None) => given,
        (None, environment) => {
            vendor_url(edition, environment.as_deref().unwrap_or("production").trim(), names)?.to_owned()
        }
    };
    let wrong = |why: &'static str| {
        Error::new(ErrorClass::SettingWrong, text!("{name} {why}", name, why = Text::from(why)))
            .hint("it looks like https://api.wangdian.cn/openapi2")
    };
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
pub(crate) fn is_exposed(url: &Url) -> bool {
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
            ("WDT_APPSECRET", "'s3cret'"),
            ("WDT_SID", "s3cret:s4lt"),
            ("WDT_ACCOUNT", "s3cret:s4lt"),
            ("WDT_EDITION", "s3cret"),
            ("WDT_ENVIRONMENT", "s3cret"),
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
    fn what_limits_stops_is_never_taken_for_no_limit() {
        let terms = |set: &'static [(&str, &str)]| {
            AccountDefaults::from_env(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(terms(&[]).expect("terms").stops, StopTerms::default());
        let limited = terms(&[("WDT_ALLOW_STOP", " False\n"), ("WDT_MAX_STOPS", "20")]).expect("terms").stops;
        assert_eq!(limited, StopTerms { permission: StopPermission::Forbidden, most: Some(20) });
        let kept = terms(&[("WDT_KEEP_REMOVED", " 15m\n")]).expect("terms").keep_removed;
        assert_eq!(kept, Some(Duration::from_secs(900)));
        for odd in [
            &[("WDT_ALLOW_STOP", "no")],
            &[("WDT_ALLOW_STOP", "0")],
            &[("WDT_MAX_STOPS", "-1")],
            &[("WDT_MAX_STOPS", "m4ny")],
            &[("WDT_KEEP_REMOVED", "m4ny")],
            &[("WDT_PUBLISH", "delta, m4ny")],
        ] {
            let error = terms(odd).expect_err("odd");
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.to_string().contains(odd[0].0) && !error.to_string().contains("m4ny"), "{error}");
        }
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
