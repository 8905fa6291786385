"""Predicts new recordings of any length: decodes, classifies and writes them window by window."""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

import numpy as np

from birdclef.config.predict import DetectionFormat
from birdclef.devices.gpu_lock import alone_on, gpus_in_use
from birdclef.serving.classifier import load_classifier
from birdclef.serving.detections import WRITERS, DetectionWriter, check_names
from birdclef.serving.progress import PredictionProgress
from birdclef.serving.window_stream import WindowClassifier
from cache.audio.containers import AUDIO_SUFFIXES
from cache.audio.decoded_length import Heard
from cache.audio.decoding import UnusableAudioError
from cache.isolation.decoder import prepare_decoder, read_header_seconds
from cache.recordings.audio_files import is_audio_name, is_text, scan_audio
from cache.workspace.keys import file_key
from cache.workspace.unfinished_output import Job, UnfinishedOutput, check_output_in_steps, write_in_steps
from cache.workspace.user_output import check_output, is_regular, write_output

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Result of a prediction.

    Attributes:
        recordings: Number of recordings predicted to their end.
        seconds: Seconds of audio predicted.
        detections: Number of detections written; None if the format holds windows and no detections.
        failures: Recordings that were not predicted, or not to their end, with the reason.
    """

    recordings: int
    seconds: float
    detections: int | None
    failures: dict[Path, str]

    def describe(self) -> str:
        """Returns in words how much was predicted, and how many detections there are if the format holds them."""
        wanted = self.recordings + len(self.failures)
        predicted = f"{self.recordings} of {wanted} recordings ({self.seconds / 3600:.2f} h) predicted"
        if self.detections is None:
            return predicted
        return f"{predicted}, {self.detections} detection{'' if self.detections == 1 else 's'}"


def find_recordings(paths: Sequence[Path]) -> list[Path]:
    """Returns the named audio files, and for each folder all audio files below it, sorted.

    Folders are searched by the rules of `scan_audio`; the log counts what is passed over.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no audio file, or a path is a FIFO, a socket or a device.
    """
    recordings: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = scan_audio(str(path))
            recordings += sorted(path / name for name in found.audio())
            if passed_over := found.describe_passed_over():
                logger.info("predict: passed over in %s: %s", path, passed_over)
        elif path.is_file():
            recordings.append(path)
        elif path.exists():
            raise ValueError(
                f"{path} is a FIFO, a socket or a device. Copy the sound into a file, and predict the file."
            )
        else:
            raise FileNotFoundError(f"{path}: no such file or folder. Check the path.")
    if not recordings:
        raise ValueError(
            f"No audio file below {', '.join(map(str, paths))}. "
            f"Audio files have one of these suffixes: {', '.join(AUDIO_SUFFIXES)}."
        )
    return list(dict.fromkeys(recordings))


def predict_with(  # noqa: PLR0913, PLR0917 - one argument for each option of the command
    source: Path,
    recordings: Sequence[Path],
    output: Path,
    form: DetectionFormat = "submission",
    threshold: float | None = None,
    resume: bool = False,
    when_kept: Callable[[], None] | None = None,
) -> Outcome:
    """Predict recordings with the classifier of a run, a report or an exported model.

    If another process uses the GPU, a run or a report waits; an exported model does not.

    Args:
        source: Source that `load_classifier` takes.
        recordings: Audio files, as `find_recordings` returns them.
        output: File to write; `-` is the standard output.
        form: Format of the file.
        threshold: As in `predict_recordings`.
        resume: Whether to go on after the recordings that an interrupted call with the same arguments has finished.
        when_kept: Called when the output holds a recording after which an interrupted call can go on.

    Raises:
        FileNotFoundError, ImportError, OSError, ValueError: As in `load_classifier` and `predict_recordings`.
        ValueError: If a threshold is given for a submission, which has none; if the output has the suffix of a
            recording; or if there is nothing to resume, because the output is no regular file, or an interrupted call
            had other arguments.
    """
    if form == "submission" and threshold is not None:
        raise ValueError(
            f"The threshold {threshold:g} changes nothing in a submission, which has the probability of every species. "
            "Leave it out, or take the format long, raven or audacity."
        )
    job = None  # the output is checked before the models are loaded
    if is_regular(output):
        check_output_in_steps(output, [source, *recordings])
        if is_audio_name(output.name):
            raise ValueError(
                f"The output {output} has the suffix of a recording. Name a file such as {output.with_suffix('.csv')}."
            )
        job = Job(_describe_job(source, recordings, form, threshold), resume, when_kept)
    else:
        check_output(output, [source, *recordings])
        if resume:
            raise ValueError(f"The output {output} is no regular file, so nothing can go on there. Leave out --resume.")
    prepare_decoder()
    with alone_on([] if source.suffix == ".onnx" else gpus_in_use("auto", 1)):
        return predict_recordings(load_classifier(source), recordings, output, form, threshold, job)


def _describe_job(source: Path, recordings: Sequence[Path], form: DetectionFormat, threshold: float | None) -> str:
    """Returns a digest of all that predictions are made from; recordings count by path, size and time."""
    status = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in recordings]
    model = file_key(source) if source.is_file() else str(source.resolve())
    return hashlib.sha256(json.dumps([model, status, form, threshold, version("birdclef")]).encode()).hexdigest()


def predict_recordings(
    classifier: WindowClassifier,
    recordings: Sequence[Path],
    output: Path,
    form: DetectionFormat = "submission",
    threshold: float | None = None,
    job: Job | None = None,
) -> Outcome:
    """Predict recordings and write the predictions to one file, as `write_output` does.

    A recording that does not decode is logged and left out. If decoding fails half way, the predictions so far stay.

    Args:
        classifier: Classifier, as `load_classifier` returns it.
        recordings: Audio files, as `find_recordings` returns them.
        output: File to write; `-` is the standard output.
        form: Format of the file.
        threshold: Probability from which a species is decided to be present; None: each species has its own threshold.
        job: What the output is made from. With it, an interrupted call keeps the recordings that it has finished.

    Raises:
        ValueError: If the format cannot tell the recordings apart, or as `check_output`.
        OSError: If the output cannot be written.
    """
    check_names(recordings, form)
    _warn_of_names(recordings)
    thresholds = classifier.thresholds if threshold is None else np.full(len(classifier.species), threshold)
    failures: dict[Path, str] = {}
    seconds = 0.0
    with (
        _open_rows(output, recordings, job) as (stream, unfinished),
        closing(PredictionProgress(len(recordings), sum(read_header_seconds(recordings)))) as progress,
    ):
        writer = WRITERS[form](stream, classifier, thresholds)
        steps = list(unfinished.steps) if unfinished else []
        if unfinished and steps:
            unfinished.continue_rows()
            writer.go_on(steps[-1]["counts"])
            logger.info("predict: goes on after %d of %d recordings", len(steps), len(recordings))
        elif job and job.resume:
            logger.info("predict: no recording is finished beside %s, so --resume begins with the first one", output)
        for recording, step in zip_longest(recordings, steps):
            progress.begin(recording)
            if step:
                predicted, failure = step["seconds"], step["failure"]
                progress.add(predicted)
            else:
                predicted, failure = _predict(classifier, recording, writer, progress)
                if unfinished:
                    unfinished.keep({"seconds": predicted, "failure": failure, "counts": writer.counts()})
            seconds += predicted
            if failure:
                failures[recording] = failure
                logger.warning("predict: %s: %s", recording, failure)
    return Outcome(len(recordings) - len(failures), seconds, writer.detections, failures)


def _warn_of_names(recordings: Sequence[Path]) -> None:
    """Log which names are no UTF-8 text, because other programs may refuse the output that holds them."""
    odd = [recording for recording in recordings if not is_text(str(recording))]
    if odd:
        logger.warning(
            "predict: %d recording(s) have a name that is no UTF-8, such as %s. The output keeps its bytes, "
            "which other programs may refuse: rename the file",
            *(len(odd), ascii(odd[0].name)),
        )


@contextmanager
def _open_rows(
    output: Path, recordings: Sequence[Path], job: Job | None
) -> Iterator[tuple[TextIO, UnfinishedOutput | None]]:
    """Yields the stream of the rows, and the output's unfinished files if there is a job."""
    if job:
        with write_in_steps(output, job, recordings) as unfinished:
            yield unfinished.stream, unfinished
    else:
        with (
            write_output(output, recordings) as binary,
            # a name that is no UTF-8 keeps its bytes, so that programs still find the file
            io.TextIOWrapper(binary, newline="", encoding="utf-8", errors="surrogateescape") as stream,
        ):
            yield stream, None


def _predict(
    classifier: WindowClassifier, recording: Path, writer: DetectionWriter, progress: PredictionProgress
) -> tuple[float, str]:
    """Returns the seconds of a recording that were predicted, and the reason of a failure, or an empty text."""
    heard = Heard()
    writer.begin(recording, heard)
    judged = classifier.classify(recording, heard)
    end, failure = 0.0, ""
    while True:
        try:
            window, probabilities = next(judged)
        except StopIteration:
            break
        except (UnusableAudioError, OSError) as error:
            reason = error.detail if isinstance(error, UnusableAudioError) else str(error)
            failure = f"{reason}; predicted up to {end:.0f} s" if end else reason
            break
        writer.add(window, probabilities)
        progress.add(window.end - end)
        end = window.end
    if failure:  # other programs take the length that the header states
        writer.finish(max(heard.seconds, *read_header_seconds([recording])))
        return end, failure
    writer.finish(heard.seconds)
    return heard.seconds, failure
