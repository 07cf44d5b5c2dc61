//! Texts of a lake, cut to what a page has room for: whoever fills the ERP decides how long they are.

/// The most characters that are kept of a text.
const MOST: usize = 60;

/// The beginning of a text, with an ellipsis where it goes on.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(clipped("仓库"), "仓库");
        assert_eq!(clipped(&"库".repeat(MOST)), "库".repeat(MOST));
        assert_eq!(clipped(&"库".repeat(MOST + 1)), "库".repeat(MOST) + "…");
    }
}
