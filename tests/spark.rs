//! The package `spark/`: its wheel is built and installed, its types are checked, and its own tests are run, with the
//! program of this build. They say what they try in `spark/tests`.

use std::path::{Path, PathBuf};

use crate::support::python;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("spark")
}

/// Runs a program of the environment in the package's folder; what it said.
fn tool(arguments: &[&str]) -> String {
    let mut command = python::LOCAL.command();
    command.args(["-m"]).args(arguments).current_dir(package());
    command.env("WDT_LAKE_BINARY", env!("CARGO_BIN_EXE_wdt-lake"));
    let output = command.output().expect("python starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}:\n{said}\n{why}");
    said
}

/// Java 17 is a prerequisite of Spark: without it only what needs no Spark is tried.
#[test]
fn the_wheel_reads_streams_and_extracts() {
    let manifest = std::fs::read_to_string(package().join("pyproject.toml")).unwrap();
    let version = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(manifest.contains(version), "the wheel has the version of the program");

    let wheels = tempfile::tempdir().unwrap();
    let folder = wheels.path().to_str().unwrap();
    tool(&["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, "."]);
    let wheel = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    tool(&["pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel.to_str().unwrap()]);

    let cache = wheels.path().join("mypy");
    tool(&["mypy", "--cache-dir", cache.to_str().unwrap()]);
    tool(&["ruff", "check", "--no-cache", "src"]);
    tool(&["ruff", "format", "--no-cache", "--check", "."]);

    if python::has_java() {
        println!("{}", tool(&["pytest", "--quiet"]));
    } else {
        println!("\n*** NOT TESTED: the data source in Spark. There is no `java` (17 or later) on this machine. ***\n");
        tool(&["pytest", "--quiet", "tests/test_log.py", "tests/test_moves.py"]);
    }
}
