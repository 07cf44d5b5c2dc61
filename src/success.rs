//! What an answer says of itself beside its code: whether it calls itself a success or a failure, and in which words.
//!
//! Servers say "busy" or "database error" with the code of a success, too. While an answer lists rows nobody needs its
//! words; one that lists nothing proves something only when it says nothing that speaks against it. A stop is believed
//! only in words of success.

/// The names by which answers say in a word whether they succeeded, and the words that say that they did not.
const FLAGS: [(&str, &[&str]); 4] = [
    ("success", &["false", "0", "fail", "failure", "failed", "error"]),
    ("issuccess", &["false", "0"]),
    ("is_success", &["false", "0"]),
    ("flag", &["false", "fail", "failure", "failed", "error"]),
];
/// What the names of fields contain that say in words what is the matter.
const OF_WORDS: [&str; 4] = ["message", "msg", "error", "reason"];
/// Words that say that all went well, or nothing at all.
const SUCCESS: [&str; 11] =
    ["", "ok", "okay", "success", "successful", "succeed", "succeeded", "true", "null", "none", "200"];
/// What a Chinese sentence of success has nothing of before its last word, 成功.
const NO_SUCCESS: [&str; 7] = ["不", "未", "没", "无", "非", "部分", "失败"];
/// More letters before 成功 tell of something else as well.
const LONGEST_SUCCESS: usize = 10;
/// Words for "there is nothing (more)".
const NOTHING: [&str; 9] =
    ["暂无数据", "没有数据", "无数据", "没有更多", "无更多", "未查询到", "no data", "no more", "no record"];

/// Whether the field of an answer says that the answer is a failure. `value` is a scalar's text.
pub(crate) fn is_failure(field: &str, value: &str) -> bool {
    let (field, value) = (field.to_ascii_lowercase(), value.trim().to_ascii_lowercase());
    FLAGS.iter().any(|(name, words)| *name == field && words.contains(&value.as_str()))
}

/// Whether a field of an answer says in words what is the matter.
pub(crate) fn is_of_words(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    OF_WORDS.iter().any(|part| field.contains(part))
}

/// Whether these words say that all went well, or nothing at all.
pub(crate) fn is_success(words: &str) -> bool {
    let words = words.trim().trim_end_matches(['.', '!', '。', '！']).to_ascii_lowercase();
    // An error code of 0 is no error.
    let is_zero = || !words.is_empty() && words.bytes().all(|digit| digit == b'0');
    SUCCESS.contains(&words.as_str()) || is_zero() || words.strip_suffix("成功").is_some_and(is_before_success)
}

fn is_before_success(words: &str) -> bool {
    words.chars().count() <= LONGEST_SUCCESS && !NO_SUCCESS.iter().any(|no| words.contains(no))
}

/// Whether these words say that there is nothing, or nothing more.
pub(crate) fn is_nothing(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    NOTHING.iter().any(|nothing| words.contains(nothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_success_are_few_and_those_of_trouble_are_none_of_them() {
        for words in
            ["", " ", "ok", "OK", "Success", "success.", "成功", "查询成功！", "停止引用成功", "0", "000", "null"]
        {
            assert!(is_success(words), "{words}");
        }
        for words in [
            "系统繁忙",
            "不成功",
            "未成功",
            "部分成功",
            "POA1: 采购申请单状态不是部分引用",
            "成功1条，失败2条",
            "共十二条采购申请单其中十条停止成功",
            "ok, but busy",
            "okay?",
            "5",
            "error",
            "unsuccessful",
        ] {
            assert!(!is_success(words), "{words}");
        }
    }

    #[test]
    fn a_flag_says_failure_only_where_it_is_one() {
        for (field, value) in
            [("success", "false"), ("Success", " FALSE "), ("isSuccess", "0"), ("flag", "failure"), ("success", "fail")]
        {
            assert!(is_failure(field, value), "{field} {value}");
        }
        for (field, value) in
            [("success", "true"), ("success", ""), ("flag", "success"), ("flag", "0"), ("status", "false")]
        {
            assert!(!is_failure(field, value), "{field} {value}");
        }
        for field in ["message", "sub_msg", "errMsg", "error", "error_description", "Reason"] {
            assert!(is_of_words(field), "{field}");
        }
        assert!(!is_of_words("request_id") && !is_of_words("trace"));
        assert!(is_nothing("没有更多数据了") && is_nothing("No data found") && !is_nothing("没有权限"));
    }
}
