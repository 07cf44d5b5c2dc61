//! Tables: a caption, headings, rows and a foot. A table that may be wider than a phone lies in a region that scrolls,
//! and that the keyboard reaches.

use super::text::Escaped;

/// What a cell holds, which decides how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// A figure: to the right.
    Number,
    /// A text that may be long.
    Words,
    /// A text that stays on its line.
    Line,
    /// A moment, which may stand on two lines.
    Time,
    /// The number of a requisition.
    Id,
    /// A bar.
    Bar,
}

impl Set {
    fn class(self) -> &'static str {
        match self {
            Self::Number => "n",
            Self::Words => "w",
            Self::Line => "t",
            Self::Time => "d",
            Self::Id => "id",
            Self::Bar => "bar",
        }
    }
}

/// A table in the making.
pub(super) struct HtmlTable {
    caption: String,
    is_captioned: bool,
    head: Vec<(Set, String)>,
    rows: String,
    foot: String,
}

impl HtmlTable {
    /// A table with these headings; texts are HTML.
    pub(super) fn new(caption: &str, head: &[(Set, &str)]) -> Self {
        let head = head.iter().map(|(set, text)| (*set, (*text).to_owned())).collect();
        Self { caption: caption.to_owned(), is_captioned: true, head, rows: String::new(), foot: String::new() }
    }

    /// The table with its caption for those only who do not see the heading right above it.
    pub(super) fn under_its_heading(mut self) -> Self {
        self.is_captioned = false;
        self
    }

    /// Adds a row; its first cell is its heading.
    pub(super) fn row(&mut self, cells: &[String]) {
        self.rows += &self.cells(cells);
    }

    /// Sets the last row, which sums up.
    pub(super) fn foot(&mut self, cells: &[String]) {
        self.foot = self.cells(cells);
    }

    fn cells(&self, cells: &[String]) -> String {
        let cell = |((set, _), (place, text)): (&(Set, String), (usize, &String))| match place {
            0 => format!("<th scope=\"row\" class=\"{}\">{text}</th>", set.class()),
            _ => format!("<td class=\"{}\">{text}</td>", set.class()),
        };
        let cells: String = self.head.iter().zip(cells.iter().enumerate()).map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    }

    /// The table, or nothing where it has no row.
    pub(super) fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head: String = self
            .head
            .iter()
            .map(|(set, text)| format!("<th scope=\"col\" class=\"{}\">{text}</th>", set.class()))
            .collect();
        let foot = if self.foot.is_empty() { String::new() } else { format!("<tfoot>{}</tfoot>", self.foot) };
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table>\n<caption{}>{}</caption>\n\
             <thead><tr>{head}</tr></thead>\n<tbody>\n{}</tbody>\n{foot}</table></div>\n",
            Escaped(&self.caption),
            if self.is_captioned { "" } else { " class=\"sr\"" },
            Escaped(&self.caption),
            self.rows
        )
    }

    /// The table behind a line that opens it.
    pub(super) fn folded(&self, line: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        format!("<details><summary>{line}</summary>\n{}</details>\n", self.html())
    }
}
