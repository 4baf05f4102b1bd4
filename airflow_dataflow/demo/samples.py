"""Raw input for the demo: messages to a shop's support, as they arrive, with everything that is wrong with them.

The same seed gives the same bytes. Each night brings one file of each format with the same columns; the first night
also brings a Parquet file that was cut off on its way.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_dataflow.demo.phrases import (
    AMBIGUOUS,
    CLOSINGS,
    DETAILS,
    INTENTS,
    JUNK,
    NAMES,
    OPENINGS,
    PERSONAL,
    PRODUCTS,
)

FIRST_NIGHT = datetime(2026, 11, 1, tzinfo=UTC)
_COLUMNS = ("message_id", "body", "intent", "channel", "response_seconds", "customer_rating", "created_at")
_SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("body", pa.string()),
        ("intent", pa.string()),
        ("channel", pa.string()),
        ("response_seconds", pa.float64()),
        ("customer_rating", pa.int64()),
        ("created_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How much of what the landing folder receives; shares are fractions of a night's rows."""

    rows: tuple[int, ...] = (6000, 1500, 1500)
    """Messages per night."""
    seed: int = 20261101
    """Another seed gives other messages."""
    mislabelled_fraction: float = 0.03
    """Messages filed under a wrong intent."""
    ambiguous_fraction: float = 0.04
    """Messages whose sentence fits several intents."""
    duplicate_fraction: float = 0.03
    """Messages that come again word for word under a new id."""
    near_duplicate_fraction: float = 0.02
    """Messages that come again with other spacing and capitals."""
    missing_fraction: float = 0.01
    """Messages without a body, and as many without an intent."""
    outlier_fraction: float = 0.015
    """Messages with an impossible response time."""
    junk_fraction: float = 0.015
    """Messages that say nothing."""
    personal_fraction: float = 0.12
    """Messages with an e-mail address, a phone or card number or an IP address."""
    broken_fraction: float = 0.006
    """Lines of CSV and JSONL files that no parser can read, and as many CSV lines that are not UTF-8."""


@dataclass(frozen=True)
class Message:
    """One row."""

    message_id: str
    body: str | None
    intent: str | None
    channel: str
    response_seconds: float | None
    customer_rating: int | None
    created_at: datetime


def write_night(landing: Path, night: int, options: SampleOptions | None = None) -> list[Path]:
    """Write the files that arrive on a night into the landing folder.

    :param landing: folder; made when absent, files of other nights stay.
    :param night: 1 is the first.
    :returns: the new files, sorted by name.
    """
    options = options or SampleOptions()
    landing.mkdir(parents=True, exist_ok=True)
    day = f"{FIRST_NIGHT + timedelta(days=night - 1):%Y%m%d}"
    messages = night_messages(night, options)
    chance = random.Random(f"{options.seed} files {night}")
    web, app = len(messages) * 2 // 5, len(messages) * 3 // 4
    contents = {
        f"web-{day}.csv": _csv(messages[:web], chance, options),
        f"app-{day}.jsonl": _jsonl(messages[web:app], chance, options),
        f"mail-{day}.parquet": _parquet(messages[app:]),
    }
    if night == 1:
        whole = _parquet(messages[: len(messages) // 20])
        contents[f"archive-{day}.parquet"] = whole[: len(whole) * 2 // 3]
    for name, content in contents.items():
        (landing / name).write_bytes(content)
    return [landing / name for name in sorted(contents)]


def night_messages(night: int, options: SampleOptions) -> list[Message]:
    """Return a night's messages; from the second night on some repeat messages of the night before."""
    chance = random.Random(f"{options.seed} night {night}")
    total = options.rows[night - 1]
    repeats = round(total * options.duplicate_fraction)
    similar = round(total * options.near_duplicate_fraction)
    messages = [
        _message(chance, f"m{night}-{number:05d}", night, options) for number in range(total - repeats - similar)
    ]
    originals = [message for message in messages if message.body]
    if night > 1:
        originals += [message for message in night_messages(night - 1, options) if message.body]
    for number in range(repeats + similar):
        original = chance.choice(originals)
        body = original.body if number < repeats else _shout(chance, original.body or "")
        again = replace(original, message_id=f"m{night}-r{number:04d}", body=body, created_at=_moment(chance, night))
        messages.insert(chance.randrange(len(messages)), again)
    return messages


def _message(chance: random.Random, message_id: str, night: int, options: SampleOptions) -> Message:
    intent = chance.choice(tuple(INTENTS))
    body: str | None = _body(chance, intent, options)
    if chance.random() < options.ambiguous_fraction:
        sentence, intents = chance.choice(AMBIGUOUS)
        intent, body = chance.choice(intents), _fill(chance, f"{sentence} {chance.choice(DETAILS)}")
    label: str | None = intent
    if chance.random() < options.mislabelled_fraction:
        label = chance.choice([other for other in INTENTS if other != intent])
    what = chance.random()
    if what < options.missing_fraction:
        body = chance.choice((None, "", "   "))
    elif what < 2 * options.missing_fraction:
        label = None
    elif what < 2 * options.missing_fraction + options.junk_fraction:
        body = chance.choice(JUNK)
    seconds: float | None = round(chance.lognormvariate(5.5, 0.6), 1)
    if chance.random() < options.outlier_fraction:
        seconds = chance.choice((-1.0, 9_999_999.0, round(chance.uniform(200_000, 900_000), 1)))
    elif chance.random() < 0.03:  # noqa: PLR2004 - nobody measured the time of some messages
        seconds = None
    return Message(
        message_id=message_id,
        body=body,
        intent=label,
        channel=chance.choice(("web", "app", "mail")),
        response_seconds=seconds,
        customer_rating=chance.choice((None, 1, 2, 3, 4, 4, 5, 5)),
        created_at=_moment(chance, night),
    )


def _body(chance: random.Random, intent: str, options: SampleOptions) -> str:
    sentences = [chance.choice(OPENINGS), *chance.sample(INTENTS[intent], chance.choice((1, 1, 2)))]
    sentences.append(chance.choice(DETAILS))
    if chance.random() < options.personal_fraction:
        sentences.append(chance.choice(PERSONAL))
    sentences.append(chance.choice(CLOSINGS))
    return _fill(chance, " ".join(sentence for sentence in sentences if sentence))


def _fill(chance: random.Random, text: str) -> str:
    return text.format(
        name=chance.choice(NAMES),
        product=chance.choice(PRODUCTS),
        order=f"{chance.choice('ABCDEFG')}{chance.randrange(10_000, 99_999)}",
        day=chance.choice(("Monday", "Tuesday", "last week", "12 October", "the 3rd", "Friday")),
        count=chance.randrange(2, 15),
        price=f"{chance.randrange(5, 400)}.{chance.randrange(100):02d}",
        street=f"{chance.randrange(1, 120)} {chance.choice(('Mill', 'Park', 'Church', 'Lake'))} Street",
        email=f"{chance.choice(NAMES).lower()}.{chance.randrange(1000)}@example.com",
        phone=f"+49 30 {chance.randrange(1_000_000, 9_999_999)}",
        card=_card_number(chance),
        ip=f"192.0.2.{chance.randrange(1, 255)}",
    )


def _card_number(chance: random.Random) -> str:
    """Return sixteen digits that pass the Luhn check, as card numbers do."""
    digits = [4, *(chance.randrange(10) for _ in range(14))]
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[::2]]  # noqa: PLR2004 - Luhn's rule
    check = -(sum(doubled) + sum(digits[1::2])) % 10
    number = "".join(str(digit) for digit in [*digits, check])
    return " ".join(number[start : start + 4] for start in range(0, 16, 4))


def _shout(chance: random.Random, body: str) -> str:
    changed = body.upper() if chance.random() < 0.5 else body.lower()  # noqa: PLR2004 - one half each
    return changed.replace(" ", "  ") if chance.random() < 0.5 else f"  {changed}\n"  # noqa: PLR2004 - one half each


def _moment(chance: random.Random, night: int) -> datetime:
    return FIRST_NIGHT + timedelta(days=night - 2, seconds=chance.randrange(86_400))


# files ----------------------------------------------------------------------------------------


def _csv(messages: Iterable[Message], chance: random.Random, options: SampleOptions) -> bytes:
    lines = [",".join(_COLUMNS).encode()]
    for message in messages:
        text = io.StringIO()
        row = {**asdict(message), "created_at": message.created_at.isoformat()}
        csv.writer(text, lineterminator="").writerow(row.values())
        line = text.getvalue().encode()
        if chance.random() < options.broken_fraction:
            line = line.rsplit(b",", 2)[0] if chance.random() < 0.5 else line + b",one,field,too,many"  # noqa: PLR2004 - one half each
        elif chance.random() < options.broken_fraction and message.body:
            line = line.replace(b"e", "é".encode("latin-1"), 1)
        lines.append(line)
    return b"\n".join(lines) + b"\n"


def _jsonl(messages: Iterable[Message], chance: random.Random, options: SampleOptions) -> bytes:
    lines = []
    for message in messages:
        line = json.dumps({**asdict(message), "created_at": message.created_at.isoformat()}, ensure_ascii=False)
        if chance.random() < options.broken_fraction:
            line = line[: len(line) // 2]
        lines.append(line)
    return "\n".join(lines).encode() + b"\n"


def _parquet(messages: Iterable[Message]) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pylist([asdict(message) for message in messages], schema=_SCHEMA)
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
