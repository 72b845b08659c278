import pytest


@pytest.fixture
def server(state_server):
    return state_server
