//! Pythons with the real readers, in virtual environments under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// One environment.
pub(crate) struct Python {
    folder: &'static str,
    requirements: &'static str,
    interpreter: OnceLock<PathBuf>,
}

/// The readers of lakes on local disk, and what the package `spark/` is tried with.
pub(crate) static LOCAL: Python = Python::of("readers", include_str!("../readers/requirements.txt"));
/// The readers of lakes in a bucket and of published tables, with a server for the bucket: DuckDB has its extensions.
pub(crate) static EXTENSIONS: Python =
    Python::of("readers-extensions", include_str!("../readers/requirements-extensions.txt"));
/// The schemas of Kubernetes.
pub(crate) static KUBERNETES: Python = Python::of("kubernetes", include_str!("../recipes/requirements-kubernetes.txt"));
/// Airflow, of the two major versions that are in use.
pub(crate) static AIRFLOW_2: Python = Python::of("airflow-2", include_str!("../recipes/requirements-airflow-2.txt"));
pub(crate) static AIRFLOW_3: Python = Python::of("airflow-3", include_str!("../recipes/requirements-airflow-3.txt"));

/// Runs a script of `tests/readers` with the readers of local lakes.
pub(crate) fn run(script: &str, arguments: &[&str]) -> Output {
    LOCAL.script(script, arguments).output().expect("python starts")
}

/// Whether there is a Java for PySpark: a prerequisite that no Python package brings.
pub(crate) fn has_java() -> bool {
    let java = std::env::var_os("JAVA_HOME").map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java"));
    Command::new(java).arg("-version").output().is_ok_and(|output| output.status.success())
}

impl Python {
    const fn of(folder: &'static str, requirements: &'static str) -> Self {
        Self { folder, requirements, interpreter: OnceLock::new() }
    }

    /// A script of `tests/readers`, to be run.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers").join(name)).args(arguments);
        command
    }

    /// The interpreter, to be run. It leaves nothing among the sources.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.interpreter());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        // Spark's workers are started by its JVM and need the same interpreter; its driver listens on loopback only.
        command.env("PYSPARK_PYTHON", self.interpreter()).env("SPARK_LOCAL_IP", "127.0.0.1");
        command
    }

    /// The interpreter; its environment is made on first use, and made anew when the requirements change.
    pub(crate) fn interpreter(&self) -> &Path {
        self.interpreter.get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.folder);
            let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
            if std::fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == self.requirements) {
                return python;
            }
            let _ = std::fs::remove_dir_all(&folder);
            checked(Command::new("python3").args(["-m", "venv"]).arg(&folder));
            std::fs::write(folder.join("wanted.txt"), self.requirements).expect("the requirements are written");
            let wanted = folder.join("wanted.txt");
            // What pip downloads is not kept for another time: it would take as much of the disk again.
            checked(
                Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-cache-dir", "-r"]).arg(wanted),
            );
            std::fs::write(stamp, self.requirements).expect("the stamp is written");
            python
        })
    }
}

fn checked(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error} (Python 3.11 with venv is needed)"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
