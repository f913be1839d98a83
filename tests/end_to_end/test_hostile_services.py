"""What services that mean harm cost the daemon: its memory is the bound that is shipped, 64 MiB."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.command import QSticky
from tools.hostile import BOUND, CASES, Answers, beside, most_resident, peak, sync_often, whole

# One of each kind; `make hostile` has them all.
WORST = (
    "a_ban_list_of_77_000_addresses",
    "preferences_of_4_mib_of_values",
    "ports_of_1_mib_of_objects",
    "a_chunk_size_of_minus_one",
    "headers_of_65_000_bytes",
    "a_compressed_gigabyte",
)


@pytest.fixture(scope="module")
def answers() -> Answers:
    """What the services answer, to be changed."""
    return whole({})


@pytest.fixture(scope="module")
def qsticky(answers: Answers) -> Iterator[QSticky]:
    """One daemon for all, whose peak includes what an earlier one has left behind."""
    with beside(answers) as running:
        yield running


@pytest.mark.parametrize("name", WORST)
def test_whatever_a_service_sends_the_memory_that_is_shipped_is_enough(
    name: str, answers: Answers, qsticky: QSticky
) -> None:
    others = whole(CASES[name.replace("_", " ")]())
    answers.clear()
    answers.update(others)
    sync_often(qsticky)
    print(f"peak {most_resident(qsticky)} KiB")
    assert most_resident(qsticky) < BOUND


def test_whatever_the_log_says_the_memory_that_is_shipped_is_enough() -> None:
    # It is read soon after the start alone.
    most, _ = peak(CASES["a log of long messages of our port"]())
    assert most < BOUND
