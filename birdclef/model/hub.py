"""Pretrained weights on the hub: whether they can be had, and what to do if not."""

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models._hub import check_cached_file

from birdclef.model.efficientnet_names import package_hint

_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of weight files in a repository of the hub, the first choice of timm first."""
_TIMEOUT_SECONDS = 10.0


def check_hub(model: str) -> None:
    """Check that the weights of a timm model are on this machine, or that the hub answers; asks the hub once.

    timm itself asks for several files, and five times for each. Without a network that takes a minute.

    Args:
        model: Name of the timm model.

    Raises:
        FileNotFoundError: If the weights are not here, and the hub does not answer or does not have them.
    """
    found = timm.get_pretrained_cfg(model)
    if found is None or not found.hf_hub_id or (found.url and check_cached_file(found.url)):
        return
    repository = found.hf_hub_id.partition("@")[0]
    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in _FILES):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, _FILES[0]), timeout=_TIMEOUT_SECONDS)
    except EntryNotFoundError:
        return  # the hub answers, and timm looks for files of other names
    except Exception as error:
        raise missing_weights(model, error) from error


def missing_weights(model: str, error: Exception) -> FileNotFoundError:
    """Returns the error that says what to set if a timm model's weights cannot be had from the hub."""
    return FileNotFoundError(
        f"The pretrained weights of {model} could not be fetched from the hub ({type(error).__name__}: {error}). "
        f"Set train.NAME.model.weights of the member NAME to a weight file of this model{package_hint(model)}, or "
        "train from scratch: the preset small-from-scratch, or train.NAME.model.weights=none."
    )
