"""MySQL and Kafka that speak TLS."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.command import Setting
from tests.kit.session import Session
from tests.security.certificates import Certificates
from tests.servers import kafka, mysql, process
from tests.servers.kafka_install import KafkaInstall
from tests.servers.mysql_install import MySQLInstall

NAME = "outboxd"
PASSWORD = "S3cret-of-MySQL"
SASL_PASSWORD = "S3cret-of-Kafka"
_SMALL = ("--innodb-buffer-pool-size=128M", "--innodb-fast-shutdown=2", "--skip-log-bin", "--sync-binlog=0")
_OAUTH_LOGIN = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
    ' unsecuredLoginStringClaim_sub="broker";'
)
_NOT_DURABLE = "--innodb-flush-log-at-trx-commit=2"


@dataclass(frozen=True, slots=True)
class SecureMySQL:
    """A MySQL that refuses connections without TLS, with an empty database."""

    running: mysql.RunningMySQL
    certificates: Certificates

    def settings(self, host: str = process.LOOPBACK, **options: Any) -> dict[str, Setting]:
        """How outboxd connects to it, by this name and with these options of the connector."""
        url = self.running.url(NAME, PASSWORD, NAME).replace(f"@{process.LOOPBACK}:", f"@{host}:")
        return {
            "mysql_url": url,
            "mysql_options": {
                name: str(value) if isinstance(value, Path) else value for name, value in options.items()
            },
        }

    @property
    def verified(self) -> dict[str, Setting]:
        """The settings that driver/README.md shows for TLS."""
        return self.settings(ssl_ca=self.certificates.ca, ssl_verify_cert=True, ssl_verify_identity=True)

    def connect(self) -> Session:
        """A session."""
        return Session(host=process.LOOPBACK, port=self.running.port, user=NAME, password=PASSWORD, database=NAME)

    def as_root(self) -> Session:
        """A session that may do everything."""
        return Session(unix_socket=str(self.running.socket), user="root")


def start_mysql(install: MySQLInstall, folder: Path, certificates: Certificates) -> SecureMySQL:
    """Start it."""
    tls = (
        f"--ssl-ca={certificates.ca}",
        f"--ssl-cert={certificates.server}",
        f"--ssl-key={certificates.server_key}",
        "--require-secure-transport=ON",
    )
    running = mysql.start(install, folder, extra=(*_SMALL, _NOT_DURABLE, *tls))
    running.create_database(NAME, NAME, PASSWORD)
    return SecureMySQL(running, certificates)


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """A Kafka with a listener of each kind; its certificate is for 127.0.0.1."""

    running: kafka.RunningKafka
    ports: dict[str, int]
    certificates: Certificates

    def settings(self, listener: str, host: str = process.LOOPBACK, **options: object) -> dict[str, Setting]:
        """How outboxd connects to a listener, by this name and with these options of librdkafka, _ for each dot."""
        given = {"security_protocol": "SSL", "ssl_ca_location": self.certificates.ca, **options}
        properties = {name.replace("_", "."): str(value) for name, value in given.items()}
        return {"kafka_bootstrap": f"{host}:{self.ports[listener]}", "kafka_options": properties}

    def tls(self, host: str = process.LOOPBACK, **options: object) -> dict[str, Setting]:
        """With TLS, the client being nobody."""
        return self.settings("tls", host, **options)

    def mutual(self, **options: object) -> dict[str, Setting]:
        """With TLS, the client being asked for its certificate."""
        return self.settings("mutual", process.LOOPBACK, **options)

    def sasl(self, password: str = SASL_PASSWORD) -> dict[str, Setting]:
        """With TLS, the client being asked for its password."""
        return self.settings(
            "sasl",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            sasl_username=NAME,
            sasl_password=password,
        )

    def oauth(self, token_seconds: int) -> dict[str, Setting]:
        """With TLS, the client showing a token, which it makes itself and which is good for so long."""
        return self.settings(
            "oauth",
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauthbearer_config=f"principal={NAME} lifeSeconds={token_seconds}",
            enable_sasl_oauthbearer_unsecure_jwt="true",
        )


def start_kafka(install: KafkaInstall, folder: Path, certificates: Certificates) -> SecureKafka:
    """Start it; the listener without TLS is for the wait until it is up."""
    names = {"plain": "PLAINTEXT", "tls": "SSL", "mutual": "SSL", "sasl": "SASL_SSL", "oauth": "SASL_SSL"}
    ports = {name: process.free_port() for name in names}
    controller = process.free_port()
    listeners = [f"{name.upper()}://{process.LOOPBACK}:{port}" for name, port in ports.items()]
    protocols = [f"{name.upper()}:{protocol}" for name, protocol in names.items()]
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{NAME}="{SASL_PASSWORD}";'
    properties = {
        "listeners": ",".join([*listeners, f"CONTROLLER://{process.LOOPBACK}:{controller}"]),
        "advertised.listeners": ",".join(listeners),
        "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
        "inter.broker.listener.name": "PLAIN",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server_store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": login,
        "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.oauth.oauthbearer.sasl.jaas.config": _OAUTH_LOGIN,
        # A client whose token has run out is cut off.
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms": "3600000",
    }
    running = kafka.start(install, folder, port=ports["plain"], controller_port=controller, properties=properties)
    return SecureKafka(running, ports, certificates)
