"""What deploy/ has for Prometheus and Grafana, against a service that runs."""

import json
import re
import subprocess

import pytest
import requests
import yaml

from servers import ROOT, Process, Service, free_port, need, wait_for

PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
BY_THE_BOARD = [
    target["expr"] for panel in BOARD["panels"] for target in panel["targets"]
]
BY_ALERTS = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def service(tmp_path_factory, redis_server):
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, redis_server.url) as service:
        requests.get(f"{service.url}/api/shared/unknown/preview", timeout=30)
        yield service


def promtool(*command, **options):
    subprocess.run([need("promtool"), *command], check=True, **options)


def test_promtool_finds_nothing_in_what_is_shipped():
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", PROMETHEUS / "alerts.yml")


def test_the_alerts_ring_when_they_should_and_only_then():
    promtool("test", "rules", ROOT / "tests" / "alerts.test.yml")


def test_promtool_finds_nothing_in_the_metrics(service):
    metrics = requests.get(f"{service.url}/metrics", timeout=30).text
    promtool("check", "metrics", input=metrics, text=True)


def test_every_metric_that_is_asked_for_exists(service):
    metrics = requests.get(f"{service.url}/metrics", timeout=30).text
    exist = set(re.findall(r"^(joip_share_\w+?)(?:\{| )", metrics, re.MULTILINE))
    asked = set(re.findall(r"joip_share_\w+", "\n".join(BY_THE_BOARD + BY_ALERTS)))
    assert asked <= exist
    shown = {name for name in exist if name.endswith("_total")}
    assert shown <= asked


def test_prometheus_answers_all_that_the_board_asks(tmp_path, service):
    config = (PROMETHEUS / "prometheus.yml").read_text()
    address = service.url.removeprefix("http://")
    for old, new in (
        ('"127.0.0.1:8000", "127.0.0.1:8001"', f'"{address}"'),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("alerts.yml", str(PROMETHEUS / "alerts.yml")),
    ):
        assert old in config
        config = config.replace(old, new)
    (tmp_path / "prometheus.yml").write_text(config)
    port = free_port()
    command = [
        need("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def ask(expression):
        expression = expression.replace("$__rate_interval", "1m")
        answer = requests.get(
            f"http://127.0.0.1:{port}/api/v1/query",
            params={"query": expression},
            timeout=30,
        ).json()
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]

    with Process(command, tmp_path / "prometheus.log"):
        wait_for(lambda: ask("rate(joip_share_shares_total[1m])"), what="two scrapes")
        for expression in BY_THE_BOARD:
            ours = "joip_share" in expression and "status=~" not in expression
            assert ask(expression) or not ours, expression
