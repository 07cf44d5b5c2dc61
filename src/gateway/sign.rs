//! The signatures of the two protocols, as pure functions.
//!
//! Source: the vendor's own worked examples and several public clients that agree with them. Values are those before
//! URL encoding.

use md5::{Digest, Md5};

use crate::config::Secret;

/// Signs the parameters of one `openapi2` call.
///
/// Every parameter but `sign` is written as `LL-name:VVVV-value` (lengths in characters, not bytes, on at least 2 and 4
/// digits), in the order of the names' bytes, joined with `;`; the secret is appended; the result is the MD5 of that
/// text as 32 lower-case hex digits.
pub(crate) fn openapi2(parameters: &[(&str, &str)], secret: &Secret) -> String {
    let mut sorted: Vec<_> = parameters.iter().filter(|(name, _)| *name != "sign").collect();
    sorted.sort_unstable();
    let packed: Vec<String> = sorted.iter().map(|(name, value)| pack(name, value)).collect();
    let mut hash = Md5::new();
    hash.update(packed.join(";"));
    hash.update(secret.expose());
    hex(hash)
}

/// Signs the query parameters and the body of one flagship call.
///
/// The body counts as one more parameter, named `body`. Name and value of every parameter but `sign` are written one
/// after the other, in the order of the names' bytes, with the secret before and after them; the result is the MD5 of
/// that text as 32 lower-case hex digits.
pub(crate) fn qjb(parameters: &[(&str, &str)], body: &str, secret: &Secret) -> String {
    let mut sorted: Vec<_> = parameters.iter().copied().filter(|(name, _)| *name != "sign").collect();
    sorted.push(("body", body));
    sorted.sort_unstable();
    let mut hash = Md5::new();
    hash.update(secret.expose());
    for (name, value) in sorted {
        hash.update(name);
        hash.update(value);
    }
    hash.update(secret.expose());
    hex(hash)
}

fn hex(hash: Md5) -> String {
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

    const FLAGSHIP: [(&str, &str); 6] = [
        ("timestamp", "100"),
        ("key", "wdt_test"),
        ("method", "system.Core.now"),
        ("salt", "dd"),
        ("sid", "wdtapi3"),
        ("v", "1.0"),
    ];

    #[test]
    fn the_vendors_own_flagship_example() {
        let sign = |parameters: &[(&str, &str)], body, secret| qjb(parameters, body, &Secret::new(secret));
        assert_eq!(sign(&FLAGSHIP, "[]", "aa"), "b5745bf1f4721a0d16e9a68cb7513032");
        let with_sign: Vec<_> = FLAGSHIP.into_iter().rev().chain([("sign", "an old one")]).collect();
        assert_eq!(sign(&with_sign, "[]", "aa"), "b5745bf1f4721a0d16e9a68cb7513032");
        assert_ne!(
            sign(&FLAGSHIP, "[ ]", "aa"),
            "b5745bf1f4721a0d16e9a68cb7513032",
            "every byte of the body is signed"
        );
    }

    /// Derived with coreutils: `printf '%s' "$secret$text$secret" | md5sum`.
    #[test]
    fn a_flagship_vector_from_another_md5_tool() {
        let sign = qjb(&[("page_no", "0"), ("calc_total", "1")], "[[\"采购🙂\"]]", &Secret::new("密"));
        assert_eq!(sign, MD5SUM_FLAGSHIP);
    }

    const MD5SUM_FLAGSHIP: &str = "2323b0fe8b52de1fa2d2ec20f4270441";

    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// The text that is signed, written down in the plainest way: sort name and value pairs, glue them, wrap them.
            #[test]
            fn flagship_signs_the_glued_pairs(
                pairs in prop::collection::btree_map("[a-z_]{1,12}", "\\PC{0,12}", 0..8),
                body in "\\PC{0,40}",
                secret in "[a-z0-9]{0,8}",
            ) {
                prop_assume!(!pairs.contains_key("body") && !pairs.contains_key("sign"));
                let given: Vec<(&str, &str)> = pairs.iter().rev().map(|(name, value)| (&**name, &**value)).collect();
                let mut all = pairs.clone();
                all.insert("body".to_owned(), body.clone());
                let glued: String = all.iter().map(|(name, value)| format!("{name}{value}")).collect();
                let expected: String =
                    Md5::digest(format!("{secret}{glued}{secret}")).iter().map(|byte| format!("{byte:02x}")).collect();
                prop_assert_eq!(qjb(&given, &body, &Secret::new(secret)), expected);
            }
        }
    }
}
