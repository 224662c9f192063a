"""Why the unit waits for no more than it does: how soon the claim is made under other orderings."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from worlds import UNIT, give_user_data, world

USUAL = "[Unit]\nAfter=sysinit.target basic.target\n"
ONLINE = "[Unit]\nWants=network-online.target\nAfter=network-online.target\n"
ORDERINGS = {"as shipped": "", "after sysinit.target": USUAL, "after network-online.target": ONLINE}
SLOW = 20


def boot(start, image, ordering, interfaces):
    """Seconds from the start of the unit and of userspace until the claim is proven, and when the boot was done."""
    _, machine = start(world())
    if ORDERINGS[ordering]:
        machine.drop_in(UNIT, ORDERINGS[ordering])
    if image == "cloud-init":
        give_user_data(machine, "#!/bin/sh\n:\n")
    machine.boot(interfaces)
    if interfaces > 1:
        time.sleep(SLOW)
        machine.cloud.connect(1)
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    machine.wait_for("multi-user.target", "active")
    began, done = machine.seconds(UNIT, "ExecMainStart"), machine.seconds(UNIT, "ExecMainExit")
    machine.crash()
    return done - began, done


@pytest.mark.parametrize("image", ["plain", "cloud-init"])
def test_a_slow_second_interface_does_not_delay_the_claim_as_it_would_under_other_orderings(start, record_property, image):
    cases = [(ordering, interfaces) for interfaces in (1, 2) for ordering in ORDERINGS]
    # The slow ones together: they wait. The others one after the other: they are short.
    with ThreadPoolExecutor() as pool:
        slow = {case: pool.submit(boot, start, image, *case) for case in cases if case[1] == 2}
        measured = {case: future.result() for case, future in slow.items()}
    measured |= {case: boot(start, image, *case) for case in cases if case[1] == 1}
    for ordering, interfaces in cases:
        unit, userspace = measured[ordering, interfaces]
        network = "one interface" if interfaces == 1 else f"a second one after {SLOW} s"
        figures = f"{unit:6.2f} s from the start of the unit, {userspace:6.2f} s from that of userspace"
        record_property("time", f"{image:11}{ordering:28}{network:26}{figures}")
    assert measured["as shipped", 2][1] < SLOW / 2
    assert measured["after network-online.target", 2][1] > SLOW
    # Where cloud-init is part of sysinit.target, that waits for all interfaces as well.
    assert (measured["after sysinit.target", 2][1] > SLOW) == (image == "cloud-init")
