"""Whether bytes are Western European text in cp1252, which detectors by frequency take for cp1250 or cp1257."""

from __future__ import annotations

import re

LANGUAGES = (
    "àâæçéèêëîïôœùûüÿ",  # French
    "äöüßé",  # German
    "áéíóúüñçïàèòªº",  # Spanish, Catalan, Italian's acute accents
    "àèéìíîòóùú",  # Italian
    "áâãàçéêíóôõúüªº",  # Portuguese
    "áéíóúàèëïöüê",  # Dutch, Irish
    "åäöæøéèàóòôüáêë",  # Danish, Norwegian, Swedish, Finnish
    "áðéíóúýþæöø",  # Icelandic, Faroese
)
"""Letters beyond ASCII by language. One by one: together they are those of Hungarian or Latvian misread."""
SIGNS = "«»‹›“”„’‘‚€£°–—•…¿¡§©®™·´`×½¼¾²³µ\xa0"
IN_WORDS = "’‘·–—´\xa0"
NEARLY_ALL = 0.98


def is_western(raw: bytes) -> bool:
    """Whether nearly all beyond ASCII, read as cp1252, are letters of one language, and signs between words."""
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        return False
    beyond = re.findall(r"[^\x00-\x7f]", text)
    misplaced = sum(sign not in IN_WORDS for sign in re.findall(r"(?<=\w)[^\w\x00-\x7f](?=\w)", text))
    if not beyond:
        return False
    most = max(sum(letter.lower() in (*known, *SIGNS) for letter in beyond) for known in LANGUAGES)
    return most - misplaced >= NEARLY_ALL * len(beyond)
