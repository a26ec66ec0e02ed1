"""The commands about campaigns: started, looked at, steered by people."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from labd.cli.connection import Client, login_name, quoted
from labd.cli.errors import BAD_INPUT, REFUSED, CliError
from labd.cli.options import Json, Lab, Socket
from labd.cli.words import parameters_of

START_LIMIT = 120.0  # s; its protocol is proven
ASK_LIMIT = 600.0  # s; a heavy optimiser thinks

campaign_app = typer.Typer(
    help="Closed loops: an optimiser proposes, the lab makes and measures, the result goes back.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def _campaigns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Shell completion: the campaigns of the daemon that the other options name."""
    try:
        found = Client(ctx.params.get("socket"), ctx.params.get("lab")).get("/campaigns", limit=2.0)
    except CliError:
        return []
    return [one["campaign"] for one in found if one["campaign"].startswith(incomplete)]


File = Annotated[
    str, typer.Argument(metavar="FILE|ID", help="A campaign's file, or its id.", autocompletion=_campaigns)
]
Maybe = Annotated[
    str | None,
    typer.Argument(metavar="[FILE|ID]", help="A campaign's file, or its id; without: all.", autocompletion=_campaigns),
]
Proposal = Annotated[str, typer.Argument(metavar="PROPOSAL", help="`p0003` of `labd campaign status`.")]
Point = Annotated[
    list[str], typer.Argument(metavar="KEY=VALUE...", help="What of the point is set: EC=0.3 volume='500 µL'.")
]
Why = Annotated[str, typer.Option("--why", help="Why; it is kept with the campaign.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `labd`."""
    app.add_typer(campaign_app, name="campaign")


# ── its file ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _path(name: str) -> Path:
    """A campaign's file, by path or by the name of a shipped one. Raises CliError."""
    from labd.campaign.shipped import find_campaign

    try:
        return find_campaign(name)
    except FileNotFoundError as error:
        raise CliError(str(error), BAD_INPUT) from error


def _body(name: str) -> dict[str, object]:
    """What starts a campaign: its file, and its protocol with those that it calls. Raises CliError."""
    from labd.campaign.checker import check_campaign

    path = _path(name)
    plan, problems = check_campaign(path, str(path))
    if plan is None:
        told = [problem.as_json() for problem in problems]
        text = "\n".join(problem.render() for problem in problems)
        raise CliError(text, BAD_INPUT, {"error": {"code": "invalid_campaign", "message": text, "problems": told}})
    return {
        "campaign": plan.text,
        "name": str(path),
        "protocol": plan.protocol.text,
        "protocol_name": plan.protocol.source.name,
        "called": dict(plan.protocol.texts),
        "by": login_name(),
    }


def _id(client: Client, name: str) -> str:
    """The id of a campaign; of a file, the newest one of its name. Raises CliError."""
    every = client.get("/campaigns")
    if any(one["campaign"] == name for one in every):
        return name
    from labd.campaign.shipped import find_campaign, name_in

    try:
        wanted = name_in(find_campaign(name))
    except FileNotFoundError:
        wanted = None
    found = [one["campaign"] for one in every if wanted is not None and one["name"] == wanted]
    if not found:
        known = ", ".join(one["campaign"] for one in every) or "none"
        raise CliError(
            f"there is no campaign {name!r}; there are: {known}. `labd campaign run FILE` starts one", BAD_INPUT
        )
    return str(found[-1])


def _command(client: Client, name: str, verb: str, body: dict[str, object], *, as_json: bool) -> None:
    found = client.post(f"/campaigns/{quoted(_id(client, name))}/commands/{verb}", {"by": login_name(), **body})
    _show(found, as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import campaign_views, views

    if as_json:
        views.show_json(found)
    else:
        campaign_views.show_state(found)


# ── the commands ─────────────────────────────────────────────────────────────────────────────────────────────────
@campaign_app.command()
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A campaign's file, or the name of a shipped one.")],
    *,
    request: Annotated[
        str | None, typer.Option(help="A name of this start: given twice, it is started once (default: a new one).")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Start a campaign. The file of one that is at work is that one."""
    body = _body(file) | {"request": request or uuid.uuid4().hex}
    _show(Client(socket, lab).post_named("/campaigns", body, limit=START_LIMIT), as_json=as_json)


@campaign_app.command()
def status(campaign: Maybe = None, *, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Tell all campaigns, or one with its proposals."""
    from labd.cli import campaign_views, views

    client = Client(socket, lab)
    if campaign is None:
        every = client.get("/campaigns")
        if as_json:
            views.show_json(every)
        else:
            campaign_views.show_all(every)
        return
    found = client.get(f"/campaigns/{quoted(_id(client, campaign))}")
    if as_json:
        views.show_json(found)
    else:
        campaign_views.show_detail(found)


@campaign_app.command()
def report(
    campaign: File,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it as one HTML file, with plots.")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell what came of a campaign: each experiment, what was expected of it, the best so far, and what it cost."""
    from labd.cli import campaign_views, views

    client = Client(socket, lab)
    found = client.get(f"/campaigns/{quoted(_id(client, campaign))}")
    if out is not None:
        _written(found, out)
    if as_json:
        views.show_json(found)
    elif out is not None:
        typer.echo(out)
    else:
        campaign_views.show_report(found)


def _written(found: dict[str, Any], out: Path) -> None:
    """The report as a file. Raises CliError."""
    from labd import clock
    from labd.cli.campaign_page import page

    try:
        out.write_text(page(found, clock.stamp()), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{out} cannot be written: {error.strerror}; name another with -o", BAD_INPUT) from error


@campaign_app.command()
def pause(campaign: File, *, why: Why, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """Propose and queue nothing more; what is queued and at work goes on, and is told."""
    _command(Client(socket, lab), campaign, "pause", {"why": why}, as_json=as_json)


@campaign_app.command()
def resume(
    campaign: File,
    *,
    refilled: Annotated[
        bool, typer.Option("--refilled", help="What its `each` lists name is new again, such as vials.")
    ] = False,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Let a paused campaign go on."""
    _command(Client(socket, lab), campaign, "resume", {"refilled": refilled}, as_json=as_json)


@campaign_app.command()
def stop(campaign: File, *, why: Why, socket: Socket = None, lab: Lab = None, as_json: Json = False) -> None:
    """End a campaign: what has not begun is vetoed, what is at work goes on and is told."""
    _command(Client(socket, lab), campaign, "stop", {"why": why}, as_json=as_json)


@campaign_app.command()
def propose(
    campaign: File,
    *,
    want: Annotated[
        str | None,
        typer.Option(help="Properties that you wish for: 'conductivity >= 10 mS/cm, viscosity <= 3 mPa*s'."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="So many candidates.")] = 5,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Tell what the optimiser would try now, or what has the properties that you want, with what is expected and why.

    Nothing is queued. Of a file that was never run, only what is known before is known: its `prior`.
    """
    from labd.cli import campaign_views, views

    found, told = _candidates(campaign, count, want, socket, lab)
    if as_json:
        views.show_json(found)
    else:
        campaign_views.show_candidates(found, told)
    if found["possible"] is False:
        raise typer.Exit(REFUSED)


def _candidates(
    campaign: str, count: int, want: str | None, socket: Path | None, lab: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Candidates, and the campaign that they are for; of a file without its daemon, by what it says alone."""
    try:
        client = Client(socket, lab)
        name = _id(client, campaign)
    except CliError:
        if not Path(campaign).is_file():
            raise
        return _alone(Path(campaign), count, want)
    body: dict[str, object] = {"count": count, "want": want}
    found = client.post(f"/campaigns/{quoted(name)}/candidates", body, limit=ASK_LIMIT)
    return dict(found), dict(client.get(f"/campaigns/{quoted(name)}"))


def _alone(path: Path, count: int, want: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a file that no daemon knows."""
    from labd.campaign.asking import asked, wished
    from labd.campaign.checker import plan_of
    from labd.campaign.problem import CampaignError
    from labd.campaign.telling import candidate_told, problem_told, proposal_told
    from labd.files import InputErrors

    try:
        plan = plan_of(path, str(path))
        told = {"campaign": plan.name, "units": dict(plan.dimensions), "problem": problem_told(plan)}
        if want is None:
            found = [proposal_told(one) for one in asked(plan, [], [], count, plan.seed_of(1))]
            return {"proposals": found, "verdict": None, "possible": None}, told
        answer = wished(plan, [], want, count)
    except (InputErrors, CampaignError) as error:
        raise CliError(str(error), BAD_INPUT) from error
    candidates = [candidate_told(one) for one in answer.candidates]
    return {"proposals": candidates, "verdict": answer.verdict, "possible": answer.possible}, told


@campaign_app.command()
def veto(
    campaign: File, proposal: Proposal, *, why: Why, socket: Socket = None, lab: Lab = None, as_json: Json = False
) -> None:
    """Take a proposal back that was not begun."""
    client = Client(socket, lab)
    path = f"/campaigns/{quoted(_id(client, campaign))}/proposals/{quoted(proposal)}/commands/veto"
    _show_proposals(client.post(path, {"by": login_name(), "why": why}), as_json=as_json)


@campaign_app.command()
def edit(
    campaign: File,
    proposal: Proposal,
    point: Point,
    *,
    why: Why,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Change the point of a proposal that was not begun."""
    client = Client(socket, lab)
    name = _id(client, campaign)
    path = f"/campaigns/{quoted(name)}/proposals/{quoted(proposal)}/commands/edit"
    body: dict[str, object] = {"point": _point(client, name, point), "by": login_name(), "why": why}
    _show_proposals(client.post(path, body), as_json=as_json)


@campaign_app.command()
def add(
    campaign: File,
    point: Point,
    *,
    why: Why,
    request: Annotated[
        str | None, typer.Option(help="A name of this proposal: given twice, it is added once (default: a new one).")
    ] = None,
    socket: Socket = None,
    lab: Lab = None,
    as_json: Json = False,
) -> None:
    """Add a proposal of your own: the optimiser learns from it as from its own."""
    client = Client(socket, lab)
    name = _id(client, campaign)
    body: dict[str, object] = {"points": [_point(client, name, point)], "by": login_name(), "why": why}
    body["request"] = request or uuid.uuid4().hex
    found = client.post_named(f"/campaigns/{quoted(name)}/proposals", body, limit=START_LIMIT)
    _show_proposals(found, as_json=as_json)


def _show_proposals(found: dict[str, Any], *, as_json: bool) -> None:
    from labd.cli import campaign_views, views

    if as_json:
        views.show_json(found)
    else:
        campaign_views.show_proposals(found["proposals"], found["units"])


def _point(client: Client, name: str, given: list[str]) -> dict[str, float | str]:
    """`volume='0.5 mL'` as a number in the campaign's own unit. Raises CliError."""
    from labd.sdk import UnitError, units

    own: dict[str, str] = client.get(f"/campaigns/{quoted(name)}")["units"]
    found: dict[str, float | str] = {}
    for key, text in parameters_of(given).items():
        unit = own.get(key, "")
        try:
            if unit:
                quantity = units.parse(text)
                found[key] = float(f"{units.convert(quantity.value, quantity.unit, unit):.12g}")
            else:
                found[key] = _number(text)
        except UnitError as error:
            raise CliError(f"{key}: {error}", BAD_INPUT) from error
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
