"""Makes text that came from elsewhere fit to be kept and shown: in a log, at a terminal."""

LONGEST = 2_000


def kept(text: str) -> str:
    """Cut a text at `LONGEST` characters, and write out what can't be printed."""
    return printable(text[:LONGEST])[:LONGEST]


def printable(text: str) -> str:
    """Write out what can't be printed.

    Control characters would reach a terminal or end a line, and lone surrogates, which JSON can
    hold, can't be encoded at all.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
