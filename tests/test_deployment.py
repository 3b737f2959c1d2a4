"""What the files in deploy/ name exists: paths, commands, options, variables, settings; and they agree with each other."""

import re
import shlex
import tomllib
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.house import ROOT

from corea.cli.configuration import find_gateway
from corea.cli.main import make_app
from corea.config import Config, load_config
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import PAGES

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
KUBERNETES: dict[str, Any] = {it["kind"]: it for it in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
POD = KUBERNETES["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
GATEWAY = COMPOSE["services"]["gateway"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CONFIG = "/etc/corea/corea.toml"


class Unit(RawConfigParser):
    """A systemd unit; a key may stand several times, and of these the last counts here."""

    def __init__(self) -> None:
        super().__init__(strict=False)
        self.read(DEPLOY / "corea.service")

    def optionxform(self, optionstr: str) -> str:
        return optionstr


SERVICE = Unit()["Service"]


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line]


def of_stage(name: str) -> list[str]:
    """All arguments of one instruction in the final stage."""
    last = max(i for i, (kind, _) in enumerate(instructions()) if kind == "FROM")
    return [rest for kind, rest in instructions()[last:] if kind == name]


def config() -> Config:
    return load_config(DEPLOY / "corea.toml")


def settings() -> GatewaySettings:
    return find_gateway(config())


def commands() -> list[list[str]]:
    """Every `corea` command in these files and in the documentation of deployment."""
    page = (ROOT / "docs" / "operations.md").read_text()
    page = page[page.index("## Deployment") : page.index("## Sizing")]
    words = [["corea", *yaml.safe_load(of_stage("CMD")[0])], ["corea", *CONTAINER["args"]]]
    words += [shlex.split(SERVICE["ExecStart"])]
    found = re.findall(r"(?:^| )(?:\S*/)?corea ((?:keys|serve|check|state) [^\n|`]*)", page, re.M)
    return words + [["corea", *shlex.split(line.partition("#")[0])] for line in found]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_and_its_options_exist(words: list[str]) -> None:
    found: Any = typer.main.get_command(make_app())
    rest = words[1:]
    while rest and rest[0] in getattr(found, "commands", {}):
        found, rest = found.commands[rest[0]], rest[1:]
    assert not hasattr(found, "commands"), f"{words}: no such command"
    known = {name for param in found.params for name in param.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


def test_every_path_that_is_copied_exists_and_is_not_ignored() -> None:
    copied = [
        part for kind, rest in instructions() if kind == "COPY" and "--from" not in rest for part in rest.split()[:-1]
    ]
    assert {"pyproject.toml", "src/", "locks/"} <= set(copied)
    assert [part for part in copied if not (ROOT / part).exists()] == []
    allowed = [
        line[1:].split("/")[0]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line[0] == "!"
    ]
    assert sorted(allowed) == sorted(part.rstrip("/") for part in copied)
    assert [name for name in re.findall(r"-r (\S+)", DOCKERFILE) if not (ROOT / name).exists()] == []


def test_the_image_runs_as_a_user_of_its_own_without_the_tools_of_the_build() -> None:
    assert of_stage("USER") == ["10001:10001"]
    assert "--uid 10001" in of_stage("RUN")[0]
    assert not re.search(r"\b(pip|apt|hatchling|gcc)\b", " ".join(of_stage("RUN")))
    assert of_stage("COPY") == ["--from=build /opt/corea /opt/corea"]
    assert "--without-pip /opt/corea" in DOCKERFILE
    assert DOCKERFILE.count("install --require-hashes --only-binary :all:") == 2


def test_what_is_asked_for_health_is_a_page_of_the_gateway() -> None:
    asked = re.findall(r"127\.0\.0\.1:(\d+)(/\w+)", of_stage("HEALTHCHECK")[0])
    asked += [
        ("8000", CONTAINER[probe]["httpGet"]["path"]) for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    assert len(asked) == 4
    assert {path for _, path in asked} <= set(PAGES)
    assert {port for port, _ in asked} == {str(settings().port)}
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_ports_and_paths_agree() -> None:
    assert of_stage("EXPOSE") == [str(settings().port)]
    assert GATEWAY["ports"] == ["127.0.0.1:8000:8000"]
    assert [port["containerPort"] for port in CONTAINER["ports"]] == [settings().port]
    assert GATEWAY["volumes"] == [f"./corea.toml:{CONFIG}:ro"]
    assert (DEPLOY / "corea.toml").exists()
    assert f"{CONTAINER['volumeMounts'][0]['mountPath']}/{next(iter(KUBERNETES['ConfigMap']['data']))}" == CONFIG
    assert (
        ROOT / "deploy" / GATEWAY["build"]["context"] / GATEWAY["build"]["dockerfile"]
    ).resolve() == DEPLOY / "Dockerfile"
    assert [word for word in commands()[:3] if CONFIG not in word] == []


def test_the_two_configurations_are_one() -> None:
    mounted = tomllib.loads(KUBERNETES["ConfigMap"]["data"]["corea.toml"])
    assert mounted == tomllib.loads((DEPLOY / "corea.toml").read_text())


def test_every_key_that_the_configuration_reads_is_given() -> None:
    read = {stage.backend["api_key_env"] for stage in config().stages.values()} | {"PGPASSWORD"}
    assert set(GATEWAY["environment"]) == read
    assert all(value.startswith("${") and ":?" in value for value in GATEWAY["environment"].values())
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": "corea"}}]
    page = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"--from-literal=(\w+)", page)) == read
    assert settings().storage.url == "postgresql://corea@postgres:5432/corea"
    database = COMPOSE["services"]["postgres"]
    assert (database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]) == ("corea", "corea")
    assert GATEWAY["environment"]["PGPASSWORD"] == database["environment"]["POSTGRES_PASSWORD"]
    assert set(GATEWAY["networks"]) & set(database["networks"])


def test_no_stop_is_cut_short_and_a_load_balancer_sees_it_in_time() -> None:
    times = settings().timeouts
    needed = times.notice_seconds + times.drain_seconds + 25  # answers and bookings of what was interrupted
    granted = (
        GATEWAY["stop_grace_period"],
        f"{SERVICE['TimeoutStopSec']}s",
        f"{POD['terminationGracePeriodSeconds']}s",
    )
    assert [given for given in granted if float(given[:-1]) < needed] == []
    probe = CONTAINER["readinessProbe"]
    assert times.notice_seconds >= 2 * probe["periodSeconds"] * probe["failureThreshold"]


def test_the_containers_have_no_rights() -> None:
    for service in COMPOSE["services"].values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
    secured = CONTAINER["securityContext"]
    assert (secured["readOnlyRootFilesystem"], secured["allowPrivilegeEscalation"]) == (True, False)
    assert secured["capabilities"] == {"drop": ["ALL"]}
    assert (POD["securityContext"]["runAsNonRoot"], POD["securityContext"]["runAsUser"]) == (True, 10001)
    assert POD["automountServiceAccountToken"] is False


def test_kubernetes_selects_the_pods() -> None:
    labels = KUBERNETES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    assert KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert KUBERNETES["Deployment"]["spec"]["replicas"] > KUBERNETES["PodDisruptionBudget"]["spec"]["minAvailable"]


def test_the_unit_can_do_what_the_gateway_does() -> None:
    assert SERVICE["ExecReload"] == "/bin/kill -HUP $MAINPID"  # reads the configuration again
    assert SERVICE["StateDirectory"] == "corea"  # /var/lib/corea, as the page's configuration says
    assert {"AF_INET", "AF_INET6"} <= set(SERVICE["RestrictAddressFamilies"].split())
    assert SERVICE.get("ProcSubset", "all") == "all"  # else the kernel's boot id cannot be read
    page = (ROOT / "docs" / "operations.md").read_text()
    for named in ("/var/lib/corea/corea.db", SERVICE["EnvironmentFile"], SERVICE["ExecStart"].split()[0]):
        assert named in page
    assert int(SERVICE["LimitNOFILE"]) > 4 * settings().limits.max_connections


def test_all_name_the_same_version() -> None:
    tags = {GATEWAY["image"], CONTAINER["image"], *re.findall(r"-t (\S+)", DOCKERFILE)}
    assert tags == {f"corea:{VERSION}"}


def test_every_file_of_deploy_is_documented() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    files = [path.relative_to(ROOT).as_posix() for path in DEPLOY.iterdir() if path.is_file()]
    assert [name for name in files if name not in page and not name.endswith(".dockerignore")] == []
    assert Path("deploy/Dockerfile.dockerignore") in [path.relative_to(ROOT) for path in DEPLOY.iterdir()]
