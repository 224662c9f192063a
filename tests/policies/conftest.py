"""What the tests of the policies share."""

import pytest
from region import Region


@pytest.fixture
def start(tmp_path):
    """Starts the fake region of a world."""
    running = []

    def starter(world):
        directory = tmp_path / str(len(running))
        directory.mkdir()
        running.append(Region(world, directory))
        return running[-1]

    yield starter
    for region in running:
        region.close()
