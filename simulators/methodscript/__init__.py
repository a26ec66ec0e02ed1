"""A PalmSens instrument that speaks MethodSCRIPT: runs the scripts that it is sent on the cell in its holder."""

from simulators.methodscript.instrument import SIMULATOR, MethodScriptInstrument

__all__ = ["SIMULATOR", "MethodScriptInstrument"]
