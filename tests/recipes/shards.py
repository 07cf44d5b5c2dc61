"""Checks recipes/kubernetes-shards.yaml against the schemas of Kubernetes, and prints the command of each pod as JSON.

    shards.py RECIPE
"""

import json
import sys

from manifests import checked


def misspell(job):
    job["backoffLimitPerIndexes"] = job.pop("backoffLimitPerIndex")


cronjob = checked(sys.argv[1], misspell)
job = cronjob["spec"]["jobTemplate"]["spec"]
pod = job["template"]["spec"]
(container,) = pod["containers"]
# What the API server demands of an indexed job whose indexes fail by themselves, and no schema says.
assert pod["restartPolicy"] == "Never"
assert job["completionMode"] == "Indexed" and job["backoffLimitPerIndex"] >= 0 and "backoffLimit" not in job
assert job["parallelism"] <= job["completions"]
rules = job["podFailurePolicy"]["rules"]
assert [rule["action"] for rule in rules] == ["Ignore", "FailIndex"]
assert rules[1]["onExitCodes"]["containerName"] == container["name"]
assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
assert container["securityContext"]["readOnlyRootFilesystem"]

environment = {one["name"]: one["value"] for one in container["env"]}
volumes = {one["name"]: one for one in pod["volumes"]}
mounts = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
assert "emptyDir" in mounts[environment["TMPDIR"]]
assert "configMap" in mounts[environment["WDT_CONFIG"].rpartition("/")[0]]
assert "secret" in mounts["/run/secrets/wdt-lake"]
# As the kubelet does it with the variable that it sets.
pods = [
    [one.replace("$(JOB_COMPLETION_INDEX)", str(index)) for one in container["args"]]
    for index in range(job["completions"])
]
failing = rules[1]["onExitCodes"]["values"]
print(json.dumps({"pods": pods, "environment": environment, "fail": failing}))
