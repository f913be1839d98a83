"""Renders the manifests as a cluster's owner would, and holds them to schemas and to qSticky.

`make docs` writes the PrometheusRule anew, from the rules that promtool tests.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from qsticky import __version__, config
from qsticky.healthcheck import DEFAULT_HEALTH_FILE
from tests.deploy import CACHE
from tests.real import require

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
PROMETHEUS = ROOT / "deploy" / "prometheus"
WATCHDOG = PROMETHEUS / "watchdog.yml"
RULES = KUBERNETES / "monitoring" / "prometheusrule.yaml"
# The first that has sidecar containers without a feature gate, the one that made them final, and
# the newest.
VERSIONS = ("1.29", "1.33", "1.37")

# Debian 12's own is too old to know components.
KUBECTL = CACHE / "kubectl" / "usr" / "bin" / "kubectl"

HEADER = """\
# Made by `make docs` of deploy/prometheus: change the rules there.
# yamllint disable rule:line-length
"""

Object = dict[str, Any]


def kustomize(folder: str) -> str:
    """Render a folder of the manifests."""
    kubectl = str(KUBECTL) if KUBECTL.exists() else require("kubectl")
    command = [kubectl, "kustomize", str(KUBERNETES / folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def rendered() -> str:
    return kustomize("example")


@pytest.fixture(scope="module")
def objects(rendered: str) -> dict[str, Object]:
    """All objects by kind, those of which there are several by kind and name."""
    found: dict[str, Object] = {}
    for item in yaml.safe_load_all(rendered):
        kind, name = item["kind"], item["metadata"]["name"]
        found[f"{kind}/{re.sub(r'-[a-z0-9]{10}$', '', name)}"] = item
        found.setdefault(kind, item)
    return found


@pytest.fixture(scope="module")
def pod(objects: dict[str, Object]) -> Object:
    template: Object = objects["Deployment"]["spec"]["template"]
    return template


@pytest.fixture(scope="module")
def gluetun(pod: Object) -> Object:
    return container(pod, "gluetun")


@pytest.fixture(scope="module")
def qsticky(pod: Object) -> Object:
    return container(pod, "qsticky")


def container(pod: Object, name: str) -> Object:
    """Return a container of a Pod, by its name."""
    spec = pod["spec"]
    (found,) = (one for one in spec["initContainers"] + spec["containers"] if one["name"] == name)
    result: Object = found
    return result


def environment(container: Object) -> dict[str, str]:
    """Return the variables of a container that are set to a value."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_know_every_field(version: str, rendered: str, tmp_path: Path) -> None:
    native = [
        item for item in yaml.safe_load_all(rendered) if "monitoring" not in item["apiVersion"]
    ]
    assert len(native) == 7
    manifest = tmp_path / "rendered.yaml"
    manifest.write_text(yaml.safe_dump_all(native))
    validate = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", version]
    ran = subprocess.run([*validate, str(manifest)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_base_stands_without_monitoring() -> None:
    kinds = [item["kind"] for item in yaml.safe_load_all(kustomize("base"))]
    assert sorted(kinds) == ["Deployment", *2 * ["PersistentVolumeClaim"], "Service"]


def test_the_image_is_of_this_version(qsticky: Object) -> None:
    assert qsticky["image"] == f"ghcr.io/qsticky/qsticky:{__version__}"
    assert f"?ref=v{__version__}" in (KUBERNETES / "example" / "kustomization.yaml").read_text()


def test_gluetun_starts_first_and_qsticky_holds_up_nobody(pod: Object) -> None:
    sidecars = pod["spec"]["initContainers"]
    assert [one["name"] for one in sidecars] == ["gluetun", "qsticky"]
    assert {one["restartPolicy"] for one in sidecars} == {"Always"}
    assert ["startupProbe" in one for one in sidecars] == [True, False]
    assert [one["name"] for one in pod["spec"]["containers"]] == ["qbittorrent"]


def test_two_pods_never_run_at_once(objects: dict[str, Object]) -> None:
    assert objects["Deployment"]["spec"]["replicas"] == 1
    assert objects["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


def test_qsticky_is_configured_by_what_the_container_gets(
    pod: Object,
    qsticky: Object,
    objects: dict[str, Object],
    tmp_path: Path,
) -> None:
    (volume,) = (one for one in pod["spec"]["volumes"] if one["name"] == "secrets")
    secret = objects["Secret/qsticky"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (folder,) = (m["mountPath"] for m in qsticky["volumeMounts"] if m["name"] == "secrets")
    for name in secret["data"]:
        (tmp_path / name).write_text(f"the {name}")
    variables = {n: v.replace(folder, str(tmp_path)) for n, v in environment(qsticky).items()}
    loaded = config.load(variables, tmp_path / "none")
    assert loaded.qbittorrent_pass.reveal() == "the qbittorrent_pass"
    assert loaded.gluetun_apikey.reveal() == "the gluetun_apikey"
    assert (loaded.qbittorrent_url, loaded.gluetun_url) == (
        "http://localhost:8080",
        "http://localhost:8000",
    )


def test_the_services_of_the_namespace_do_not_configure_qsticky(pod: Object) -> None:
    assert pod["spec"]["enableServiceLinks"] is False  # QBITTORRENT_PORT=tcp://10.96.0.1:8080


def test_the_health_file_can_be_written_on_a_read_only_root(pod: Object, qsticky: Object) -> None:
    (health,) = (one for one in qsticky["volumeMounts"] if one["name"] == "health")
    assert health["mountPath"] == str(Path(DEFAULT_HEALTH_FILE).parent)
    assert {"name": "health", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}} in pod["spec"][
        "volumes"
    ]


def test_the_port_file_is_the_one_that_gluetun_writes(gluetun: Object, qsticky: Object) -> None:
    (written,) = (one for one in gluetun["volumeMounts"] if one["name"] == "port-file")
    (read,) = (one for one in qsticky["volumeMounts"] if one["name"] == "port-file")
    assert written["mountPath"] == "/tmp/gluetun"
    assert environment(qsticky)["GLUETUN_PORT_FILE"] == f"{read['mountPath']}/forwarded_port"


def test_gluetun_permits_the_key_that_qsticky_sends(gluetun: Object) -> None:
    role = environment(gluetun)["HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE"]
    assert json.loads(role) == {"auth": "apikey", "apikey": "$(CONTROL_SERVER_KEY)"}
    names = [one["name"] for one in gluetun["env"]]
    assert names.index("CONTROL_SERVER_KEY") < names.index("HTTP_CONTROL_SERVER_AUTH_DEFAULT_ROLE")
    (key,) = (one["valueFrom"] for one in gluetun["env"] if one["name"] == "CONTROL_SERVER_KEY")
    assert key["secretKeyRef"]["key"] == "gluetun_apikey"


def test_every_port_that_is_reached_from_outside_passes_gluetun_s_firewall(
    pod: Object, gluetun: Object, objects: dict[str, Object]
) -> None:
    let_in = {int(port) for port in environment(gluetun)["FIREWALL_INPUT_PORTS"].split(",")}
    service = objects["Service"]["spec"]
    assert {port["targetPort"] for port in service["ports"]} == let_in
    spec = pod["spec"]
    named = {
        port["containerPort"]
        for one in spec["initContainers"] + spec["containers"]
        for port in one.get("ports", ())
    }
    assert named == let_in
    assert service["selector"].items() <= pod["metadata"]["labels"].items()


def test_the_webui_is_reached_as_the_port_that_qbittorrent_knows(
    pod: Object, objects: dict[str, Object]
) -> None:
    (webui,) = (one for one in objects["Service"]["spec"]["ports"] if one["name"] == "webui")
    knows = environment(container(pod, "qbittorrent"))["WEBUI_PORT"]
    assert {webui["port"], webui["targetPort"]} == {int(knows)}


def test_a_port_out_of_sync_shows_and_takes_nothing_away(
    qsticky: Object, objects: dict[str, Object]
) -> None:
    assert qsticky["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "metrics"}
    assert qsticky["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "metrics"}
    assert objects["Service"]["spec"]["publishNotReadyAddresses"] is True


def test_qsticky_runs_under_the_restricted_standard(pod: Object, qsticky: Object) -> None:
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = qsticky["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert qsticky["resources"]["limits"]["memory"] == "64Mi"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_only_gluetun_goes_beyond_the_baseline_standard(pod: Object) -> None:
    spec = pod["spec"]
    added = {
        one["name"]: one["securityContext"]["capabilities"].get("add", [])
        for one in spec["initContainers"] + spec["containers"]
        if "capabilities" in one["securityContext"]
    }
    assert added == {"gluetun": ["NET_ADMIN"], "qsticky": []}
    (host_path,) = (one for one in spec["volumes"] if "hostPath" in one)
    users = [
        one["name"]
        for one in spec["initContainers"] + spec["containers"]
        if any(mount["name"] == host_path["name"] for mount in one["volumeMounts"])
    ]
    assert (host_path["hostPath"]["path"], users) == ("/dev/net/tun", ["gluetun"])
    assert "privileged: true" not in (KUBERNETES / "base" / "deployment.yaml").read_text()


def test_prometheus_finds_the_metrics_under_the_job_that_the_alerts_name(
    pod: Object, qsticky: Object, objects: dict[str, Object]
) -> None:
    monitor = objects["PodMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in qsticky["ports"]}
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job["job_name"]}]


def test_the_prometheus_rules_are_those_that_promtool_tests() -> None:
    wanted = prometheus_rules()
    if os.environ.get("WRITE_DOCS"):
        RULES.write_text(wanted)
    assert RULES.read_text() == wanted, "the rules have changed: `make docs` writes them anew"
    for document, file in zip(yaml.safe_load_all(wanted), rule_files(), strict=True):
        assert document["spec"] == yaml.safe_load(file.read_text()), file


def prometheus_rules() -> str:
    """Write every file of rules as a PrometheusRule, its lines being indented, comments and all."""
    documents = []
    for file in rule_files():
        text = file.read_text().removeprefix("---\n")
        indented = re.sub(r"^(?=.)", "  ", text, flags=re.MULTILINE)
        documents.append(
            "apiVersion: monitoring.coreos.com/v1\n"
            "kind: PrometheusRule\n"
            f"metadata:\n  name: qsticky-{file.stem}\n"
            f"spec:\n{indented}"
        )
    return HEADER + "---\n".join(documents)


def rule_files() -> list[Path]:
    """Return the files of rules, but for the dead man's switch: an operator's stack has its own."""
    return [file for file in PROMETHEUS.glob("*.yml") if _has_rules(file) and file != WATCHDOG]


def _has_rules(file: Path) -> bool:
    return "groups" in yaml.safe_load(file.read_text())
