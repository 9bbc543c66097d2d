--;; read harmless hint(replica)
/* pgweir: replica */ SELECT 1
--;; read harmless hint(primary)
/*pgweir:PRIMARY*/SELECT 1
--;; read harmless hint(primary)
-- pgweir: primary
SELECT 1
--;; write data_modification hint(replica)
/* pgweir: replica */ DELETE FROM t
--;; read harmless hint(primary)
/* controller:x */ /* pgweir: primary */ SELECT 1
--;; read harmless
SELECT /* pgweir: primary */ 1
--;; read harmless
/* pgweir: nobody */ SELECT 1
--;; read harmless
SELECT '/* pgweir: primary */'
--;; read harmless
SELECT 1--2
--;; read harmless
SELECT 1 - - 2
--;; read harmless
SELECT 1 +/* + */+ 2
--;; read harmless
SELECT 4 */**/ 2
--;; read harmless
SELECT E'it\'s; DELETE FROM t; --'
--;; read harmless
SELECT 'it\', 1
--;; read harmless
SELECT E'\x41\u0041\101'
--;; write unparsable
SELECT E'\u00'
--;; read harmless
SELECT N'a', B'01', x'ff', b'1'
'0'
--;; read harmless
SELECT 'a' -- comment
'b'
--;; read harmless
SELECT 1.5, .5, 1., 1e5, 1.5e-5, 12345678901234567890
--;; write unparsable
SELECT 1..5
--;; read harmless
SELECT $1, $2::int
--;; read harmless
SELECT a.b.c, "a""b", "A B"."c" FROM x AS "a""b"
--;; write unparsable
SELECT 123abc
--;; read harmless server
SELECT $1abc
--;; read harmless server
SELECT 0x1F, 0o17, 0b11, 1_000
--;; read harmless
SELECT 1 as été, 'naïve', "ünïcode" FROM (SELECT 2 AS "ünïcode") x
--;; read harmless
SELECT $été$a$été$
--;; write unknown_function hidden_code
SELECT U&"l!006fwer_" UESCAPE '!' (1)
--;; read harmless
SELECT U&"l!006fwer" UESCAPE '!' ('A')
--;; write unknown_function hidden_code
SELECT U&"l!006fwer" UESCAPE '?' ('A')
--;; read harmless
SELECT u&'\0041', U&'d!0061t' UESCAPE '!'
--;; write unparsable
SELECT 'a' /* comment */ 'b'
--;; write unparsable
SELECT 'a' /* comment
*/ 'b'
--;; read harmless
SELECT/**/1/**//**/+/*/**/*/1
--;; write unparsable
SELECT 'a' /* comment */
'b'
--;; write unparsable
SELECT 'a' /**//**/
'b'
--;; read harmless
SELECT 'a' /* comment */ -- another
, 'b'
