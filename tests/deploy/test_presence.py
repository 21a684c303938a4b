"""The server does not have what the migrations have made: it is named, and made again where that is safe."""

from collections.abc import Iterator

import pytest

from tests.kit.command import Invoke, Run, the_one_line
from tests.kit.installing import empty_database, migrate, mysql_url
from tests.kit.schema import create_statements, describe
from tests.kit.server import Server
from tests.kit.session import Session

NAME = "outboxd_presence"
MOVED = "outboxd_moved"
KAFKA = "127.0.0.1:1"


@pytest.fixture
def shop(mysql_server: Server) -> Iterator[Session]:
    """A session on a database with an outbox and a message."""
    with empty_database(mysql_server, NAME) as session:
        migrate(mysql_server, NAME)
        session.enqueue("k")
        yield session


def without_routines(session: Session) -> None:
    """As mysqldump leaves it behind by default: tables and views."""
    for name in session.column(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"
    ):
        session.execute(f"DROP PROCEDURE {name}")
    session.execute("DROP EVENT outbox_retention")


def moved(session: Session) -> None:
    """As RENAME TABLE leaves it behind: tables alone."""
    tables = session.column(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    )
    session.execute("RENAME TABLE " + ", ".join(f"{name} TO {MOVED}.{name}" for name in tables))


def everything(session: Session, name: str) -> tuple[dict[str, str], list[str]]:
    """All statements that make what is there, and what else is: the same in databases of any name."""
    kinds = describe(session)
    statements = {key: text.replace(f"`{name}`", "``") for key, text in create_statements(session).items()}
    return statements, sorted(kinds)


def test_dump_without_routines_is_named_by_run_and_mended_by_migrate(
    shop: Session, mysql_server: Server, invoke: Invoke, outboxd: Run
) -> None:
    url = mysql_url(mysql_server, NAME)
    before = everything(shop, NAME)
    without_routines(shop)
    assert "lacks migration V0101__migrations.sql" in the_one_line(
        outboxd("run", mysql_url=url, topics="chat", kafka_bootstrap=KAFKA)
    )
    doctor = invoke("doctor", mysql_url=url, kafka_bootstrap=KAFKA).output
    assert "missing, the first is V0121__version_v1.sql" in doctor
    done = invoke("migrate", mysql_url=url)
    assert done.exit_code == 0, done.output
    assert everything(shop, NAME) == before
    assert len(shop.claim()) == 1
    assert invoke("migrate", mysql_url=url).stdout.startswith("0 applied")


def test_one_procedure_that_is_gone_is_named_by_run(shop: Session, mysql_server: Server, outboxd: Run) -> None:
    shop.execute("DROP PROCEDURE outbox_lag_v1; DROP VIEW outbox_status")
    line = the_one_line(outboxd("run", mysql_url=mysql_url(mysql_server, NAME), topics="chat", kafka_bootstrap=KAFKA))
    assert f"database {NAME} lacks outbox_lag_v1 and 1 more" in line
    assert migrate(mysql_server, NAME) == ["V0903__lag_v1.sql", "V0911__status_view.sql"]


def test_tables_that_were_moved_to_another_database_get_their_routines_there(
    shop: Session, mysql_server: Server
) -> None:
    before = everything(shop, NAME)
    with empty_database(mysql_server, MOVED) as there:
        moved(shop)
        assert migrate(mysql_server, MOVED)
        assert everything(there, MOVED) == before
        assert len(there.claim()) == 1


@pytest.mark.parametrize(
    ("damage", "found", "to_do"),
    [
        (
            "DROP PROCEDURE outbox_version_v1; CREATE PROCEDURE outbox_version_v1 (OUT p INT) SET p = 1",
            "procedure outbox_version_v1 is not that of V0121__version_v1.sql",
            "DROP PROCEDURE outbox_version_v1, and run `outboxd migrate`",
        ),
        (
            "ALTER TABLE agent_outbox_messages DROP KEY outbox_open_lane",
            "index outbox_open_lane of agent_outbox_messages is missing or another one",
            "ALTER TABLE agent_outbox_messages ADD KEY outbox_open_lane (open_lane, is_waiting)",
        ),
        (
            "DELETE FROM outbox_slots WHERE slot IN (3, 63)",
            "outbox_slots lacks 2 of its 64 rows",
            "INSERT INTO outbox_slots (slot) VALUES (3), (63)",
        ),
        (
            "DELETE FROM outbox_installation",
            "outbox_installation has no row",
            "INSERT INTO outbox_installation (installation_id) VALUES (UUID())",
        ),
    ],
)
def test_doctor_names_what_only_a_person_can_judge(
    shop: Session, mysql_server: Server, invoke: Invoke, damage: str, found: str, to_do: str
) -> None:
    url = mysql_url(mysql_server, NAME)
    output = invoke("doctor", mysql_url=url, kafka_bootstrap=KAFKA).output
    assert "all installed, none edited" in output, output
    shop.execute(damage)
    output = invoke("doctor", mysql_url=url, kafka_bootstrap=KAFKA).output
    assert found in output
    assert to_do in output
