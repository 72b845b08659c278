"""Normalise texts: two questions count as the same text if their normalised texts are equal."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_ALPHANUMERIC_RUN = re.compile(r"[^\W_]+")
_HASH_BYTES = 8
_END, _SPACE = 0, ord(" ")
_FOLDED = np.array([ord(chr(byte).lower()) if chr(byte).isalnum() else _SPACE for byte in range(128)], np.uint8)
_FOLDED[_END] = _END


def normalise(text: str) -> str:
    """Return the text without case, punctuation, extra spaces and compatibility forms (NFKC, Unicode Annex 15).

    A text without letters and digits is only stripped.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_ALPHANUMERIC_RUN.findall(folded)) or text.strip()


def normalise_all(texts: pa.Array) -> list[bytes]:
    """Return what `normalise` gives for each text, in UTF-8; no text is null.

    ASCII texts, which are most, are folded together, byte by byte.
    """
    plain = np.asarray(pc.string_is_ascii(texts))
    folded = iter(_fold_ascii(texts.filter(pa.array(plain))))
    others = (normalise(text).encode() for text in texts.filter(pa.array(~plain)).to_pylist())
    return [next(folded) if is_plain else next(others) for is_plain in plain.tolist()]


def hash_texts(texts: Iterable[bytes], salt: str) -> npt.NDArray[np.uint64]:
    """Hash normalised texts by BLAKE2b under a salt, [texts]; equal texts have equal hashes."""
    keyed = hashlib.blake2b(key=hashlib.sha256(salt.encode()).digest(), digest_size=_HASH_BYTES)
    return np.frombuffer(b"".join(_digest(keyed.copy(), text) for text in texts), ">u8").astype(np.uint64)


def _digest(keyed: hashlib.blake2b, text: bytes) -> bytes:
    keyed.update(text)
    return keyed.digest()


def number_texts(hashes: npt.NDArray[np.uint64], batches: Iterable[pa.Array]) -> tuple[npt.NDArray[np.intp], int]:
    """Return a number for each row, [rows], equal if and only if the texts are; and how many texts there are.

    `batches` are the texts of all rows, some at a time. Only those whose hash occurs again are compared.
    """
    _, numbers, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    repeated = counts[numbers] > 1
    chosen, first = [pa.array([], pa.large_binary())], 0
    for batch in batches:
        rows = pa.array(repeated[first : first + len(batch)])
        chosen.append(pa.array(normalise_all(batch.filter(rows)), pa.large_binary()))
        first += len(batch)
    encoded = pa.concat_arrays(chosen).dictionary_encode()
    numbers[repeated] = len(counts) + encoded.indices.to_numpy()
    return numbers, int(np.sum(counts == 1)) + len(encoded.dictionary)


def _fold_ascii(texts: pa.Array) -> Sequence[bytes]:
    """Join the texts, each with NUL at its end; letters and digits stay, and one space between two runs of them."""
    content = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), "\0")[0].as_buffer()
    if content.to_pybytes().count(_END) != max(0, len(texts) - 1):  # a text holds a NUL itself
        return [normalise(text).encode() for text in texts.to_pylist()]
    letters = np.concatenate([_FOLDED[np.frombuffer(content, np.uint8)], np.zeros(1, np.uint8)])
    before = np.concatenate([np.zeros(1, np.uint8), letters[:-1]])
    letters = letters[(letters != _SPACE) | (before > _SPACE)]
    after = np.concatenate([letters[1:], np.zeros(1, np.uint8)])
    folded: list[bytes] = letters[(letters != _SPACE) | (after != _END)].tobytes().split(b"\0")[: len(texts)]
    if b"" in folded:
        return [each or normalise(text).encode() for each, text in zip(folded, texts.to_pylist(), strict=True)]
    return folded
