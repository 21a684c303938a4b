"""TLS to MySQL and Kafka with real certificates: what is verified, and what a refusal says."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mysql.connector import Error

from outboxd.mysql.procedures import Database as Driver
from outboxd.retry import Unavailable
from outboxd.settings import Settings
from tests.kit.command import Setting, run, the_one_line
from tests.kit.daemon import QUICK, StartDaemon, daemons
from tests.kit.kafka import create_topic
from tests.kit.observing import OBSERVED, address_of, get
from tests.kit.session import Session
from tests.security.certificates import Certificates
from tests.security.servers import SecureKafka, SecureMySQL

NOT_VERIFIED = "certificate verify failed"
NOT_HERE = {"kafka_bootstrap": "127.0.0.1:1"}
WRONG_PASSWORD = "S3cret-that-is-wrong"


def ask(settings: dict[str, Setting]) -> str:
    """Connect to MySQL as every command does; returns the cipher, empty without TLS."""
    with Driver(Settings.model_validate(settings)) as driver:
        return str(driver.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1])


def refusal(settings: dict[str, Setting]) -> str:
    """What is said about a MySQL that is not connected to."""
    with pytest.raises((Unavailable, Error)) as caught:
        ask(settings)
    return str(caught.value)


def doctor_on_kafka(folder: Path, settings: dict[str, Setting]) -> str:
    """What `outboxd doctor` finds about Kafka's brokers."""
    done = run(folder, {"mysql_url": "mysql://nobody@127.0.0.1:1/none", **settings}, ["doctor"])
    (line,) = (line for line in done.stdout.splitlines() if line[6:].startswith("Kafka "))
    return line


@pytest.mark.kafka
def test_message_goes_through_when_every_certificate_is_verified(
    secure_mysql: SecureMySQL, secure_kafka: SecureKafka, certificates: Certificates, tmp_path: Path
) -> None:
    own = {"ssl_certificate_location": certificates.client, "ssl_key_location": certificates.client_key}
    settings = {**secure_mysql.verified, **secure_kafka.mutual(**own)}
    done = run(tmp_path, settings, ["migrate"])
    assert done.returncode == 0, done.stderr
    topic = create_topic(secure_kafka.running.bootstrap)
    line = json.dumps({"user_id": 7, "conversation_id": "c", "role": "user", "message": "over TLS"}).encode()
    assert run(tmp_path, settings, ["enqueue", "--topic", topic, "-"], line).returncode == 0
    with daemons(tmp_path, settings | {"topics": topic, **QUICK}) as start, secure_mysql.connect() as session:
        daemon = start()
        daemon.eventually(lambda: session.chats() == ["over TLS"], "consumed")
        in_clear = (
            "SELECT COUNT(*) FROM performance_schema.status_by_thread JOIN performance_schema.threads USING (thread_id)"
            " WHERE variable_name = 'Ssl_cipher' AND variable_value = '' AND processlist_user = %s"
        )
        with secure_mysql.as_root() as root:
            assert root.value(in_clear, "outboxd") == 0
        assert daemon.stop() == 0
        assert daemon.events("unavailable") == []


@pytest.mark.parametrize("verifying", [{"ssl_verify_cert": True}, {"ssl_verify_identity": True}, {}], ids=str)
def test_mysql_of_an_unknown_authority_is_refused(
    secure_mysql: SecureMySQL, certificates: Certificates, verifying: dict[str, Any]
) -> None:
    line = refusal(secure_mysql.settings(ssl_ca=certificates.wrong_ca, **verifying))
    assert "SSL connection error" in line
    assert NOT_VERIFIED in line


@pytest.mark.parametrize("verifying", [{"ssl_verify_identity": True}, {}], ids=str)
def test_mysql_with_a_certificate_for_another_name_is_refused(
    secure_mysql: SecureMySQL, certificates: Certificates, verifying: dict[str, Any]
) -> None:
    line = refusal(secure_mysql.settings("localhost", ssl_ca=certificates.ca, **verifying))
    assert "SSL connection error" in line
    assert NOT_VERIFIED in line


def test_mysql_by_another_name_is_taken_where_only_its_authority_is_asked_for(
    secure_mysql: SecureMySQL, certificates: Certificates, tmp_path: Path
) -> None:
    settings = secure_mysql.settings(
        "localhost", ssl_ca=certificates.ca, ssl_verify_cert=True, ssl_verify_identity=False
    )
    assert run(tmp_path, settings, ["migrate", "--status"]).returncode == 0


def test_mysql_that_wants_tls_says_so_to_a_client_without(secure_mysql: SecureMySQL) -> None:
    assert "insecure transport" in refusal(secure_mysql.settings(ssl_disabled=True))


def test_mysql_without_tls_is_refused_where_a_certificate_is_to_be_verified(
    secure_mysql: SecureMySQL, certificates: Certificates
) -> None:
    with without_tls(secure_mysql):
        assert ask(secure_mysql.settings()) == ""
        assert "SSL" in refusal(secure_mysql.verified)
        assert "SSL" in refusal(secure_mysql.settings(ssl_ca=certificates.ca))


@contextmanager
def without_tls(server: SecureMySQL) -> Iterator[None]:
    """Let it speak no TLS, as one would in the middle that wants to listen."""
    with server.as_root() as root:
        certificate = root.value("SELECT @@ssl_cert")
        root.execute("SET GLOBAL require_secure_transport = OFF; SET GLOBAL ssl_cert = '/nowhere'")
        root.execute("ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR")
        try:
            yield
        finally:
            root.execute("SET GLOBAL ssl_cert = %s; SET GLOBAL require_secure_transport = ON", certificate)
            root.execute("ALTER INSTANCE RELOAD TLS")


def test_command_and_daemon_say_in_one_line_that_tls_to_mysql_is_why(
    secure_mysql: SecureMySQL, certificates: Certificates, tmp_path: Path
) -> None:
    settings = secure_mysql.settings(ssl_ca=certificates.wrong_ca, ssl_verify_cert=True)
    assert NOT_VERIFIED in the_one_line(run(tmp_path, settings, ["status"]))
    with daemons(tmp_path, {**settings, **NOT_HERE, "metrics_address": ""}) as start:
        daemon = start("--only", "relay")
        daemon.says("unavailable")
        (waiting,) = daemon.events("unavailable")
        assert NOT_VERIFIED in waiting["reason"]
        assert daemon.stop() == 0


@pytest.mark.kafka
def test_kafka_is_reached_over_tls_with_a_password(secure_kafka: SecureKafka, tmp_path: Path) -> None:
    assert "brokers: 1" in doctor_on_kafka(tmp_path, secure_kafka.sasl())


@pytest.mark.kafka
def test_daemon_waits_and_says_what_stands_between_it_and_kafka(
    start_daemon: StartDaemon, secure_kafka: SecureKafka, certificates: Certificates
) -> None:
    strange = {"ssl_certificate_location": certificates.stranger, "ssl_key_location": certificates.stranger_key}
    faults = {
        "wrong CA": (secure_kafka.tls(ssl_ca_location=certificates.wrong_ca), NOT_VERIFIED),
        "wrong name": (secure_kafka.tls("localhost"), NOT_VERIFIED),
        # What librdkafka says before that depends on whether the broker's end of the connection comes as a reset.
        "no TLS": (secure_kafka.tls() | {"kafka_bootstrap": secure_kafka.running.bootstrap}, "in state SSL_HANDSHAKE)"),
        "no certificate": (secure_kafka.mutual(), "bad certificate"),
        "wrong certificate": (secure_kafka.mutual(**strange), "bad certificate"),
        "wrong password": (secure_kafka.sasl(WRONG_PASSWORD), "SASL authentication error"),
    }
    daemons = {
        fault: start_daemon("--only", "consumer", "--verbose", **OBSERVED, **settings)
        for fault, (settings, _) in faults.items()
    }
    for fault, daemon in daemons.items():
        daemon.says("unavailable", seconds=60)
        assert faults[fault][1] in daemon.events("unavailable")[0]["reason"], fault
        address = address_of(daemon)
        daemon.eventually(lambda address=address: "Kafka: " in get(address, "/readyz").text, "not ready")  # type: ignore[misc]
        pages = get(address, "/readyz").text + get(address, "/metrics").text
        daemon.kill()
        assert WRONG_PASSWORD not in daemon.log + pages, fault


@pytest.mark.kafka
def test_doctor_says_what_stands_between_it_and_kafka(
    secure_kafka: SecureKafka, certificates: Certificates, tmp_path: Path
) -> None:
    assert NOT_VERIFIED in doctor_on_kafka(tmp_path, secure_kafka.tls(ssl_ca_location=certificates.wrong_ca))


@pytest.mark.kafka
def test_renewed_certificates_are_taken_up_and_a_new_reason_is_said(
    start_daemon: StartDaemon, secure_kafka: SecureKafka, certificates: Certificates, db: Session, tmp_path: Path
) -> None:
    files = {
        "ssl_ca_location": (certificates.wrong_ca, certificates.ca),
        "ssl_certificate_location": (certificates.stranger, certificates.client),
        "ssl_key_location": (certificates.stranger_key, certificates.client_key),
    }
    for name, (wrong, _) in files.items():
        shutil.copy(wrong, tmp_path / name)
    topic = create_topic(secure_kafka.running.bootstrap)
    options = {"message_timeout_ms": 10_000, **{name: tmp_path / name for name in files}}
    daemon = start_daemon(**OBSERVED, topics=topic, **secure_kafka.mutual(**options))
    message = db.enqueue(topic=topic)

    def reasons() -> str:
        return " ".join(event["reason"] for event in daemon.events("unavailable"))

    daemon.eventually(lambda: NOT_VERIFIED in reasons(), "the authority is the wrong one")
    shutil.copy(certificates.ca, tmp_path / "ssl_ca_location")
    daemon.eventually(lambda: "bad certificate" in reasons(), "the authority is right, and the client a stranger")
    assert get(address_of(daemon), "/readyz").status == 503
    for name, (_, right) in files.items():
        shutil.copy(right, tmp_path / name)
    daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed")
    daemon.eventually(lambda: get(address_of(daemon), "/readyz").status == 200, "ready")
    assert daemon.stop() == 0
    assert len(daemon.events("unavailable")) <= 3 * 2  # a reason once a client: relay, consumer


@pytest.mark.kafka
def test_token_of_an_idle_daemon_is_renewed(start_daemon: StartDaemon, secure_kafka: SecureKafka, db: Session) -> None:
    token_seconds = 10
    topic = create_topic(secure_kafka.running.bootstrap)
    daemon = start_daemon(**OBSERVED, topics=topic, **secure_kafka.oauth(token_seconds))
    daemon.eventually(lambda: get(address_of(daemon), "/readyz").status == 200, "ready")
    for _ in range(2):
        daemon.outlives(token_seconds)
        assert get(address_of(daemon), "/readyz").text == "ok\n"
    message = db.enqueue(topic=topic)
    daemon.eventually(lambda: db.statuses() == {message: "consumed"}, "consumed", seconds=3)
    assert [event for event in daemon.events() if event["level"] != "info"] == []
