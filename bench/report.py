"""What came of a run: results.json, results.md, results.svg, the section of the README, and the goals.

`report.py` alone writes the others from results.json again.
"""

import json
import re
import sys
from pathlib import Path

import plot

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
SLOW, FLOOR, OURS = "shell script, AWS CLI", "floor", "eip-claim"
HELD, FLOOR_HELD = "eip-claim, already held", "floor, already held"
ALWAYS, FLOOR_ALWAYS = "eip-claim, explicit `always`", "floor, given the address"
# What is compared with another floor than that of a claim.
FLOORS = {HELD: FLOOR_HELD, FLOOR_HELD: FLOOR_HELD, ALWAYS: FLOOR_ALWAYS, FLOOR_ALWAYS: FLOOR_ALWAYS}
# The contenders that do the same: claim an address that is free.
CLAIMING = [FLOOR, OURS, "boto3 script", "aws-ec2-assign-elastic-ip", SLOW]
MB = 1_000_000
# The part of the processors' time that others may take before the times are called disturbed.
QUIET = 0.1
DISTURBED = "The machine was busy with something else: whoever needs the processor most was slowed down most."


def goals(results):
    """What was promised: a text, whether it holds, and the figure."""
    at = at_setting(results, 25, 0)
    ours, held, always = at[OURS], at[HELD], at[ALWAYS]
    size = results["executable_bytes"]
    cpu, peak = median(ours, "cpu_ms"), median(ours, "peak_bytes") / MB
    slower = median(at[SLOW], "cpu_ms") / cpu
    wall = median(ours, "wall_ms") / median(at[FLOOR], "wall_ms")
    wall_held = median(held, "wall_ms") / median(at[FLOOR_HELD], "wall_ms")
    actions = [call for call in always["calls"].split(", ") if "/" not in call]
    found = [
        ("wall at 25 ms a call: at most 1.10 of the floor", wall <= 1.10, f"{wall:.2f}"),
        ("processor time: at most 12 ms", cpu <= 12, f"{cpu:.1f} ms"),
        ("processor time: at most 1/60 of the shell script's", slower >= 60, f"1/{slower:.0f}"),
        ("peak memory: at most 8 MB", peak <= 8, f"{peak:.1f} MB"),
        ("executable (gnu): at most 4.5 MB", size["gnu"] <= 4.5 * MB, f"{size['gnu'] / MB:.2f} MB"),
        ("already held: one EC2 call", held["ec2_calls"] == 1, str(held["ec2_calls"])),
        ("already held, wall at 25 ms a call: at most 1.2 of its floor", wall_held <= 1.2, f"{wall_held:.2f}"),
        (
            "explicit `always`: no read of EC2 before the write",
            actions[0] == "AssociateAddress",
            ", ".join(actions),
        ),
    ]
    if size["musl"] is not None:
        found.insert(5, ("executable (musl): at most 3.5 MB", size["musl"] <= 3.5 * MB, f"{size['musl'] / MB:.2f} MB"))
    return found


def at_setting(results, ec2, imds):
    (found,) = [one for one in results["settings"] if (one["ec2_ms"], one["imds_ms"]) == (ec2, imds)]
    return found["of"]


def median(of, what):
    return of[what]["median"]


def write(results):
    """Writes everything; 1 if a goal was missed."""
    (HERE / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return rewrite(results)


def rewrite(results):
    (HERE / "results.md").write_text(markdown(results))
    at = at_setting(results, 25, 0)
    panels = [
        ("time from start to end, ms", {name: median(at[name], "wall_ms") for name in CLAIMING}),
        ("processor time, ms", {name: median(at[name], "cpu_ms") for name in CLAIMING}),
        ("peak memory, MB", {name: median(at[name], "peak_bytes") / MB for name in CLAIMING}),
        ("on disk, MB", {name: results["disk_bytes"][name] / MB for name in CLAIMING}),
    ]
    (HERE / "results.svg").write_text(plot.bars("One claim, EC2 answering after 25 ms", panels, OURS))
    begin, end = "<!-- written by make bench -->\n", "<!-- until here -->\n"
    text = README.read_text()
    section = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    assert section.search(text), f"README.md has no place for the figures: {begin}"
    README.write_text(section.sub(lambda _: begin + ratios(results) + end, text))
    if results["machine"]["others"] > QUIET:
        print(f"{DISTURBED} Others took {results['machine']['others']:.0%} of its time; run it again when it is quiet.")
    missed = 0
    for goal, is_met, figure in goals(results):
        print(f"{'met   ' if is_met else 'MISSED'}  {goal}: {figure}")
        missed += not is_met
    return 1 if missed else 0


def ratios(results):
    """The table of the README: everybody in multiples of the program."""
    at = at_setting(results, 25, 0)
    lines = ["| one claim, EC2 answering after 25 ms | time | processor time | memory | on disk |", 5 * "|---" + "|"]
    ours = at[OURS]
    for name in CLAIMING:
        if name == OURS:
            cells = [f"{median(ours, 'wall_ms'):.0f} ms", f"{median(ours, 'cpu_ms'):.1f} ms"]
            cells += [f"{median(ours, 'peak_bytes') / MB:.1f} MB", f"{results['disk_bytes'][OURS] / MB:.1f} MB"]
        else:
            cells = [times(median(at[name], what) / median(ours, what)) for what in ("wall_ms", "cpu_ms", "peak_bytes")]
            cells.append(times(results["disk_bytes"][name] / results["disk_bytes"][OURS]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if results["machine"]["others"] > QUIET:
        lines += ["", DISTURBED]
    return "\n".join(lines) + "\n"


def times(ratio):
    return f"× {ratio:.2f}" if ratio < 2 else f"× {ratio:.1f}" if ratio < 10 else f"× {ratio:.0f}"


def markdown(results):
    machine = results["machine"]
    lines = [
        "# Results",
        "",
        "Written by `make bench`; [README.md](README.md) says what the figures mean.",
        f"`{results['program']}`, on {machine['cpus']}, Linux {machine['kernel']}, Python {machine['python']}.",
        "Medians, with the middle half of the runs in brackets.",
        f"Others took {machine['others']:.0%} of the processors' time meanwhile.",
        *([DISTURBED] if machine["others"] > QUIET else []),
        "",
        "![](results.svg)",
        "",
        "## Goals",
        "",
        "| goal | found | |",
        "|---|---|---|",
    ]
    lines += [f"| {goal} | {figure} | {'met' if met else '**missed**'} |" for goal, met, figure in goals(results)]
    if results["executable_bytes"]["musl"] is None:
        lines += ["", "The musl executable was not measured: that target is not installed here."]
    for setting in results["settings"]:
        lines += ["", f"## EC2 answers after {setting['ec2_ms']} ms, IMDS after {setting['imds_ms']} ms", ""]
        lines += table(setting["of"])
    lines += ["", "## On disk", "", "| | MB | of eip-claim's |", "|---|---|---|"]
    disk = results["disk_bytes"]
    lines += [f"| {name} | {size / MB:.1f} | {times(size / disk[OURS])} |" for name, size in disk.items()]
    lines += ["", "## Calls", "", "In the order of their arrival; some are under way at the same time.", ""]
    for name in at_setting(results, 25, 0):
        calls = ", ".join(f"`{short(call)}`" for call in at_setting(results, 25, 0)[name]["calls"].split(", "))
        lines.append(f"- {name}: {calls}")
    return "\n".join(lines) + "\n"


def short(call):
    return re.sub(r"^GET /latest/(meta-data/)?|^PUT /latest/api/", "", call)


def table(of):
    lines = [
        "| | runs | time, ms | of its floor | of the script | processor, ms | of the script | memory, MB "
        "| EC2 + IMDS calls | connections | bytes on the wire |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    script = of[SLOW]
    for name, one in of.items():
        floor = of[FLOORS.get(name, FLOOR)]
        cells = [
            name,
            one["runs"],
            spread(one["wall_ms"]),
            times(median(one, "wall_ms") / median(floor, "wall_ms")),
            share(one, script, "wall_ms"),
            spread(one["cpu_ms"]),
            share(one, script, "cpu_ms"),
            f"{median(one, 'peak_bytes') / MB:.1f}",
            f"{one['ec2_calls']} + {one['imds_calls']}",
            one["connections"],
            f"{median(one, 'wire_bytes'):.0f}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def spread(of):
    return f"{of['median']:.1f} ({of['q1']:.1f}–{of['q3']:.1f})"


def share(one, whole, what):
    ratio = median(whole, what) / median(one, what)
    return "1" if one is whole else f"1/{ratio:.0f}" if ratio >= 10 else f"1/{ratio:.1f}"


if __name__ == "__main__":
    sys.exit(rewrite(json.loads((HERE / "results.json").read_text())))
