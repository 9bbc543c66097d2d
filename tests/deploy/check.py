#!/usr/bin/env python3
"""What is in deploy/, checked as far as it can be without a cluster.

    tests/deploy/check.py PGWEIR

PGWEIR is the program. A check whose tools are missing says SKIPPED and what to install; with PGWEIR_DEPLOY_FULL=1 it fails.
scripts/setup deploy installs them all.
"""

import base64
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "drivers"
FULL = os.environ.get("PGWEIR_DEPLOY_FULL") == "1"
PGWEIR = str(pathlib.Path(sys.argv[1]).resolve())

# Packages that scripts/setup has from Python's registry.
sys.path[:0] = map(str, TOOLS.glob("venv/lib/python3*/site-packages"))


class Missing(Exception):
    """A tool that a check needs."""


def module(name, package):
    try:
        return __import__(name)
    except ImportError:
        raise Missing(package) from None


def tool(name, package):
    for place in [TOOLS / name, shutil.which(name)]:
        if place and pathlib.Path(place).is_file():
            return str(place)
    raise Missing(package)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def documents(text):
    return [document for document in module("yaml", "python3-yaml").safe_load_all(text) if document]


# ---- manifests, from kustomize and from helm ----


@functools.cache
def kustomized():
    kubectl = tool("kubectl", "kubectl (kubectl kustomize)")
    names = ["base", "sidecar", "overlays/development", "overlays/production"]
    built = [documents(run(kubectl, "kustomize", DEPLOY / "kubernetes" / name)) for name in names]
    return [(f"kubernetes/{name}", manifests) for name, manifests in zip(names, built)]


def rendered(values):
    """The chart's manifests with these values over its own."""
    go = tool("go", "golang-go")
    if not pathlib.Path("/usr/share/gocode/src/github.com/Masterminds/sprig").exists():
        raise Missing("golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)
        file.flush()
        program = ROOT / "tests" / "deploy" / "render.go"
        return documents(run(go, "run", program, DEPLOY / "helm" / "pgweir", "weir", file.name, env=environment))


VALUES = {
    "as they are": {},
    "everything on": {
        "networkPolicy": {"enabled": True, "serverPorts": [5432, 6000]},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podAnnotations": {"note": "x"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "service": {"annotations": {"a": "b"}},
    },
    "everything off": {
        "autoscaling": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "secrets": {"existing": "theirs"},
        "preStopSeconds": 0,
        "drainTimeoutSeconds": 0,
    },
    "a long drain": {"drainTimeoutSeconds": 600, "replicas": 9},
}


@functools.cache
def helm():
    return [(f"helm, {name}", rendered(values)) for name, values in VALUES.items()]


def manifests():
    """All of them; what cannot be had is missed at the end, when the others have been checked."""
    missing = []
    for source in [kustomized, helm]:
        try:
            yield from source()
        except Missing as one:
            missing.append(str(one))
    if missing:
        raise Missing(" ".join(missing))


def check_kustomize_builds():
    counts = {name: len(built) for name, built in kustomized()}
    assert counts["kubernetes/base"] == 9, counts
    assert counts["kubernetes/sidecar"] == 3, counts


def check_helm_renders():
    kinds = {name: sorted(one["kind"] for one in built) for name, built in helm()}
    assert len(kinds["helm, everything on"]) == 9, kinds
    off = kinds["helm, everything off"]
    assert off == ["ConfigMap", "Deployment", "Service", "ServiceAccount"], off
    (deployment,) = [one for one in dict(helm())["helm, everything off"] if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "theirs"


def check_helm_values_are_as_their_schema_says():
    jsonschema = module("jsonschema", "jsonschema, from Python's registry")
    yaml = module("yaml", "python3-yaml")
    chart = DEPLOY / "helm" / "pgweir"
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    for over in VALUES.values():
        jsonschema.validate(over, schema)
    assert set(schema["properties"]) - {"global"} == set(values), "a value without a schema, or the other way"
    for wrong in [{"replicas": -1}, {"novelty": 1}, {"image": {}}, {"drainTimeoutSeconds": "30s"}, {"service": {"type": "Any"}}]:
        try:
            jsonschema.validate(wrong, schema)
        except jsonschema.ValidationError:
            continue
        raise AssertionError(f"{wrong} is taken")


# ---- what Kubernetes takes ----


def check_kubernetes_knows_every_field():
    """By the models of Kubernetes' own client: an unknown field, a wrong type and a missing one are failures."""
    module("kubernetes", "kubernetes 37 or later, from Python's registry")
    from kubernetes import client

    models = {
        "ConfigMap": client.V1ConfigMap, "Secret": client.V1Secret, "Service": client.V1Service,
        "ServiceAccount": client.V1ServiceAccount, "Deployment": client.V1Deployment,
        "PodDisruptionBudget": client.V1PodDisruptionBudget, "NetworkPolicy": client.V1NetworkPolicy,
        "HorizontalPodAutoscaler": client.V2HorizontalPodAutoscaler,
    }  # fmt: skip
    for name, built in manifests():
        for one in built:
            # Not Kubernetes' own: the Prometheus operator's.
            if one["kind"] != "PodMonitor":
                fits(client, one, models[one["kind"]].__name__, f"{name}: {one['kind']}")


def fits(client, value, kind, at):
    if kind.startswith("List["):
        assert isinstance(value, list), f"{at}: {value!r} is no list"
        for element in value:
            fits(client, element, kind[5:-1], f"{at}[]")
    elif kind.startswith("Dict["):
        assert isinstance(value, dict), f"{at}: {value!r} is no table"
        for key, element in value.items():
            fits(client, element, kind[5:-1].split(", ")[1], f"{at}.{key}")
    elif kind == "bytes":
        base64.b64decode(value, validate=True)
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{at}: {value!r} is no {kind}"
    elif kind != "object":
        model = getattr(client, kind)
        names = {json_name: name for name, json_name in model.attribute_map.items()}
        for key, element in value.items():
            assert key in names, f"{at}: there is no {key}"
            fits(client, element, model.openapi_types[names[key]], f"{at}.{key}")
        required = {model.attribute_map[name] for name, field in model.model_fields.items() if field.is_required()}
        assert required <= set(value), f"{at}: {required - set(value)} is missing"


def check_manifests_refer_to_what_is_there():
    for name, built in manifests():
        by_kind = {}
        for one in built:
            by_kind.setdefault(one["kind"], []).append(one)
        names = {kind: {one["metadata"]["name"] for one in all} for kind, all in by_kind.items()}
        (deployment,) = by_kind["Deployment"]
        pod = deployment["spec"]["template"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), name
        for kind in ["Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"]:
            for one in by_kind.get(kind, []):
                spec = one["spec"]
                selector = spec["selector"] if kind != "NetworkPolicy" else spec["podSelector"]
                selector = selector.get("matchLabels", selector)
                assert selector.items() <= pod["metadata"]["labels"].items(), f"{name}: {kind} selects others"
        for one in by_kind.get("HorizontalPodAutoscaler", []):
            assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"], name
            assert "replicas" not in deployment["spec"], f"{name}: two set the number of replicas"
        for volume in pod["spec"]["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in names["ConfigMap"], f"{name}: {volume}"
            elif "Secret" in names:
                assert volume["secret"]["secretName"] in names["Secret"], f"{name}: {volume}"
        account = pod["spec"].get("serviceAccountName")
        assert account is None or account in names["ServiceAccount"], name


def pgweir_of(built):
    """The pod, and pgweir's container in it."""
    (deployment,) = [one for one in built if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    containers = pod.get("initContainers", []) + pod["containers"]
    (container,) = [one for one in containers if one["name"] == "pgweir"]
    return pod, container


def check_pods_are_hardened_and_hot_reload():
    for name, built in manifests():
        pod, container = pgweir_of(built)
        security = {**pod.get("securityContext", {}), **container["securityContext"]}
        assert security["runAsNonRoot"] and security["runAsUser"] == 65534, name
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"], name
        assert security["capabilities"]["drop"] == ["ALL"], name
        assert security["seccompProfile"]["type"] == "RuntimeDefault", name
        assert pod["automountServiceAccountToken"] is False, name
        for mount in container["volumeMounts"]:
            assert "subPath" not in mount, f"{name}: {mount} would never change"
        kinds = {one["kind"] for one in built}
        assert "ConfigMap" in kinds, name
        if "initContainers" in pod:
            assert container["restartPolicy"] == "Always", f"{name}: not a sidecar"


def files_of(built):
    """The files that pgweir's container sees, by path."""
    pod, container = pgweir_of(built)
    held = {}
    for one in built:
        if one["kind"] in ("ConfigMap", "Secret"):
            held[one["kind"], one["metadata"]["name"]] = one.get("stringData") or one["data"]
    files = {}
    for mount in container["volumeMounts"]:
        (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
        if "configMap" in volume:
            found = held["ConfigMap", volume["configMap"]["name"]]
        else:
            found = held.get(("Secret", volume["secret"]["secretName"]), {"monitor-password": "theirs"})
        for name, text in found.items():
            files[f"{mount['mountPath']}/{name}"] = text
    return files


def seconds(text):
    (number, unit) = re.fullmatch(r"([0-9]+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def check_what_pods_run_with_is_good_and_fits():
    """The mounted configuration passes `pgweir check`; ports, probes and grace periods are those it says."""
    import tomllib

    for name, built in manifests():
        pod, container = pgweir_of(built)
        files = files_of(built)
        config = container["args"][container["args"].index("--config") + 1]
        assert config in files, f"{name}: {config} is not mounted"
        with tempfile.TemporaryDirectory() as directory:
            for path, text in files.items():
                file = pathlib.Path(directory + path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.replace("/etc/pgweir", f"{directory}/etc/pgweir"))
            run(PGWEIR, "check", "--config", directory + config)
        parsed = tomllib.loads(files[config])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        http = next(port for port_name, port in ports.items() if port_name.endswith("http"))
        assert parsed["http"]["address"] == f"0.0.0.0:{http}", name
        listens = parsed["listen"]["address"]
        if "postgres" in ports:
            assert listens == f"0.0.0.0:{ports['postgres']}", name
        stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        needs = seconds(parsed["listen"]["drain_timeout"]) + int(stop[1])
        assert pod["terminationGracePeriodSeconds"] > needs, f"{name}: {needs} s to end"
        for probe, path in [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
            if probe in container:
                get = container[probe]["httpGet"]
                assert (get["path"], ports[get["port"]]) == (path, http), f"{name}: {probe}"
        assert "startupProbe" in container and "livenessProbe" in container, name


# ---- Prometheus and Grafana ----


def known_metrics():
    """The metrics of docs/metrics.md, which a test holds against a real scrape, with their labels."""
    known = {}
    row = re.compile(r"\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.*?) \|")
    for name, kind, labels in row.findall((ROOT / "docs" / "metrics.md").read_text()):
        labels = set(re.findall(r"`(\w+)`", labels))
        parts = ["_bucket", "_sum", "_count"] if kind == "histogram" else [""]
        for part in parts:
            known[name + part] = labels | ({"le"} if part == "_bucket" else set())
    assert len(known) > 40, known
    return known


def names_known(expression, known, at):
    for name, labels in re.findall(r"\b((?:pgweir|process)_[a-z_]+)(?:\{([^}]*)\})?", expression):
        assert name in known, f"{at}: there is no metric {name}"
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels or ""):
            assert label in known[name] | {"job", "instance"}, f"{at}: {name} has no label {label}"


def expressions():
    yaml = module("yaml", "python3-yaml")
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for panel in json.loads((DEPLOY / "grafana" / "pgweir.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']!r}", target["expr"]
    for page in ["metrics.md", "runbooks.md", "kubernetes.md", "troubleshooting.md", "operating.md"]:
        for code in re.findall(r"`([^`\n]*pgweir_[^`\n]*)`", (ROOT / "docs" / page).read_text()):
            if re.search(r"[({ ]", code):
                yield f"docs/{page}", code


def check_dashboards_alerts_and_pages_name_metrics_that_exist():
    known = known_metrics()
    asked = list(expressions())
    assert len(asked) > 50, len(asked)
    for at, expression in asked:
        names_known(expression, known, at)
    # And the other way: what nobody ever looks at is not worth having, but for what identifies.
    shown = " ".join(expression for _, expression in asked)
    useful = [name for name in known if name.startswith("pgweir_") and re.search(rf"\b{name}\b", shown)]
    assert len(useful) > 25, useful


def check_the_dashboard_is_one():
    dashboard = json.loads((DEPLOY / "grafana" / "pgweir.json").read_text())
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers)), "two panels have one number"
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not taken & cells, f"{panel['title']} lies upon another"
        taken |= cells
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__all"}
    assert used <= variables, used - variables


def check_alerts_have_runbooks_and_are_tested():
    yaml = module("yaml", "python3-yaml")
    runbooks = (ROOT / "docs" / "runbooks.md").read_text()
    rules = [rule for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    headings = re.findall(r"^## (Pgweir\w+)$", runbooks, re.MULTILINE)
    assert headings == names, (headings, names)
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}", rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning") and rule["annotations"]["summary"], rule["alert"]


def check_prometheus_takes_rules_and_queries():
    promtool = tool("promtool", "promtool (scripts/setup deploy)")
    run(promtool, "check", "rules", "alerts.yaml", cwd=DEPLOY / "prometheus")
    run(promtool, "test", "rules", "alerts_test.yaml", cwd=DEPLOY / "prometheus")
    rules = []
    for number, (at, expression) in enumerate(expressions()):
        if not at.startswith("docs/") or re.search(r"\b(sum|rate|max|topk|histogram_quantile)\b", expression):
            expression = expression.replace("$__rate_interval", "5m").replace("$job", "a").replace("$instance", "b")
            rules.append({"record": f"query{number}", "expr": expression})
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
        file.flush()
        run(promtool, "check", "rules", file.name)


# ---- systemd, compose, the image ----


def check_systemd_takes_the_unit():
    analyze = tool("systemd-analyze", "systemd")
    with tempfile.TemporaryDirectory() as directory:
        unit = (DEPLOY / "systemd" / "pgweir.service").read_text()
        # The program is somewhere else here.
        unit = unit.replace("/usr/local/bin/pgweir", PGWEIR)
        version = int(re.match(r"systemd ([0-9]+)", run(analyze, "--version")).group(1))
        if version < 253:
            unit = unit.replace("Type=notify-reload", "Type=notify")
        file = pathlib.Path(directory) / "pgweir.service"
        file.write_text(unit)
        done = subprocess.run([analyze, "verify", file], capture_output=True, text=True)
        own = [line for line in done.stderr.splitlines() if "pgweir" in line]
        assert not own, "\n".join(own)


def check_compose_and_the_image_agree():
    compose = module("yaml", "python3-yaml").safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["pgweir"]
    assert seconds(service["stop_grace_period"]) > 30, "listen.drain_timeout"
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    (last,) = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert re.fullmatch(r"[1-9][0-9]*(:[0-9]+)?", last), "runAsNonRoot needs a number to see that it is not 0"
    assert dockerfile.count("FROM ") == 2 and "--locked" in dockerfile
    toolchain = re.search(r'channel = "([^"]+)"', (ROOT / "rust-toolchain.toml").read_text()).group(1)
    assert f"FROM rust:{toolchain}-" in dockerfile and f"RUSTUP_TOOLCHAIN={toolchain}" in dockerfile, toolchain
    version = re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
    chart = module("yaml", "python3-yaml").safe_load((DEPLOY / "helm" / "pgweir" / "Chart.yaml").read_text())
    assert chart["appVersion"] == version, (chart["appVersion"], version)
    production = (DEPLOY / "kubernetes" / "overlays" / "production" / "kustomization.yaml").read_text()
    assert f'newTag: "{version}"' in production, version


def main():
    worst = 0
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        title = name.removeprefix("check_").replace("_", " ")
        try:
            check()
            print(f"ok       {title}")
        except Missing as missing:
            print(f"SKIPPED  {title}: install {missing}")
            worst = max(worst, int(FULL))
        except (AssertionError, KeyError, ValueError) as failure:
            print(f"FAILED   {title}: {failure!r}" if not str(failure) else f"FAILED   {title}: {failure}")
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
