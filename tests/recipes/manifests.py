"""What the checks of recipes for Kubernetes share: the only document of a recipe, tried against the schemas."""

import copy

import kubernetes_validate
import yaml

VERSIONS = ["1.31", "1.37"]


def checked(path, misspell):
    """The CronJob of the recipe. It fits the schemas, and no longer does when `misspell` has changed the specification of its job: they find what is
    misspelled, at the depth where it would be overlooked."""
    with open(path, encoding="utf-8") as recipe:
        documents = list(yaml.safe_load_all(recipe))
    assert [one["kind"] for one in documents] == ["CronJob"], documents
    (cronjob,) = documents
    assert all(fits(cronjob, version) for version in VERSIONS)
    broken = copy.deepcopy(cronjob)
    misspell(broken["spec"]["jobTemplate"]["spec"])
    assert broken != cronjob and not any(fits(broken, version) for version in VERSIONS)
    return cronjob


def fits(document, version):
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError:
        return False
    return True
