"""What a lake that `cargo bench --bench fed` has fed costs its readers, beside one that was synced at once.

    python benches/fed.py FOLDER PROGRAM [ROUNDS]      needs duckdb (tests/readers/requirements.txt)

Printed are: how often each row was written, by the manifests; the largest checkpoint; a run of PROGRAM that fetches nothing, wall time and peak of
resident memory; and for both lakes the view of open requisitions and a glob over headers in DuckDB, medians of processes of their own in turn.
"""

import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import time

ENVIRONMENT = {"WDT_ACCOUNT": "fed", "WDT_EDITION": "enterprise", "WDT_SID": "sandbox", "WDT_APPKEY": "none", "WDT_APPSECRET": "none",
               "WDT_BASE_URL": "http://127.0.0.1:9/openapi2/"}
QUERIES = {
    "view": "SELECT count(*), sum(open_num) FROM purchase_apply_open",
    "glob": "SELECT count(*), sum(real_num) FROM read_parquet('{lake}/purchase_apply/account=*/modified_month=*/*.parquet')",
}


def written(folder):
    """Rows of `purchase_apply` that were landed, and all that were written."""
    new = total = 0
    for path in glob.glob(f"{folder}/_manifest/account=fed/*/*.json"):
        if "_checkpoint" in path:
            continue
        with open(path) as file:
            manifest = json.load(file)
        for commit in manifest["commits"]:
            rows = sum(file["rows"] for file in commit["files"] if file["table"] == "purchase_apply")
            total += rows
            new += rows if commit["kind"] == "sync" else 0
    return new, total


def timed(command, environment=None):
    began = time.monotonic()
    child = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, (command, out)
    return time.monotonic() - began, usage.ru_maxrss / 1024, out


def query(lake, program, name):
    import duckdb
    connection = duckdb.connect(config={"threads": 2})
    if name == "view":
        script = subprocess.run([program, "views", "--engine", "duckdb", "--lake", lake], capture_output=True, text=True, check=True).stdout
        connection.execute(script)
    began = time.monotonic()
    connection.execute(QUERIES[name].format(lake=lake)).fetchall()
    print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main():
    folder, program = sys.argv[1], os.path.abspath(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 9
    new, total = written(folder)
    print(f"rows {new:,}, each written {total / new:.2f} times")
    sizes = [os.path.getsize(path) for path in glob.glob(f"{folder}/_manifest/account=fed/_checkpoint/*") + glob.glob(f"{folder}/_manifest/account=fed/*/_checkpoint/*")]
    print(f"largest checkpoint {max(sizes, default=0) / 1000:.0f} kB")
    status = json.loads(subprocess.run([program, "status", "--json", "--lake", folder], capture_output=True, text=True, check=True).stdout)
    end = status["accounts"][0]["coverage"][-1]["end"]
    idle = [program, "sync", "--json", "--lake", folder, "--to", end]
    timed(idle, ENVIRONMENT)  # puts together what is over by the clock of this machine
    runs = [timed(idle, ENVIRONMENT) for _ in range(rounds)]
    print(f"a run that fetches nothing: {statistics.median(run[0] for run in runs) * 1000:.0f} ms, {statistics.median(run[1] for run in runs):.0f} MB")
    for name in QUERIES:
        times = {lake: [] for lake in (folder, f"{folder}-once")}
        for _ in range(rounds):
            for lake, of_lake in times.items():
                out = subprocess.run([sys.executable, __file__, "--query", lake, program, name], capture_output=True, text=True, check=True).stdout
                of_lake.append([float(word) for word in out.split()])
        seconds = [statistics.median(run[0] for run in of_lake) for of_lake in times.values()]
        print(f"{name}: {seconds[0] * 1000:.0f} ms, of a lake synced at once {seconds[1] * 1000:.0f} ms, ratio {seconds[0] / seconds[1]:.2f}")


if __name__ == "__main__":
    if sys.argv[1] == "--query":
        query(*sys.argv[2:5])
    else:
        main()
