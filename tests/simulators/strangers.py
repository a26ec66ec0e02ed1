"""Other people's clients of instruments, with blocking calls: they live in a process of their own."""

from __future__ import annotations

import time
from typing import Any


class Smu:
    """A 2450 by pymeasure."""

    def __init__(self, resource: str) -> None:
        from pymeasure.instruments.keithley.keithley2450 import Keithley2450

        self.smu: Any = Keithley2450(resource, visa_library="@py", read_termination="\n", write_termination="\n")

    def identity(self) -> str:
        return str(self.smu.id)

    def charge(self, volts: float, amps: float) -> tuple[float, float]:
        """Sources a voltage with a limit; gives what is measured."""
        smu = self.smu
        smu.reset()
        smu.apply_voltage(20, amps)
        smu.source_voltage = volts
        smu.measure_current(1, 0.01, auto_range=True)
        smu.enable_source()
        current = float(smu.current)
        smu.measure_voltage(1, 20, auto_range=True)
        return float(smu.voltage), current

    def off(self) -> None:
        self.smu.disable_source()

    def errors(self) -> list[Any]:
        return [entry for entry in self.smu.check_errors() or [] if entry[0] != 0]

    def close(self) -> None:
        self.smu.adapter.close()


class Meca:
    """A Meca500 by its maker's own client, mecademicpy."""

    def __init__(self, host: str, port: int) -> None:
        from mecademicpy import _robot_base
        from mecademicpy.robot import Robot

        _robot_base.MX_ROBOT_TCP_PORT_FEED = port + 1  # it knows one monitoring port; the control port may be given
        self.robot: Any = Robot()
        self.robot.Connect(f"{host}:{port}", timeout=5)
        self.watcher: Any = Robot()
        self.watcher.Connect(f"{host}:{port + 1}", monitor_mode=True, timeout=5)

    def told(self) -> tuple[str, str]:
        """What it is, and its firmware."""
        info = self.robot.GetRobotInfo()
        return str(info.model), str(info.version)

    def ready(self) -> tuple[bool, bool, bool]:
        """Activates and homes it; gives its status."""
        self.robot.ActivateAndHome()
        self.robot.WaitHomed(timeout=10)
        status = self.robot.GetStatusRobot(synchronous_update=True)
        return status.activation_state, status.homing_state, status.error_status

    def pick(self, above: list[float], at: list[float]) -> tuple[bool, list[float]]:
        """Takes what lies at a pose; gives whether it holds it, and where it then stands by its monitoring port."""
        robot = self.robot
        robot.SetJointVel(100)
        robot.SetCartLinVel(1000)
        robot.GripperOpen()
        robot.MovePose(*above)
        robot.MoveLin(*at)
        robot.WaitIdle(timeout=20)
        robot.GripperClose()
        robot.Delay(1.0)
        robot.WaitIdle(timeout=5)
        held = robot.GetStatusGripper(synchronous_update=True).holding_part
        robot.MoveLin(*above)
        reached = robot.SetCheckpoint(7)
        reached.wait(timeout=20)
        robot.WaitIdle(timeout=20)
        for _ in range(100):  # the watcher hears of it by its own port, a moment later
            stands = self.watcher.GetPose()
            if max(abs(one - other) for one, other in zip(stands[:3], above, strict=False)) < 0.01:
                break
            time.sleep(0.1)
        return held, stands

    def fail(self, out_of_reach: list[float]) -> tuple[bool, bool]:
        """Sends it out of reach; gives its error, and the same after a reset."""
        self.robot.MovePose(*out_of_reach)
        self.robot.WaitForError(timeout=5)
        before = self.robot.GetStatusRobot(synchronous_update=True).error_status
        self.robot.ResetError()
        self.robot.WaitErrorReset(timeout=5)
        self.robot.ResumeMotion()
        self.robot.WaitMotionResumed(timeout=5)
        return before, self.robot.GetStatusRobot(synchronous_update=True).error_status

    def close(self) -> None:
        self.robot.DeactivateRobot()
        self.robot.WaitDeactivated(timeout=5)
        self.watcher.Disconnect()
        self.robot.Disconnect()
