//! `wdt-lake init`: writes a `wdt-lake.toml` with comments, from options or by asking on a terminal, and tries it with
//! one call.
//!
//! The file says where the app secret is, and never what it is: what may be the secret itself is refused, and is not
//! repeated.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use super::accounts::AccountArgs;
use super::check;
use super::rows::{NewFileAt, cannot_write};
use super::sync::CallArgs;
use super::talk::read;
use crate::config::{ConfigFile, DEFAULT_PATH};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::home;
use crate::id::AccountName;
use crate::text::{Text, key, say, text};
use crate::time::{DateMeans, parse_user_time};

/// Where a lake is put when nobody says otherwise.
const LAKE: &str = "lake";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    config: String,
    /// `enterprise`, `y` or `flagship`.
    #[arg(long, value_name = "EDITION")]
    edition: Option<Edition>,
    /// The seller account (卖家账号).
    #[arg(long, value_name = "SID")]
    sid: Option<String>,
    /// The interface account (接口账号).
    #[arg(long, value_name = "APPKEY")]
    appkey: Option<String>,
    /// The environment variable that holds the app secret.
    #[arg(long, value_name = "NAME", group = "secret")]
    secret_env: Option<String>,
    /// The file that holds the app secret.
    #[arg(long, value_name = "PATH", group = "secret")]
    secret_file: Option<String>,
    /// The program that prints the app secret, and its arguments, with blanks between them.
    #[arg(long, value_name = "COMMAND", group = "secret")]
    secret_command: Option<String>,
    /// The account's name in the lake [default: the sid].
    #[arg(long, value_name = "NAME", value_parser = read::<AccountName>)]
    name: Option<AccountName>,
    /// The address of the gateway [default: the vendor's own].
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Where the lake is: a folder or `s3://bucket/prefix` [default: `lake`, beside the file].
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
    /// First modified time wanted: a date or a time in Beijing.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// Do not try the account.
    #[arg(long)]
    no_check: bool,
}

/// What the file is to say.
#[derive(Debug)]
struct Answers {
    edition: Edition,
    sid: String,
    appkey: String,
    secret: SecretPlace,
    name: Option<AccountName>,
    base_url: Option<String>,
    lake: String,
    from: Option<String>,
}

/// Where the secret is.
#[derive(Debug)]
enum SecretPlace {
    Variable(String),
    File(String),
    Command(Vec<String>),
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let path = home::expand(args.config.trim())?.into_owned();
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorClass::OutputPlaceWrong, "there is a file already")
            .with("path", path.display())
            .hint("give `--force` to write over it, or name another one by `--config`"));
    }
    let answers = match is_terminal() {
        true => asked(args)?,
        false => given(args)?,
    };
    let text = answers.text();
    // What could not be read later is said now.
    ConfigFile::parse(&text, &path)?;
    write(&path, &text, args.force)?;
    super::print(&say!("{path} is written: it says where the secret is, and not what it is", path = path.display()));
    if args.no_check {
        return Ok(exit::DONE);
    }
    let account = AccountArgs::of_file(path.display().to_string());
    check::accounts(&account, &CallArgs::usual()).await
}

fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Writes the file, over another one only where that was asked for.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let failed = |error: io::Error| cannot_write(path).because(error);
    if force {
        let file = NewFileAt::create(path, None)?;
        file.begin()?.write_all(text.as_bytes()).map_err(failed)?;
        return file.publish().map(drop);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// What the options say.
fn given(args: &Args) -> Result<Answers> {
    let secret = secret_of(args)?;
    match (args.edition, &args.sid, &args.appkey, secret) {
        (Some(edition), Some(sid), Some(appkey), Some(secret)) => Ok(Answers {
            edition,
            sid: sid.clone(),
            appkey: appkey.clone(),
            secret,
            name: args.name.clone(),
            base_url: args.base_url.clone(),
            lake: args.lake.clone().unwrap_or_else(|| LAKE.to_owned()),
            from: args.from.as_deref().map(checked_from).transpose()?,
        }),
        (edition, sid, appkey, secret) => {
            let missing = [
                ("--edition", edition.is_none()),
                ("--sid", sid.is_none()),
                ("--appkey", appkey.is_none()),
                ("--secret-env, --secret-file or --secret-command", secret.is_none()),
            ];
            let missing: Vec<&str> =
                missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| name).collect();
            Err(Error::new(ErrorClass::SettingMissing, text!("missing: {options}", options = missing.join(", ")))
                .hint("give these options, or run it on a terminal, where it asks for them"))
        }
    }
}

fn secret_of(args: &Args) -> Result<Option<SecretPlace>> {
    let checked = |place: std::result::Result<SecretPlace, Text>, option: &str| {
        place.map(Some).map_err(|why| {
            Error::new(ErrorClass::SettingWrong, text!("{option} {why}", option, why)).hint(
                "say where the app secret is, and not what it is; the value is not shown, because it may be the secret",
            )
        })
    };
    match (&args.secret_env, &args.secret_file, &args.secret_command) {
        (Some(name), ..) => checked(variable_place(name), "--secret-env"),
        (_, Some(path), _) => checked(file_place(path), "--secret-file"),
        (.., Some(command)) => checked(command_place(command), "--secret-command"),
        _ => Ok(None),
    }
}

/// A variable: one that is set, or has a name as variables have.
fn variable_place(name: &str) -> std::result::Result<SecretPlace, Text> {
    let is_name = |letter: u8| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == b'_';
    let looks_so = name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(is_name);
    if looks_so || (!name.is_empty() && !name.contains(['=', '\0']) && std::env::var_os(name).is_some()) {
        return Ok(SecretPlace::Variable(name.to_owned()));
    }
    Err(text!("names no variable that is set, and is no name in capitals"))
}

/// A file that is there.
fn file_place(path: &str) -> std::result::Result<SecretPlace, Text> {
    match home::expand(path.trim()) {
        Ok(found) if found.exists() && !found.is_dir() => Ok(SecretPlace::File(path.trim().to_owned())),
        _ => Err(text!("names no file that is there")),
    }
}

/// A program that is there, and its arguments.
fn command_place(command: &str) -> std::result::Result<SecretPlace, Text> {
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let is_there = |program: &String| {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        match program.contains('/') {
            true => home::expand(program).is_ok_and(|path| path.is_file()),
            false => std::env::split_paths(&folders).any(|folder| folder.join(program).is_file()),
        }
    };
    match words.first().is_some_and(is_there) {
        true => Ok(SecretPlace::Command(words)),
        false => Err(text!("begins with no program that is there")),
    }
}

fn checked_from(text: &str) -> Result<String> {
    parse_user_time(text, DateMeans::FirstSecond).map(|_| text.trim().to_owned())
}

/// Asks for what the options do not say.
fn asked(args: &Args) -> Result<Answers> {
    let given = |value: &Option<String>| value.clone().map(Ok);
    let text = |question: &'static str| ask(question, None, |answer| Ok(answer.to_owned()));
    let edition = match args.edition {
        Some(edition) => edition,
        None => ask(
            key!("Edition: enterprise (企业版), y (新版) or flagship (旗舰版)"),
            Some("enterprise"),
            |answer| answer.parse::<Edition>().map_err(|_| Text::from("write enterprise, y or flagship")),
        )?,
    };
    let sid = given(&args.sid).unwrap_or_else(|| text(key!("Seller account (sid, 卖家账号)")))?;
    let appkey = given(&args.appkey).unwrap_or_else(|| text(key!("Interface account (appkey, 接口账号)")))?;
    let secret = match secret_of(args)? {
        Some(secret) => secret,
        None => ask_secret()?,
    };
    let lake = given(&args.lake).unwrap_or_else(|| {
        ask(key!("Lake: a folder or s3://bucket/prefix"), Some(LAKE), |answer| Ok(answer.to_owned()))
    })?;
    let from = match &args.from {
        Some(from) => checked_from(from)?,
        None => ask(key!("First modified time wanted (Beijing time), such as 2026-01-01"), None, |answer| {
            checked_from(answer)
                .map_err(|error| error.hint_said().cloned().unwrap_or_else(|| Text::from("that is no time")))
        })?,
    };
    let (name, base_url) = (args.name.clone(), args.base_url.clone());
    Ok(Answers { edition, sid, appkey, secret, name, base_url, lake, from: Some(from) })
}

fn ask_secret() -> Result<SecretPlace> {
    let kind = ask(
        key!("The app secret is in: variable, file, or command (a program prints it)"),
        Some("variable"),
        |answer| match answer {
            "variable" | "file" | "command" => Ok(answer.to_owned()),
            _ => Err(text!("write variable, file or command")),
        },
    )?;
    match &*kind {
        "variable" => ask(key!("Name of the variable"), Some("WDT_APPSECRET"), variable_place),
        "file" => ask(key!("Path of the file"), None, file_place),
        _ => ask(key!("The program and its arguments"), None, command_place),
    }
}

/// Asks until the answer is one; nothing is the default where there is one.
fn ask<T>(
    question: &'static str,
    default: Option<&str>,
    read: impl Fn(&str) -> std::result::Result<T, Text>,
) -> Result<T> {
    let question = Text::from(question);
    let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    loop {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question:#}{shown}: ");
        let _ = stderr.flush();
        let mut line = String::new();
        let taken = io::stdin().lock().read_line(&mut line);
        if !matches!(taken, Ok(1..)) {
            return Err(Error::usage("the questions were not answered").hint("nothing was written; run it again"));
        }
        let answer = match (line.trim(), default) {
            ("", Some(default)) => default,
            ("", None) => {
                let _ = writeln!(stderr, "  {}", say!("an answer is needed"));
                continue;
            }
            (answer, _) => answer,
        };
        match read(answer) {
            Ok(answer) => return Ok(answer),
            Err(why) => drop(writeln!(stderr, "  {why:#}")),
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let letter = |letter: char| match letter {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        control if control.is_control() => format!("\\u{:04X}", u32::from(control)),
        plain => plain.to_string(),
    };
    format!("\"{}\"", text.chars().map(letter).collect::<String>())
}

impl Answers {
    /// The file.
    fn text(&self) -> String {
        let secret = match &self.secret {
            SecretPlace::Variable(name) => format!("secret_env = {}", quoted(name)),
            SecretPlace::File(path) => format!("secret_file = {}", quoted(path)),
            SecretPlace::Command(words) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                format!("secret_command = [{}]", words.join(", "))
            }
        };
        let or_comment = |key: &str, value: Option<&str>, example: &str, why: &str| match value {
            Some(value) => format!("{key} = {}", quoted(value)),
            None => format!("# {key} = {example}  # {why}"),
        };
        [
            "# The accounts of wdt-lake, and the lake that they land in. All settings: docs/configuration.md"
                .to_owned(),
            "# Paths are relative to the folder of this file.".to_owned(),
            String::new(),
            format!("lake = {}", quoted(&self.lake)),
            "# publish = [\"delta\"]  # publish the lake as Delta tables at the end of each sync; or \"iceberg\""
                .to_owned(),
            String::new(),
            "# One such part for each account.".to_owned(),
            "[[account]]".to_owned(),
            or_comment(
                "name",
                self.name.as_ref().map(AccountName::as_str),
                "\"acme\"",
                "in the lake; the sid otherwise",
            ),
            format!("edition = {}", quoted(self.edition.name())),
            format!("sid = {}", quoted(&self.sid)),
            format!("appkey = {}", quoted(&self.appkey)),
            "# The app secret itself never stands here: secret_env names a variable, secret_file a file, and"
                .to_owned(),
            "# secret_command a program that prints it. Of flagship it is the whole secret:salt.".to_owned(),
            secret,
            or_comment("from", self.from.as_deref(), "\"2026-01-01\"", "first modified time wanted"),
            or_comment("base_url", self.base_url.as_deref(), "\"https://...\"", "the vendor's own address otherwise"),
            "# calls_per_minute = 60  # the account's rate limit".to_owned(),
            "# allow_stop = false  # forbids `wdt-lake stop` its calls".to_owned(),
            String::new(),
        ]
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(secret: SecretPlace) -> Answers {
        Answers {
            edition: Edition::Y,
            sid: "acme2".to_owned(),
            appkey: "odd \"key\"\\".to_owned(),
            secret,
            name: None,
            base_url: None,
            lake: "s3://bucket/lake".to_owned(),
            from: Some("2026-01-01".to_owned()),
        }
    }

    #[test]
    fn what_is_written_is_a_good_file() {
        for (secret, key) in [
            (SecretPlace::Variable("ACME".to_owned()), "secret_env"),
            (SecretPlace::File("/run/x".to_owned()), "secret_file"),
            (SecretPlace::Command(vec!["pass".to_owned(), "a\tb".to_owned()]), "secret_command"),
        ] {
            let file = ConfigFile::parse(&answers(secret).text(), Path::new("wdt-lake.toml")).expect("a good file");
            assert_eq!(file.lake(), Some("s3://bucket/lake"));
            let account = &file.accounts()[0];
            assert_eq!((account.name().as_str(), account.secret_key()), ("acme2", key));
            assert_eq!(account.without_secret().appkey, "odd \"key\"\\");
            assert!(account.terms().from.is_some());
        }
    }

    #[test]
    fn what_may_be_the_secret_itself_is_refused() {
        for odd in ["s3cret", "", "S3CRET:salt", "with blank", "a=b"] {
            assert!(variable_place(odd).is_err(), "{odd}");
        }
        for odd in ["", "S3cr3t", "/no/such/file", "."] {
            assert!(file_place(odd).is_err(), "{odd}");
        }
        for odd in ["", "  ", "s3cret:s4lt", "/no/such/program x"] {
            assert!(command_place(odd).is_err(), "{odd}");
        }
        assert!(variable_place("ACME_APPSECRET").is_ok() && variable_place("PATH").is_ok());
    }
}
