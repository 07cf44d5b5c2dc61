//! Every text of the page, in both languages, side by side. `{0}` and so on are places for values.

use crate::language::Language;

macro_rules! labels {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// The texts of a page in one language.
        pub(super) struct Labels {
            $(pub(super) $name: &'static str,)*
        }

        const ENGLISH: Labels = Labels { $($name: $english,)* };
        const CHINESE: Labels = Labels { $($name: $chinese,)* };

        #[cfg(test)]
        const PAIRS: &[(&str, &str)] = &[$(($english, $chinese),)*];
    };
}

labels! {
    lang: "en", "zh-CN";
    title: "Purchase requisitions at a glance", "采购申请单概览";
    skip: "Skip to the figures", "跳到正文";
    contents: "On this page", "本页内容";
    as_of: "As of {0}, Beijing time", "数据截至北京时间 {0}";
    as_of_unknown: "The lake covers nothing yet", "数据湖还没有覆盖任何时间";
    made_at: "Made at {0} from {1}", "生成于 {0}，数据湖 {1}";
    all_is_there: "Complete: nothing is missing from {0} to {1}.", "数据完整：{0} 至 {1} 没有缺口。";
    gaps_found: "Gaps in the coverage: {0}, together {1}. Requisitions that were modified in them may be missing here, or shown as they were before.", "覆盖范围里有 {0} 处缺口，合计 {1}。在缺口里修改过的单据，本页可能没有，也可能显示的是修改前的样子。";
    stale: "This page was made {0} days after the time up to which the lake knows the ERP. Bring the lake up to date with wdt-lake sync.", "生成本页时，数据湖已落后 {0} 天。请先用 wdt-lake sync 同步。";
    quarantine_found: "Invalid records in quarantine: {0}. They are not among the figures.", "隔离区里有 {0} 条无效记录，不计入本页的数字。";
    no_rows: "There are no requisitions in the lake.", "数据湖里没有采购申请单。";
    none: "None.", "没有。";
    total: "Total", "合计";
    share: "Share", "占比";

    requisitions: "Requisitions", "采购申请单";
    requisitions_hint: "each counted once, whatever its status", "每张只计一次，不论状态";
    open: "Open", "未完结";
    open_hint: "to confirm, to reference or partly referenced", "待确认、待引用或部分引用";
    open_quantity: "Open quantity", "未引用量";
    open_quantity_hint: "applied for, and in no purchase order yet", "已申请、还没有被采购单引用的数量";
    partly: "Partly referenced", "部分引用";
    partly_hint: "open quantity {0}", "未引用量 {0}";
    gaps: "Gaps", "缺口";
    gaps_hint: "seconds that were asked for and are not covered", "要求过、但没有覆盖到的时间";
    quarantine: "In quarantine", "隔离记录";
    quarantine_hint: "invalid records, kept apart", "无效的记录，单独存放";

    coverage: "Coverage", "覆盖情况";
    coverage_about: "Each square is a day of modified times in Beijing. A covered day is proved complete.", "每格是北京时间的一天，按单据的修改时间。已覆盖的一天经过证明，数据完整。";
    calendar_of: "Coverage of {0}: {1} days covered, {2} partly, {3} missing, {4} expired", "账号 {0} 的覆盖情况：已覆盖 {1} 天，部分缺失 {2} 天，缺失 {3} 天，已过期 {4} 天";
    day_covered: "covered", "已覆盖";
    day_partly: "partly missing", "部分缺失";
    day_missing: "missing", "缺失";
    day_expired: "expired: only what was open is kept", "已过期，只保留当时未完结的";
    day_unasked: "not asked for", "未要求";
    accounts: "Accounts", "账号";
    account: "Account", "账号";
    edition: "Edition", "ERP 版本";
    covered_from: "Covered from", "覆盖起点";
    covered_to: "Covered to", "覆盖终点";
    last_success: "Last complete sync", "上次完整同步";
    not_known: "not known", "未知";
    versions: "Versions", "版本数";
    calls_30: "Calls in 30 days", "近 30 天调用";
    other_accounts: "Other accounts: {0}", "其余 {0} 个账号";
    calendars_left_out: "Accounts without a calendar here, because there are so many: {0}. The table has their figures.", "账号太多，其中 {0} 个没有画出日历，数字见下表。";
    gap_list: "Gaps", "缺口";
    gap_from: "From", "起";
    gap_to: "To, inclusive", "止（含）";
    gap_length: "Length", "时长";
    other_gaps: "Other gaps: {0}", "其余 {0} 处缺口";
    close_gaps: "The next wdt-lake sync tries to close them.", "下一次 wdt-lake sync 会尝试补上。";
    no_gaps: "There are no gaps.", "没有缺口。";

    by_status: "Requisitions by status", "采购申请单状态";
    by_status_about: "Each requisition counts once, as it stands now, in the month in which it was created.", "每张单据只计一次，按现在的状态，归入创建的月份。";
    status: "Status", "状态";
    month: "Created in", "创建月份";
    earlier: "Earlier", "更早";
    later: "Later", "更晚";
    undated: "No date", "无日期";
    chart_by_month: "Columns: requisitions by the month of their creation, from {0} to {1}, stacked by their status now. The largest month has {2}. The table below has the numbers.", "柱形图：按创建月份统计的单据数，{0} 至 {1}，按现在的状态堆叠，最多的一个月有 {2} 张。数字见下面的表格。";
    numbers_of_chart: "The numbers of this chart", "图中的数字";
    editing: "Editing", "编辑中";
    to_confirm: "To confirm", "待确认";
    to_reference: "To reference", "待引用";
    partly_referenced: "Partly referenced", "部分引用";
    referenced: "Referenced", "已引用";
    cancelled: "Cancelled", "已取消";
    code: "Status code {0}", "状态码 {0}";
    other_codes: "Other status codes: {0}", "其他状态码：{0} 种";
    unknown_codes: "Undocumented codes", "未公布的状态码";

    by_warehouse: "Open quantity by warehouse", "各仓库未引用量";
    warehouse: "Warehouse", "仓库";
    other_warehouses: "Other warehouses: {0}", "其余 {0} 个仓库";
    no_warehouse: "No warehouse named", "未填仓库";
    quantity_unknown: "Open requisitions that say no quantity: {0}. They count as 0 above.", "有 {0} 张未完结的单据没有数量，上面按 0 计。";
    nothing_open: "Nothing is open.", "没有未完结的单据。";

    by_age: "Open quantity by age", "未引用量按停留天数";
    by_age_about: "Age is the time since the last modification, counted up to the time as of which this page speaks.", "停留天数从最后一次修改算起，算到本页的数据截止时间。";
    age: "Age", "停留天数";
    age_0: "under 7 days", "不到 7 天";
    age_1: "7 to 29 days", "7 至 29 天";
    age_2: "30 to 89 days", "30 至 89 天";
    age_3: "90 to 179 days", "90 至 179 天";
    age_4: "180 days or more", "180 天及以上";

    oldest: "Oldest partly referenced", "停留最久的部分引用单据";
    oldest_about: "Listed are {0} of {1}: those that have not been modified for longest.", "共 {1} 张，列出最久没有修改的 {0} 张。";
    number: "Number", "单号";
    modified: "Last modified", "最后修改";
    days: "Days", "天数";
    stopped_since: "stopped; the next sync will show it", "已停止引用，下次同步后更新";
    stop_pending: "a stop is pending", "停止引用未决";
    stop_command: "To see what a stop would do, copy this; with --yes it stops them, and that cannot be taken back:", "复制下面的命令，预览停止引用的效果；加上 --yes 才真正停止，停止后不能撤销：";
    stop_not_offered: "There is no call to stop references outside of the flagship edition.", "只有旗舰版提供停止引用的接口。";
    flagship_accounts: "Accounts of the flagship edition", "旗舰版账号";
    other_editions: "Accounts of other editions", "其他 ERP 版本的账号";
    odd_numbers: "Numbers with characters that a shell may take for something else are left out: {0}.", "单号里有命令行可能误解的字符，未列入命令：{0} 张。";

    stops: "Stop results", "停止引用的结果";
    stops_about: "The latest stop of each requisition.", "每张单据只计最近一次停止引用。";
    outcome: "Outcome", "结果";
    stopped: "Stopped", "已停止";
    refused: "Refused by the ERP", "ERP 拒绝";
    not_stopped: "Not stopped", "没有停止";
    unknown: "Not known yet", "还不知道";
    pending: "Pending: under way, or their outcome is not settled:", "未决（正在进行，或结果还没有弄清楚）：";
    last_stops: "The last ones", "最近的几次";
    requested_at: "Requested", "请求时间";
    reason: "Reason", "原因";
    no_stops: "No stop is on record.", "没有停止引用的记录。";

    quality: "Quality", "数据质量";
    mismatched: "Requisitions whose quantities are not the sums of their details:", "单据头数量与明细之和不符的单据：";
    mismatched_hint: "The ERP gives them so. wdt-lake verify --deep names them.", "ERP 给的就是这样。wdt-lake verify --deep 会列出单号。";
    by_reason: "Quarantine by reason", "隔离原因";
    records: "Records", "记录";
    other_reasons: "other reasons", "其他原因";
    no_quarantine: "The quarantine is empty.", "隔离区是空的。";

    calls: "Calls spent", "接口调用";
    calls_about: "Calls that proved what was landed. Calls for what was not proved, and retries, come on top.", "只统计证明数据完整的调用。没有证明成功的调用和重试不在其中。";
    figure: "Figure", "项目";
    amount: "Number", "数量";
    calls_30_days: "In the last 30 days", "近 30 天";
    calls_year: "In the last 366 days", "近 366 天";
    retries_year: "Retries in the last 366 days", "近 366 天的重试";
    landed_year: "Versions landed in the last 366 days", "近 366 天写入的版本";
    chart_calls: "Columns: calls a day from {0} to {1}. The busiest day has {2}. The table below has the numbers.", "柱形图：{0} 至 {1} 每天的调用次数，最多的一天 {2} 次。数字见下面的表格。";
    day: "Day", "日期";
    calls_column: "Calls", "调用次数";
    no_calls: "No calls are on record.", "没有调用记录。";

    about: "How to read this page", "怎样读这一页";
    about_times: "All times are Beijing time (UTC+8).", "所有时间都是北京时间（UTC+8）。";
    about_latest: "A requisition is shown as the lake knows it last. Those in quarantine and in gaps are not counted, nor those in expired months, unless they were open.", "单据按数据湖所知的最新版本显示。隔离区里的、缺口里的不计；已过期月份里的，只计当时未完结的。";
    about_numbers: "Quantities are exact. They are the sum over requisitions, whatever the unit of the goods.", "数量是精确值，直接按单据相加，不区分货品单位。";
    about_sql: "The same figures come from SQL: the views of wdt-lake views, such as purchase_apply_latest and purchase_apply_open.", "同样的数字可以用 SQL 查询：wdt-lake views 给出的视图，例如 purchase_apply_latest 和 purchase_apply_open。";

    days_unit: "{0} d", "{0} 天";
    hours_unit: "{0} h", "{0} 小时";
    minutes_unit: "{0} min", "{0} 分";
    seconds_unit: "{0} s", "{0} 秒";

    not_a_number: "not a number", "不是数字";
    surplus_digits: "more decimals than the column holds", "小数位数超出列的精度";
    out_of_range: "out of the range of the column", "超出列的取值范围";
    not_a_time: "not a time of whole seconds", "不是精确到秒的时间";
    not_a_scalar: "an object or a list instead of a value", "应为值，却是对象或列表";
    lone_surrogate: "half of a surrogate pair in a text", "文本里有不成对的代理字符";
    missing: "a required field is missing, null or empty", "必填字段缺失、为 null 或为空";
    too_long: "a number that is too long", "单号过长";
    given_twice: "a field is given twice with different values", "同一字段出现两次，值不同";
    outside_window: "outside the window that was asked for", "在请求的窗口之外";
    other_number: "a detail with the number of another requisition", "明细的单号与单据不同";
    not_a_list: "not a list", "不是列表";
    not_an_object: "not an object", "不是对象";
    not_a_page: "not a page of a response", "不是一页响应";
    unreadable: "cannot be read", "无法解析";

    enterprise: "enterprise", "企业版";
    y: "Y", "新版";
    flagship: "flagship", "旗舰版";
}

impl Labels {
    /// The texts of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    /// What a status means.
    pub(super) fn status_name(&self, name: &str) -> Option<&'static str> {
        Some(match name {
            "editing" => self.editing,
            "to_confirm" => self.to_confirm,
            "to_reference" => self.to_reference,
            "partly_referenced" => self.partly_referenced,
            "referenced" => self.referenced,
            "cancelled" => self.cancelled,
            _ => return None,
        })
    }

    /// What the outcome of a stop means.
    pub(super) fn outcome_name(&self, name: &str) -> Option<&'static str> {
        Some(match name {
            "stopped" => self.stopped,
            "refused" => self.refused,
            "not_stopped" => self.not_stopped,
            "unknown" => self.unknown,
            _ => return None,
        })
    }

    /// What the reason of a quarantined record means.
    pub(super) fn reason_name(&self, code: &str) -> Option<&'static str> {
        Some(match code {
            "not_a_number" => self.not_a_number,
            "surplus_digits" => self.surplus_digits,
            "out_of_range" => self.out_of_range,
            "not_a_time" => self.not_a_time,
            "not_a_scalar" => self.not_a_scalar,
            "lone_surrogate" => self.lone_surrogate,
            "missing" => self.missing,
            "too_long" => self.too_long,
            "given_twice" => self.given_twice,
            "outside_window" => self.outside_window,
            "other_number" => self.other_number,
            "not_a_list" => self.not_a_list,
            "not_an_object" => self.not_an_object,
            "not_a_page" => self.not_a_page,
            "unreadable" => self.unreadable,
            _ => return None,
        })
    }

    /// The name of an edition.
    pub(super) fn edition_name(&self, name: &str) -> Option<&'static str> {
        Some(match name {
            "enterprise" => self.enterprise,
            "y" => self.y,
            "flagship" => self.flagship,
            _ => return None,
        })
    }

    /// The classes of ages, the youngest first.
    pub(super) fn ages(&self) -> [&'static str; 5] {
        [self.age_0, self.age_1, self.age_2, self.age_3, self.age_4]
    }
}

/// A text with its values in their places.
pub(super) fn filled(text: &str, values: &[&str]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((place, after)) = after.split_once('}') else { break };
        filled.push_str(place.parse().ok().and_then(|place: usize| values.get(place)).unwrap_or(&""));
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edition::Edition;

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).map(|rest| &rest[..=rest.find('}').expect("closed")]).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn both_languages_have_the_same_places_and_neither_leaks_into_the_other() {
        let is_han = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
        for (english, chinese) in PAIRS {
            assert_eq!(places(english), places(chinese), "{english}");
            assert!(!english.contains(is_han), "{english}");
            assert!(chinese.contains(is_han) || *chinese == "zh-CN", "{chinese}");
        }
    }

    #[test]
    fn values_stand_in_their_places_whatever_they_are() {
        assert_eq!(filled("{1} of {0}", &["a{0}", "{1}"]), "{1} of a{0}");
        assert_eq!(filled("plain", &["x"]), "plain");
    }

    #[test]
    fn everything_that_a_lake_says_has_a_name() {
        for labels in [&ENGLISH, &CHINESE] {
            for name in super::super::tally::STATUSES {
                assert!(labels.status_name(name).is_some(), "{name}");
            }
            for edition in Edition::ALL {
                assert!(labels.edition_name(edition.name()).is_some());
                for status in (0..=99).filter_map(|code| edition.status_name(code)) {
                    assert!(labels.status_name(status).is_some(), "{status}");
                }
            }
            for outcome in super::super::stop_tally::OUTCOMES {
                assert!(labels.outcome_name(outcome).is_some(), "{outcome}");
            }
        }
    }
}
