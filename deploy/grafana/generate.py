"""Writes the dashboards beside this file, for Grafana 10 and 11: python3 deploy/grafana/generate.py

A panel is a row here and sixty lines of JSON there. What holds for all of them stands once: the data source is a
variable, gaps stay gaps, sums are drawn against N * 100.
"""

import json
import pathlib

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
BOUND = "N * 100"
# The window series hold the mean and the peak of each 15 seconds, so that a scrape misses nothing.
MEAN = '{%s, window="15s", stat="mean"}'
PEAK = '{%s, window="15s", stat="max"}'


def percent(value):
    """The options of a percentage that ends at 100."""
    return {"unit": "percent", "min": 0, "max": 100, **value}


def graph(title, *series, unit="percent", width=12, maximum=None, about=""):
    """A graph of (expression, legend) pairs. One whose legend is BOUND is the upper end, drawn as a dashed line."""
    defaults = {
        "unit": unit,
        "min": 0,
        "custom": {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": False},
    }
    if maximum is not None:
        defaults["max"] = maximum
    dashed = [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        {"id": "custom.fillOpacity", "value": 0},
        {"id": "color", "value": {"mode": "fixed", "fixedColor": "text"}},
    ]
    overrides = [{"matcher": {"id": "byName", "options": BOUND}, "properties": dashed}]
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    bounded = any(legend == BOUND for _, legend in series)
    field = {"defaults": defaults, "overrides": overrides if bounded else []}
    return panel("timeseries", title, series, field, options, width, 8, about)


def signed(title, *series, unit, width=12, about=""):
    """A graph that may go below zero."""
    made = graph(title, *series, unit=unit, width=width, about=about)
    del made["fieldConfig"]["defaults"]["min"]
    return made


def stat(title, *series, unit="none", width=4, about="", bad=None):
    """Numbers of now; red from `bad` on."""
    steps = [{"color": "green", "value": None}] + ([] if bad is None else [{"color": "red", "value": bad}])
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "none" if bad is None else "value",
        "graphMode": "none",
        "textMode": "auto",
    }
    return panel("stat", title, series, {"defaults": defaults, "overrides": []}, options, width, 4, about)


def bars(title, *series, width=12, about=""):
    """A bar for each device, 0 to 100 percent."""
    defaults = percent({"thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]}})
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic",
        "orientation": "horizontal",
    }
    return panel("bargauge", title, series, {"defaults": defaults, "overrides": []}, options, width, 8, about)


def table(title, expression, *hidden, width=24, about=""):
    """The labels of series that tell by being there."""
    field = {"defaults": {}, "overrides": []}
    made = panel("table", title, [(expression, "")], field, {"showHeader": True}, width, 6, about)
    made["targets"][0] |= {"format": "table", "instant": True}
    excluded = dict.fromkeys(["Time", "Value", "__name__", "job", *hidden], True)
    made["transformations"] = [{"id": "organize", "options": {"excludeByName": excluded}}]
    return made


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def panel(kind, title, series, field, options, width, height, about):
    instant = kind in ("stat", "bargauge")
    targets = [
        {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
        | ({"instant": True} if instant else {})
        for index, (expression, legend) in enumerate(series)
    ]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": field,
        "options": options,
        "targets": targets,
    }


def placed(panels):
    """Numbers the panels and lays them out from left to right, like words."""
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        place = one["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        one["id"] = number
        one["gridPos"] = {"x": x, "y": y, **place}
        x, height = x + place["w"], max(height, place["h"])
    return panels


def variable(name, label, query, *, regex="", several=False):
    made = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "Variable"},
        "regex": regex,
        "refresh": 2,
        "sort": 3 if several else 1,  # by number, or by letter
        "multi": several,
        "includeAll": several,
        "options": [],
    }
    if several:
        made |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return made


def dashboard(uid, title, about, variables, panels):
    source = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "options": []}
    return {
        "uid": uid,
        "title": title,
        "description": about,
        "tags": ["hostgauge"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"title": "hostgauge", "type": "dashboards", "tags": ["hostgauge"], "asDropdown": True, "keepTime": True}
        ],
        "templating": {"list": [source, *variables]},
        "annotations": {"list": []},
        "panels": placed(panels),
    }


HOST = variable("Host", "Host", "label_values(hostgauge_build_info, Host)")
GPU = variable("gpu", "GPU", 'label_values(hostgauge_gpu_up{Host="$Host"}, gpu)', several=True)
JOB = variable("job_name", "Job", "label_values(hostgauge_build_info, Host)", regex="/(.+)\\/[^\\/]+$/")


def host():
    this = 'Host="$Host"'
    mean, peak = MEAN % this, PEAK % this
    return dashboard(
        "hostgauge-host",
        "hostgauge / Host",
        "One host: is it using what it pays for?",
        [HOST],
        [
            stat("Cores", (f"hostgauge_cpu_cores{{{this}}}", "")),
            stat("GPUs", (f"hostgauge_gpus{{{this}}}", ""), about="Lost ones included. Empty without GPUs."),
            stat("GPUs reporting", (f"hostgauge_gpus_reporting{{{this}}}", "")),
            stat("Memory", (f"hostgauge_memory_limit_bytes{{{this}}}", ""), unit="bytes"),
            stat("Collectors failing", (f"sum(1 - hostgauge_collector_success{{{this}}})", ""), bad=1),
            stat("Version", (f"hostgauge_build_info{{{this}}}", "{{version}}")),
            graph(
                "CPU, sum over cores",
                (f"hostgauge_cpu_utilization_window_percent{mean}", "mean of 15 s"),
                (f"hostgauge_cpu_utilization_window_percent{peak}", "peak"),
                (f"100 * hostgauge_cpu_cores{{{this}}}", BOUND),
            ),
            graph(
                "GPU, sum over GPUs",
                (f"hostgauge_gpu_utilization_window_percent{mean}", "mean of 15 s"),
                (f"hostgauge_gpu_utilization_window_percent{peak}", "peak"),
                (f"100 * hostgauge_gpus{{{this}}}", BOUND),
                about="Absent while a GPU has no value: a part would look like less load.",
            ),
            graph(
                "Memory",
                (f"hostgauge_memory_utilization_window_percent{mean}", "mean of 15 s"),
                (f"hostgauge_memory_utilization_window_percent{peak}", "peak"),
                maximum=100,
            ),
            graph(
                "GPU memory, sum over GPUs",
                (f"hostgauge_gpu_memory_utilization_window_percent{mean}", "mean of 15 s"),
                (f"hostgauge_gpu_memory_utilization_window_percent{peak}", "peak"),
                (f"100 * hostgauge_gpus{{{this}}}", BOUND),
            ),
            graph("Disk", (f"hostgauge_disk_utilization_percent{{{this}}}", "used"), maximum=100),
            graph(
                "File systems",
                (f"hostgauge_filesystem_used_bytes{{{this}}}", "{{path}} used"),
                (f"hostgauge_filesystem_size_bytes{{{this}}}", "{{path}} size"),
                unit="bytes",
            ),
            row("Cores"),
            bars("Each core, now", (f"hostgauge_cpu_core_utilization_percent{{{this}}}", "{{core}}")),
            graph(
                "Waiting, not busy",
                (f"100 * rate(hostgauge_cpu_wait_seconds_total{{{this}}}[$__rate_interval])", "{{mode}}"),
                about="iowait: for storage. steal: the hypervisor gave the time to others. Of one core each.",
            ),
            row("The agent"),
            graph(
                "Collectors that fail",
                (f"1 - hostgauge_collector_success{{{this}}}", "{{collector}}"),
                unit="none",
                width=8,
                maximum=1,
            ),
            graph(
                "Late ticks, stalls, clock steps",
                (f"increase(hostgauge_disturbances_total{{{this}}}[$__rate_interval])", "{{kind}}"),
                unit="none",
                width=8,
            ),
            graph(
                "Its own CPU time",
                (f"100 * rate(hostgauge_process_cpu_seconds_total{{{this}}}[$__rate_interval])", "of one core"),
                width=8,
            ),
            graph(
                "How long a reading takes",
                (f"hostgauge_collector_duration_seconds{{{this}}}", "{{collector}}"),
                unit="s",
            ),
            graph("A reading that hangs", (f"hostgauge_collector_stuck_seconds{{{this}}}", "{{collector}}"), unit="s"),
            table("Why a collector fails", f"hostgauge_collector_failure{{{this}}}", about="Empty when all is well."),
        ],
    )


def job():
    these = 'Host=~"$job_name/[^/]+"'
    mean = MEAN % these

    def average(title, name, bound, maximum=None):
        """As SageMaker's console shows a job of several instances, with the extremes beside it."""
        series = [(f"{how}({name}{mean})", words) for how, words in AVERAGES]
        series += [(f"100 * avg({bound}{{{these}}})", BOUND)] if bound else []
        return graph(title, *series, maximum=maximum)

    def each(title, name, bound, maximum=None):
        series = [(f"max by (Host) ({name}{mean})", "{{Host}}")]
        series += [(f"100 * max({bound}{{{these}}})", BOUND)] if bound else []
        return graph(title, *series, maximum=maximum)

    def apart(title, name, count):
        share = f"max by (Host) ({name}{mean}) / on (Host) max by (Host) ({count}{{{these}}})"
        about = "Points of 100. One host away from all others slows a synchronous job down."
        return signed(title, (f"{share} - scalar(quantile(0.5, {share}))", "{{Host}}"), unit="percent", about=about)

    cpu = ("hostgauge_cpu_utilization_window_percent", "hostgauge_cpu_cores")
    gpu = ("hostgauge_gpu_utilization_window_percent", "hostgauge_gpus")
    gpu_memory = ("hostgauge_gpu_memory_utilization_window_percent", "hostgauge_gpus")
    memory = ("hostgauge_memory_utilization_window_percent", None, 100)
    disk = ("hostgauge_disk_utilization_window_percent", None, 100)
    return dashboard(
        "hostgauge-job",
        "hostgauge / Job",
        "A job of several hosts, by the part of Host before its last slash.",
        [JOB],
        [
            stat("Hosts", (f"count(hostgauge_build_info{{{these}}})", "")),
            stat("Cores", (f"sum(hostgauge_cpu_cores{{{these}}})", "")),
            stat("GPUs", (f"sum(hostgauge_gpus{{{these}}})", "")),
            stat("GPUs reporting", (f"sum(hostgauge_gpus_reporting{{{these}}})", "")),
            stat(
                "GPUs held and idle",
                (f"100 * avg(rate(hostgauge_gpu_held_idle_seconds_total{{{these}}}[$__rate_interval]))", ""),
                unit="percent",
                about="Share of the GPUs' time at 0 % while a program held memory.",
            ),
            stat("Collectors failing", (f"sum(1 - hostgauge_collector_success{{{these}}})", ""), bad=1),
            row("Average over Host, as SageMaker's console shows it"),
            average("GPU", *gpu),
            average("CPU", *cpu),
            average("GPU memory", *gpu_memory),
            average("Memory", *memory),
            average("Disk", *disk),
            row("Each host"),
            each("GPU", *gpu),
            each("CPU", *cpu),
            each("GPU memory", *gpu_memory),
            each("Memory", *memory),
            each("Disk", *disk),
            row("Stragglers: away from the job's median"),
            apart("GPU, away from the median", *gpu),
            apart("CPU, away from the median", *cpu),
        ],
    )


AVERAGES = (("avg", "average"), ("min", "least busy host"), ("max", "busiest host"))


def gpus():
    these = 'Host="$Host", gpu=~"$gpu"'
    host = 'Host="$Host"'

    def gauge(name, title, unit="percent", maximum=None, width=8, about=""):
        series = (f"hostgauge_gpu_{name}{{{these}}}", "GPU {{gpu}}")
        return graph(title, series, unit=unit, maximum=maximum, width=width, about=about)

    def rates(title, *names, unit="none", factor="", width=12, about=""):
        series = [
            (f"{factor}rate(hostgauge_gpu_{name}{{{these}}}[$__rate_interval])", f"GPU {{{{gpu}}}} {words}".strip())
            for name, words in names
        ]
        return graph(title, *series, unit=unit, width=width, about=about)

    return dashboard(
        "hostgauge-gpu",
        "hostgauge / GPU",
        "The GPUs of a host: how busy, how full, how well.",
        [HOST, GPU],
        [
            stat("GPUs", (f"hostgauge_gpus{{{host}}}", "")),
            stat("GPUs reporting", (f"hostgauge_gpus_reporting{{{host}}}", "")),
            stat("Not answering", (f"sum(1 - hostgauge_gpu_up{{{these}}})", ""), bad=1),
            stat("XIDs", (f"sum(hostgauge_gpu_xid_errors_total{{{these}}}) or vector(0)", ""), bad=1),
            stat("Power", (f"sum(hostgauge_gpu_power_watts{{{these}}})", ""), unit="watt"),
            stat("Standby", (f"hostgauge_gpu_standby{{{host}}}", ""), about="1 while the driver is let go."),
            graph(
                "Sum over all GPUs",
                (f"hostgauge_gpu_utilization_window_percent{MEAN % host}", "mean of 15 s"),
                (f"hostgauge_gpu_utilization_window_percent{PEAK % host}", "peak"),
                (f"100 * hostgauge_gpus{{{host}}}", BOUND),
            ),
            graph(
                "Busy time of each GPU",
                (f"100 * rate(hostgauge_gpu_busy_seconds_total{{{these}}}[$__rate_interval])", "GPU {{gpu}}"),
                maximum=100,
                about="By the counter, which is exact at any scrape interval.",
            ),
            rates(
                "Held and idle",
                ("held_idle_seconds_total", ""),
                factor="100 * ",
                unit="percent",
                about="Time at 0 % while a program held memory: a job that waits, hangs or was forgotten.",
            ),
            gauge("longest_idle_seconds", "Longest stall of the last minute", unit="s", width=12),
            gauge("device_memory_utilization_percent", "Memory used", maximum=100, width=12),
            graph(
                "Memory",
                (f"hostgauge_gpu_device_memory_used_bytes{{{these}}}", "GPU {{gpu}} used"),
                (f"hostgauge_gpu_device_memory_reserved_bytes{{{these}}}", "GPU {{gpu}} reserved"),
                (f"hostgauge_gpu_device_memory_total_bytes{{{these}}}", "GPU {{gpu}} total"),
                unit="bytes",
            ),
            row("How it is used"),
            gauge("sm_utilization_percent", "SMs", maximum=100, width=6, about="From Hopper on."),
            gauge("tensor_utilization_percent", "Tensor cores", maximum=100, width=6, about="From Hopper on."),
            gauge("sm_occupancy_percent", "Occupancy", maximum=100, width=6, about="From Hopper on."),
            gauge("dram_utilization_percent", "Memory bandwidth", maximum=100, width=6, about="From Hopper on."),
            rates("PCIe", ("pcie_sent_bytes_total", "sent"), ("pcie_received_bytes_total", "received"), unit="Bps"),
            rates(
                "NVLink", ("nvlink_sent_bytes_total", "sent"), ("nvlink_received_bytes_total", "received"), unit="Bps"
            ),
            gauge("memory_controller_utilization_percent", "Memory controller", maximum=100, width=12),
            gauge(
                "utilization_coverage_ratio",
                "Share of the time that was sampled",
                unit="percentunit",
                maximum=1,
                width=12,
            ),
            row("Health"),
            gauge("power_watts", "Power", unit="watt"),
            gauge("temperature_celsius", "Temperature", unit="celsius"),
            gauge("memory_temperature_celsius", "Temperature of the memory", unit="celsius"),
            rates("Power by the energy counter", ("energy_joules_total", ""), unit="watt"),
            rates(
                "Clocks held down", ("throttled_seconds_total", "{{reason}}"), factor="100 * ", unit="percent"
            ),
            graph(
                "XIDs so far",
                (f"hostgauge_gpu_xid_errors_total{{{these}}}", "GPU {{gpu}} XID {{xid}} ({{class}})"),
                unit="none",
                width=8,
            ),
            graph(
                "Memory errors in the card's life",
                (f"hostgauge_gpu_ecc_errors_total{{{these}}}", "GPU {{gpu}} {{kind}}"),
                (f"hostgauge_gpu_remapped_rows_total{{{these}}}", "GPU {{gpu}} rows {{cause}}"),
                unit="none",
                width=8,
            ),
            gauge("losses_total", "Times lost", unit="none"),
            table("Why a GPU does not answer", f"hostgauge_gpu_failure{{{these}}}", about="Empty when all is well."),
            table(
                "What the driver wants done",
                f'hostgauge_gpu_recovery_action{{{these}, action!="none"}}',
                about="Empty when all is well.",
            ),
            table("Which GPUs", f"hostgauge_gpu_info{{{these}}}"),
            row("MIG instances"),
            graph(
                "Busy",
                (f"hostgauge_gpu_instance_utilization_percent{{{these}}}", "GPU {{gpu}} {{mig_uuid}}"),
                maximum=100,
                about="From Hopper on.",
            ),
            graph(
                "Memory used",
                (f"hostgauge_gpu_instance_memory_utilization_percent{{{these}}}", "GPU {{gpu}} {{mig_uuid}}"),
                maximum=100,
            ),
        ],
    )


def delivery():
    this = 'Host="$Host"'

    def of(name):
        return f"hostgauge_delivery_{name}{{{this}}}"

    def per_minute(name):
        return f"60 * rate(hostgauge_delivery_{name}{{{this}}}[$__rate_interval])"

    return dashboard(
        "hostgauge-delivery",
        "hostgauge / Delivery",
        "What became of every datum: taken = published + pending + dropped.",
        [HOST],
        [
            stat("Taken", (of("taken_total"), "{{exporter}}")),
            stat("Published", (of("published_total"), "{{exporter}}")),
            stat("Waiting", (of("pending"), "{{exporter}}")),
            stat(
                "Given up",
                (f"{of('taken_total')} - {of('published_total')} - {of('pending')}", "{{exporter}}"),
                bad=1,
            ),
            stat("Perhaps twice", (of("ambiguous_total"), "{{exporter}}")),
            stat("Survives a crash", (of("durable"), "{{exporter}}"), about="0: what waits is in memory only."),
            graph(
                "Data a minute",
                (per_minute("taken_total"), "{{exporter}} taken"),
                (per_minute("published_total"), "{{exporter}} published"),
                unit="none",
            ),
            graph("Waiting", (of("pending"), "{{exporter}}"), unit="none"),
            graph(
                "Age of the oldest that waits",
                (f"time() - {of('oldest_pending_timestamp_seconds')}", "{{exporter}}"),
                unit="s",
                about="Absent while nothing waits.",
            ),
            graph(
                "Since the last accepted request",
                (f"time() - {of('last_success_timestamp_seconds')}", "{{exporter}}"),
                unit="s",
            ),
            graph("Requests a minute", (per_minute("requests_total"), "{{outcome}}"), unit="none"),
            graph("Given up, by reason", (of("dropped_total"), "{{exporter}} {{reason}}"), unit="none"),
            graph(
                "Sent",
                (f"rate(hostgauge_delivery_sent_bytes_total{{{this}}}[$__rate_interval])", "{{exporter}}"),
                unit="Bps",
            ),
            signed("Our clock less the service's", (of("clock_skew_seconds"), "{{exporter}}"), unit="s"),
        ],
    )


if __name__ == "__main__":
    for name, made in (("host", host()), ("job", job()), ("gpu", gpus()), ("delivery", delivery())):
        pathlib.Path(__file__).with_name(f"{name}.json").write_text(json.dumps(made, indent=2) + "\n")
