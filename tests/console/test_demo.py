"""`outboxd demo --console`: the console on the demo's data, until Ctrl-C."""

import signal
import subprocess
from pathlib import Path

from playwright.sync_api import expect

from tests.console.conftest import As, enter
from tests.console.people import Person
from tests.console.process import ConsoleProcess
from tests.kit.command import OUTBOXD, environment
from tests.kit.installing import mysql_url
from tests.kit.server import Server


def test_demo_leaves_the_console_running_with_something_to_see(
    tmp_path: Path, mysql_server: Server, fresh_database: str, as_somebody: As
) -> None:
    line = '{{"user_id": 1, "conversation_id": "c-{}", "role": "user", "message": "hi"}}\n'
    (tmp_path / "chat.jsonl").write_text("".join(line.format(number % 3) for number in range(12)))
    log = tmp_path / "log"
    with mysql_server.connect(fresh_database) as session, log.open("wb") as out:
        session.execute("DROP USER IF EXISTS shower; CREATE USER shower IDENTIFIED BY 'shower'")
        session.execute(f"GRANT ALL ON {fresh_database}.* TO shower")
        url = mysql_url(mysql_server, fresh_database, "shower:shower")
        process = subprocess.Popen(
            [OUTBOXD, "demo", "--console", "--chat", "chat.jsonl"],
            env=environment({"mysql_url": url, "metrics_address": ""}),
            cwd=tmp_path,
            stdout=out,
            stderr=out,
        )
        try:
            page = as_somebody(ConsoleProcess(process, log).address)
            page.goto("/dead")
            enter(page, Person("shower", "shower", None))
            expect(page.get_by_role("heading", level=1)).to_contain_text("6", timeout=60_000)
            page.goto("/stuck")
            expect(page.locator(".picks tbody tr")).to_have_count(2)
            page.context.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
        session.execute("DROP USER shower")
    text = log.read_text()
    assert "12 messages, 12 persisted, 0 duplicated, 0 out of order, 0 dead" in text
    assert "shower:shower" not in text
