"""Ruby's mysql2, as its users write it."""

import subprocess
from pathlib import Path

from tests.clients.shop import Shop, need
from tests.servers.missing import skip_or_fail

_FOLDER = Path(__file__).parent


def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop) -> None:
    need("ruby")
    if subprocess.run(["ruby", "-r", "mysql2", "-e", ""], capture_output=True, check=False).returncode:
        skip_or_fail("ruby has no gem mysql2")
    shop.check(["ruby", "mysql2.rb"], _FOLDER)
