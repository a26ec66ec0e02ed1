"""Campaigns over /api/v1: started, looked at, and steered; and asked and told by optimisers outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Response

from labd.api.campaign_models import (
    AddRequest,
    AnswerAskRequest,
    AskModel,
    CampaignDetailModel,
    CampaignModel,
    CampaignRequest,
    CandidatesModel,
    CandidatesRequest,
    EditRequest,
    ProposalsModel,
    ResumeCampaignRequest,
    WhyRequest,
)
from labd.campaign.engine import Campaigns
from labd.campaign.state import Experiment

if TYPE_CHECKING:
    from labd.campaign.campaign import Campaign


def campaign_routes(api: APIRouter, campaigns: Campaigns) -> None:
    """Adds the routes."""
    _looking(api, campaigns)
    _orders(api, campaigns)
    _proposals(api, campaigns)
    _outside(api, campaigns)


def _told(campaign: Campaign, *ones: Experiment) -> ProposalsModel:
    from labd.campaign.telling import experiment_told

    units = dict(campaign.plan.dimensions) if campaign.plan is not None else {}
    return ProposalsModel(proposals=[experiment_told(one, campaign.plan) for one in ones], units=units)


def _looking(api: APIRouter, campaigns: Campaigns) -> None:
    @api.get("/campaigns")
    async def every() -> list[CampaignModel]:
        """All campaigns, oldest first."""
        return [CampaignModel.of(campaign) for campaign in campaigns.all()]

    @api.get("/campaigns/{campaign}")
    async def one(campaign: str) -> CampaignDetailModel:
        """One with all its proposals."""
        return CampaignDetailModel.of(campaigns.find(campaign))


def _orders(api: APIRouter, campaigns: Campaigns) -> None:
    @api.post("/campaigns", status_code=201)
    async def start(request: CampaignRequest) -> CampaignModel:
        """Starts one; it is durable when this answers. The file of one at work is answered with that one."""
        found = await campaigns.start(
            request.campaign,
            request.name,
            request.protocol,
            request.protocol_name,
            request.called,
            by=request.by,
            request=request.request,
        )
        return CampaignModel.of(found)

    @api.post("/campaigns/{campaign}/commands/pause")
    async def pause(campaign: str, request: WhyRequest) -> CampaignModel:
        """Proposes and queues nothing more, over restarts. What is queued and at work goes on, and is told."""
        await campaigns.find(campaign).hold(by=request.by, why=request.why)
        return CampaignModel.of(campaigns.find(campaign))

    @api.post("/campaigns/{campaign}/commands/resume")
    async def resume(campaign: str, request: ResumeCampaignRequest) -> CampaignModel:
        """Lets it go on."""
        return CampaignModel.of(await campaigns.resume(campaign, by=request.by, refilled=request.refilled))

    @api.post("/campaigns/{campaign}/commands/stop")
    async def stop(campaign: str, request: WhyRequest) -> CampaignModel:
        """Ends it: what has not begun is vetoed, what is at work goes on and is told."""
        await campaigns.find(campaign).stop(by=request.by, why=request.why)
        return CampaignModel.of(campaigns.find(campaign))


def _proposals(api: APIRouter, campaigns: Campaigns) -> None:
    @api.post("/campaigns/{campaign}/candidates")
    async def candidates(campaign: str, request: CandidatesRequest) -> CandidatesModel:
        """What its optimiser would propose now, or what meets a wish, with what is expected and why."""
        from labd.campaign.telling import candidate_told, proposal_told

        if request.want is None:
            found = await campaigns.candidates(campaign, request.count)
            return CandidatesModel.model_validate({"proposals": [proposal_told(one) for one in found]})
        answer = await campaigns.wish(campaign, request.want, request.count)
        told = [candidate_told(one) for one in answer.candidates]
        return CandidatesModel.model_validate(
            {"proposals": told, "verdict": answer.verdict, "possible": answer.possible}
        )

    @api.post("/campaigns/{campaign}/proposals", status_code=201)
    async def add(campaign: str, request: AddRequest) -> ProposalsModel:
        """Adds proposals of a person; they are durable when this answers, and are queued with the next step."""
        found = campaigns.find(campaign)
        return _told(found, *await found.add(request.points, by=request.by, why=request.why, request=request.request))

    @api.post("/campaigns/{campaign}/proposals/{proposal}/commands/veto")
    async def veto(campaign: str, proposal: str, request: WhyRequest) -> ProposalsModel:
        """Takes one back that was not begun; its job is cancelled."""
        found = campaigns.find(campaign)
        return _told(found, await found.veto(proposal, by=request.by, why=request.why))

    @api.post("/campaigns/{campaign}/proposals/{proposal}/commands/edit")
    async def edit(campaign: str, proposal: str, request: EditRequest) -> ProposalsModel:
        """Changes one that was not begun; its job is cancelled, and another one queued."""
        found = campaigns.find(campaign)
        return _told(found, await found.edit(proposal, request.point, by=request.by, why=request.why))


def _outside(api: APIRouter, campaigns: Campaigns) -> None:
    @api.get("/campaigns/{campaign}/ask")
    async def ask(campaign: str) -> AskModel:
        """What is asked of an optimiser outside now, with all that was observed and all that is pending."""
        return AskModel.of(campaigns.ask(campaign))

    @api.post("/campaigns/{campaign}/asks/{number}", status_code=201)
    async def answer(campaign: str, number: int, request: AnswerAskRequest, response: Response) -> ProposalsModel:
        """Answers an ask; durable when this answers. 200 with the first answer's proposals where it was answered."""
        found = campaigns.find(campaign)
        before = found.record.asks
        made = await campaigns.answer(campaign, number, request.points, by=request.by, why=request.why)
        if number <= before:
            response.status_code = 200
        return _told(found, *made)
