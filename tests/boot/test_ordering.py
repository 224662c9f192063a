"""Why the unit waits for no more than it does: how soon the claim is made under two orderings."""

import time
from concurrent.futures import ThreadPoolExecutor

from worlds import UNIT, world

LATER = "[Unit]\nWants=network-online.target\nAfter=network-online.target\n"
ORDERINGS = {"as shipped": "", "after network-online.target": LATER}
SLOW = 20


def boot(start, drop_in, interfaces):
    """Seconds from the start of the unit and of userspace until the claim is proven, and when the boot was done."""
    _, machine = start(world())
    if drop_in:
        machine.drop_in(UNIT, drop_in)
    machine.boot(interfaces)
    if interfaces > 1:
        time.sleep(SLOW)
        machine.cloud.connect(1)
    assert machine.wait_for(UNIT, "active", "failed") == "active"
    machine.wait_for("multi-user.target", "active")
    began, done = machine.seconds(UNIT, "ExecMainStart"), machine.seconds(UNIT, "ExecMainExit")
    return done - began, done, machine.seconds("multi-user.target", "ActiveEnter")


def test_a_slow_second_interface_delays_the_claim_only_where_it_waits_for_network_online(start, record_property):
    cases = [(name, count) for name in ORDERINGS for count in (1, 2)]
    # The slow ones together: they wait. The others one after the other: they are measured in milliseconds.
    with ThreadPoolExecutor() as pool:
        slow = {case: pool.submit(boot, start, ORDERINGS[case[0]], 2) for case in cases if case[1] == 2}
        measured = {case: future.result() for case, future in slow.items()}
    measured |= {case: boot(start, ORDERINGS[case[0]], 1) for case in cases if case[1] == 1}
    for name, count in cases:
        unit, userspace, booted = measured[name, count]
        network = "one interface" if count == 1 else f"a second one after {SLOW} s"
        figures = f"{unit:6.2f} s from the start of the unit, {userspace:6.2f} s of userspace; booted at {booted:5.2f} s"
        record_property("time", f"{name:27} {network:26} claimed {figures}")
    assert measured["as shipped", 2][1] < 10
    assert measured["after network-online.target", 2][1] > SLOW
