#!/usr/bin/env python3
"""Django: migrations, requests on persistent and on fresh connections, atomic blocks, iterators, a test database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

from work import DATABASE, HOST, PORT, ROUNDS, USER, WORKERS, Place, check, in_threads, main, order, rejected

SERVER = {"ENGINE": "django.db.backends.postgresql", "HOST": HOST, "PORT": str(PORT), "USER": USER, "NAME": DATABASE}

settings.configure(
    DATABASES={
        "default": {**SERVER, "CONN_MAX_AGE": 600, "TEST": {"NAME": f"test_{DATABASE}"}},
        # A connection for each request, at home in another time zone.
        "fresh": {**SERVER, "CONN_MAX_AGE": 0, "TIME_ZONE": "Asia/Tokyo", "TEST": {"MIRROR": "default"}},
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "shop"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="a program's own",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402  (after setup)
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.signals import request_finished, request_started  # noqa: E402
from django.db import IntegrityError, connection, connections, models, transaction  # noqa: E402
from django.db.models import Count, F, Sum  # noqa: E402

from shop.models import Item, Shelf  # noqa: E402


def shelf_of(place: Place) -> Shelf:
    return Shelf.objects.create(name=place.name(f"shelf of {Shelf.objects.count()} for"))


def own_writes(place: Place) -> None:
    shelf = shelf_of(place)
    for number in range(5):
        item = Item.objects.create(shelf=shelf, name=f"item {number}", count=number, details={"n": number})
        check(Item.objects.filter(shelf=shelf).count(), number + 1, "own writes")
        check(Item.objects.get(pk=item.pk).details, {"n": number})
    Item.objects.filter(shelf=shelf).update(count=F("count") + 10)
    check(Item.objects.filter(shelf=shelf).aggregate(total=Sum("count"))["total"], 60)
    found, made = Item.objects.get_or_create(shelf=shelf, name="item 3")
    check((found.count, made), (13, False))
    check(Item.objects.update_or_create(shelf=shelf, name="new", defaults={"count": 7})[1], True)
    check(Item.objects.filter(details__n__gte=3, shelf=shelf).delete()[0], 2)
    check(Shelf.objects.annotate(many=Count("items")).get(pk=shelf.pk).many, 4)


def atomic_blocks(place: Place) -> None:
    with transaction.atomic():
        shelf = shelf_of(place)
        try:
            with transaction.atomic():
                Item.objects.create(shelf=shelf, name="twice")
                Item.objects.create(shelf=shelf, name="twice")
        except IntegrityError as error:
            check(error.__cause__.diag.sqlstate if hasattr(error.__cause__, "diag") else None, "23505")
        savepoint = transaction.savepoint()
        Item.objects.create(shelf=shelf, name="rolled back")
        transaction.savepoint_rollback(savepoint)
        Item.objects.create(shelf=shelf, name="kept")
        check([item.name for item in Item.objects.select_for_update().filter(shelf=shelf)], ["kept"])
    check(Item.objects.filter(shelf=shelf).count(), 1)
    with rejected("22012"), transaction.atomic(), connection.cursor() as cursor:
        Item.objects.filter(shelf=shelf).delete()
        cursor.execute("SELECT 1 / 0")
    check(Item.objects.filter(shelf=shelf).count(), 1, "after ROLLBACK")
    done: list[int] = []
    with transaction.atomic():
        transaction.on_commit(lambda: done.append(Item.objects.filter(shelf=shelf, name="second").count()))
        Item.objects.create(shelf=shelf, name="second")
    check(done, [1], "what is seen on commit")


def server_side_cursors(place: Place) -> None:
    shelf = shelf_of(place)
    Item.objects.bulk_create([Item(shelf=shelf, name=f"item {number}", count=number) for number in range(250)], batch_size=100)
    with transaction.atomic():
        check(sum(item.count for item in Item.objects.filter(shelf=shelf).iterator(chunk_size=60)), 31_125)
    items = list(Item.objects.filter(shelf=shelf))
    for item in items:
        item.count += 1
    Item.objects.bulk_update(items, ["count"])
    check(Item.objects.filter(shelf=shelf).aggregate(total=Sum("count"))["total"], 31_375)


def users_and_sessions(place: Place) -> None:
    user = User.objects.create_user(f"user {place.number} {User.objects.count()}", password=None)
    check(User.objects.get(pk=user.pk).is_active, True)
    session = SessionStore()
    session["user"] = user.pk
    session.save()
    check(SessionStore(session.session_key)["user"], user.pk)
    session.flush()
    check(SessionStore(session.session_key).get("user"), None)


def raw_sql(place: Place) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::int, current_setting('TimeZone')", [place.number])
        check(cursor.fetchone(), (place.number, "UTC"))
    with connections["fresh"].cursor() as cursor:
        cursor.execute("SHOW timezone")
        check(cursor.fetchone()[0], "Asia/Tokyo")
    check(Shelf.objects.using("fresh").filter(room="kitchen").count(), 2)
    check(Shelf.objects.raw("SELECT * FROM shop_shelf WHERE room = %s ORDER BY id", ["kitchen"])[0].name, "shelf 7")
    check("shop_item" in connection.introspection.table_names(), True)


def across_connections(place: Place) -> None:
    shelf = shelf_of(place)
    with transaction.atomic(using="fresh"):
        check(Shelf.objects.using("fresh").filter(pk=shelf.pk).count(), 1, "what another connection has committed")


PIECES: list[Callable[[Place], None]] = [
    own_writes, atomic_blocks, server_side_cursors, users_and_sessions, raw_sql, across_connections,
]  # fmt: skip


def prepare() -> None:
    call_command("migrate", verbosity=0)
    for target in ("0001", "zero", "0002"):
        call_command("migrate", "shop", target, verbosity=0)
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    check(Shelf.objects.filter(room="kitchen").count(), 2)


def test_database() -> None:
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True)
    check(name, f"test_{DATABASE}")
    check(Shelf.objects.count(), 20)
    Shelf.objects.create(name="only in the test")
    connection.creation.destroy_test_db(DATABASE, verbosity=0)
    check(Shelf.objects.filter(name="only in the test").count(), 0)


def work() -> None:
    def worker(number: int) -> None:
        for round_ in range(ROUNDS):
            place = Place(number, round_)
            for piece in order(PIECES, place):
                request_started.send(sender=None)
                piece(place)
                request_finished.send(sender=None)
        connections.close_all()

    in_threads(worker)
    test_database()


if __name__ == "__main__":
    drivers = connection.Database
    main(f"Django {django.__version__} ({drivers.__name__} {drivers.__version__.split()[0]})", prepare, work)
