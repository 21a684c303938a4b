"""Go's drivers, as their users write them, and a plain consumer in Go."""

from pathlib import Path

import pytest

from tests.clients.consuming import each_record_takes_effect_once
from tests.clients.shop import CACHE, Shop, install, need
from tests.kit.daemon import StartDaemon
from tests.kit.server import Server
from tests.kit.session import Session
from tests.servers.kafka import RunningKafka

_FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with the programs, built."""
    need("go")
    folder = CACHE / "go"
    folder.mkdir(parents=True, exist_ok=True)
    install(["go", "build", "-o", f"{folder}/", "./..."], _FOLDER)
    return folder


@pytest.mark.parametrize("program", ["databasesql", "gorm"])
def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop, programs: Path, program: str) -> None:
    shop.check([programs / program], programs)


@pytest.mark.kafka
def test_plain_consumer_applies_each_message_once(
    programs: Path, mysql_server: Server, kafka_broker: RunningKafka, db: Session, start_daemon: StartDaemon
) -> None:
    command = [programs / "consumer"]
    each_record_takes_effect_once(command, mysql_server, kafka_broker.bootstrap, db, start_daemon)
