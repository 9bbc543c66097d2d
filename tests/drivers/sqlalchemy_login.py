#!/usr/bin/env python3
"""A login handler on SQLAlchemy's ORM with one URL: commits, and reads the user's id afterwards.

After commit() the attributes are read again, by another transaction: in the report that this comes
from, by a follower that did not have the row yet. Prints what it finds, wherever it is connected to.
"""

from __future__ import annotations

import os
import sys

from sqlalchemy import Column, Integer, String, create_engine, func, select, text
from sqlalchemy.orm import Session, declarative_base

url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ)
engine = create_engine(url, pool_size=5)
# What only reads, each statement on its own.
reading = engine.execution_options(isolation_level="AUTOCOMMIT")
Base = declarative_base()


class User(Base):
    __tablename__ = "user"

    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)
    logins = Column(Integer, nullable=False, default=0)


def login(name: str) -> int:
    """The handler as it was before anybody worked around followers."""
    with Session(engine) as session:
        user = session.scalars(select(User).where(User.name == name)).first()
        if user is None:
            user = User(name=name)
            session.add(user)
        user.logins = (user.logins or 0) + 1
        session.commit()
        return user.id


def main() -> int:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("SELECT create_distributed_table('user', 'id')"))
    for number in range(40):
        name = f"用户{number % 10}"
        user_id = login(name)
        with Session(reading) as session:
            user = session.get(User, user_id)
            print(number, user.name, user.logins, session.scalar(select(func.count()).select_from(User)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
