//! What a business error of the gateway means for the caller: one table, with where each row is known from.
//!
//! The vendor documents a single code of the query (2180), and flagship sends one `status` for many errors. Texts are
//! the better guide, so they are asked before codes that are not on a vendor page. Rows are tried in order, the user's
//! own first; the first that fits decides. A query that is refused in words that no row knows is sent a few times more
//! before it stops its window: most such words speak of something that passes. So the rows for queries alone make that
//! only surer; they say nothing of a call that changes the ERP. `docs/gateway.md` shows the table; a test keeps it
//! true.

use std::str::FromStr;

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// What to do after a business error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// Wait and call again: too many calls a minute.
    Slower,
    /// Wait and call again, more slowly: the server is busy, or it is called too often by a limit that it does not
    /// name.
    Busy,
    /// Wait and call again: too many calls at once.
    FewerAtOnce,
    /// Correct the clock by the server's `Date` header once, and call again.
    Clock,
    /// Stop the account: more calls cannot help.
    Credentials,
    /// Stop the window: the caller's fault.
    Business,
    /// Wait and call again, more slowly, a few times, then stop the window: the server failed, or nobody knows these
    /// words.
    Unknown,
}

impl Verdict {
    /// Those that a rule can give.
    const ALL: [Self; 6] =
        [Self::Slower, Self::Busy, Self::FewerAtOnce, Self::Clock, Self::Credentials, Self::Business];

    /// Its word in configuration and documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Busy => "busy",
            Self::FewerAtOnce => "fewer-at-once",
            Self::Clock => "clock",
            Self::Credentials => "credentials",
            Self::Business => "business",
            Self::Unknown => "unknown",
        }
    }
}

/// A row that the user adds before the table: for a code or text that this program takes for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalRule {
    mark: UserMark,
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UserMark {
    Code(i64),
    Text(String),
}

impl RefusalRule {
    /// Reads rules as `WDT_REFUSALS` holds them, separated by `;`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a rule that cannot be read.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let rules = text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).zip(1..);
        rules.map(|(rule, nth)| rule.parse().map_err(|error: Error| error.with("rule", nth))).collect()
    }

    fn fits(&self, code: i64, lower: &str) -> bool {
        match &self.mark {
            UserMark::Code(known) => *known == code,
            UserMark::Text(text) => contains_word(lower, text),
        }
    }
}

impl FromStr for RefusalRule {
    type Err = Error;

    /// `CODE=VERDICT` or `TEXT=VERDICT`, for example `2060=business` or `系统维护=slower`.
    fn from_str(rule: &str) -> Result<Self> {
        let wrong = || {
            let verdicts: Vec<_> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
            // It is not repeated: what stands in a configuration may be a secret in the wrong place.
            Error::new(ErrorClass::SettingWrong, "this is no rule for refusals").hint(text!(
                "write CODE=VERDICT or TEXT=VERDICT, separated by `;`; verdicts are {verdicts}",
                verdicts = verdicts.join(", ")
            ))
        };
        let (mark, verdict) = rule.rsplit_once('=').ok_or_else(wrong)?;
        let (mark, verdict) = (mark.trim(), verdict.trim());
        let verdict = Verdict::ALL.into_iter().find(|known| known.name() == verdict).ok_or_else(wrong)?;
        let mark = match mark.parse() {
            Ok(code) => UserMark::Code(code),
            Err(_) if !mark.is_empty() => UserMark::Text(mark.to_ascii_lowercase()),
            Err(_) => return Err(wrong()),
        };
        Ok(Self { mark, verdict })
    }
}

/// Where a row of the table is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// On a page of the vendor, of this method or another.
    VendorPage,
    /// In the source of public clients; not verified.
    PublicClients,
    /// Read from the words' meaning; not verified.
    Guessed,
    /// Set by the user.
    User,
}

/// What a row looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// A number in that field of the answer: `code` of enterprise and Y, `status` of flagship.
    Code(&'static str, i64),
    /// A Chinese text anywhere in the message, or an ASCII one that begins a word, in any case.
    Text(&'static str),
}

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    /// One that may be repeated at will.
    Query,
    /// One that changes the ERP.
    Change,
}

struct Row {
    mark: Mark,
    verdict: Verdict,
    provenance: Provenance,
    /// Whether it is asked about a call that changes the ERP.
    is_for_changes: bool,
}

const fn row(mark: Mark, verdict: Verdict, provenance: Provenance) -> Row {
    Row { mark, verdict, provenance, is_for_changes: true }
}

/// A row for queries alone, guessed from what other platforms say.
const fn of_query(mark: Mark, verdict: Verdict) -> Row {
    Row { mark, verdict, provenance: Provenance::Guessed, is_for_changes: false }
}

const TABLE: &[Row] = {
    use Mark::{Code, Text};
    use Provenance::{Guessed, PublicClients, VendorPage};
    use Verdict::{Business, Busy, Clock, Credentials, FewerAtOnce, Slower, Unknown};
    &[
        row(Code("code", 2180), Business, VendorPage),
        row(Text("并发"), FewerAtOnce, PublicClients),
        row(Text("频率"), Slower, VendorPage),
        row(Text("超限"), Slower, PublicClients),
        row(Text("次数"), Slower, Guessed),
        row(Text("繁忙"), Busy, Guessed),
        row(Text("稍后重试"), Busy, VendorPage),
        // Before words that such a text may name as well: whose calls are too many.
        of_query(Text("频繁"), Busy),
        of_query(Text("过快"), Busy),
        of_query(Text("限流"), Busy),
        of_query(Text("qps"), Busy),
        of_query(Text("too many requests"), Busy),
        of_query(Text("too many calls"), Busy),
        of_query(Text("too frequent"), Busy),
        of_query(Text("rate limit"), Busy),
        of_query(Text("throttl"), Busy),
        row(Text("时间戳"), Clock, Guessed),
        row(Text("timestamp"), Clock, PublicClients),
        row(Text("验证失败"), Credentials, PublicClients),
        row(Text("签名"), Credentials, PublicClients),
        row(Text("sign"), Credentials, PublicClients),
        row(Text("appkey"), Credentials, PublicClients),
        row(Text("sid"), Credentials, PublicClients),
        row(Text("权限"), Credentials, PublicClients),
        row(Code("code", 2030), Credentials, PublicClients),
        row(Code("code", 2060), Credentials, PublicClients),
        row(Code("code", 2100), Credentials, PublicClients),
        // The address is not on the account's IP list.
        row(Code("status", 6), Credentials, PublicClients),
        row(Code("status", 7), Clock, PublicClients),
        row(Text("时间过宽"), Business, VendorPage),
        row(Text("日期格式"), Business, VendorPage),
        row(Text("仅支持分页"), Business, VendorPage),
        row(Text("参数"), Business, PublicClients),
        row(Text("不能为空"), Business, Guessed),
        // Faults of the server may pass, or be of this one query for ever: a few times must do, whatever politeness
        // follows.
        of_query(Text("数据库"), Unknown),
        of_query(Text("系统错误"), Unknown),
        of_query(Text("系统异常"), Unknown),
        of_query(Text("服务异常"), Unknown),
        of_query(Text("超时"), Unknown),
        of_query(Text("database"), Unknown),
        of_query(Text("system error"), Unknown),
        of_query(Text("internal error"), Unknown),
        of_query(Text("timeout"), Unknown),
        of_query(Text("timed out"), Unknown),
        // Of a page that lies too deep in its list, which smaller windows do without.
        of_query(Text("过深"), Business),
        of_query(Text("too deep"), Business),
        of_query(Text("result window"), Business),
        of_query(Text("系统维护"), Busy),
        of_query(Text("系统升级"), Busy),
        of_query(Text("服务不可用"), Busy),
        of_query(Text("稍后再试"), Busy),
        of_query(Text("稍候"), Busy),
        of_query(Text("system busy"), Busy),
        of_query(Text("server busy"), Busy),
        of_query(Text("unavailable"), Busy),
        of_query(Text("try again"), Busy),
    ]
};

/// What a business error means, by the user's rules and then by the table. `field` is where its code stood.
pub(super) fn judge(
    kind: CallKind,
    field: &str,
    code: i64,
    message: &str,
    rules: &[RefusalRule],
) -> (Verdict, Option<Provenance>) {
    let mut lower = message.to_ascii_lowercase();
    // An address within an address.
    for (encoded, mark) in [("%3d", "="), ("%26", "&"), ("%3f", "?")] {
        lower = lower.replace(encoded, mark);
    }
    if let Some(rule) = rules.iter().find(|rule| rule.fits(code, &lower)) {
        return (rule.verdict, Some(Provenance::User));
    }
    let repeats = repeats_request(&lower);
    TABLE
        .iter()
        .filter(|row| row.is_for_changes || kind == CallKind::Query)
        .find(|row| match row.mark {
            Mark::Code(known_in, known) => known_in == field && known == code,
            Mark::Text(text) => words_in(&lower, text).any(|end| !(repeats && is_parameter(&lower[end..]))),
        })
        .map_or((Verdict::Unknown, None), |row| (row.verdict, Some(row.provenance)))
}

/// Whether `text` stands in `message`, for an ASCII text only where a word begins (`sid` does not stand in `inside`).
fn contains_word(message: &str, text: &str) -> bool {
    words_in(message, text).next().is_some()
}

/// Where each such word ends.
fn words_in<'a>(message: &'a str, text: &'a str) -> impl Iterator<Item = usize> {
    message.match_indices(text).filter_map(move |(at, _)| {
        let is_within = || message[..at].chars().next_back().is_some_and(|before| before.is_ascii_alphanumeric());
        (!text.is_ascii() || !is_within()).then_some(at + text.len())
    })
}

/// Whether a message repeats the request, or a part of it: two of its parameters or more, each with its value. Then
/// their names are not what it speaks of.
fn repeats_request(message: &str) -> bool {
    const PARAMETERS: [&str; 8] = ["sid", "appkey", "key", "timestamp", "sign", "salt", "page_no", "start_time"];
    let is_there = |name: &&str| words_in(message, name).any(|end| is_parameter(&message[end..]));
    PARAMETERS.into_iter().filter(is_there).count() > 1
}

/// Whether a parameter's value follows its name: as `=1` of an address, as `":1` of JSON, as `' => 1` of PHP.
fn is_parameter(behind: &str) -> bool {
    let bare = behind.trim_start_matches(['"', '\'', '\\', ' ', ']']);
    let is_quoted = bare.len() < behind.trim_start().len();
    bare.starts_with('=') || bare.starts_with("&quot;:") || (is_quoted && bare.starts_with(':'))
}

/// What of an account the gateway does not let through, as far as its message says.
pub(super) fn class_of_credentials(message: &str) -> ErrorClass {
    let names = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if names(&["IP", "白名单"]) {
        ErrorClass::AddressRefused
    } else if names(&["权限"]) {
        ErrorClass::PermissionRefused
    } else {
        ErrorClass::CredentialsRefused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_codes_that_the_field_has_seen() {
        let cases = [
            (2180, "start_time与end_time时间跨度不能超过最大范围30天", Verdict::Business),
            (1, "系统繁忙", Verdict::Busy),
            (1020, "timestamp无效", Verdict::Clock),
            (1030, "sign错误", Verdict::Credentials),
            (1, "验证失败", Verdict::Credentials),
            (1010, "Appkey不存在", Verdict::Credentials),
            (9, "权限不足", Verdict::Credentials),
            (2100, "", Verdict::Credentials),
            (6, "", Verdict::Unknown),
            (9, "outside the design of the inside", Verdict::Unknown),
        ];
        for (code, message, verdict) in cases {
            assert_eq!(judge(CallKind::Query, "code", code, message, &[]).0, verdict, "{code} {message}");
        }
        assert_eq!(judge(CallKind::Query, "code", 2180, "", &[]).1, Some(Provenance::VendorPage));
        assert_eq!(judge(CallKind::Query, "code", 77, "?", &[]).1, None);
    }

    #[test]
    fn what_flagship_says_is_told_by_its_words_first() {
        let cases = [
            (1, "验证失败", Verdict::Credentials),
            (1, "sid is not exists", Verdict::Credentials),
            (1, "参数错误", Verdict::Business),
            (6, "IP不允许访问", Verdict::Credentials),
            (7, "", Verdict::Clock),
            (7, "时间戳超出范围", Verdict::Clock),
            (100, "超过每分钟最大调用频率限制，请稍后重试", Verdict::Slower),
            (100, "超过每分钟最大调用频率限制,请稍后重试", Verdict::Slower),
            (100, "超过每分钟最大并发次数限制，请稍后重试", Verdict::FewerAtOnce),
            (100, "超过每分钟最大并发次数限制,请稍后重试", Verdict::FewerAtOnce),
            (100, "您的查询时间过宽,查询时间不能大于30天", Verdict::Business),
            (100, "日期格式不合法", Verdict::Business),
            (100, "此方法仅支持分页查询：purchase.PurchaseApply.search", Verdict::Business),
            (2100, "", Verdict::Unknown),
            (100, "开始时间不能为空", Verdict::Business),
        ];
        for (code, message, verdict) in cases {
            assert_eq!(judge(CallKind::Query, "status", code, message, &[]).0, verdict, "{code} {message}");
        }
    }

    #[test]
    fn what_repeats_the_request_is_not_about_its_parameters() {
        let judged = |message: &str| ["code", "status"].map(|field| judge(CallKind::Query, field, 1, message, &[]).0);
        for (message, verdict) in [
            ("验证失败: sid=acme3&timestamp=470538457", Verdict::Credentials),
            ("数据库错误 [sid=acme3&appkey=a&timestamp=1&sign=0]", Verdict::Unknown),
            ("系统繁忙: {\"sid\":\"acme\",\"timestamp\":1}", Verdict::Busy),
            ("五月不行: /openapi?sid=acme3&key=k&salt=s&timestamp=470538457&sign=0", Verdict::Unknown),
            ("五月不行: sid%3Dacme3%26timestamp%3D470538457", Verdict::Unknown),
            ("五月不行: {\\\"sid\\\":\\\"acme\\\",\\\"timestamp\\\":1}", Verdict::Unknown),
            ("五月不行: array('sid' => 'acme', 'timestamp' => 1)", Verdict::Unknown),
            ("五月不行: sid = acme, timestamp = 1", Verdict::Unknown),
            ("sign error: sid=acme3&timestamp=1&sign=0", Verdict::Credentials),
            ("timestamp expired: sid=acme3&timestamp=1&sign=0", Verdict::Clock),
            // One alone is what it is about.
            ("invalid timestamp=470538457", Verdict::Clock),
            ("timestamp: 470538457 is too old", Verdict::Clock),
            ("sid=acme3 is not exists", Verdict::Credentials),
        ] {
            assert_eq!(judged(message), [verdict; 2], "{message}");
        }
        let rules = RefusalRule::parse_list("sid=slower").expect("rules");
        assert_eq!(judge(CallKind::Query, "code", 1, "sid=a&timestamp=1", &rules).0, Verdict::Slower, "a user's rule");
    }

    #[test]
    fn words_for_busy_servers_and_too_many_calls_are_waited_out() {
        let judged = |message| ["code", "status"].map(|field| judge(CallKind::Query, field, 100, message, &[]).0);
        for message in [
            "系统繁忙",
            "系统维护中",
            "调用太频繁，请稍后再试!",
            "请求过于频繁",
            "调用过快",
            "接口调用已被限流",
            "QPS超过上限",
            "稍后再试",
            "Too many requests",
            "too many requests for this appkey",
            "Rate limit exceeded, sid acme",
            "Request was throttled",
            "service unavailable, please try again",
        ] {
            assert_eq!(judged(message), [Verdict::Busy; 2], "{message}");
        }
        for message in [
            "数据库错误",
            "系统错误",
            "系统异常",
            "系统异常，请稍后再试",
            "请求超时",
            "Database error",
            "connection timed out",
            "谁也不认识的话",
            "",
        ] {
            assert_eq!(judged(message), [Verdict::Unknown; 2], "{message}");
        }
        // Politeness makes no caller's fault pass.
        for (message, verdict) in [
            ("签名错误，请稍后再试", Verdict::Credentials),
            ("日期格式不合法，请稍后再试", Verdict::Business),
            ("timestamp超时", Verdict::Clock),
        ] {
            assert_eq!(judge(CallKind::Query, "status", 100, message, &[]).0, verdict, "{message}");
        }
    }

    #[test]
    fn a_call_that_changes_the_erp_knows_no_guessed_words() {
        for message in
            ["数据库错误", "系统异常", "请求超时", "调用太频繁，请稍后再试!", "Too many requests", "系统维护"]
        {
            let (verdict, provenance) = judge(CallKind::Change, "status", 100, message, &[]);
            assert_eq!((verdict, provenance), (Verdict::Unknown, None), "{message}");
        }
        let known = judge(CallKind::Change, "status", 100, "超过每分钟最大调用频率限制,请稍后重试", &[]);
        assert_eq!(known, (Verdict::Slower, Some(Provenance::VendorPage)));
    }

    #[test]
    fn the_users_rules_come_first() {
        let rules = RefusalRule::parse_list("2060=business; 系统维护=slower;SIGN=clock").expect("rules");
        assert_eq!(judge(CallKind::Query, "code", 2060, "", &rules), (Verdict::Business, Some(Provenance::User)));
        assert_eq!(judge(CallKind::Query, "status", 1, "系统维护中", &rules).0, Verdict::Slower);
        assert_eq!(judge(CallKind::Query, "code", 1030, "sign错误", &rules).0, Verdict::Clock);
        assert_eq!(judge(CallKind::Query, "code", 2100, "", &rules).0, Verdict::Credentials);
        for bad in ["2060", "=slower", "2060=stop", "a=b=c"] {
            let error = RefusalRule::parse_list(bad).expect_err(bad);
            assert!(bad.is_empty() || !format!("{error} {:?}", error.hint_text()).contains(bad), "it may be a secret");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("fewer-at-once")), "{error}");
        }
    }

    /// `docs/gateway.md` lists the table as it is.
    #[test]
    fn the_documented_table_is_this_one() {
        let rows: Vec<String> = TABLE
            .iter()
            .map(|row| {
                let mark = match row.mark {
                    Mark::Code(field, code) => format!("{field} {code}"),
                    Mark::Text(text) => format!("text `{text}`"),
                };
                let from = match row.provenance {
                    Provenance::VendorPage => "the vendor's pages",
                    Provenance::PublicClients => "public clients, not verified",
                    Provenance::Guessed => "the word's meaning, not verified",
                    Provenance::User => "the user",
                };
                let of = if row.is_for_changes { "" } else { "; of queries alone" };
                format!("| {mark} | {} | {from}{of} |", row.verdict.name())
            })
            .collect();
        let page = include_str!("../../docs/gateway.md");
        assert!(page.contains(&rows.join("\n")), "docs/gateway.md should hold:\n{}", rows.join("\n"));
    }
}
