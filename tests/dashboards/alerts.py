"""The alerts' tests are whole: each alert fires in one and stays silent in another, and they can fail.

An alert that is broken must fail promtool's tests: one that never fires, that does not wait, or whose comparison is
the other way round.
"""

import copy
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "prometheus"
OTHER = {">": "<", "<": ">", "==": "!=", "!=": "=", ">=": "<"}
COMPARISON = re.compile(r"(?<=[ \w])(==|!=|>=|>|<)")


def mutants(alert):
    """The ways to break an alert, each with its words."""
    expression = alert["expr"]
    yield "never fires", alert | {"expr": f"({expression}) and vector(0) > 1"}
    if "for" in alert:
        yield "does not wait", alert | {"for": "0s"}
    for found in COMPARISON.finditer(expression):
        start, end = found.span()
        flipped = expression[:start] + OTHER[found[0]] + expression[end:]
        yield f"has {flipped!r}", alert | {"expr": flipped}


def promtool(folder, alert=""):
    """Runs the tests in which the alert is named."""
    tests = sorted(str(path) for path in (folder / "tests").glob("*.yml") if alert in path.read_text())
    return subprocess.run(["promtool", "test", "rules", *tests], capture_output=True, text=True, check=False)


alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())
rules = [(group, rule) for group, of in enumerate(alerts["groups"]) for rule in range(len(of["rules"]))]
broken = 0
cases = {}
for path in (FOLDER / "tests").glob("*.yml"):
    for test in yaml.safe_load(path.read_text())["tests"]:
        for case in test.get("alert_rule_test", []):
            cases.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))

wrong = []
with tempfile.TemporaryDirectory() as name:
    copied = pathlib.Path(name) / "prometheus"
    shutil.copytree(FOLDER, copied)
    unchanged = promtool(copied)
    if unchanged.returncode != 0:
        sys.exit(f"{unchanged.stdout}{unchanged.stderr}")
    for group, rule in rules:
        alert = alerts["groups"][group]["rules"][rule]
        name = alert["alert"]
        if cases.get(name) != {True, False}:
            wrong.append(f"{name}: needs a case that fires and one that does not")
        if set(alert["annotations"]) != {"summary", "description"} or alert["labels"].keys() != {"severity"}:
            wrong.append(f"{name}: needs a summary, a description and a severity")
        for what, mutant in mutants(alert):
            changed = copy.deepcopy(alerts)
            changed["groups"][group]["rules"][rule] = mutant
            (copied / "alerts.yml").write_text(yaml.safe_dump(changed))
            broken += 1
            if promtool(copied, name).returncode == 0:
                wrong.append(f"{name}: the tests pass if it {what}")
for line in wrong:
    print(line, file=sys.stderr)
print(f"{len(rules)} alerts, broken in {broken} ways")
sys.exit(bool(wrong))
