"""The JSON files of a source: what they say, or one clear error."""

from __future__ import annotations

import json
from typing import Any

from preprocessing.findings import BadInput


def parse_json(text: bytes, file: str, code: str) -> Any:
    """Reads UTF-8, with or without a byte order mark.

    Args:
      text: content of the file.
      file: its name, for messages.
      code: the error's word for programs.

    Raises:
      BadInput: it is in another encoding, or no JSON; a key stands twice; a number or the nesting
        is beyond measure; a string holds half a character, which could be written nowhere.
    """
    try:
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_once_each)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        sentence = f"found the byte 0x{text[error.start]:02x}, expected UTF-8. Save it as UTF-8."
        raise BadInput(code, sentence, file, line) from None
    except UnicodeEncodeError:
        sentence = "holds half a character (\\ud800 to \\udfff). Correct or restore the file."
        raise BadInput(code, sentence, file) from None
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        sentence = f"cannot be read as JSON ({error!s:.60}). Correct or restore the file."
        raise BadInput(code, sentence, file, line) from None
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.30} stands twice")
    return value
