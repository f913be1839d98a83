"""What services that mean harm cost the daemon: its memory is the bound that is shipped, 64 MiB."""

import pytest

from tools.hostile import BOUND, CASES, peak

# One of each kind; `make hostile` has them all.
WORST = (
    "a_ban_list_of_77_000_addresses",
    "preferences_of_4_mib_of_values",
    "a_log_of_long_messages_of_our_port",
    "ports_of_1_mib_of_objects",
    "a_chunk_size_of_minus_one",
    "headers_of_65_000_bytes",
    "a_compressed_gigabyte",
)


@pytest.mark.parametrize("name", WORST)
def test_whatever_a_service_sends_the_memory_that_is_shipped_is_enough(name: str) -> None:
    most, _ = peak(CASES[name.replace("_", " ")]())
    assert most < BOUND
