"""The configuration for Prometheus: it can be read, and asks for nothing that no node tells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from peercron.core.state import ClusterState
from peercron.http.exposition import families
from peercron.http.metrics import Scraped
from peercron.settings import load
from tests.http.conftest import NOW_MS, FakeNode
from tests.style.trees import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
PROMTOOL = shutil.which("promtool")
#: What Prometheus itself adds.
OWN = {"up"}
LABELS_ADDED = {"job", "instance"}
NAME = re.compile(r"\b(peercron_\w+|up)\b(?:\{([^}]*)\})?")


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Metric]:
    """Name of a series -> the metric that it is of."""
    settings = load({"peers": "127.0.0.1:7400", "self": "127.0.0.1:7400", "http": "127.0.0.1:8400"}, {})
    node = FakeNode(settings, ClusterState(), tmp_path)
    found: dict[str, Metric] = {}
    scraped = Scraped()
    for family in [*families(node, NOW_MS), *scraped.own()]:
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        found |= dict.fromkeys((family.name + suffix for suffix in suffixes), family)
    return found


def test_prometheus_asks_the_nodes_and_reads_the_rules() -> None:
    read = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [FOLDER / name for name in read["rule_files"]] == [FOLDER / "alerts.yml"]
    (scrape,) = read["scrape_configs"]
    assert scrape["metrics_path"] == "/metrics"
    assert all(target.endswith(":8400") for config in scrape["static_configs"] for target in config["targets"])


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_asks_for_what_is_told_and_says_what_to_do(rule: dict[str, Any], told: dict[str, Metric]) -> None:
    asked = NAME.findall(rule["expr"])
    assert asked, rule["expr"]
    for name, selector in asked:
        assert name in told or name in OWN, name
        wanted = set(re.findall(r"(\w+)\s*[=!]~?", selector)) - LABELS_ADDED
        assert wanted <= labels_of(told[name]) if name in told else True, (name, wanted)
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"])))) - LABELS_ADDED - {"le"}
    assert grouped <= set().union(*(labels_of(told[name]) for name, _ in asked if name in told))
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) - LABELS_ADDED
    assert used <= grouped


def test_alert_names_are_unique() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_itself_takes_them_and_they_do_what_they_say(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    cases = (Path(__file__).parent / "alerts.yml").read_text().replace("RULES", str(FOLDER / "alerts.yml"))
    (tmp_path / "cases.yml").write_text(cases)
    for command in (
        ("check", "config", str(FOLDER / "prometheus.yml")),
        ("test", "rules", str(tmp_path / "cases.yml")),
    ):
        told = subprocess.run([PROMTOOL, *command], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


def labels_of(family: Metric) -> set[str]:
    return set(family._labelnames)  # type: ignore[attr-defined]
