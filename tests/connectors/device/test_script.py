"""The script in docs/devices.md, run as it stands against a real broker with nothing but the wheel installed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from connectors.device.link import partition_of
from tests.connectors.brokers import by_confluent, until
from tests.connectors.device.gate import PARTITIONS, command, dispatch, said

PAGE = Path(__file__).parents[3] / "docs" / "devices.md"


def test_the_script_of_the_page_sends_and_obeys(broker: str, target: Path, tmp_path: Path) -> None:
    [script] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert "localhost:9092" in script
    here = script.replace("localhost:9092", broker).replace("time.sleep(1)", "time.sleep(0.1)")
    env = {"PYTHONPATH": str(target), "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", here], cwd=tmp_path, env=env, stderr=subprocess.PIPE) as running:
        try:
            # without an earlier run it hears what is sent after it began to listen, so ask until it does
            asked = []

            def answered() -> object:
                asked.append(command("pump-7", "set_speed", arguments={"speed_rpm": 1450}))
                dispatch(broker, "commands", asked[-1])
                return any(said(broker, "command-acks", one) for one in asked)

            until(answered, "an answer", 90.0)
            running.send_signal(signal.SIGINT)
            running.wait(30)
        finally:
            running.kill()
    found = by_confluent(broker, "samples", partition=partition_of(b"pump-7", PARTITIONS))
    mine = [m.value for m in found if m.key == b"pump-7"]
    assert mine
    assert b'"signals":{"pressure":2.1,"volume_flow":98.5}' in (mine[0] or b"")
    [answer, *_] = [said(broker, "command-acks", one) for one in asked if said(broker, "command-acks", one)]
    assert answer == [("done", "goes to 1450 rpm")]
    assert (tmp_path / "state" / "twinflow-device" / "pump-7" / "samples").is_dir()
