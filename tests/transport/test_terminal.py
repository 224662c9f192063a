"""At a terminal the check has signs and colours; NO_COLOR takes the colours away, and whatever is no terminal gets words."""

import os
import pty
import subprocess

PROGRAM = os.environ["PROGRAM"]
# Nobody listens there: the second item fails, and the rest is not tried.
ENV = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}


def at_a_terminal(**env):
    ours, theirs = pty.openpty()
    with subprocess.Popen([PROGRAM, "check"], env={**ENV, **env}, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:  # Linux says so that the other end is closed.
            pass
        os.close(ours)
        assert process.wait(timeout=10) == 75
    return shown.decode()


def test_at_a_terminal_there_are_signs_in_colour():
    shown = at_a_terminal()
    assert "\x1b[32m✓\x1b[0m  environment" in shown, shown
    assert "\x1b[31m✗\x1b[0m  metadata" in shown, shown
    assert "FAIL" not in shown


def test_no_color_leaves_the_signs():
    shown = at_a_terminal(NO_COLOR="1")
    assert "\x1b" not in shown
    assert "✓  environment" in shown and "✗  metadata" in shown, shown
    assert "\x1b" in at_a_terminal(NO_COLOR=""), "an empty one is as none"


def test_elsewhere_there_are_words():
    done = subprocess.run([PROGRAM, "check"], env=ENV, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 75
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    environment") and lines[1].startswith("FAIL  metadata"), done.stdout
    assert "\x1b" not in done.stdout and "✓" not in done.stdout
