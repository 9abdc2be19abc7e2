"""The templates, resolved as CloudFormation would, are requests that CloudWatch's own model takes, and right ones.

cfn-lint judges their form. Here their functions are evaluated for several hosts, botocore validates the result as
PutMetricAlarm and PutDashboard, the dashboard's body must have its documented shape, and the alarms' expressions (which
are Python as well) must cross their thresholds where they should.
"""

import json
import pathlib
import re
import sys

import boto3
import jsonschema
import yaml
from botocore.stub import Stubber

FOLDER = pathlib.Path(__file__).parents[2] / "deploy" / "cloudwatch"
TOPIC = "arn:aws:sns:us-east-1:123456789012:oncall"
JOB = {"Host": "my-job/algo-1", "Cores": "96", "Topic": TOPIC}
GPUS = {"Gpus": "8"}
PEERS = {"Peer1": "my-job/algo-2", "Peer2": "my-job/algo-3"}
VARIANT = {"EndpointName": "shop", "VariantName": "a", "Topic": TOPIC}
BOARD = {"Name": "my-job", "Hosts": "my-job/algo-1,my-job/algo-2", "Cores": "96"}
ENDPOINT = {"Name": "shop", "EndpointName": "shop", "Variants": "a,b", "Cores": "48"}
wrong = []


def expect(holds, what):
    if not holds:
        wrong.append(what)


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, each as its long form."""


def function(loader, suffix, node):
    read = {"scalar": loader.construct_scalar, "sequence": loader.construct_sequence}[node.id]
    argument = read(node) if node.id == "scalar" else read(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": argument}


Loader.add_multi_constructor("!", function)


class Template:
    """A template with values for its parameters."""

    def __init__(self, name, given):
        self.template = yaml.load((FOLDER / name).read_text(), Loader)
        parameters = self.template["Parameters"]
        assert given.keys() <= parameters.keys(), given
        self.values = {"AWS::Region": "us-east-1"}
        for parameter, of in parameters.items():
            value = str(given[parameter] if parameter in given else of["Default"])
            if "AllowedPattern" in of:
                expect(re.search(of["AllowedPattern"], value), f"{name}: {parameter}={value} is refused")
            self.values[parameter] = value.split(",") if of["Type"] == "CommaDelimitedList" else value

    def condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def resolve(self, node):
        if isinstance(node, list):
            return [self.resolve(one) for one in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), *_ = node.items()
            known = getattr(self, name.removeprefix("Fn::").lower() + "_", None)
            if known and (name.startswith("Fn::") or name in ("Ref", "Condition")):
                return known(argument)
        return {key: self.resolve(value) for key, value in node.items()}

    def ref_(self, name):
        return self.values[name]

    def condition_(self, name):
        return self.condition(name)

    def if_(self, argument):
        name, yes, no = argument
        return self.resolve(yes if self.condition(name) else no)

    def equals_(self, argument):
        one, other = (str(self.resolve(side)) for side in argument)
        return one == other

    def not_(self, argument):
        return not self.resolve(argument[0])

    def and_(self, argument):
        return all(self.resolve(argument))

    def or_(self, argument):
        return any(self.resolve(argument))

    def join_(self, argument):
        between, parts = argument
        return between.join(self.resolve(parts))

    def sub_(self, argument):
        text, own = argument if isinstance(argument, list) else (argument, {})
        values = self.values | self.resolve(own)
        text = re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: values[found[1]], text)
        # What is for CloudWatch to fill in.
        return text.replace("${!", "${")

    def resources(self):
        for name, resource in self.template["Resources"].items():
            if "Condition" not in resource or self.condition(resource["Condition"]):
                yield name, self.resolve(resource["Properties"])


client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def judge(operation, **request):
    """Botocore's verdict by the service's model."""
    answers = {"put_dashboard": {"DashboardValidationMessages": []}}
    with Stubber(client) as nowhere:
        nowhere.add_response(operation, answers.get(operation, {}), request)
        getattr(client, operation)(**request)


def alarms(given, file="alarms.yaml"):
    made = dict(Template(file, given).resources())
    for name, alarm in made.items():
        # CloudFormation turns the text of a number into one.
        alarm["Threshold"] = float(alarm["Threshold"])
        judge("put_metric_alarm", AlarmName=name, **alarm)
        for metric in alarm.get("Metrics", []):
            expect(("Expression" in metric) != ("MetricStat" in metric), f"{name}: {metric}")
        returned = [metric for metric in alarm.get("Metrics", []) if metric.get("ReturnData", True)]
        expect("Metrics" not in alarm or len(returned) == 1, f"{name}: one of its metrics is what it watches")
        expect(alarm["AlarmActions"] == [TOPIC], f"{name}: nobody is told")
    return made


MATH = {
    "IF": lambda condition, yes, no: yes if condition else no,
    "ABS": abs,
    "MAX": max,
    "MIN": min,
}


def fires(alarm, **values):
    """Whether an alarm's expressions cross its threshold for these values of its metrics."""
    expressions = {metric["Id"]: metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric}
    expect({metric["Id"] for metric in alarm["Metrics"]} == values.keys() | expressions.keys(), f"{values}: not all")
    for name, expression in expressions.items():
        values[name] = eval(expression, {"__builtins__": {}}, MATH | values)  # of our own template
    # The last one is what is returned.
    value, threshold = values[list(expressions)[-1]], alarm["Threshold"]
    return value < threshold if alarm["ComparisonOperator"].startswith("Less") else value > threshold


ALWAYS = {"AgentSilent", "MemoryHigh", "DiskFull"}
cpu_only = alarms(JOB)
expect(cpu_only.keys() == ALWAYS, f"without GPUs and peers: {[*cpu_only]}")
transform = alarms(JOB | {"Namespace": "/aws/sagemaker/TransformJobs"})
expect(transform.keys() == ALWAYS - {"DiskFull"}, f"of a transform job: {[*transform]}")

expect("Default" not in Template("alarms.yaml", JOB).template["Parameters"]["Host"], "somebody's host has to be named")

full = alarms(JOB | GPUS | PEERS)
expect(full.keys() == ALWAYS | {"GpuIdle", "GpuLost", "Straggler"}, f"of all: {[*full]}")
idle, lost, straggler = full["GpuIdle"], full["GpuLost"], full["Straggler"]
expect(fires(idle, busy=30, held=400), "30 % of 800 are idle")
expect(not fires(alarms(JOB | {"Gpus": "4"})["GpuIdle"], busy=30, held=400), "30 % of 400 are not")
expect(not fires(idle, busy=0, held=0.1), "without a job nothing is idle")
expect((lost["Threshold"], lost["TreatMissingData"]) == (8, "breaching"), "a lost GPU is one of eight")
expect(full["AgentSilent"]["TreatMissingData"] == "breaching", "silence is what this alarm is for")
expect(fires(straggler, own=400, peer1=700, peer2=720), "37.5 points below the middle")
expect(not fires(straggler, own=600, peer1=700, peer2=720), "12.5 points")
expect(not fires(straggler, own=700, peer1=720, peer2=100), "the other one is the straggler")
cores = alarms(JOB | PEERS)["Straggler"]
expect(fires(cores, own=9600, peer1=4800, peer2=4900) and not fires(cores, own=5800, peer1=4800, peer2=4900), "by core")
expect({metric["MetricStat"]["Metric"]["MetricName"] for metric in cores["Metrics"][:3]} == {"CPUUtilization"}, "CPU")


def metrics(alarm):
    """Each metric that an alarm looks at, with its namespace, dimensions and statistic."""
    for metric in alarm.get("Metrics", [alarm]):
        if "Expression" not in metric:
            of = metric.get("MetricStat", {}).get("Metric", metric)
            yield of["Namespace"], of["Dimensions"], metric.get("MetricStat", {}).get("Stat", metric.get("Statistic"))


variant = alarms(VARIANT, "endpoint-alarms.yaml")
expect(variant.keys() == ALWAYS, f"of an endpoint without GPUs: {[*variant]}")
variant = alarms(VARIANT | GPUS, "endpoint-alarms.yaml")
expect(variant.keys() == ALWAYS | {"GpuIdle", "GpuLost"}, f"of an endpoint: {[*variant]}")
both = [{"Name": "EndpointName", "Value": "shop"}, {"Name": "VariantName", "Value": "a"}]
for name, alarm in variant.items():
    for namespace, dimensions, _ in metrics(alarm):
        expect((namespace, dimensions) == ("/aws/sagemaker/Endpoints", both), f"{name}: {namespace} {dimensions}")
statistics = {name: [statistic for *_, statistic in metrics(alarm)] for name, alarm in variant.items()}
expect(statistics["MemoryHigh"] == statistics["DiskFull"] == ["Maximum"], "one full host is full among others")
expect(statistics["GpuLost"] == ["Minimum"], "one lost GPU is lost among other hosts")
silent, idle, lost = variant["AgentSilent"], variant["GpuIdle"], variant["GpuLost"]
expect((silent["Statistic"], silent["TreatMissingData"]) == ("SampleCount", "breaching"), "silence of an endpoint")
expect(fires(idle, busy=30, held=400) and not fires(idle, busy=50, held=400), "4 % of eight are idle, 6 % are not")
expect(not fires(idle, busy=0, held=0.1), "without a model nothing is idle")
expect(idle["Metrics"][0]["MetricStat"]["Period"] * idle["EvaluationPeriods"] == 3600, "an hour without requests")
expect((lost["Threshold"], lost["TreatMissingData"]) == (8, "breaching"), "a lost GPU of an endpoint")


# Amazon CloudWatch, "Dashboard Body Structure and Syntax": what of it is used here, and nothing else.
def closed(required, **properties):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


TEXT, NUMBER, POSITION = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
EXPRESSION = closed(
    ["expression"],
    expression={"type": "string", "maxLength": 2048},
    label=TEXT,
    id={"type": "string", "pattern": "^[a-z][a-zA-Z0-9_]*$"},
)
ANNOTATION = closed(["value"], label=TEXT, value=NUMBER)
SHAPE = closed(
    ["widgets"],
    start={"type": "string", "pattern": "^-P"},
    periodOverride={"enum": ["auto", "inherit"]},
    widgets={
        "type": "array",
        "maxItems": 500,
        "items": closed(
            ["type", "properties"],
            type={"const": "metric"},
            x={**POSITION, "maximum": 23},
            y=POSITION,
            width={"type": "integer", "minimum": 1, "maximum": 24},
            height={"type": "integer", "minimum": 1, "maximum": 1000},
            properties=closed(
                ["metrics", "region"],
                title=TEXT,
                region=TEXT,
                view={"enum": ["timeSeries", "singleValue", "gauge", "bar", "pie", "table"]},
                period={"type": "integer", "multipleOf": 60, "minimum": 60},
                yAxis=closed([], left=closed([], min=NUMBER, max=NUMBER)),
                annotations=closed([], horizontal={"type": "array", "items": ANNOTATION}),
                metrics={
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "minItems": 1, "maxItems": 1, "items": EXPRESSION},
                },
            ),
        ),
    },
)
NAMES = r"""\("[^"]+"(?: OR "[^"]+")*\)"""
SEARCHED = {
    "dashboard.yaml": rf"""{{"[^"]+",Host}} MetricName="\w+" Host={NAMES}""",
    "endpoint-dashboard.yaml": r"""{"[^"]+",EndpointName,VariantName} EndpointName="[^"]+" """
    + rf"""VariantName={NAMES} MetricName="\w+\"""",
}


def board(given, file="dashboard.yaml"):
    ((_, properties),) = Template(file, given).resources()
    search = re.compile(rf"SEARCH\('({SEARCHED[file]})', '(?:Average|Minimum|Maximum)', 60\)")
    judge("put_dashboard", **properties)
    body = json.loads(properties["DashboardBody"])
    jsonschema.validate(body, SHAPE)
    for widget in body["widgets"]:
        expect(widget["x"] + widget["width"] <= 24, f"{widget}: beyond the grid")
        for (metric,) in widget["properties"]["metrics"]:
            searched = search.search(metric["expression"])
            expect(searched and len(searched[1]) <= 1024, f"{metric}: no search, or one of more than 1024 characters")
    return body


def bounds(body):
    """The upper ends that are drawn, by title, and what is shown at all."""
    titled = {widget["properties"]["title"]: widget["properties"] for widget in body["widgets"]}
    drawn = {title: of["annotations"]["horizontal"][0] for title, of in titled.items() if "annotations" in of}
    return {title: bound["value"] for title, bound in drawn.items()}, {title.split(",")[0] for title in titled}


body = board(BOARD | GPUS)
expect(body == json.loads((FOLDER / "dashboard.json").read_text()), "dashboard.json is not what dashboard.yaml makes")
drawn, shown = bounds(body)
expect(shown == {"CPU", "Memory", "Disk", "GPU", "GPU memory"}, f"{shown} are shown")
expect(all(value == (9600 if title.startswith("CPU") else 800) for title, value in drawn.items()), f"bounds: {drawn}")
expect(len(drawn) == 6, f"the sums are drawn against N * 100: {drawn}")
averages = sum("AVG(SEARCH(" in json.dumps(widget) for widget in body["widgets"])
expect(averages == 5, f"{averages} averages over Host")
expect(bounds(board(BOARD))[1] == {"CPU", "Memory", "Disk"}, "no GPUs, no widgets of GPUs")

body = board(ENDPOINT | GPUS, "endpoint-dashboard.yaml")
pasted = json.loads((FOLDER / "endpoint-dashboard.json").read_text())
expect(body == pasted, "endpoint-dashboard.json is not what endpoint-dashboard.yaml makes")
drawn, shown = bounds(body)
expect(shown == {"CPU", "Memory", "Disk", "GPU", "GPU memory", "GPUs that answer"}, f"{shown} are shown")
expect(len(drawn) == 7 and drawn["GPUs that answer, on the host with fewest"] == 8, f"bounds of an endpoint: {drawn}")
expect(drawn["CPU, average over hosts"] == 4800 and drawn["GPU, average over hosts"] == 800, f"bounds: {drawn}")
said = json.dumps(body)
expect(said.count("'Minimum'") == 6 and said.count("'Maximum'") == 5, "the lowest and highest of a host")
expect(said.count("${PROP('Dim.VariantName')}") == 16, "each line is called by its variant")
few = bounds(board(ENDPOINT, "endpoint-dashboard.yaml"))[1]
expect(few == {"CPU", "Memory", "Disk"}, f"no GPUs of an endpoint, no widgets of GPUs: {few}")

for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
