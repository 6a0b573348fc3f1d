"""The device SDK: devices send samples and act on commands. Wheel `twinflow-device`; see docs/devices.md.

It needs kafka-python and the standard library alone, and imports nothing else of twinflow.
"""

from .commands import LATER, Command
from .device import Device
from .errors import DeviceError, Refused
from .gateway import Gateway

__all__ = ["LATER", "Command", "Device", "DeviceError", "Gateway", "Refused"]
