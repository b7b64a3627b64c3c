"""Renders the chart with Helm's own library and checks the result against published schemas.

    pip install helm-python-sdk kubernetes-validate jsonschema pyyaml    (in an environment apart)
    python deploy/helm/check.py [FOLDER with KEDA's config/crd/bases]

Nothing is installed in a cluster, and none is asked.
"""

import sys
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import yaml

CHART = Path(__file__).parent
KUBERNETES = ("1.27", "1.37")  # the oldest of Chart.yaml, and the newest that is known there
KEDA = "keda.sh/v1alpha1"


def main() -> None:
    """Check each file of values in ci/; raises at the first fault."""
    keda = _keda_schemas(Path(sys.argv[1])) if len(sys.argv) > 1 else {}
    _say(f"Helm {helm_python.helm_sdk_version()}")
    with helm_python.Chart.load(CHART) as chart:
        for path in sorted(CHART.glob("ci/*.yaml")):
            values = yaml.safe_load(path.read_text())
            report = helm_python.lint(str(CHART), values)
            faults = [each for each in report["messages"] if each["severity"] > 1]
            assert not faults + report["errors"], report
            rendered = chart.render(values, name="demo", namespace="labels")
            for made in _objects(rendered):
                _check(made, keda)
                _say(f"{path.name}: {made['kind']} {made['metadata']['name']}")
        for wrong in ({}, {"databse": {}}):
            try:
                chart.validate_schema(wrong)
            except helm_python.HelmError:
                continue
            raise AssertionError(f"these values should be refused: {wrong}")


def _objects(rendered: dict[str, str]) -> list[dict[str, Any]]:
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    return [made for text in texts for made in yaml.safe_load_all(text) if made]


def _check(made: dict[str, Any], keda: dict[str, dict[str, Any]]) -> None:
    if made["apiVersion"] != KEDA:
        for version in KUBERNETES:
            kubernetes_validate.validate(made, version, strict=True)
    elif keda:
        jsonschema.validate(made, keda[made["kind"]])
    else:
        _say("KEDA's schemas weren't given: not checked")


def _keda_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    """{kind: schema} in which an unknown field is a fault, as it is for a typing error's sake."""
    schemas = {}
    for path in folder.glob("keda.sh_*.yaml"):
        definition = yaml.safe_load(path.read_text())["spec"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["metadata"] = {"type": "object"}
        _forbid_unknown(schema["properties"]["spec"])
        schemas[definition["names"]["kind"]] = schema
    return schemas


def _forbid_unknown(schema: Any) -> None:
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for part in list(schema.values()):
            _forbid_unknown(part)
    elif isinstance(schema, list):
        for part in schema:
            _forbid_unknown(part)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
