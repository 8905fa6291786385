import io

import numpy as np
import pytest
import soundfile

from cache.audio.ogg import ends_with_page, find_links, fix_serial, last_granule_position, page_checksum


def encode() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, 0.1 * np.random.default_rng(0).standard_normal(40_000), 32_000, "VORBIS", format="OGG")
    return stream.getvalue()


def checksum_by_bits(page: bytes) -> int:
    """RFC 3533 as a plain loop: polynomial 0x04C11DB7, highest bit first, no inversion."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = ((register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)) & 0xFFFFFFFF
    return register


def test_last_page_counts_the_samples() -> None:
    assert last_granule_position(encode()) == 40_000
    assert last_granule_position(encode() + bytes(9)) == 40_000
    assert last_granule_position(b"OggS") == last_granule_position(b"") == 0


def test_checksum_equals_the_plain_loop() -> None:
    page = np.random.default_rng(0).integers(0, 256, 999, np.uint8).tobytes()
    assert page_checksum(page) == checksum_by_bits(page)


def test_checksum_equals_the_one_libsndfile_wrote() -> None:
    stream = encode()
    first = bytearray(stream[: 28 + stream[27]])  # the identification header: one segment on a page of its own
    written = int.from_bytes(first[22:26], "little")
    first[22:26] = bytes(4)
    assert page_checksum(bytes(first)) == written


def test_two_encodings_become_the_same_bytes() -> None:
    assert fix_serial(encode(), 7) == fix_serial(encode(), 7)
    assert fix_serial(encode(), 7) != fix_serial(encode(), 8)


def test_decoded_samples_are_unchanged() -> None:
    stream = encode()
    before, after = (soundfile.read(io.BytesIO(one))[0] for one in (stream, fix_serial(stream, 7)))
    np.testing.assert_array_equal(before, after)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="No Ogg page begins at byte 0 of 4"):
        fix_serial(b"RIFF", 7)


def page(number: int, flags: int = 0, serial: int = 1, body: bytes = b"sound") -> bytes:
    head = b"OggS\0" + bytes([flags]) + bytes(8) + serial.to_bytes(4, "little") + number.to_bytes(4, "little")
    whole = head + bytes(4) + bytes([1, len(body)]) + body
    return whole[:22] + page_checksum(whole).to_bytes(4, "little") + whole[26:]


def stream(pages: int, serial: int = 1) -> bytes:
    return page(0, 2, serial) + b"".join(page(number, 0, serial) for number in range(1, pages))


SIZE = len(page(0))


@pytest.mark.parametrize(
    ("content", "links"),
    [
        (stream(5), [(0, 5 * SIZE, False)]),
        (stream(5) + stream(3, serial=2), [(0, 5 * SIZE, False), (5 * SIZE, 8 * SIZE, False)]),
        (2 * stream(2), [(0, 2 * SIZE, False), (2 * SIZE, 4 * SIZE, False)]),
        (page(0, 2, 1) + page(0, 2, 2) + page(1, 0, 1) + page(1, 0, 2), [(0, 4 * SIZE, False)]),  # two at once
        (stream(5)[:-1], [(0, 5 * SIZE - 1, False)]),  # cut off
        (stream(5)[:-SIZE] + bytes(100), [(0, 4 * SIZE + 100, False)]),
        (stream(5).replace(page(2), b""), [(0, 4 * SIZE, True)]),
        (stream(5).replace(page(2), page(2)[:-1] + b"x"), [(0, 5 * SIZE, True)]),
        (stream(5).replace(page(2), bytes(70_000)), [(0, 4 * SIZE + 70_000, True)]),
        (stream(4)[:-1] + stream(4, 2), [(0, 4 * SIZE - 1, False), (4 * SIZE - 1, 8 * SIZE - 1, False)]),
        (stream(4) + stream(4, 2).replace(page(2, 0, 2), b""), [(0, 4 * SIZE, False), (4 * SIZE, 7 * SIZE, True)]),
    ],
)
def test_links_are_found_and_damage_is_told(content: bytes, links: list[tuple[int, int, bool]]) -> None:
    found = find_links(io.BytesIO(content), len(content))
    assert [(link.start, link.end, link.damaged) for link in found] == links


def test_last_page_ends_with_the_stream_unless_it_is_cut_off_or_more_follows() -> None:
    assert ends_with_page(encode())
    assert not ends_with_page(encode()[:-1])
    assert not ends_with_page(encode() + b"fLaC")
    assert not ends_with_page(b"")
