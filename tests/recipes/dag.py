"""Runs the DAG of recipes/airflow_dag.py by Airflow's own `dag.test`, once for each case.

    dag.py FOLDER STUB CASE...

FOLDER has the DAGs, STUB the program that stands in for `wdt-lake`, with the files `codes`, `calls` and `told`. A case lists the exit codes of
the program's runs, such as `5,0`. AIRFLOW_HOME must be set; it holds the database. The last line is JSON: by case the state in which the task
ends, how often the program ran, and the codes that somebody was told of.
"""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

folder, stub, cases, home = sys.argv[1], Path(sys.argv[2]), sys.argv[3:], os.environ["AIRFLOW_HOME"]
os.environ.update({
    "AIRFLOW__CORE__DAGS_FOLDER": folder,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
})
subprocess.run([Path(sys.executable).with_name("airflow"), "db", "migrate"], check=True, stdout=sys.stderr)

# Airflow reads its settings when it is imported.
from airflow.models.dagbag import DagBag

bag = DagBag(folder, include_examples=False)
assert not bag.import_errors, bag.import_errors
assert list(bag.dags) == ["wdt_lake_sync"], bag.dags
dag = bag.dags["wdt_lake_sync"]
(task,) = dag.tasks
assert (task.retries, dag.catchup, dag.max_active_runs) == (3, False, 1)
task.retry_delay = timedelta(0)


def lines(name):
    return (stub / name).read_text("utf-8").split("\n")[:-1] if (stub / name).exists() else []


def tried(case):
    for name in ("calls", "told"):
        (stub / name).unlink(missing_ok=True)
    (stub / "codes").write_text(case.replace(",", "\n") + "\n", "utf-8")
    run = dag.test()
    (instance,) = run.get_task_instances()
    return [str(getattr(instance.state, "value", instance.state)), len(lines("calls")), lines("told")]


print(json.dumps({case: tried(case) for case in cases}))
