"""Checks recipes/kubernetes-shards.yaml against the schemas of Kubernetes, and prints the command of each pod as JSON.

    shards.py RECIPE
"""

import copy
import json
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.31", "1.37"]

with open(sys.argv[1], encoding="utf-8") as recipe:
    documents = list(yaml.safe_load_all(recipe))
assert [one["kind"] for one in documents] == ["CronJob"], documents
cronjob = documents[0]


def fits(document, version):
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError:
        return False
    return True


assert all(fits(cronjob, version) for version in VERSIONS)
# The schemas find what is misspelled, at the depth where it would be overlooked.
broken = copy.deepcopy(cronjob)
job = broken["spec"]["jobTemplate"]["spec"]
job["backoffLimitPerIndexes"] = job.pop("backoffLimitPerIndex")
assert not any(fits(broken, version) for version in VERSIONS)

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
