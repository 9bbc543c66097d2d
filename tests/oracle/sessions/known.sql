--;; a database
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a

--;; a read only transaction reads an unlogged table
BEGIN READ ONLY
SELECT count(*) FROM fleeting
COMMIT

--;; a read only transaction asks whether it is a standby
BEGIN READ ONLY
SELECT pg_is_in_recovery()
COMMIT

--;; a read only transaction asks for a transaction number
BEGIN READ ONLY
SELECT txid_current() > 0
COMMIT

--;; a read only transaction notifies
BEGIN READ ONLY
SELECT pg_notify('a', 'b')
COMMIT

--;; a read only transaction listens
BEGIN READ ONLY
LISTEN bell
UNLISTEN *
COMMIT

--;; a read only transaction takes a strong lock
BEGIN READ ONLY
LOCK TABLE item IN SHARE MODE
COMMIT

--;; a read only transaction asks for a position
BEGIN READ ONLY
SELECT pg_current_wal_lsn() IS NOT NULL
COMMIT

--;; a read only transaction becomes read write
BEGIN READ ONLY
SET TRANSACTION READ WRITE
INSERT INTO journal VALUES ('allowed')
COMMIT

--;; a read only transaction becomes read write by a setting
BEGIN READ ONLY
SET transaction_read_only TO off
INSERT INTO journal VALUES ('allowed again')
COMMIT

--;; a read only transaction becomes serializable
BEGIN READ ONLY
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
SELECT count(*) FROM item
COMMIT

--;; a read only transaction is prepared
BEGIN READ ONLY
SELECT count(*) FROM item
PREPARE TRANSACTION 'stranger_4'
ROLLBACK PREPARED 'stranger_4'

--;; a statement prepared in SQL has other columns by now
CREATE TABLE later_table (a int)
PREPARE p2 AS SELECT * FROM later_table
EXECUTE p2
ALTER TABLE later_table ADD b int
EXECUTE p2

--;; a setting that was rolled back leaves an empty value behind
BEGIN
SELECT set_config('app.a', 'inside', false)
ROLLBACK
SELECT current_setting('app.a', true)
