//! The flagship gateway as the vendor's pages document it: `POST {base}` with the common parameters in the query string
//! and a JSON array of positional arguments as body.
//!
//! Pure functions from a request to a checked question, and from an answer to its JSON. The shapes of both answers,
//! status 100 with its texts for rate, span and dates, and the text of a requisition that is not partly referenced are
//! the vendor's; the other statuses and texts are those that public clients met, and what nobody has seen is invented.

use serde_json::{Map, Value};

use crate::time::{BeijingTime, Window};

use super::hostile::{Behaviour, Interval, Outer, Uncounted};
use super::limit::Excess;
use super::listing::{List, Listing, Query, Total};
use super::record::Text;
use super::render::{self, Dialect, Object};
use super::request::{Asked, Known, Params, Question, Refusal, given};
use super::sign;
use super::stop::NotStopped;

/// The query of purchase requisitions.
pub(super) const SEARCH: &str = "purchase.PurchaseApply.search";
/// Stops the reference of partly referenced requisitions.
pub(super) const STOP: &str = "purchase.PurchaseApply.stopForApi";
/// The parameter under which the body is signed, and under which it stands among the parameters here.
const BODY: &str = "body";

/// 2012-01-01 00:00:00 Beijing time, from which timestamps count.
const EPOCH: i64 = 1_325_347_200;
/// The client's clock may be off by so many seconds.
const TOLERANCE_SECONDS: u64 = 120;
/// How far the end of a search may lie behind its start.
const MAX_SPAN_SECONDS: i64 = 30 * 86_400;
const MAX_PAGE_SIZE: usize = 100;

/// Authentication and malformed arguments.
const MALFORMED: i64 = 1;
const WRONG_TIME: i64 = 7;
/// Errors of the application.
const APPLICATION: i64 = 100;

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(MALFORMED, message)
}

fn application(message: impl Into<String>) -> Refusal {
    Refusal::new(APPLICATION, message)
}

/// Reads a request. Nothing but a POST of JSON has parameters.
pub(super) fn asked(is_post: bool, media_type: &str, query: &str, body: &[u8]) -> Asked {
    let mut params: Params = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let method = params.get("method").cloned().unwrap_or_default();
    let body = match std::str::from_utf8(body) {
        Ok(body) if is_post && media_type.eq_ignore_ascii_case("application/json") => body.to_owned(),
        Ok(_) => {
            let refusal = malformed("请求方式错误，仅支持POST(application/json)");
            return Asked { method, params: Err(refusal), sent: String::new() };
        }
        Err(_) => return Asked { method, params: Err(malformed("请求报文不是UTF-8")), sent: String::new() },
    };
    params.insert(BODY.to_owned(), body);
    Asked { method, params: Ok(params), sent: String::new() }
}

/// The parameters with those of a search beside them, under their names.
pub(super) fn told(params: &Params) -> Params {
    let mut told = params.clone();
    let search = params.get(BODY).and_then(|body| serde_json::from_str::<Vec<Map<String, Value>>>(body).ok());
    for (name, value) in search.into_iter().flatten().flatten() {
        if let Value::String(text) = value {
            told.insert(name, text);
        }
    }
    told
}

/// Checks who calls, when (against `now`, if at all), and whether the signature is theirs.
pub(super) fn authorize(params: &Params, known: &Known, now: Option<BeijingTime>) -> Result<(), Refusal> {
    let (secret, salt) = known.secret.expose().split_once(':').unwrap_or_default();
    if !known.has(given(params, "sid")) {
        return Err(malformed("sid is not exists"));
    }
    if given(params, "v") != Some("1.0") {
        return Err(malformed("版本号v不正确，应为1.0"));
    }
    if given(params, "key") != Some(&known.appkey) || given(params, "salt") != Some(salt) {
        return Err(malformed("验证失败：key或salt不正确"));
    }
    let time = given(params, "timestamp").and_then(|text| text.parse::<i64>().ok());
    let time = time.ok_or_else(|| malformed("timestamp格式不合法"))?;
    if now.is_some_and(|now| time.saturating_add(EPOCH).abs_diff(now.unix()) > TOLERANCE_SECONDS) {
        return Err(Refusal::new(WRONG_TIME, "时间戳与服务器时间误差超过120秒"));
    }
    if given(params, "sign") != Some(&sign::expected_flagship(params, secret)) {
        return Err(malformed("验证失败：签名不正确"));
    }
    Ok(())
}

/// What is said to a call that the meters turn away. Both commas are about, so every other call gets the other one.
pub(super) fn turned_away(excess: Excess, nth: u64) -> Refusal {
    let comma = if nth.is_multiple_of(2) { '，' } else { ',' };
    application(match excess {
        Excess::Rate => format!("超过每分钟最大调用频率限制{comma}请稍后重试"),
        Excess::Concurrency => format!("超过每分钟最大并发次数限制{comma}请稍后重试"),
    })
}

/// Reads the question.
pub(super) fn question(method: &str, params: &Params, behaviour: &Behaviour) -> Result<Question, Refusal> {
    let body = params.get(BODY).map(String::as_str).unwrap_or_default();
    let mut arguments: Vec<Value> =
        serde_json::from_str(body).map_err(|_| malformed("参数错误：请求报文应为JSON数组"))?;
    let argument = arguments.pop().filter(|_| arguments.is_empty());
    match (method, argument) {
        (SEARCH, Some(Value::Object(search))) => query(params, &search, behaviour).map(Question::List),
        (STOP, Some(Value::Array(numbers))) => numbers_of(numbers).map(Question::Stop),
        (SEARCH | STOP, _) => Err(malformed("参数错误：参数个数或类型不正确")),
        _ => Err(malformed(format!("方法不存在：{method}"))),
    }
}

fn numbers_of(numbers: Vec<Value>) -> Result<Vec<Text>, Refusal> {
    let text = |number| match number {
        Value::String(text) if !text.is_empty() => Ok(Text::from(text)),
        _ => Err(malformed("参数错误：applyList应为采购申请单号列表")),
    };
    match numbers.into_iter().map(text).collect::<Result<Vec<_>, _>>()? {
        numbers if numbers.is_empty() => Err(application("采购申请单号不能为空")),
        numbers => Ok(numbers),
    }
}

fn query(params: &Params, search: &Map<String, Value>, behaviour: &Behaviour) -> Result<Query, Refusal> {
    const KNOWN: [&str; 3] = ["start_time", "end_time", "purchase_apply_no"];
    if let Some(unknown) = search.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(malformed(format!("参数错误：未知字段{unknown}")));
    }
    let (page_no, page_size, total) = paging(params)?;
    let text = |name: &str| match search.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(malformed(format!("参数错误：{name}应为字符串"))),
    };
    let time = |name: &str| match text(name)?.map(BeijingTime::parse) {
        None => Ok(None),
        Some(Some(time)) => Ok(Some(time)),
        Some(None) => Err(application("日期格式不合法")),
    };
    let number = text("purchase_apply_no")?.map(Text::from);
    let window = match (time("start_time")?, time("end_time")?) {
        (Some(start), Some(end)) if start > end => return Err(application("开始时间不能大于结束时间")),
        (Some(start), Some(end)) if number.is_none() && end.unix() - start.unix() > MAX_SPAN_SECONDS => {
            return Err(application("您的查询时间过宽,查询时间不能大于30天"));
        }
        // A half-open interval from a second to itself holds nothing: neither window nor number.
        (Some(start), Some(end)) => match behaviour.interval {
            Interval::Closed => Window::new(start, end),
            Interval::HalfOpen => Window::new(start, end.plus_seconds(-1)),
        },
        (None, None) if number.is_some() => None,
        _ => return Err(application("start_time和end_time不能为空")),
    };
    Ok(Query { window, number, page_no, page_size, total })
}

/// The search answers by pages only.
fn paging(params: &Params) -> Result<(u64, usize, Total), Refusal> {
    let paged = || application(format!("此方法仅支持分页查询：{SEARCH}"));
    let page_no = given(params, "page_no").ok_or_else(paged)?;
    let page_size = given(params, "page_size").ok_or_else(paged)?;
    let page_no = page_no.parse().map_err(|_| malformed("page_no必须为非负整数"))?;
    let page_size = page_size.parse().ok().filter(|size| (1..=MAX_PAGE_SIZE).contains(size));
    let page_size = page_size.ok_or_else(|| malformed("page_size取值范围为1~100"))?;
    match given(params, "calc_total") {
        Some("1") => Ok((page_no, page_size, Total::Wanted)),
        Some("0") | None => Ok((page_no, page_size, Total::Unwanted)),
        Some(_) => Err(malformed("calc_total取值为0或1")),
    }
}

/// The JSON of an answer with rows.
pub(super) fn rows_json(listing: &Listing, behaviour: &Behaviour, dialect: Dialect) -> String {
    let mut json = String::with_capacity(64 + listing.rows.len() * 4096);
    let mut object = Object::open(&mut json, &[], dialect);
    object.raw(&behaviour.oddities.fields_before(dialect.edition));
    match behaviour.outer {
        Outer::Object => {
            object.integer("status", 0);
            object.field("data", |out| {
                let mut data = Object::open(out, &[], dialect);
                data_fields(&mut data, listing, behaviour, dialect);
                data.close();
            });
        }
        Outer::None => data_fields(&mut object, listing, behaviour, dialect),
    }
    object.raw(behaviour.oddities.fields_behind());
    object.close();
    json
}

fn data_fields(data: &mut Object<'_>, listing: &Listing, behaviour: &Behaviour, dialect: Dialect) {
    let in_place = behaviour.oddities.total_in_place_of_none();
    match (listing.total, in_place, behaviour.uncounted) {
        (Some(total), ..) => data.field("total_count", |out| out.push_str(&total.to_string())),
        (None, Some(other), _) => data.raw(&[("total_count", other)]),
        (None, None, Uncounted::Zero) => data.integer("total_count", 0),
        (None, None, Uncounted::Absent) => {}
    }
    if listing.list == List::Sent {
        data.list("order_list", &listing.rows, |out, row| render::requisition(out, row, dialect));
    }
}

/// The JSON of an answer to the stop method, as the two examples of the vendor's page have it: it tells only what was
/// not stopped, and a total only then.
pub(super) fn stopped_json(failures: &[NotStopped], dialect: Dialect) -> String {
    let mut json = "{\"status\":0,".to_owned();
    if !failures.is_empty() {
        json.push_str(&format!("\"total\":{},", failures.len()));
    }
    json.push_str("\"data\":");
    render::list(&mut json, failures, dialect.lists, |json, failure| not_stopped_json(json, failure, dialect));
    json.push('}');
    json
}

fn not_stopped_json(json: &mut String, failure: &NotStopped, dialect: Dialect) {
    json.push('{');
    if let Some(apply_id) = failure.apply_id {
        json.push_str(&format!("\"order_id\":{apply_id},"));
    }
    json.push_str("\"order_no\":");
    render::string(json, &failure.number, dialect.escapes);
    json.push_str(",\"error\":");
    render::string(json, failure.why, dialect.escapes);
    // 0 for every failure, as in the vendor's example.
    json.push_str(",\"error_code\":0}");
}

/// The JSON of a business error.
pub(super) fn refusal_json(refusal: &Refusal, dialect: Dialect) -> String {
    let mut json = format!("{{\"status\":{},\"message\":", refusal.code);
    render::string(&mut json, &refusal.message, dialect.escapes);
    json.push('}');
    json
}
