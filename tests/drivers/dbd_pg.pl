#!/usr/bin/env perl
# DBD::Pg: transactions, prepared statements by name, savepoints, COPY, notifications, settings.
#
# The workers' connections are used in turn. Called like the programs in Python, see work.py.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg;

my $workers = $ENV{DRIVERS_WORKERS} // 6;
my $rounds  = $ENV{DRIVERS_ROUNDS}  // 2;
my $checks  = 0;

sub check {
    my ($got, $want, $what) = @_;
    die sprintf("%s: got %s, want %s\n", $what, $got // 'nothing', $want) unless defined $got && $got eq $want;
    $checks++;
}

# The statement must fail with this SQLSTATE.
sub rejected {
    my ($connection, $sqlstate, $statement) = @_;
    my $went_through = eval { $statement->(); 1 };
    die "went through; want SQLSTATE $sqlstate\n" if $went_through;
    check($connection->state, $sqlstate, $@);
}

sub connection {
    return DBI->connect('dbi:Pg:', $ENV{PGUSER} // 'postgres', '', { RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 1 });
}

sub one {
    my ($connection, $sql, @values) = @_;
    return $connection->selectrow_array($sql, undef, @values);
}

sub own_writes {
    my ($connection, $place) = @_;
    my $insert = $connection->prepare(q{INSERT INTO item (owner, kind, value) VALUES (?, 'own', ?)});
    for my $value (0 .. 4) {
        $insert->execute($place, $value);
        check(one($connection, q{SELECT count(*) FROM item WHERE owner = ? AND kind = 'own'}, $place), $value + 1, 'own writes');
    }
}

sub transactions {
    my ($connection, $place) = @_;
    my $insert = q{INSERT INTO item (owner, kind, value) VALUES (?, 'kept', ?)};
    $connection->begin_work;
    $connection->do($insert, undef, $place, 1);
    $connection->pg_savepoint('a');
    rejected($connection, '22012', sub { one($connection, 'SELECT 1 / ?::int', 0) });
    rejected($connection, '25P02', sub { one($connection, 'SELECT 1') });
    $connection->pg_rollback_to('a');
    $connection->commit;
    $connection->begin_work;
    $connection->do($insert, undef, $place, 2);
    $connection->rollback;
    check(one($connection, q{SELECT sum(value) FROM item WHERE owner = ? AND kind = 'kept'}, $place), 1, 'after ROLLBACK');
    $connection->begin_work;
    $connection->{ReadOnly} = 1;
    check(one($connection, 'SELECT count(*) FROM place'), 1, 'read only');
    rejected($connection, '25006', sub { $connection->do(q{INSERT INTO place VALUES ('no')}) });
    $connection->{ReadOnly} = 0;
    $connection->rollback;
}

sub copy {
    my ($connection, $place) = @_;
    $connection->do('COPY item (owner, kind, value) FROM STDIN');
    $connection->pg_putcopydata("$place\tcopy\t$_\n") for 1 .. 200;
    $connection->pg_putcopyend;
    $connection->do("COPY (SELECT value FROM item WHERE owner = $place AND kind = 'copy') TO STDOUT");
    my ($sum, $line) = (0, '');
    $sum += $line while $connection->pg_getcopydata($line) >= 0;
    check($sum, 20_100, 'what was copied');
}

sub settings {
    my ($connection, $place) = @_;
    $connection->do('SET search_path = elsewhere');
    $connection->do(q{SET timezone = 'Asia/Tokyo'});
    check(one($connection, 'SELECT name FROM place'), 'elsewhere', 'search_path') for 1 .. 3;
    check(one($connection, q{SELECT extract(hour FROM timestamptz '2026-01-01 00:00Z')::int}), 9, 'timezone');
    $connection->do('RESET ALL');
    check(one($connection, 'SELECT name FROM place'), 'here', 'after RESET ALL');
    check(one($connection, 'SELECT ?::text', 'żółw'), 'żółw', 'characters');
}

sub notifications {
    my ($connection, $place) = @_;
    $connection->do("LISTEN channel_$place");
    $connection->do("NOTIFY channel_$place, 'told'");
    my $heard = $connection->pg_notifies;
    check($heard && $heard->[2], 'told', 'notification');
    $connection->do('UNLISTEN *');
}

sub prepare {
    my $connection = connection();
    $connection->do($_) for
        'CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint)',
        'CREATE SCHEMA elsewhere',
        q{CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name},
        q{CREATE TABLE place AS SELECT 'here'::text AS name};
    $connection->disconnect;
}

sub work {
    my @connections = map { connection() } 1 .. $workers;
    for my $round (0 .. $rounds - 1) {
        for my $piece (\&own_writes, \&transactions, \&copy, \&settings, \&notifications) {
            $piece->($connections[$_], $_ * 100_000 + $round) for 0 .. $workers - 1;
        }
    }
    $_->disconnect for @connections;
}

($ARGV[0] eq 'prepare' ? \&prepare : \&work)->();
print "DBD::Pg $DBD::Pg::VERSION: $checks answers checked\n";
