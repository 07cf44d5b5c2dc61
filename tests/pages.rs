//! What the pages tell people to type works. Every command of a block of `sh` or `console`, every line of `cron`, and
//! every DuckDB query of a block of `sql` is run in the order of its page, against the sandbox, in a folder of its own;
//! and what a block of `console` shows is what the program says, in the language of the page. A last line `...` stands
//! for the rest.
//!
//! Nobody lists commands here: a new one is run as soon as it stands on a page. A block that cannot be run has a line
//! before it which readers do not see, `<!-- not run: why -->`. All of these are one snapshot. `<!-- run: how -->` says
//! what stands around a block: [`Block::begin`] has them.
//!
//! The Chinese pages have the same blocks (`.ci/pages.py`). Where they show outputs, they are run too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use wdt_lake::sandbox::{Credentials, Options, Sandbox, generate_believable};
use wdt_lake::{Clock as _, Edition, SystemClock};

use crate::replay::save_pages;
use crate::stop::partly;
use crate::support::s3::{KEY_ID, S3Server, SECRET};
use crate::support::{copy_folder, program, python, run};

/// The folder at the project's root.
fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A block of code on a page.
struct Block {
    /// The line of its fence.
    line: usize,
    language: String,
    /// What the line before it says, if it is for this test.
    mark: Option<String>,
    code: Vec<String>,
}

/// What a block shows for a command.
struct Shown {
    line: usize,
    output: String,
}

/// A page, and what stands on it.
struct Page {
    name: String,
    text: String,
    blocks: Vec<Block>,
}

impl Page {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(project().join(name)).unwrap();
        let (mut blocks, mut open, mut before) = (Vec::new(), None::<Block>, "");
        for (line, nth) in text.lines().zip(1..) {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    let mark = before.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                    let mark = mark.filter(|mark| mark.starts_with("run: ") || mark.starts_with("not run: "));
                    let mark = mark.map(str::to_owned);
                    open = Some(Block { line: nth, language: language.to_owned(), mark, code: Vec::new() });
                }
                (None, Some(block)) => block.code.push(line.to_owned()),
                (None, None) => {}
            }
            before = line;
        }
        assert!(open.is_none(), "{name}: a block without an end");
        Self { name: name.to_owned(), text, blocks }
    }

    /// The pages that users read, in English.
    fn english() -> Vec<Self> {
        let docs = std::fs::read_dir(project().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
        let docs = docs.filter_map(|name| name.to_str().map(|name| format!("docs/{name}")));
        let mut names: Vec<String> = docs.filter(|name| name.ends_with(".md")).collect();
        names.push("README.md".to_owned());
        names.sort();
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// Its Chinese page.
    fn in_chinese(&self) -> Option<Self> {
        let name = match self.name.strip_prefix("docs/") {
            Some(name) => format!("docs/zh/{name}"),
            None => "README.zh-CN.md".to_owned(),
        };
        project().join(&name).exists().then(|| Self::read(&name))
    }

    /// Whether it shows what a command says.
    fn shows_outputs(&self) -> bool {
        self.blocks.iter().any(|block| block.language == "console" && block.mark.is_none() && !block.shown().is_empty())
    }
}

impl Block {
    /// Why it is not run.
    fn left_out(&self) -> Option<&str> {
        self.mark.as_deref()?.strip_prefix("not run: ")
    }

    /// Whether it holds commands, or a query.
    fn is_for_people_to_run(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "console" | "sql" | "cron")
    }

    /// The outputs that it shows.
    fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = Vec::new();
        for (text, line) in self.code.iter().zip(self.line + 1..) {
            if text.starts_with("$ ") {
                all.push(Shown { line, output: String::new() });
            } else if let Some(last) = all.last_mut() {
                writeln!(last.output, "{text}").unwrap();
            }
        }
        all.retain(|one| !one.output.is_empty());
        all
    }

    /// What its mark asks for before it is run.
    fn begin(&self) -> &'static str {
        match self.mark.as_deref() {
            None => "",
            Some("run: in a new folder") => "new_folder",
            Some("run: with the flagship account") => "flagship",
            Some("run: with a lake in wdt-lake.toml") => "echo 'lake = \"lake\"' > wdt-lake.toml",
            Some("run: after the lake was lost") => "rm -r \"$LOST_LAKE\"",
            Some(other) => panic!("line {}: `{other}` is no mark that tests/pages.rs knows", self.line),
        }
    }

    /// What a shell does to run it, command by command.
    fn script(&self) -> String {
        let mut script = format!("at={}\n{}\n", self.line, self.begin());
        match self.language.as_str() {
            "sh" => self.code.iter().for_each(|line| writeln!(script, "{line}").unwrap()),
            "console" => {
                for (text, line) in self.code.iter().zip(self.line + 1..) {
                    if let Some(command) = text.strip_prefix("$ ") {
                        writeln!(script, "at={line}\n{{ {command}\n}} > \"$ROOT/said/{line}\" 2>&1 || fail {line}")
                            .unwrap();
                        writeln!(script, "token=$(tail -n 1 \"$ROOT/said/{line}\")").unwrap();
                    }
                }
            }
            "sql" => writeln!(script, "query <<'END_OF_QUERY'\n{}\nEND_OF_QUERY", self.code.join("\n")).unwrap(),
            // As cron does it: with hardly an environment, what follows the five fields.
            "cron" => {
                for line in &self.code {
                    let command = line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
                    writeln!(script, "env -i HOME=\"$HOME\" PATH=/usr/bin:/bin sh -c '{command}'").unwrap();
                }
            }
            // A file that the page names is written.
            "toml" if self.code.first().is_some_and(|line| line.starts_with("# wdt-lake.toml")) => {
                writeln!(script, "cat > wdt-lake.toml <<'END_OF_FILE'\n{}\nEND_OF_FILE", self.code.join("\n")).unwrap();
                script.push_str("unset WDT_ACCOUNT WDT_EDITION WDT_SID WDT_APPKEY WDT_APPSECRET_FILE WDT_BASE_URL\n");
            }
            _ => {}
        }
        script
    }
}

/// What is there before a page begins. Functions stand for what waits for a person, for what a page leaves to its
/// reader, and for the command line of DuckDB; the rate limit, at which a page would take minutes, is lifted.
const PRELUDE: &str = r#"
set -euo pipefail
fail() { cat "$ROOT/said/$1" >&2; return 1; }
trap 'echo "line $at ends with exit code $?" >&2' ERR
set -E
wdt-lake() {
    case "${1-}" in
        sync | check | plan | get | stop | audit) command wdt-lake "$@" --calls-per-minute 0 ;;
        init) if [[ "$*" = *--no-check* ]]; then command wdt-lake "$@"; else command wdt-lake "$@" --base-url "$GATEWAY"; fi ;;
        sandbox) if [[ "$*" = *"--oddities list"* ]]; then command wdt-lake "$@"; else serve "$@"; fi ;;
        *) command wdt-lake "$@" ;;
    esac
}
# A sandbox stays until somebody ends it. What it prints is what another terminal takes.
serve() {
    command wdt-lake "$@" > "$ROOT/sandbox" &
    local process=$!
    until grep -q '^export WDT_BASE_URL' "$ROOT/sandbox"; do kill -0 "$process"; sleep 0.02; done
    ( eval "$(cat "$ROOT/sandbox")"; unset WDT_APPSECRET_FILE; command wdt-lake check --calls-per-minute 0 )
    kill "$process"
    wait "$process"
}
new_folder() { cd "$(mktemp -d "$ROOT/XXXXXX")"; cp -R "$ROOT/templates/." .; }
flagship() {
    new_folder
    cp -R "$FLAGSHIP_LAKE" lake
    export WDT_ACCOUNT=beta WDT_EDITION=flagship WDT_SID=beta3 WDT_APPKEY=beta3-ot WDT_BASE_URL=$FLAGSHIP_GATEWAY
}
load_into_warehouse() { test -s "$1"; }
duckdb() { [ "$1" = -init ] && "$PYTHON" -c 'import duckdb, sys; duckdb.sql(open(sys.argv[1]).read())' "$2"; }
query() {
    command wdt-lake views --engine duckdb --lake ./lake > "$ROOT/views.sql"
    "$PYTHON" -c 'import duckdb, sys; duckdb.sql(open(sys.argv[1]).read()); print(duckdb.sql(sys.stdin.read()))' "$ROOT/views.sql"
}
"#;

/// An ERP with requisitions of some years, and with those that the pages name.
fn erp(edition: Edition, sid: &str) -> Sandbox {
    let now = SystemClock.now();
    let mut requisitions = generate_believable(7, 400, 600, now.plus_seconds(-3_600));
    let named = ["POA2309040001", "POA2309130001", "POA1", "OLD1"];
    requisitions.extend(named.into_iter().zip(900_001..).map(|(number, id)| partly(id, number, 40)));
    requisitions.push(partly(900_100, "POA2309160001", 12));
    let credentials = Credentials { sid: sid.to_owned(), appkey: format!("{sid}-ot"), ..Credentials::default() };
    Sandbox::start(Options { edition, credentials, requisitions, ..Options::default() }).unwrap()
}

/// What all pages are run against: an ERP, a lake of each gateway as a run today has left it, saved pages, and an
/// object store. A page changes none of them.
struct World {
    folder: TempDir,
    enterprise: Sandbox,
    bucket: S3Server,
}

impl World {
    /// There is one, which is made at the first need.
    fn get() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            let folder = TempDir::new().unwrap();
            let (enterprise, flagship) = (erp(Edition::Enterprise, "acme2"), erp(Edition::Flagship, "beta3"));
            for (sandbox, name, account) in [(&enterprise, "lake", "acme"), (&flagship, "flagship", "beta")] {
                let lake = folder.path().join(name);
                let mut command = program();
                command.envs(sandbox.environment()).env("WDT_ACCOUNT", account);
                command.args(["sync", "--from", "2025-04-01", "--calls-per-minute", "0", "--lake"]).arg(lake);
                run(&mut command).expect_code(0);
            }
            let pages = folder.path().join("pages");
            std::fs::create_dir(&pages).unwrap();
            assert!(save_pages(&enterprise, &[("2025-11-01 00:00:00", "2025-11-30 23:59:59")], &pages) > 0);
            std::fs::write(folder.path().join("secret"), enterprise.credentials().secret.expose()).unwrap();
            Self { folder, enterprise, bucket: S3Server::start() }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A machine for one page: a root folder in which all paths lie that the page names, and the folder where somebody
/// types.
struct Machine {
    root: TempDir,
    /// An ERP of its own: it is the one that commands change.
    flagship: Sandbox,
    bucket: String,
}

impl Machine {
    fn for_page(page: &Page) -> Self {
        let (world, root) = (World::get(), TempDir::new().unwrap());
        let at = |name: &str| root.path().join(name);
        for folder in [
            "bin",
            "said",
            "work",
            "templates/pages",
            "home",
            "run/secrets",
            "etc/wdt-lake",
            "var/lib/wdt-lake",
            "backup",
        ] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wdt-lake"), at("bin/wdt-lake")).unwrap();
        std::os::unix::fs::symlink(project().join("recipes"), at("work/recipes")).unwrap();
        // What somebody has put there by hand, as the README says.
        std::fs::create_dir_all(at("home/.local/bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wdt-lake"), at("home/.local/bin/wdt-lake")).unwrap();
        copy_folder(&world.path("lake"), &at("home/wangdian/lake"));
        let exports: String =
            world.enterprise.environment().iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
        std::fs::write(at("home/wangdian/account.env"), exports + "export WDT_ACCOUNT=acme\n").unwrap();
        for secret in ["run/secrets/wangdian", "run/secrets/acme", "run/secrets/beta"] {
            std::fs::copy(world.path("secret"), at(secret)).unwrap();
        }
        // Nobody listens there: nothing on the pages is worth an alert.
        std::fs::write(at("etc/wdt-lake/webhook"), "http://127.0.0.1:9/robot").unwrap();
        std::fs::write(at("etc/wdt-lake/sign"), "sign").unwrap();
        std::fs::write(at("templates/numbers.txt"), "OLD1\n").unwrap();
        copy_folder(&world.path("pages"), &at("templates/pages"));
        copy_folder(&at("templates"), &at("work"));
        // Whoever sets an account up on a page has no lake yet.
        if !page.sets_an_account_up() {
            copy_folder(&world.path("lake"), &at("work/lake"));
            copy_folder(&world.path("lake"), &at("var/lib/wdt-lake/lake"));
        }
        Self { root, flagship: erp(Edition::Flagship, "beta3"), bucket: world.bucket.bucket() }
    }

    /// A page's text with what lies elsewhere put where this machine has it.
    fn own(&self, script: &str) -> String {
        let world = World::get();
        let root = self.root.path().to_str().unwrap();
        let mut script = script.to_owned();
        let address = |sandbox: &Sandbox| format!("\nbase_url = \"{}\"", sandbox.base_url());
        let endpoint = &world.bucket.environment()[2].1;
        for (there, here) in [
            ("\nenvironment = \"test\" ", "\n#".to_owned()),
            ("\nsid = \"acme2\"", format!("{}\nsid = \"acme2\"", address(&world.enterprise))),
            ("\nsid = \"beta3\"", format!("{}\nsid = \"beta3\"", address(&self.flagship))),
            ("s3://my-bucket/", format!("s3://{}/", self.bucket)),
            ("https://minio.example.com:9000", endpoint.clone()),
            ("AWS_ACCESS_KEY_ID=...", format!("AWS_ACCESS_KEY_ID={KEY_ID}")),
            ("AWS_SECRET_ACCESS_KEY=...", format!("AWS_SECRET_ACCESS_KEY={SECRET}")),
            ("/backup/wdt-lake/20261001T020000", format!("\"$(ls -d {root}/backup/wdt-lake/2* | tail -n 1)\"")),
            ("chown -R wdt-lake ", "chown -R \"$(id -u)\" ".to_owned()),
            (" /backup/", format!(" {root}/backup/")),
            ("/run/secrets/", format!("{root}/run/secrets/")),
            ("/etc/wdt-lake/", format!("{root}/etc/wdt-lake/")),
            ("/var/lib/", format!("{root}/var/lib/")),
        ] {
            script = script.replace(there, &here);
        }
        // The token that the page shows is that of another lake.
        let token = regex::Regex::new("--since purchase_apply,acme:[0-9]+:[0-9a-f]+").unwrap();
        token.replace_all(&script, "--since \"$$token\"").into_owned()
    }

    /// Runs a page; what is wrong.
    fn run(&self, page: &Page, language: &str) -> Vec<String> {
        let world = World::get();
        let mut script = PRELUDE.to_owned();
        for block in &page.blocks {
            if block.left_out().is_none() {
                script.push_str(&block.script());
            }
        }
        let file = self.root.path().join("page.sh");
        std::fs::write(&file, self.own(&script)).unwrap();
        let at = |name: &str| self.root.path().join(name);
        let mut command = Command::new("bash");
        command.arg(&file).current_dir(at("work")).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap()));
        command.env("HOME", at("home")).env("ROOT", self.root.path()).env("WDT_LANG", language);
        command.env("PYTHON", python::LOCAL.interpreter()).envs(world.bucket.environment());
        command.env("FLAGSHIP_LAKE", world.path("flagship")).env("FLAGSHIP_GATEWAY", self.flagship.base_url());
        command.env("LOST_LAKE", at("var/lib/wdt-lake/lake"));
        command.env("GATEWAY", world.enterprise.base_url()).env("WDT_BASE_URL", world.enterprise.base_url());
        command.env("ACME_APPSECRET", std::fs::read_to_string(world.path("secret")).unwrap());
        if !page.sets_an_account_up() {
            command.env("WDT_ACCOUNT", "acme").env("WDT_EDITION", "enterprise").env("WDT_SID", "acme2");
            command.env("WDT_APPKEY", "acme2-ot").env("WDT_APPSECRET_FILE", at("run/secrets/wangdian"));
        }
        let said = run(&mut command);
        if said.code != 0 {
            return vec![format!("{}: exit code {}\n{}\n{}", page.name, said.code, said.stdout, said.stderr)];
        }
        let blocks = page.blocks.iter().filter(|block| block.language == "console" && block.left_out().is_none());
        let differs = |shown: Shown| {
            let said = std::fs::read_to_string(at(&format!("said/{}", shown.line))).unwrap();
            let (page_shape, said_shape) = (shape(&shown.output), shape(&said));
            let is_so = match page_shape.strip_suffix("...\n") {
                Some(beginning) => said_shape.starts_with(beginning),
                None => said_shape == page_shape,
            };
            (!is_so).then(|| format!("{}:{}: the page shows\n{}but it is\n{said}", page.name, shown.line, shown.output))
        };
        blocks.flat_map(Block::shown).filter_map(differs).collect()
    }
}

impl Page {
    fn sets_an_account_up(&self) -> bool {
        self.text.contains("\nexport WDT_EDITION=")
    }
}

/// The address of the ERP on the pages.
const HOST: &str = "api.wangdian.cn";

/// An output without what differs from lake to lake: numbers, and how far they are indented, times, ids and digests.
fn shape(output: &str) -> String {
    let ids = regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}").unwrap();
    let numbers = regex::Regex::new("[0-9]+([,.:-][0-9]+)*").unwrap();
    let columns = regex::Regex::new(" +0").unwrap();
    let units = regex::Regex::new("0 (B|kB|MB)\\b").unwrap();
    let masked = ids.replace_all(output, "H").replace("127.0.0.1", HOST);
    let masked = numbers.replace_all(&masked, "0").into_owned();
    let masked = columns.replace_all(&masked, " 0").into_owned();
    let masked = units.replace_all(&masked, "0 B").into_owned();
    masked.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[track_caller]
fn run_all(pages: &[Page], language: &str) {
    let wrong: Vec<String> = pages.iter().flat_map(|page| Machine::for_page(page).run(page, language)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_of_the_english_pages_works() {
    run_all(&Page::english(), "en");
}

#[test]
fn the_chinese_pages_show_what_is_said_in_chinese() {
    let pages: Vec<Page> = Page::english().iter().filter_map(Page::in_chinese).filter(Page::shows_outputs).collect();
    run_all(&pages, "zh");
}

/// What is left out has a reason; the reasons are here for whoever reviews a new one.
#[test]
fn what_is_not_run_has_a_reason() {
    let mut left_out = String::new();
    for page in Page::english() {
        for block in &page.blocks {
            if let Some(why) = block.left_out() {
                let code = block.code[0].split("   #").next().unwrap();
                writeln!(left_out, "{}: {why}: {code}", page.name).unwrap();
            }
            // Commands in a block of no language would be run by nobody.
            let is_hidden = |line: &String| line.starts_with("$ ") || line.starts_with("wdt-lake ");
            let is_known = block.is_for_people_to_run() || block.left_out().is_some();
            let hidden = block.code.iter().find(|line| !is_known && is_hidden(line));
            assert_eq!(hidden, None, "{}:{}: a command outside of a block of sh or console", page.name, block.line);
        }
    }
    insta::assert_snapshot!("what_is_not_run", left_out);
}
