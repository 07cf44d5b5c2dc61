use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::*;
use crate::digest::Sha256;
use crate::error::ErrorKind;
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::land::testing::{header_spec, window};
use crate::parquet::{EncodedFile, FileCompression, decode, encode};

const ENOUGH: MergeLimits = MergeLimits { memory_bytes: 64 << 20, target_bytes: 128 << 20 };

/// A row as the tests make it: number, modified seconds, id, quantity, remark, and by whom it was landed.
type Row = (String, i64, Option<i64>, Option<i128>, Option<String>, String);

fn spec() -> TableSpec {
    let sorted_by = ["purchase_apply_no", "modified", "apply_id"].map(str::to_owned).to_vec();
    TableSpec { sorted_by, ..header_spec() }
}

fn origin() -> FileOrigin {
    FileOrigin {
        account: "acme".parse().expect("a name"),
        commit: CommitId::generate(),
        contract: FormatVersion::LAKE,
        span: Some(window(0, 100)),
        compression: FileCompression::default(),
    }
}

fn schema() -> SchemaRef {
    let field = |id: i32, name: &str, kind: DataType, is_nullable| {
        let id = std::collections::HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]);
        Field::new(name, kind, is_nullable).with_metadata(id)
    };
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        field(3, "apply_id", DataType::Int64, true),
        field(1, "purchase_apply_no", DataType::Utf8, false),
        field(2, "modified", time, false),
        field(4, "real_num", DataType::Decimal128(19, 4), true),
        field(9, "remark", DataType::Utf8, true),
        field(7, "_run_id", DataType::Utf8, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let mut ids = Int64Builder::new();
    let mut numbers = StringBuilder::new();
    let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut sums = Decimal128Builder::new().with_precision_and_scale(19, 4).expect("fits");
    let (mut remarks, mut runs) = (StringBuilder::new(), StringBuilder::new());
    for (number, modified, id, sum, remark, run) in rows {
        ids.append_option(*id);
        numbers.append_value(number);
        times.append_value(modified * 1_000_000);
        sums.append_option(*sum);
        remarks.append_option(remark.as_ref());
        runs.append_value(run);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        Arc::new(numbers.finish()),
        Arc::new(times.finish()),
        Arc::new(sums.finish()),
        Arc::new(remarks.finish()),
        Arc::new(runs.finish()),
    ];
    RecordBatch::try_new(schema(), columns).expect("one schema")
}

fn encoded(rows: &[Row], origin: &FileOrigin) -> Option<EncodedFile> {
    encode(&spec(), vec![batch(rows)].into(), origin).expect("encoded")
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file
}

fn read(mut file: &File) -> Bytes {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read");
    bytes.into()
}

/// Row groups of so many rows, in little memory where that is asked for.
fn merging<'a>(spec: &'a TableSpec, origin: &'a FileOrigin, group_rows: usize, memory_bytes: usize) -> Merge<'a> {
    Merge { spec, origin, memory_bytes, group_rows }
}

/// An input of these sorted rows, of several row groups.
fn input(rows: &[Row], group_rows: usize, filter: Option<Arc<dyn RowFilter>>) -> Option<MergeInput> {
    let whole = MergeInput::new(file_of(&encoded(rows, &origin())?.bytes), None);
    let (spec, origin) = (spec(), origin());
    let mut files = merging(&spec, &origin, group_rows, 64 << 20).run(vec![whole], u64::MAX).expect("merged");
    Some(MergeInput::new(files.pop().expect("a file").file, filter))
}

/// Drops the rows that were modified in seconds of one remainder.
struct Dropping(i64, [String; 1]);

impl Dropping {
    fn filter(remainder: i64) -> Arc<dyn RowFilter> {
        Arc::new(Self(remainder, ["modified".to_owned()]))
    }
}

fn stays(row: &Row, remainder: i64) -> bool {
    row.1 % 3 != remainder
}

impl RowFilter for Dropping {
    fn columns(&self) -> &[String] {
        &self.1
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let times = rows.column_by_name("modified").expect("a column").as_primitive::<TimestampMicrosecondType>();
        Ok(times.values().iter().map(|time| Some(time / 1_000_000 % 3 != self.0)).collect())
    }
}

fn sort(rows: &mut [Row]) {
    rows.sort_by(|one, other| (&one.0, one.1, one.2).cmp(&(&other.0, other.1, other.2)));
}

fn all_rows(files: &[SpooledFile]) -> RecordBatch {
    let batches: Vec<_> = files.iter().flat_map(|file| decode(read(&file.file)).expect("readable")).collect();
    let schema = batches.first().map_or_else(schema, RecordBatch::schema);
    concat_batches(&schema, &batches).expect("one schema")
}

/// Checks what is said of each file against its bytes, and gives the rows of its row groups.
fn check_facts(files: &[SpooledFile]) -> Vec<Vec<i64>> {
    let mut groups = Vec::new();
    for file in files {
        let bytes = read(&file.file);
        assert_eq!((file.bytes, file.sha256), (bytes.len() as u64, Sha256::of(&bytes)));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).expect("parquet");
        groups.push(reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect());
        let rows = concat_batches(&Arc::clone(reader.schema()), &decode(bytes).expect("readable")).expect("one schema");
        assert_eq!(file.rows, rows.num_rows() as u64);
        let times = rows.column_by_name("modified").expect("a column").as_primitive::<TimestampMicrosecondType>();
        let seconds = || times.values().iter().map(|time| time / 1_000_000);
        assert_eq!(
            (file.min_modified.unix(), file.max_modified.unix()),
            (seconds().min().unwrap(), seconds().max().unwrap())
        );
    }
    groups
}

fn a_row() -> impl Strategy<Value = Row> {
    let remark = proptest::option::weighted(0.7, "[a-c 采购]{0,9}");
    let quantity = proptest::option::weighted(0.8, -9_999_999_999_999_999_999_i128..=9_999_999_999_999_999_999);
    let id = proptest::option::weighted(0.7, -2..9_i64);
    ("[A-C]?", 0..=100_i64, id, quantity, remark, "r[0-9]")
        .prop_map(|(no, second, id, quantity, remark, run)| (no, second % 7 + second / 90, id, quantity, remark, run))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// The oracle sorts the rows in memory and encodes them at once: the merged file is the same byte for byte.
    #[test]
    fn a_merge_is_a_stable_sort(
        inputs in proptest::collection::vec((proptest::collection::vec(a_row(), 0..60), 0..4_i64), 1..8),
        group_rows in 1..30_usize,
        memory_bytes in prop_oneof![Just(1), Just(9 << 20), Just(64 << 20)],
    ) {
        let (spec, origin) = (spec(), origin());
        let (mut wanted, mut files) = (Vec::new(), [Vec::new(), Vec::new()]);
        for (mut rows, remainder) in inputs {
            sort(&mut rows);
            for files in &mut files {
                // No second leaves a remainder of three.
                files.extend(input(&rows, group_rows, (remainder < 3).then(|| Dropping::filter(remainder))));
            }
            wanted.extend(rows.into_iter().filter(|row| stays(row, remainder)));
        }
        sort(&mut wanted);
        let [one, other] = files;
        let merged = merging(&spec, &origin, ROW_GROUP_ROWS, memory_bytes).run(one, 128 << 20).expect("merged");
        match (&*merged, encoded(&wanted, &origin)) {
            ([], None) => {}
            ([merged], Some(wanted)) => {
                prop_assert_eq!(merged.rows, wanted.rows);
                // In chunks of few rows, pages end elsewhere.
                prop_assert!(memory_bytes == 1 || read(&merged.file) == wanted.bytes);
            }
            (merged, wanted) => prop_assert!(false, "{} files for {:?}", merged.len(), wanted.map(|file| file.rows)),
        }
        let cut = merging(&spec, &origin, group_rows, memory_bytes).run(other, 1).expect("merged");
        for merged in [merged, cut] {
            let groups = check_facts(&merged).concat();
            prop_assert!(groups.iter().all(|rows| (1..=ROW_GROUP_ROWS as i64).contains(rows)));
            let rows = all_rows(&merged);
            prop_assert_eq!(rows.num_rows(), wanted.len());
            prop_assert!(wanted.is_empty() || rows == batch(&wanted).with_schema(rows.schema()).expect("its types"));
        }
    }
}

/// Many inputs in memory for two at a time: several passes, and ties keep the order of the inputs through all of them.
#[test]
fn many_inputs_are_merged_in_several_passes() {
    let (spec, origin) = (spec(), origin());
    let row = |source: usize, n: usize| -> Row {
        let number = format!("N{:02}", n / 2);
        (number, 5, Some(1), Some(n as i128), None, format!("source {source:03}"))
    };
    let inputs = || {
        (0..65).filter_map(|source| {
            let rows: Vec<Row> = (0..40).map(|n| row(source, n)).collect();
            input(&rows, 16, (source % 5 == 0).then(|| Dropping::filter(if source == 0 { 2 } else { 1 })))
        })
    };
    let one_by_one = merging(&spec, &origin, 512, 1);
    let mut rest = inputs();
    let mut next = rest.next().map(|first| MergeSource::open(first, None).expect("readable"));
    let first = one_by_one.group(&mut next, &mut rest).expect("two sources");
    assert_eq!((first.len(), next.is_some(), rest.count()), (2, true, 62), "two at a time, and nothing is lost");

    let mut wanted: Vec<Row> = (1..65).flat_map(|source| (0..40).map(move |n| row(source, n))).collect();
    sort(&mut wanted);
    for merge in [one_by_one, merging(&spec, &origin, 512, 64 << 20)] {
        let merged = merge.run(inputs().collect(), u64::MAX).expect("merged");
        assert_eq!(check_facts(&merged), [[512, 512, 512, 512, 512]]);
        let rows = all_rows(&merged);
        assert!(rows == batch(&wanted).with_schema(rows.schema()).expect("its types"));
    }
}

#[test]
fn files_are_cut_by_size_and_none_is_needlessly_small() {
    let (spec, origin) = (spec(), origin());
    let rows: Vec<Row> = (0..6_000_usize)
        .map(|n| (format!("N{n:05}"), 5, None, Some(1), Some(Sha256::of(&n.to_le_bytes()).to_string()), "r".into()))
        .collect();
    let inputs = || {
        let halves = [0, 1].map(|half| rows.iter().skip(half).step_by(2).cloned().collect::<Vec<_>>());
        halves.into_iter().filter_map(|half| input(&half, 1_000, None)).collect::<Vec<_>>()
    };
    let merge = merging(&spec, &origin, 500, 64 << 20);
    let whole = merge.run(inputs(), u64::MAX).expect("merged").remove(0).bytes;
    let mut counts = BTreeMap::new();
    for parts in 1..=12 {
        let target = whole / parts;
        let merged = merge.run(inputs(), target).expect("merged");
        let (last, others) = merged.split_last().expect("a file");
        assert!(others.iter().all(|file| file.bytes >= target), "{parts}");
        assert!(last.bytes >= target / 4, "{parts}: {} of {target}", last.bytes);
        let rows = all_rows(&merged);
        assert_eq!(rows.num_rows(), 6_000);
        assert!(rows == all_rows(&merge.run(inputs(), u64::MAX).expect("merged")), "{parts}");
        check_facts(&merged);
        counts.insert(parts, merged.len());
    }
    assert_eq!((counts[&1], counts[&2], counts[&12]), (1, 2, 6), "{counts:?}");
    for (bytes, rows, rest, full) in [(99, 1, 1_000, false), (100, 4, 1, true), (100, 5, 1, false), (400, 4, 1, true)] {
        assert_eq!(is_full(bytes, rows, rest, 100), full, "{bytes} bytes of {rows} rows, then {rest}");
    }
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let (spec, origin) = (spec(), origin());
    let row = |number: &str, second: i64| -> Row { (number.into(), second, None, None, None, "r".into()) };
    let unsorted = TableSpec { sorted_by: vec![], ..spec.clone() };
    let wide = FileOrigin { span: None, ..origin.clone() };
    let made = |rows: &[Row]| {
        let file = encode(&unsorted, vec![batch(rows)].into(), &wide).expect("encoded").expect("rows");
        MergeInput::new(file_of(&file.bytes), None)
    };
    let refused =
        |inputs: Vec<MergeInput>, spec: &TableSpec| merge(spec, inputs, &origin, ENOUGH).expect_err("refused");
    for other in ["A", "B", "C", "D"] {
        let inputs = vec![made(&[row("C", 1), row("B", 1)]), made(&[row(other, 1)])];
        assert!(refused(inputs, &spec).to_string().contains("not sorted"), "{other}");
    }
    let error = refused(vec![made(&[row("A", 5), row("A", 4)])], &spec);
    assert!(error.to_string().contains("not sorted"), "{error}");
    let error = refused(vec![made(&[row("A", 101)])], &spec);
    assert!(error.to_string().contains("outside the file's span"), "{error}");

    let headers = encode(&header_spec(), vec![crate::land::testing::header_batch(&[("A", 1, 1)])].into(), &origin);
    let headers = MergeInput::new(file_of(&headers.expect("encoded").expect("rows").bytes), None);
    let error = refused(vec![made(&[row("A", 1)]), headers], &spec);
    assert!(error.to_string().contains("differ in their columns"), "{error}");
    let error = refused(vec![made(&[row("A", 1)])], &TableSpec { sorted_by: vec!["none".into()], ..spec.clone() });
    assert!(error.to_string().contains("none"), "{error}");

    let bytes = encoded(&[row("A", 1), row("B", 2)], &origin).expect("rows").bytes;
    for damaged in [&bytes[..bytes.len() / 2], b"PAR1", b""] {
        let error = refused(vec![MergeInput::new(file_of(damaged), None)], &spec);
        assert_eq!(error.kind(), ErrorKind::Defect, "{error}");
    }
    assert!(merge(&spec, vec![], &origin, ENOUGH).expect("nothing to do").is_empty());
}

/// A filter that says nothing, or too little.
struct Silent(usize);

impl RowFilter for Silent {
    fn columns(&self) -> &[String] {
        &[]
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        Ok((0..rows.num_rows() - self.0).map(|_| (self.0 > 0).then_some(true)).collect())
    }
}

#[test]
fn a_filter_must_say_of_every_row_whether_it_stays() {
    let rows: Vec<Row> = vec![("A".into(), 1, None, None, None, "r".into())];
    for short in [0, 1] {
        let input = input(&rows, 9, Some(Arc::new(Silent(short)))).expect("rows");
        let error = merge(&spec(), vec![input], &origin(), ENOUGH).expect_err("refused");
        assert!(error.to_string().contains("every row"), "{error}");
    }
}

/// How much memory a merge takes at its peak, for who changes it: `cargo test --lib -- --ignored --nocapture
/// how_much_memory`. The merge runs in a process of its own, in which nothing was freed before.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "it measures, and takes its time"]
fn how_much_memory_two_files_of_a_million_rows_take() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    use crate::transform::Contract;

    const ROWS: usize = 1_000_000;
    const STEP: usize = 20_000;

    /// A value of `/proc/self/status`, in KiB.
    fn status(name: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").expect("a Linux");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().expect("a number")
    }

    fn column(name: &str, kind: &DataType, rows: &[usize]) -> ArrayRef {
        match kind {
            DataType::Int16 => Arc::new(rows.iter().map(|n| Some((n % 7) as i16)).collect::<arrow_array::Int16Array>()),
            DataType::Int32 => {
                Arc::new(rows.iter().map(|n| Some((n % 40) as i32)).collect::<arrow_array::Int32Array>())
            }
            DataType::Int64 => Arc::new(rows.iter().map(|n| Some(*n as i64 * 3)).collect::<arrow_array::Int64Array>()),
            DataType::Decimal128(..) => {
                let values = rows.iter().map(|n| Some((n * 7_919 % 900_001) as i128 * 2_500));
                let values: arrow_array::Decimal128Array = values.collect();
                Arc::new(values.with_precision_and_scale(19, 4).expect("fits"))
            }
            DataType::Timestamp(..) => {
                let values = rows.iter().map(|n| Some((*n as i64 / 3 + name.len() as i64) * 1_000_000));
                Arc::new(values.collect::<arrow_array::TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            _ => {
                let distinct = match name {
                    "purchase_apply_no" => usize::MAX,
                    "remark" => 300_000,
                    "extra" => {
                        return Arc::new(
                            rows.iter()
                                .map(|n| Some(format!("{{\"flag\":{}}}", n % 5)))
                                .collect::<arrow_array::StringArray>(),
                        );
                    }
                    "_run_id" => 60,
                    _ => 900,
                };
                let text = |n: &usize| Some(format!("CG2026{:09}", n % distinct));
                Arc::new(rows.iter().map(text).collect::<arrow_array::StringArray>())
            }
        }
    }

    /// Every other row, written a step at a time.
    struct Half(SchemaRef, usize);

    impl crate::parquet::Columns for Half {
        fn schema(&self) -> SchemaRef {
            Arc::clone(&self.0)
        }

        fn rows(&self) -> usize {
            ROWS
        }

        fn column(&self, place: usize, rows: std::ops::Range<usize>) -> Result<ArrayRef> {
            let field = self.0.field(place);
            let rows: Vec<usize> = rows.map(|n| 2 * n + self.1).collect();
            Ok(column(field.name(), field.data_type(), &rows))
        }
    }

    let contract = Contract::get().expect("a contract").headers();
    let spec = TableSpec {
        sorted_by: contract.sort_order().to_vec(),
        bloom: contract.lookup_columns().to_vec(),
        distinct: contract.distinct_columns().to_vec(),
        columns: contract.descriptions(),
        ..header_spec()
    };
    let origin = FileOrigin { span: None, ..origin() };
    let paths = |folder: &std::path::Path| [0, 1].map(|half| folder.join(half.to_string()));
    if let (Some(folder), Some(memory_bytes)) = (std::env::var_os("MERGE_FOLDER"), std::env::var_os("MERGE_MEMORY")) {
        let memory_bytes = memory_bytes.to_str().and_then(|bytes| bytes.parse().ok()).expect("a number");
        let inputs = paths(folder.as_ref()).map(|path| MergeInput::new(File::open(path).expect("a file"), None));
        let (before, began) = (status("RssAnon:"), Instant::now());
        // Memory of its own, without the code that it touches; the kernel counts no peak of that.
        let (most, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, over) = (Arc::clone(&most), Arc::clone(&is_over));
        let watch = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(status("RssAnon:"), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let limits = MergeLimits { memory_bytes, target_bytes: 64 << 20 };
        let merged = merge(&spec, Vec::from(inputs), &origin, limits).expect("merged");
        is_over.store(true, Ordering::Relaxed);
        watch.join().expect("no panic");
        let (took, more) = (began.elapsed(), most.load(Ordering::Relaxed).saturating_sub(before));
        let sizes: Vec<u64> = merged.iter().map(|file| file.bytes >> 10).collect();
        println!(
            "{} MiB: {before} + {more} KiB at the peak ({} with its code), {took:?}, files of {sizes:?} KiB",
            memory_bytes >> 20,
            status("VmHWM:")
        );
        assert_eq!(merged.iter().map(|file| file.rows).sum::<u64>(), 2 * ROWS as u64);
        assert!(more << 10 <= memory_bytes as u64, "{more} KiB");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for (half, path) in paths(folder.path()).into_iter().enumerate() {
        let steps = RowSteps { chunk: STEP, ..RowSteps::default() };
        let rows = Half(contract.schema(), half);
        let sink = File::create(path).expect("a file");
        let mut writer = FileWriter::new(&spec, contract.schema(), ROWS, steps, &origin, sink).expect("begun");
        chunks(0..ROWS, steps.group).try_for_each(|group| writer.write_group(&rows, group)).expect("written");
        writer.finish().expect("written");
    }
    for memory_bytes in [16 << 20, 32 << 20, 64 << 20_usize] {
        let mut again = std::process::Command::new(std::env::current_exe().expect("a path"));
        again.args(["--ignored", "--nocapture", "how_much_memory"]);
        again.env("MERGE_FOLDER", folder.path()).env("MERGE_MEMORY", memory_bytes.to_string());
        assert!(again.status().expect("started").success());
    }
}
