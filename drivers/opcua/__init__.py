"""Machines behind an OPC UA server, with PackML's states: PackML 1.01, LADS 1.0, or any by a profile of its own.

What the nodes mean is data: `profile: packml`, `profile: lads`, or the path of a YAML file of the same form. Gloveboxes
are the driver `opcua_glovebox`.
"""

from drivers.opcua.machine import OpcUaMachine

DRIVER = OpcUaMachine

__all__ = ["DRIVER", "OpcUaMachine"]
