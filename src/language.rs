//! The language in which the program talks to people: summaries, warnings, errors, hints and reports.
//!
//! `--help`, `--json` and logs stay English whatever this says.

use clap::ValueEnum;

/// One of the languages that the program speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Language {
    /// English.
    #[default]
    #[value(name = "en")]
    English,
    /// Chinese, in simplified characters.
    #[value(name = "zh")]
    Chinese,
}

impl Language {
    /// The language that the environment asks for: `WDT_LANG`, else the locale of messages by POSIX (`LC_ALL`, else
    /// `LC_MESSAGES`, else `LANG`). Empty variables do not count, and what names no language of ours is English.
    pub(crate) fn from_env(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = ["WDT_LANG", "LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| var(name));
        set.map(|value| value.trim().to_owned())
            .find(|value| !value.is_empty())
            .map_or(Self::English, |value| Self::of_locale(&value))
    }

    /// `zh`, `zh_CN.UTF-8`, `zh-Hans-CN` and the like are Chinese.
    fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") || language.eq_ignore_ascii_case("chinese") {
            Self::Chinese
        } else {
            Self::English
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Language {
        Language::from_env(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_first_variable_that_says_something_decides() {
        for locale in ["zh", "zh_CN.UTF-8", "ZH_TW", "zh-Hans-CN", "zh_CN.GB18030", "zh.UTF-8", "zh@pinyin", " zh "] {
            assert_eq!(of(&[("LANG", locale)]), Language::Chinese, "{locale}");
        }
        for locale in ["", "C", "POSIX", "C.UTF-8", "en_US.UTF-8", "de_DE", "zhong", "中文", "_zh", "en_zh"] {
            assert_eq!(of(&[("LANG", locale)]), Language::English, "{locale}");
        }
        assert_eq!(of(&[]), Language::English);
        assert_eq!(of(&[("WDT_LANG", "en"), ("LC_ALL", "zh_CN.UTF-8"), ("LANG", "zh_CN.UTF-8")]), Language::English);
        assert_eq!(of(&[("WDT_LANG", ""), ("LC_ALL", "zh_CN.UTF-8"), ("LANG", "C")]), Language::Chinese);
        assert_eq!(of(&[("LC_ALL", "C"), ("LC_MESSAGES", "zh_CN"), ("LANG", "zh_CN")]), Language::English);
        assert_eq!(of(&[("LC_MESSAGES", "zh_CN"), ("LANG", "en_US")]), Language::Chinese);
    }
}
