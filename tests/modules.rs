//! The map of the modules, read from the sources: what may import what, which names are whose, and what the library
//! exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// The segments of a module's path below the crate.
type Module = Vec<String>;

/// What stands below everything else.
const GROUND: [&str; 17] = [
    "digest",
    "edition",
    "error",
    "format",
    "home",
    "id",
    "language",
    "proof",
    "publish_format",
    "requisition",
    "success",
    "text",
    "time",
    "units",
    "unsaid",
    "user_file",
    "worker",
];

/// What each module above the ground imports at most, besides the ground: the map that ARCHITECTURE.md draws.
const ABOVE: [(&str, &[&str]); 15] = [
    ("store", &[]),
    ("log", &["store"]),
    ("parquet", &["log"]),
    ("publish", &["log", "store"]),
    ("land", &["log", "parquet", "store"]),
    ("transform", &["log", "parquet"]),
    ("verify", &["land", "log", "parquet", "publish", "store", "transform"]),
    ("config", &[]),
    ("gateway", &["config"]),
    ("extract", &[]),
    ("stop", &["config", "land", "log", "parquet", "store", "transform"]),
    ("sandbox", &["config"]),
    ("pipeline", &["config", "extract", "gateway", "land", "log", "parquet", "publish", "stop", "store", "transform"]),
    ("report", &["land", "log", "pipeline", "store", "transform"]),
    (
        "cli",
        &[
            "config",
            "extract",
            "gateway",
            "land",
            "log",
            "parquet",
            "pipeline",
            "publish",
            "report",
            "sandbox",
            "stop",
            "store",
            "transform",
            "verify",
        ],
    ),
];

/// Modules of which the lake is made: they know no HTTP but that of their own client, and no column but through the
/// contract.
const OF_THE_LAKE: [&str; 7] = ["store", "log", "parquet", "publish", "land", "extract", "stop"];

/// A file of the library without what only tests see.
struct Source {
    module: Module,
    path: PathBuf,
    file: syn::File,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_test)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Reads the library from its root, following `mod` items, so that what only tests declare is left out.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut todo: Vec<(Module, PathBuf)> = vec![(Vec::new(), root().join("src/lib.rs"))];
    while let Some((module, path)) = todo.pop() {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.items.retain(|item| !is_of_tests(attributes(item)));
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().unwrap();
        let folder = if matches!(stem, "lib" | "mod") { folder.to_owned() } else { folder.join(stem) };
        for item in &file.items {
            let Item::Mod(item) = item else { continue };
            if item.content.is_some() {
                // It stands in this file, and counts as a part of it.
                continue;
            }
            assert!(!item.attrs.iter().any(|attribute| attribute.path().is_ident("path")));
            let name = item.ident.to_string();
            let own = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
            let own = own.into_iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no file of `{name}`"));
            todo.push(([&*module, &[name]].concat(), own));
        }
        sources.push(Source { module, path, file });
    }
    sources.sort_by(|one, other| one.module.cmp(&other.module));
    sources
}

/// Gathers every path that a file names, macros included, and its string literals.
#[derive(Default)]
struct Named {
    paths: Vec<Vec<String>>,
    literals: Vec<String>,
}

impl Named {
    fn of(file: &syn::File) -> Self {
        let mut named = Self::default();
        named.visit_file(file);
        named
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.add_tree(&[before, &[path.ident.to_string()]].concat(), &path.tree),
            UseTree::Name(name) => self.paths.push([before, &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.paths.push([before, &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.paths.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }

    /// What macros are given is no syntax yet: paths are runs of words with `::` between them.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        path.clear();
                    }
                    path.push(word.to_string());
                    colons = 0;
                    self.paths.push(path.clone());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.literals.push(text.value());
                    }
                    (path, colons) = (Vec::new(), 0);
                }
                TokenTree::Group(group) => {
                    self.add_tokens(group.stream());
                    (path, colons) = (Vec::new(), 0);
                }
                TokenTree::Punct(_) => (path, colons) = (Vec::new(), 0),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Named {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_of_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_of_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.add_tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.literals.push(literal.value());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// The module that a path leads to from `module`, where it is one of ours.
fn resolve(path: &[String], module: &[String], known: &BTreeSet<Module>) -> Option<Module> {
    let mut whole: Module = match path.first()?.as_str() {
        "crate" => path[1..].to_vec(),
        "self" => [module, &path[1..]].concat(),
        "super" => {
            let up = path.iter().take_while(|segment| *segment == "super").count();
            [&module[..module.len().checked_sub(up)?], &path[up..]].concat()
        }
        first => {
            let child = [module, &[first.to_owned()]].concat();
            known.contains(&child).then(|| [module, path].concat())?
        }
    };
    while !known.contains(&whole) {
        whole.pop()?;
    }
    (!whole.is_empty()).then_some(whole)
}

/// Who imports whom, file by file.
fn imports(sources: &[Source]) -> BTreeSet<(Module, Module)> {
    let known: BTreeSet<Module> = sources.iter().map(|source| source.module.clone()).collect();
    let of_source = |source: &Source| {
        let paths = Named::of(&source.file).paths;
        let found = paths.iter().filter_map(|path| resolve(path, &source.module, &known));
        found.filter(|to| *to != source.module).map(|to| (source.module.clone(), to)).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of_source).collect()
}

/// What the imports are between siblings: by their parent, each child with those that it imports.
fn between_siblings(imports: &BTreeSet<(Module, Module)>) -> BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> {
    let mut siblings: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in imports {
        let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
            let of_parent = siblings.entry(from[..shared].to_vec()).or_default();
            of_parent.entry(one.clone()).or_default().insert(other.clone());
        }
    }
    siblings
}

/// A circle among these, if there is one.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(graph: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let here = way.last().expect("a way begins somewhere").clone();
        for next in graph.get(&here).into_iter().flatten() {
            if let Some(start) = way.iter().position(|step| step == next) {
                way.drain(..start);
                return true;
            }
            if !done.contains(next) {
                way.push(next.clone());
                if walk(graph, way, done) {
                    return true;
                }
                way.pop();
            }
        }
        done.insert(here);
        false
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|start| {
        let mut way = vec![start.clone()];
        (!done.contains(start) && walk(graph, &mut way, &mut done)).then_some(way)
    })
}

#[test]
fn siblings_import_each_other_in_one_direction() {
    let imports = imports(&sources());
    assert!(imports.len() > 500, "the sources are read: {}", imports.len());
    for (parent, graph) in between_siblings(&imports) {
        assert_eq!(
            circle(&graph),
            None,
            "a circle in {}",
            if parent.is_empty() { "crate".into() } else { parent.join("::") }
        );
    }
}

#[test]
fn a_circle_is_seen() {
    let text = |text: &str| syn::parse_file(text).unwrap();
    let source = |name: &str, file| Source { module: vec![name.to_owned()], path: PathBuf::new(), file };
    let one = text("use super::two::Thing; #[cfg(test)] mod tests { use crate::three::Other; }");
    let two = text("fn f() { assert!(crate::three::is_well(), \"three\"); }");
    let three = text("impl crate::one::Trait for () {}");
    let made = [source("one", one), source("two", two), source("three", three)];
    let graph = &between_siblings(&imports(&made))[&Vec::new()];
    let circle = circle(graph).expect("one -> two -> three -> one");
    assert_eq!(circle.len(), 3, "{circle:?}");
    assert_eq!(graph["one"].iter().collect::<Vec<_>>(), ["two"], "what tests import does not count");
}

#[test]
fn a_module_imports_what_stands_below_it() {
    let sources = sources();
    let tops: BTreeSet<&String> = sources.iter().filter_map(|source| source.module.first()).collect();
    let mapped: BTreeSet<String> = GROUND.into_iter().chain(ABOVE.map(|(name, _)| name)).map(str::to_owned).collect();
    assert_eq!(tops, mapped.iter().collect(), "the modules and the map");
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (from, to) in imports(&sources) {
        let (Some(from), Some(to)) = (from.first(), to.first()) else { continue };
        let allowed = ABOVE.iter().find(|(name, _)| name == from).map_or(&[][..], |(_, below)| below);
        let is_below = from == to || GROUND.contains(&to.as_str()) || allowed.contains(&to.as_str());
        assert!(is_below, "{from} imports {to}");
    }
    for name in tops {
        assert!(architecture.contains(name.as_str()), "ARCHITECTURE.md does not know {name}");
    }
}

#[test]
fn the_lake_knows_no_http_and_no_column() {
    let mut columns = BTreeSet::new();
    for name in ["purchase_apply", "purchase_apply_detail", "stop_reference"] {
        let contract = fs::read_to_string(root().join("schemas").join(format!("{name}.json"))).unwrap();
        let contract: serde_json::Value = serde_json::from_str(&contract).unwrap();
        columns.insert(name.to_owned());
        let names = contract["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
        // Single words are words of every language.
        columns.extend(names.filter(|name| name.contains('_')).map(str::to_owned));
    }
    for Source { module, path, file } in sources() {
        let Some(top) = module.first() else { continue };
        let named = Named::of(&file);
        if matches!(top.as_str(), "log" | "parquet" | "publish" | "land" | "extract" | "transform" | "stop" | "verify")
        {
            let is_http = |path: &&Vec<String>| {
                matches!(
                    path[0].as_str(),
                    "reqwest" | "hyper" | "hyper_util" | "http" | "http_body_util" | "rustls" | "url"
                )
            };
            let http = named.paths.iter().filter(|path| !path.is_empty()).find(is_http);
            assert_eq!(http, None, "{}", path.display());
        }
        let is_of_the_lake = OF_THE_LAKE.contains(&top.as_str()) || top == "pipeline";
        if is_of_the_lake && module != ["log", "layout"] {
            let known = named.literals.iter().find(|literal| columns.contains(*literal));
            assert_eq!(known, None, "{} names a table or a column of the contract", path.display());
        }
    }
}

/// Names of types that are visible beyond their file, with their files.
#[test]
fn no_two_types_share_a_name() {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Source { module, path, file } in sources() {
        if module.first().is_some_and(|top| top == "sandbox") {
            continue;
        }
        for item in &file.items {
            let (visibility, name) = match item {
                Item::Struct(item) => (&item.vis, &item.ident),
                Item::Enum(item) => (&item.vis, &item.ident),
                Item::Trait(item) => (&item.vis, &item.ident),
                Item::Type(item) => (&item.vis, &item.ident),
                _ => continue,
            };
            if !matches!(visibility, Visibility::Inherited) && name != "Args" {
                types.entry(name.to_string()).or_default().push(path.display().to_string());
            }
        }
    }
    types.retain(|_, files| files.len() > 1);
    assert_eq!(types, BTreeMap::new());
}

#[test]
fn the_library_exports_what_is_listed_here() {
    let sources = sources();
    let root = sources.iter().find(|source| source.module.is_empty()).unwrap();
    let mut exports = BTreeSet::new();
    for item in &root.file.items {
        match item {
            Item::Use(item) if matches!(item.vis, Visibility::Public(_)) => {
                exports.extend(leaves(&item.tree));
            }
            Item::Mod(item) if matches!(item.vis, Visibility::Public(_)) => {
                exports.insert(format!("mod {}", item.ident));
            }
            item => assert!(!is_public(item), "exports are re-exports"),
        }
    }
    assert!(exports.len() <= 60, "{} exports", exports.len());
    insta::assert_snapshot!(exports.into_iter().collect::<Vec<_>>().join("\n"));
}

fn leaves(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => leaves(&path.tree),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(name) => vec![name.rename.to_string()],
        UseTree::Glob(_) => vec!["*".to_owned()],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Static(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Type(item) => &item.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}
