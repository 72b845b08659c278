"""What the data path makes of a file with every oddity that is read: its digests are literals, for ever.

Every champion's record names rows by such digests. If one changes here, no champion's rows are found again.
"""

import hashlib
import random

import pyarrow.parquet
import pytest

from ml.data.split import split
from ml.data.validate import validate
from ml.encoder.tokenizer import Tokenizer
from ml.source.snapshot import snapshot
from tests.places import config, open_run

ROWS = 4000
VOCABULARY = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "what",
    "is",
    "the",
    "best",
    "soup",
    "cafe",
    "##s",
    "?",
    ",",
    "почему",
    "猫",
    "1",
)
LOOSE = (
    "validate.parameters.min_rows=10",
    "validate.parameters.label_balance_max=0.6",
    "validate.parameters.max_damaged_fraction=0.9",
    "validate.parameters.min_part_rows=10",
    "source.max_quarantined_fraction=0.1",
)
ODDITIES = (
    "What is the best soup?",
    "what IS the BEST soup",
    "¿Qué sopa es la mejor?",
    "Why do cats_and_dogs   sleep --- so much ?!",
    '"""Why, o why?"", she asked, and ""he"" left"',
    '"Why,\nand in which line, do they sleep?"',
    '"Why,\r\nis this a line of Windows?"',
    'Is a 5" disk a disk?',
    "Straße, ﬁne ½ ² … Ⅷ \uff46\uff55\uff4c\uff4c İstanbul ΣΊΣΥΦΟΣ",
    "Cafe\u0301 or caf\u00e9, \u0130i \u1e9e",
    "\u0301 begins with an accent",
    "Почему кошки спят?",
    "为什么猫睡觉\uff1f 12\u3000名",
    "Are 👩‍👩‍👧 people? ☃",
    "DonÃ¢â\u201a¬â„¢t they know itâ€™s damaged?",
    "Replaced \ufffd by what",
    "\u1112\u1161\u11ab decomposed and 한 composed",
    "???",
    "_ _",
    "\u200bzero\u200dwidth\ufeff \u00a0spaces\u2003here",
    "tab\there, \x0bvertical, \x0cform, \x01 control, \x7f delete",
    "  blanks around  ",
    "नमस्ते दुनिया",
)


def odd_csv(ragged: str = "too,many,") -> str:
    """A byte-order mark, blank lines, an index column, both line ends, ragged rows, numbers with a point."""
    pick = random.Random(20)
    lines = ["\ufeff\r\n,qid,question_text,target\r\n"]
    for number in range(ROWS):
        text = quoted(pick.choice(ODDITIES), f" {pick.randrange(ROWS)}" if pick.random() < 0.8 else "")
        more = ragged if number % 997 == 5 else ""
        target, end = pick.choice(("0.0", "1.0", "0", "1.")), pick.choice(("\n", "\r\n"))
        lines.append(f"{number},{pick.getrandbits(80):020x},{more}{text},{target}{end}")
        lines += ["\n"] if number % 500 == 3 else []
    return "".join(lines)


def even_csv() -> str:
    """The same without ragged rows."""
    return odd_csv(ragged="")


def plain_csv() -> str:
    """Nothing but ASCII without control characters, and quotes only where a text has a comma or a quote."""
    pick = random.Random(21)
    plain = [text for text in ODDITIES if text.isascii() and text.isprintable() and text.strip('"')]
    lines = ["qid,question_text,target\n"]
    for number in range(ROWS):
        text = quoted(pick.choice(plain), f" {pick.randrange(900)}")
        lines.append(f"{pick.getrandbits(80):020x},{text},{int(number % 16 == 0)}\n")
    return "".join(lines)


def quoted(text: str, end: str) -> str:
    if text.startswith('"'):
        return f'{text[:-1]}{end}"'
    doubled = text.replace('"', '""')
    return f'"{doubled}{end}"' if "," in text else f"{text}{end}"


def sha(*parts: bytes) -> str:
    return hashlib.sha256(b"\0\0".join(parts)).hexdigest()[:16]


EXPECTED = {
    "odd_csv": {
        "hash": ["d84102a931abceba", "3f5eef935dbc6c99", "045eddef6c28cdc7"],
        "hash, repeated": [884, 57],
        "random": ["409fa393568ccf80", "1efb2fe7d7ccfd99", "e7c735fcc524f247"],
        "random, repeated": [884, 57],
        "columns": "qid string, question_text string, target int64",
        "rows": "a06ea193556139f9",
        "quarantine": "279e883960c21362",
        "record": [3995, 5, "555f88736fb1e50e"],
        "checks": "54ab967ac99badae",
        "tokens": "99e6c9dc07940085",
    },
    "even_csv": {
        "hash": ["8588729120c30ac0", "d6e46182d874b492", "045eddef6c28cdc7"],
        "hash, repeated": [884, 57],
        "random": ["f59bf9bd8d2302f5", "810c032904e76d2b", "a44332d9d6e8f65a"],
        "random, repeated": [884, 57],
        "columns": "qid string, question_text string, target int64",
        "rows": "c6d6dcc81b8da458",
        "quarantine": "none",
        "record": [4000, 0, "67c704475e25ec10"],
        "checks": "6d729a26a4f9f8c8",
        "tokens": "39f13c98ee9a73a2",
    },
    "plain_csv": {
        "hash": ["fe36f7c820e6ea44", "cd5c832308bad7a9", "f4c2a6e557385644"],
        "hash, repeated": [1267, 137],
        "random": ["33f6c040be71d558", "b2a2d80b98ab6a4b", "c93ef8e64e22d823"],
        "random, repeated": [1267, 137],
        "columns": "qid string, question_text string, target int64",
        "rows": "75209560217d5baf",
        "quarantine": "none",
        "record": [4000, 0, "5af1c0d2d8e1b586"],
        "checks": "b4998a7340c5e555",
        "tokens": "6eed7934b9ffb80f",
    },
}


@pytest.mark.parametrize("csv", [odd_csv, even_csv, plain_csv])
def test_snapshot_report_splits_and_tokens_are_the_same_to_the_last_bit(csv, tmp_path):
    path, found = tmp_path / "rows.csv", {}
    path.write_bytes(csv().encode())
    run = open_run(tmp_path / "home")
    raw = snapshot(config(path, *LOOSE), run)
    report = validate(config(path, *LOOSE), run, raw)
    for strategy in ("hash", "random"):
        splits = split(config(path, *LOOSE, f"split.strategy={strategy}"), run, raw, report)
        found[strategy] = [part.digest[:16] for part in splits.parts]
        found[f"{strategy}, repeated"] = [splits.duplicate_texts, splits.conflicting_texts]
    stored = run.store.open("snapshots", raw.sha256)
    table = pyarrow.parquet.read_table(stored / "rows.parquet")
    found["columns"] = ", ".join(f"{field.name} {field.type}" for field in table.schema)
    found["rows"] = sha(repr(table.to_pydict()).encode())
    quarantine = stored / "quarantine.csv"
    found["quarantine"] = sha(quarantine.read_bytes()) if quarantine.exists() else "none"
    found["record"] = [raw.rows, raw.quarantined_rows, raw.sha256[:16]]
    found["checks"] = sha(repr([(check.name, check.passed, check.observed) for check in report.checks]).encode())
    tokens = Tokenizer(VOCABULARY, lower_case=True, max_tokens=12).tokenize(table["question_text"].to_pylist())
    found["tokens"] = sha(tokens.token_ids.astype("<i4").tobytes(), tokens.row_splits.astype("<i8").tobytes())
    assert found == EXPECTED[csv.__name__]
