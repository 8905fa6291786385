"""Skipped tests; an S3 server; and a small workspace as training and prediction leave it, made without training.

140 usable recordings by species: 104 abbowl, 14 barwre, 9 cdove, 10 "d|<i>finch", 3 eremit (one recordist, so they are
always in training). 4 are quarantined: both of lostlark do not decode, one abbowl is too short, one barwre is silent.
137 recordings of 4 species are validated in 3 folds. Every member takes the recording with the hostile name for eremit,
and all recordings of one recordist of abbowl for barwre.
"""

import gc
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import av
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from birdclef.baseline import predict_baseline
from birdclef.config.predict import PredictConfig
from birdclef.config.train import TrainConfig
from cache.catalogue import build_catalogue
from cache.config.data import DataConfig
from cache.config.features import LogMelConfig
from cache.config.split import SplitConfig
from cache.features import open_feature_directory
from cache.split import build_split
from cache.store.fragment import Failure
from cache.store.part_writer import PartWriter
from cache.workspace.feature_directory import FeatureDirectory
from cache.workspace.keys import Recipe
from cache.workspace.provenance import artefact_key, read_provenance
from cache.workspace.workspace import Workspace

FEATURES = LogMelConfig(sample_rate=8_000, n_fft=512, hop_length=256, n_mels=16, fmin=50.0, fmax=4_000.0)
SPECIES = {
    # label: (usable recordings, recordists, scientific name, common name)
    "abbowl": (104, 8, "Bubo abbas", "Abbey Owl"),
    "barwre": (14, 5, "Troglodytes barensis", "<script>alert(1)</script>"),
    "cdove": (9, 2, "Columba | cauta", ""),
    "d|<i>finch": (10, 4, "Fringilla d", "D | Finch"),
    "eremit": (3, 1, "Eremita sola", "Hermit"),
}
HOSTILE_RECORDING = "abbowl/<script>alert(2)</script>|'\"&.ogg"

TESTS = Path(__file__).parent
LONGEST = (
    "flows/command_line/test_app.py",
    "birdclef/training/test_fit.py",
    "cache/computing/test_retries.py",
    "flows/test_retraining.py",
    "flows/test_embeddings.py",
    "flows/serving/test_serve.py",
)
"""The second and third need no Prefect server: while it starts, they use the other processors."""

WriteMember = Callable[..., list[Path]]
MakeOnce = Callable[[str, Callable[[Path], object]], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="count each skipped test as failed, as .ci/run does")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the files that take longest begin first, so that the workers of `--dist loadfile` end together."""
    first = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def pytest_sessionstart() -> None:
    """Collect no garbage during imports, which leave little: it took three seconds of each worker."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Have garbage collections leave out what was imported: each took a second to look at it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Remove the name of the test from the environment, so that the fork server of one test serves the next."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    os.environ.pop("PYTEST_CURRENT_TEST", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} is skipped: {_reason_of_skip(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Write as the last line, below pytest's own summary, what was skipped and how to run it."""
    gc.unfreeze()  # Hypothesis, which may be imported for the summary, looks for references
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and not hasattr(session.config, "workerinput"):
        reasons = Counter(_reason_of_skip(report) for report in skipped)
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
        reporter.write_line(f"{len(skipped)} tests were skipped and prove nothing: {told}", yellow=True)


def _reason_of_skip(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def encode_by_ffmpeg() -> Callable[..., bytes]:
    """Returns the bytes of a file that FFmpeg writes, with samples, (channels, samples), behind a picture if wanted."""

    def encode(samples: np.ndarray, rate: int, container: str, codec: str, picture: bool = False) -> bytes:
        stream = io.BytesIO()
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", layout)
        whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
        with av.open(stream, "w", format=container) as output:
            video = output.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p") if picture else None
            sound = output.add_stream(codec, rate=rate, layout=layout, bit_rate=96_000)
            context = sound.codec_context
            context.open()
            if video:
                output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
                output.mux(video.encode(None))
            cut = av.AudioResampler(context.format, context.layout, rate, context.frame_size or 1024)
            for frame in [*cut.resample(whole), *cut.resample(None), None]:
                output.mux(sound.encode(frame))
        return stream.getvalue()

    return encode


class _Bucket(MemoryFileSystem):
    """Files in memory in place of a store at Azure, because a workspace at memory:// is refused."""

    protocol = ("az",)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("az://", "memory://", 1)))


@pytest.fixture
def bucket_url() -> str:
    """Returns the URL of an empty folder that every workspace of this process sees."""
    register_implementation("az", _Bucket, clobber=True)
    return f"az://{uuid.uuid4().hex}/workspace"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def make_once(shared_folder: Path) -> MakeOnce:
    """Returns a function that has a file or folder written once for all workers, which must not change it."""

    def make(name: str, write: Callable[[Path], object]) -> Path:
        path = shared_folder / name
        with FileLock(f"{path}.lock"):
            if not path.exists():
                write(path.with_name(f"{name}.unfinished"))
                path.with_name(f"{name}.unfinished").rename(path)
        return path

    return make


@pytest.fixture(scope="session")
def evaluation_template(make_once: MakeOnce) -> Path:
    """What the next four fixtures are copies of: one catalogue, one split, and the predictions of its baseline."""

    def write(folder: Path) -> None:
        workspace = Workspace(folder)
        predict_baseline(
            build_split(SplitConfig(folds=3), _build_evaluation_catalogue(workspace), workspace), workspace
        )

    return make_once("evaluation", write)


@pytest.fixture(scope="session")
def evaluation_workspace(evaluation_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(evaluation_template, tmp_path_factory.mktemp("evaluation") / "workspace"))


@pytest.fixture(scope="session")
def evaluation_catalogue(evaluation_template: Path, evaluation_workspace: Path) -> Path:
    return evaluation_workspace / _only_artefact(evaluation_template, "catalogues")


@pytest.fixture(scope="session")
def evaluation_split(evaluation_template: Path, evaluation_workspace: Path) -> Path:
    return evaluation_workspace / _only_artefact(evaluation_template, "splits")


@pytest.fixture(scope="session")
def evaluation_baseline(evaluation_template: Path, evaluation_workspace: Path) -> Path:
    return evaluation_workspace / _only_artefact(evaluation_template, "predictions")


def _only_artefact(workspace: Path, kind: str) -> Path:
    (artefact,) = (workspace / kind).iterdir()
    return artefact.relative_to(workspace)


def _build_evaluation_catalogue(workspace: Workspace) -> Path:
    store = open_feature_directory(FEATURES, workspace).path
    generator = np.random.default_rng(7)
    writer = PartWriter(FeatureDirectory(store), FEATURES.n_mels)
    rows = []
    for label, (count, recordists, scientific_name, common_name) in SPECIES.items():
        colour = generator.normal(0, 3, FEATURES.n_mels)
        for index in range(count):
            name = f"{label}/{index:03}.ogg"
            if name == "abbowl/017.ogg":
                name = HOSTILE_RECORDING
            sha256 = _hash(name)
            frames = int(generator.integers(40, 260))
            level = -50 + colour + generator.normal(0, 4, FEATURES.n_mels)
            writer.add_strip(sha256, (level + generator.normal(0, 5, (frames, FEATURES.n_mels))).astype(np.float32))
            recordist = "anna" if label in ("abbowl", "barwre") and index == 0 else f"{label} {index % recordists}"
            rows.append([name, label, recordist, scientific_name, common_name, sha256])
    for name, label in (("lostlark/0.ogg", "lostlark"), ("lostlark/1.ogg", "lostlark")):
        writer.add_failure(Failure(_hash(name), "undecodable", "header <b>broken</b> | no frame decodes"))
        rows.append([name, label, "anna", "Alauda perdita", "Lost Lark", _hash(name)])
    writer.add_strip(_hash("short"), np.full((10, FEATURES.n_mels), -20.0, np.float32))  # 0.32 s
    rows.append(["abbowl/short.ogg", "abbowl", "bert", "Bubo abbas", "Abbey Owl", _hash("short")])
    writer.add_strip(_hash("silent"), np.full((90, FEATURES.n_mels), -95.0, np.float32))
    rows.append(["barwre/silent.ogg", "barwre", "bert", "Troglodytes barensis", "-", _hash("silent")])
    writer.publish()
    columns = ["recording_id", "label", "recordist", "scientific_name", "common_name", "sha256"]
    table = pd.DataFrame(rows, columns=columns).assign(size=1, version="1", secondary_labels="")
    return build_catalogue(table, DataConfig(root="unused"), FeatureDirectory(store), workspace)


@pytest.fixture(scope="session")
def write_member(evaluation_workspace: Path, evaluation_split: Path) -> WriteMember:
    """Writes runs and predictions of a member, fold by fold, and returns the directories of its predictions."""

    def write(
        config: TrainConfig,
        skill: float,
        gain_db: Sequence[float] = (0.0,),
        split: Path = evaluation_split,
    ) -> list[Path]:
        folds = pd.read_csv(split / "split.csv", dtype=str, keep_default_na=False)
        return [
            _write_predictions(
                _write_run(config, split, fold, evaluation_workspace),
                folds[folds["fold"] == str(fold)].sort_values("recording_id"),
                skill,
                PredictConfig(gain_db=tuple(gain_db)),
                evaluation_workspace,
            )
            for fold in config.folds or range(3)
        ]

    return write


@pytest.fixture(scope="session")
def evaluation_members(write_member: WriteMember) -> dict[str, list[Path]]:
    """Two members: one from scratch with two views, one with pretrained weights, one view and a hostile name."""
    scratch = TrainConfig(seed=1)
    pretrained = TrainConfig.model_validate(
        {"seed": 2, "model": {"weights": "hub", "backbone": "test|<b>net"}, "objective": {"kind": "ce"}}
    )
    return {
        "scratch": write_member(scratch, skill=2.5, gain_db=(0.0, -6.0)),
        "hub|<script>alert(3)</script>": write_member(pretrained, skill=1.5),
    }


def _write_run(config: TrainConfig, split: Path, fold: int, workspace: Path) -> Path:
    def write(staging: Path) -> None:
        summary = {
            "fold": fold,
            "parameters": 1_000_000 * config.seed,
            "weights": config.model.weights,
            "seconds": 10.5 + fold,
            "peak_memory_mb": 500.0 + fold,
        }
        (staging / "summary.json").write_text(json.dumps(summary))
        (staging / "logs").mkdir()
        lines = ["epoch,step,train_loss,val_macro_f1,views"]
        for epoch in range(4):
            lines += [f"{epoch},{10 * epoch},{3 / (epoch + 1 + fold)},,", f"{epoch},{10 * epoch + 9},,{0.2 * epoch},75"]
        (staging / "logs" / "metrics.csv").write_text("\n".join(lines) + "\n")

    recipe = Recipe("runs", {**config.identity(), "fold": fold}, {"split": artefact_key(split)}, 1)
    return Workspace(workspace).materialise(recipe, write)


def _write_predictions(
    run: Path, recordings: pd.DataFrame, skill: float, config: PredictConfig, workspace: Path
) -> Path:
    def write(staging: Path) -> None:
        made = read_provenance(run)["config"]
        labels, eremit = [list(SPECIES).index(label) for label in recordings["label"]], list(SPECIES).index("eremit")
        generator = np.random.default_rng([made["seed"], made["fold"]])
        logits = generator.normal(size=(len(config.gain_db), len(labels), len(SPECIES)))
        logits[:, np.arange(len(labels)), labels] += skill
        logits[:, :, eremit] -= 5
        logits[:, recordings["recording_id"].isin([f"abbowl/{index:03}.ogg" for index in range(3, 104, 8)]), 1] += 9
        logits[:, recordings["recording_id"] == HOSTILE_RECORDING, eremit] = 25
        odds = np.exp(logits)
        np.save(staging / "probabilities.npy", (odds / odds.sum(axis=2, keepdims=True)).astype(np.float32))
        recordings[["recording_id", "label"]].to_csv(staging / "recordings.csv", index=False)
        views = [
            {"view": f"gain {gain:+g} dB", "gain_db": gain, "weight": 1.0, "windows": 99, "seconds": 0.25}
            for gain in config.gain_db
        ]
        np.save(staging / "features.npy", logits[0].astype(np.float16))
        pd.DataFrame(views).to_csv(staging / "views.csv", index=False)

    return Workspace(workspace).materialise(
        Recipe("predictions", config.identity(), {"run": artefact_key(run)}, 1), write
    )


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture(scope="session")
def describe_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a small embedding model as ONNX and its labels; returns the path of its description.

    It takes 1 s at 8 kHz. Its embedding, (batch, 4), is the root of the mean square of each quarter of the window, and
    its scores, before a sigmoid, are 10 times these minus 1, of the labels of `SPECIES` but the first.
    """
    onnx = pytest.importorskip("onnx")

    def describe(**changes: object) -> Path:
        folder = tmp_path_factory.mktemp("model")
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        nodes = [
            helper.make_node("Reshape", ["sound", "quarters"], ["cut"]),
            helper.make_node("ReduceL2", ["cut", "last"], ["norm"], keepdims=0),
            helper.make_node("Mul", ["norm", "per_sample"], ["embedding"]),
            helper.make_node("Mul", ["embedding", "ten"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "one"], ["scores"]),
        ]
        constants = [
            helper.make_tensor("quarters", onnx.TensorProto.INT64, [3], [-1, 4, 2000]),
            helper.make_tensor("last", onnx.TensorProto.INT64, [1], [2]),
            helper.make_tensor("per_sample", floats, [], [2000**-0.5]),
            helper.make_tensor("ten", floats, [], [10.0]),
            helper.make_tensor("one", floats, [], [1.0]),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("sound", floats, ["batch", 8000])],
            [helper.make_tensor_value_info(name, floats, ["batch", 4]) for name in ("embedding", "scores")],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, folder / "tiny.onnx")
        names = [scientific for _, _, scientific, _ in list(SPECIES.values())[1:]]
        (folder / "labels.txt").write_text("".join(f"{name}_Some Bird\n" for name in names))
        description = {
            "name": "Tiny",
            "file": "tiny.onnx",
            "licence": "CC0",
            "sample_rate": 8000,
            "window_seconds": 1.0,
            "stride_seconds": 0.5,
            "embedding": "embedding",
            "channels": 4,
            "scores": "scores",
            "labels": "labels.txt",
            **changes,
        }
        path = folder / "tiny.yaml"
        path.write_text(json.dumps({name: value for name, value in description.items() if value is not None}))
        return path

    return describe


@pytest.fixture(scope="session")
def tiny_model(describe_tiny_model: Callable[..., Path]) -> Path:
    return describe_tiny_model()


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """What to set in the environment to reach a running S3 server with the bucket `birds`, and nothing else."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(f"{endpoint}/birds")
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The bucket's URL; this process and its children reach it."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return "s3://birds"


def _make_bucket(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(Request(url, method="PUT"), timeout=5).close()
        except (URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
