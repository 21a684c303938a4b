"""sql/grants.sql: who may do what, seen by logging in as each."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mysql.connector import errorcode
from mysql.connector.errors import Error

from outboxd.mysql.connection import Connection
from outboxd.mysql.procedures import (
    ApplicationProcedures,
    ConsumerProcedures,
    OperatorProcedures,
    RelayProcedures,
    names,
)
from tests.kit.command import Setting, run
from tests.kit.daemon import QUICK, daemons
from tests.kit.installing import (
    GRANTS,
    OWNER_RIGHTS,
    ROLES,
    Client,
    create_account,
    direct_grants,
    empty_database,
    migrate,
    mysql_url,
)
from tests.kit.kafka import QUICK_GROUP
from tests.kit.mock_cluster import MockCluster
from tests.kit.server import SQL_FOLDER, Server
from tests.kit.session import Session, refused
from tests.servers.paths import CHECKOUT

DATABASE = "outboxd_roles"
OWNER = "outbox_owner"
ADMIN = "outbox_admin"
SHOP = "outbox_shop"

# The words of a manual's "Called by" and "Read by", and the roles that they mean.
ROLE_OF = {
    "applications": "outbox_app",
    "relays": "outbox_relay",
    "the daemon": "outbox_relay",
    "consumers": "outbox_consumer",
    "operators": "outbox_operator",
    "monitoring": "outbox_monitor",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A database whose owner has the rights on it that grants.sql asks for, and an account for each role."""

    server: Server
    root: Session

    def connect(self, account: str) -> Session:
        """Log in."""
        return self.server.connect(DATABASE, user=account)

    def grants(self, role: str) -> list[str]:
        """A role's rights, but for those in other databases, where outboxd may be installed as well."""
        elsewhere = re.compile(rf" ON (PROCEDURE )?`(?!{DATABASE}`)\w+`\.")
        return [grant for grant in self.root.column(f"SHOW GRANTS FOR {role}") if not elsewhere.search(grant)]

    def routines(self) -> dict[str, str]:
        """Every procedure of outboxd with its manual."""
        rows = self.root.rows(
            "SELECT routine_name AS name, routine_comment AS comment FROM information_schema.routines"
            " WHERE routine_schema = %s AND definer LIKE %s",
            DATABASE,
            f"{OWNER}@%",
        )
        return {row["name"]: row["comment"] for row in rows}

    def tables(self, kind: str) -> list[str]:
        """Every table ('BASE TABLE') or view ('VIEW')."""
        return self.root.column(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = %s",
            DATABASE,
            kind,
        )

    def callers(self, routine: str) -> set[str]:
        """The roles that may call a procedure."""
        return set(
            self.root.column(
                "SELECT user FROM mysql.procs_priv WHERE db = %s AND routine_name = %s AND proc_priv = 'Execute'"
                f" AND user IN ({_quoted(ROLES)})",
                DATABASE,
                routine,
            )
        )

    def readers(self, view: str) -> set[str]:
        """The roles that may read a view."""
        return set(
            self.root.column(
                "SELECT user FROM mysql.tables_priv WHERE db = %s AND table_name = %s AND table_priv = 'Select'"
                f" AND user IN ({_quoted(ROLES)})",
                DATABASE,
                view,
            )
        )


@pytest.fixture(scope="module")
def site(mysql_server: Server, client: Client) -> Iterator[Site]:
    """The database, installed and granted by accounts that have no right outside of it but to make roles."""
    with empty_database(mysql_server, DATABASE) as root:
        create_account(root, OWNER, f"GRANT {OWNER_RIGHTS} ON {DATABASE}.*")
        create_account(root, ADMIN, f"GRANT ALL ON {DATABASE}.*", "GRANT CREATE ROLE ON *.*")
        root.execute(f"GRANT GRANT OPTION ON {DATABASE}.* TO {ADMIN}")
        migrate(mysql_server, DATABASE, OWNER)
        client.apply(DATABASE, GRANTS.read_text(encoding="utf-8"), user=ADMIN)
        for role in ROLES:
            create_account(root, _account(role), f"GRANT {role}", "SET DEFAULT ROLE ALL")
        root.execute(
            "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer TEXT);"
            "CREATE TABLE mails (outbox_id BIGINT UNSIGNED PRIMARY KEY, payload TEXT);"
            "CREATE PROCEDURE send_mail (p_id BIGINT UNSIGNED, p_payload LONGTEXT)"
            " INSERT INTO mails VALUES (p_id, p_payload)"
        )
        create_account(
            root, SHOP, f"GRANT SELECT, INSERT ON {DATABASE}.orders", "GRANT outbox_app", "SET DEFAULT ROLE ALL"
        )
        yield Site(mysql_server, root)
        root.execute(f"DROP USER {', '.join([OWNER, ADMIN, SHOP, *map(_account, ROLES)])}")
        root.execute(f"DROP ROLE {', '.join(ROLES)}")


@pytest.fixture(autouse=True)
def no_messages(site: Site) -> None:
    """Every test begins without messages."""
    site.root.clean()


def _account(role: str) -> str:
    return f"is_{role}"


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _roles_named(manual: str, introduction: str) -> set[str]:
    """The roles that the first sentence after `Called by:` or `Read by:` means."""
    sentence = re.search(rf"^(?:-- )?{introduction} ([^.]*)", manual, re.MULTILINE)
    if sentence is None:
        return set()
    if "anybody" in sentence[1]:
        return set(ROLES)
    return {role for word, role in ROLE_OF.items() if re.search(rf"\b{word}\b", sentence[1])}


def _is_internal(name: str) -> bool:
    return name.startswith("outbox_internal_")


def test_nobody_here_needs_super_or_trust(site: Site) -> None:
    assert site.root.row("SELECT @@log_bin AS log, @@log_bin_trust_function_creators AS trust") == {
        "log": 1,
        "trust": 0,
    }
    assert f"GRANT USAGE ON *.* TO `{OWNER}`@`%`" in site.root.column(f"SHOW GRANTS FOR {OWNER}")
    assert f"GRANT CREATE ROLE ON *.* TO `{ADMIN}`@`%`" in site.root.column(f"SHOW GRANTS FOR {ADMIN}")


def test_procedures_are_granted_to_those_whom_their_manuals_name(site: Site) -> None:
    for routine, manual in site.routines().items():
        assert site.callers(routine) == _roles_named(manual, "Called by:"), routine


def test_every_procedure_is_internal_or_granted_to_somebody(site: Site) -> None:
    for routine in site.routines():
        assert _is_internal(routine) != bool(site.callers(routine)), routine


def test_views_are_granted_to_those_whom_their_files_name(site: Site) -> None:
    files = {path: path.read_text(encoding="utf-8") for path in SQL_FOLDER.glob("*/V*.sql")}
    for view in site.tables("VIEW"):
        (text,) = (text for text in files.values() if re.search(rf"\bVIEW {view}\b", text))
        assert site.readers(view) == _roles_named(text, "Read by:"), view
        assert _is_internal(view) != bool(site.readers(view)), view


@pytest.mark.parametrize("role", ROLES)
def test_role_has_execute_and_select_and_nothing_else(site: Site, role: str) -> None:
    usage, *grants = site.grants(role)
    assert usage == f"GRANT USAGE ON *.* TO `{role}`@`%`"
    for grant in grants:
        assert re.fullmatch(
            rf"GRANT (EXECUTE ON PROCEDURE|SELECT ON) `{DATABASE}`\.`outbox_\w+` TO `{role}`@`%`", grant
        )


@pytest.mark.parametrize("role", ROLES)
def test_account_calls_the_procedures_of_its_role_and_no_other(site: Site, role: str) -> None:
    with site.connect(_account(role)) as session:
        for routine in site.routines():
            errno = None
            try:
                session.execute(f"CALL {routine}()")
            except Error as error:
                errno = error.errno
            # Without arguments a call that is allowed gets no further than their number, where there are any.
            allowed = {None, errorcode.ER_SP_WRONG_NO_OF_ARGS}
            wanted = allowed if role in site.callers(routine) else {errorcode.ER_PROCACCESS_DENIED_ERROR}
            assert errno in wanted, routine


@pytest.mark.parametrize("role", ROLES)
def test_account_reads_the_views_of_its_role_and_touches_no_table(site: Site, role: str) -> None:
    site.root.enqueue()
    with site.connect(_account(role)) as session:
        for view in site.tables("VIEW"):
            if role in site.readers(view):
                session.rows(f"SELECT * FROM {view}")
            else:
                _is_denied(session, f"SELECT * FROM {view}")
        for table in site.tables("BASE TABLE"):
            for statement in (
                "SELECT 1 FROM {}",
                "INSERT INTO {} VALUES ()",
                "DELETE FROM {}",
                "UPDATE {} SET id = 1",
                "LOCK TABLES {} READ",
                "TRUNCATE {}",
                "ALTER TABLE {} COMMENT = ''",
                "DROP TABLE {}",
            ):
                _is_denied(session, statement.format(table))
        for statement in (
            "CREATE TABLE mine (id INT)",
            "CREATE TEMPORARY TABLE outbox_batch (id INT)",
            "CREATE PROCEDURE mine () SELECT 1",
            "DROP PROCEDURE outbox_claim_v1",
            "ALTER EVENT outbox_retention ENABLE",
        ):
            _is_denied(session, statement)


def _is_denied(session: Session, statement: str) -> None:
    with pytest.raises(Error, match="denied"):
        session.execute(statement)


@pytest.mark.parametrize(
    ("role", "calls"),
    [
        ("outbox_app", ApplicationProcedures),
        ("outbox_relay", RelayProcedures),
        ("outbox_consumer", ConsumerProcedures),
        ("outbox_operator", OperatorProcedures),
    ],
)
def test_role_may_call_what_outboxd_calls_on_its_behalf(site: Site, role: str, calls: type[Connection]) -> None:
    assert {routine for routine in names(calls) if role not in site.callers(routine)} == set()


def test_application_enqueues_in_its_own_transaction_and_sees_no_message(site: Site) -> None:
    with site.connect(SHOP) as shop:
        shop.execute("START TRANSACTION")
        shop.execute("INSERT INTO orders (customer) VALUES ('Ada')")
        message = shop.enqueue(biz_type="mail", payload='{"to":"Ada"}')
        shop.execute("COMMIT; START TRANSACTION")
        shop.enqueue(biz_type="mail", payload='{"to":"nobody"}')
        shop.execute("ROLLBACK")
        for call in ("outbox_get_v1(1)", "outbox_list_due_v1(10)", "outbox_claim_v1('shop', 10, 10, 0)"):
            _is_denied(shop, f"CALL {call}")
        for call in (f"outbox_mark_dead_v1({message}, 'x')", f"outbox_mark_published_v1({message})"):
            _is_denied(shop, f"CALL {call}")
    assert site.root.statuses() == {message: "pending"}
    assert site.root.message(message)["payload"] == '{"to":"Ada"}'


def test_application_is_told_what_is_wrong_with_its_call(site: Site) -> None:
    with site.connect(SHOP) as shop, refused(30003, "p_payload is not valid JSON"):
        shop.enqueue(payload="{")


def test_daemon_needs_the_roles_of_relay_and_consumer_and_no_others(site: Site, tmp_path: Path) -> None:
    create_account(site.root, "outbox_daemon", "GRANT outbox_relay, outbox_consumer", "SET DEFAULT ROLE ALL")
    with site.connect(_account("outbox_operator")) as operator:
        operator.call("outbox_register_biz_type_v1", "mail", "send_mail", None, None, None, None)
    with site.connect(SHOP) as shop:
        good = [shop.enqueue(), shop.enqueue(biz_type="mail", payload='{"to":"Ada"}')]
        bad = shop.enqueue("of its own", payload="{}")
    with MockCluster() as cluster:
        # Published long ago and never heard of again: for the daemon's recovery to send anew.
        stale = site.root.enqueue_published()
        site.root.execute(
            "UPDATE agent_outbox_messages SET published_at = published_at - INTERVAL 1 DAY WHERE id = %s", stale
        )
        settings: dict[str, Setting] = {
            "mysql_url": mysql_url(site.server, DATABASE, "outbox_daemon"),
            "kafka_bootstrap": cluster.bootstrap,
            "kafka_options": QUICK_GROUP,
            "topics": "chat",
            "stale_seconds": 10,
            **QUICK,
        }
        with daemons(tmp_path, settings) as start:
            daemon = start()
            wanted = dict.fromkeys([*good, stale], "consumed") | {bad: "dead"}
            daemon.eventually(lambda: site.root.statuses() == wanted, "all consumed but the bad one")
            assert daemon.stop() == 0
        told = run(tmp_path, settings, ["doctor"]).stdout
        assert "may call what the daemon calls" in " ".join(told.split()), told
    assert site.root.column("SELECT payload FROM mails") == ['{"to":"Ada"}']
    assert len(site.root.chats()) == 2
    assert site.root.value("SELECT COUNT(*) FROM outbox_slots WHERE relay IS NOT NULL") == 0
    site.root.execute("DELETE FROM mails; DROP USER outbox_daemon")


def test_handler_is_called_with_the_owners_right_to_execute_it(site: Site) -> None:
    site.root.register("mail", "send_mail")
    message = site.root.enqueue(biz_type="mail", payload="{}")
    site.root.execute(
        f"REVOKE EXECUTE ON {DATABASE}.* FROM {OWNER};"
        + ";".join(f"GRANT EXECUTE ON PROCEDURE {routine} TO {OWNER}" for routine in site.routines())
    )
    try:
        record = site.root.record(message)
        with site.connect(_account("outbox_consumer")) as consumer:
            (row,) = consumer.consume_rows(record)
            assert row["outcome"] == "failed"
            assert re.search(rf"execute command denied to user '{OWNER}'@.*send_mail", row["error"])
            site.root.execute(f"GRANT EXECUTE ON {DATABASE}.* TO {OWNER}")
            (row,) = consumer.consume_rows(record)
            assert row["outcome"] == "consumed"
    finally:
        site.root.execute(f"GRANT EXECUTE ON {DATABASE}.* TO {OWNER}; DELETE FROM mails")


def test_rights_of_one_role_may_be_given_to_an_account_itself(site: Site, client: Client) -> None:
    create_account(site.root, "plain_app")
    client.apply(DATABASE, direct_grants("plain_app"), user=ADMIN)
    usage, *grants = site.root.column("SHOW GRANTS FOR plain_app")
    of_the_role = site.grants("outbox_app")[1:]
    assert usage == "GRANT USAGE ON *.* TO `plain_app`@`%`"
    assert sorted(grants) == sorted(grant.replace("`outbox_app`", "`plain_app`") for grant in of_the_role)
    with site.connect("plain_app") as session:
        message = session.enqueue()
        _is_denied(session, "CALL outbox_get_v1(1)")
        _is_denied(session, "SELECT 1 FROM agent_outbox_messages")
    assert site.root.statuses() == {message: "pending"}
    site.root.execute("DROP USER plain_app")


def test_grants_may_be_applied_again(site: Site, client: Client) -> None:
    before = {role: site.root.column(f"SHOW GRANTS FOR {role}") for role in ROLES}
    client.apply(DATABASE, GRANTS.read_text(encoding="utf-8"), user=ADMIN)
    assert {role: site.root.column(f"SHOW GRANTS FOR {role}") for role in ROLES} == before


def prefixed(prefix: str) -> str:
    """grants.sql with roles of that prefix: what the command in its head prints."""
    found = re.search(r"^--   (sed -E .+) \| mysql DATABASE$", GRANTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    command = found[1].replace("shop_", prefix)
    return subprocess.run(command, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def test_accounts_of_one_outbox_do_nothing_in_another_on_the_server(mysql_server: Server, client: Client) -> None:
    names = ("outboxd_one", "outboxd_two")
    with empty_database(mysql_server, names[0]) as one, empty_database(mysql_server, names[1]) as two:
        for session, name, prefix in ((one, names[0], "one_"), (two, names[1], "two_")):
            migrate(mysql_server, name)
            client.apply(name, prefixed(prefix))
            for role in ROLES:
                account = f"{prefix}{role.removeprefix('outbox_')}"
                create_account(session, account, f"GRANT {prefix}{role}", "SET DEFAULT ROLE ALL")
        try:
            with mysql_server.connect(names[0], user="one_app") as app:
                message = app.enqueue()
                for role in ROLES:
                    with pytest.raises(Error, match="Access denied"):
                        mysql_server.connect(names[1], user=f"one_{role.removeprefix('outbox_')}")
                for call in ("outbox_enqueue_v1('t', 'chat', 'k', '{}', NULL, @id)", "outbox_doctor_v1()"):
                    _is_denied(app, f"CALL {names[1]}.{call}")
            assert one.statuses() == {message: "pending"}
            assert two.statuses() == {}
            plain = {"outbox_app", "outbox_relay", "outbox_consumer", "outbox_operator", "outbox_monitor"}
            granted = one.column(
                "SELECT DISTINCT user FROM mysql.procs_priv WHERE db IN ('outboxd_one', 'outboxd_two')"
            )
            assert not plain & set(granted)
            assert len(granted) == 2 * len(ROLES)
        finally:
            everyone = [f"{prefix}{role.removeprefix('outbox_')}" for prefix in ("one_", "two_") for role in ROLES]
            one.execute(f"DROP USER IF EXISTS {', '.join(everyone)}")
            one.execute(f"DROP ROLE {', '.join(f'{prefix}{role}' for prefix in ('one_', 'two_') for role in ROLES)}")
