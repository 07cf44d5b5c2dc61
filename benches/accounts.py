"""Syncs many accounts of one sandbox in one process, and prints wall time, processor time, peak memory and calls.

    accounts.py PROGRAM ACCOUNTS [--latency 1s] [--requisitions 5] [--dead 10] [--start] [--options "--compact off"]

With --dead so many of the accounts have a gateway that takes connections and never answers: the time is that until all
others are done. With --start all have such a gateway, and the time is that until the first of them is called. Lakes lie
in /dev/shm, so that no disk is measured.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("accounts", type=int)
parser.add_argument("--latency")
parser.add_argument("--requisitions", default="5")
parser.add_argument("--dead", type=int, default=0)
parser.add_argument("--start", action="store_true")
parser.add_argument("--options", default="--compact off")
asked = parser.parse_args()
asked.program = os.path.abspath(asked.program)

silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
serve = [asked.program, "sandbox", "--more-accounts", str(asked.accounts), "--requisitions", asked.requisitions]
serve += ["--days", "30", "--end", "2026-06-30"] + (["--latency", asked.latency] if asked.latency else [])
sandbox = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
known = {}
while len(known) < 5:
    line = sandbox.stdout.readline()
    if line.startswith("export "):
        name, value = line[7:].strip().split("=", 1)
        known[name] = value

folder = tempfile.mkdtemp(dir="/dev/shm")
every = asked.accounts // asked.dead if asked.dead else 0
with open(f"{folder}/wdt-lake.toml", "w", encoding="utf-8") as config:
    config.write('lake = "lake"\n')
    for nth in range(1, asked.accounts + 1):
        is_silent = asked.start or (every and nth % every == 0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/openapi2" if is_silent else known["WDT_BASE_URL"]
        config.write(
            f'[[account]]\nname = "shop{nth:05}"\nedition = "{known["WDT_EDITION"]}"\nsid = "{known["WDT_SID"]}-{nth}"\n'
            f'appkey = "{known["WDT_APPKEY"]}"\nsecret_env = "SECRET"\nbase_url = "{url}"\ncalls_per_minute = 0\n'
        )

environment = {"PATH": os.environ["PATH"], "SECRET": known["WDT_APPSECRET"]}
sync = [asked.program, "sync", "--json", "--quiet", "--from", "2026-06-01", "--to", "2026-06-30"]
sync += ["--log-level", "info"] + asked.options.split()
with tempfile.TemporaryFile("w+") as summary:
    began = time.monotonic()
    run = subprocess.Popen(sync, cwd=folder, env=environment, stdout=summary, stderr=subprocess.PIPE, text=True)
    took = None
    if asked.start:
        silent.accept()
        took = time.monotonic() - began
        run.send_signal(signal.SIGTERM)
    live = asked.accounts - asked.dead
    for line in run.stderr:
        if asked.dead and "the account is done" in line and "exit_code=0" in line:
            live -= 1
            if live == 0:
                took = time.monotonic() - began
                run.send_signal(signal.SIGTERM)
    _, _, used = os.wait4(run.pid, 0)
    took = took or time.monotonic() - began
    summary.seek(0)
    accounts = json.load(summary)["accounts"]
sandbox.terminate()
shutil.rmtree(folder)
told = {
    "accounts": asked.accounts,
    "wall_s": round(took, 2),
    "user+sys_s": round(used.ru_utime + used.ru_stime, 2),
    "peak_mib": round(used.ru_maxrss / 1024, 1),
    "calls": sum(one["calls"] for one in accounts),
    "rows": sum(one["rows"]["purchase_apply"] for one in accounts),
}
print(json.dumps(told))
