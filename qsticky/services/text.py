"""Makes text that came from elsewhere fit to be kept: in a log, on a page, at a terminal."""

LONGEST = 2_000


def printable(text: str) -> str:
    """Cut a text at `LONGEST` characters, and write out what can't be printed.

    Control characters would reach a terminal, and lone surrogates, which JSON can hold, can't be
    encoded at all.
    """
    kept = text[:LONGEST]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else _written_out(c) for c in kept)[:LONGEST]
    return kept


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()
