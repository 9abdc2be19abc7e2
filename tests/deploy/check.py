"""Checks the files of deploy/ with each form's own tool: check.py FORM HOSTGAUGE. What is wrong stands in the exit code's words."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
TOOLS = pathlib.Path(sys.executable).parent
HOSTGAUGE = sys.argv[2]


def tool(*command, **options):
    """Runs a tool that must be content."""
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if ended.returncode != 0:
        sys.exit(f"{command}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def takes(where, arguments, variables):
    """The agent takes these arguments and environment variables as they stand there."""
    # The host's folders are not mounted where the tests run.
    arguments = [argument.replace("=/host/root", "=/").replace("=/host/", "=/") for argument in arguments]
    environment = {"PATH": os.environ["PATH"], **variables}
    if arguments[:1] == ["run"]:
        arguments = arguments[1 : arguments.index("--")]
    ended = subprocess.run([HOSTGAUGE, "config", *arguments], env=environment, capture_output=True, text=True)
    if ended.returncode != 0 or "is no option" in ended.stderr:
        sys.exit(f"{where}: hostgauge {arguments} {variables}: {ended.stderr}")


def pods(document):
    spec = document.get("spec", {}).get("template", {}).get("spec")
    return [spec] if spec else []


def manifests(texts):
    """Valid for the newest Kubernetes and for an old one, and each of our containers starts."""
    ours = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            # The operator's own kinds have no schema among Kubernetes'.
            documents = [one for one in yaml.safe_load_all(text) if one and one["kind"] != "PodMonitor"]
            path = pathlib.Path(folder, name)
            path.write_text(yaml.safe_dump_all(documents))
            for version in ("1.37.0", "1.29.0"):
                tool(TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, path)
            for pod in (pod for document in documents for pod in pods(document)):
                containers = pod.get("initContainers", []) + pod["containers"]
                for container in (one for one in containers if one["image"].startswith("hostgauge:")):
                    given = {one["name"]: one.get("value", "1") for one in container.get("env", [])}
                    arguments = [one for one in container.get("args", []) if not one.startswith("--config=")]
                    takes(name, arguments, given)
                    ours += 1
                    security = container["securityContext"]
                    assert security["capabilities"] == {"drop": ["ALL"]} and security["readOnlyRootFilesystem"], name
    assert ours >= len(texts), f"{ours} containers in {list(texts)}"


def kubernetes():
    manifests({path.name: path.read_text() for path in (DEPLOY / "kubernetes").glob("*.yaml")})


def helm():
    render = ["go", "run", pathlib.Path(__file__).with_name("render.go"), DEPLOY / "helm/hostgauge"]
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
    trials = {
        "default": [],
        "all": [
            "config.cloudwatch=true",
            'config.disk-path=["/", "/tmp"]',
            "env=[{name: AWS_REGION, value: us-east-1}]",
            "podMonitor.enabled=true",
            "runtimeClassName=nvidia",
            "imagePullSecrets=[{name: secret}]",
            "spool.hostPath=/var/lib/hostgauge",
            "serviceAccount.annotations={eks.amazonaws.com/role-arn: role}",
            "nodeSelector={gpu: 'true'}",
        ],
    }
    rendered = {f"{name}.yaml": tool(*render, *values, env=environment) for name, values in trials.items()}
    manifests(rendered)
    assert "PodMonitor" in rendered["all.yaml"] and "PodMonitor" not in rendered["default.yaml"]
    for text in rendered.values():
        for document in yaml.safe_load_all(text):
            if document["kind"] == "ConfigMap":
                with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                    file.write(document["data"]["hostgauge.toml"])
                    file.flush()
                    takes("the chart's configuration", ["--config", file.name], {})


def docker():
    for file in DEPLOY.glob("*/Dockerfile"):
        tool(TOOLS / "hadolint", file)


def cloudformation(name, resource):
    """cfn-lint knows the service's own rules for a resource."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, f"{name}.json")
        path.write_text(json.dumps({"Resources": {"Trial": resource}}))
        tool(TOOLS / "cfn-lint", path)


def iam():
    policy = json.loads((DEPLOY / "iam/policy.json").read_text())
    cloudformation("policy", {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": policy}})


def capitals(value):
    """CloudFormation's spelling of the keys."""
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: capitals(inner) for key, inner in value.items()}
    return [capitals(inner) for inner in value] if isinstance(value, list) else value


def ecs():
    task = json.loads((DEPLOY / "ecs/task-definition.json").read_text())
    import botocore.session
    import botocore.validate

    shape = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(task, shape)
    if report.has_errors():
        sys.exit(report.generate_report())
    cloudformation("task", {"Type": "AWS::ECS::TaskDefinition", "Properties": capitals(task)})
    for container in (one for one in task["containerDefinitions"] if one["image"].startswith("hostgauge:")):
        takes("ecs", container["command"], {one["name"]: one["value"] for one in container["environment"]})


def sagemaker():
    for line in (DEPLOY / "sagemaker/Dockerfile").read_text().splitlines():
        if line.startswith("ENTRYPOINT"):
            entry = json.loads(line.removeprefix("ENTRYPOINT "))
            assert entry[:2] == ["hostgauge", "run"] and "--" in entry, entry
            takes("sagemaker", entry[1:], {"HOSTGAUGE_CLOUDWATCH": "true", "HOSTGAUGE_CLOUDWATCH_PERIOD": "60s"})
            return
    sys.exit("sagemaker/Dockerfile has no ENTRYPOINT")


def systemd():
    unit = (DEPLOY / "systemd/hostgauge.service").read_text()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "hostgauge.service")
        path.write_text(unit.replace("ExecStart=/usr/bin/hostgauge", f"ExecStart={HOSTGAUGE}"))
        said = tool("systemd-analyze", "verify", "--man=no", path)
        assert not said.strip(), said
        # 0 is all of systemd's walls, 10 none.
        tool("systemd-analyze", "security", "--offline=true", "--threshold=25", path)


def slurm():
    for script in (DEPLOY / "slurm").glob("*.sh"):
        tool("shellcheck", script)


def sbom():
    """Valid, the same each time, and of the program as it was built: no more, no less."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    small = ["--no-default-features", "--features", "cli"]
    texts = {name: tool(DEPLOY / "sbom", *options) for name, options in {"whole": [], "small": small}.items()}
    for name, text in texts.items():
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        assert error is None, f"{name}: {error}"
        for word in ("/tmp", "/root", "/home", str(DEPLOY.parent), "registry+", "index.crates.io", "://"):
            assert word not in text, f"{name}: {word}"
    assert texts["small"] == tool(DEPLOY / "sbom", *small)
    parts = {name: {one["bom-ref"] for one in json.loads(text)["components"]} for name, text in texts.items()}
    names = {name: {one.split("/")[1].split("@")[0] for one in of} for name, of in parts.items()}
    assert parts["small"] < parts["whole"] and "pkg:npm/uplot@1.6.32" in parts["small"], parts["small"] - parts["whole"]
    assert {"aws-sdk-cloudwatch", "rustls", "ratatui"} <= names["whole"] - names["small"], names
    # Compilers and tests are not in the program.
    assert not names["whole"] & {"syn", "proc-macro2", "cc", "proptest", "tempfile"}, names["whole"]
    # Whose code is in there, the places of panics tell.
    program = pathlib.Path(HOSTGAUGE).read_bytes()
    found = re.findall(rb"/registry/src/[^/]+/([a-zA-Z0-9_-]+?)-([0-9]+\.[0-9]+\.[0-9][0-9A-Za-z.+-]*)/", program)
    found = {f"pkg:cargo/{name.decode()}@{version.decode()}" for name, version in found}
    assert len(found) > 30 and found <= parts["whole"], found - parts["whole"]


globals()[sys.argv[1]]()
