//! The signatures as the sandbox checks them: written from the vendor's description alone, sharing nothing with the
//! client that signs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest, Md5};

/// What is hashed, without the secret: all parameters but `sign`, in the order of their names, each as
/// `LL-name:VVVV-value` with lengths in characters on at least two and four digits, joined with `;`.
fn pack<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut sorted: Vec<_> = params.into_iter().filter(|(name, _)| *name != "sign").collect();
    sorted.sort_unstable();
    let mut packed = String::new();
    for (name, value) in sorted {
        let separator = if packed.is_empty() { "" } else { ";" };
        let (name_len, value_len) = (name.chars().count(), value.chars().count());
        // Writing to a string cannot fail.
        let _ = write!(packed, "{separator}{name_len:02}-{name}:{value_len:04}-{value}");
    }
    packed
}

/// The signature of the parameters, as lower-case hexadecimal digits.
pub fn expected<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>, secret: &str) -> String {
    hex(Md5::new().chain_update(pack(params)).chain_update(secret))
}

/// The signature of a flagship call, as lower-case hexadecimal digits: the MD5 of secret, then name and value of all
/// parameters but `sign` in the order of their names, then secret again. The body is the parameter `body`.
pub fn expected_flagship(params: &BTreeMap<String, String>, secret: &str) -> String {
    let mut text = secret.to_owned();
    for (name, value) in params {
        if name != "sign" {
            text.push_str(name);
            text.push_str(value);
        }
    }
    text.push_str(secret);
    hex(Md5::new().chain_update(text))
}

fn hex(hash: Md5) -> String {
    hash.finalize().iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether `sign` is the signature of the other parameters.
pub fn verify<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>, secret: &str, sign: &str) -> bool {
    expected(params, secret) == sign
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: [(&str, &str); 7] = [
        ("timestamp", "1470042310"),
        ("appkey", "test2-xx"),
        ("sid", "test2"),
        ("page_no", "0"),
        ("end_time", "2016-08-01 13:00:00"),
        ("page_size", "40"),
        ("start_time", "2016-08-01 12:00:00"),
    ];

    #[test]
    fn the_vendors_example_verifies() {
        assert!(verify(EXAMPLE, "12345", "ad4e6fe037ea6e3ba4768317be9d1309"));
        assert!(!verify(EXAMPLE, "12346", "ad4e6fe037ea6e3ba4768317be9d1309"));
        let with_sign = EXAMPLE.into_iter().chain([("sign", "whatever")]);
        assert!(verify(with_sign, "12345", "ad4e6fe037ea6e3ba4768317be9d1309"), "sign itself is left out");
    }

    #[test]
    fn the_vendors_flagship_example_verifies() {
        let example = [
            ("body", "[]"),
            ("sign", "not part of it"),
            ("key", "wdt_test"),
            ("method", "system.Core.now"),
            ("salt", "dd"),
            ("sid", "wdtapi3"),
            ("timestamp", "100"),
            ("v", "1.0"),
        ];
        let params = example.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(expected_flagship(&params, "aa"), "b5745bf1f4721a0d16e9a68cb7513032");
        assert_ne!(expected_flagship(&params, "ab"), "b5745bf1f4721a0d16e9a68cb7513032");
    }

    #[test]
    fn lengths_count_characters() {
        assert_eq!(pack([("k", "采购单")]), "01-k:0003-采购单");
        assert_eq!(pack([("b", ""), ("a", "😀")]), "01-a:0001-😀;01-b:0000-");
        let long = "x".repeat(12_345);
        assert!(pack([("k", long.as_str())]).starts_with("01-k:12345-x"));
    }
}
