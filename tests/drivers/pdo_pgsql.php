#!/usr/bin/env php
<?php
/**
 * PHP's PDO: prepared statements native and emulated, transactions, COPY, notifications, persistent connections.
 *
 * The workers' connections are used in turn. Called like the programs in Python, see work.py.
 */
declare(strict_types=1);

$workers = (int) (getenv('DRIVERS_WORKERS') ?: 6);
$rounds = (int) (getenv('DRIVERS_ROUNDS') ?: 2);
$checks = 0;

function check(mixed $got, mixed $want, string $what): void
{
    global $checks;
    if ($got !== $want) {
        throw new RuntimeException($what . ': got ' . var_export($got, true) . ', want ' . var_export($want, true));
    }
    $checks++;
}

/** The statement must fail with this SQLSTATE. */
function rejected(string $sqlstate, callable $statement): void
{
    try {
        $statement();
    } catch (PDOException $error) {
        check($error->getCode(), $sqlstate, $error->getMessage());
        return;
    }
    throw new RuntimeException("went through; want SQLSTATE $sqlstate");
}

function connection(array $options = []): PDO
{
    $name = sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
    return new PDO($name, getenv('PGUSER'), '', $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function one(PDO $connection, string $sql, array $values = []): mixed
{
    $statement = $connection->prepare($sql);
    $statement->execute($values);
    return $statement->fetchColumn();
}

function own_writes(PDO $connection, int $place): void
{
    $insert = $connection->prepare("INSERT INTO item (owner, kind, value) VALUES (?, 'own', ?)");
    for ($value = 0; $value < 5; $value++) {
        $insert->execute([$place, $value]);
        $count = one($connection, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'own'", [$place]);
        check($count, $value + 1, 'own writes');
    }
}

function transactions(PDO $connection, int $place): void
{
    $insert = "INSERT INTO item (owner, kind, value) VALUES ($place, 'kept', %d)";
    $connection->beginTransaction();
    $connection->exec(sprintf($insert, 1));
    $connection->exec('SAVEPOINT a');
    rejected('22012', fn () => one($connection, 'SELECT 1 / ?::int', [0]));
    rejected('25P02', fn () => one($connection, 'SELECT 1'));
    $connection->exec('ROLLBACK TO a');
    $connection->commit();
    $connection->beginTransaction();
    $connection->exec(sprintf($insert, 2));
    $connection->rollBack();
    $sum = one($connection, "SELECT sum(value)::int FROM item WHERE owner = ? AND kind = 'kept'", [$place]);
    check($sum, 1, 'after ROLLBACK');
}

function statements(PDO $connection, int $place): void
{
    foreach ([false, true] as $is_emulated) {
        $connection->setAttribute(PDO::ATTR_EMULATE_PREPARES, $is_emulated);
        for ($number = 0; $number < 6; $number++) {
            check((int) one($connection, 'SELECT ?::int + ' . $number % 3, [$place]), $place + $number % 3, 'sum');
            rejected('42P01', fn () => one($connection, 'SELECT * FROM nowhere'));
        }
        check(one($connection, 'SELECT :text::text', ['text' => "żółw '🐢'"]), "żółw '🐢'", 'text');
    }
    $connection->setAttribute(PDO::ATTR_EMULATE_PREPARES, false);
}

function copies(PDO $connection, int $place): void
{
    $rows = array_map(fn ($value) => "$place\tcopy\t$value", range(1, 200));
    check($connection->pgsqlCopyFromArray('item', $rows, "\t", '\\\\N', 'owner, kind, value'), true, 'COPY FROM');
    $got = $connection->pgsqlCopyToArray("(SELECT value FROM item WHERE owner = $place AND kind = 'copy')");
    check(array_sum(array_map('intval', $got)), 20100, 'what was copied');
}

function settings(PDO $connection, int $place): void
{
    $connection->exec("SET search_path = elsewhere; SET timezone = 'Asia/Tokyo'");
    for ($turn = 0; $turn < 3; $turn++) {
        check(one($connection, 'SELECT name FROM place'), 'elsewhere', 'search_path');
        check(one($connection, "SELECT extract(hour FROM timestamptz '2026-01-01 00:00Z')::int"), 9, 'timezone');
    }
    $connection->exec('RESET ALL');
    check(one($connection, 'SELECT name FROM place'), 'here', 'after RESET ALL');
}

function notifications(PDO $connection, int $place): void
{
    $connection->exec("LISTEN channel_$place");
    $connection->exec("NOTIFY channel_$place, 'told'");
    check($connection->pgsqlGetNotify(PDO::FETCH_ASSOC, 30000)['payload'], 'told', 'notification');
    $connection->exec('UNLISTEN *');
}

function connection_per_request(PDO $_, int $place): void
{
    $connection = connection();
    // lastval() is asked for in the transaction that has drawn the value.
    $connection->beginTransaction();
    $connection->exec("INSERT INTO item (owner, kind, value) VALUES ($place, 'request', 1)");
    check($connection->lastInsertId() > 0, true, 'lastInsertId');
    $connection->commit();
    $persistent = connection([PDO::ATTR_PERSISTENT => true]);
    $persistent->beginTransaction();
    $count = one($persistent, "SELECT count(*) FROM item WHERE owner = ? AND kind = 'request'", [$place]);
    check($count, 1, 'what another connection has committed');
    $persistent->commit();
}

function prepare(): void
{
    connection()->exec("CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
        CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
        CREATE TABLE place AS SELECT 'here'::text AS name");
}

function work(int $workers, int $rounds): void
{
    $connections = array_map(fn () => connection(), range(1, $workers));
    $pieces = ['own_writes', 'transactions', 'statements', 'copies', 'settings', 'notifications', 'connection_per_request'];
    for ($round = 0; $round < $rounds; $round++) {
        foreach ($pieces as $piece) {
            foreach ($connections as $worker => $connection) {
                $piece($connection, $worker * 100000 + $round);
            }
        }
    }
}

$argv[1] === 'prepare' ? prepare() : work($workers, $rounds);
echo 'PDO of PHP ', PHP_VERSION, ": $checks answers checked\n";
