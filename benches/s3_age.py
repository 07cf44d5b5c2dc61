"""What runs ask of an S3 store at the end of a long log.

    python benches/s3_age.py FOLDER PROGRAM [RUNS]      needs moto[server] and boto3 (tests/readers/requirements-extensions.txt)

FOLDER is a lake that `cargo bench --bench fed -- FOLDER RUNS off` has fed. It is copied into a bucket of moto on a loopback port, and a sandbox goes on where
it ends. Printed are the requests of each run: one that lands six hours, and one behind it that fetches nothing. Then the lake is compacted, and it is done again.
"""

import collections
import datetime
import json
import logging
import os
import subprocess
import sys
import threading

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

counted = collections.Counter()


def counting(app):
    def count(environ, start_response):
        name = environ["REQUEST_METHOD"]
        counted["LIST" if name == "GET" and "list-type" in environ["QUERY_STRING"] else name] += 1
        return app(environ, start_response)

    return count


def serve():
    server = make_server("127.0.0.1", 0, counting(DomainDispatcherApplication(create_backend_app)), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def upload(endpoint, folder):
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="bench", aws_secret_access_key="bench")
    client.create_bucket(Bucket="lake")
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as file:
                client.put_object(Bucket="lake", Key=os.path.relpath(path, folder), Body=file.read())


def environment(endpoint, sandbox):
    lines = (line.removeprefix("export ").strip() for line in iter(sandbox.stdout.readline, ""))
    gateway = {"WDT_ACCOUNT": "fed"}
    for name, _, value in (line.partition("=") for line in lines if line.startswith("WDT_")):
        gateway[name] = value
        if name == "WDT_BASE_URL":
            break
    store = {"AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "bench",
             "AWS_SECRET_ACCESS_KEY": "bench"}
    return {**gateway, **store, "PATH": os.environ["PATH"]}


def call(program, env, *arguments):
    counted.clear()
    said = subprocess.run([program, *arguments, "--lake", "s3://lake", "--json"], env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout), dict(counted)


def end_of(status):
    text = status["accounts"][0]["coverage"][-1]["end"]
    return datetime.datetime.fromisoformat(text).replace(tzinfo=None)


def runs(program, env, count):
    status, _ = call(program, env, "status")
    end, landing, idle = end_of(status), [], []
    for _ in range(count):
        end += datetime.timedelta(hours=6)
        sync = ["sync", "--calls-per-minute", "0", "--compact", "off", "--to", end.isoformat(sep=" ")]
        said, requests = call(program, env, *sync)
        assert said["windows"] == 1, said
        landing.append(sum(requests.values()))
        _, requests = call(program, env, *sync)
        idle.append(sum(requests.values()))
    print(f"  requests of runs that land {sorted(landing)}, of runs that fetch nothing {sorted(idle)}, the last {requests}", flush=True)


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder, program = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    endpoint = serve()
    upload(endpoint, folder)
    arguments = [program, "sandbox", "--requisitions", "100000", "--days", "700"]
    sandbox = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        env = environment(endpoint, sandbox)
        status, _ = call(program, env, "status")
        print(status["accounts"][0]["commits"], "commits", flush=True)
        runs(program, env, count)
        done, requests = call(program, env, "compact")
        print("compacted:", done["accounts"][0], requests, flush=True)
        runs(program, env, count)
    finally:
        sandbox.kill()


main()
