"""What a row and a person can take of a host's numbers and words."""

#: the numbers that a row can hold
CODES = range(-(1 << 31), 1 << 31)
WORDS_MAX = 1000


def fitting(words: str) -> str:
    """A host's words, of bounded length, in plain Unicode, without control characters but line ends."""
    cut = words if len(words) <= WORDS_MAX else f"{words[:WORDS_MAX]}… ({len(words)} characters)"
    plain = cut.encode(errors="backslashreplace").decode()
    return "".join(char if char >= " " or char == "\n" else f"\\x{ord(char):02x}" for char in plain)
