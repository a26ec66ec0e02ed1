"""What goes over /api/v1 of campaigns: starting them, what people say of proposals, and ask and tell from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, JsonValue, StrictFloat, StrictInt, StrictStr

from labd.api.models import Who, Words, _Model
from labd.lab.bus import CampaignAsk

if TYPE_CHECKING:
    from labd.campaign.campaign import Campaign

PointModel = Annotated[dict[str, StrictInt | StrictFloat | StrictStr], Field(min_length=1, max_length=200)]
"""One setting of every dimension, numbers in the units that the campaign's file names."""
Text = Annotated[str, Field(min_length=1, max_length=2_000_000)]
Why = Annotated[str, Field(min_length=1, max_length=2000)]


class CampaignRequest(_Model):
    """Starts a campaign. `campaign` is its file's text, `protocol` that of the protocol which it names.

    `called` are the texts of the protocols that the latter calls; those that ship with labd need not be sent.
    `request` is what its sender calls it: sent once more, it is answered as before and not started twice.
    """

    campaign: Text
    name: Annotated[str, Field(max_length=1000)] = "campaign.yaml"
    protocol: Text
    protocol_name: Annotated[str, Field(max_length=1000)] = "protocol.yaml"
    called: Annotated[dict[str, Text], Field(max_length=100)] = Field(default_factory=dict)
    request: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    by: Who


class WhyRequest(_Model):
    """Who says so, and why: it is kept with the campaign."""

    by: Who
    why: Why


class ResumeCampaignRequest(_Model):
    """Lets a campaign go on. `refilled`: what its `each` lists name is unused again."""

    by: Who
    refilled: bool = False


class EditRequest(_Model):
    """Changes a proposal that was not begun: `point` has what is changed of it."""

    point: PointModel
    by: Who
    why: Why


class AddRequest(_Model):
    """Adds proposals of a person. `request` is what its sender calls it: sent once more, nothing is added twice."""

    points: Annotated[list[PointModel], Field(min_length=1, max_length=200)]
    by: Who
    why: Why
    request: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class AnswerAskRequest(_Model):
    """What an optimiser outside proposes to an ask; `why` by point, where it says. Sent twice, it is taken once."""

    points: Annotated[list[PointModel], Field(min_length=1, max_length=200)]
    why: Annotated[list[Words], Field(max_length=200)] = Field(default_factory=list)
    by: Who


class CandidatesRequest(_Model):
    """Asks what a campaign's optimiser would propose now, or what has the properties that are wished for.

    `want`: `conductivity >= 10 mS/cm, viscosity <= 3 mPa*s`. Nothing is queued.
    """

    count: Annotated[int, Field(ge=1, le=100)] = 5
    want: Annotated[str, Field(min_length=1, max_length=2000)] | None = None


class CandidatesModel(_Model):
    """Candidates, the best first. Of a wish, `verdict` says in words how far it can be met; `possible`, whether."""

    proposals: list[dict[str, JsonValue]]
    verdict: str | None = None
    possible: bool | None = None


class CampaignModel(_Model):
    """Where a campaign is: `state` is working, paused or ended, `why` says of what.

    `experiments` counts proposals by what became of them; `budget` says what is used of what, with units.
    """

    campaign: str
    name: str
    version: str
    state: str
    why: str | None
    by: str
    since: str
    started: str
    ended: str | None
    optimiser: str
    rounds: int
    experiments: dict[str, int]
    best: dict[str, JsonValue] | None
    budget: dict[str, dict[str, JsonValue]]

    @classmethod
    def of(cls, campaign: Campaign) -> CampaignModel:
        from labd.campaign.telling import state_told

        return cls.model_validate(state_told(campaign.record, campaign.plan))


class CampaignDetailModel(CampaignModel):
    """The same with its problem, all its proposals, and how the best came on, experiment by experiment.

    `front` are the proposals that no other one beats in all objectives.
    """

    summary: str
    units: dict[str, str]
    problem: dict[str, JsonValue]
    proposals: list[dict[str, JsonValue]]
    course: list[dict[str, JsonValue]]
    front: list[str]

    @classmethod
    def of(cls, campaign: Campaign) -> CampaignDetailModel:
        from labd.campaign.telling import detail_told

        told: dict[str, Any] = CampaignModel.of(campaign).model_dump()
        return cls.model_validate({**told, **detail_told(campaign.record, campaign.plan)})


class ProposalsModel(_Model):
    """Proposals, each with its story; `units` are those of the numbers of their points."""

    proposals: list[dict[str, JsonValue]]
    units: dict[str, str]


class AskModel(_Model):
    """What is asked of an optimiser outside: `count` points; `ask` 0 where nothing is asked now.

    `told` are all observations (failed ones have a cause and no values), `pending` the points that are being made.
    """

    campaign: str
    ask: int
    count: int
    problem: dict[str, JsonValue]
    told: list[dict[str, JsonValue]]
    pending: list[dict[str, JsonValue]]

    @classmethod
    def of(cls, ask: CampaignAsk) -> AskModel:
        return cls.model_validate(
            {
                "campaign": ask.campaign,
                "ask": ask.ask,
                "count": ask.count,
                "problem": dict(ask.problem),
                "told": [dict(one) for one in ask.told],
                "pending": [dict(one) for one in ask.pending],
            }
        )
