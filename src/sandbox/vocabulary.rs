//! The words that the sandbox's requisitions are made of: people, warehouses, suppliers and goods of an invented shop.

use super::dice::Dice;
use super::record::Text;

const SURNAMES: &[&str] = &[
    "王", "李", "张", "刘", "陈", "杨", "黄", "赵", "吴", "周", "徐", "孙", "马", "朱", "胡", "林", "郭", "何", "欧阳",
    "司马",
];
const GIVEN_NAMES: &[&str] = &[
    "伟", "芳", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "杰", "娟", "涛", "超", "明霞", "桂兰", "玉珍",
    "子涵", "梓萱", "浩宇", "㼆", "𠮷祥",
];
const CITIES: &[&str] = &[
    "杭州",
    "广州",
    "义乌",
    "北京",
    "上海",
    "成都",
    "武汉",
    "郑州",
    "西安",
    "临沂",
    "佛山",
    "泉州",
    "苏州",
    "沈阳",
    "乌鲁木齐",
];
const WAREHOUSE_KINDS: &[&str] =
    &["中心仓", "电商一号仓", "退货仓", "前置仓", "保税仓", "云仓(代发)", "\"双十一\"临时仓"];
const SUPPLIER_KINDS: &[&str] =
    &["食品有限公司", "贸易商行", "日用品厂", "服饰有限公司", "电子科技", "供应链管理", "纺织(集团)"];
const BRANDS: &[&str] = &[
    "山泉记",
    "棉朵",
    "北纬四十度",
    "L'Été",
    "小满家居",
    "ÖKO Haus",
    "青禾",
    "竹里馆",
    "Café Nº5",
    "星芒",
    "无",
    "回南天",
    "O'Neil",
];
const CLASSES: &[&str] = &[
    "休闲食品",
    "家居日用",
    "厨房小电",
    "床上用品",
    "女装",
    "男装",
    "运动鞋",
    "护肤",
    "母婴用品",
    "文具办公",
    "数码配件",
    "无",
];
const GOODS: &[&str] = &[
    "每日坚果",
    "抽纸",
    "洗衣液",
    "保温杯",
    "不粘炒锅",
    "电热水壶",
    "四件套",
    "乳胶枕",
    "羽绒服",
    "卫衣",
    "牛仔裤",
    "跑步鞋",
    "精华液",
    "牙膏",
    "婴儿湿巾",
    "气泡水",
    "中性笔",
    "Type-C 数据线",
    "猫砂",
    "收纳箱",
    "护眼台灯",
    "蓝牙耳机",
];
const EDITIONS: &[&str] =
    &["", "升级版", "家庭装", "礼盒装🎁", "旅行装", "儿童款", "加厚", "联名限定", "Pro/旗舰", "第2代®"];
const SPECS: &[&str] = &[
    "默认规格",
    "红色/XL",
    "黑色/L",
    "白色\\米白拼色",
    "500g*6袋",
    "750g(30包)",
    "1.5L",
    "120抽×24包",
    "1.8m床",
    "12\"寸",
    "42½码",
    "0.5mm 黑",
    "100W 1.5米",
    "20000mAh",
    "三段 800g",
    "μ级滤芯 5µm",
];
const HEADER_REMARKS: &[&str] = &[
    "双11备货",
    "缺货补单，加急",
    "新品首批\n请分两批到货：\n1) 10月8日前\n2) 10月20日前",
    "门店调拨\t转三号门",
    "请核对\"箱规\"后再下单",
    "路径见 \\\\nas\\采购\\2026",
    "谢谢🙏 辛苦了 👨‍👩‍👧",
    "含税13%；到付/自提",
    "客户定制，Größe nach Muster",
    "年货节备货 第二批 ",
    " 前后有空格 ",
    "{\"来源\": \"OA\", \"单号\": 8812}",
    "'; DROP TABLE 采购; --",
    "安全库存预警<br/>系统生成&amp;勿改",
    "Ａ全角Ｂ，𝟙𝟚𝟛",
];
const LINE_REMARKS: &[&str] =
    &["样品", "需质检报告", "替换旧款", "外箱贴\"易碎\"", "换行\r\n保留", "-", "0", "null", "箱规 24 📦", "换季补码"];

/// One warehouse or supplier: number and name.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) no: Text,
    pub(super) name: Text,
}

/// One SKU with what the ERP says about its goods.
#[derive(Clone, Debug)]
pub(super) struct Sku {
    pub(super) spec_no: Text,
    pub(super) spec_name: Text,
    pub(super) goods_no: Text,
    pub(super) goods_name: Text,
    pub(super) short_name: Text,
    pub(super) brand_no: Text,
    pub(super) brand_name: Text,
    pub(super) class_name: Text,
}

/// Everything that requisitions refer to; the first entries are the ones that are named most.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    pub(super) none: Text,
    pub(super) people: Vec<Text>,
    pub(super) warehouses: Vec<Place>,
    pub(super) suppliers: Vec<Place>,
    pub(super) skus: Vec<Sku>,
    pub(super) header_remarks: Vec<Text>,
    pub(super) line_remarks: Vec<Text>,
}

impl Vocabulary {
    /// The shop of this seed.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let none = Text::from("");
        let people = (0..60).map(|_| format!("{}{}", word(dice, SURNAMES), word(dice, GIVEN_NAMES)).into()).collect();
        let warehouses = (1..=24)
            .map(|n| {
                let name = format!("{}{}", word(dice, CITIES), word(dice, WAREHOUSE_KINDS));
                // Some shops number their warehouses, some use the name.
                let no = if n % 5 == 0 { name.clone() } else { format!("WH{n:03}") };
                Place { no: no.into(), name: name.into() }
            })
            .collect();
        let mut suppliers = vec![Place { no: none.clone(), name: none.clone() }];
        suppliers.extend((1..=150).map(|n| Place {
            no: format!("GYS{n:05}").into(),
            name: format!("{}{}记{}", word(dice, CITIES), word(dice, SURNAMES), word(dice, SUPPLIER_KINDS)).into(),
        }));
        let skus = (0..800).flat_map(|n| goods(dice, n)).collect();
        let shared = |words: &[&str]| words.iter().map(|word| Text::from(*word)).collect();
        Self {
            none,
            people,
            warehouses,
            suppliers,
            skus,
            header_remarks: shared(HEADER_REMARKS),
            line_remarks: shared(LINE_REMARKS),
        }
    }
}

/// All SKUs of one goods.
fn goods(dice: &mut Dice, n: usize) -> Vec<Sku> {
    let brand = dice.index(BRANDS.len());
    let (base, edition) = (word(dice, GOODS), word(dice, EDITIONS));
    let goods_no = format!("SP{:06}", 100_000 + n * 7);
    let goods_name: Text = format!("{} {base}{edition}", BRANDS[brand]).into();
    let short_name: Text = if dice.happens(0.8) { base.into() } else { "".into() };
    let (brand_no, class_name) =
        (Text::from(format!("BD2019{:08}", 11_060_000 + brand * 7)), Text::from(word(dice, CLASSES)));
    (0..1 + dice.index(4))
        .map(|k| Sku {
            spec_no: if k == 0 { goods_no.as_str().into() } else { format!("{goods_no}-{k:02}").into() },
            spec_name: word(dice, SPECS).into(),
            goods_no: goods_no.as_str().into(),
            goods_name: goods_name.clone(),
            short_name: short_name.clone(),
            brand_no: brand_no.clone(),
            brand_name: BRANDS[brand].into(),
            class_name: class_name.clone(),
        })
        .collect()
}

fn word(dice: &mut Dice, words: &[&'static str]) -> &'static str {
    dice.pick(words).copied().unwrap_or_default()
}
