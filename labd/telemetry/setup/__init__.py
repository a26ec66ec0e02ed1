"""What a mosquitto needs to serve one lab and nobody else: configuration, ACL, logins, certificates."""

from labd.telemetry.setup.plan import BrokerPlan, SetupError, plan_of
from labd.telemetry.setup.writing import Written, write

__all__ = ["BrokerPlan", "SetupError", "Written", "plan_of", "write"]
