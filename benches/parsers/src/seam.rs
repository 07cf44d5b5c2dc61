//! The seam: one set of serde visitors that writes a page straight into Arrow builders, whichever parser drives it.
//!
//! It knows the fields and types of the contract (enterprise) and means what the page decoder means by everyday values:
//! numbers as text or JSON number, `""` and the zero dates as null, unknown fields left out. It checks nothing else of
//! the contract. A fraction that is a JSON number comes through `f64`, because that is all that serde hands over;
//! answers of the ERP write numbers as text.

use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, Decimal128Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use wdt_lake::{BeijingTime, ColumnType, Contract, DECIMAL_PRECISION, DECIMAL_SCALE, Edition};

const EDITION: Edition = Edition::Enterprise;

/// A column that grows.
enum Builder {
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Decimal(Decimal128Builder),
    Time(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

/// `$body` for whatever builder it is.
macro_rules! any {
    ($builder:expr, $inner:ident => $body:expr) => {
        match $builder {
            Builder::Int16($inner) => $body,
            Builder::Int32($inner) => $body,
            Builder::Int64($inner) => $body,
            Builder::Decimal($inner) => $body,
            Builder::Time($inner) => $body,
            Builder::Text($inner) => $body,
        }
    };
}

impl Builder {
    fn new(kind: ColumnType, rows: usize, text: usize) -> Self {
        match kind {
            ColumnType::Int16 => Self::Int16(Int16Builder::with_capacity(rows)),
            ColumnType::Int32 => Self::Int32(Int32Builder::with_capacity(rows)),
            ColumnType::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            ColumnType::Decimal => {
                let builder = Decimal128Builder::with_capacity(rows);
                let builder = builder.with_precision_and_scale(DECIMAL_PRECISION, DECIMAL_SCALE);
                Self::Decimal(builder.expect("a decimal of the contract"))
            }
            ColumnType::Timestamp => {
                Self::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(kind.arrow()))
            }
            ColumnType::Utf8 => Self::Text(StringBuilder::with_capacity(rows, text)),
        }
    }

    fn push_null(&mut self) {
        any!(self, builder => builder.append_null());
    }

    /// Appends what `text` means in this column, or says what it should have been.
    #[inline]
    fn push(&mut self, text: &str) -> Result<(), &'static str> {
        match self {
            Self::Text(builder) => builder.append_value(text),
            _ if text.is_empty() => self.push_null(),
            Self::Int16(builder) => builder.append_value(text.parse().map_err(|_| "a 16-bit integer")?),
            Self::Int32(builder) => builder.append_value(text.parse().map_err(|_| "a 32-bit integer")?),
            Self::Int64(builder) => builder.append_value(text.parse().map_err(|_| "a 64-bit integer")?),
            Self::Decimal(builder) => builder.append_value(wdt_lake::ColumnType::read_decimal(text).map_err(|_| "a decimal(19,4)")?),
            Self::Time(builder) => match text {
                "0000-00-00 00:00:00" | "0000-00-00" => builder.append_null(),
                _ => {
                    let time = if text.len() == 10 { BeijingTime::parse_date(text) } else { BeijingTime::parse(text) };
                    builder.append_value(time.ok_or("a time")?.micros());
                }
            },
        }
        Ok(())
    }

    /// What it holds, and a builder with room for as much again.
    fn finish(&mut self, kind: ColumnType) -> ArrayRef {
        let text = if let Self::Text(builder) = self { builder.values_slice().len() } else { 0 };
        let rows = any!(self, builder => builder.len());
        let mut full = std::mem::replace(self, Self::new(kind, rows, text));
        any!(&mut full, builder => Arc::new(builder.finish()))
    }
}

/// What a field of the source fills.
#[derive(Clone, Copy)]
enum Field {
    Column(usize),
    Details,
    Unknown,
}

/// The two tables.
#[derive(Clone, Copy)]
enum Of {
    Requisitions,
    Details,
}

/// The rows of one table.
struct Rows {
    kinds: Vec<ColumnType>,
    columns: Vec<Builder>,
    fields: Vec<(String, Field)>,
    /// For each field, counted from 1, and for the start of an object at 0: the field that followed last time. The
    /// page decoder guesses the next key in the same way.
    follower: Vec<usize>,
    last: usize,
    /// Columns that the current row has filled, one bit each.
    filled: u64,
}

impl Rows {
    fn new(table: &wdt_lake::TableContract, more: Option<(String, Field)>) -> Self {
        // The last three say where a row came from; no parser has them.
        let columns = &table.columns()[..table.columns().len() - 3];
        let kinds: Vec<ColumnType> = columns.iter().map(|column| column.kind()).collect();
        let sources = columns.iter().enumerate().flat_map(|(place, column)| {
            column.sources(EDITION).iter().map(move |name| (name.clone(), Field::Column(place)))
        });
        let fields: Vec<_> = sources.chain(more).collect();
        Self {
            columns: kinds.iter().map(|kind| Builder::new(*kind, 0, 0)).collect(),
            kinds,
            follower: vec![0; fields.len() + 1],
            fields,
            last: 0,
            filled: 0,
        }
    }

    #[inline]
    fn field(&mut self, key: &str) -> Field {
        let guess = self.follower[self.last];
        let found = if self.fields[guess].0 == key {
            Some(guess)
        } else {
            self.fields.iter().position(|(name, _)| name == key)
        };
        let Some(found) = found else { return Field::Unknown };
        self.follower[self.last] = found;
        self.last = found + 1;
        self.fields[found].1
    }

    fn begin(&mut self) {
        (self.last, self.filled) = (0, 0);
    }

    /// Whether the current row has nothing at that place yet; now it has.
    fn fills(&mut self, place: usize) -> bool {
        let empty = self.filled & (1 << place) == 0;
        self.filled |= 1 << place;
        empty
    }

    fn set_int32(&mut self, place: usize, value: i32) {
        if let Builder::Int32(builder) = &mut self.columns[place] {
            builder.append_value(value);
            self.filled |= 1 << place;
        }
    }

    /// Ends a row: what nothing filled is null, except `later`.
    fn end(&mut self, later: u64) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            if (self.filled | later) & (1 << place) == 0 {
                column.push_null();
            }
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().zip(&self.kinds).map(|(column, kind)| column.finish(*kind)).collect()
    }
}

/// Both tables while pages are read.
pub struct Tables {
    headers: Rows,
    details: Rows,
    status: usize,
    status_name: usize,
    modified: usize,
    detail_count: usize,
    detail_index: usize,
    apply_modified: usize,
}

impl Tables {
    pub fn new() -> Self {
        let contract = Contract::get().expect("a contract");
        let (headers, details) = (contract.headers(), contract.details());
        let place = |table: &wdt_lake::TableContract, name| table.column(name).expect("a column").0;
        Self {
            status: place(headers, "status"),
            status_name: place(headers, "status_name"),
            modified: place(headers, "modified"),
            detail_count: place(headers, "detail_count"),
            detail_index: place(details, "detail_index"),
            apply_modified: place(details, "apply_modified"),
            headers: Rows::new(headers, Some(("details_list".to_owned(), Field::Details))),
            details: Rows::new(details, None),
        }
    }

    fn rows(&mut self, of: Of) -> &mut Rows {
        match of {
            Of::Requisitions => &mut self.headers,
            Of::Details => &mut self.details,
        }
    }

    /// The columns of one page, headers first.
    pub fn finish(&mut self) -> [Vec<ArrayRef>; 2] {
        [self.headers.finish(), self.details.finish()]
    }

    fn end_detail(&mut self, index: i32) {
        self.details.set_int32(self.detail_index, index);
        // Its header's modified time may come later.
        self.details.end(1 << self.apply_modified);
    }

    /// What a requisition says of itself and of its details, once all of it is read.
    fn end_requisition(&mut self, details: i32) {
        self.headers.set_int32(self.detail_count, details);
        self.headers.end(1 << self.status_name);
        let columns = &mut self.headers.columns;
        let status =
            if let Builder::Int16(status) = &columns[self.status] { status.values_slice().last() } else { None };
        let meaning = status.and_then(|status| EDITION.status_name(*status));
        if let Builder::Text(name) = &mut columns[self.status_name] {
            name.append_option(meaning);
        }
        let modified =
            if let Builder::Time(time) = &columns[self.modified] { time.values_slice().last() } else { None };
        if let (Builder::Time(of_header), Some(modified)) = (&mut self.details.columns[self.apply_modified], modified) {
            (0..details).for_each(|_| of_header.append_value(*modified));
        }
    }
}

/// A visitor that asks the parser for what it visits.
macro_rules! visitor {
    ($name:ident -> $value:ty, $ask:ident, { $($visits:tt)* }) => {
        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = $value;

            #[inline]
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.$ask(self)
            }
        }

        impl<'de> Visitor<'de> for $name<'_> {
            type Value = $value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }

            $($visits)*
        }
    };
}

/// An answer: an object with the list of requisitions in it.
pub struct Answer<'t>(pub &'t mut Tables);
visitor!(Answer -> (), deserialize_map, {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            if key == "purchase_list" {
                map.next_value_seed(List { tables: self.0, of: Of::Requisitions })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
});

/// A list of rows; its length comes back.
struct List<'t> {
    tables: &'t mut Tables,
    of: Of,
}
visitor!(List -> i32, deserialize_seq, {
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<i32, A::Error> {
        let mut index = 0;
        while list.next_element_seed(Row { tables: self.tables, of: self.of, index })?.is_some() {
            index += 1;
        }
        Ok(index)
    }
});

/// A requisition with its details, or a detail.
struct Row<'t> {
    tables: &'t mut Tables,
    of: Of,
    index: i32,
}
visitor!(Row -> (), deserialize_map, {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { tables, of, index } = self;
        tables.rows(of).begin();
        let mut details = 0;
        while let Some(field) = map.next_key_seed(Key(tables.rows(of)))? {
            match field {
                Field::Column(place) if tables.rows(of).fills(place) => {
                    map.next_value_seed(Cell(&mut tables.rows(of).columns[place]))?;
                }
                Field::Details => details = map.next_value_seed(List { tables, of: Of::Details })?,
                Field::Column(_) | Field::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match of {
            Of::Requisitions => tables.end_requisition(details),
            Of::Details => tables.end_detail(index),
        }
        Ok(())
    }
});

struct Key<'t>(&'t mut Rows);
visitor!(Key -> Field, deserialize_str, {
    #[inline]
    fn visit_str<E: Error>(self, key: &str) -> Result<Field, E> {
        Ok(self.0.field(key))
    }
});

struct Cell<'t>(&'t mut Builder);
visitor!(Cell -> (), deserialize_any, {
    #[inline]
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.push(text).map_err(|wanted| E::custom(format_args!("not {wanted}")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.visit_str(&number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.push_null();
        Ok(())
    }
});
