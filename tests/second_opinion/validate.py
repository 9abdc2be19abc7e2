"""Lets botocore judge requests by the service's model, as the AWS CLI does: PutMetricData as JSON, one on each line."""

import json
import sys

import boto3
from botocore.stub import Stubber

client = boto3.client("cloudwatch")
with Stubber(client) as nowhere:
    for line in sys.stdin:
        request = json.loads(line)
        nowhere.add_response("put_metric_data", {}, request)
        client.put_metric_data(**request)
