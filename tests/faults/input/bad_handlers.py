"""Handlers that applications should not write: each among good chat, and what becomes of its message."""

from dataclasses import dataclass

from tests.faults.input import outcomes
from tests.faults.input.outcomes import Expected
from tests.faults.report import Report
from tests.faults.stage import ACCOUNT, Scene, Stage
from tests.kit.application import PARAMETERS, RECORD, Application
from tests.kit.chat import Writer

_ATTEMPTS = 2
_PAYLOAD = '{"order":1}'
_FAIL = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 51000, MESSAGE_TEXT = 'the application says no'"
_TWICE = "INSERT INTO app_effects (id, message) VALUES (1000, p_id), (1000, p_id)"
_NO_ROW = "DECLARE v_found INT; DECLARE v_all CURSOR FOR SELECT id FROM app_effects WHERE FALSE"
_DEADLOCK = "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found, as every time'"
_COMMITS = "commits by itself: its effect and this mark are not one transaction"
# A transaction in a handler commits the mark that its message is consumed: the effect is gone, and last_error tells.
_UNDO = "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END"
_OWN = f"START TRANSACTION; {RECORD}; {_FAIL}; COMMIT"
_ROLLS_BACK = "rolls back by itself"


@dataclass(frozen=True, slots=True)
class Handler:
    """A body, how often it takes effect, and what last_error says; its message ends dead, or consumed."""

    name: str
    body: str
    effects: int = 0
    says: str | None = None
    is_consumed: bool = False


_HANDLERS = [
    Handler("fails", f"{RECORD}; {_FAIL}", says="the application says no"),
    Handler("fails without a text", f"{RECORD}; SIGNAL SQLSTATE '45000'", says="Unhandled user-defined exception"),
    Handler("fails with an empty text", f"{RECORD}; {_FAIL.rsplit('=', 1)[0]} = ''", says="51000"),
    Handler("breaks a unique key", f"{RECORD}; {_TWICE}", says="Duplicate entry '1000' for key"),
    Handler("names a table that is not there", f"{RECORD}; DELETE FROM nowhere", says="nowhere' doesn't exist"),
    Handler("calls what is not there", f"{RECORD}; CALL nothing()", says="nothing does not exist"),
    Handler("says that nothing is found", f"{RECORD}; SIGNAL SQLSTATE '02000'", says="not found condition"),
    Handler("fetches beyond the end", f"{_NO_ROW}; {RECORD}; OPEN v_all; FETCH v_all INTO v_found", says="No data"),
    Handler("finds no row in the end", f"{_NO_ROW}; {RECORD}; SELECT id INTO v_found FROM app_effects WHERE FALSE", 1),
    Handler("warns in the end", f"{RECORD}; SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful'", 1),
    Handler("returns rows", f"{RECORD}; SELECT p_id AS stray", 1),
    Handler("deadlocks every time", f"{RECORD}; {_DEADLOCK}", says="Deadlock found"),
    Handler("commits", f"{RECORD}; COMMIT", 1, _COMMITS),
    Handler("begins a transaction", f"START TRANSACTION; {RECORD}; COMMIT", 1, _COMMITS),
    Handler("makes a table", f"{RECORD}; CREATE TABLE app_other (id INT); DROP TABLE app_other", 1, _COMMITS),
    Handler(
        "commits and fails", f"{RECORD}; COMMIT; {_FAIL}", 1, f"{_COMMITS}; then it fails: the application says no"
    ),
    Handler("fails in its own transaction", f"{_UNDO}; {_OWN}", says="the application says no", is_consumed=True),
    Handler("rolls back", f"{RECORD}; ROLLBACK", says=_ROLLS_BACK),
    Handler("rolls back and fails", f"{RECORD}; ROLLBACK; {_FAIL}", says=f"{_ROLLS_BACK}: the application says no"),
    Handler("it`s a name", RECORD, 1),
    Handler("`; DROP TABLE chat_histories; -- x", RECORD, 1),
]
_PARAMETERS = {
    "takes nothing": "",
    "takes three": f"{PARAMETERS}, p_more INT",
    "takes a number": "p_id INT, p_more INT",
}


def handlers(stage: Stage) -> Report:
    """Let every bad handler have a message, each between good chat of its own key and of others."""
    with stage.scene(partitions=1) as scene:
        application = Application(scene.session)
        for handler in _HANDLERS:
            application.business(handler.name, handler.body, max_retry=_ATTEMPTS, backoff_cap_seconds=1)
        expected = _register_others(scene, application)
        scene.start("relay", "relay")
        scene.start("consumer", "consumer")
        good = Writer(scene.topics[0])
        scene.session.execute("START TRANSACTION")
        bad = []
        for name, says in expected.items():
            good.enqueue(scene.session, name)
            id_ = scene.session.enqueue(name, biz_type=name, topic=scene.topics[0], payload=_PAYLOAD)
            good.enqueue(scene.session, name, "between")
            is_consumed = (
                any(handler.name == name and (handler.effects or handler.is_consumed) for handler in _HANDLERS)
                or name == _UNREGISTERED
            )
            retries = 0 if is_consumed else _ATTEMPTS
            bad.append(Expected(id_, name, "consumed" if is_consumed else "dead", says, retries))
        good.enqueue(scene.session, *expected)
        scene.session.execute("COMMIT")
        scene.wait_until_final()
        judgement = outcomes.judge(scene, good.entries, bad)
        times = application.effects()
        ids = {one.name: one.id for one in bad}
        problems = [
            f"{handler.name}: {times.count(ids[handler.name])} effects, expected {handler.effects}"
            for handler in _HANDLERS
            if times.count(ids[handler.name]) != handler.effects
        ]
        return Report(
            "handlers of every kind",
            f"{len(bad)} handlers that are wrong or odd, {_ATTEMPTS} attempts each, among"
            f" {len(good.entries)} good messages of the same keys and others",
            judgement.found,
            judgement.verdict,
            problems + judgement.problems,
        )


_UNREGISTERED = "not registered"


def _register_others(scene: Scene, application: Application) -> dict[str, str | None]:
    """Register what is wrong before it runs; returns what last_error has to say of all business types."""
    expected = {handler.name: handler.says for handler in _HANDLERS}
    for name, parameters in _PARAMETERS.items():
        scene.session.register(
            name,
            application.handler("DO 0", parameters=parameters, name=name),
            max_retry=_ATTEMPTS,
            backoff_cap_seconds=1,
        )
        expected[name] = "Incorrect number of arguments for PROCEDURE"
    expected["takes a number"] = "Incorrect integer value"
    scene.session.register("does not exist", "no_such_procedure", max_retry=_ATTEMPTS, backoff_cap_seconds=1)
    expected["does not exist"] = "no_such_procedure does not exist"
    # Definers: one who lacks the right, and one who is gone.
    for name, definer, says in [
        ("may not write", ACCOUNT, f"INSERT command denied to user '{ACCOUNT}'"),
        ("has lost its definer", "nobody_at_all", "definer ('nobody_at_all'@'%') does not exist"),
    ]:
        scene.session.execute(f"CREATE DEFINER = {definer} PROCEDURE `{name}` ({PARAMETERS}) BEGIN {RECORD}; END")
        scene.session.register(name, name, max_retry=_ATTEMPTS, backoff_cap_seconds=1)
        expected[name] = says
    expected[_UNREGISTERED] = None  # publish-only
    return expected
