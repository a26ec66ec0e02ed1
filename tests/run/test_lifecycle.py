"""PackML's life cycle."""

from __future__ import annotations

import pytest

from labd.run.lifecycle import Command, CommandRefusedError, Lifecycle, State


def walk(*commands: Command) -> Lifecycle:
    cycle = Lifecycle()
    for command in commands:
        cycle.command(command)
    return cycle


def test_a_run_that_goes_well() -> None:
    cycle = walk(Command.START, Command.DONE, Command.COMPLETE, Command.DONE)
    assert cycle.at is State.COMPLETE


def test_hold_and_unhold_come_back_to_execute() -> None:
    cycle = walk(Command.START, Command.DONE, Command.HOLD)
    assert cycle.at is State.HOLDING
    cycle.command(Command.DONE)
    assert cycle.at is State.HELD
    cycle.command(Command.UNHOLD)
    cycle.command(Command.DONE)
    assert cycle.at is State.EXECUTE


@pytest.mark.parametrize("state", [state for state in State if state not in {State.COMPLETE, State.STOPPED}])
def test_abort_is_heard_in_every_state_that_can_still_move(state: State) -> None:
    cycle = Lifecycle(state)
    if state in {State.ABORTING, State.ABORTED}:
        assert Command.ABORT not in cycle.allowed()
    else:
        cycle.command(Command.ABORT)
        assert cycle.at is State.ABORTING


def test_an_aborted_run_is_cleared_to_stopped() -> None:
    cycle = Lifecycle(State.ABORTED)
    cycle.command(Command.CLEAR)
    cycle.command(Command.DONE)
    assert cycle.at is State.STOPPED


def test_a_command_out_of_place_names_what_is_possible() -> None:
    cycle = walk(Command.START, Command.DONE)
    with pytest.raises(CommandRefusedError, match=r"unhold is not possible in Execute; possible: .*hold.*stop.*abort"):
        cycle.command(Command.UNHOLD)
    assert cycle.at is State.EXECUTE


def test_stop_does_not_interrupt_an_abort() -> None:
    assert Command.STOP not in Lifecycle(State.ABORTING).allowed()
