"""The fixtures of all tests are in two modules: servers, and what is done on them."""

pytest_plugins = ["tests.servers.fixtures", "tests.kit.fixtures"]
