"""Reads metrics back with boto3: queries as JSON on standard input, the data points of each on standard output."""

import json
import sys

import boto3

# One call takes either, never both.
STATISTICS = (
    {"Statistics": ["SampleCount", "Sum", "Average", "Minimum", "Maximum"]},
    {"ExtendedStatistics": ["p50", "p90"]},
)

client = boto3.client("cloudwatch")
# The agent speaks CBOR: a mistake that both protocols share is less likely than one in either.
assert client.meta.service_model.resolved_protocol == "json", client.meta.service_model.resolved_protocol

answers = []
for query in json.load(sys.stdin):
    points = {}
    for statistics in STATISTICS:
        for point in client.get_metric_statistics(**query, **statistics)["Datapoints"]:
            point["Timestamp"] = int(point["Timestamp"].timestamp())
            points.setdefault(point["Timestamp"], {}).update(point)
    answers.append(list(points.values()))
json.dump(answers, sys.stdout)
