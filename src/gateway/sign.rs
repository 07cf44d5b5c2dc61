//! The signature of the enterprise and Y protocol, as a pure function.
//!
//! Source: the vendor's own worked example and several public clients that agree with it. Lengths count characters, not bytes; values
//! are those before URL encoding.

use md5::{Digest, Md5};

use crate::config::Secret;

/// Signs the parameters of one `openapi2` call.
///
/// Every parameter but `sign` is written as `LL-name:VVVV-value` (lengths in characters, on at least 2 and 4 digits), in the order of
/// the names' bytes, joined with `;`; the secret is appended; the result is the MD5 of that text as 32 lower-case hex digits.
pub fn openapi2(parameters: &[(&str, &str)], secret: &Secret) -> String {
    let mut sorted: Vec<_> = parameters.iter().filter(|(name, _)| *name != "sign").collect();
    sorted.sort_unstable();
    let packed: Vec<String> = sorted.iter().map(|(name, value)| pack(name, value)).collect();
    let mut hash = Md5::new();
    hash.update(packed.join(";"));
    hash.update(secret.expose());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One parameter in the form that is signed, for example `01-k:0003-采购单`.
fn pack(name: &str, value: &str) -> String {
    format!("{:02}-{name}:{:04}-{value}", name.chars().count(), value.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(parameters: &[(&str, &str)], secret: &str) -> String {
        openapi2(parameters, &Secret::new(secret))
    }

    #[test]
    fn the_vendors_own_example() {
        let mut parameters = vec![
            ("timestamp", "1470042310"),
            ("appkey", "test2-xx"),
            ("page_no", "0"),
            ("end_time", "2016-08-01 13:00:00"),
            ("page_size", "40"),
            ("sid", "test2"),
            ("start_time", "2016-08-01 12:00:00"),
        ];
        assert_eq!(sign(&parameters, "12345"), "ad4e6fe037ea6e3ba4768317be9d1309");
        parameters.reverse();
        parameters.push(("sign", "whatever was here before"));
        assert_eq!(
            sign(&parameters, "12345"),
            "ad4e6fe037ea6e3ba4768317be9d1309",
            "neither order nor an old sign matters"
        );
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(pack("k", "采购单"), "01-k:0003-采购单");
        assert_eq!(pack("purchase_apply_no", ""), "17-purchase_apply_no:0000-");
        assert_eq!(pack("n", &"x".repeat(12_345))[..10], *"01-n:12345");
    }

    /// Derived with coreutils: `printf '%s' "$packed$secret" | md5sum`.
    #[test]
    fn further_vectors_from_another_md5_tool() {
        assert_eq!(sign(&[("k", "采购单")], ""), MD5SUM_CHINESE);
        assert_eq!(sign(&[("k", "采购单")], "密钥"), MD5SUM_CHINESE_SECRET);
        assert_eq!(sign(&[("b", "emoji 🙂"), ("a", "")], "s"), MD5SUM_EMOJI);
    }

    const MD5SUM_CHINESE: &str = "9538e5b5387924c2ed91a3d38c7e0648";
    const MD5SUM_CHINESE_SECRET: &str = "0248c3dbf1539fc78068a85178bbfc08";
    const MD5SUM_EMOJI: &str = "bce33a3ba57463482fbc34c87e1f0baf";
}
