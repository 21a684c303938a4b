"""Ruby's mysql2, as its users write it."""

from pathlib import Path

from tests.clients.shop import Shop, need

_FOLDER = Path(__file__).parent


def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop) -> None:
    need("ruby")
    shop.check(["ruby", "mysql2.rb"], _FOLDER)
