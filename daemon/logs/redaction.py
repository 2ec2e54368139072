"""Secrets stay out of logs: by the name of a field, by the form of a text, and by the values that we know.

Names are compared by their last part, in any spelling: `apiKey`, `X-MBX-APIKEY` and `api_key` are one. Texts are
searched for `name=value` and `"name": "value"`, headers, users in addresses, listen keys in stream addresses, PEM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache

HIDDEN = "[hidden]"

_ENDINGS = ("key", "secret", "token", "signature", "password", "passphrase", "passwd", "authorization", "cookie",
            "credential")  # fmt: skip
_WHOLE = frozenset({"sign", "sig", "auth", "pwd", "bearer"})
# `token_file` is where a secret lies, not the secret.
_PLACES = ("file", "path", "folder")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_VALUE_CHARS_LEAST = 6

_NAME = rf"(?:[A-Za-z0-9_.\-]*?(?:{'|'.join(_ENDINGS)})s?|(?:[A-Za-z0-9_.\-]*?[_.\-])?(?:{'|'.join(sorted(_WHOLE))}))"
_PAIR = re.compile(
    rf"(?<![A-Za-z0-9_.\-])(?P<name>{_NAME})(?P<middle>\\?[\"']?\s*(?:=>|[=:]|%3[dD])\s*(?:b?\\?[\"'])?)"
    r"(?!\[hidden\])(?P<value>(?:Bearer\s+|Basic\s+)?[^\s\"'&;,}\])>\\]+)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"(?P<head>(?<![A-Za-z0-9])(?:authorization|(?:set-)?cookie)\\?[\"']?\s*[=:,]\s*(?:b?\\?[\"'])?)(?!\s*\[hidden\])[^\r\n\"']+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?<![A-Za-z0-9])(bearer\s+)[A-Za-z0-9._~+/=\-]{6,}", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@\"']+(?=@)")
_STREAM_KEY = re.compile(r"(?<=/ws/)[A-Za-z0-9]{32,}")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a field of that name holds what must not be seen."""
    joined = "".join(letter for letter in name.lower() if letter.isalnum())
    if joined.endswith(_PLACES):
        return False
    if joined.removesuffix("s").endswith(_ENDINGS) or joined in _WHOLE:
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word.removesuffix("s").endswith(_ENDINGS) or word in _WHOLE for word in words)


def text_redactor(secrets: Collection[str] = ()) -> Callable[[str], str]:
    """A function that takes secrets out of a text, `secrets` among them where they have six characters or more.

    Shorter values are not looked for: words have them.
    """
    known = sorted({secret for secret in secrets if len(secret) >= _VALUE_CHARS_LEAST}, key=len, reverse=True)
    values = re.compile("|".join(map(re.escape, known))) if known else None

    def redact(text: str) -> str:
        if values is not None:
            text = values.sub(HIDDEN, text)
        return redacted(text)

    return redact


def redacted(text: str) -> str:
    """The text without what looks like a secret in it."""
    if text.isalnum():
        return text
    if "PRIVATE KEY" in text:
        text = _PEM.sub(HIDDEN, text)
    if "://" in text:
        text = _STREAM_KEY.sub(HIDDEN, _USER.sub(HIDDEN, text))
    if "=" in text or ":" in text or "," in text or "%3" in text:
        text = _PAIR.sub(_pair_hidden, _HEADER.sub(rf"\g<head>{HIDDEN}", text))
    return _BEARER.sub(rf"\g<1>{HIDDEN}", text) if "bearer" in text.lower() else text


def _pair_hidden(found: re.Match[str]) -> str:
    name, middle = found["name"], found["middle"]
    # "unknown key: fee_bps" is prose; `"key": "…"` and `key=…` are not.
    if name.lower() in {"key", "keys"} and middle.strip() == ":":
        return found[0]
    return f"{name}{middle}{HIDDEN}"
