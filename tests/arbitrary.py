"""What hypothesis draws, for those who take whatever comes."""

from typing import Any

from hypothesis import strategies as st

# Any text that UTF-8 can say. `st.text()` is the same, and takes two seconds to find that out.
characters = st.characters(exclude_categories=["Cs"])


def text(max_size: int | None = None) -> st.SearchStrategy[str]:
    """Draw any text."""
    return st.text(characters, max_size=max_size)


def json_values() -> st.SearchStrategy[Any]:
    """Draw what a JSON document can hold."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | text(),
        lambda inner: st.lists(inner) | st.dictionaries(text(), inner),
        max_leaves=5,
    )
