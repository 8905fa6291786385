"""Recordings that do to their process what their first bytes say, in each process that is started while it is planted.

SEGFAULT, EXIT, HANG and HUGE (which asks for 4 GB) speak for themselves. KILLED, ONCE and ORPHAN may have a path behind
the word. KILLED kills its process until there is such a file. ONCE makes the file and ends its process; ORPHAN makes
the file, kills the server and hangs; both are a sound of 9,000 samples once the file is there, as KILLED is.
"""

from pathlib import Path

import pytest

_FAULTS = """
import ctypes, io, os, signal, time
from pathlib import Path

import numpy as np
import soundfile

def meet(stream):
    stream.seek(0)
    audio = stream.read(1000)
    stream.seek(0)
    if audio.startswith(b"SEGFAULT"):
        ctypes.string_at(0)
    if audio.startswith(b"EXIT"):
        os._exit(7)
    if audio.startswith(b"KILLED") and not Path(audio[6:].decode()).is_file():
        os.kill(os.getpid(), signal.SIGKILL)
    if audio.startswith(b"HANG"):
        time.sleep(3600)
    if audio.startswith(b"HUGE"):
        np.zeros((10**9, 1), np.float32)
    if audio.startswith(b"ONCE") and not Path(audio[4:].decode()).exists():
        Path(audio[4:].decode()).touch()
        os._exit(7)
    if audio.startswith(b"ORPHAN") and not Path(audio[6:].decode()).exists():
        Path(audio[6:].decode()).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    if audio.startswith((b"ONCE", b"KILLED", b"ORPHAN")):
        stream = io.BytesIO()
        soundfile.write(stream, np.full(9000, 0.5), 8_000, format="WAV")
        stream.seek(0)
    return stream

class FaultyFile(soundfile.SoundFile):
    def __init__(self, stream, *arguments, **options):
        super().__init__(meet(stream), *arguments, **options)

def state(stream, info=soundfile.info):
    return info(meet(stream))

soundfile.SoundFile, soundfile.info = FaultyFile, state
"""


def plant_in_children(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str = _FAULTS) -> None:
    """Have each Python process that is started from now on run some code first; by default the faults above.

    Args:
        folder: Folder to keep the code in.
        monkeypatch: Takes the code away at the end of the test.
        code: Code of a `sitecustomize`.
    """
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
