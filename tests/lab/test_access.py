"""Broker, login and users in lab.yaml: what is refused, what is warned of, and that no password is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labd.files import InputErrors
from labd.lab.access import Broker, Mqtt
from labd.lab.check import check_lab
from labd.lab.config import LabConfig, load_lab

LAB = """\
labd: 1
lab: bench-1
store: state
mqtt: MQTT
USERS
devices: {}
"""
TLS = "{broker: {host: broker.lab, port: 8883, tls: {}, user: labd}}"
USERS = "users: {anna: engineer, ben: operator, screen: viewer}"


def lab(tmp_path: Path, mqtt: str = TLS, users: str = USERS) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.replace("MQTT", mqtt).replace("USERS", users))
    return path


def warned(config: LabConfig) -> list[str]:
    return [problem.code for problem in config.warnings]


def test_users_have_roles_and_a_lab_without_any_names_none(tmp_path: Path) -> None:
    config = load_lab(lab(tmp_path))
    assert config.users == {"anna": "engineer", "ben": "operator", "screen": "viewer"}
    assert warned(config) == []
    assert load_lab(lab(tmp_path, users="")).users is None
    assert load_lab(lab(tmp_path, users="users: {}")).users == {}


@pytest.mark.parametrize(
    ("mqtt", "users", "code", "told"),
    [
        (TLS, "users:", "L103", "`users: {}` for nobody"),
        (TLS, "users: {anna: boss}", "L103", "engineer"),
        (TLS, "users: {Anna K: viewer}", "L103", "write `anna-k`"),
        (TLS, "users: {labd: engineer}", "L302", "labd's own login"),
        ("{broker: embedded}", "users: {labd: operator}", "L302", "labd's own login"),
        (
            TLS.replace("user: labd}", "user: homeassistant}, home_assistant: true"),
            USERS,
            "L302",
            "Home Assistant's login",
        ),
        ("{broker: {host: 'mqtts://broker.lab'}}", USERS, "L103", "`host` is a name or an address alone"),
        ("{broker: {host: b, tls: {key: labd.key}}}", USERS, "L102", "`key` needs `cert`"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, mqtt: str, users: str, code: str, told: str) -> None:
    with pytest.raises(InputErrors) as caught:
        load_lab(lab(tmp_path, mqtt, users))
    (problem,) = (one for one in caught.value.problems if one.severity == "error")
    assert (problem.code, told in problem.render()) == (code, True), problem.render()


@pytest.mark.parametrize(
    "mqtt",
    [
        "{broker: {host: b, user: labd, password: hunter2}}",
        "{broker: {host: b, user: labd, pasword: hunter2}}",
        "{broker: {host: b, user: labd, password: 'hunter2', prot: 8883}}",
        "{broker: {host: 'mqtt://labd:hunter2@b'}}",
        "{broker: {host: 'labd:hunter2@b'}}",
        "{broker: {host: b, password: hunter2, password: hunter2}}",
        "{broker: {host: b, password: hunter2",
        '{broker: {host: b, password: "pre,hunter2"}}',
        "{broker: {host: b, password: pre,hunter2}}",
        '{broker: {host: b, password: "pre}hunter2"}}',
        "{broker: {host: b, password: pre}hunter2}}",
        "\n  broker:\n    host: b\n    password:\n      hunter2",
        "\n  broker:\n    host: b\n    password: |\n      one\n      hunter2",
        "\n  broker:\n    host: b\n    password: 'one\n      hunter2'",
        "\n  broker:\n    host: b\n    password: 'one\n      hunter2",
        "{broker: {host: b, PASSWORD: hunter2}}",
        "{broker: {host: b, Password: hunter2}}",
        "{broker: {host: b, pwd: hunter2}}",
        "{broker: {host: b, token: hunter2}}",
        "{broker: {host: b, api_key: hunter2}}",
        "{broker: {host: b, mqtt_password: hunter2, mqtt_password: hunter2}}",
        "{broker: {host: b, api_key: hunter2, api_key: hunter2}}",
        "{broker: {host: b, user: 'labd:hunter2', usr: x}}",
        "{broker: {host: b, prot: 1, user: labd}} # hunter2",
        "{broker: {host: b, prot: 1}, password: [hunter2]}",
        "{broker: 'mqtt://labd:hunter2@b'}",
        "{broker: {hosts: 'mqtt://labd:hunter2@b'}}",
        "mqtt://labd:hunter2@b",
        "{broker: embedded, mqtt_password: &a hunter2}",
        "{broker: {host: b, password: hunter2\t}}\n\tx",
        "{broker: embedded}\nmqtt_password: hunter2",
        "{broker: embedded}\nMQTT: {broker: hunter2 x}",
    ],
)
def test_a_password_in_the_file_is_refused_and_never_shown(tmp_path: Path, mqtt: str) -> None:
    assert "hunter2" not in _told_of(lab(tmp_path, mqtt))


@pytest.mark.parametrize(
    "users",
    [
        "users: {anna: hunter2}",
        "users: {anna: {role: viewer, password: hunter2}}",
        "users: {anna: [viewer, hunter2]}",
        "users: {'anna:hunter2': viewer}",
        "users: {anna: viewer, hunter2}",
        "users: [anna, hunter2]",
        "users: hunter2",
        "users:\n  anna: engineer:hunter2\n",
        "users:\n  anna:\n    hunter2",
        "users:\n  anna: viewer\n  anna: hunter2",
        "users:\n  anna: viewer\n bad hunter2: x",
    ],
)
def test_nor_is_one_below_users(tmp_path: Path, users: str) -> None:
    assert "hunter2" not in _told_of(lab(tmp_path, users=users))


def _told_of(path: Path) -> str:
    with pytest.raises(InputErrors) as caught:
        load_lab(path)
    return str(caught.value) + json.dumps([problem.as_json() for problem in caught.value.problems])


@pytest.mark.parametrize(
    ("mqtt", "users", "shown"),
    [
        ("{broker: {host: b, prot: 8883}}", USERS, "did you mean `port`?"),
        ("{broker: {host: broker.lab, port: 99999}}", USERS, "port: 99999"),
        ("{broker: embeded}", USERS, "embeded"),
        (TLS, "users: {anna: viewer, Ben K: operator}", "Ben K: operator"),
        ("{broker: {host: b, password: hunter2}}", USERS, "{broker: {host: b, password: *"),
    ],
)
def test_what_is_no_password_is_still_shown(tmp_path: Path, mqtt: str, users: str, shown: str) -> None:
    assert shown in _told_of(lab(tmp_path, mqtt, users))


def test_a_password_in_the_file_is_told_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(InputErrors) as caught:
        load_lab(lab(tmp_path, "{broker: {host: b, user: labd, password: hunter2}}"))
    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == ("L216", 4)
    assert "password_file: /etc/labd/mqtt-password" in problem.mend


@pytest.mark.parametrize(
    ("mqtt", "users", "codes"),
    [
        (TLS, "", ["L214"]),
        ("{broker: embedded}", USERS, ["L215"]),
        ("{broker: embedded}", "", []),
        ("{broker: {host: b, user: labd}}", USERS, ["L219"]),
        ("{broker: {host: 127.0.0.1, user: labd}}", USERS, []),
        ("{broker: {host: b, tls: {ca: not-there.crt}}}", USERS, ["L218"]),
        ("{broker: {host: b, tls: {ca: empty}}}", USERS, ["L218"]),
        ("{broker: {host: b, tls: {ca: lab.yaml}}}", USERS, ["L218"]),
    ],
)
def test_what_is_weak_is_warned_of_and_still_runs(tmp_path: Path, mqtt: str, users: str, codes: list[str]) -> None:
    (tmp_path / "empty").touch()
    assert warned(load_lab(lab(tmp_path, mqtt, users))) == codes
    assert check_lab(tmp_path / "lab.yaml").lab is not None


def test_a_password_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    password = tmp_path / "mqtt-password"
    password.write_text("hunter2\n")
    password.chmod(0o644)
    mqtt = "{broker: {host: b, tls: {}, user: labd, password_file: mqtt-password}}"
    (problem,) = load_lab(lab(tmp_path, mqtt)).warnings
    assert (problem.code, problem.mend) == ("L217", f"chmod 640 {password}")
    password.chmod(0o640)
    assert warned(load_lab(lab(tmp_path, mqtt))) == []


def test_files_of_the_broker_are_under_the_folder_of_the_file_that_names_them(tmp_path: Path) -> None:
    mqtt = "{broker: {host: b, tls: {ca: ca.crt, cert: /etc/labd/labd.crt}, password_file: secrets/mqtt}}"
    found = load_lab(lab(tmp_path, mqtt)).telemetry
    assert found is not None
    assert isinstance(found.broker, Broker)
    assert found.broker.password_file == tmp_path / "secrets" / "mqtt"
    assert found.broker.tls is not None
    assert (found.broker.tls.ca, found.broker.tls.cert) == (tmp_path / "ca.crt", Path("/etc/labd/labd.crt"))
    assert Mqtt(broker="embedded").under(tmp_path) == Mqtt(broker="embedded")
