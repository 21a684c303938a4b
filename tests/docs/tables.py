"""The tables of driver/README.md: commands, settings, metrics and alerts, each from its source."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args, get_origin

from annotated_types import Ge, Le, MinLen
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

from tests.docs.driver import COMMANDS, Settings, cli, metrics_module
from tests.docs.markdown import anchor, table
from tests.kit.command import subcommands
from tests.servers.paths import CHECKOUT

_ALERTS = CHECKOUT / "driver" / "deploy" / "alerts.yaml"
_ALERT = re.compile(
    r"^ +- alert: (?P<name>\w+)\n"
    r" +expr: (?P<condition>.+)\n"
    r"(?: +for: (?P<lasting>\w+)\n)?"
    r" +labels: \{severity: (?P<severity>\w+)\}\n"
    r" +annotations:\n"
    r" +summary: (?P<summary>.+)\n",
    re.MULTILINE,
)
_PLACEHOLDER = re.compile(r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}")


def commands() -> str:
    """Every command of outboxd and the first paragraph of its help."""
    known = subcommands(cli)
    return table(
        ("command", "what it does"),
        ((f"`outboxd {name}`", inspect.cleandoc(known[name].help or "").partition("\n\n")[0]) for name in COMMANDS),
    )


def settings() -> str:
    """Every setting with its type, limits, default and description."""
    rows = (
        (f"`{name}`", _kind(field), _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return table(("setting", "type", "default", "meaning"), rows)


def _kind(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) is list:
        kind = f"list of {get_args(annotation)[0].__name__}"
    elif get_origin(annotation) is dict:
        kind = "names and values"
    else:
        kind = getattr(annotation, "__name__", str(annotation))
    low = next((str(limit.ge) for limit in field.metadata if isinstance(limit, Ge)), None)
    high = next((str(limit.le) for limit in field.metadata if isinstance(limit, Le)), None)
    if low and high:
        return f"{kind}, {low} to {high}"
    if low:
        return f"{kind}, {low} or more"
    return f"{kind}, not empty" if any(isinstance(limit, MinLen) for limit in field.metadata) else kind


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return f"`{field.default_factory.__name__}()`"
    return f"`{field.default}`" if field.default not in ("", [], {}) else ""


def metrics() -> str:
    """Every metric of outboxd's own: its name in /metrics, type, labels with the values known beforehand, and help."""
    labels = {
        next(iter(metric.describe())).name: list(metric._labelnames)
        for metric in vars(metrics_module).values()
        if isinstance(metric, MetricWrapperBase)
    }
    rows = []
    for family in metrics_module.registry.collect():
        if not family.name.startswith("outboxd_"):
            continue
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        names = labels.get(family.name, [])
        known = {label: ", ".join(dict.fromkeys(s.labels[label] for s in family.samples)) for label in names}
        shown = "; ".join(f"`{label}`{values and ': '}{values}" for label, values in known.items())
        rows.append((f"`{name}`", family.type, shown, family.documentation))
    return table(("metric", "type", "labels", "meaning"), rows)


@dataclass(frozen=True, slots=True)
class _Alert:
    name: str
    condition: str
    lasting: str
    severity: str
    summary: str


def alerts(readme: str) -> str:
    """Every alert, with a link to the paragraph of the runbook that names it.

    Raises ValueError naming an alert that is in no paragraph, or one in the runbook that there is not.
    """
    answers = dict(_answers(readme))
    rows = []
    for alert in _alerts():
        try:
            title = answers.pop(alert.name)
        except KeyError:
            raise ValueError(f"no paragraph of its runbook has a line `Alerts: ... {alert.name} ...`") from None
        link = f"[{title}](#{anchor(title)})"
        rows.append((alert.name, alert.severity, f"`{alert.condition}`", alert.lasting, alert.summary, link))
    if answers:
        raise ValueError(f"its runbook answers an alert that is not in {_ALERTS.name}: {', '.join(answers)}")
    return table(("alert", "severity", "condition", "for", "says", "what to do"), rows)


def _alerts() -> Iterator[_Alert]:
    text = _ALERTS.read_text(encoding="utf-8")
    found = list(_ALERT.finditer(text))
    if len(found) != text.count("- alert:"):
        raise ValueError(f"{_ALERTS.name}: an alert has not the form of the others")
    for match in found:
        summary = _PLACEHOLDER.sub(lambda found: found[1].upper(), match["summary"].strip('"')).replace("VALUE", "N")
        yield _Alert(match["name"], match["condition"], match["lasting"] or "", match["severity"], summary)


def _answers(readme: str) -> Iterator[tuple[str, str]]:
    """The alerts that the runbook names, each with the title of its paragraph."""
    _, _, runbook = readme.partition("\n## Runbook\n")
    for paragraph in runbook.split("\n### ")[1:]:
        title = paragraph.partition("\n")[0]
        for line in re.findall(r"^Alerts?: (.*)$", paragraph, re.MULTILINE):
            for name in re.findall(r"\w+", line):
                yield name, title
