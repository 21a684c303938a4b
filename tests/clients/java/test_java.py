"""Java's drivers, as their users write them."""

from pathlib import Path

import pytest

from tests.clients.shop import CACHE, DIRECT_USER, USER, Shop

# What each way says where the account does not see the procedure's parameters.
_UNSEEN = {
    "prepareCall": "Parameter number 6 is not an OUT parameter",
    "SimpleJdbcCall": "Unable to determine the correct call signature",
    "procedure query": "Parameter number 6 is not an OUT parameter",
}


@pytest.mark.parametrize("program", ["Jdbc", "Spring", "HibernateOrm"])
def test_driver_does_all_that_a_shop_asks_of_it(shop: Shop, command: list[str | Path], program: str) -> None:
    shop.check([*command, program], CACHE)


@pytest.mark.parametrize(("user", "errors"), [(USER, _UNSEEN), (DIRECT_USER, {})], ids=["by a role", "of its own"])
def test_out_parameters_need_rights_of_the_accounts_own(
    shop: Shop, command: list[str | Path], user: str, errors: dict[str, str]
) -> None:
    """MySQL does not show a routine's parameters to an account that has EXECUTE through a role."""
    shop.clean()
    ways = {line["case"]: line for line in shop.run([*command, "Outs"], CACHE, user)}
    assert ways.keys() == {*_UNSEEN, "prepareCall by position"}
    for name, said in ways.items():
        assert (said["id"] > 0) == (name not in errors), said
        assert errors.get(name, "") in said["error"]
