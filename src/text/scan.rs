//! What the sources of the library say to people, read from them: texts by their macros, and by their places.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A text that was found: whether it is a template with placeholders, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) is_template: bool,
    pub(super) file: String,
}

/// What the sources say.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(super) texts: BTreeMap<String, Found>,
    pub(super) nouns: BTreeSet<String>,
    pub(super) places: BTreeSet<String>,
    /// Classes of errors that something has.
    pub(crate) classes: BTreeSet<String>,
    /// What reaches people and is said in English alone, with its file.
    pub(super) untold: Vec<String>,
    file: String,
}

/// Functions and closures that take texts: literal arguments of theirs are keys.
const TAKERS: [&str; 16] = [
    "bad",
    "blocking",
    "cannot",
    "failed",
    "failure",
    "hint",
    "internal",
    "print_hint",
    "print_note",
    "print_warning",
    "refused",
    "unavailable",
    "unreached",
    "usage",
    "wrong",
    "wrong_at",
];
/// Those whose first argument alone is one.
const FIRST_ONLY: [&str; 4] = ["blocking", "failed", "refused", "unreached"];
/// Those whose first argument is none.
const NOT_FIRST: [&str; 2] = ["failure", "wrong_at"];
/// Files whose other words are not for people who read Chinese: names in files, settings, SQL, what `clap` says beside
/// its own English.
const ENGLISH_FILES: [&str; 6] =
    ["cli/init.rs", "cli/rows/csv.rs", "cli/sandbox.rs", "cli/sync.rs", "cli/talk.rs", "cli/render.rs"];

impl Scan {
    /// The whole library, without its tests.
    pub(crate) fn of_sources() -> Self {
        let mut scan = Self::default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for path in files(&root) {
            scan.file = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let text = fs::read_to_string(&path).expect("a source");
            scan.read(&text);
        }
        scan
    }

    /// One file.
    pub(super) fn read(&mut self, text: &str) {
        let own = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
        let tokens: TokenStream = own.parse().unwrap_or_else(|error| panic!("{}: {error}", self.file));
        self.tokens(tokens);
    }

    fn tokens(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        for (at, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(name) => self.name(&name.to_string(), at, &trees),
                TokenTree::Literal(literal) => {
                    let may_tell = ["text.rs", "error.rs"].contains(&&*self.file) || self.file.starts_with("cli/");
                    if !may_tell && literal.to_string().contains(":#}") {
                        self.refuse(&format!("{literal}: only the command line tells the language of the process"));
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn name(&mut self, name: &str, at: usize, trees: &[TokenTree]) {
        let before = |back: usize| at.checked_sub(back).and_then(|at| trees.get(at)).map(ToString::to_string);
        let group = |ahead: usize, delimiter: Delimiter| match trees.get(at + ahead) {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(arguments(group.stream())),
            _ => None,
        };
        let is_macro = matches!(trees.get(at + 1), Some(TokenTree::Punct(sign)) if sign.as_char() == '!');
        if is_macro {
            let Some(arguments) = group(2, Delimiter::Parenthesis) else { return };
            let first = arguments.first().and_then(|argument| literal(argument));
            match (name, first) {
                ("text" | "say", Some(key)) => {
                    if name == "say" && !self.file.starts_with("cli/") {
                        self.refuse(&format!("say!({key:?}): what is not printed at once is a text!"));
                    }
                    self.add(key, true);
                }
                ("key", Some(key)) => self.add(key, false),
                ("format", Some(key)) if self.is_for_people() && has_words(&key) => {
                    self.refuse(&format!("format!({key:?})"));
                }
                _ => {}
            }
            return;
        }
        if name == "ErrorClass" && self.file != "error/class.rs" {
            self.classes.extend(trees.get(at + 3).map(ToString::to_string));
        }
        let Some(arguments) = group(1, Delimiter::Parenthesis) else { return };
        let is_method = before(1).as_deref() == Some(".");
        if name == "plural" {
            self.nouns.extend(arguments.get(1).and_then(|noun| literal(noun)));
        } else if name == "with" && is_method && arguments.len() == 2 {
            self.places.extend(arguments.first().and_then(|place| literal(place)));
        } else if name == "from" && before(3).as_deref() == Some("Text") {
            // The sandbox has another type of this name, for what an ERP holds.
            if !self.file.starts_with("sandbox/") {
                self.taken(&arguments);
            }
        } else if name == "new" && before(3).as_deref() == Some("Error") && before(6).as_deref() != Some("io") {
            self.taken(arguments.get(1..).unwrap_or_default());
        } else if TAKERS.contains(&name) && before(1).as_deref() != Some("fn") {
            let skipped = usize::from(NOT_FIRST.contains(&name)).min(arguments.len());
            let end = if FIRST_ONLY.contains(&name) { arguments.len().min(1) } else { arguments.len() };
            self.taken(&arguments[skipped..end]);
        }
    }

    fn taken(&mut self, arguments: &[Vec<TokenTree>]) {
        for argument in arguments {
            if let Some(key) = literal(argument) {
                self.add(key, false);
            }
            let plain: Vec<_> = argument.iter().skip_while(|tree| tree.to_string() == "&").take(2).collect();
            if plain.first().is_some_and(|tree| tree.to_string() == "format") && plain.len() == 2 {
                let told: TokenStream = argument.iter().cloned().collect();
                self.refuse(&told.to_string());
            }
        }
    }

    fn is_for_people(&self) -> bool {
        self.file.starts_with("cli/") && !ENGLISH_FILES.contains(&&*self.file)
    }

    fn refuse(&mut self, what: &str) {
        self.untold.push(format!("{}: {what}", self.file));
    }

    fn add(&mut self, key: String, is_template: bool) {
        // A value alone is said as it is.
        let is_value = key.starts_with('{') && key.ends_with('}') && key.matches('{').count() == 1;
        if !key.is_empty() && !is_value {
            let file = self.file.clone();
            self.texts.entry(key).or_insert(Found { is_template, file });
        }
    }
}

/// The files of the library, without those of tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_of_tests = |name: &str| {
        matches!(name, "tests" | "tests.rs" | "testing.rs")
            || name.ends_with("_tests")
            || name.ends_with("_tests.rs")
            || matches!(name, "fuzzing" | "scan.rs" | "page.rs")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_of_tests(&name) {
            continue;
        } else if path.is_dir() {
            found.extend(files(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The arguments in a stream, parted by its commas.
fn arguments(stream: TokenStream) -> Vec<Vec<TokenTree>> {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let is_comma = |tree: &TokenTree| matches!(tree, TokenTree::Punct(sign) if sign.as_char() == ',');
    let mut parts: Vec<Vec<TokenTree>> = trees.split(is_comma).map(<[TokenTree]>::to_vec).collect();
    if parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    parts
}

/// The text of an argument that is a string literal and nothing else.
fn literal(argument: &[TokenTree]) -> Option<String> {
    let [TokenTree::Literal(literal)] = argument else { return None };
    syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
}

/// The names of the placeholders of a template; what is none of a template is `None`.
pub(super) fn placeholders(template: &str) -> Option<BTreeSet<String>> {
    let plain = template.replace("{{", "").replace("}}", "");
    let mut names = BTreeSet::new();
    for part in plain.split('{').skip(1) {
        let (name, _) = part.split_once('}')?;
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            return None;
        }
        names.insert(name.to_owned());
    }
    Some(names)
}

/// Whether anything but placeholders stands in it that has letters.
fn has_words(template: &str) -> bool {
    let mut depth = 0_i32;
    template.chars().any(|letter| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        depth == 0 && letter.is_alphabetic()
    })
}
