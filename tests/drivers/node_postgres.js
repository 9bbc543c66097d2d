#!/usr/bin/env node
// node-postgres: its pool, named prepared statements, cursors, notifications, many queries in flight at once.
//
// Called like the programs in Python, see work.py.
'use strict';

const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');

const WORKERS = Number(process.env.DRIVERS_WORKERS || 6);
const ROUNDS = Number(process.env.DRIVERS_ROUNDS || 2);
const ONLY = process.env.DRIVERS_ONLY || '';
const PATIENCE = 30_000;

let checks = 0;

function check(got, want, what = 'answer') {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  }
  checks += 1;
}

/** The promise must fail with this SQLSTATE. */
async function rejected(sqlstate, promise) {
  const error = await promise.then(
    () => { throw new Error(`went through; want SQLSTATE ${sqlstate}`); },
    (error) => error,
  );
  if (error.code === undefined) throw error;
  check(error.code, sqlstate, error.message);
}

/** The only value of the only row. */
async function one(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: 'array' });
  return rows[0][0];
}

/** Runs `body` with a client of the pool's. */
async function borrowing(pool, body) {
  const client = await pool.connect();
  try {
    await body(client);
    client.release();
  } catch (error) {
    client.release(error);
    throw error;
  }
}

const pieces = {
  async ownWrites(pool, place) {
    await borrowing(pool, async (client) => {
      for (let value = 0; value < 5; value += 1) {
        await client.query("INSERT INTO item (owner, kind, value) VALUES ($1, 'own', $2)", [place, value]);
        const count = await one(client, "SELECT count(*)::int FROM item WHERE owner = $1 AND kind = 'own'", [place]);
        check(count, value + 1, 'own writes');
      }
    });
  },

  async transactions(pool, place) {
    await borrowing(pool, async (client) => {
      await client.query('BEGIN');
      await client.query("INSERT INTO item (owner, kind, value) VALUES ($1, 'kept', 1)", [place]);
      await client.query('SAVEPOINT a');
      await rejected('22012', client.query('SELECT 1 / $1::int', [0]));
      await rejected('25P02', client.query('SELECT 1'));
      await client.query('ROLLBACK TO a');
      await client.query('COMMIT');
      await client.query('BEGIN');
      await client.query("INSERT INTO item (owner, kind, value) VALUES ($1, 'kept', 2)", [place]);
      await client.query('ROLLBACK');
      check(await one(client, "SELECT sum(value)::int FROM item WHERE owner = $1 AND kind = 'kept'", [place]), 1);
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      check(await one(client, 'SELECT count(*)::int FROM place'), 1);
      await rejected('25006', client.query("INSERT INTO place VALUES ('no')"));
      await client.query('ROLLBACK');
    });
  },

  async namedStatements(pool, place) {
    // The same name on every connection of the pool, whichever of them is asked.
    const ask = (n) => pool.query({ name: 'twice', text: 'SELECT $1::int * 2 AS twice', values: [n] });
    for (let n = 0; n < 5; n += 1) {
      check((await ask(place + n)).rows, [{ twice: 2 * (place + n) }]);
    }
    await borrowing(pool, async (client) => {
      for (let n = 0; n < 6; n += 1) {
        const statement = { name: `of ${n % 3}`, text: `SELECT $1::text || '${n % 3}' AS text`, values: ['x'] };
        check((await client.query(statement)).rows[0].text, `x${n % 3}`);
      }
      const insert = { name: 'insert', text: "INSERT INTO item (owner, kind, value) VALUES ($1, 'named', $2) RETURNING value" };
      for (let n = 0; n < 5; n += 1) {
        check((await client.query({ ...insert, values: [place, n] })).rows[0].value, String(n));
      }
      await rejected('22P02', client.query({ ...insert, values: [place, 'not a number'] }));
      check(await one(client, "SELECT count(*)::int FROM item WHERE owner = $1 AND kind = 'named'", [place]), 5);
    });
  },

  async manyInFlight(pool, place) {
    const numbers = [...Array(40).keys()];
    const sums = await Promise.all(numbers.map((n) => one(pool, 'SELECT $1::int + $2::int', [place, n])));
    check(sums, numbers.map((n) => place + n));
    // On one client they queue.
    await borrowing(pool, async (client) => {
      const asked = numbers.map((n) => (n % 10 === 9 ? client.query('SELEC').catch((error) => error.code) : one(client, 'SELECT $1::int', [n])));
      check(await Promise.all(asked), numbers.map((n) => (n % 10 === 9 ? '42601' : n)));
    });
  },

  async cursors(pool, place) {
    await borrowing(pool, async (client) => {
      const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, $1::int) n', [250]));
      let sum = 0;
      for (let rows = await cursor.read(60); rows.length > 0; rows = await cursor.read(60)) {
        sum += rows.reduce((total, row) => total + row.n, 0);
      }
      await cursor.close();
      check(sum, 31375);
      const left = client.query(new Cursor('SELECT generate_series(1, 1000) AS n'));
      check((await left.read(3)).map((row) => row.n), [1, 2, 3]);
      await left.close();
      check(await one(client, 'SELECT $1::int', [place]), place);
    });
  },

  async severalStatements(pool, place) {
    await borrowing(pool, async (client) => {
      const results = await client.query(`INSERT INTO item (owner, kind, value) VALUES (${place}, 'several', 1); SELECT 2 AS two; SELECT 3 AS three`);
      check(results.map((result) => result.command), ['INSERT', 'SELECT', 'SELECT']);
      check(results[2].rows, [{ three: 3 }]);
      await rejected('22012', client.query(`INSERT INTO item (owner, kind, value) VALUES (${place}, 'several', 2); SELECT 1 / 0`));
      check(await one(client, "SELECT sum(value)::int FROM item WHERE owner = $1 AND kind = 'several'", [place]), 1);
    });
  },

  async settings(pool, place) {
    await borrowing(pool, async (client) => {
      await client.query('SET search_path = elsewhere');
      await client.query("SET timezone = 'Asia/Tokyo'; SET statement_timeout = '59s'");
      for (let turn = 0; turn < 3; turn += 1) {
        check(await one(client, 'SELECT name FROM place'), 'elsewhere');
        check(await one(client, "SELECT extract(hour FROM timestamptz '2026-01-01 00:00Z')::int"), 9);
        check(await one(client, 'SHOW statement_timeout'), '59s');
      }
      await client.query('RESET ALL');
      check(await one(client, 'SELECT name FROM place'), 'here');
      check(await one(client, 'SHOW application_name'), 'node work');
    });
  },

  async notifications(pool, place) {
    await borrowing(pool, async (client) => {
      const heard = new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('no notification')), PATIENCE);
        client.once('notification', ({ payload }) => { clearTimeout(timer); resolve(payload); });
      });
      await client.query(`LISTEN channel_${place}`);
      await client.query('SELECT pg_notify($1, $2)', [`channel_${place}`, 'told']);
      check(await heard, 'told');
      await client.query('UNLISTEN *');
    });
  },

  async values(pool, place) {
    const bytes = Buffer.from([...Array(256).keys()]);
    const when = new Date('2026-01-31T12:30:15.123Z');
    const values = [bytes, when, { a: [1, null] }, [1, 2, 3], 'żółw 🐢', true, null];
    const text = 'SELECT $1::bytea, $2::timestamptz, $3::jsonb, $4::int[], $5::text, $6::bool, $7::text';
    const { rows } = await pool.query({ text, values, rowMode: 'array' });
    check(rows[0], values);
    check((await one(pool, 'SELECT repeat($1, 300000)', ['abc'])).length, 900000);
    check(await one(pool, 'SELECT length($1)', ['y'.repeat(400000)]), 400000);
  },

  async errorsAndTimeouts(pool, place) {
    for (const [text, state] of [['SELECT 1 / 0', '22012'], ['SELEC', '42601'], ['SELECT * FROM nowhere', '42P01']]) {
      await rejected(state, pool.query(text));
      await rejected(state, pool.query({ name: `bad ${state}`, text }));
      check(await one(pool, 'SELECT $1::int', [place]), place);
    }
    await borrowing(pool, async (client) => {
      await client.query("SET statement_timeout = '20ms'");
      await rejected('57014', client.query('SELECT pg_sleep(30)'));
      await client.query('RESET statement_timeout');
      check(await one(client, 'SELECT 1'), 1);
    });
  },

  async clientPerRequest(_pool, place) {
    const client = new Client({ statement_timeout: 59000, application_name: `short ${place}` });
    await client.connect();
    check(await one(client, 'SHOW statement_timeout'), '59s');
    check(await one(client, 'SHOW application_name'), `short ${place}`);
    await client.query("INSERT INTO item (owner, kind, value) VALUES ($1, 'short', 1)", [place]);
    await client.end();
  },

  async acrossConnections(pool, place) {
    await pool.query("INSERT INTO item (owner, kind, value) VALUES ($1, 'across', 1)", [place]);
    await borrowing(pool, async (client) => {
      await client.query('BEGIN');
      const count = await one(client, "SELECT count(*)::int FROM item WHERE owner = $1 AND kind = 'across'", [place]);
      check(count, 1, 'what another connection has committed');
      await client.query('COMMIT');
    });
  },
};

/** The pieces in this worker's order: disorder that is the same in every run. */
function order(place) {
  const key = (name) => [...`${name}${place}`].reduce((hash, char) => (Math.imul(hash, 31) + char.codePointAt(0)) >>> 0, 7);
  return Object.keys(pieces).filter((name) => name.includes(ONLY)).sort((a, b) => key(a) - key(b));
}

async function prepare() {
  const client = new Client();
  await client.connect();
  await client.query(`
    CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
    CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
    CREATE TABLE place AS SELECT 'here'::text AS name`);
  await client.end();
}

async function work() {
  const pool = new Pool({ max: WORKERS - 1, application_name: 'node work', idleTimeoutMillis: 200 });
  const worker = async (number) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const place = number * 100_000 + round;
      for (const name of order(place)) {
        await pieces[name](pool, place);
      }
    }
  };
  await Promise.all([...Array(WORKERS).keys()].map(worker));
  await pool.end();
}

({ prepare, work })[process.argv[2]]().then(
  () => console.log(`node-postgres ${require('pg/package.json').version}: ${checks} answers checked`),
  (error) => { console.error(error); process.exit(1); },
);
