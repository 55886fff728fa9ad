//! Walks expressions. In: their syntax trees. Out: the calls and subqueries in them. Never here: statements.

use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, Interval, Subscript, TypedString,
    UnaryOperator, Value, ValueWithSpan, WindowFrame, WindowFrameBound, WindowSpec, WindowType,
};

use super::names;
use super::walk::{Columns, Step, Walk, absent};
use super::{Dialect, SqlRefusal};

impl Walk<'_> {
    pub(super) fn maybe(&mut self, expr: Option<&Expr>) -> Step {
        expr.map_or(Ok(()), |expr| self.expression(expr))
    }

    pub(super) fn expressions(&mut self, all: &[Expr]) -> Step {
        all.iter().try_for_each(|expr| self.expression(expr))
    }

    pub(super) fn expression(&mut self, expr: &Expr) -> Step {
        // Chains of operators nest to the left and are walked as the lists they are; their number is bounded.
        let mut at = expr;
        while let Expr::BinaryOp { left, op, right } = at {
            operator(op)?;
            self.deeper(|walk| walk.expression(right))?;
            at = left;
        }
        self.deeper(|walk| walk.one(at))
    }

    fn both(&mut self, one: &Expr, other: &Expr) -> Step {
        self.expression(one)?;
        self.expression(other)
    }

    fn one(&mut self, expr: &Expr) -> Step {
        match expr {
            Expr::Identifier(_) => Ok(()),
            Expr::CompoundIdentifier(parts) => {
                self.columns = Columns::Qualified;
                // Oracle and MariaDB draw a number from a sequence where others read a column.
                let drawn = |part: &Ident| SEQUENCE_WORDS.iter().any(|word| part.value.eq_ignore_ascii_case(word));
                absent(!parts.last().is_some_and(drawn))
            }
            Expr::Value(value) => literal(value),
            Expr::Nested(expr)
            | Expr::IsFalse(expr)
            | Expr::IsNotFalse(expr)
            | Expr::IsTrue(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsNull(expr)
            | Expr::IsNotNull(expr)
            | Expr::IsUnknown(expr)
            | Expr::IsNotUnknown(expr) => self.expression(expr),
            Expr::IsDistinctFrom(one, other) | Expr::IsNotDistinctFrom(one, other) => self.both(one, other),
            Expr::AtTimeZone { timestamp, time_zone } => self.both(timestamp, time_zone),
            Expr::Position { expr, r#in } => {
                self.spelled_call("position");
                self.both(expr, r#in)
            }
            Expr::Collate { expr, collation: _ } => self.expression(expr),
            Expr::UnaryOp { op, expr } => {
                absent(matches!(
                    op,
                    UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not | UnaryOperator::BitwiseNot
                ))?;
                self.expression(expr)
            }
            Expr::InList { expr, list, negated: _ } => {
                self.expression(expr)?;
                self.expressions(list)
            }
            Expr::InSubquery { expr, subquery, negated: _ } => {
                self.expression(expr)?;
                self.query(subquery)
            }
            Expr::Exists { subquery, negated: _ } | Expr::Subquery(subquery) => self.query(subquery),
            Expr::Between { expr, negated: _, low, high } => {
                self.expression(expr)?;
                self.both(low, high)
            }
            Expr::AnyOp { left, compare_op, right, is_some: _ } | Expr::AllOp { left, compare_op, right } => {
                operator(compare_op)?;
                self.both(left, right)
            }
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.maybe(operand.as_deref())?;
                for CaseWhen { condition, result } in conditions {
                    self.both(condition, result)?;
                }
                self.maybe(else_result.as_deref())
            }
            Expr::Tuple(all) | Expr::Array(Array { elem: all, named: _ }) => self.expressions(all),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                sets.iter().try_for_each(|set| self.expressions(set))
            }
            Expr::Function(function) => self.function(function),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            other => self.spelled(other),
        }
    }

    /// What has a grammar of its own.
    fn spelled(&mut self, expr: &Expr) -> Step {
        match expr {
            Expr::Like { negated: _, any, expr, pattern, escape_char } => {
                absent(!any)?;
                self.both(expr, pattern)?;
                self.maybe(escape_char.as_deref())
            }
            Expr::ILike { negated: _, any, expr, pattern, escape_char } => {
                absent(!any && self.rules.dialect == Dialect::Postgres)?;
                self.both(expr, pattern)?;
                self.maybe(escape_char.as_deref())
            }
            Expr::SimilarTo { negated: _, expr, pattern, escape_char } => {
                self.both(expr, pattern)?;
                self.maybe(escape_char.as_deref())
            }
            Expr::RLike { negated: _, expr, pattern, regexp: _ } => {
                absent(self.rules.dialect == Dialect::MySql)?;
                self.both(expr, pattern)
            }
            Expr::Cast { kind, expr, data_type, format } => {
                absent(matches!(kind, CastKind::Cast | CastKind::DoubleColon) && format.is_none())?;
                names::data_type(data_type)?;
                self.expression(expr)
            }
            Expr::Convert { is_try, expr, data_type, charset: _, target_before_value, styles } => {
                absent(!is_try && !target_before_value && styles.is_empty() && self.rules.dialect == Dialect::MySql)?;
                data_type.as_ref().map_or(Ok(()), names::data_type)?;
                self.spelled_call("convert");
                self.expression(expr)
            }
            Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax }) => {
                absent(!uses_odbc_syntax)?;
                names::data_type(data_type)?;
                literal(value)
            }
            Expr::Interval(Interval {
                value,
                leading_field: _,
                leading_precision: _,
                last_field: _,
                fractional_seconds_precision: _,
            }) => self.expression(value),
            other => self.spelled_function(other),
        }
    }

    /// Functions with words between their arguments.
    fn spelled_function(&mut self, expr: &Expr) -> Step {
        match expr {
            Expr::Extract { field: _, syntax: _, expr } => {
                self.spelled_call("extract");
                self.expression(expr)
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                match field {
                    CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => {}
                    CeilFloorKind::DateTimeField(_) => return Err(SqlRefusal::Construct),
                    CeilFloorKind::Scale(scale) => literal(scale)?,
                }
                self.spelled_call("ceil");
                self.expression(expr)
            }
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.spelled_call("substring");
                self.expression(expr)?;
                self.maybe(substring_from.as_deref())?;
                self.maybe(substring_for.as_deref())
            }
            Expr::Trim { trim_where: _, trim_what, expr, trim_characters } => {
                self.spelled_call("trim");
                self.expression(expr)?;
                self.maybe(trim_what.as_deref())?;
                self.expressions(trim_characters.as_deref().unwrap_or_default())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.spelled_call("overlay");
                self.both(expr, overlay_what)?;
                self.expression(overlay_from)?;
                self.maybe(overlay_for.as_deref())
            }
            _ => Err(SqlRefusal::Construct),
        }
    }

    /// `a[1]`, `a[1:2]`. Never `(value).name`, which is the call `name(value)` where the value has no such field.
    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Step {
        absent(self.rules.dialect == Dialect::Postgres)?;
        self.expression(root)?;
        for access in chain {
            match access {
                AccessExpr::Dot(_) => return Err(SqlRefusal::Construct),
                AccessExpr::Subscript(Subscript::Index { index }) => self.expression(index)?,
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                    for bound in [lower_bound, upper_bound, stride] {
                        self.maybe(bound.as_ref())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Step {
        let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment: _, over } =
            function;
        absent(!uses_odbc_syntax && matches!(parameters, FunctionArguments::None))?;
        self.call(name)?;
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(query) => self.query(query)?,
            FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
                self.arguments(args)?;
                clauses.iter().try_for_each(|clause| self.clause(clause))?;
            }
        }
        self.order(within_group)?;
        self.maybe(filter.as_deref())?;
        match over {
            None | Some(WindowType::NamedWindow(_)) => Ok(()),
            Some(WindowType::WindowSpec(window)) => self.window(window),
        }
    }

    pub(super) fn arguments(&mut self, arguments: &[FunctionArg]) -> Step {
        for argument in arguments {
            let value = match argument {
                FunctionArg::Unnamed(value) | FunctionArg::Named { name: _, arg: value, operator: _ } => value,
                FunctionArg::ExprNamed { name: _, arg: _, operator: _ } => return Err(SqlRefusal::Construct),
            };
            match value {
                FunctionArgExpr::Expr(expr) => self.expression(expr)?,
                FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_) => {}
                FunctionArgExpr::WildcardWithOptions(_) => return Err(SqlRefusal::Construct),
            }
        }
        Ok(())
    }

    fn clause(&mut self, clause: &FunctionArgumentClause) -> Step {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(_) => Ok(()),
            FunctionArgumentClause::OrderBy(by) => self.order(by),
            FunctionArgumentClause::Separator(value) => literal(value),
            _ => Err(SqlRefusal::Construct),
        }
    }

    pub(super) fn window(&mut self, window: &WindowSpec) -> Step {
        let WindowSpec { window_name: _, partition_by, order_by, window_frame } = window;
        self.expressions(partition_by)?;
        self.order(order_by)?;
        let Some(WindowFrame { units: _, start_bound, end_bound }) = window_frame else { return Ok(()) };
        for bound in std::iter::once(start_bound).chain(end_bound) {
            match bound {
                WindowFrameBound::CurrentRow => {}
                WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) => self.maybe(by.as_deref())?,
            }
        }
        Ok(())
    }
}

fn literal(ValueWithSpan { value, span: _ }: &ValueWithSpan) -> Step {
    absent(matches!(
        value,
        Value::Number(_, _)
            | Value::SingleQuotedString(_)
            | Value::HexStringLiteral(_)
            | Value::Boolean(_)
            | Value::Null
    ))
}

/// Operators that no server resolves through a schema of its own choice, nor calls an unlisted function for.
fn operator(op: &BinaryOperator) -> Step {
    use BinaryOperator as B;
    absent(matches!(
        op,
        B::Plus
            | B::Minus
            | B::Multiply
            | B::Divide
            | B::Modulo
            | B::StringConcat
            | B::Gt
            | B::Lt
            | B::GtEq
            | B::LtEq
            | B::Spaceship
            | B::Eq
            | B::NotEq
            | B::And
            | B::Or
            | B::Xor
            | B::BitwiseOr
            | B::BitwiseAnd
            | B::BitwiseXor
            | B::MyIntegerDivide
            | B::Glob
            | B::PGBitwiseXor
            | B::PGBitwiseShiftLeft
            | B::PGBitwiseShiftRight
            | B::PGExp
            | B::PGOverlap
            | B::PGRegexMatch
            | B::PGRegexIMatch
            | B::PGRegexNotMatch
            | B::PGRegexNotIMatch
            | B::Arrow
            | B::LongArrow
            | B::HashArrow
            | B::HashLongArrow
            | B::AtArrow
            | B::ArrowAt
    ))
}

/// Behind a sequence's name these draw its next number.
const SEQUENCE_WORDS: [&str; 3] = ["nextval", "currval", "setval"];
