//! Statements put together at random: what hides something, in every place where an expression can stand,
//! in every dress.

use super::script::{Script, Session};
use crate::harness::Dice;

/// What everything below uses.
const OBJECTS: &str = include_str!("objects.sql");

/// Expressions. Those that need a row find it as `i`.
const EXPRESSIONS: &[&str] = &[
    "1",
    "id",
    "i.name",
    "note('x')",
    "public.note('x')",
    "quiet(1)",
    "quiet(note('inner'))",
    "1 +~+ 2",
    "1 --> 2",
    "1::noted",
    "noted '2'",
    "'{1}'::_noted",
    "'(1,2)'::pair",
    "1::calm",
    "i.shout",
    "(i).shout",
    "shout(i)",
    "i.plain",
    "plain(i.*)",
    "upper(i.name)",
    "upper('a', 1)",
    "lower('high'::tone)",
    "lower('HIGH')",
    "abs(-1)",
    "nextval('counter') > 0",
    "(SELECT last_value > 0 FROM counter)",
    "(SELECT a FROM noting)",
    "(SELECT count(*) FROM reading)",
    "(SELECT count(*) FROM fleeting)",
    "(SELECT count(*) FROM journal WHERE what = 'none')",
    "(SELECT count(*) FROM item j WHERE j.id < 3 FOR UPDATE)",
    "(SELECT max(id) FROM (SELECT id FROM item FOR SHARE) s)",
    "EXISTS (SELECT FROM item j WHERE j.id = 1 AND note('exists') = 1)",
    "id IN (SELECT note('in'))",
    "pg_is_in_recovery()",
    "txid_current() > 0",
    "pg_backend_pid() > 0",
    "current_setting('transaction_read_only')",
    "current_setting('app.a', true)",
    "setting()",
    "deep()",
    "late()",
    "pick(1)",
    "pick('1')",
    "pick(1, 2)",
    "total(id) OVER ()",
    "count(*) OVER ()",
    "array(SELECT note('array'))",
    "query_to_xml('SELECT 1', true, false, '')",
    "ask('SELECT count(*)::text FROM item')",
    "ask('SELECT note(''asked'')::text')",
    "nowhere(1)",
    "1 / 0",
    "now() > '2020-01-01'",
    "has_table_privilege('item', 'select')",
    "pg_advisory_xact_lock(1) IS NULL",
    "('counter'::regclass).nextval > 0",
];

/// Places for an expression.
const PLACES: &[&str] = &[
    "SELECT {} FROM item i WHERE id = 1",
    "SELECT {}",
    "SELECT id FROM item i WHERE ({}) IS NOT NULL AND id = 2",
    "SELECT id FROM item i WHERE id < 3 ORDER BY ({})::text, id",
    "SELECT * FROM (SELECT ({})::text FROM item i WHERE id = 1) s",
    "SELECT i.id, x FROM item i, LATERAL (SELECT ({})::text AS x) l WHERE id = 1",
    "SELECT i.id FROM item i JOIN item j ON j.id = i.id AND ({}) IS NOT NULL WHERE i.id = 1",
    "WITH w AS (SELECT ({})::text FROM item i WHERE id = 1) SELECT * FROM w",
    "WITH w AS MATERIALIZED (SELECT ({})::text FROM item i) SELECT 1",
    "SELECT CASE WHEN id = 1 THEN ({})::text END FROM item i WHERE id < 3 ORDER BY id",
    "SELECT coalesce(NULL, ({})::text) FROM item i WHERE id = 1",
    "SELECT ({})::text FROM item i WHERE id = 1 UNION SELECT 'other' ORDER BY 1",
    "SELECT count(*) FILTER (WHERE ({}) IS NOT NULL) FROM item i WHERE id = 1",
    "SELECT max(({})::text) FROM item i WHERE id = 1 HAVING count(*) > 0",
    "VALUES (({})::text)",
    "TABLE item; SELECT {}",
    "SELECT 1; SELECT ({})::text FROM item i WHERE id = 1; SELECT 2",
    "COPY (SELECT {} FROM item i WHERE id = 1) TO STDOUT",
    "EXPLAIN (COSTS off) SELECT {} FROM item i WHERE id = 1",
    "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT {} FROM item i WHERE id = 1",
    "BEGIN; SELECT {} FROM item i WHERE id = 1; COMMIT",
    "PREPARE random AS SELECT ({})::text FROM item i WHERE id = 1",
    "EXECUTE random",
    "DEALLOCATE random",
    "INSERT INTO journal SELECT ({})::text FROM item i WHERE id = 1",
    "UPDATE item i SET name = coalesce(({})::text, name) WHERE id = 5",
    "\\run [] SELECT {} FROM item i WHERE id = 1",
    "\\run [1] SELECT ({})::text FROM item i WHERE id = $1",
    "\\pipe SELECT 1 \\; SELECT ({})::text FROM item i WHERE id = 1 \\; SELECT 2",
    "SET search_path = mask, public; SELECT ({})::text FROM item i WHERE id = 1; RESET search_path",
    "DO $$ BEGIN PERFORM ({})::text FROM item i WHERE id = 1; END $$",
];

/// Sessions of so many statements, the same for the same seed.
pub(super) fn script(seed: u64, statements: usize) -> Script {
    let mut dice = Dice::new(seed);
    let mut sessions = vec![Session { name: "objects".to_owned(), messages: lines(OBJECTS) }];
    for number in 0..statements.div_ceil(IN_A_SESSION) {
        let messages = (0..IN_A_SESSION).map(|_| statement(&mut dice)).collect();
        sessions.push(Session { name: format!("seed {seed}, session {number}"), messages });
    }
    Script { name: "combined".to_owned(), sessions }
}

const IN_A_SESSION: usize = 25;

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn statement(dice: &mut Dice) -> String {
    let expression = *pick(dice, EXPRESSIONS);
    let expression = match dice.below(6) {
        0 => format!("({expression})"),
        1 => format!("/* {} */ {expression}", pick(dice, EXPRESSIONS)),
        2 => format!("coalesce({expression}, {})", pick(dice, EXPRESSIONS)),
        3 => format!("{expression} -- ;\n   "),
        _ => expression.to_owned(),
    };
    pick(dice, PLACES).replace("{}", &expression)
}

fn pick<'t, T>(dice: &mut Dice, from: &'t [T]) -> &'t T {
    &from[dice.below(from.len())]
}
