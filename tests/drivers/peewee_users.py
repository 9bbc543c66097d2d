#!/usr/bin/env python3
"""peewee on a Citus cluster: a table called "user" with Chinese names in it, one pool and no routing code.

Prints what it finds, the same wherever it is connected to: a coordinator, or pgweir in front of it.
"""

from __future__ import annotations

import os
import sys

from peewee import AutoField, CharField, IntegerField, Model

try:
    from playhouse.pool import PooledPostgresqlExtDatabase
except ImportError:  # since 4.0
    from playhouse.postgres_ext import PooledPostgresqlExtDatabase

database = PooledPostgresqlExtDatabase(
    os.environ["PGDATABASE"],
    max_connections=20,
    stale_timeout=300,
    host=os.environ["PGHOST"],
    port=int(os.environ["PGPORT"]),
    user=os.environ["PGUSER"],
)


class User(Model):
    id = AutoField()
    name = CharField()
    age = IntegerField(default=0)

    class Meta:
        database = database
        table_name = "user"


NAMES = ["张三", "李四", "王五", "赵六", "O'Neill", "钱七"]


def main() -> int:
    with database:
        database.create_tables([User])
        database.execute_sql("SELECT create_distributed_table('user', 'id', 'hash')")
    for number in range(40):
        name = f"{NAMES[number % len(NAMES)]}{number}"
        with database:
            user, created = User.get_or_create(name=name, defaults={"age": number})
            # The read straight behind the write finds the row.
            found = User.get(User.id == user.id)
            again, created_again = User.get_or_create(name=name)
            print(number, created, found.name, found.age, again.id == user.id, created_again)
            User.update(age=User.age + 100).where(User.id == user.id).execute()
            print(User.get_by_id(user.id).age)
    with database:
        oldest = User.select().order_by(User.age.desc()).get_or_none()
        print(oldest and (oldest.name, oldest.age))
        print(User.select().where(User.name == "nobody").order_by(User.id).get_or_none())
        print(User.select().count(), [user.name for user in User.select().order_by(User.age).limit(3)])
        print(User.delete().where(User.age < 120).execute(), User.select().count())
    return 0


if __name__ == "__main__":
    sys.exit(main())
