#!/usr/bin/env ruby
# frozen_string_literal: true

# Ruby's pg: parameters, named statements, transactions by block, COPY, notifications, row by row, in threads.
#
# Called like the programs in Python, see work.py.
require 'pg'

WORKERS = Integer(ENV.fetch('DRIVERS_WORKERS', '6'))
ROUNDS = Integer(ENV.fetch('DRIVERS_ROUNDS', '2'))
CHECKS = Queue.new

def check(got, want, what)
  raise "#{what}: got #{got.inspect}, want #{want.inspect}" unless got == want

  CHECKS << nil
end

# The block must fail with this SQLSTATE.
def rejected(sqlstate)
  yield
rescue PG::Error => e
  check(e.result&.error_field(PG::Result::PG_DIAG_SQLSTATE), sqlstate, e.message)
else
  raise "went through; want SQLSTATE #{sqlstate}"
end

def one(connection, sql, values = [])
  connection.exec_params(sql, values).getvalue(0, 0)
end

def own_writes(connection, place)
  5.times do |value|
    connection.exec_params("INSERT INTO item (owner, kind, value) VALUES ($1, 'own', $2)", [place, value])
    count = one(connection, "SELECT count(*) FROM item WHERE owner = $1 AND kind = 'own'", [place])
    check(count, (value + 1).to_s, 'own writes')
  end
end

def transactions(connection, place)
  insert = "INSERT INTO item (owner, kind, value) VALUES ($1, 'kept', $2)"
  connection.transaction { connection.exec_params(insert, [place, 1]) }
  rejected('22012') do
    connection.transaction do
      connection.exec_params(insert, [place, 2])
      connection.exec('SELECT 1 / 0')
    end
  end
  check(one(connection, "SELECT sum(value) FROM item WHERE owner = $1 AND kind = 'kept'", [place]), '1', 'after ROLLBACK')
end

def named_statements(connection, place)
  # The same names everywhere, for texts that differ.
  connection.prepare('sum', "SELECT #{place} + $1::int")
  5.times { |n| check(connection.exec_prepared('sum', [n]).getvalue(0, 0), (place + n).to_s, 'sum') }
  rejected('42P05') { connection.prepare('sum', 'SELECT 1') }
  connection.exec('DEALLOCATE sum')
  rejected('26000') { connection.exec_prepared('sum', [1]) }
end

def copy(connection, place)
  encoder = PG::TextEncoder::CopyRow.new
  connection.copy_data('COPY item (owner, kind, value) FROM STDIN', encoder) do
    200.times { |value| connection.put_copy_data([place.to_s, 'copy', value.to_s]) }
  end
  sum = 0
  connection.copy_data("COPY (SELECT value FROM item WHERE owner = #{place} AND kind = 'copy') TO STDOUT") do
    while (line = connection.get_copy_data)
      sum += Integer(line)
    end
  end
  check(sum, 19_900, 'what was copied')
end

def settings(connection, _place)
  connection.exec("SET search_path = elsewhere; SET timezone = 'Asia/Tokyo'")
  3.times do
    check(one(connection, 'SELECT name FROM place'), 'elsewhere', 'search_path')
    check(one(connection, "SELECT extract(hour FROM timestamptz '2026-01-01 00:00Z')::int"), '9', 'timezone')
  end
  connection.exec('RESET ALL')
  check(one(connection, 'SELECT name FROM place'), 'here', 'after RESET ALL')
end

def notifications(connection, place)
  connection.exec("LISTEN channel_#{place}")
  connection.exec("NOTIFY channel_#{place}, 'told'")
  heard = nil
  connection.wait_for_notify(30) { |_channel, _pid, payload| heard = payload }
  check(heard, 'told', 'notification')
  connection.exec('UNLISTEN *')
end

def row_by_row(connection, _place)
  connection.send_query('SELECT generate_series(1, 500)')
  connection.set_single_row_mode
  check(connection.get_result.stream_each.sum { |row| Integer(row.values.first) }, 125_250, 'rows one by one')
  connection.get_last_result
end

PIECES = %i[own_writes transactions named_statements copy settings notifications row_by_row].freeze

def prepare
  PG.connect.exec("CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
    CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
    CREATE TABLE place AS SELECT 'here'::text AS name")
end

def work
  threads = WORKERS.times.map do |worker|
    Thread.new do
      connection = PG.connect
      ROUNDS.times do |round|
        place = worker * 100_000 + round
        PIECES.shuffle(random: Random.new(place)).each { |piece| send(piece, connection, place) }
      end
      connection.close
    end
  end
  threads.each(&:join)
end

Thread.report_on_exception = false
send(ARGV.fetch(0))
puts "pg of Ruby #{PG::VERSION}: #{CHECKS.size} answers checked"
