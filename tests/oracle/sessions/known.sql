--;; a database
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS a

--;; a snapshot that was shown by a replica stays there
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY
SELECT count(*) FROM item
SELECT pg_is_in_recovery()
COMMIT

--;; a cursor that is open on a replica holds its transaction there
BEGIN READ ONLY
DECLARE c CURSOR FOR SELECT * FROM item
SELECT count(*) FROM fleeting
ROLLBACK

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
