"""Django, on mysqlclient."""

import json
import os
from typing import Any

import cases
import django
from django.conf import settings
from django.db import DatabaseError, connection, models, transaction

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": os.environ["SHOP_HOST"],
            "PORT": os.environ["SHOP_PORT"],
            "USER": os.environ["SHOP_USER"],
            "PASSWORD": os.environ["SHOP_PASSWORD"],
            "NAME": os.environ["SHOP_DATABASE"],
            "OPTIONS": {"charset": "utf8mb4"},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()


# docs:begin
class Order(models.Model):
    """An order."""

    customer = models.CharField(max_length=64)

    class Meta:
        """Where it is."""

        app_label = "shop"
        db_table = "shop_orders"


def enqueue(topic: str, key: str, payload: str, options: dict[str, Any]) -> int:
    """Enqueue in the transaction under way; returns the message's id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CALL outbox_enqueue_returning_v1(%s, %s, %s, %s, %s)",
            ["shop.order", topic, key, payload, json.dumps(options)],
        )
        (id_,) = cursor.fetchone()
        return int(id_)


@transaction.atomic
def place_order(customer: str) -> int:
    """Store an order and tell Kafka of it: both, or neither."""
    order = Order.objects.create(customer=customer)
    return enqueue("shop", customer, json.dumps({"order": order.pk}), {})


# docs:end


def execute(_: None, statement: str, *values: Any) -> Any:
    """The first row, if there are rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, list(values))
        return cursor.fetchone() if cursor.description else None


def why(error: Exception) -> tuple[int, str]:
    """MySQL's number and text."""
    assert isinstance(error, DatabaseError)
    return error.args[0], error.args[1]


cases.run(
    transaction.atomic,
    execute,
    lambda _, topic, key, payload, options: enqueue(topic, key, payload, options),
    place_order,
    why,
)
