//! `wdt-lake.toml`: any number of accounts, and the lake that they land in.
//!
//! ```toml
//! lake = "s3://bucket/wangdian"
//! publish = ["delta"]
//!
//! [[account]]
//! name = "acme"
//! edition = "enterprise"
//! sid = "acme2"
//! appkey = "acme2-ot"
//! secret_file = "/run/secrets/acme"   # or secret_env = "ACME_APPSECRET", or secret_command = ["pass", "acme"]
//! ```
//!
//! The whole file is checked before anything of it is used; a secret is read only when its account is. Paths in it are
//! relative to its folder. Values are taken from the parsed tree one by one and not by a derived reader: its messages,
//! as the parser's own, repeat what stands in the file, and that may be a secret in the wrong place. Unknown keys are
//! named.

mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use self::keys::{FileText, KeyLines, Keys};
use super::secret_source::SecretSource;
use super::{
    AccountDefaults, AccountSettings, AddressNames, Secret, StopPermission, StopTerms, base_url, check_salt, duration,
    env, name_of,
};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::id::AccountName;
use crate::publish_format::PublishFormat;
use crate::text::{Text, key, text};
use crate::time::{DateMeans, parse_user_time};

/// The file that is taken when none is named.
pub(crate) const DEFAULT_PATH: &str = "wdt-lake.toml";

const TOP: [&str; 3] = ["lake", "publish", "account"];
const ACCOUNT: [&str; 17] = [
    "name",
    "edition",
    "environment",
    "base_url",
    "sid",
    "appkey",
    "secret_env",
    "secret_file",
    "secret_command",
    "calls_per_minute",
    "concurrency",
    "limit",
    "from",
    "refusals",
    "allow_stop",
    "max_stops",
    "keep_removed",
];
/// As many as a name of an account may have.
const MOST_LIMIT_LETTERS: usize = 64;

/// What a configuration file says, checked. Secrets are not read yet.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: String,
    lake: Option<String>,
    publish: Vec<PublishFormat>,
    accounts: Vec<FileAccount>,
    lines: KeyLines,
}

/// One `[[account]]`. Its `Debug` leaves out what a secret may stand in by mistake.
#[derive(Clone)]
pub(crate) struct FileAccount {
    settings: AccountSettings,
    secret: SecretSource,
    terms: AccountDefaults,
    place: Text,
    lines: KeyLines,
}

impl fmt::Debug for FileAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, place, .. } = self;
        f.debug_struct("FileAccount").field("settings", settings).field("place", place).finish_non_exhaustive()
    }
}

impl ConfigFile {
    /// Checks a file's text; `path` is where it was read.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage), with the line, for what is no TOML, unknown keys, values that do
    /// not fit, a secret in the file, and accounts that are there twice.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let lines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let file = FileText { line_ends: &lines, path };
        let root = DeTable::parse(text).map_err(|error| {
            file.wrong(error.span(), Text::verbatim(error.message()))
                .hint("see the example in the README, \"Several accounts\"")
        })?;
        let top = Keys { file, table: root.get_ref(), span: 0..0 };
        top.check(&TOP, &ACCOUNT, key!("stands within `[[account]]`"))?;
        let accounts = match top.table.get("account").map(|value| (value.span(), value.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(all))) if all.iter().all(|value| value.get_ref().is_table()) => all
                .iter()
                .filter_map(|value| Some(Keys { file, table: value.get_ref().as_table()?, span: value.span() }))
                .map(|keys| FileAccount::read(&keys))
                .collect::<Result<_>>()?,
            Some((span, _)) => {
                return Err(file
                    .wrong(Some(span), "`account` is no list of tables")
                    .hint("begin each account by `[[account]]`"));
            }
        };
        check_distinct(&accounts)?;
        let publish = top.formats("publish")?;
        let mut accounts = accounts;
        accounts.iter_mut().for_each(|account| account.terms.publish.clone_from(&publish));
        let lake = top.text("lake")?.map(|lake| file.place_of(&lake));
        let lines = top.lines(&TOP);
        Ok(Self { path: path.display().to_string(), lake, publish, accounts, lines })
    }

    /// Where it was read.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The line of a key at its top, if it stands there.
    pub(crate) fn line_of(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// The lake, if it names one.
    pub(crate) fn lake(&self) -> Option<&str> {
        self.lake.as_deref()
    }

    /// The formats in which the lake is published.
    pub(crate) fn publish(&self) -> &[PublishFormat] {
        &self.publish
    }

    /// Its accounts, in its order.
    pub(crate) fn accounts(&self) -> &[FileAccount] {
        &self.accounts
    }

    /// Refuses an account that is set in the environment besides those of the file. A variable that the file names for
    /// a secret is the file's.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage), naming the variables.
    pub(crate) fn check_environment(&self, variable: impl Fn(&str) -> Option<String>) -> Result<()> {
        let is_ours = |name: &str| self.accounts.iter().any(|account| account.secret.is_variable(name));
        let set: Vec<&str> = env::ALL
            .into_iter()
            .filter(|name| variable(name).is_some_and(|value| !value.trim().is_empty()) && !is_ours(name))
            .collect();
        if self.accounts.is_empty() || set.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorClass::SettingsConflict, "accounts are set both in a file and in the environment")
            .with("variables", set.join(", "))
            .with("file", &self.path)
            .hint("keep one of them: unset the variables, or move that account into the file"))
    }
}

impl FileAccount {
    fn read(keys: &Keys<'_>) -> Result<Self> {
        keys.check(&ACCOUNT, &TOP, key!("stands at the top of the file, before the first `[[account]]`"))?;
        let needed: Vec<&str> =
            ["edition", "sid", "appkey"].into_iter().filter(|key| !keys.table.contains_key(*key)).collect();
        if !needed.is_empty() {
            return Err(keys
                .wrong(text!("the account has no {needed}", needed = needed.join(", ")))
                .hint("every account has edition, sid, appkey, and secret_env, secret_file or secret_command"));
        }
        let edition: Edition = keys.parsed("edition", str::parse)?.unwrap_or(Edition::Enterprise);
        let sid = keys.text("sid")?.unwrap_or_default();
        let name = match keys.parsed("name", str::parse::<AccountName>)? {
            Some(name) => name,
            None => name_of(&sid, "`name`").map_err(|error| keys.placed("sid", error))?,
        };
        let file = keys.text("secret_file")?.map(|file| keys.file.place_of(&file));
        let secret = SecretSource::of(keys.text("secret_env")?, file, keys.command("secret_command")?)
            .map_err(|(why, hint)| keys.wrong(why).hint(hint))?;
        let (given, environment) = (keys.text("base_url")?, keys.text("environment")?);
        let base_url = base_url(edition, given, environment, AddressNames::FILE)
            .map_err(|error| keys.placed("base_url", error))?;
        let refusals = keys.text("refusals")?.unwrap_or_default();
        let terms = AccountDefaults {
            calls_per_minute: keys.number("calls_per_minute")?,
            concurrency: keys
                .number("concurrency")?
                .map(|calls| {
                    NonZeroU32::new(calls).ok_or_else(|| keys.wrong_at("concurrency", "concurrency is 1 or more"))
                })
                .transpose()?,
            limit: keys.parsed("limit", limit_name)?,
            from: keys.parsed("from", |text| parse_user_time(text, DateMeans::FirstSecond))?,
            refusals,
            refusals_from: keys.file.place(keys.span_of("refusals")).to_string(),
            stops: StopTerms {
                permission: keys.flag("allow_stop")?.map_or(StopPermission::Allowed, StopPermission::of),
                most: keys.number("max_stops")?,
            },
            keep_removed: keys.parsed("keep_removed", duration)?,
            publish: Vec::new(),
        };
        let appkey = keys.text("appkey")?.unwrap_or_default();
        let place = keys.file.place(Some(keys.span.clone()));
        // The secret is read when the account is used.
        let settings = AccountSettings { name, edition, sid, appkey, secret: Secret::new(""), base_url };
        let lines = keys.lines(&ACCOUNT);
        Ok(Self { settings, secret, terms, place, lines })
    }

    /// Its name in the lake.
    pub(crate) fn name(&self) -> &AccountName {
        &self.settings.name
    }

    /// Which protocol it speaks.
    pub(crate) fn edition(&self) -> Edition {
        self.settings.edition
    }

    /// Its seller account, interface account and address; the secret is not read.
    pub(crate) fn without_secret(&self) -> &AccountSettings {
        &self.settings
    }

    /// The key by which the file says where the secret is.
    pub(crate) fn secret_key(&self) -> &'static str {
        self.secret.key()
    }

    /// The line of a key of the account, if it stands there.
    pub(crate) fn line_of(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// How it is called, and from when.
    pub(crate) fn terms(&self) -> &AccountDefaults {
        &self.terms
    }

    /// The account with its secret; `variable` gives a variable's value, `read_file` a file's text, `run` what a
    /// program prints.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the secret is not where the file says, or not of the
    /// edition's form.
    pub(crate) fn settings(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&str) -> std::io::Result<String>,
        run: impl Fn(&[&str]) -> Result<String>,
    ) -> Result<AccountSettings> {
        let secret = self.secret.secret(variable, read_file, run);
        secret
            .and_then(|secret| check_salt(self.settings.edition, &secret).map(|()| secret))
            .map(|secret| AccountSettings { secret, ..self.settings.clone() })
            .map_err(|error| error.with("at", &self.place))
    }
}

/// The name of a limit. It is told in messages, and decides to which shard an account belongs.
fn limit_name(text: &str) -> Result<String> {
    let is_letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.');
    match (1..=MOST_LIMIT_LETTERS).contains(&text.chars().count()) && text.chars().all(is_letter) {
        true => Ok(text.to_owned()),
        false => Err(Error::new(ErrorClass::ConfigWrong, "no limit can have this name")
            .hint("it has up to 64 letters, digits, `_`, `-` and `.`: that of the appkey or of the host, for example")),
    }
}

/// An account is one sid at one host under one name: a lake keeps names apart, and a gateway counts the calls of a sid.
fn check_distinct(accounts: &[FileAccount]) -> Result<()> {
    let (mut names, mut sids) = (BTreeMap::new(), BTreeMap::new());
    for account in accounts {
        let FileAccount { settings, place, .. } = account;
        // Where a file system knows no case, they would be one folder.
        if let Some(first) = names.insert(settings.name.as_str().to_ascii_lowercase(), place) {
            return Err(Error::new(
                ErrorClass::AccountTwice,
                text!("two accounts are named `{name}`", name = settings.name),
            )
            .with("first at", first)
            .with("at", place)
            .hint("give each a name of its own; upper and lower case do not tell them apart"));
        }
        if let Some(first) = sids.insert((settings.sid.clone(), settings.gateway_host()), &settings.name) {
            return Err(Error::new(
                ErrorClass::AccountTwice,
                text!("the accounts `{first}` and `{name}` are one", first, name = settings.name),
            )
            .with("at", place)
            .hint(
                "a sid has one entry: its gateway counts the calls of both together, and its rows would land twice",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `docs/configuration.md` is what this reads, and that of the README too.
    #[test]
    fn the_documented_file_is_read() {
        let example = |page: &'static str| page.split("```toml\n").nth(1)?.split("```").next();
        let short = example(include_str!("../../README.md")).expect("an example");
        let short = ConfigFile::parse(short, Path::new("/etc/wdt/wdt-lake.toml")).expect("a good file");
        assert_eq!((short.lake(), short.accounts().len()), (Some("s3://my-bucket/wangdian"), 2));
        let example = example(include_str!("../../docs/configuration.md")).expect("an example");
        let file = ConfigFile::parse(example, Path::new("/etc/wdt/wdt-lake.toml")).expect("a good file");
        assert_eq!((file.lake(), file.publish()), (Some("s3://my-bucket/wangdian"), &[PublishFormat::Delta][..]));
        let [acme, beta] = file.accounts() else { panic!("two accounts") };
        let settings =
            acme.settings(|name| (name == "ACME_APPSECRET").then(|| " s3cret\n".to_owned()), no_file, no_program);
        let settings = settings.expect("an account");
        assert_eq!(
            (settings.secret.expose(), settings.base_url.as_str()),
            ("s3cret", "https://api.wangdian.cn/openapi2")
        );
        assert_eq!(acme.terms().from.map(|from| from.to_string()).as_deref(), Some("2026-01-01 00:00:00"));
        let settings = beta.settings(
            |_| None,
            |path| if path == "/run/secrets/beta" { Ok("a:b".to_owned()) } else { no_file(path) },
            no_program,
        );
        assert_eq!(settings.expect("an account").gateway_host(), "47.92.239.46");
        assert_eq!((beta.terms().calls_per_minute, beta.terms().concurrency.map(NonZeroU32::get)), (Some(30), Some(2)));
        assert!(!format!("{file:?}").contains("ACME_APPSECRET"), "what may be a secret by mistake is hidden");
        // A flagship secret has two parts, and its account is told by its place.
        let error = beta.settings(|_| None, |_| Ok("s3cret".to_owned()), no_program).expect_err("no salt");
        assert!(error.to_string().contains("line 13") && !error.to_string().contains("s3cret"), "{error}");
    }

    /// A marker in every place of a good file: whatever is said of it, the marker is not.
    #[test]
    fn no_value_and_no_odd_key_is_repeated() {
        const GOOD: &str = "lake = \"lake\"\npublish = [\"delta\"]\n[[account]]\nname = \"acme\"\nedition = \"y\"\nsid = \"acme2\"\nappkey = \"k\"\n\
             secret_env = \"S\"\nenvironment = \"test\"\ncalls_per_minute = 9\nconcurrency = 2\nfrom = \"2026-01-01\"\n\
             refusals = \"9=busy\"\nallow_stop = true\nmax_stops = 5\nkeep_removed = \"15m\"\n";
        const MARKER: &str = "m4rk:er99z";
        assert!(ConfigFile::parse(GOOD, Path::new("x.toml")).is_ok());
        let lines: Vec<&str> = GOOD.lines().collect();
        let mut wrong = 0;
        for at in 0..=lines.len() {
            let key = lines.get(at).and_then(|line| line.split_once(" = ")).map_or("x", |(key, _)| key);
            for line in [
                format!("{key} = \"{MARKER}\""),
                format!("{key} = \"{MARKER} {MARKER}\""),
                format!("{key} = '{MARKER}"),
                format!("{key} = {MARKER}"),
                format!("{key} = \"\\q{MARKER}\""),
                format!("{key} = \"\"\"\n{MARKER}"),
                format!("{key} = [\"{MARKER}\"]"),
                format!("{key} = {{ \"{MARKER}\" = 1 }}"),
                format!("{key}.\"{MARKER}\" = 1"),
                format!("\"{MARKER}\" = 1"),
                format!("\"{MARKER}\" = 1\n\"{MARKER}\" = 2"),
                format!("[{MARKER}]"),
                format!("[[account.\"{MARKER}\"]]"),
                MARKER.to_owned(),
                format!("{MARKER} = {MARKER}"),
            ] {
                let mut changed: Vec<&str> = lines.clone();
                let end = (at + 1).min(changed.len());
                changed.splice(at..end, [line.as_str()]);
                let text = changed.join("\n");
                let file = ConfigFile::parse(&text, Path::new("x.toml")).and_then(|file| {
                    assert!(
                        !format!("{:?}", file.accounts().iter().map(|one| &one.secret).collect::<Vec<_>>())
                            .contains("m4rk")
                    );
                    file.accounts().iter().try_for_each(|one| {
                        one.settings(|_| Some(format!("\"{MARKER}\"")), no_file, no_program).map(drop)
                    })
                });
                if let Err(error) = file {
                    wrong += 1;
                    let said = format!("{error} {:?} {error:?}", error.hint_text());
                    assert!(!said.contains("m4rk") && !said.contains("er99z"), "{text}\n{said}");
                    assert_eq!(error.kind().exit_code(), 2);
                }
            }
        }
        assert!(wrong > 150, "nearly all of them are wrong: {wrong}");
    }

    #[test]
    fn stops_can_be_forbidden_and_limited() {
        let text = "[[account]]\nedition = \"flagship\"\nsid = \"acme\"\nappkey = \"k\"\nsecret_env = \"S\"\n";
        let stops = |more: &str| {
            let file = ConfigFile::parse(&format!("{text}{more}"), Path::new("wdt-lake.toml"))?;
            Ok::<_, Error>(file.accounts()[0].terms().stops)
        };
        assert_eq!(stops("").expect("good"), StopTerms::default());
        let limited = StopTerms { permission: StopPermission::Forbidden, most: Some(20) };
        assert_eq!(stops("allow_stop = false\nmax_stops = 20\n").expect("good"), limited);
        for (odd, word) in [
            ("allow_stop = \"false\"", "neither true nor false"),
            ("allow_stop = 0", "neither true nor false"),
            ("max_stops = -1", "no whole number"),
            ("max_stops = \"20\"", "no whole number"),
            ("max_stop = 20", "unknown key"),
        ] {
            let error = stops(odd).expect_err(odd);
            assert!(error.to_string().contains(word) && error.to_string().contains("line 6"), "{error}");
        }
    }

    #[test]
    fn a_variable_that_the_file_names_is_not_an_account_of_the_environment() {
        let text = "[[account]]\nedition = \"y\"\nsid = \"acme\"\nappkey = \"k\"\nsecret_env = \"WDT_APPSECRET\"\n";
        let file = ConfigFile::parse(text, Path::new("wdt-lake.toml")).expect("a good file");
        assert_eq!(file.accounts()[0].name().as_str(), "acme", "the sid where it fits");
        let set = |names: &'static [&str]| move |name: &str| names.contains(&name).then(|| "x".to_owned());
        assert!(file.check_environment(set(&["WDT_APPSECRET"])).is_ok());
        let error = file.check_environment(set(&["WDT_APPSECRET", "WDT_APPKEY"])).expect_err("both");
        assert!(error.to_string().contains("WDT_APPKEY") && !error.to_string().contains("WDT_APPSECRET"), "{error}");
    }

    #[test]
    fn places_are_relative_to_the_folder_of_the_file() {
        for (lake, path, expected) in [
            ("lake", "wdt-lake.toml", "lake"),
            ("lake", "/etc/wdt/wdt-lake.toml", "/etc/wdt/lake"),
            ("/srv/lake", "/etc/wdt/wdt-lake.toml", "/srv/lake"),
            ("./a:b", "/etc/wdt/wdt-lake.toml", "/etc/wdt/./a:b"),
            ("s3://b/p", "/etc/wdt/wdt-lake.toml", "s3://b/p"),
            ("s3:/b/p", "/etc/wdt/wdt-lake.toml", "s3:/b/p"),
            ("~/lake", "/etc/wdt/wdt-lake.toml", "~/lake"),
        ] {
            let file = ConfigFile::parse(&format!("lake = {lake:?}"), Path::new(path)).expect("a good file");
            assert_eq!(file.lake(), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_program_that_prints_the_secret_is_named_part_by_part() {
        let command = |line: &str, path: &str| {
            let text = format!("[[account]]\nedition = \"y\"\nsid = \"acme\"\nappkey = \"k\"\n{line}\n");
            let file = ConfigFile::parse(&text, Path::new(path))?;
            let ran = std::cell::RefCell::new(String::new());
            let run = |words: &[&str]| {
                *ran.borrow_mut() = words.join("|");
                Ok("s3cret\n".to_owned())
            };
            let settings = file.accounts()[0].settings(|_| None, no_file, run)?;
            assert_eq!(settings.secret.expose(), "s3cret");
            Ok::<_, Error>(ran.into_inner())
        };
        for (line, path, expected) in [
            ("secret_command = [\"pass\", \"show\", \"a b\"]", "wdt-lake.toml", "pass|show|a b"),
            ("secret_command = [\"pass\"]", "/etc/wdt/wdt-lake.toml", "pass"),
            ("secret_command = [\"./bin/get\", \"./x\"]", "/etc/wdt/wdt-lake.toml", "/etc/wdt/./bin/get|./x"),
            ("secret_command = [\"/bin/get\"]", "/etc/wdt/wdt-lake.toml", "/bin/get"),
            ("secret_command = [\"~/get\"]", "/etc/wdt/wdt-lake.toml", "~/get"),
        ] {
            assert_eq!(command(line, path).expect(line), expected);
        }
        for (line, word) in [
            ("secret_command = \"m4rker\"", "is no list of a program"),
            ("secret_command = []", "is no list of a program"),
            ("secret_command = [\"\"]", "is no list of a program"),
            ("secret_command = [\"m4rker\", 1]", "is no list of a program"),
            ("secret_command = [\"m4rker\"]\nsecret_env = \"X\"", "secret_env and secret_command are both set"),
            ("secret_command = [\"m4rker\"]\nsecret_file = \"x\"", "secret_file and secret_command are both set"),
            (
                "secret_command = [\"m4rker\"]\nsecret_file = \"x\"\nsecret_env = \"X\"",
                "secret_env, secret_file and secret_command are all set",
            ),
        ] {
            let error = command(line, "wdt-lake.toml").expect_err(line);
            let told = format!("{error} {:?}", error.hint_text());
            assert!(told.contains(word) && told.contains("line ") && !told.contains("m4rk"), "{told}");
        }
    }

    fn no_program(_: &[&str]) -> Result<String> {
        Err(Error::usage("no program"))
    }

    fn no_file(_: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
