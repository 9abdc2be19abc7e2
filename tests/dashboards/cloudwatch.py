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
BOARD = {"Name": "my-job", "Hosts": "my-job/algo-1,my-job/algo-2", "Cores": "96"}
NOTHING = object()
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
        return re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: values[found[1]], text)

    def resources(self):
        for name, resource in self.template["Resources"].items():
            if "Condition" not in resource or self.condition(resource["Condition"]):
                yield name, self.resolve(resource["Properties"])

    def takes_its_parameters(self):
        rules = self.template.get("Rules", {}).values()
        return all(self.resolve(one["Assert"]) for rule in rules for one in rule["Assertions"])


client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def judge(operation, **request):
    """Botocore's verdict by the service's model."""
    answers = {"put_dashboard": {"DashboardValidationMessages": []}}
    with Stubber(client) as nowhere:
        nowhere.add_response(operation, answers.get(operation, {}), request)
        getattr(client, operation)(**request)


def alarms(given):
    template = Template("alarms.yaml", given)
    expect(template.takes_its_parameters(), f"alarms.yaml refuses {given}")
    made = dict(template.resources())
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
endpoint = alarms({"EndpointName": "shop", "VariantName": "a", "Cores": "4", "Topic": TOPIC} | GPUS | PEERS)
expect(endpoint.keys() == ALWAYS | {"GpuIdle", "GpuLost"}, f"of an endpoint: {[*endpoint]}")
both = [{"Name": "EndpointName", "Value": "shop"}, {"Name": "VariantName", "Value": "a"}]
expect(endpoint["MemoryHigh"]["Dimensions"] == both, "an endpoint's dimensions")
for neither in ({}, {"EndpointName": "shop"}, {"Host": "a", "EndpointName": "shop", "VariantName": "a"}):
    taken = Template("alarms.yaml", {"Cores": "4", "Topic": TOPIC} | neither).takes_its_parameters()
    expect(not taken, f"{neither} is no identity")

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
SEARCHED = r"""{"[^"]+",Host} MetricName="\w+" Host=\("[^"]+"(?: OR "[^"]+")*\)"""
SEARCH = re.compile(rf"SEARCH\('({SEARCHED})', 'Average', 60\)")


def board(given):
    ((_, properties),) = Template("dashboard.yaml", given).resources()
    judge("put_dashboard", **properties)
    body = json.loads(properties["DashboardBody"])
    jsonschema.validate(body, SHAPE)
    for widget in body["widgets"]:
        expect(widget["x"] + widget["width"] <= 24, f"{widget}: beyond the grid")
        for (metric,) in widget["properties"]["metrics"]:
            searched = SEARCH.search(metric["expression"])
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

for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
