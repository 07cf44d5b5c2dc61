//! The columns in which rows are exported: those of the table, the account, and what was asked for besides.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, Decimal128Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use super::super::table_rows::ReaderTable;
use super::ExportedRows;
use super::details::OpenSums;
use crate::error::{Error, Result};
use crate::id::AccountName;
use crate::log::Table;
use crate::time::beijing_wall_micros;

/// The quantity that is not referenced yet, as the view of open requisitions has it.
const OPEN_NUM: &str = "open_num";
const OPEN_NUM_PRECISION: u8 = 38;
const OPEN_NUM_SCALE: i8 = 4;

/// What columns of times hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimesAs {
    /// Instants, in UTC.
    Instants,
    /// The wall clock in Beijing, without a time zone.
    BeijingWallClock,
}

/// The columns of exported rows.
#[derive(Clone, Debug)]
pub(crate) struct ExportColumns {
    table: Table,
    rows: ReaderTable,
    times: TimesAs,
    open_num: bool,
    schema: SchemaRef,
}

impl ExportColumns {
    /// Those of a table. Open headers have `open_num` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate
    /// rules out.
    pub(crate) fn of(table: Table, rows: ExportedRows, times: TimesAs) -> Result<Self> {
        let open_num = rows == ExportedRows::Open && table == Table::PurchaseApply;
        let own = ReaderTable::of(table)?;
        let open_type = DataType::Decimal128(OPEN_NUM_PRECISION, OPEN_NUM_SCALE);
        let open_field = open_num.then(|| Arc::new(Field::new(OPEN_NUM, open_type, true)));
        let fields = own.schema().fields().iter().map(|field| time_field(field, times)).chain(open_field);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { table, rows: own, times, open_num, schema })
    }

    /// The table.
    pub(crate) fn table(&self) -> Table {
        self.table
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether `open_num` is among them.
    pub(super) fn has_open_num(&self) -> bool {
        self.open_num
    }

    /// Rows of a file in these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) for a column that this program does not know,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(super) fn fit(&self, rows: &RecordBatch, account: &AccountName, open: &OpenSums) -> Result<RecordBatch> {
        let fitted = self.rows.fit(rows, account)?;
        let mut columns: Vec<ArrayRef> = fitted.columns().iter().map(|column| in_beijing(column, self.times)).collect();
        if self.open_num {
            let open: Decimal128Array = open.open_num(&fitted)?.into_iter().collect();
            let open = open.with_precision_and_scale(OPEN_NUM_PRECISION, OPEN_NUM_SCALE);
            columns.push(Arc::new(open.map_err(|error| Error::internal("cannot add a column").because(error))?));
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::internal("cannot put exported rows together").because(error))
    }
}

fn time_field(field: &FieldRef, times: TimesAs) -> FieldRef {
    match (times, field.data_type()) {
        (TimesAs::BeijingWallClock, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    }
}

fn in_beijing(column: &ArrayRef, times: TimesAs) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(instants) if times == TimesAs::BeijingWallClock => {
            let wall: TimestampMicrosecondArray = instants.unary(beijing_wall_micros);
            Arc::new(wall)
        }
        _ => Arc::clone(column),
    }
}
