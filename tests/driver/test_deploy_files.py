"""driver/deploy: what an operator copies is right, as far as the programs that read it can tell without running it."""

import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outboxd.settings import Settings
from tests.kit.command import OUTBOXD
from tests.kit.daemon import StartDaemon
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import OBSERVED, Observed, check, get, observe, samples, tool
from tests.kit.session import Session, chat_payload
from tests.kit.waiting import eventually
from tests.servers.paths import CHECKOUT
from tests.servers.process import free_port

DEPLOY = CHECKOUT / "driver" / "deploy"
VARIABLES = {f"OUTBOXD_{name.upper()}" for name in Settings.model_fields} | {"OUTBOXD_CONFIG"}


# systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there: systemd looks for it."""
    text = (DEPLOY / "outboxd.service").read_text()
    installed = tmp_path / "outboxd.service"
    assert "ExecStart=/opt/outboxd/bin/outboxd run\n" in text
    installed.write_text(text.replace("/opt/outboxd/bin/outboxd", str(OUTBOXD)))
    return installed


def test_systemd_finds_no_fault_in_the_unit(unit: Path) -> None:
    check("systemd-analyze", "verify", unit)


def test_unit_exposes_little(unit: Path) -> None:
    verdict = check("systemd-analyze", "security", "--offline=true", "--no-pager", unit).splitlines()[-1]
    exposure = re.search(r"exposure level for outboxd.service: (\d+\.\d)", verdict)
    assert exposure is not None, verdict
    assert float(exposure[1]) < 2


def test_unit_waits_longer_for_the_end_than_the_daemon_does(unit: Path) -> None:
    given = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert given is not None
    assert int(given[1]) > 2 * (defaults["stop_seconds"] + defaults["wait_ms"] / 1000)


# Docker


def test_compose_file_is_valid_and_starts_the_daemon_after_the_schema() -> None:
    made = json.loads(check("docker-compose", "--file", DEPLOY / "compose.yaml", "config", "--format", "json"))
    services = made["services"]
    assert set(services) == {"mysql", "kafka", "migrate", "outboxd"}
    assert services["migrate"]["command"] == ["migrate"]
    assert services["migrate"]["depends_on"]["mysql"]["condition"] == "service_healthy"
    assert services["outboxd"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert set(services["outboxd"]["environment"]) < VARIABLES
    published = [port["host_ip"] for service in services.values() for port in service.get("ports", [])]
    assert set(published) == {"127.0.0.1"}
    for name in ("migrate", "outboxd"):
        build = services[name]["build"]
        assert Path(build["context"]) == CHECKOUT
        assert CHECKOUT / build["dockerfile"] == DEPLOY / "Dockerfile"


def test_dockerfile_copies_what_is_there_and_sets_what_is_known() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for name in line.split()[:-1]]
    allowed = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(allowed)
    assert all((CHECKOUT / name).exists() for name in copied)
    assert set(re.findall(r"^ENV (\w+)=", text, re.MULTILINE)) < VARIABLES


# Prometheus


def test_promtool_finds_no_fault_in_the_alerts_and_their_tests_pass() -> None:
    check("promtool", "check", "config", DEPLOY / "prometheus.yaml")
    check("promtool", "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "alerts.yaml")
    check("promtool", "test", "rules", DEPLOY / "alerts_test.yaml")


def test_every_alert_has_a_test_in_which_it_is_raised_and_one_in_which_it_is_not() -> None:
    alerts = re.findall(r"^ +- alert: (\w+)$", (DEPLOY / "alerts.yaml").read_text(), re.MULTILINE)
    tests = (DEPLOY / "alerts_test.yaml").read_text()
    raised = re.findall(r"^ +alertname: (\w+)$", tests, re.MULTILINE)
    silent = re.findall(r"alertname: (\w+), exp_alerts: \[\]", tests)
    assert set(alerts) == set(raised) == set(silent)


class Prometheus:
    """A server that scrapes a daemon, asked over its HTTP API."""

    def __init__(self, port: int) -> None:
        self._address = f"127.0.0.1:{port}"

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            return get(self._address, "/-/ready").status == 200
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer."""
        page = get(self._address, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(page.text)
        assert answer["status"] == "success", f"{parameters}: {answer}"
        return answer["data"]


@contextmanager
def scraping(seen: Observed, folder: Path) -> Iterator[Prometheus]:
    """The Prometheus of prometheus.yaml and alerts.yaml, but on this daemon and every second."""
    text = (DEPLOY / "prometheus.yaml").read_text().replace("127.0.0.1:9464", seen.address).replace(": 15s", ": 1s")
    (folder / "prometheus.yaml").write_text(text)
    (folder / "alerts.yaml").write_text((DEPLOY / "alerts.yaml").read_text())
    port = free_port()
    options = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*tool("prometheus"), *options], cwd=folder, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(port)
        eventually(prometheus.answers)
        yield prometheus
    finally:
        process.kill()
        process.wait()


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, for a job and an interval as Grafana would put them in."""
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    filled = {"$__rate_interval": "5s", "$job": "outboxd", "$instance": ".*", "$database": ".*"}
    for variable, value in filled.items():
        queries = [query.replace(variable, value) for query in queries]
    assert not any("$" in query for query in queries)
    return queries


def test_every_query_of_dashboard_and_alerts_is_answered_by_a_prometheus_that_scrapes_the_daemon(
    start_daemon: StartDaemon, cluster: MockCluster, db: Session, tmp_path: Path
) -> None:
    cluster.create_topic("chat")
    seen = observe(start_daemon(kafka_options={**QUICK_GROUP, "message.max.bytes": 2000}, **OBSERVED))
    with scraping(seen, tmp_path) as prometheus:
        queries = dashboard_queries()
        assert len(queries) > 25

        def unanswered() -> list[str]:
            db.enqueue()
            db.enqueue("large", payload=chat_payload("x" * 3000))
            return [query for query in queries if not prometheus.ask("query", query=query)["result"]]

        eventually(lambda: unanswered() == [], seconds=60)
        (group,) = prometheus.ask("rules")["groups"]
        eventually(lambda: all(rule["health"] == "ok" for rule in prometheus.ask("rules")["groups"][0]["rules"]))
        known = {name.partition("{")[0] for name in samples(get(seen.address, "/metrics").text)} | {"up"}
        asked = {name for rule in group["rules"] for name in re.findall(r"\b(?:outboxd_\w+|up)\b", rule["query"])}
        assert asked - {"outboxd"} <= known
        (target,) = prometheus.ask("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
