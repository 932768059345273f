"""E-mail addresses, in the one form in which they are stored and compared."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from lib.errors import FieldError, Invalid

MAX_CHARACTERS: Final = 254  # RFC 5321, section 4.5.3.1.3, with its brackets

# No syntax of a mail header, and no more than that: only a mail that arrives shows
# that an address is one.
_ADDRESS: Final = re.compile(r'[^\s@<>()\[\]\\,;:"]{1,64}@[^\s@<>()\[\]\\,;:"]+')
_ENCODED_WORD: Final = "=?"  # RFC 2047, section 5: in no address; what reads mails would decode it
# Letters, marks and symbols that show nothing: those of Default_Ignorable_Code_Point
# that are not of the categories below, and the braille pattern without dots.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class BadAddress(Invalid):
    """The text is no e-mail address that we take."""

    def __init__(self) -> None:
        detail = (
            f"Give an e-mail address such as ada@example.com, of at most {MAX_CHARACTERS} "
            "characters, without spaces and control characters."
        )
        super().__init__(detail, [FieldError("/email", detail)])


def normal_address(text: str) -> str:
    """Return an address in lower case, without blanks around it.

    Raises:
        BadAddress: it is none. Control and formatting characters, and others that
            show nothing, are refused, as they would let two addresses look the same.
    """
    address = unicodedata.normalize("NFC", text.strip().lower())
    if len(address) > MAX_CHARACTERS or not _is_plain(address) or not _ADDRESS.fullmatch(address):
        raise BadAddress
    return address


def _is_plain(address: str) -> bool:
    if _ENCODED_WORD in address or _INVISIBLE.search(address):
        return False
    return not any(unicodedata.category(each)[0] in "CZ" for each in address)
