"""Hamilton Microlab 600 dispensers and diluters, on a serial line."""

from drivers.ml600.driver import DRIVER, Ml600

__all__ = ["DRIVER", "Ml600"]
