"""Python's drivers, as their users write them."""

import sys
from pathlib import Path

import pytest

from tests.clients.consuming import each_record_takes_effect_once
from tests.clients.shop import CACHE, Shop, install, need
from tests.kit.daemon import StartDaemon
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.kafka import RunningKafka
from tests.servers.paths import CHECKOUT

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment with all drivers."""
    need("mariadb_config", "pkg-config", "cc")  # mysqlclient is built against libmariadb
    folder = CACHE / "python"
    python = folder / "bin" / "python"
    if not python.exists():
        install([sys.executable, "-m", "venv", folder], CHECKOUT)
    install([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"], CHECKOUT)
    install([python, "-m", "pip", "install", "--quiet", "--group", "clients"], CHECKOUT)
    return python


@pytest.mark.parametrize(
    "program",
    [
        "connector.py",
        "connector.py pure",
        "dbapi.py pymysql",
        "dbapi.py MySQLdb",
        "sqlalchemy_orm.py",
        "django_orm.py",
        "aio.py",
    ],
)
def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop, python: Path, program: str) -> None:
    shop.check([python, *program.split()], FOLDER)


@pytest.mark.kafka
def test_plain_consumer_applies_each_message_once(
    python: Path, mysql_server: Server, kafka_broker: RunningKafka, db: Session, start_daemon: StartDaemon
) -> None:
    command = [python, FOLDER / "plain_consumer.py"]
    each_record_takes_effect_once(command, mysql_server, kafka_broker.bootstrap, db, start_daemon)
