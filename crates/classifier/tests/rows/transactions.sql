--;; neutral transaction_control begin()
BEGIN
--;; neutral transaction_control begin()
BEGIN WORK
--;; neutral transaction_control begin()
BEGIN TRANSACTION
--;; neutral transaction_control begin()
START TRANSACTION
--;; neutral transaction_control begin(ro)
BEGIN READ ONLY
--;; neutral transaction_control begin(repeatable,ro)
START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
--;; neutral transaction_control begin(committed,rw)
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE
--;; neutral transaction_control begin(uncommitted)
BEGIN TRANSACTION ISOLATION LEVEL READ UNCOMMITTED
--;; neutral transaction_control begin(serializable,ro,deferrable)
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE
--;; neutral transaction_control begin(ro)
BEGIN READ WRITE, READ ONLY
--;; neutral transaction_control commit
COMMIT
--;; neutral transaction_control commit
END
--;; neutral transaction_control commit
COMMIT WORK AND NO CHAIN
--;; neutral transaction_control commit(chain)
COMMIT AND CHAIN
--;; neutral transaction_control rollback
ROLLBACK
--;; neutral transaction_control rollback
ABORT TRANSACTION
--;; neutral transaction_control rollback(chain)
ROLLBACK AND CHAIN
--;; neutral transaction_control savepoint(a)
SAVEPOINT A
--;; neutral transaction_control savepoint(A b)
SAVEPOINT "A b"
--;; neutral transaction_control release(a)
RELEASE a
--;; neutral transaction_control release(a)
RELEASE SAVEPOINT a
--;; neutral transaction_control rollback_to(a)
ROLLBACK TO a
--;; neutral transaction_control rollback_to(a)
ROLLBACK WORK TO SAVEPOINT a
--;; write two_phase prepare_transaction
PREPARE TRANSACTION 'x'
--;; write two_phase end_prepared
COMMIT PREPARED 'x'
--;; write two_phase end_prepared
ROLLBACK PREPARED 'x'
--;; read harmless begin() commit
BEGIN; SELECT 1; COMMIT
--;; write data_modification begin(ro) commit
BEGIN READ ONLY; DELETE FROM t; COMMIT
--;; neutral transaction_control commit begin()
COMMIT; BEGIN
