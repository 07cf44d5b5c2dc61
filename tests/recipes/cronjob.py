"""Checks recipes/kubernetes.yaml against the schemas of Kubernetes, and prints the command of its container as JSON.

    cronjob.py RECIPE
"""

import json
import sys

from manifests import checked


def misspell(job):
    rule = job["podFailurePolicy"]["rules"][1]["onExitCodes"]
    rule["value"] = rule.pop("values")


cronjob = checked(sys.argv[1], misspell)
job = cronjob["spec"]["jobTemplate"]["spec"]
pod = job["template"]["spec"]
(container,) = pod["containers"]
# What the API server demands of podFailurePolicy, and no schema says.
assert pod["restartPolicy"] == "Never"
rules = job["podFailurePolicy"]["rules"]
assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
assert rules[1]["onExitCodes"]["containerName"] == container["name"]
assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
assert container["securityContext"]["readOnlyRootFilesystem"]

environment = {one["name"]: one["value"] for one in container["env"]}
volumes = {one["name"]: one for one in pod["volumes"]}
mounts = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
assert "emptyDir" in mounts[environment["TMPDIR"]]
assert "secret" in mounts[environment["WDT_APPSECRET_FILE"].rpartition("/")[0]]
failing = rules[1]["onExitCodes"]["values"]
print(json.dumps({"args": container["args"], "environment": environment, "fail": failing}))
