"""What is used here of llvmlite.binding."""

from collections.abc import Mapping

def get_host_cpu_features() -> Mapping[str, bool]: ...
