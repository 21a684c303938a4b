"""driver/deploy/kubernetes: right by the API's own schemas, and the daemon works as they run it: this very process."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import psutil
import pytest
import yaml

from outboxd.settings import Settings
from tests.kit.account import Account
from tests.kit.daemon import Daemon
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.observing import address_of, get
from tests.kit.session import Session
from tests.kit.waiting import eventually
from tests.servers.missing import skip_or_fail
from tests.servers.paths import CHECKOUT

FOLDER = CHECKOUT / "driver" / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.34")
OWN_KINDS = {"PodMonitor", "Kustomization"}  # of others than the API: they have no schema there


def documents() -> list[dict[str, Any]]:
    """Every object of every file."""
    files = sorted(FOLDER.glob("*.yaml"))
    return [made for file in files for made in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def of_kind(kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (only,) = [made for made in documents() if made["kind"] == kind]
    return only


def pod() -> dict[str, Any]:
    """The template of the daemon's pods."""
    template: dict[str, Any] = of_kind("Deployment")["spec"]["template"]
    return template


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_right_by_the_schemas_of_the_api(version: str) -> None:
    checked = [made for made in documents() if made["kind"] not in OWN_KINDS]
    for made in checked:
        kubernetes_validate.validate(made, version, strict=True)
    kinds = sorted(made["kind"] for made in checked)
    assert kinds == ["Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Secret"]


def test_schemas_refuse_what_is_misspelled() -> None:
    made = of_kind("Deployment")
    made["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(made, VERSIONS[-1], strict=True)


def test_what_selects_the_pods_agrees_with_their_labels() -> None:
    labels = pod()["metadata"]["labels"]
    for kind in ("Deployment", "PodMonitor", "PodDisruptionBudget"):
        assert of_kind(kind)["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (container,) = pod()["spec"]["containers"]
    (port,) = container["ports"]
    (endpoint,) = of_kind("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    (rule,) = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    resources = of_kind("Kustomization")["resources"]
    assert set(resources) <= {file.name for file in FOLDER.glob("*.yaml")}


def test_settings_are_known_and_no_password_is_in_the_environment() -> None:
    variables = {f"OUTBOXD_{name.upper()}" for name in Settings.model_fields}
    secrets = {made["metadata"]["name"]: set(made["stringData"]) for made in documents() if made["kind"] == "Secret"}
    for template in (pod(), of_kind("Job")["spec"]["template"]):
        (container,) = template["spec"]["containers"]
        (volume,) = template["spec"]["volumes"]
        (mount,) = container["volumeMounts"]
        for variable in container["env"]:
            assert variable["name"].removesuffix("_FILE") in variables
            if variable["name"].endswith("_FILE"):
                file = Path(variable["value"])
                assert str(file.parent) == mount["mountPath"]
                assert file.name in secrets[volume["secret"]["secretName"]]
        assert "OUTBOXD_MYSQL_URL" not in {variable["name"] for variable in container["env"]}


def test_grace_period_is_longer_than_a_stop_takes() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    longest = 2 * (defaults["stop_seconds"] + defaults["wait_ms"] / 1000)
    assert pod()["spec"]["terminationGracePeriodSeconds"] > longest


# The process itself, as the manifest has it: PID 1, of that user, without capabilities and home, on a file system that
# is read only in all its parts; the secret is a file.
_CONTAINER = """
set -e
mount --make-rprivate /
mount --bind "$CHECKOUT_FOLDER" /mnt
case "$PYTHON_FOLDER" in
/usr*) ;;
*)
  # Somebody's home, which others may not enter.
  mount -t tmpfs outboxd /opt
  mkdir /opt/python
  mount --bind "$PYTHON_FOLDER" /opt/python
  mount -t tmpfs -o mode=755 outboxd "/$(echo "$PYTHON_FOLDER" | cut -d/ -f2)"
  mkdir -p "$PYTHON_FOLDER"
  mount --bind /opt/python "$PYTHON_FOLDER"
  ;;
esac
mount -t tmpfs outboxd /run
mkdir -p "$(dirname "$OUTBOXD_MYSQL_URL_FILE")"
cp "$SECRET" "$OUTBOXD_MYSQL_URL_FILE"
chown "$POD_USER:$POD_USER" "$OUTBOXD_MYSQL_URL_FILE"
chmod 0440 "$OUTBOXD_MYSQL_URL_FILE"
cut -d' ' -f2 /proc/self/mounts | sort -r | while read -r place; do mount -o remount,bind,ro "$place" 2>&- || true; done
cd /
user="setpriv --reuid $POD_USER --regid $POD_USER --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
if touch /tmp/written /run/written /mnt/written /var/tmp/written 2>&-; then echo "it may write" >&2; exit 9; fi
exec $user env -u HOME -u SECRET PYTHONPATH=/mnt/driver /mnt/.venv/bin/python -m outboxd "$@"
"""


@pytest.fixture
def in_pod(account: Account, cluster: MockCluster, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon in such a container."""
    if os.geteuid() != 0:
        skip_or_fail("only root makes a container's namespaces here")
    (container,) = pod()["spec"]["containers"]
    security = pod()["spec"]["securityContext"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    variables = {made["name"]: made["value"] for made in container["env"] if "value" in made}
    for topic in variables["OUTBOXD_TOPICS"].split(","):
        cluster.create_topic(topic)
    secret = tmp_path / "mysql_url"
    secret.write_text(f"{account.url}\n", encoding="utf-8")
    variables |= {
        "OUTBOXD_KAFKA_BOOTSTRAP": cluster.bootstrap,
        "OUTBOXD_METRICS_ADDRESS": "127.0.0.1:0",
        "CHECKOUT_FOLDER": str(CHECKOUT),
        "PYTHON_FOLDER": sys.base_prefix,
        "SECRET": str(secret),
        "POD_USER": str(security["runAsUser"]),
    }
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", _CONTAINER, "sh"]
    daemon = Daemon(tmp_path, {"kafka_options": QUICK_GROUP}, command=command, variables=variables)
    daemon.start()
    yield daemon
    if daemon.process.poll() is None:
        # --kill-child does not: the kernel forgets its signal when the process becomes another user's.
        for child in psutil.Process(daemon.pid).children(recursive=True):
            child.kill()
        daemon.kill()


def first_process(daemon: Daemon) -> psutil.Process:
    """The process that has the id 1 in there."""
    (first,) = psutil.Process(daemon.pid).children()
    return first


def test_daemon_works_as_the_manifest_runs_it_and_ends_within_the_grace_period(in_pod: Daemon, db: Session) -> None:
    messages = [db.enqueue(f"k{number}") for number in range(10)]
    in_pod.eventually(lambda: set(db.statuses().values()) == {"consumed"}, "all is consumed")
    address = address_of(in_pod)
    assert get(address, "/healthz").status == 200
    eventually(lambda: get(address, "/readyz").status == 200)
    first = first_process(in_pod)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{first.pid}/status").read_text().splitlines())
    assert status["NSpid"].split()[-1] == "1"
    assert set(status["Uid"].split()) == {str(pod()["spec"]["securityContext"]["runAsUser"])}
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    environment = first.environ()
    assert "HOME" not in environment
    assert not [name for name, value in environment.items() if Account.quoted in value]
    assert Account.quoted not in " ".join(first.cmdline())

    messages += [db.enqueue(f"k{number}") for number in range(500)]
    began = time.monotonic()
    first.terminate()
    assert in_pod.process.wait(pod()["spec"]["terminationGracePeriodSeconds"]) == 0
    assert time.monotonic() - began < pod()["spec"]["terminationGracePeriodSeconds"] / 2
    assert db.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NOT NULL") == 0
    assert set(db.statuses()) == set(messages)


def test_readiness_says_no_and_liveness_yes_while_mysql_is_away(in_pod: Daemon, db: Session) -> None:
    address = address_of(in_pod)
    eventually(lambda: get(address, "/readyz").status == 200)
    db.execute("SET GLOBAL offline_mode = ON")
    try:
        eventually(lambda: get(address, "/readyz").status == 503)
        assert get(address, "/healthz").status == 200
    finally:
        db.execute("SET GLOBAL offline_mode = OFF")
    eventually(lambda: get(address, "/readyz").status == 200, seconds=60)


def test_image_and_manifest_name_the_same_user() -> None:
    dockerfile = (CHECKOUT / "driver" / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    security = pod()["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in dockerfile
