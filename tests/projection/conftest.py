import pytest

import stylegen
from stylegen.projection.search import project
from tests.support.projecting import FAST


@pytest.fixture(scope="session")
def G(make_generator):
    return make_generator()


@pytest.fixture(scope="session")
def images(G):
    return stylegen.sample(G, [5, 6])


@pytest.fixture(scope="session")
def fast_result(G, images):
    return project(G, images, FAST, frames=5)
