//! The columns of a table in Iceberg's words.

use arrow_schema::DataType;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::publish::schema::TableSchema;

/// The schema of a table, under this id. Columns are told apart by their field ids, which the files carry.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract has a column that Iceberg does not know.
pub(super) fn to_json(schema: &TableSchema, schema_id: i32) -> Result<Value> {
    let fields = schema.columns.iter().map(|column| {
        let kind = kind(&column.kind)
            .ok_or_else(|| Error::internal("a column has no type of Iceberg").with("column", &column.name))?;
        let id = field_id(schema, &column.name)?;
        Ok(json!({
            "id": id, "name": column.name, "required": !column.is_nullable, "type": kind, "doc": column.comment,
        }))
    });
    Ok(json!({"type": "struct", "schema-id": schema_id, "fields": fields.collect::<Result<Vec<_>>>()?}))
}

/// The id of a column.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when it has none.
pub(super) fn field_id(schema: &TableSchema, name: &str) -> Result<i32> {
    let column = schema.columns.iter().find(|column| column.name == name);
    let id = column.and_then(|column| column.field_id);
    id.ok_or_else(|| Error::internal("a column has no field id").with("column", name))
}

/// The greatest id of a column.
pub(super) fn last_column_id(schema: &TableSchema) -> i32 {
    schema.columns.iter().filter_map(|column| column.field_id).max().unwrap_or(0)
}

fn kind(kind: &DataType) -> Option<String> {
    Some(match kind {
        // Iceberg has no shorter integers; a reader widens those of a file.
        DataType::Int16 | DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        _ => return None,
    })
}
