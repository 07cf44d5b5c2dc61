//! Every edition of the ERP goes the same way into the same two tables: flagship and Y as enterprise in `main_job`.

use serde_json::Value;
use wdt_lake::sandbox::{
    Behaviour, Fault, Interval, Options, Order, Outcome, Outer, Requisition, Sandbox, SandboxClock, Status, Uncounted,
    generate,
};
use wdt_lake::{Depth, Edition, Store};

use crate::support::{LakeDir, at, check_with_readers, erp_of, program, program_at, run, sync};
use crate::under_fire::{answering, fixed};

const SECOND_QUARTER: [&str; 4] = ["--from", "2026-04-01", "--to", "2026-06-30"];

/// Three months, one of them of 31 days, and a span of thirty days that may not be asked for in one.
fn lands_field_by_field(sandbox: &Sandbox, requisitions: usize) -> Value {
    let lake = LakeDir::new();
    let summary = sync(sandbox, &lake, &SECOND_QUARTER).expect_code(0).json();
    assert_eq!(
        (&summary["rows"]["purchase_apply"], &summary["rows"]["quarantined"]),
        (&requisitions.into(), &0.into())
    );
    let world = sandbox.world().lock();
    let versions = world.journal().versions();
    let details: usize = versions.iter().map(|version| version.requisition.details.len()).sum();
    assert_eq!(summary["rows"]["purchase_apply_detail"], details);
    // Headers are the sums of their details, so that both editions' ways to the sum must meet.
    let sum: i128 = versions.iter().map(|version| version.requisition.real_num.0).sum();
    assert_eq!(summary["real_num"], format!("{}.{:04}", sum / 10_000, sum % 10_000));
    check_with_readers(sandbox, &lake, versions);
    let calls = world.journal().calls();
    assert!(calls.iter().all(|call| call.outcome == Outcome::Answered), "nothing was asked that is refused");
    // A last page that is not full, and the first page once more, for each window.
    let allowed = requisitions / 100 + 2 * summary["windows"].as_u64().unwrap() as usize;
    assert!(calls.len() <= allowed, "{} calls, {allowed} allowed", calls.len());
    drop(world);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = Store::open(&lake.text(), wdt_lake::Access::Read).unwrap();
    let verified = runtime.block_on(wdt_lake::verify(&store, "sandbox".parse().unwrap(), Depth::Deep));
    assert_eq!(verified.unwrap().defects, []);
    lake.manifests().into_iter().next().unwrap()
}

#[test]
fn flagship_lands_field_by_field_in_the_same_tables() {
    let sandbox = erp_of(Edition::Flagship, 2_500, 90, "2026-06-30 23:59:59");
    let manifest = lands_field_by_field(&sandbox, 2_500);
    assert_eq!(manifest["account"]["edition"], "flagship");
    for call in sandbox.world().calls() {
        assert_eq!(call.method, "purchase.PurchaseApply.search");
        let counts = if call.params["page_no"] == "0" { "1" } else { "0" };
        assert_eq!(call.params["calc_total"], *counts, "a total is asked for only when it is needed");
    }
}

#[test]
fn y_lands_field_by_field_in_the_same_tables() {
    let sandbox = erp_of(Edition::Y, 1_200, 90, "2026-06-30 23:59:59");
    let manifest = lands_field_by_field(&sandbox, 1_200);
    assert_eq!(manifest["account"]["edition"], "y");
}

/// Whatever the pages of flagship leave open, the rows are the same: those of the window, once.
#[test]
fn what_flagship_leaves_open_does_not_matter() {
    let ways = [
        (Interval::HalfOpen, Uncounted::Zero, Outer::None),
        (Interval::HalfOpen, Uncounted::Absent, Outer::Object),
        (Interval::Closed, Uncounted::Zero, Outer::None),
    ];
    for (interval, uncounted, outer) in ways {
        let behaviour = Behaviour { interval, uncounted, outer, ..Behaviour::default() };
        let mut requisitions = generate(31, 600, 60, at("2026-06-30 23:59:59"));
        // On both sides of the seconds where windows meet: the ends of a month and of thirty days.
        for (place, second) in
            ["2026-05-30 23:59:59", "2026-05-31 00:00:00", "2026-05-31 23:59:59", "2026-06-01 00:00:00"]
                .into_iter()
                .cycle()
                .take(80)
                .enumerate()
        {
            requisitions[place].modified = at(second);
            requisitions[place].created = requisitions[place].created.min(at(second));
        }
        let options = Options { edition: Edition::Flagship, requisitions, behaviour, ..Options::default() };
        let sandbox = Sandbox::start(options).unwrap();
        let lake = LakeDir::new();
        let arguments = ["--from", "2026-05-01", "--to", "2026-06-30", "--page-size", "10"];
        let summary = sync(&sandbox, &lake, &arguments).expect_code(0).json();
        assert_eq!(summary["rows"]["purchase_apply"], 600, "{interval:?} {uncounted:?} {outer:?}");
        check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
    }
}

/// A refresh walks many pieces, and the second after one is the first of another.
#[test]
fn a_flagship_refresh_forgets_nothing_and_doubles_nothing() {
    let mut requisitions = generate(33, 900, 28, at("2026-06-30 23:59:59"));
    // A run of seconds with several each, so that pieces are cut between neighbours.
    for (place, requisition) in requisitions.iter_mut().take(400).enumerate() {
        requisition.modified = at("2026-06-20 10:00:00").plus_seconds(place as i64 / 4);
        requisition.created = requisition.created.min(requisition.modified);
    }
    let behaviour = Behaviour { order: Order::ModifiedShuffledTies, seed: 33, ..Behaviour::default() };
    let options = Options { edition: Edition::Flagship, requisitions, behaviour, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let lake = LakeDir::new();
    let june = ["--from", "2026-06-01", "--to", "2026-06-30", "--page-size", "10"];
    sync(&sandbox, &lake, &june).expect_code(0);
    let before: Vec<_> = sandbox.world().lock().journal().versions().to_vec();
    {
        let mut world = sandbox.world().lock();
        for place in 0..40 {
            let number = format!("POA20260620{place:04}");
            let late =
                Requisition::plain(8_000_000 + place, &number, at("2026-06-20 10:00:00").plus_seconds(place / 2));
            world.add_as_is(late);
        }
    }
    let summary = sync(&sandbox, &lake, &[&june[..], &["--lookback", "60d"]].concat()).expect_code(0).json();
    assert!(summary["refreshed"].as_u64().unwrap() > 0, "{summary}");
    let world = sandbox.world().lock();
    assert_eq!(world.journal().versions().len(), before.len() + 40);
    check_with_readers(&sandbox, &lake, world.journal().versions());
}

/// The second after a window is asked for too, and may be all that has rows.
#[test]
fn a_flagship_row_of_the_second_after_the_range_waits_for_its_own_window() {
    let midnight = Requisition::plain(1, "POA202607010001", at("2026-07-01 00:00:00"));
    let options = Options { edition: Edition::Flagship, requisitions: vec![midnight], ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let lake = LakeDir::new();
    let june = sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0).json();
    assert_eq!((&june["rows"]["purchase_apply"], &june["rows"]["quarantined"]), (&0.into(), &0.into()));
    // Walked again, the total still counts the row that is not June's.
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "40d"]).expect_code(0);
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    let july = sync(&sandbox, &lake, &["--to", "2026-07-05"]).expect_code(0).json();
    assert_eq!(july["rows"]["purchase_apply"], 1);
    check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
}

#[test]
fn status_names_mean_the_same_in_every_edition() {
    let states = [
        (Status::Cancelled, "cancelled"),
        (Status::ToConfirm, "to_confirm"),
        (Status::ToReference, "to_reference"),
        (Status::PartlyReferenced, "partly_referenced"),
        (Status::Referenced, "referenced"),
    ];
    for edition in Edition::ALL {
        let requisitions = (1..)
            .zip(states)
            .map(|(id, (status, name))| Requisition {
                status,
                ..Requisition::plain(id, name, at("2026-06-10 10:00:00"))
            })
            .collect();
        let sandbox = Sandbox::start(Options { edition, requisitions, ..Options::default() }).unwrap();
        let names = states.map(|(_, name)| name);
        let said = run(program_at(&sandbox).args(["get", "--json"]).args(names)).expect_code(0).json();
        for (found, name) in said["requisitions"].as_array().unwrap().iter().zip(names) {
            assert_eq!(
                (&found["status_name"], &found["_edition"]),
                (&name.into(), &edition.name().into()),
                "{edition}"
            );
        }
        assert_eq!(said["requisitions"].as_array().unwrap().len(), names.len(), "{edition}");
    }
}

#[test]
fn plan_check_and_get_speak_every_edition() {
    for edition in Edition::ALL {
        let sandbox = erp_of(edition, 700, 55, "2026-06-30 23:59:59");
        let lake = LakeDir::new();
        let range = ["--lake", &lake.text(), "--from", "2026-05-07", "--to", "2026-06-30"].map(str::to_owned);
        let planned = run(program_at(&sandbox).args(["plan", "--json"]).args(&range)).expect_code(0).json();
        assert_eq!(planned["rows"], 700, "{edition}");
        let checked = run(program_at(&sandbox).args(["check", "--json"])).expect_code(0).json();
        assert_eq!((&checked["edition"], &checked["calls"]), (&edition.name().into(), &1.into()));
        let number = {
            let world = sandbox.world().lock();
            world.requisitions().next().unwrap().purchase_apply_no.to_string()
        };
        let got = run(program_at(&sandbox).args(["get", "--json", &number, "POA-NOBODY"])).expect_code(0).json();
        assert_eq!(got["requisitions"][0]["purchase_apply_no"], *number);
        assert_eq!(got["unknown"], serde_json::json!(["POA-NOBODY"]));
        let has_total = got["requisitions"][0]["real_num"].is_string();
        assert_eq!(has_total, edition != Edition::Flagship, "flagship headers have no quantity");
        let detail = &got["requisitions"][0]["details"][0];
        assert!(detail["real_num"].is_string());
        assert_eq!(detail["stockin_num"].is_string(), edition == Edition::Flagship);
    }
}

#[test]
fn the_demo_runs_in_every_edition() {
    for edition in [Edition::Y, Edition::Flagship] {
        let lake = LakeDir::new();
        let arguments = ["demo", "--json", "--edition", edition.name(), "--lake", &lake.text()].map(str::to_owned);
        let said = run(program().args(&arguments)).expect_code(0).json();
        assert_eq!(said["rows"]["purchase_apply"], 5_000, "{edition}");
        assert_ne!(said["real_num"], "0.0000", "{edition}");
        let other = LakeDir::new();
        let said = run(program().args(["demo", "--edition", edition.name(), "--lake", &other.text()])).expect_code(0);
        let table = if edition == Edition::Flagship { "purchase_apply_detail" } else { "purchase_apply " };
        let line = said.stdout.lines().find(|line| line.contains("real_num sums to")).unwrap();
        assert!(line.trim_start().starts_with(table), "the table that has the column: {line}");
    }
}

/// Wrong credentials and a forbidden address stop the account after one call; a clock that is off is corrected; limits
/// are waited out.
#[test]
fn flagship_refusals_mean_what_they_say() {
    let clock = SandboxClock::default();
    clock.set_skew(125);
    let requisitions = generate(32, 60, 20, at("2026-06-30 23:59:59"));
    let options = Options { edition: Edition::Flagship, requisitions, clock, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let refuse =
        |code, message: &str| sandbox.next_faults([Some(Fault::Business { code, message: message.to_owned() })]);
    let calls = || sandbox.world().calls().len();

    let before = calls();
    let said = run(program_at(&sandbox).arg("check").env("WDT_APPSECRET", "wrong:salt")).expect_code(4);
    assert!(said.stderr.contains("status 1") && said.stderr.contains("WDT_APPKEY"), "{}", said.stderr);
    assert_eq!(calls(), before + 1);
    refuse(6, "IP不允许访问");
    let said = run(program_at(&sandbox).arg("check")).expect_code(4);
    assert!(said.stderr.contains("status 6"), "{}", said.stderr);
    for asked_for in ["permission", "IP list", "client", "docs/gateway.md"] {
        assert!(said.stderr.contains(asked_for), "{}", said.stderr);
    }
    let said = run(program_at(&sandbox).arg("check").env("WDT_APPSECRET", "no-salt")).expect_code(2);
    assert!(said.stderr.contains("secret:salt") && !said.stderr.contains("no-salt"), "{}", said.stderr);

    // 125 s are more than the 120 that are tolerated: one refusal, one correction.
    let before = calls();
    run(program_at(&sandbox).arg("check")).expect_code(0);
    let outcomes: Vec<_> = sandbox.world().calls().drain(before..).map(|call| call.outcome).collect();
    assert!(matches!(&outcomes[..], [Outcome::Refused { code: 7, .. }, Outcome::Answered]), "{outcomes:?}");

    for comma in ['，', ','] {
        refuse(100, &format!("超过每分钟最大并发次数限制{comma}请稍后重试"));
        run(program_at(&sandbox).args(["check", "--max-retry-time", "60s"])).expect_code(0);
    }
    refuse(100, "您的查询时间过宽,查询时间不能大于30天");
    let said = run(program_at(&sandbox).arg("check")).expect_code(7);
    assert!(said.stderr.contains("status 100: 您的查询时间过宽"), "{}", said.stderr);
}

/// The vendor's example answer of enterprise means the same to Y, but for the status: its 30 is Y's partly referenced.
#[test]
fn the_vendors_own_answer_is_read_as_y_too() {
    let (address, _server) = answering(include_bytes!("fixtures/enterprise_example.json"));
    let get = ["get", "--json", "POA202005190001"];
    let said = run(program().envs(fixed(Edition::Y, &address)).args(get)).expect_code(0).json();
    let found = &said["requisitions"][0];
    for (name, value) in [
        ("purchase_apply_no", Value::from("POA202005190001")),
        ("apply_id", 118.into()),
        ("status", 30.into()),
        ("status_name", "partly_referenced".into()),
        ("createor_name", "wanxie2-test".into()),
        ("real_num", "200.0000".into()),
        ("modified", "2020-05-19T11:57:04+08:00".into()),
        ("detail_count", 2.into()),
        ("_edition", "y".into()),
        ("extra", Value::Null),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
    let (address, _server) = answering(include_bytes!("fixtures/enterprise_error_2180.json"));
    let said = run(program().envs(fixed(Edition::Y, &address)).args(get)).expect_code(7);
    assert!(said.stderr.contains("code 2180"), "{}", said.stderr);
}

/// The vendor's example answer of the flagship search, which has no outer object, and its example of an error.
#[test]
fn the_vendors_own_flagship_answers_go_through_the_program() {
    let (address, _server) = answering(include_bytes!("fixtures/flagship_example.json"));
    let environment = fixed(Edition::Flagship, &address);
    let said =
        run(program().envs(environment.clone()).args(["get", "--json", "POA202212130002"])).expect_code(0).json();
    let requisition = &said["requisitions"][0];
    for (name, value) in [
        ("apply_id", Value::Null),
        ("purchase_apply_no", "POA202212130002".into()),
        ("status", 20.into()),
        ("status_name", "to_confirm".into()),
        ("createor_name", "aaaaa".into()),
        ("name", "wdtapi3-test".into()),
        ("warehouse_no", "wdtapi3-test".into()),
        ("provider_no", "LCJtest".into()),
        ("provider_name", "LCTtest11".into()),
        ("real_num", Value::Null),
        ("ref_num", Value::Null),
        ("unref_num", Value::Null),
        ("expected_time", Value::Null),
        ("remark", "".into()),
        ("modified", "2022-12-13T16:50:02+08:00".into()),
        ("created", "2022-12-13T16:50:02+08:00".into()),
        ("detail_count", 1.into()),
        ("extra", Value::Null),
        ("_edition", "flagship".into()),
    ] {
        assert_eq!(requisition[name], value, "{name}");
    }
    for (name, value) in [
        ("rec_id", Value::from(377)),
        ("apply_id", Value::Null),
        ("spec_no", "wangdiantong".into()),
        ("spec_name", "测试产品".into()),
        ("goods_no", "wangdiantong".into()),
        ("goods_name", "测试产品".into()),
        ("short_name", Value::Null),
        ("brand_no", Value::Null),
        ("brand_name", "无".into()),
        ("class_name", Value::Null),
        ("real_num", "1.0000".into()),
        ("ref_num", "0.0000".into()),
        ("stockin_num", "0.0000".into()),
        ("provider_no", "LCJtest".into()),
        ("provider_name", "LCTtest11".into()),
        ("remark", "".into()),
        ("extra", Value::Null),
    ] {
        assert_eq!(requisition["details"][0][name], value, "{name}");
    }
    // One row of a total of one is a whole window.
    let lake = LakeDir::new();
    let arguments = ["sync", "--json", "--lake", &lake.text(), "--from", "2022-12-13", "--to", "2022-12-13"];
    let summary = run(program().envs(environment).args(arguments)).expect_code(0).json();
    assert_eq!((&summary["rows"]["purchase_apply"], &summary["real_num"]), (&1.into(), &"1.0000".into()));

    let (address, _server) = answering(include_bytes!("fixtures/flagship_error_100.json"));
    let said = run(program().envs(fixed(Edition::Flagship, &address)).args(["get", "POA1"])).expect_code(7);
    assert!(said.stderr.contains("status 100: 日期格式不合法"), "{}", said.stderr);
}

/// The gateway's answers to anything else are not those of a search.
#[test]
fn an_answer_that_is_not_a_list_of_requisitions_is_none() {
    let (address, _server) = answering(include_bytes!("fixtures/flagship_stop_failed.json"));
    let mut command = program();
    command.envs(fixed(Edition::Flagship, &address)).args(["get", "POA1", "--max-retry-time", "1s"]);
    let said = run(&mut command).expect_code(5);
    assert!(said.stderr.contains("cannot be read"), "{}", said.stderr);
}

/// An account's lake belongs to its edition: the same sid under another one is another account.
#[test]
fn a_lake_of_one_edition_is_not_filled_from_another() {
    let lake = LakeDir::new();
    let enterprise = erp_of(Edition::Enterprise, 20, 5, "2026-06-30 23:59:59");
    sync(&enterprise, &lake, &SECOND_QUARTER).expect_code(0);
    let flagship = erp_of(Edition::Flagship, 20, 5, "2026-06-30 23:59:59");
    let said = sync(&flagship, &lake, &SECOND_QUARTER).expect_code(2);
    assert!(said.stderr.contains("flagship") && said.stderr.contains("enterprise"), "{}", said.stderr);
    assert!(flagship.world().calls().is_empty());
}
