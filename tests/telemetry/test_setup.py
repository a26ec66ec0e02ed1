"""`labd mqtt setup`: what it writes, with which modes, and what it leaves alone."""

from __future__ import annotations

import inspect
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub
from typer.testing import CliRunner

from labd.cli.app import app
from labd.lab.config import LabConfig, load_lab
from labd.telemetry.setup import BrokerPlan, SetupError, passwords, plan_of, write
from labd.telemetry.setup.certificates import not_covered
from labd.telemetry.setup.texts import acl, configuration
from labd.telemetry.topics import Topics
from tests.telemetry.mosquitto import program
from tests.telemetry.secured import LAB, Probe, secured, set_up

PLAN = BrokerPlan("toys", {"anna": "engineer", "screen": "viewer"}, hosts=("broker.lab", "192.168.0.9"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["mqtt", "setup", *arguments])


def test_secrets_are_for_nobody_elses_eyes_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(PLAN, tmp_path / "mqtt")
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    secret = {name for name in modes if name.endswith((".key", "password", "passwords"))}
    assert len(secret) == 2 + 1 + 3
    assert {modes[name] for name in secret} == {0o600}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_dir()} == {0o700}


def test_a_folder_that_is_named_from_here_has_nothing_else_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(PLAN, Path("mqtt"))
    assert sorted(path.name for path in Path("mqtt").iterdir()) == ["authority", "broker", "logins"]
    assert stat.S_IMODE(Path("mqtt").stat().st_mode) == 0o700


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    before = contents(tmp_path)
    done = write(PLAN, tmp_path)
    assert (contents(tmp_path), done.written, done.new_logins) == (before, [], [])


def test_a_user_who_is_new_gets_a_login_and_the_others_keep_theirs(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    before = contents(tmp_path)
    more = BrokerPlan("toys", {**PLAN.users, "ben": "operator"}, hosts=PLAN.hosts)
    with pytest.raises(SetupError, match="acl would change; nothing was written"):
        write(more, tmp_path)
    assert contents(tmp_path) == before
    done = write(more, tmp_path, overwrite=True)
    assert done.new_logins == ["ben"]
    after = contents(tmp_path)
    assert b"user ben\n" in after.pop("broker/acl")
    assert after.pop("broker/passwords").startswith(before["broker/passwords"])
    assert after.items() >= {(name, one) for name, one in before.items() if name in after}
    assert set(after) - set(before) == {"logins/ben/ca.crt", "logins/ben/mqtt-password"}


def test_a_configuration_that_was_changed_by_hand_is_not_lost_unasked(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    config = tmp_path / "broker" / "mosquitto.conf"
    config.write_text("listener 1883\n")
    with pytest.raises(SetupError, match=r"mosquitto\.conf would change"):
        write(PLAN, tmp_path)
    assert config.read_text() == "listener 1883\n"
    write(PLAN, tmp_path, overwrite=True)
    assert config.read_text() == configuration(PLAN)


def test_a_password_that_was_changed_in_its_file_is_the_one_from_then_on(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    (tmp_path / "logins" / "anna" / "mqtt-password").write_text("another\n")
    assert write(PLAN, tmp_path).written == ["broker/passwords"]
    lines = (tmp_path / "broker" / "passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["labd", "anna", "screen"]
    assert passwords.fits(lines[1], "another")


def test_a_login_that_lab_yaml_does_not_name_is_kept_and_told(tmp_path: Path) -> None:
    tool = program("mosquitto_passwd", "mosquitto")
    write(PLAN, tmp_path)
    subprocess.run([tool, "-b", str(tmp_path / "broker" / "passwords"), "carla", "pw"], check=True, capture_output=True)
    done = write(PLAN, tmp_path)
    assert (done.written, done.strangers) == ([], ["carla"])


def test_the_authority_may_be_put_away_until_something_is_to_be_signed(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    (tmp_path / "authority" / "ca.key").unlink()
    (tmp_path / "authority" / "ca.crt").unlink()
    assert write(PLAN, tmp_path).written == []
    with pytest.raises(SetupError, match=r"ca\.key is not there, and only it can sign"):
        write(PLAN, tmp_path, renew=True)


def test_certificates_are_made_anew_by_the_same_authority(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    before = contents(tmp_path)
    written = set(write(PLAN, tmp_path, renew=True).written)
    assert written == {"broker/server.crt", "broker/server.key"}
    assert contents(tmp_path)["authority/ca.crt"] == before["authority/ca.crt"]


def test_the_certificate_is_for_the_hosts_that_were_named(tmp_path: Path) -> None:
    write(PLAN, tmp_path)
    cert = (tmp_path / "broker" / "server.crt").read_bytes()
    asked = ["broker.lab", "192.168.0.9", "localhost", "127.0.0.1", "::1", "other.lab", "192.168.0.10"]
    assert not_covered(cert, asked) == ["other.lab", "192.168.0.10"]
    other = BrokerPlan("toys", PLAN.users, hosts=("other.lab",))
    with pytest.raises(SetupError, match=r"is not for other\.lab: --renew"):
        write(other, tmp_path)
    write(other, tmp_path, renew=True)
    assert not_covered((tmp_path / "broker" / "server.crt").read_bytes(), ["other.lab"]) == []


def topics_of(topics: Topics) -> Iterator[str]:
    """All topics of the contract, whatever is added to it."""
    for name, found in inspect.getmembers(Topics, lambda one: isinstance(one, property) or inspect.isfunction(one)):
        if name.startswith("_") or name in ("prefix", "command", "commanded", "stands"):
            continue
        if isinstance(found, property):
            value = getattr(topics, name)
        else:
            value = found(topics, *["a"] * (len(inspect.signature(found).parameters) - 1))
        yield from [value] if isinstance(value, str) else value


def test_the_acl_has_a_line_for_every_topic_of_the_contract() -> None:
    """One without would be refused by every broker that was set up so."""
    block = acl(BrokerPlan("toys", {"anna": "viewer"})).split("user labd\n")[1].split("\n\n")[0]
    patterns = [line.split()[-1] for line in block.splitlines()]
    topics = set(topics_of(Topics("toys")))
    assert len(topics) >= 10
    assert [topic for topic in topics if not any(topic_matches_sub(one, topic) for one in patterns)] == []


def test_a_viewer_has_no_line_to_write_and_home_assistant_only_where_it_is_on() -> None:
    text = acl(BrokerPlan("toys", {"screen": "viewer"}))
    of_screen = text.split("user screen\n")[1]
    assert "write" not in of_screen
    assert "homeassistant" not in of_screen
    assert "user homeassistant" not in text
    on = acl(BrokerPlan("toys", {}, home_assistant=True))
    assert "topic readwrite homeassistant/#" in on.split("user homeassistant\n")[1]


def test_one_given_certificate_is_used_and_whoever_signed_it_is_named_to_all(tmp_path: Path) -> None:
    write(PLAN, tmp_path / "own")
    own = tmp_path / "own"
    cert, key, ca = own / "broker" / "server.crt", own / "broker" / "server.key", own / "authority" / "ca.crt"
    given = BrokerPlan("toys", PLAN.users, cert=cert, key=key, ca=ca)
    write(given, tmp_path / "given")
    assert not (tmp_path / "given" / "authority").exists()
    assert (tmp_path / "given" / "broker" / "server.key").read_bytes() == key.read_bytes()
    assert (tmp_path / "given" / "logins" / "anna" / "ca.crt").read_bytes() == ca.read_bytes()


@pytest.mark.parametrize(
    ("lab", "options", "told"),
    [
        (LAB.replace("users:", "#"), [], "lab.yaml names no users"),
        (LAB.replace("user: labd", "user: 'the/daemon'"), [], "cannot be a login"),
        (LAB, ["--host", "a,DNS:evil"], "is no name or address of a machine"),
        (LAB, ["--at", "here"], "is no absolute path"),
        (LAB, ["--cert", "x.crt"], "is given as --cert and --key"),
        (LAB, ["--cert", "gone.crt", "--key", "gone.key"], "gone.crt: No such file"),
        (LAB.replace("anna: engineer", "anna: boss"), [], "L103"),
        (LAB.replace("anna: engineer", "labd: operator"), [], "labd's own login"),
        (
            LAB.replace("anna:", "labd:").replace(
                "{broker: {host: localhost, port: 8883, tls: {}, user: labd}, ho", "{broker: embedded, ho"
            ),
            [],
            "labd's own login",
        ),
        (LAB.replace("user: labd", "user: homeassistant"), [], "L302"),
    ],
)
def test_what_cannot_be_set_up_is_told_and_nothing_is_written(
    tmp_path: Path, lab: str, options: list[str], told: str
) -> None:
    (tmp_path / "lab.yaml").write_text(lab)
    ended = run(str(tmp_path / "mqtt"), "--lab", str(tmp_path / "lab.yaml"), *options)
    assert (ended.exit_code, told in ended.stderr) == (2, True), ended.stderr
    assert not list(tmp_path.rglob("passwords"))


def test_no_secret_is_shown_and_the_next_steps_are(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    ended = run(str(tmp_path / "mqtt"), "--lab", str(tmp_path / "lab.yaml"), "--client-certificates")
    assert ended.exit_code == 0
    secrets = [path.read_text().strip() for path in tmp_path.rglob("mqtt-password")]
    assert len(secrets) == 5
    assert all(len(secret) >= 20 and secret not in ended.output for secret in secrets)
    assert "LoadCredential=mqtt-password:/etc/labd/mqtt-password" in ended.output
    said = "tls: {ca: mqtt/ca.crt, cert: mqtt/client.crt, key: mqtt/client.key}, user: labd"
    assert f"mqtt: {{broker: {{host: localhost, port: 8883, {said}}}}}" in ended.output


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"users": {"labd": "operator"}}, "labd's own login"),
        (
            {"mqtt": {"broker": {"host": "b", "user": "homeassistant"}, "home_assistant": True}},
            "Home Assistant's login",
        ),
    ],
)
def test_one_login_is_not_labds_and_anothers(more: dict[str, Any], told: str) -> None:
    lab = {"labd": 1, "lab": "toys", "store": "store", "devices": {}, "users": {"anna": "engineer"}}
    with pytest.raises(SetupError, match=told):
        plan_of(LabConfig.model_validate({**lab, **more}))


def test_a_password_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    where = (str(tmp_path / "mqtt"), "--lab", str(tmp_path / "lab.yaml"))
    assert run(*where).exit_code == 0
    (tmp_path / "mqtt" / "logins" / "ben" / "mqtt-password").unlink()
    ended = run(*where)
    assert ended.exit_code == 0
    assert "ben has a password that" in ended.output
    assert not (tmp_path / "mqtt" / "logins" / "ben" / "mqtt-password").exists(), "the one he has still holds"


def test_the_steps_do_not_write_over_another_labs_files(tmp_path: Path) -> None:
    at, others = tmp_path / "at", tmp_path / "others"
    at.mkdir()
    (tmp_path / "lab.yaml").write_text(LAB)
    ended = run(str(others), "--lab", str(tmp_path / "lab.yaml"), "--at", str(at))
    step = next(line.strip() for line in ended.output.splitlines() if " && install -o mosquitto" in line)
    condition = step.partition(" && ")[0]

    def holds() -> bool:
        return subprocess.run(["sh", "-c", condition], check=False).returncode == 0

    own = (others / "broker" / "acl").read_text()
    assert holds(), "nothing is there"
    (at / "acl").write_text(own)
    assert holds(), "its own is there"
    for other in (own.replace("the lab toys.", "the lab toys-2."), own + own.replace("the lab toys.", "the lab oven.")):
        (at / "acl").write_text(other)
        assert not holds()


def test_the_plan_is_lab_yamls(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.replace("host: localhost, port: 8883", "host: broker.lab, port: 8884"))
    plan = plan_of(load_lab(path))
    assert (plan.hosts, plan.port, plan.daemon, plan.home_assistant) == (("broker.lab",), 8884, "labd", True)
    assert list(plan.logins) == ["labd", "homeassistant", "anna", "ben", "screen"]


def test_users_that_came_later_come_in_beside_one_of_mosquittos_own_tool(tmp_path: Path) -> None:
    folder = set_up(tmp_path, "--port", "1")
    tool = program("mosquitto_passwd", "mosquitto")
    lines = folder / "broker" / "passwords"
    subprocess.run([tool, "-b", str(lines), "carla", "pw"], check=True, capture_output=True)
    later = LAB.replace("{anna: engineer,", "{anna: engineer, dora: operator,")
    with secured(tmp_path, "--overwrite", lab=later) as broker:
        for login, password in (("dora", None), ("carla", "pw")):
            with Probe(broker, login, password) as client:
                assert client.connack == "Success"
                said = client.publish("labd/1/toys/cmd/dora/hold")
                assert (said == "Not authorized") == (login == "carla")
