"""The stored values of strips: float16, or uint8 in steps of half a decibel."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

STEP_DB = 0.5

StoredType = Literal["float16", "uint8"]


@dataclass(frozen=True)
class StripEncoding:
    """The relation of stored values and decibels: dB = stored * step_db + offset_db.

    Attributes:
        dtype: Type of the stored values.
        step_db: Decibels per step of the stored values; 1 for float16.
        offset_db: Decibels of the stored value 0; 0 for float16.
    """

    dtype: StoredType = "float16"
    step_db: float = 1.0
    offset_db: float = 0.0

    @classmethod
    def of(cls, dtype: StoredType, floor_db: float) -> "StripEncoding":
        """Returns the encoding for a type of stored values and a lowest level."""
        return cls() if dtype == "float16" else cls(dtype, STEP_DB, floor_db)

    def encode(self, strip: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the stored values of a strip in dB, (frames, channels).

        The error is up to 0.03 dB for float16 and up to 0.25 dB for uint8. uint8 also clips levels above
        floor + 127.5 dB.
        """
        if self.dtype == "float16":
            import cv2  # imported here because readers do not need it

            # rounds like NumPy, in a tenth of the time
            return np.asarray(cv2.addWeighted(strip, 1, strip, 0, 0, dtype=cv2.CV_16F))
        steps = np.rint((strip - np.float32(self.offset_db)) / np.float32(self.step_db))
        levels: NDArray[np.uint8] = np.clip(steps, 0, 255).astype(np.uint8)
        return levels

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float16]:
        """Returns stored values in dB, of any shape."""
        if self.dtype == "float16":
            return stored
        return (stored * np.float32(self.step_db) + np.float32(self.offset_db)).astype(np.float16)


FLOAT16 = StripEncoding()
"""The encoding whose stored values are decibels."""
