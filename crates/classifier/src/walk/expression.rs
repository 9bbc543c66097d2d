//! Expressions.

use pg_query::NodeRef;
use pg_query::protobuf::{AExpr, AExprKind, ColumnRef, SqlValueFunctionOp, TypeName};

use super::{Walk, children, qualified, string};
use crate::catalog::names::Use;
use crate::{Access, Reason};

impl<'a> Walk<'a> {
    /// True if the node is of this family.
    pub(super) fn expression(&mut self, node: NodeRef<'a>) -> bool {
        if let NodeRef::SqlvalueFunction(function) = node
            && function.op() == SqlValueFunctionOp::SvfopCurrentSchema
            && self.names.is_sharded()
        {
            self.asks(Use::Function { schema: None, name: "current_schema", arguments: Some(0) });
        }
        is_leaf(node)
            || self.operation(node)
            || self.choice(node)
            || self.special_form(node)
            || self.clause(node)
    }

    /// Columns, operators, casts, calls and access to parts of values.
    fn operation(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::ColumnRef(node) => self.column(node),
            NodeRef::AExpr(node) => self.operator_expression(node),
            NodeRef::FuncCall(node) => self.call(node),
            NodeRef::TypeCast(node) => children!(self, node, TypeCast {
                one: [arg],
                part: [type_name: TypeName],
                skip: [location],
            }),
            NodeRef::TypeName(node) => self.type_name(node),
            NodeRef::CollateClause(node) => {
                children!(self, node, CollateClause { one: [arg], skip: [collname, location] })
            }
            NodeRef::AIndirection(node) => {
                for part in node.indirection.iter().filter_map(string) {
                    self.asks(Use::Field(part));
                }
                children!(self, node, AIndirection { each: [indirection], one: [arg] })
            }
            NodeRef::AIndices(node) => {
                children!(self, node, AIndices { one: [lidx, uidx], skip: [is_slice] })
            }
            NodeRef::AArrayExpr(node) => children!(
                self,
                node,
                AArrayExpr { each: [elements], skip: [list_start, list_end, location] }
            ),
            NodeRef::SubLink(node) => {
                match node.oper_name.as_slice() {
                    [] => self.implied_operator("="),
                    name => self.operator(name, 2),
                }
                children!(
                    self,
                    node,
                    SubLink {
                        one: [xpr, testexpr, subselect],
                        skip: [sub_link_type, sub_link_id, oper_name, location],
                    }
                );
            }
            NodeRef::BoolExpr(node) => children!(
                self,
                node,
                BoolExpr { each: [args], one: [xpr], skip: [boolop, location] }
            ),
            NodeRef::List(node) => children!(self, node, List { each: [items] }),
            _ => return false,
        }
        true
    }

    fn type_name(&mut self, node: &'a TypeName) {
        let (schema, name) = qualified(&node.names);
        self.asks(Use::Type { schema, name });
        children!(
            self,
            node,
            TypeName {
                each: [typmods],
                skip: [names, type_oid, setof, pct_type, typemod, array_bounds, location],
            }
        );
    }

    /// Expressions that choose among others.
    fn choice(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::CaseExpr(node) => {
                if node.arg.is_some() {
                    self.implied_operator("=");
                }
                children!(
                    self,
                    node,
                    CaseExpr {
                        each: [args],
                        one: [xpr, arg, defresult],
                        skip: [casetype, casecollid, location],
                    }
                );
            }
            NodeRef::CaseWhen(node) => {
                children!(self, node, CaseWhen { one: [xpr, expr, result], skip: [location] })
            }
            NodeRef::CoalesceExpr(node) => children!(
                self,
                node,
                CoalesceExpr {
                    each: [args],
                    one: [xpr],
                    skip: [coalescetype, coalescecollid, location],
                }
            ),
            NodeRef::MinMaxExpr(node) => children!(
                self,
                node,
                MinMaxExpr {
                    each: [args],
                    one: [xpr],
                    skip: [minmaxtype, minmaxcollid, inputcollid, op, location],
                }
            ),
            _ => return false,
        }
        true
    }

    /// Other expressions with a syntax of their own.
    fn special_form(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::RowExpr(node) => {
                self.asks(Use::Rows);
                children!(
                    self,
                    node,
                    RowExpr {
                        each: [args],
                        one: [xpr],
                        skip: [row_typeid, row_format, colnames, location],
                    }
                );
            }
            NodeRef::NullTest(node) => children!(
                self,
                node,
                NullTest { one: [xpr, arg], skip: [nulltesttype, argisrow, location] }
            ),
            NodeRef::BooleanTest(node) => children!(
                self,
                node,
                BooleanTest { one: [xpr, arg], skip: [booltesttype, location] }
            ),
            NodeRef::XmlExpr(node) => children!(
                self,
                node,
                XmlExpr {
                    each: [named_args, args],
                    one: [xpr],
                    skip: [op, name, arg_names, xmloption, indent, r#type, typmod, location],
                }
            ),
            NodeRef::XmlSerialize(node) => children!(self, node, XmlSerialize {
                one: [expr],
                part: [type_name: TypeName],
                skip: [xmloption, indent, location],
            }),
            _ => return false,
        }
        true
    }

    /// Parts of a query that wrap expressions.
    fn clause(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::ResTarget(node) => children!(
                self,
                node,
                ResTarget { each: [indirection], one: [val], skip: [name, location] }
            ),
            NodeRef::MultiAssignRef(node) => {
                children!(self, node, MultiAssignRef { one: [source], skip: [colno, ncolumns] })
            }
            NodeRef::NamedArgExpr(node) => children!(
                self,
                node,
                NamedArgExpr { one: [xpr, arg], skip: [name, argnumber, location] }
            ),
            NodeRef::SortBy(sort) => {
                self.operator(&sort.use_op, 2);
                children!(
                    self,
                    sort,
                    SortBy { one: [node], skip: [sortby_dir, sortby_nulls, use_op, location] }
                );
            }
            NodeRef::WindowDef(node) => children!(
                self,
                node,
                WindowDef {
                    each: [partition_clause, order_clause],
                    one: [start_offset, end_offset],
                    skip: [name, refname, frame_options, location],
                }
            ),
            NodeRef::GroupingFunc(node) => children!(
                self,
                node,
                GroupingFunc { each: [args], one: [xpr], skip: [refs, agglevelsup, location] }
            ),
            NodeRef::GroupingSet(node) => {
                children!(self, node, GroupingSet { each: [content], skip: [kind, location] })
            }
            _ => return false,
        }
        true
    }

    fn operator_expression(&mut self, node: &'a AExpr) {
        let named_by_the_grammar = matches!(
            node.kind(),
            AExprKind::AexprBetween
                | AExprKind::AexprNotBetween
                | AExprKind::AexprBetweenSym
                | AExprKind::AexprNotBetweenSym
        );
        if named_by_the_grammar {
            // BETWEEN and its kin are comparisons with the ends.
            for name in ["<", "<=", ">", ">="] {
                self.implied_operator(name);
            }
        } else {
            self.operator(&node.name, if node.lexpr.is_some() { 2 } else { 1 });
        }
        children!(
            self,
            node,
            AExpr {
                one: [rexpr, lexpr],
                skip: [kind, name, rexpr_list_start, rexpr_list_end, location],
            }
        );
    }

    /// A column; or, behind a point, a function that is called in the notation of one.
    ///
    /// The columns of a sequence show a counter that a standby sees ahead of its value. Which relations
    /// are sequences only a catalog knows; until it does, the columns' names have to do.
    fn column(&mut self, node: &'a ColumnRef) {
        let (_, name) = qualified(&node.fields);
        if node.fields.len() > 1 && !name.is_empty() {
            self.asks(Use::Field(name));
        }
        if self.names.knows_relations() {
            return;
        }
        if matches!(name, "last_value" | "log_cnt" | "is_called") {
            self.raise(Access::Primary, Reason::SequenceState(name.into()));
        }
    }
}

/// Nodes without children that never matter. `SqlvalueFunction` is `current_user`, `current_date` and
/// their like: session state and time.
fn is_leaf(node: NodeRef<'_>) -> bool {
    matches!(
        node,
        NodeRef::AConst(_)
            | NodeRef::ParamRef(_)
            | NodeRef::AStar(_)
            | NodeRef::SetToDefault(_)
            | NodeRef::CurrentOfExpr(_)
            | NodeRef::MergeSupportFunc(_)
            | NodeRef::SqlvalueFunction(_)
            | NodeRef::Alias(_)
            | NodeRef::String(_)
            | NodeRef::Integer(_)
            | NodeRef::Float(_)
            | NodeRef::Boolean(_)
            | NodeRef::BitString(_)
    )
}
