"""`labd mqtt`: a broker for a lab, and one command by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.connection import login_name
from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json
from labd.cli.words import parameters_of

if TYPE_CHECKING:
    from labd.lab.access import Broker
    from labd.lab.config import LabConfig
    from labd.telemetry.payloads import Reply
    from labd.telemetry.setup import BrokerPlan, Written

_GIVE_LOGIN = "it lets nobody in without a login: give --login mqtt/logins/NAME, which `labd mqtt setup` wrote"

mqtt_app = typer.Typer(
    help="MQTT: set a broker up for the lab, and try it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@mqtt_app.callback()
def _mqtt() -> None:
    """MQTT: set a broker up for the lab, and try it."""


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(mqtt_app, name="mqtt")


@mqtt_app.command()
def setup(
    directory: Annotated[Path, typer.Argument(help="Where to write them; the same folder again keeps what is there.")],
    *,
    lab: Annotated[Path, typer.Option(help="Whose `users` get logins.")] = Path("lab.yaml"),
    host: Annotated[
        list[str] | None,
        typer.Option(help="A name or address of the broker's machine, for its certificate; may be given repeatedly."),
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the TLS listener (default: 8883).")] = None,
    at: Annotated[str, typer.Option(help="The files' folder on the broker's machine.")] = "/etc/mosquitto/labd",
    data: Annotated[str, typer.Option(help="The broker's folder for what it keeps.")] = "/var/lib/mosquitto",
    client_certificates: Annotated[
        bool, typer.Option("--client-certificates", help="Everybody needs a certificate besides the password.")
    ] = False,
    cert: Annotated[Path | None, typer.Option(help="The broker's certificate, where you have one.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    ca: Annotated[Path | None, typer.Option(help="The authority that signed it, if no system knows it.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write configuration and ACL anew.")] = False,
    renew: Annotated[bool, typer.Option("--renew", help="Make certificates anew, by the same authority.")] = False,
    as_json: Json = False,
) -> None:
    """Write what a mosquitto needs for this lab: configuration, ACL, logins and certificates.

    Passwords are random and stand in files that only you can read; none is shown. What is there already is kept: users
    that are new in lab.yaml get logins, and with --overwrite the ACL follows their roles.
    """
    from labd.cli.views import show_json
    from labd.files import InputErrors
    from labd.lab.config import load_lab
    from labd.telemetry.setup import SetupError, plan_of, write

    try:
        plan = plan_of(
            load_lab(lab),
            host or (),
            port=port,
            at=at,
            data=data,
            client_certificates=client_certificates,
            certificate=(cert, key, ca),
        )
        done = write(plan, directory, overwrite=overwrite, renew=renew)
    except (InputErrors, SetupError) as error:
        raise CliError(str(error), BAD_INPUT) from error
    if as_json:
        told = {"written": done.written, "kept": done.kept}
        logins = {"new_logins": done.new_logins, "strangers": done.strangers, "without_file": done.without_file}
        show_json({**told, **logins})
    else:
        _show(plan, directory, done)


@mqtt_app.command()
def send(
    verb: Annotated[str, typer.Argument(help="hold, unhold, stop, abort, clear, answer, start, submit, cancel, …")],
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...", help="run=run-0001; all=true; protocol=@dose.yaml: what the file holds."
        ),
    ] = None,
    *,
    lab: Annotated[Path, typer.Option(help="Names the lab and its broker.")] = Path("lab.yaml"),
    login: Annotated[
        Path | None, typer.Option(help="A folder that `labd mqtt setup` wrote: logins/NAME (default: no password).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Another address of the broker than lab.yaml's.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Another port.")] = None,
    as_json: Json = False,
) -> None:
    """Give the lab one command over MQTT and wait for its end: to try a broker, a login and an ACL.

    At the bench the other commands are the shorter way. Ends with 0 when it is done, with 1 when it is not.
    """
    from pydantic import ValidationError

    from labd import clock
    from labd.cli.errors import REFUSED
    from labd.cli.views import say, show_json
    from labd.files import InputErrors
    from labd.lab.config import load_lab
    from labd.telemetry.access import NO_LOGIN
    from labd.telemetry.publisher import PublishError, PublishRefused
    from labd.telemetry.sending import NoAnswerError, give

    try:
        config = load_lab(lab)
        broker = _broker(config, login, host, port)
        user = login.resolve().name if login is not None else login_name()
        show = (lambda _: None) if as_json else (lambda reply: say(_line(reply)))
        last = clock.run(give(broker, config.lab, user, verb, _arguments(values or []), show))
    except InputErrors as error:
        raise CliError(str(error), BAD_INPUT) from error
    except ValidationError as error:
        raise CliError("; ".join(one["msg"] for one in error.errors()), BAD_INPUT) from error
    except ValueError as error:
        raise CliError(str(error), BAD_INPUT) from error
    except PublishRefused as error:
        mend = f"its ACL lets {user} write no such topic: is he a viewer, or not in lab.yaml's `users`?"
        raise CliError(f"{error}; {mend}", REFUSED) from error
    except (PublishError, NoAnswerError) as error:
        text = str(error) if login is not None else str(error).replace(NO_LOGIN, _GIVE_LOGIN)
        raise CliError(text, REFUSED) from error
    if as_json:
        show_json(last.model_dump(mode="json"))
    if last.state != "done":
        raise typer.Exit(REFUSED)


def _broker(config: LabConfig, login: Path | None, host: str | None, port: int | None) -> Broker:
    """Where lab.yaml has its broker, with the login of a user's folder instead of the daemon's."""
    from labd.lab.access import Broker, Tls

    mqtt = config.telemetry
    if mqtt is None:
        raise CliError("lab.yaml has no `mqtt`: there is no broker to send anything to", BAD_INPUT)
    named = mqtt.broker if isinstance(mqtt.broker, Broker) else Broker(host="127.0.0.1", port=mqtt.port)
    found = {"host": host or named.host, "port": port or named.port}
    if login is None:
        return Broker(**found, tls=named.tls)
    own = {"ca": login / "ca.crt", "cert": login / "client.crt", "key": login / "client.key"}
    files = {name: path for name, path in own.items() if path.is_file()}
    password = login / "mqtt-password"
    return Broker(**found, tls=Tls(**files), user=login.resolve().name, password_file=password)


def _arguments(values: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, text in parameters_of(values).items():
        if text.startswith("@"):
            try:
                found[name] = Path(text[1:]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise CliError(f"{text[1:]} cannot be read: {error}", BAD_INPUT) from error
        elif text in ("true", "false", "null") or text[:1] in ("{", "[") or text.lstrip("-").isdecimal():
            try:
                found[name] = json.loads(text)
            except ValueError as error:
                raise CliError(f"{name}: this is no JSON: {error}", BAD_INPUT) from error
        else:
            found[name] = text
    return found


def _line(reply: Reply) -> str:
    result = f" {json.dumps(dict(reply.result), ensure_ascii=False)}" if reply.result else ""
    return f"{reply.state}{result}" + (f": {reply.reason}" if reply.reason else "")


def _show(plan: BrokerPlan, directory: Path, done: Written) -> None:
    from labd.cli.views import say

    for name in done.written:
        say(f"wrote {directory / name}")
    if not done.written:
        say("all is there already; nothing was written")
    for login in done.strangers:
        say(
            f"{login} can log in, and is not in lab.yaml: mosquitto_passwd -D {directory}/broker/passwords {login}",
            "yellow",
        )
    for login in done.without_file:
        password = directory / "logins" / login / "mqtt-password"
        mend = f"for a new one delete the line of {login} in {directory}/broker/passwords, and run it again"
        say(f"{login} has a password that {password} does not hold: {mend}", "yellow")
    say()
    for line in _next(plan, directory):
        say(line)


def _alone(plan: BrokerPlan) -> str:
    """A condition of the shell: no other lab's ACL is in the place that these files are to have."""
    return f"! grep -s 'by `labd mqtt setup` for the lab ' {plan.at}/acl | grep -qv 'for the lab {plan.lab}[.]'"


def _next(plan: BrokerPlan, directory: Path) -> list[str]:
    """What is to be done by hand."""
    tls = ["ca: mqtt/ca.crt"] if plan.knows_authority else []
    trust = [f"{directory}/logins/{plan.daemon}/ca.crt"] if plan.knows_authority else []
    if plan.client_certificates:
        tls += ["cert: mqtt/client.crt", "key: mqtt/client.key"]
        trust += [f"{directory}/logins/{plan.daemon}/client.{kind}" for kind in ("crt", "key")]
    lines = [
        "Next, on the broker's machine (mosquitto 2.0 or later), as root:",
        f"  install -d -o mosquitto -g mosquitto -m 750 {plan.at}",
        f"  {_alone(plan)} && install -o mosquitto -g mosquitto -m 600 {directory}/broker/* {plan.at}/",
        "    (it does nothing where another lab's are: docs/how-to/secure-mqtt.md, Several labs at one broker)",
        "  cp -n /etc/mosquitto/mosquitto.conf /etc/mosquitto/mosquitto.conf.before-labd",
        f"  install -m 644 {plan.at}/mosquitto.conf /etc/mosquitto/mosquitto.conf && systemctl restart mosquitto",
        "On labd's machine, as root:",
        f"  install -m 600 {directory}/logins/{plan.daemon}/mqtt-password /etc/labd/mqtt-password",
    ]
    if trust:
        lines += ["  install -d /etc/labd/mqtt", f"  install -m 640 -g labd {' '.join(trust)} /etc/labd/mqtt/"]
    broker = f"host: {plan.hosts[0]}, port: {plan.port}, tls: {{{', '.join(tls)}}}, user: {plan.daemon}"
    lines += [
        "  systemctl edit labd, and write: [Service], LoadCredential=mqtt-password:/etc/labd/mqtt-password",
        f"  in lab.yaml: mqtt: {{broker: {{{broker}}}}}",
        f"Give each user the folder {directory}/logins/NAME, over a way that nobody else reads.",
    ]
    if plan.own_authority:
        lines.append(f"Keep {directory}/authority off these machines: who has ca.key can make himself the broker.")
    return lines
