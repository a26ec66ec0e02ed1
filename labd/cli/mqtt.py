"""`labd mqtt`: a broker for a lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labd.cli.errors import BAD_INPUT, CliError
from labd.cli.options import Json

if TYPE_CHECKING:
    from labd.telemetry.setup import BrokerPlan, Written

mqtt_app = typer.Typer(
    help="MQTT: a broker for the lab.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@mqtt_app.callback()
def _mqtt() -> None:
    """MQTT: a broker for the lab."""


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
        show_json({**told, "new_logins": done.new_logins, "strangers": done.strangers})
    else:
        _show(plan, directory, done)


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
    say()
    for line in _next(plan, directory):
        say(line)


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
        f"  install -o mosquitto -g mosquitto -m 600 {directory}/broker/* {plan.at}/",
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
