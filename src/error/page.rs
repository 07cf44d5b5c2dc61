//! `docs/errors.md` and `docs/zh/errors.md`, from the classes of errors and `classes.toml`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use toml::de::DeTable;

use super::{ErrorClass, exit};
use crate::language::Language;
use crate::text::scan::Scan;

const NOTE: &str = "<!-- Made from src/error/class.rs and src/error/classes.toml. Do not edit: change them and run \
                    `UPDATE_DOCS=1 cargo test --lib error::page`. -->";

/// What the pages say of a class.
struct Entry {
    class: ErrorClass,
    title: String,
    cause: String,
    remedy: String,
}

fn entries(language: Language) -> Vec<Entry> {
    let file = DeTable::parse(include_str!("classes.toml")).expect("TOML");
    let names: BTreeSet<&str> = file.get_ref().keys().map(|name| name.get_ref().as_ref()).collect();
    let known: BTreeSet<&str> = ErrorClass::ALL.iter().map(|(_, name, _)| *name).collect();
    assert_eq!(names, known, "classes.toml has the classes of class.rs");
    let entry = |(class, name, title): &(ErrorClass, &str, &str)| {
        let of_class = file.get_ref()[*name].get_ref().as_table().expect("a table");
        let text = |key: &str| of_class[key].get_ref().as_str().expect("a text").to_owned();
        match language {
            Language::English => {
                Entry { class: *class, title: title.trim().to_owned(), cause: text("cause"), remedy: text("remedy") }
            }
            Language::Chinese => {
                Entry { class: *class, title: text("title_zh"), cause: text("cause_zh"), remedy: text("remedy_zh") }
            }
        }
    };
    ErrorClass::ALL.iter().map(entry).collect()
}

fn page(language: Language) -> String {
    let (head, row, kinds): (_, _, [&str; 7]) = match language {
        Language::English => (
            format!(
                "# Errors\n\n{NOTE}\n\n\
                 Each error has a code, such as `WDT-6101`, which both languages share. Its first digit is the \
                 [exit code](exit-codes.md).\n\
                 On standard error it stands behind `error`; in JSON it is the `code` of an error.\n\n\
                 The message says what failed and where, and its hint what to do in just this case. This page says what \
                 is common to all errors of\na code. A code that ends in 000 says only that no other one fits.\n\n\
                 Summaries, errors and hints are in Chinese when `WDT_LANG` is `zh`, or, where it is not set, when the \
                 locale is Chinese. `--help`,\nJSON, logs and what is kept in a lake are English in any case, and so are the \
                 words of the gateway, the store and the operating\nsystem that an error passes on.\n"
            ),
            "| code | what | cause | remedy |",
            [
                "Internal failures and lost output",
                "Usage and configuration",
                "Credentials",
                "Gateway",
                "Lake",
                "Incomplete",
                "Defects",
            ],
        ),
        Language::Chinese => (
            format!(
                "[English](../errors.md) | 简体中文\n\n# 错误代码\n\n{NOTE}\n\n\
                 每个错误都有代码，例如 `WDT-6101`，两种语言相同。第一位数字就是[退出码](exit-codes.md)。在标准错误上，它写在“错误”（英文是 `error`）后面；\
                 在 JSON 里，它是错误的 `code`。\n\n\
                 消息说明什么失败了、在哪里，提示说明这一次该怎么办。本页说明同一代码的错误共有的原因和处理办法。以 000 结尾的代码，只表示没有更合适的代码。\n\n\
                 `WDT_LANG` 设为 `zh` 时，摘要、错误和提示是中文；没有设置时，看系统的语言环境是不是中文。`--help`、JSON、日志和保存在数据湖里的内容一律是英文；\
                 网关、存储和操作系统自己的话，错误里原样转述。\n"
            ),
            "| 代码 | 错误 | 原因 | 怎么办 |",
            ["内部错误与输出丢失", "用法与配置", "密钥与权限", "网关", "数据湖", "未完成", "缺陷"],
        ),
    };
    let codes =
        [exit::INTERNAL, exit::USAGE, exit::CREDENTIALS, exit::GATEWAY_UNAVAILABLE, exit::LAKE, exit::INCOMPLETE];
    let codes = codes.into_iter().chain([exit::DEFECT]);
    let entries = entries(language);
    let mut page = head;
    for (code, kind) in codes.zip(kinds) {
        let _ = write!(page, "\n## {kind}\n\n{row}\n| --- | --- | --- | --- |\n");
        for Entry { class, title, cause, remedy } in
            entries.iter().filter(|entry| entry.class.kind().exit_code() == code)
        {
            let _ = writeln!(page, "| `{}` | {title} | {cause} | {remedy} |", class.code());
        }
    }
    page
}

/// `UPDATE_DOCS=1` writes the pages anew instead of comparing them.
#[test]
fn the_pages_list_every_class() {
    for (path, language) in [("docs/errors.md", Language::English), ("docs/zh/errors.md", Language::Chinese)] {
        let (path, page) = (std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path), page(language));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).expect("written");
        }
        let held = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(held == page, "{} differs: run UPDATE_DOCS=1 cargo test --lib error::page", path.display());
    }
}

#[test]
fn every_class_is_used_and_has_a_code_of_its_own() {
    let used = Scan::of_sources().classes;
    let mut codes = BTreeSet::new();
    for (class, name, _) in ErrorClass::ALL {
        assert!(used.contains(*name) || class.is_other(), "no error is of the class {name}");
        assert!(codes.insert(class.code()), "{} is of two classes", class.code());
        let first = class.code().strip_prefix("WDT-").and_then(|number| number.get(..1)).expect("WDT-NNNN");
        assert_eq!(first, class.kind().exit_code().to_string(), "{name}");
        assert_eq!(class.code().len(), 8, "{name}");
    }
}
