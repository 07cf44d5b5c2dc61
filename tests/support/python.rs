//! A Python with the real readers, in a virtual environment under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const REQUIREMENTS: &str = include_str!("../readers/requirements.txt");

/// Runs a script of `tests/readers` with the given arguments.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(script);
    // Spark's workers are started by its JVM and need the same interpreter; its driver listens on loopback only.
    let environment = [("PYSPARK_PYTHON", python().as_os_str()), ("SPARK_LOCAL_IP", "127.0.0.1".as_ref())];
    Command::new(python()).arg(script).args(arguments).envs(environment).output().expect("python starts")
}

/// Whether there is a Java for PySpark: a prerequisite that no Python package brings.
pub(crate) fn has_java() -> bool {
    let java = std::env::var_os("JAVA_HOME").map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java"));
    Command::new(java).arg("-version").output().is_ok_and(|output| output.status.success())
}

/// The environment's interpreter; made on first use, and made anew when the requirements change.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readers");
        let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
        if std::fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == REQUIREMENTS) {
            return python;
        }
        let _ = std::fs::remove_dir_all(&folder);
        checked(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/requirements.txt");
        checked(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements));
        std::fs::write(stamp, REQUIREMENTS).expect("the stamp is written");
        python
    })
}

fn checked(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (Python 3.11 with venv is needed)"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
