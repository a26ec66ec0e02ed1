"""`labd doctor`: whether ports, devices, broker, store and machine are as a lab needs them, each with its mend."""

from labd.doctor.examine import Answers, examine
from labd.doctor.finding import Finding, worst

__all__ = ["Answers", "Finding", "examine", "worst"]
