"""What publishing costs of the processor time of runs.

    python benches/publish_share.py PROGRAM FOLDER [RUNS] [HOURS] [FORMAT]

A sandbox of 20,000 requisitions in 60 days. Two lakes are fed by the same runs, each run HOURS later than the one before: one is published by each run
(`--publish FORMAT`, else delta), the other keeps what it replaces as long (`--keep-removed 7d`) and is not. Within each pair of runs the order changes. User and system
time of each process, by getrusage.
"""

import datetime
import os
import resource
import shutil
import statistics
import subprocess
import sys


def environment(sandbox):
    found = {"PATH": os.environ["PATH"]}
    for line in iter(sandbox.stdout.readline, ""):
        name, _, value = line.strip().removeprefix("export ").partition("=")
        if name.startswith("WDT_"):
            found[name] = value.strip("'\"")
        if name == "WDT_BASE_URL":
            return found
    raise SystemExit("the sandbox says nothing")


def spent(command, env):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    program, folder = sys.argv[1:3]
    runs, hours = int(sys.argv[3]) if len(sys.argv) > 3 else 100, float(sys.argv[4]) if len(sys.argv) > 4 else 6
    publish = sys.argv[5] if len(sys.argv) > 5 else "delta"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    sandbox = subprocess.Popen([program, "sandbox", "--requisitions", "20000", "--days", "60", "--end", "2026-06-30 23:59:59"], stdout=subprocess.PIPE, text=True)
    try:
        env = environment(sandbox)
        ways = {"plain": ["--keep-removed", "7d"], "published": ["--publish", publish]}
        sync = lambda way, to: [program, "sync", "--lake", "%s/%s" % (folder, way), "--calls-per-minute", "0", "--from", "2026-05-10", "--to", str(to), *ways[way]]
        to, times = datetime.datetime(2026, 5, 11, 23, 59, 59), {way: [] for way in ways}
        for way in ways:
            spent(sync(way, to), env)
        for nth in range(runs):
            to += datetime.timedelta(hours=hours)
            for way in sorted(ways, reverse=nth % 2 == 1):
                times[way].append(spent(sync(way, to), env))
        shares = [published / plain - 1 for plain, published in zip(times["plain"], times["published"])]
        total = sum(times["published"]) / sum(times["plain"]) - 1
        for way, all in times.items():
            print("%-9s median %.1f ms, sum %.2f s" % (way, statistics.median(all) * 1e3, sum(all)))
        print("publishing adds %.1f%% in all, %.1f%% as the median of %d pairs" % (total * 100, statistics.median(shares) * 100, runs))
    finally:
        sandbox.kill()


main()
