//! What the simulated ERP holds: requisitions with their details, and how a test bends the JSON of one of them.
//!
//! Quantities are whole ten-thousandths in an `i128`, so that nothing the ERP can write is lost and nothing is ever a
//! float. Texts are shared (`Arc<str>`): a hundred thousand requisitions name the same few warehouses and goods.

use std::fmt;
use std::sync::Arc;

use crate::edition::Edition;
use crate::time::BeijingTime;

/// A shared text; `"...".into()` makes one.
pub type Text = Arc<str>;

/// A quantity in ten-thousandths, written with exactly four decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(pub i128);

impl Quantity {
    /// A whole number of pieces.
    pub fn pieces(count: i64) -> Self {
        Self(i128::from(count) * 10_000)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:04}", units / 10_000, units % 10_000)
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        Self(quantities.map(|quantity| quantity.0).sum())
    }
}

/// The state of a requisition, apart from the number that an edition gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 已取消
    Cancelled,
    /// 编辑中
    Editing,
    /// 待确认
    ToConfirm,
    /// 待引用
    ToReference,
    /// 部分引用
    PartlyReferenced,
    /// 已引用
    Referenced,
    /// A number that the vendor does not document.
    Undocumented(i16),
}

impl Status {
    /// The number that `edition` sends. Y publishes none for a requisition that is still edited; it is sent as one to
    /// confirm.
    pub fn code(self, edition: Edition) -> i16 {
        match (edition, self) {
            (_, Self::Undocumented(code)) => code,
            (Edition::Y, Self::Cancelled) => 99,
            (Edition::Y, Self::Editing | Self::ToConfirm) => 10,
            (Edition::Y, Self::ToReference) => 20,
            (Edition::Y, Self::PartlyReferenced) => 30,
            (Edition::Y, Self::Referenced) => 40,
            (_, Self::Cancelled) => 5,
            (_, Self::Editing) => 10,
            (_, Self::ToConfirm) => 20,
            (_, Self::ToReference) => 23,
            (_, Self::PartlyReferenced) => 25,
            (_, Self::Referenced) => 30,
        }
    }
}

/// What is sent in place of one field, or beside the documented fields when the name is none of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The name of the field as it goes over the wire.
    pub field: Text,
    /// The JSON text sent as its value, byte for byte; `None` leaves the field out.
    pub json: Option<Text>,
}

impl Override {
    /// Sends `json`, byte for byte, as the value of `field`.
    pub fn raw(field: &str, json: &str) -> Self {
        Self { field: field.into(), json: Some(json.into()) }
    }

    /// Leaves `field` out.
    pub fn missing(field: &str) -> Self {
        Self { field: field.into(), json: None }
    }
}

/// One line of a requisition: so many pieces of one SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// 主键
    pub rec_id: i64,
    /// 商家编码
    pub spec_no: Text,
    /// 规格名称
    pub spec_name: Text,
    /// 货品编号
    pub goods_no: Text,
    /// 货品名称
    pub goods_name: Text,
    /// 货品简称
    pub short_name: Text,
    /// 品牌编号
    pub brand_no: Text,
    /// 品牌
    pub brand_name: Text,
    /// 分类: documented as a decimal, a text in truth.
    pub class_name: Text,
    /// 申请采购量
    pub real_num: Quantity,
    /// 已引用量
    pub ref_num: Quantity,
    /// 供应商编号
    pub provider_no: Text,
    /// 供应商名称
    pub provider_name: Text,
    /// 备注
    pub remark: Text,
    /// What is sent in place of, or beside, the fields above.
    pub overrides: Vec<Override>,
}

impl Detail {
    /// A plain line with texts that say nothing: a start for tests, which set what they are about.
    pub fn plain(rec_id: i64, spec_no: &str, real_num: Quantity) -> Self {
        let (spec_no, none) = (Text::from(spec_no), Text::from(""));
        Self {
            rec_id,
            spec_name: "默认规格".into(),
            goods_no: spec_no.clone(),
            goods_name: spec_no.clone(),
            spec_no,
            short_name: none.clone(),
            brand_no: none.clone(),
            brand_name: "无".into(),
            class_name: "无".into(),
            real_num,
            ref_num: Quantity(0),
            provider_no: none.clone(),
            provider_name: none.clone(),
            remark: none,
            overrides: Vec::new(),
        }
    }
}

impl Detail {
    /// 入库量, which only flagship sends: half of what was ordered has arrived.
    pub fn stockin_num(&self) -> Quantity {
        Quantity(self.ref_num.0 / 2)
    }
}

/// One requisition (采购申请单) as the ERP holds it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requisition {
    /// 采购申请单id: the ERP's own key, never used twice.
    pub apply_id: i64,
    /// 采购申请单号
    pub purchase_apply_no: Text,
    /// 采购申请单状态
    pub status: Status,
    /// 申请人
    pub createor_name: Text,
    /// 仓库编号
    pub warehouse_no: Text,
    /// 仓库名称
    pub name: Text,
    /// 申请量
    pub real_num: Quantity,
    /// 引用量
    pub ref_num: Quantity,
    /// 未引用量
    pub unref_num: Quantity,
    /// 期望到货时间, as it is sent: a time, a date, `0000-00-00 00:00:00` or nothing.
    pub expected_time: Text,
    /// 备注
    pub remark: Text,
    /// 最后修改时间
    pub modified: BeijingTime,
    /// 创建时间
    pub created: BeijingTime,
    /// The lines.
    pub details: Vec<Detail>,
    /// What is sent in place of, or beside, the fields above. The ERP's own order and filter use the fields, not this.
    pub overrides: Vec<Override>,
}

impl Requisition {
    /// A plain requisition to reference, with one line of ten pieces: a start for tests, which set what they are about.
    pub fn plain(apply_id: i64, number: &str, modified: BeijingTime) -> Self {
        let mut requisition = Self {
            apply_id,
            purchase_apply_no: number.into(),
            status: Status::ToReference,
            createor_name: "王芳".into(),
            warehouse_no: "WH001".into(),
            name: "杭州中心仓".into(),
            real_num: Quantity(0),
            ref_num: Quantity(0),
            unref_num: Quantity(0),
            expected_time: "0000-00-00 00:00:00".into(),
            remark: "".into(),
            modified,
            created: modified.plus_seconds(-60),
            details: vec![Detail::plain(apply_id.saturating_mul(100), "SP100001", Quantity::pieces(10))],
            overrides: Vec::new(),
        };
        requisition.sum_up();
        requisition
    }

    /// Makes the header's quantities the sums of the lines'.
    pub fn sum_up(&mut self) {
        self.real_num = self.details.iter().map(|detail| detail.real_num).sum();
        self.ref_num = self.details.iter().map(|detail| detail.ref_num).sum();
        self.unref_num = Quantity(self.real_num.0 - self.ref_num.0);
    }

    /// Any line, when all lines name one provider: the provider of the whole requisition, as flagship sends it.
    pub(super) fn only_provider(&self) -> Option<&Detail> {
        let first = self.details.first().filter(|first| !first.provider_no.is_empty())?;
        self.details.iter().all(|detail| detail.provider_no == first.provider_no).then_some(first)
    }

    /// Number and modified time: what tells one version from another.
    pub fn version(&self) -> (Text, BeijingTime) {
        (self.purchase_apply_no.clone(), self.modified)
    }

    /// Sends `json`, byte for byte, as the value of the header's `field`.
    pub fn send_raw(&mut self, field: &str, json: &str) {
        self.overrides.retain(|other| &*other.field != field);
        self.overrides.push(Override::raw(field, json));
    }

    /// Leaves the header's `field` out.
    pub fn leave_out(&mut self, field: &str) {
        self.overrides.retain(|other| &*other.field != field);
        self.overrides.push(Override::missing(field));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_always_have_four_decimals() {
        assert_eq!(Quantity::pieces(200).to_string(), "200.0000");
        assert_eq!(Quantity(-5).to_string(), "-0.0005");
        assert_eq!(Quantity(9_999_999_999_999_999_999).to_string(), "999999999999999.9999");
    }

    #[test]
    fn codes_are_those_that_the_client_names() {
        let known = [
            (Status::Cancelled, "cancelled"),
            (Status::ToConfirm, "to_confirm"),
            (Status::ToReference, "to_reference"),
            (Status::PartlyReferenced, "partly_referenced"),
            (Status::Referenced, "referenced"),
        ];
        for edition in Edition::ALL {
            for (status, name) in known {
                assert_eq!(edition.status_name(status.code(edition)), Some(name), "{edition}");
            }
        }
    }
}
