"""The monitoring stack: that its files fit each other, and that the real programs take them.

Grafana, Loki and Alloy are not to be had where the tests run. Prometheus and Alertmanager are run
with the shipped files; only addresses and waiting times are others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.end_to_end.command import QSticky
from tests.observability.alerts import alerts
from tests.observability.prometheus import Prometheus, Target, of_3
from tests.observability.story import Instance
from tests.real import free_port, missing, require, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
MAIN_FILES = sorted(set(COMPOSE.glob("*.yaml")) - {COMPOSE / "monitoring.yaml"})
BOUND = 20

Config = dict[str, Any]


def compose(*files: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have compose read files, with no more than these variables in its environment."""
    binary = Path(sys.executable).with_name("docker-compose")
    if not binary.exists():
        missing("docker-compose")
    named = [argument for file in files for argument in ("-f", str(file))]
    return subprocess.run(
        [str(binary), *named, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )


def resolved(*files: Path, **variables: str) -> Config:
    """What compose makes of files; it must have nothing to say about them."""
    asked_for = set(re.findall(r"\$\{(\w+):\?", "".join(file.read_text() for file in files)))
    needed = dict.fromkeys(asked_for, "1024")
    done = compose(*files, **{**needed, **variables})
    assert (done.returncode, done.stderr) == (0, "")
    config: Config = json.loads(done.stdout)
    return config


@pytest.fixture(scope="module")
def stack() -> Config:
    return resolved(COMPOSE / "monitoring.yaml")


@pytest.fixture(scope="module")
def services(stack: Config) -> Mapping[str, Config]:
    found: Mapping[str, Config] = stack["services"]
    return found


@pytest.fixture(scope="module")
def container(
    services: Mapping[str, Config], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Of each service, the files of the repository as its container sees them."""
    roots = {}
    for name, service in services.items():
        roots[name] = tmp_path_factory.mktemp(name)
        for mount in service["volumes"]:
            source = Path(mount["source"])
            target = roots[name] / mount["target"].lstrip("/")
            if mount["type"] == "bind" and source.is_relative_to(ROOT):
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return roots


def test_every_file_that_is_mounted_is_there_and_cannot_be_written(
    services: Mapping[str, Config],
) -> None:
    for name, service in services.items():
        for mount in service["volumes"]:
            if mount["type"] == "bind":
                assert mount["read_only"], (name, mount)
                source = Path(mount["source"])
                assert source == Path("/var/run/docker.sock") or source.exists(), (name, source)
            else:
                assert mount["source"] in ("prometheus", "alertmanager", "grafana", "loki", "alloy")


def test_nothing_may_do_more_than_it_must(services: Mapping[str, Config]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), service["image"]
        assert service["restart"] == "unless-stopped"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices"}
        sockets = [one for one in service["volumes"] if one["source"].endswith("docker.sock")]
        assert len(sockets) == (name == "alloy")


def test_only_this_machine_can_reach_it_unless_the_user_wants_it(
    services: Mapping[str, Config],
) -> None:
    def addresses(config: Mapping[str, Config]) -> set[str]:
        return {port["host_ip"] for one in config.values() for port in one.get("ports", [])}

    assert addresses(services) == {"127.0.0.1"}
    wanted = resolved(COMPOSE / "monitoring.yaml", MONITORING_ADDRESS="192.0.2.7")
    assert addresses(wanted["services"]) == {"192.0.2.7"}


def test_grafana_does_not_start_without_a_password() -> None:
    done = compose(COMPOSE / "monitoring.yaml")
    assert done.returncode != 0
    assert "GRAFANA_ADMIN_PASSWORD" in done.stderr
    assert "deploy/compose/.env" in done.stderr


def qsticky_of(config: Config) -> tuple[str, set[str]]:
    """Where qSticky is reached: the service whose network it has, and that one's networks."""
    services = config["services"]
    mode = services["qsticky"].get("network_mode", "service:qsticky")
    host = mode.removeprefix("service:")
    return host, set(services[host]["networks"])


@pytest.mark.parametrize("main", MAIN_FILES, ids=lambda path: path.stem)
def test_joined_with_each_main_file_prometheus_reaches_qsticky(main: Path) -> None:
    host, _ = qsticky_of(resolved(main))
    network = "gluetun" if host == "gluetun" else "shared"
    joined = resolved(main, COMPOSE / "monitoring.yaml", QSTICKY_NETWORK=network)
    prometheus = joined["services"]["prometheus"]
    assert qsticky_of(joined)[1] & prometheus["networks"].keys()
    (targets,) = (
        Path(mount["source"]) for mount in prometheus["volumes"] if "scrape" in mount["target"]
    )
    ((address,),) = (group["targets"] for group in yaml.safe_load(targets.read_text()))
    assert address == f"{host}:10058"


def test_there_is_a_main_file_for_each_way_to_reach_qsticky() -> None:
    assert {qsticky_of(resolved(main))[0] for main in MAIN_FILES} == {"gluetun", "qsticky"}


def test_the_page_s_commands_are_ones_that_compose_takes() -> None:
    commands = re.findall(r"^docker compose (.*) up -d$", PAGE, re.MULTILINE)
    assert commands
    for command in commands:
        resolved(*(ROOT / name for name in re.findall(r"-f (\S+)", command)))


def test_the_logging_driver_s_snippet_joins_the_stack(tmp_path: Path) -> None:
    snippet = tmp_path / "driver.yaml"
    page = (ROOT / "docs" / "logs.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    snippet.write_text(text)
    for main in MAIN_FILES:
        joined = resolved(main, COMPOSE / "monitoring.yaml", snippet)
        assert joined["services"]["qsticky"]["logging"]["driver"] == "loki"
        (port,) = joined["services"]["loki"]["ports"]
        assert (port["host_ip"], port["published"]) == ("127.0.0.1", "3100")


def test_prometheus_takes_its_configuration(container: Mapping[str, Path]) -> None:
    promtool(container["prometheus"] / "etc/prometheus/prometheus.yml")


def test_alertmanager_takes_its_configuration(container: Mapping[str, Path]) -> None:
    file = container["alertmanager"] / "etc/alertmanager/alertmanager.yml"
    checked(require("amtool"), "check-config", file)


def test_prometheus_takes_what_the_page_says_to_add(tmp_path: Path) -> None:
    snippets = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(snippets) == 3
    for number, snippet in enumerate(snippets):
        file = tmp_path / f"{number}.yml"
        (password,) = re.findall(r"password_file: ([^}]+)", snippet) or [""]
        if password:  # promtool looks for it
            (tmp_path / "password").touch()
            snippet = snippet.replace(password, str(tmp_path / "password"))
        file.write_text(snippet)
        promtool(file)


def promtool(file: Path) -> None:
    """Have promtool check a configuration."""
    checked(require("promtool"), "check", "config", file)


def checked(*command: str | Path) -> None:
    """Run a command that must have nothing to say against what it checks."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_grafana_finds_its_data_sources_and_the_dashboard(
    services: Mapping[str, Config], container: Mapping[str, Path]
) -> None:
    root = container["grafana"]
    provisioning = root / "etc/grafana/provisioning"
    (sources,) = (yaml.safe_load(file.read_text()) for file in provisioning.glob("datasources/*"))
    assert {source["uid"]: source["type"] for source in sources["datasources"]} == {
        "prometheus": "prometheus",
        "loki": "loki",
        "alertmanager": "alertmanager",
    }
    for source in sources["datasources"]:
        assert re.fullmatch(rf"http://{source['uid']}:\d+", source["url"])
        assert source["uid"] in services
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    interval = prometheus["global"]["scrape_interval"]
    assert sources["datasources"][0]["jsonData"]["timeInterval"] == interval
    (dashboards,) = (yaml.safe_load(file.read_text()) for file in provisioning.glob("dashboards/*"))
    (provider,) = dashboards["providers"]
    assert (root / provider["options"]["path"].lstrip("/") / "qsticky.json").is_file()


def test_whoever_sends_to_loki_or_alertmanager_has_its_port(container: Mapping[str, Path]) -> None:
    loki = yaml.safe_load((container["loki"] / "etc/loki/loki.yaml").read_text())
    address = f"loki:{loki['server']['http_listen_port']}"
    alloy = (container["alloy"] / "etc/alloy/config.alloy").read_text()
    sources = (ROOT / "grafana/provisioning/datasources/qsticky.yaml").read_text()
    assert f'"http://{address}/loki/api/v1/push"' in alloy
    assert f"http://{address}\n" in sources
    prometheus = (container["prometheus"] / "etc/prometheus/prometheus.yml").read_text()
    assert "[alertmanager:9093]" in prometheus
    assert "http://alertmanager:9093\n" in sources
    # Loki keeps structured metadata, and deletes what is old, only with these.
    assert loki["limits_config"]["allow_structured_metadata"] is True
    assert loki["schema_config"]["configs"][0]["schema"] == "v13"
    assert loki["compactor"]["delete_request_store"] == "filesystem"


class Receiver:
    """What the example receiver's webhook would be: an HTTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        kept = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"

    def told_of(self, alert: str) -> bool:
        """Whether that alert has come."""
        return any(one["labels"]["alertname"] == alert for one in self.alerts)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
def alertmanager_program() -> str:
    """The program of Alertmanager, which Debian calls otherwise; Prometheus is there too."""
    require("prometheus")
    return shutil.which("prometheus-alertmanager") or require("alertmanager")


@pytest.fixture
def alertmanager(
    alertmanager_program: str, container: Mapping[str, Path], receiver: Receiver, tmp_path: Path
) -> Iterator[str]:
    """An Alertmanager with the shipped file, the webhooks' URLs and the first wait being others."""
    shipped = (container["alertmanager"] / "etc/alertmanager/alertmanager.yml").read_text()
    replaced, webhooks = re.subn(r"http://(webhook|heartbeat)\.example/\w*", receiver.url, shipped)
    assert webhooks == 2
    file = tmp_path / "alertmanager.yml"
    file.write_text(re.sub(r"(group_wait): \w+", r"\1: 1s", replaced))
    address = f"127.0.0.1:{free_port()}"
    command = [alertmanager_program, f"--config.file={file}"]
    command += [f"--storage.path={tmp_path / 'alertmanager'}"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with (tmp_path / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_ready(f"http://{address}"), BOUND, "Alertmanager to be ready")
        yield address
    finally:
        process.terminate()
        process.wait(BOUND)


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=BOUND).ok
    except requests.RequestException:
        return False


@pytest.fixture
def qsticky(tmp_path: Path) -> Iterator[QSticky]:
    with Instance(tmp_path / "qsticky", free_port()).running() as running:
        running.wait_for("synced")
        yield running


def test_an_alert_goes_all_the_way_from_the_daemon_to_the_receiver(
    container: Mapping[str, Path],
    alertmanager: str,
    qsticky: QSticky,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    folder = container["prometheus"] / "etc/prometheus"
    address = f"127.0.0.1:{qsticky.port}"
    (targets,) = (folder / "scrape").iterdir()
    targets.write_text(targets.read_text().replace("gluetun:10058", f'"{address}"'))
    rules = folder / "alerts.yml"
    rules.write_text(re.sub(r"\bfor: \w+", "for: 0s", rules.read_text()))
    shipped = (folder / "prometheus.yml").read_text()
    shipped = shipped.replace("alertmanager:9093", f'"{alertmanager}"').replace("15s", "1s")
    settings = yaml.safe_load(shipped)
    settings["rule_files"] = [str(folder / name) for name in settings["rule_files"]]
    settings["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(targets)]}]
    with Prometheus(
        tmp_path / "prometheus",
        [Target(address, "qsticky")],
        settings=settings,
        options=["--rules.alert.resend-delay=1s"],  # the first is sent before it finds Alertmanager
        program=of_3("prometheus"),
    ) as prometheus:
        up = 'up{job="qsticky", instance="qsticky"}'
        wait_until(lambda: prometheus.value(up) == 1, BOUND, "the target to be up")
        assert {rule["name"] for rule in loaded(prometheus)} == {
            rule.get("alert") or rule["record"]
            for file in settings["rule_files"]
            for group in yaml.safe_load(Path(file).read_text())["groups"]
            for rule in group["rules"]
        }
        wait_until(lambda: receiver.told_of("Watchdog"), BOUND, "the sign of life")
        assert not receiver.told_of("QStickyGone")
        assert qsticky.stop() == 0
        wait_until(lambda: receiver.told_of("QStickyGone"), BOUND, "the alert to come")
        assert {rule["health"] for rule in loaded(prometheus)} == {"ok"}


@pytest.mark.parametrize(
    ("cause", "lesser"),
    [
        ("QStickyPeersCannotConnect", "QStickyRebindsDontHelp"),
        ("QStickyPeersCannotConnect", "QStickyNobodyCameIn"),
        ("QStickyGone", "QStickyAddressDiffers"),
        ("QStickyNoSync", "QStickyPeersCannotConnect"),
        ("QStickyPortClosed", "QStickyRebindsDontHelp"),
        ("QStickyPortFlapping", "QStickyPortContested"),
        ("QStickyPortFlapping", "QStickyNobodyCameIn"),
    ],
)
def test_alertmanager_keeps_back_what_a_worse_alert_of_the_same_instance_explains(
    alertmanager: str, cause: str, lesser: str
) -> None:
    def alert(name: str, instance: str) -> Config:
        severity = alerts()[name]["labels"]["severity"]
        labels = {"alertname": name, "severity": severity, "job": "media", "instance": instance}
        return {"labels": labels}

    sent = [alert(cause, "home"), alert(lesser, "home"), alert(lesser, "elsewhere")]
    api = f"http://{alertmanager}/api/v2/alerts"
    requests.post(api, json=sent, timeout=BOUND).raise_for_status()

    def states() -> dict[tuple[str, str], str]:
        told = requests.get(api, timeout=BOUND).json()
        keys = ((one["labels"]["alertname"], one["labels"]["instance"]) for one in told)
        return dict(zip(keys, (one["status"]["state"] for one in told), strict=True))

    expected = {(cause, "home"): "active", (lesser, "home"): "suppressed"}
    expected[lesser, "elsewhere"] = "active"
    wait_until(lambda: states() == expected, BOUND, f"{expected} instead of {states()}")


def loaded(prometheus: Prometheus) -> list[dict[str, Any]]:
    """The rules that a Prometheus has."""
    groups = prometheus.get("rules")["groups"]
    return [rule for group in groups for rule in group["rules"]]
