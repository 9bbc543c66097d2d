//! Queries, their clauses, and what stands in `FROM`.

use pg_query::NodeRef;
use pg_query::protobuf::{CommonTableExpr, JoinExpr, RangeTableSample, SelectStmt};

use super::{Walk, children, qualified};
use crate::Reason;
use crate::catalog::names::Use;

impl<'a> Walk<'a> {
    /// True if the node is of this family.
    pub(super) fn query(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::SelectStmt(node) => self.select(node),
            NodeRef::CommonTableExpr(node) => self.common_table_expression(node),
            NodeRef::LockingClause(_) => self.writes(Reason::RowLock),
            NodeRef::IntoClause(_) => self.writes(Reason::SelectInto),
            NodeRef::WithClause(node) => {
                children!(self, node, WithClause { each: [ctes], skip: [recursive, location] })
            }
            NodeRef::CtesearchClause(node) => children!(
                self,
                node,
                CteSearchClause {
                    skip: [search_col_list, search_breadth_first, search_seq_column, location],
                }
            ),
            NodeRef::CtecycleClause(node) => children!(
                self,
                node,
                CteCycleClause {
                    one: [cycle_mark_value, cycle_mark_default],
                    skip: [
                        cycle_col_list,
                        cycle_mark_column,
                        cycle_path_column,
                        location,
                        cycle_mark_type,
                        cycle_mark_typmod,
                        cycle_mark_collation,
                        cycle_mark_neop,
                    ],
                }
            ),
            _ => return self.modification(node) || self.source(node),
        }
        true
    }

    fn select(&mut self, node: &'a SelectStmt) {
        children!(self, node, SelectStmt {
            each: [
                locking_clause, sort_clause, values_lists, window_clause, group_clause,
                from_clause, target_list, distinct_clause,
            ],
            one: [limit_count, limit_offset, having_clause, where_clause],
            part: [rarg: SelectStmt, larg: SelectStmt, with_clause: WithClause, into_clause: IntoClause],
            skip: [group_distinct, limit_option, op, all],
        });
    }

    fn common_table_expression(&mut self, node: &'a CommonTableExpr) {
        let body = node.ctequery.as_ref().and_then(|query| query.node.as_ref());
        if let Some(kind) = body.and_then(|body| modification_kind(body.to_ref())) {
            self.writes(Reason::DataModifyingCte(kind));
        }
        self.named_queries.push(&node.ctename);
        self.asks(Use::Rows);
        children!(self, node, CommonTableExpr {
            one: [ctequery],
            part: [search_clause: CtesearchClause, cycle_clause: CtecycleClause],
            skip: [
                ctename, aliascolnames, ctematerialized, location, cterecursive, cterefcount,
                ctecolnames, ctecoltypes, ctecoltypmods, ctecolcollations,
            ],
        });
    }

    /// `INSERT`, `UPDATE`, `DELETE`, `MERGE` and their clauses.
    fn modification(&mut self, node: NodeRef<'a>) -> bool {
        if let Some(kind) = modification_kind(node) {
            self.writes(Reason::DataModification(kind));
        }
        match node {
            NodeRef::InsertStmt(node) => {
                self.target(node.relation.as_ref());
                children!(self, node, InsertStmt {
                    each: [cols],
                    one: [select_stmt],
                    part: [
                        relation: RangeVar, on_conflict_clause: OnConflictClause,
                        returning_clause: ReturningClause, with_clause: WithClause,
                    ],
                    skip: [r#override],
                });
            }
            NodeRef::UpdateStmt(node) => {
                self.target(node.relation.as_ref());
                children!(self, node, UpdateStmt {
                    each: [target_list, from_clause],
                    one: [where_clause],
                    part: [
                        relation: RangeVar, returning_clause: ReturningClause, with_clause: WithClause,
                    ],
                });
            }
            NodeRef::DeleteStmt(node) => {
                self.target(node.relation.as_ref());
                children!(self, node, DeleteStmt {
                    each: [using_clause],
                    one: [where_clause],
                    part: [
                        relation: RangeVar, returning_clause: ReturningClause, with_clause: WithClause,
                    ],
                });
            }
            NodeRef::MergeStmt(node) => {
                self.target(node.relation.as_ref());
                children!(self, node, MergeStmt {
                    each: [merge_when_clauses],
                    one: [source_relation, join_condition],
                    part: [
                        relation: RangeVar, returning_clause: ReturningClause, with_clause: WithClause,
                    ],
                });
            }
            NodeRef::MergeWhenClause(node) => children!(
                self,
                node,
                MergeWhenClause {
                    each: [target_list, values],
                    one: [condition],
                    skip: [match_kind, command_type, r#override],
                }
            ),
            _ => return self.modification_clause(node),
        }
        true
    }

    fn modification_clause(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::OnConflictClause(node) => children!(self, node, OnConflictClause {
                each: [target_list],
                one: [where_clause],
                part: [infer: InferClause],
                skip: [action, location],
            }),
            NodeRef::InferClause(node) => children!(
                self,
                node,
                InferClause { each: [index_elems], one: [where_clause], skip: [conname, location] }
            ),
            NodeRef::IndexElem(node) => children!(
                self,
                node,
                IndexElem {
                    one: [expr],
                    skip: [
                        name,
                        indexcolname,
                        collation,
                        opclass,
                        opclassopts,
                        ordering,
                        nulls_ordering,
                    ],
                }
            ),
            NodeRef::ReturningClause(node) => {
                children!(self, node, ReturningClause { each: [exprs], skip: [options] })
            }
            _ => return false,
        }
        true
    }

    fn source(&mut self, node: NodeRef<'a>) -> bool {
        if let NodeRef::RangeSubselect(_)
        | NodeRef::RangeFunction(_)
        | NodeRef::RangeTableFunc(_)
        | NodeRef::JoinExpr(JoinExpr { alias: Some(_), .. }) = node
        {
            self.asks(Use::Rows);
        }
        match node {
            NodeRef::RangeVar(relation) => self.relation(relation),
            NodeRef::JoinExpr(node) => self.join(node),
            NodeRef::RangeSubselect(node) => {
                children!(self, node, RangeSubselect { one: [subquery], skip: [lateral, alias] })
            }
            NodeRef::RangeFunction(node) => children!(
                self,
                node,
                RangeFunction {
                    each: [functions, coldeflist],
                    skip: [lateral, ordinality, is_rowsfrom, alias],
                }
            ),
            NodeRef::RangeTableFunc(node) => children!(
                self,
                node,
                RangeTableFunc {
                    each: [namespaces, columns],
                    one: [docexpr, rowexpr],
                    skip: [lateral, alias, location],
                }
            ),
            NodeRef::RangeTableFuncCol(node) => children!(self, node, RangeTableFuncCol {
                one: [colexpr, coldefexpr],
                part: [type_name: TypeName],
                skip: [colname, for_ordinality, is_not_null, location],
            }),
            NodeRef::RangeTableSample(node) => self.table_sample(node),
            NodeRef::ColumnDef(node) => children!(self, node, ColumnDef {
                each: [constraints],
                one: [raw_default, cooked_default],
                part: [type_name: TypeName],
                skip: [
                    colname, compression, inhcount, is_local, is_not_null, is_from_type, storage,
                    storage_name, identity, identity_sequence, generated, coll_clause, coll_oid,
                    fdwoptions, location,
                ],
            }),
            _ => return false,
        }
        true
    }

    fn join(&mut self, node: &'a JoinExpr) {
        if node.is_natural || !node.using_clause.is_empty() {
            self.implied_operator("=");
        }
        children!(
            self,
            node,
            JoinExpr {
                one: [quals, rarg, larg],
                skip: [jointype, is_natural, using_clause, join_using_alias, alias, rtindex],
            }
        );
    }

    /// `TABLESAMPLE method (…)`: a method is a function of that name. PostgreSQL's own two read.
    fn table_sample(&mut self, node: &'a RangeTableSample) {
        let (schema, method) = qualified(&node.method);
        if !matches!(method, "bernoulli" | "system") {
            self.named_call(schema, method);
        }
        children!(
            self,
            node,
            RangeTableSample {
                each: [args],
                one: [relation, repeatable],
                skip: [method, location],
            }
        );
    }
}

/// The command tag of a statement that modifies data.
fn modification_kind(node: NodeRef<'_>) -> Option<&'static str> {
    match node {
        NodeRef::InsertStmt(_) => Some("INSERT"),
        NodeRef::UpdateStmt(_) => Some("UPDATE"),
        NodeRef::DeleteStmt(_) => Some("DELETE"),
        NodeRef::MergeStmt(_) => Some("MERGE"),
        _ => None,
    }
}
