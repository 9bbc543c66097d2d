// Go's lib/pq under database/sql and pgx with its pool: transactions, prepared statements, COPY, settings, read-only
// transactions, batches.
//
// Called like the programs in Python, see work.py.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	"github.com/lib/pq"
)

var checks int64

func number(name string, otherwise int) int {
	if value, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return value
	}
	return otherwise
}

// must ends the program: an error that is not asked for is one of the pooler's.
func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(got, want any, what string) {
	if got != want {
		must(fmt.Errorf("%s: got %v, want %v", what, got, want))
	}
	atomic.AddInt64(&checks, 1)
}

// rejected checks that an error has this SQLSTATE.
func rejected(err error, sqlstate string) {
	var ofPgx *pgconn.PgError
	var ofPq *pq.Error
	switch {
	case errors.As(err, &ofPgx):
		check(ofPgx.Code, sqlstate, ofPgx.Message)
	case errors.As(err, &ofPq):
		check(string(ofPq.Code), sqlstate, ofPq.Message)
	default:
		must(fmt.Errorf("got %v, want SQLSTATE %s", err, sqlstate))
	}
}

func pqOwnWrites(db *sql.DB, place int) {
	ctx := context.Background()
	connection, err := db.Conn(ctx)
	must(err)
	defer connection.Close()
	for value := 0; value < 5; value++ {
		_, err := connection.ExecContext(ctx, "INSERT INTO item (owner, kind, value) VALUES ($1, 'pq', $2)", place, value)
		must(err)
		var count int
		row := connection.QueryRowContext(ctx, "SELECT count(*) FROM item WHERE owner = $1 AND kind = 'pq'", place)
		must(row.Scan(&count))
		check(count, value+1, "own writes")
	}
}

func pqTransactions(db *sql.DB, place int) {
	tx, err := db.Begin()
	must(err)
	_, err = tx.Exec("INSERT INTO item (owner, kind, value) VALUES ($1, 'pq rolled back', 1)", place)
	must(err)
	_, err = tx.Exec("SELECT 1 / $1::int", 0)
	rejected(err, "22012")
	must(tx.Rollback())
	tx, err = db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	must(err)
	var count int
	must(tx.QueryRow("SELECT count(*) FROM place").Scan(&count))
	check(count, 1, "a read-only transaction")
	_, err = tx.Exec("INSERT INTO place VALUES ('no')")
	rejected(err, "25006")
	must(tx.Rollback())
	tx, err = db.Begin()
	must(err)
	must(tx.QueryRow("SELECT count(*) FROM item WHERE owner = $1 AND kind = 'pq rolled back'", place).Scan(&count))
	check(count, 0, "after ROLLBACK")
	must(tx.Commit())
}

func pqStatements(db *sql.DB, place int) {
	statement, err := db.Prepare("SELECT $1::int + $2::int")
	must(err)
	defer statement.Close()
	for n := 0; n < 6; n++ {
		var sum int
		must(statement.QueryRow(place, n).Scan(&sum))
		check(sum, place+n, "a statement prepared on each connection as needed")
	}
}

func pqCopy(db *sql.DB, place int) {
	tx, err := db.Begin()
	must(err)
	statement, err := tx.Prepare(pq.CopyIn("item", "owner", "kind", "value"))
	must(err)
	for value := 0; value < 200; value++ {
		_, err = statement.Exec(place, "pq copy", value)
		must(err)
	}
	_, err = statement.Exec()
	must(err)
	must(statement.Close())
	var sum int
	must(tx.QueryRow("SELECT sum(value) FROM item WHERE owner = $1 AND kind = 'pq copy'", place).Scan(&sum))
	check(sum, 19900, "what was copied")
	must(tx.Commit())
}

func pgxOwnWrites(pool *pgxpool.Pool, place int) {
	must(pool.AcquireFunc(context.Background(), func(connection *pgxpool.Conn) error {
		for value := 0; value < 5; value++ {
			_, err := connection.Exec(context.Background(), "INSERT INTO item (owner, kind, value) VALUES ($1, 'pgx', $2)", place, value)
			must(err)
			var count int
			row := connection.QueryRow(context.Background(), "SELECT count(*) FROM item WHERE owner = $1 AND kind = 'pgx'", place)
			must(row.Scan(&count))
			check(count, value+1, "own writes")
		}
		return nil
	}))
}

func pgxTransactions(pool *pgxpool.Pool, place int) {
	ctx := context.Background()
	err := pool.BeginFunc(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO item (owner, kind, value) VALUES ($1, 'pgx kept', 1)", place)
		must(err)
		rejected(tx.BeginFunc(ctx, func(nested pgx.Tx) error {
			_, err := nested.Exec(ctx, "SELECT 1 / $1::int", 0)
			return err
		}), "22012")
		var count int
		must(tx.QueryRow(ctx, "SELECT count(*) FROM item WHERE owner = $1 AND kind = 'pgx kept'", place).Scan(&count))
		check(count, 1, "after ROLLBACK TO")
		return nil
	})
	must(err)
	err = pool.BeginTxFunc(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO place VALUES ('no')")
		return err
	})
	rejected(err, "25006")
}

func pgxBatches(pool *pgxpool.Pool, place int) {
	batch := &pgx.Batch{}
	for n := 0; n < 20; n++ {
		batch.Queue("SELECT $1::int * 2", place+n)
	}
	batch.Queue("INSERT INTO item (owner, kind, value) VALUES ($1, 'pgx batch', 1)", place)
	results := pool.SendBatch(context.Background(), batch)
	for n := 0; n < 20; n++ {
		var twice int
		must(results.QueryRow().Scan(&twice))
		check(twice, (place+n)*2, "of a batch")
	}
	_, err := results.Exec()
	must(err)
	must(results.Close())
}

func pgxCopyAndSettings(pool *pgxpool.Pool, place int) {
	ctx := context.Background()
	connection, err := pool.Acquire(ctx)
	must(err)
	defer connection.Release()
	rows := make([][]any, 200)
	for value := range rows {
		rows[value] = []any{place, "pgx copy", value}
	}
	count, err := connection.CopyFrom(ctx, pgx.Identifier{"item"}, []string{"owner", "kind", "value"}, pgx.CopyFromRows(rows))
	must(err)
	check(count, int64(200), "rows copied")
	_, err = connection.Exec(ctx, "SET search_path = elsewhere")
	must(err)
	var name string
	for turn := 0; turn < 3; turn++ {
		must(connection.QueryRow(ctx, "SELECT name FROM place").Scan(&name))
		check(name, "elsewhere", "search_path")
	}
	_, err = connection.Exec(ctx, "RESET search_path")
	must(err)
	must(connection.QueryRow(ctx, "SELECT name || '' FROM place").Scan(&name))
	check(name, "here", "after RESET")
}

func prepare() {
	db, err := sql.Open("postgres", "sslmode=disable")
	must(err)
	_, err = db.Exec(`CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
		CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
		CREATE TABLE place AS SELECT 'here'::text AS name`)
	must(err)
	must(db.Close())
}

func work() {
	workers, rounds := number("DRIVERS_WORKERS", 6), number("DRIVERS_ROUNDS", 2)
	db, err := sql.Open("postgres", "sslmode=disable")
	must(err)
	db.SetMaxIdleConns(2)
	pool, err := pgxpool.Connect(context.Background(), fmt.Sprintf("sslmode=disable pool_max_conns=%d", workers))
	must(err)
	pieces := []func(place int){
		func(place int) { pqOwnWrites(db, place) },
		func(place int) { pqTransactions(db, place) },
		func(place int) { pqStatements(db, place) },
		func(place int) { pqCopy(db, place) },
		func(place int) { pgxOwnWrites(pool, place) },
		func(place int) { pgxTransactions(pool, place) },
		func(place int) { pgxBatches(pool, place) },
		func(place int) { pgxCopyAndSettings(pool, place) },
	}
	var all sync.WaitGroup
	for worker := 0; worker < workers; worker++ {
		all.Add(1)
		go func(worker int) {
			defer all.Done()
			for round := 0; round < rounds; round++ {
				place := worker*100_000 + round
				for _, piece := range rand.New(rand.NewSource(int64(place))).Perm(len(pieces)) {
					pieces[piece](place)
				}
			}
		}(worker)
	}
	all.Wait()
	pool.Close()
	must(db.Close())
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "prepare" {
		prepare()
	} else {
		work()
	}
	fmt.Printf("lib/pq and pgx 4 of Go: %d answers checked\n", atomic.LoadInt64(&checks))
}
