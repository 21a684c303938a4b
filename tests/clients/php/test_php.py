"""PHP's PDO, as its users write it."""

import subprocess
from pathlib import Path

from tests.clients.shop import Shop, need
from tests.servers.missing import skip_or_fail

_FOLDER = Path(__file__).parent


def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop) -> None:
    need("php")
    modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=True).stdout.split()
    if "pdo_mysql" not in modules:
        skip_or_fail("php has no pdo_mysql")
    shop.check(["php", "pdo.php"], _FOLDER)
