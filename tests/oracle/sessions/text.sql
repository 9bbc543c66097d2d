--;; a database that keeps a journal
CREATE TABLE journal (what text)
CREATE TABLE item (id int PRIMARY KEY, name text)
INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 5) n
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO journal VALUES ($1) RETURNING 1'
CREATE FUNCTION "Note"(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0'
CREATE FUNCTION "select"(text) RETURNS int LANGUAGE sql AS 'SELECT note($1)'

--;; spellings of one name
SELECT NOTE('upper')
SELECT "note"('quoted')
SELECT U&"not\0065"('unicode')
SELECT U&"not!0065" UESCAPE '!' ('uescape')
SELECT "Note"('mixed')
SELECT "select"('key word')
SELECT public.note('schema')
SELECT "public"."note"('both')
SELECT note /* a comment */ ('comment')
SELECT note -- a comment
    ('line')
SELECT/**/note('no space')
/* SELECT note('not') */ SELECT 1
-- SELECT note('not')
SELECT 1 -- ; INSERT INTO journal VALUES ('not')
/* /* nested */ ; INSERT INTO journal VALUES ('not') */ SELECT 2
SELECT 'note(1)', $$note('x')$$, $a$ $$ ; INSERT INTO journal VALUES ('not') $a$
SELECT E'\'; INSERT INTO journal VALUES (\'not\'); --'
SELECT 'a' 'b'
SELECT 'a'
    'b'
SELECT N'national', B'101', X'1F'
SELECT U&'d\0061t\+000061', U&'d!0061' UESCAPE '!'
SELECT 1 AS "a;b", 2 AS ";"
SELECT 1e3, .5, 5., 0x1F, 1_000
SELECT 1;SELECT note('glued')
(SELECT note('parentheses'))
((SELECT 1))
( ( SELECT note('more') ) UNION ( SELECT 2 ) )
TABLE item
VALUES (note('values')), (2)
select 1 as note
SELECT note FROM (VALUES (1)) v (note)
SELECT v.note FROM (VALUES (1)) v (note)
WITH note AS (SELECT 1 AS a) SELECT a FROM note
SELECT * FROM item AS note (id, name) WHERE note.id = 1
SELECT text 'a', date '2020-01-01', interval '1' day, int4 '5', bool 't'
SELECT CAST('1' AS int), '1'::int, int4('1'), "int4"('1')
SELECT 'item'::regclass, 'note(text)'::regprocedure
SELECT position('a' in 'ba'), substring('abc' from 2), trim(both 'x' from 'xax'), overlay('abc' placing 'x' from 2)
SELECT extract(year from date '2020-01-01'), '2020-01-01'::timestamp at time zone 'UTC'
SELECT (date '2020-01-01', date '2020-02-01') OVERLAPS (date '2020-01-15', date '2020-03-01')
SELECT 'a' SIMILAR TO 'a', 'a' LIKE 'a' ESCAPE '!', 'a' ILIKE 'A', 1 BETWEEN SYMMETRIC 2 AND 0
SELECT 1 IS NOT DISTINCT FROM 1, NULL IS NULL, true IS NOT UNKNOWN, '<a/>'::xml IS DOCUMENT
SELECT collation for ('a'), normalize('a'), 'a' IS NORMALIZED
SELECT count(*) FROM journal

--;; what no grammar reads
SELEC 1
SELECT 'no end
SELECT "no end
SELECT $$no end
SELECT /* no end
SELECT (1
SELECT 1)
SELECT note('unparsable'
INSERT INTO
)(
SELECT * FROM item WHERE
;
--

SELECT 1 FROM FROM item
SELECT note('x') FROMM item
DROP
SELECT 1,
CREATE OR REPLACE TABLE x (a int)
SELECT json_value('{"a": 1}', '$.a')
SELECT JSON_OBJECT('a': 1)
SELECT any_value(1)
MERGE INTO item USING item AS i ON true WHEN MATCHED THEN DELETE RETURNING 1
COPY item FROM STDIN WHERE
SELECT 1 \gset
\d item

--;; strings as older ones had them
SET standard_conforming_strings = off
SELECT 'it\'s'
SELECT 'a\'; INSERT INTO journal VALUES (\'not\'); --'
SELECT 'a\\'; INSERT INTO journal VALUES ('meant'); --'
SELECT 'x' -- \
    'y'
SET standard_conforming_strings = on
SELECT 'a\'; INSERT INTO journal VALUES ('meant too'); --'
SELECT 'a\\'
BEGIN; SET LOCAL standard_conforming_strings = off; SELECT 'a\\'; COMMIT
SELECT 'a\\'
SELECT set_config('standard_conforming_strings', 'off', false)
SELECT 'it\'s'
RESET ALL
SELECT count(*) FROM journal WHERE what LIKE 'meant%'

--;; encodings of the client
SET client_encoding = 'LATIN1'
SELECT length('abc')
SET client_encoding = 'SQL_ASCII'
SELECT 1
SET NAMES 'UTF8'
SELECT 'ä', length('ä')
SET client_encoding = 'SJIS'
SELECT 1
SELECT note('sjis')
SET client_encoding = 'nowhere'
RESET client_encoding
SELECT 'ä'
CREATE TABLE "Tür" ("größe" int)
SELECT "größe" FROM "Tür"
SELECT größe FROM Tür
