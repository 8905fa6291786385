"""The command line in processes that start in milliseconds: forks of one that has imported what commands import.

To import Prefect, PyTorch, scikit-learn and Matplotlib takes seconds, is the same for each command, and is not what the
tests of a command are about. Those that are run `python -m flows.command_line.entry` instead (`birdclef_alone`).
"""

import gc
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

IMPORTED = (
    "av.filter",
    "birdclef.baselines.logistic",
    "birdclef.export",
    "birdclef.predict_recordings",
    "birdclef.preview",
    "birdclef.report.mistakes",
    "birdclef.report.page",
    "cache.computing.retries",
    "cache.duplicates.pairs",
    "cache.synth",
    "distributed.actor",
    "fastapi.encoders",
    "flows.command_line.app",
    "flows.pipeline",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "s3fs",
    "torch.utils.tensorboard",
    "zarr.api.synchronous",
)
"""Of them none starts a thread, for which a fork would wait in vain. Lightning does: it imports ONNX Runtime."""
_MESSAGE_BYTES = 2**16
_PATIENCE_SECONDS = 240


def fork_server_command(address: Path) -> list[str]:
    """The command of a process from which commands are forked for any number of `WarmCommandLine`s.

    It is to be run in the project's folder, and listens at `address` once that exists.
    """
    code = f"from warm_command_line import fork_on_request; fork_on_request({str(address)!r})"
    return ["env", f"PYTHONPATH={Path(__file__).parent}", "OMP_NUM_THREADS=1", sys.executable, "-c", code]


class WarmCommandLine:
    """Runs commands, one after the other.

    Args:
        address: Of the process from which they are forked.
        environment: Of all commands.
        folder: Where the output of the last one lies.
    """

    def __init__(self, address: Path, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._streams = [folder / name for name in ("stdout", "stderr")]
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.connect(str(address))

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `birdclef ARGUMENTS...` from the project's folder and returns the finished process."""
        self._control.settimeout(_PATIENCE_SECONDS)
        request = arguments, {**self._environment, **environment}, [str(stream) for stream in self._streams]
        self._control.send(json.dumps(request).encode())
        try:
            status = int(self._control.recv(_MESSAGE_BYTES))
        except TimeoutError:
            output = "\n".join(stream.read_text() for stream in self._streams)
            raise TimeoutError(
                f"birdclef {' '.join(arguments)} takes longer than {_PATIENCE_SECONDS} s:\n{output}"
            ) from None
        return subprocess.CompletedProcess(arguments, status, *(stream.read_text() for stream in self._streams))

    def end(self) -> None:
        self._control.close()


def fork_on_request(address: str) -> None:
    """The server's side: import, and fork for each `WarmCommandLine`; returns in a fork, after its command."""
    from flows.settings import apply_settings

    apply_settings()
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # a fork that ends would look at all that was imported, and thereby copy it: two seconds
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "something that was imported has started a thread"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"{address}.unfinished")
        listening.listen()
        Path(f"{address}.unfinished").rename(address)
        while True:
            requests, _ = listening.accept()
            if not os.fork():
                listening.close()
                _run_commands(requests)
                return
            requests.close()


def _run_commands(requests: socket.socket) -> None:
    """Fork for each command, until there are no more; returns in a fork, after its command."""
    with requests:
        while request := requests.recv(_MESSAGE_BYTES):
            command = os.fork()
            if not command:
                requests.close()
                _run(*json.loads(request))
                return
            requests.send(str(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])).encode())


def _run(arguments: list[str], environment: dict[str, str], streams: list[str]) -> None:
    from flows.command_line.entry import main

    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["birdclef", *arguments]
    main()
