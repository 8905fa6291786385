"""Files of models that name other files, made by the package onnx and by hand as TensorFlow Lite's schema says."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cache.models.model_file import check_onnx, check_tflite

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def external_tensor() -> "onnx.TensorProto":
    """A tensor whose entry has the value before the key, so that a search for the bytes of the key finds nothing."""
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add().MergeFromString(b"\x12\x07w.bytes" + b"\x0a\x08location")
    return tensor


def model_of(*nodes: "onnx.NodeProto", initializer: "list[onnx.TensorProto] | None" = None) -> "onnx.ModelProto":
    value = helper.make_tensor_value_info("y", FLOAT, [4])
    graph = helper.make_graph(list(nodes), "g", [], [value], initializer)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def as_initializer() -> "onnx.ModelProto":
    return model_of(helper.make_node("Identity", ["w"], ["y"]), initializer=[external_tensor()])


def as_constant() -> "onnx.ModelProto":
    return model_of(helper.make_node("Constant", [], ["y"], value=external_tensor()))


def in_a_branch() -> "onnx.ModelProto":
    branch = as_constant().graph
    return model_of(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))


def in_a_function() -> "onnx.ModelProto":
    model = model_of(helper.make_node("F", [], ["y"], domain="own"))
    nodes = [helper.make_node("Constant", [], ["y"], value=external_tensor())]
    model.functions.append(helper.make_function("own", "F", [], ["y"], nodes, [helper.make_opsetid("", 18)]))
    return model


@pytest.mark.parametrize("make", [as_initializer, as_constant, in_a_branch, in_a_function])
def test_onnx_tensor_in_another_file_is_found_wherever_it_stands(
    tmp_path: Path, make: "Callable[[], onnx.ModelProto]"
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(
        ValueError, match=r"model\.onnx keeps weights in another file, and birdclef reads one file only"
    ):
        check_onnx(path)


def test_onnx_file_that_holds_its_tensors_passes(tiny_model: Path) -> None:
    check_onnx(tiny_model.with_name("tiny.onnx"))


def flat_buffer(*fields: int) -> bytes:
    """A FlatBuffer whose root table has the given fields of four bytes among ten."""
    places = [4 + 4 * fields.index(field) if field in fields else 0 for field in range(10)]
    table = struct.pack("<12H", 24, 4 + 4 * len(fields), *places)
    return struct.pack("<I", 4 + len(table)) + table + struct.pack("<i", len(table)) + bytes(4 * len(fields))


@pytest.mark.parametrize("field", [8, 9])
def test_tflite_file_with_external_buffers_is_refused(tmp_path: Path, field: int) -> None:
    with pytest.raises(ValueError, match="keeps weights in another file"):
        check_tflite(tmp_path / "model.tflite", flat_buffer(0, field))


def test_tflite_file_without_external_buffers_passes(tmp_path: Path) -> None:
    check_tflite(tmp_path / "model.tflite", flat_buffer(0, 2, 7))


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff\xffTFL3"])
def test_torn_tflite_file_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="is not a readable TFLite file"):
        check_tflite(tmp_path / "model.tflite", content)
