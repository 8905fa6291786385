"""A FlatBuffer put together by hand as TensorFlow Lite's schema says, and BirdNET V2.4 where it is installed."""

import struct
from pathlib import Path

import numpy as np
import pytest
from birdnet_installation import needs_birdnet
from scipy.special import expit

from cache.config.features import EmbeddingConfig
from cache.front_end.embedding import keep_model, open_embedder
from cache.front_end.tflite_outputs import replace_outputs
from cache.workspace.feature_directory import FeatureDirectory


def test_outputs_are_the_given_tensors_and_all_else_stays() -> None:
    # root -> Model at 16 (version, operator_codes, subgraphs) -> SubGraph at 44 (tensors, inputs, outputs)
    content = bytearray(72)
    struct.pack_into("<I", content, 0, 16)
    struct.pack_into("<5H", content, 4, 10, 8, 0, 0, 4)
    struct.pack_into("<iI", content, 16, 12, 4)  # vtable at 4; subgraphs at 20 + 4
    struct.pack_into("<2I", content, 24, 1, 16)  # one, at 28 + 16
    struct.pack_into("<5H", content, 32, 10, 8, 0, 0, 4)
    struct.pack_into("<iI", content, 44, 12, 8)  # vtable at 32; outputs at 48 + 8
    struct.pack_into("<2I", content, 56, 1, 99)
    changed = replace_outputs(bytes(content), [7, 546])
    at = 48 + struct.unpack_from("<I", changed, 48)[0]
    assert struct.unpack_from("<3I", changed, at) == (2, 7, 546)
    assert (changed[:48], changed[52:72]) == (content[:48], content[52:72])


@needs_birdnet
@pytest.mark.filterwarnings("ignore:.*`experimental_preserve_all_tensors`")  # of ai-edge-litert; it is wanted here
def test_birdnet_gives_what_it_gives_with_all_tensors_kept(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    features = EmbeddingConfig.model_validate({"kind": "embedding", "model": "birdnet_v2.4"})
    window = np.random.default_rng(0).normal(0, 0.1, (1, 144_000)).astype(np.float32)
    interpreter = Interpreter(features.model.file, experimental_preserve_all_tensors=True, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], window)
    interpreter.invoke()
    output = interpreter.get_output_details()[0]["index"]
    embeddings, logits = interpreter.get_tensor(output - 1), interpreter.get_tensor(output)
    keep_model(features.model, FeatureDirectory(tmp_path))
    (strip,) = open_embedder(features, FeatureDirectory(tmp_path)).embed(window)
    np.testing.assert_allclose(strip, np.hstack([embeddings, expit(logits)]), atol=1e-4)
