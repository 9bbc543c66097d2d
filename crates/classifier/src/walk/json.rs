//! SQL/JSON.
//!
//! The grammar that is built in here knows more key words than older servers do. To those,
//! `json_value(a, b)` is a call like any other and may be a function of the user's; so each form is
//! judged by the name of its function, which the catalog knows from the version that brought it.

use pg_query::NodeRef;
use pg_query::protobuf::{JsonExprOp, JsonFuncExpr};

use super::{Walk, children};

impl<'a> Walk<'a> {
    /// True if the node is of this family.
    pub(super) fn json(&mut self, node: NodeRef<'a>) -> bool {
        self.json_query(node) || self.json_constructor(node) || self.json_part(node)
    }

    fn json_query(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::JsonFuncExpr(node) => self.json_function(node),
            NodeRef::JsonTable(node) => {
                self.named_call(None, "json_table");
                children!(self, node, JsonTable {
                    each: [passing, columns],
                    part: [
                        context_item: JsonValueExpr, pathspec: JsonTablePathSpec,
                        on_error: JsonBehavior,
                    ],
                    skip: [alias, lateral, location],
                });
            }
            NodeRef::JsonTableColumn(node) => children!(self, node, JsonTableColumn {
                each: [columns],
                part: [
                    type_name: TypeName, pathspec: JsonTablePathSpec, on_empty: JsonBehavior,
                    on_error: JsonBehavior,
                ],
                skip: [coltype, name, format, wrapper, quotes, location],
            }),
            NodeRef::JsonParseExpr(node) => {
                self.named_call(None, "json");
                children!(self, node, JsonParseExpr {
                    part: [expr: JsonValueExpr, output: JsonOutput],
                    skip: [unique_keys, location],
                });
            }
            NodeRef::JsonScalarExpr(node) => {
                self.named_call(None, "json_scalar");
                children!(self, node, JsonScalarExpr {
                    one: [expr],
                    part: [output: JsonOutput],
                    skip: [location],
                });
            }
            NodeRef::JsonSerializeExpr(node) => {
                self.named_call(None, "json_serialize");
                children!(self, node, JsonSerializeExpr {
                    part: [expr: JsonValueExpr, output: JsonOutput],
                    skip: [location],
                });
            }
            _ => return false,
        }
        true
    }

    fn json_function(&mut self, node: &'a JsonFuncExpr) {
        let name = match node.op() {
            JsonExprOp::JsonExistsOp => "json_exists",
            JsonExprOp::JsonQueryOp => "json_query",
            JsonExprOp::JsonValueOp => "json_value",
            JsonExprOp::JsonTableOp | JsonExprOp::Undefined => "json_table",
        };
        self.named_call(None, name);
        children!(self, node, JsonFuncExpr {
            each: [passing],
            one: [pathspec],
            part: [
                context_item: JsonValueExpr, output: JsonOutput, on_empty: JsonBehavior,
                on_error: JsonBehavior,
            ],
            skip: [op, column_name, wrapper, quotes, location],
        });
    }

    fn json_constructor(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::JsonObjectConstructor(node) => {
                self.named_call(None, "json_object");
                children!(self, node, JsonObjectConstructor {
                    each: [exprs],
                    part: [output: JsonOutput],
                    skip: [absent_on_null, unique, location],
                });
            }
            NodeRef::JsonArrayConstructor(node) => {
                self.named_call(None, "json_array");
                children!(self, node, JsonArrayConstructor {
                    each: [exprs],
                    part: [output: JsonOutput],
                    skip: [absent_on_null, location],
                });
            }
            NodeRef::JsonArrayQueryConstructor(node) => {
                self.named_call(None, "json_array");
                children!(self, node, JsonArrayQueryConstructor {
                    one: [query],
                    part: [output: JsonOutput],
                    skip: [format, absent_on_null, location],
                });
            }
            NodeRef::JsonObjectAgg(node) => {
                self.named_call(None, "json_objectagg");
                children!(self, node, JsonObjectAgg {
                    part: [constructor: JsonAggConstructor, arg: JsonKeyValue],
                    skip: [absent_on_null, unique],
                });
            }
            NodeRef::JsonArrayAgg(node) => {
                self.named_call(None, "json_arrayagg");
                children!(self, node, JsonArrayAgg {
                    part: [constructor: JsonAggConstructor, arg: JsonValueExpr],
                    skip: [absent_on_null],
                });
            }
            _ => return false,
        }
        true
    }

    /// What the forms above are made of.
    fn json_part(&mut self, node: NodeRef<'a>) -> bool {
        match node {
            NodeRef::JsonFormat(_) | NodeRef::JsonReturning(_) => {}
            NodeRef::JsonValueExpr(node) => children!(
                self,
                node,
                JsonValueExpr { one: [raw_expr, formatted_expr], skip: [format] }
            ),
            NodeRef::JsonOutput(node) => children!(self, node, JsonOutput {
                part: [type_name: TypeName],
                skip: [returning],
            }),
            NodeRef::JsonArgument(node) => children!(self, node, JsonArgument {
                part: [val: JsonValueExpr],
                skip: [name],
            }),
            NodeRef::JsonKeyValue(node) => children!(self, node, JsonKeyValue {
                one: [key],
                part: [value: JsonValueExpr],
            }),
            NodeRef::JsonBehavior(node) => {
                children!(self, node, JsonBehavior { one: [expr], skip: [btype, coerce, location] })
            }
            NodeRef::JsonTablePathSpec(node) => children!(
                self,
                node,
                JsonTablePathSpec { one: [string], skip: [name, name_location, location] }
            ),
            NodeRef::JsonIsPredicate(node) => children!(
                self,
                node,
                JsonIsPredicate { one: [expr], skip: [format, item_type, unique_keys, location] }
            ),
            NodeRef::JsonAggConstructor(node) => children!(self, node, JsonAggConstructor {
                each: [agg_order],
                one: [agg_filter],
                part: [output: JsonOutput, over: WindowDef],
                skip: [location],
            }),
            _ => return false,
        }
        true
    }
}
