--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE DOMAIN noted AS int CHECK (note('domain') = 1)
CREATE TYPE tone AS ENUM ('high', 'low')
CREATE FUNCTION lower(tone) RETURNS text LANGUAGE sql AS 'SELECT note(''lower tone'')::text'

--;; parameters
\run [1] SELECT name FROM item WHERE id = $1
\run [note] SELECT note($1)
\run [1] SELECT $1::int + 1
\run [1|x] INSERT INTO journal VALUES ($2) RETURNING $1::int
\run [1] SELECT $1::noted
\run [x] SELECT $1
\run [] SELECT 1; SELECT 2
\run []
\run [] SELECT count(*) FROM journal
\run [1] SELECT * FROM item WHERE id = $1 FOR UPDATE
\run [2] WITH d AS (DELETE FROM journal WHERE what = $1 RETURNING 1) SELECT count(*) FROM d
\run [] BEGIN
\run [in] INSERT INTO journal VALUES ($1)
\run [] ROLLBACK
\run [] COPY item TO STDOUT
\run [] SET search_path = nowhere
\run [] SELECT count(*) FROM item
\run [] RESET search_path
\run [] EXPLAIN (COSTS OFF) SELECT 1
\run [] DECLARE c CURSOR FOR SELECT 1

--;; parameters of the user's types
\typed noted [5] SELECT $1
\typed noted [5] SELECT $1 + 1
\typed _noted [{6}] SELECT $1
\typed tone [high] SELECT lower($1)
\typed text [HIGH] SELECT lower($1)
\typed int4 [5] SELECT $1 + 1

--;; statements with names
\parse reads SELECT name FROM item WHERE id = $1
\bind reads [1]
\bind reads [2]
\parse writes INSERT INTO journal VALUES ($1)
\bind writes [named]
\parse notes SELECT note($1)
\bind notes [named]
\parse reads SELECT 1
\bind nowhere []
CREATE FUNCTION shifting() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
\parse shifts SELECT shifting()
\bind shifts []
CREATE OR REPLACE FUNCTION shifting() RETURNS int LANGUAGE sql AS 'SELECT note(''shifted'')'
\bind shifts []
EXECUTE reads(3)
EXECUTE notes('by SQL')
PREPARE in_sql AS SELECT note('in SQL')
\bind in_sql []
DEALLOCATE reads
\bind reads [1]
DEALLOCATE ALL
\bind writes [gone]

--;; pipelines
\pipe SELECT 1 \; SELECT count(*) FROM item \; SELECT 2
\pipe SELECT 1 \; INSERT INTO journal VALUES ('pipeline') \; SELECT count(*) FROM journal
\pipe SELECT 1 \; SELECT note('pipeline') \; SELECT 2
\pipe INSERT INTO journal VALUES ('undone') \; SELECT 1/0 \; SELECT 3
\pipe SELECT 1/0 \; INSERT INTO journal VALUES ('skipped')
\pipe BEGIN \; SELECT 1 \; INSERT INTO journal VALUES ('in a block') \; COMMIT
\pipe BEGIN READ ONLY \; SELECT count(*) FROM item \; COMMIT
\pipe BEGIN READ ONLY \; INSERT INTO journal VALUES ('refused') \; COMMIT
ROLLBACK
\pipe SET search_path = nowhere \; SELECT count(*) FROM item
RESET search_path
\pipe SET standard_conforming_strings = off \; SELECT 'a\', note(1), '
RESET standard_conforming_strings
\pipe SET standard_conforming_strings = on \; SELECT 'a\', note('pipe'), '' \; RESET standard_conforming_strings
SET standard_conforming_strings = off
\pipe SET standard_conforming_strings = on \; SELECT 'a\', note($$hidden$$) --'
RESET standard_conforming_strings
\pipe SELECT 1 \; CREATE TABLE piped (a int) \; SELECT * FROM piped
\pipe SELECT * FROM piped \; DROP TABLE piped
\pipe SELECT 1 \; SELECT pg_is_in_recovery()
\pipe SHOW transaction_read_only \; SELECT 1
\pipe PREPARE p AS SELECT note('prepared') \; EXECUTE p
EXECUTE p
SELECT * FROM journal ORDER BY what
