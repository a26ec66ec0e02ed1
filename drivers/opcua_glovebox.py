"""Gloveboxes behind an OPC UA server: the glovebox's half of the driver `opcua`, which is for one role a name."""

from drivers.opcua.glovebox import OpcUaGlovebox

DRIVER = OpcUaGlovebox

__all__ = ["DRIVER", "OpcUaGlovebox"]
