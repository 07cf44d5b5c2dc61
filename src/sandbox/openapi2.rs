//! The enterprise and Y gateway as the vendor's page documents it: `POST {base}/purchase_apply_query.php` with a form
//! body.
//!
//! Pure functions from a request to a checked question, and from an answer to its JSON. Only code 2180 and its text are
//! the vendor's; the other codes are invented or taken from public clients, and the texts hold the words that those
//! clients look for.

use crate::time::{BeijingTime, Window};

use super::hostile::Behaviour;
use super::limit::Excess;
use super::listing::{List, Listing, Query, Total};
use super::render::{self, Dialect, Object};
use super::request::{Known, Params, Refusal, given};
use super::sign;

/// The one method there is.
pub(super) const METHOD: &str = "purchase_apply_query.php";

/// The client's clock may be off by so many seconds.
const TOLERANCE_SECONDS: u64 = 300;
/// The widest window, both ends included.
const MAX_SPAN_SECONDS: u64 = 30 * 86_400;
const DEFAULT_PAGE_SIZE: usize = 40;
const MAX_PAGE_SIZE: usize = 100;

fn argument(message: impl Into<String>) -> Refusal {
    Refusal::new(2000, message)
}

/// What is said to a call that the meters turn away.
pub(super) fn turned_away(excess: Excess) -> Refusal {
    match excess {
        Excess::Rate => Refusal::new(2300, "接口调用频率超限：超过每分钟最大调用频率限制，请稍后重试"),
        Excess::Concurrency => Refusal::new(2301, "超过每分钟最大并发次数限制，请稍后重试"),
    }
}

/// Reads the form. Parameters in the query string do not count, and nothing but a form POST has any.
pub(super) fn form(is_post: bool, media_type: &str, body: &[u8]) -> Result<Params, Refusal> {
    if !is_post || !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new(1000, "请求方式错误，仅支持POST表单(application/x-www-form-urlencoded)"));
    }
    Ok(form_urlencoded::parse(body).into_owned().collect())
}

/// Checks who calls, when (against `now`, if at all), and whether the signature is theirs.
pub(super) fn authorize(form: &Params, known: &Known, now: Option<BeijingTime>) -> Result<(), Refusal> {
    if !known.has(given(form, "sid")) {
        return Err(Refusal::new(2030, "sid is not exists，卖家账号不存在"));
    }
    if given(form, "appkey") != Some(&known.appkey) {
        return Err(Refusal::new(2060, "appkey不存在或未授权"));
    }
    let time = given(form, "timestamp").and_then(|text| text.parse::<i64>().ok());
    let time = time.ok_or_else(|| Refusal::new(2090, "时间戳timestamp格式不合法"))?;
    if now.is_some_and(|now| time.abs_diff(now.unix()) > TOLERANCE_SECONDS) {
        return Err(Refusal::new(2091, "时间戳timestamp与服务器时间误差超过5分钟"));
    }
    let params = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if !sign::verify(params, known.secret.expose(), given(form, "sign").unwrap_or_default()) {
        return Err(Refusal::new(2100, "sign error，签名验证失败"));
    }
    Ok(())
}

/// Reads the question.
pub(super) fn query(form: &Params) -> Result<Query, Refusal> {
    let number = given(form, "purchase_apply_no");
    let window = match (time(form, "start_time")?, time(form, "end_time")?) {
        (Some(start), Some(end)) => {
            Some(Window::new(start, end).ok_or_else(|| argument("start_time不能大于end_time"))?)
        }
        (None, None) if number.is_some() => None,
        (None, _) => return Err(argument("start_time不能为空")),
        (_, None) => return Err(argument("end_time不能为空")),
    };
    if number.is_none() && window.is_some_and(|window| window.seconds() > MAX_SPAN_SECONDS) {
        return Err(Refusal::new(2180, "start_time与end_time时间跨度不能超过最大范围30天"));
    }
    let page_size = whole(form, "page_size", DEFAULT_PAGE_SIZE)?;
    if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
        return Err(argument("page_size取值范围为1~100"));
    }
    let page_no = whole(form, "page_no", 0_u64)?;
    let total = if page_no == 0 { Total::Wanted } else { Total::Unwanted };
    Ok(Query { window, number: number.map(Into::into), page_no, page_size, total })
}

/// The JSON of an answer with rows.
pub(super) fn rows_json(listing: &Listing, behaviour: &Behaviour, dialect: Dialect) -> String {
    let mut json = String::with_capacity(64 + listing.rows.len() * 4096);
    let mut object = Object::open(&mut json, &[], dialect);
    object.raw(&behaviour.oddities.fields_before(dialect.edition));
    object.number("code", 0);
    object.text("message", "");
    match (listing.total, behaviour.oddities.total_in_place_of_none()) {
        (Some(total), _) => object.number("total_count", total),
        (None, Some(other)) => object.raw(&[("total_count", other)]),
        (None, None) => {}
    }
    if listing.list == List::Sent {
        object.list("purchase_list", &listing.rows, |out, row| render::requisition(out, row, dialect));
    }
    object.raw(behaviour.oddities.fields_behind());
    object.close();
    json
}

/// The JSON of a business error: its code is a number even where rows carry strings, as on the vendor's page.
pub(super) fn refusal_json(refusal: &Refusal, dialect: Dialect) -> String {
    let mut json = format!("{{\"code\":{},\"message\":", refusal.code);
    render::string(&mut json, &refusal.message, dialect.escapes);
    json.push('}');
    json
}

fn time(form: &Params, name: &str) -> Result<Option<BeijingTime>, Refusal> {
    let read = |text| BeijingTime::parse(text).ok_or_else(|| argument(format!("{name}日期格式不合法")));
    given(form, name).map(read).transpose()
}

fn whole<T: std::str::FromStr>(form: &Params, name: &str, default: T) -> Result<T, Refusal> {
    let read = |text: &str| text.parse().map_err(|_| argument(format!("{name}必须为非负整数")));
    given(form, name).map_or(Ok(default), read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Query, Refusal> {
        query(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    const NOVEMBER: [(&str, &str); 2] = [("start_time", "2018-11-01 00:00:00"), ("end_time", "2018-11-30 23:59:59")];

    #[test]
    fn thirty_days_are_allowed_and_a_second_more_is_not() {
        let query = asked(&NOVEMBER).expect("the vendor's example");
        assert_eq!((query.page_no, query.page_size, query.total), (0, 40, Total::Wanted));
        let longer = [("start_time", "2018-11-01 00:00:00"), ("end_time", "2018-12-01 00:00:00")];
        let refusal = asked(&longer).expect_err("31 days");
        assert_eq!(
            refusal_json(&refusal, Dialect::of(crate::edition::Edition::Enterprise)),
            r#"{"code":2180,"message":"start_time与end_time时间跨度不能超过最大范围30天"}"#
        );
        assert!(asked(&[longer[0], longer[1], ("purchase_apply_no", "POA1")]).is_ok(), "a number lifts the limit");
    }

    #[test]
    fn malformed_questions_are_refused() {
        for more in
            [("page_size", "0"), ("page_size", "101"), ("page_size", "ten"), ("page_no", "-1"), ("page_no", "x")]
        {
            assert!(asked(&[NOVEMBER[0], NOVEMBER[1], more]).is_err(), "{more:?}");
        }
        assert!(asked(&NOVEMBER[..1]).is_err() && asked(&NOVEMBER[1..]).is_err() && asked(&[]).is_err());
        let reversed = [("start_time", "2018-11-02 00:00:00"), ("end_time", "2018-11-01 23:59:59")];
        assert!(asked(&reversed).is_err());
        assert!(asked(&[("start_time", "2018-11-01"), NOVEMBER[1]]).is_err(), "a date alone is no time");
        assert!(asked(&[("purchase_apply_no", "POA1")]).is_ok_and(|query| query.window.is_none()));
        assert!(asked(&[("purchase_apply_no", "")]).is_err());
    }

    #[test]
    fn only_a_form_is_a_form() {
        let kind = "application/x-www-form-urlencoded";
        assert_eq!(form(true, kind, b"a=%E9%87%87+1&a=2").expect("a form")["a"], "2");
        assert!(form(false, kind, b"").is_err());
        assert!(form(true, "application/json", b"{}").is_err() && form(true, "", b"a=1").is_err());
    }
}
