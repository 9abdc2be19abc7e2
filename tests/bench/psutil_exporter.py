"""The exporter that people write in a quarter of an hour: CPU per core, memory and the root's disk, at each scrape.

psutil_exporter.py ADDRESS PORT
"""

import sys
import time

import psutil
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily


class Host:
    def collect(self):
        cores = GaugeMetricFamily("psutil_cpu_percent", "Busy.", labels=["core"])
        for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
            cores.add_metric([str(core)], percent)
        yield cores
        yield GaugeMetricFamily("psutil_memory_percent", "Used.", value=psutil.virtual_memory().percent)
        yield GaugeMetricFamily("psutil_disk_percent", "Used.", value=psutil.disk_usage("/").percent)


registry = CollectorRegistry()
registry.register(Host())
start_http_server(int(sys.argv[2]), addr=sys.argv[1], registry=registry)
while True:
    time.sleep(3600)
