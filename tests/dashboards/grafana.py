"""The dashboards are what the generator makes, and Grafana's own models know all that stands in them.

Grafana's foundation SDK reads a dashboard into its types and writes it again: what it does not know is gone then.
"""

import json
import pathlib
import runpy
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "grafana"
wrong = []


def expect(holds, what):
    if not holds:
        wrong.append(what)


def lost(ours, theirs, path=""):
    """What stands in the one and not in the other."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                # A null is what the models leave out.
                if value is not None:
                    yield f"{path}.{key}"
            else:
                yield from lost(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs)):
            yield from lost(one, other, f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def cells(place):
    x, y = place["x"], place["y"]
    return {(column, line) for column in range(x, x + place["w"]) for line in range(y, y + place["h"])}


register_default_plugins()
made = runpy.run_path(str(FOLDER / "generate.py"))
makers = {"host": made["host"], "job": made["job"], "gpu": made["gpus"], "delivery": made["delivery"]}
files = sorted(path.stem for path in FOLDER.glob("*.json"))
expect(files == sorted(makers), f"{files} are there, {sorted(makers)} are made")
uids = set()
for name, make in makers.items():
    text = (FOLDER / f"{name}.json").read_text()
    board = json.loads(text)
    expect(text == json.dumps(make(), indent=2) + "\n", f"{name}.json is stale: run deploy/grafana/generate.py")
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(board)))
    for what in lost(board, again):
        wrong.append(f"{name}.json{what}: not of Grafana's models")

    uids.add(board["uid"])
    known = {variable["name"] for variable in board["templating"]["list"]}
    panels = board["panels"]
    expect(len({panel["id"] for panel in panels}) == len(panels), f"{name}: ids are not unique")
    taken = set()
    for panel in panels:
        where = f"{name}: {panel['title']}"
        mine = cells(panel["gridPos"])
        expect(not mine & taken and all(x < 24 for x, _ in mine), f"{where}: overlaps, or beyond 24 columns")
        taken |= mine
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries":
            expect(defaults["custom"].get("spanNulls") is False, f"{where}: connects gaps")
        if panel["type"] in ("timeseries", "stat", "bargauge"):
            expect(defaults.get("unit"), f"{where}: no unit")
        expect(panel["targets"], f"{where}: shows nothing")
        for target in panel["targets"]:
            for source in (panel["datasource"], target["datasource"]):
                expect(source["uid"] == "${datasource}", f"{where}: its data source is not the variable")
            for variable in ("Host", "gpu", "job_name"):
                expect(f"${variable}" not in target["expr"] or variable in known, f"{where}: unknown ${variable}")
expect(len(uids) == len(makers), "two dashboards have the same uid")
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
