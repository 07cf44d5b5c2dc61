"""Syncs the lake of purchase requisitions every ten minutes. For Airflow 2.10 and 3: copy it into the folder of DAGs.

The workers need `wdt-lake` in their PATH and the account in their environment (WDT_EDITION, WDT_SID, WDT_APPKEY, WDT_APPSECRET_FILE).
"""

import json
import logging
import subprocess
from datetime import datetime, timedelta, timezone

from airflow.exceptions import AirflowException, AirflowFailException

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

LAKE = "/var/lib/wdt-lake/lake"
# Tells a group chat what needs a person, where it is set up; or None.
ALERT = "/usr/local/lib/wdt-lake/alert.py"

RUN_AGAIN = {5, 6, 7}
log = logging.getLogger(__name__)


def run(command):
    """Runs a command; gives its exit code and standard output. Its messages go to the log of the task."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, messages = process.communicate()
        except BaseException:
            # So Airflow ends a task. The run ends in order within ten seconds, and is waited for.
            process.terminate()
            raise
    for line in messages.splitlines():
        log.info("%s", line)
    return process.returncode, output


def tell(code, summary):
    if ALERT:
        subprocess.run([ALERT, str(code)], input=summary, text=True, check=False)


@dag(
    dag_id="wdt_lake_sync",
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # A run fetches all that is missing, so that a second one beside it has nothing to do.
    max_active_runs=1,
    tags=["wdt-lake"],
)
def wdt_lake_sync():
    @task(retries=3, retry_delay=timedelta(minutes=5), execution_timeout=timedelta(hours=6))
    def sync():
        code, output = run(["wdt-lake", "sync", "--lake", LAKE, "--json"])
        if code == 0:
            return json.loads(output)
        if code == 3:
            log.warning("done, with something to look at: %s", output)
            tell(code, output)
            return json.loads(output)
        if code in RUN_AGAIN:
            raise AirflowException(f"exit code {code}: the next try goes on where this one ended")
        tell(code, output)
        raise AirflowFailException(f"exit code {code}: running again does not help")

    sync()


wdt_lake_sync()
