/*
 * Puts the session's state in front of every statement that a server logs: who runs it, and which settings are in force
 * that a session, its role or its database has made. Two runs of the same script can then be compared not only by what
 * it printed but by the state each of its statements met: a setting that was lost, or is another client's, shows even
 * where the statement's answer does not depend on it.
 *
 * Loaded by shared_preload_libraries, with log_statement = all. A line becomes
 *     statement: STATE microseconds user name=value ... END text
 * with a tab instead of every space here, and without tabs and line ends in the values.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static emit_log_hook_type previous_hook = NULL;

static void
append_value(StringInfo line, const char *value)
{
	for (const char *at = value ? value : ""; *at; at++)
		appendStringInfoChar(line, strchr("\t\r\n", *at) ? ' ' : *at);
}

/* A standby's transactions are read only whatever the session says. */
static bool
is_of_interest(const struct config_generic *setting)
{
	if (RecoveryInProgress() && strcmp(setting->name, "transaction_read_only") == 0)
		return false;
	return setting->source >= PGC_S_DATABASE && setting->context >= PGC_SUSET;
}

/* The text of a statement that is logged: `statement: text`, or `execute name: text` in the extended protocol. */
static const char *
statement_of(const ErrorData *edata)
{
	const char *text;

	if (edata->elevel != LOG || edata->message == NULL ||
		(strncmp(edata->message, "statement: ", 11) != 0 && strncmp(edata->message, "execute ", 8) != 0))
		return NULL;
	text = strstr(edata->message, ": ");
	return text ? text + 2 : NULL;
}

static void
put_state(ErrorData *edata)
{
	const char *text = statement_of(edata);

	/* Names of roles are looked up, which a failed transaction cannot do. */
	if (text && IsTransactionState())
	{
		StringInfoData line;
		struct config_generic **settings = get_guc_variables();
		int			count = GetNumConfigOptions();
		char	   *user = GetUserNameFromId(GetUserId(), true);

		initStringInfo(&line);
		appendStringInfo(&line, "statement: STATE\t" INT64_FORMAT "\t%s",
						 GetCurrentTimestamp(), user ? user : "");
		for (int i = 0; i < count; i++)
		{
			if (!is_of_interest(settings[i]))
				continue;
			appendStringInfo(&line, "\t%s=", settings[i]->name);
			append_value(&line, GetConfigOption(settings[i]->name, true, false));
		}
		appendStringInfo(&line, "\tEND\t%s", text);
		edata->message = line.data;
	}
	if (previous_hook)
		previous_hook(edata);
}

void
_PG_init(void)
{
	previous_hook = emit_log_hook;
	emit_log_hook = put_state;
}
