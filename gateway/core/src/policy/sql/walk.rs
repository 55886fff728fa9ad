//! Walks a statement. In: its syntax tree. Out: what it does to which tables. Never here: text, tokens.
//!
//! A list of what is let through: structures are taken apart field by field, so that a field the parser learns to fill in a later version breaks
//! the build here instead of passing unseen.

use sqlparser::ast::{
    Cte, Distinct, Fetch, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, NamedWindowDefinition,
    NamedWindowExpr, ObjectName, Offset, OrderBy, OrderByExpr, OrderByKind, Parens, Query, Select, SelectFlavor,
    SelectInto, SelectItem, SelectItemQualifiedWildcardKind, SelectModifiers, SetExpr, SetOperator, SetQuantifier,
    Statement, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins, Values, WildcardAdditionalOptions, With,
};

use super::functions;
use super::names;
use super::{DEPTH_MAX, Dialect, SqlFacts, SqlRefusal, SqlRules};

pub(super) type Step = Result<(), SqlRefusal>;

/// One walk under way.
pub(super) struct Walk<'r> {
    pub(super) rules: &'r SqlRules,
    facts: SqlFacts,
    /// Names of the common table expressions in scope, innermost last.
    scope: Vec<String>,
    depth: usize,
    /// Whether a function stands where a table could, and whether a name like `a.b` is read anywhere.
    sources: Sources,
    pub(super) columns: Columns,
}

/// What a statement reads from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sources {
    /// Tables and queries.
    Tables,
    /// A function among them.
    Functions,
}

/// How a statement names columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// By themselves.
    Plain,
    /// Behind the name of what they are of, somewhere.
    Qualified,
}

/// Whether a name is looked for among common table expressions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It may be one.
    Source,
    /// What is written to is always a table.
    Target,
}

impl<'r> Walk<'r> {
    /// The facts of one statement.
    pub(super) fn of(statement: &Statement, rules: &'r SqlRules) -> Result<SqlFacts, SqlRefusal> {
        let mut walk = Self {
            rules,
            facts: SqlFacts::default(),
            scope: Vec::new(),
            depth: 0,
            sources: Sources::Tables,
            columns: Columns::Plain,
        };
        match statement {
            Statement::Query(query) => walk.query(query)?,
            other => walk.write(other)?,
        }
        // PostgreSQL reads `a.f` as the call `f(a)` where `a` has no such column: of a row it takes functions of rows alone, but a function's alias can be a
        // single value, to which every function of one argument applies.
        let called = matches!(rules.dialect, Dialect::Postgres | Dialect::Generic);
        absent(!called || walk.sources == Sources::Tables || walk.columns == Columns::Plain)?;
        let mut facts = walk.facts;
        facts.kinds.sort_unstable();
        facts.kinds.dedup();
        facts.tables.sort_unstable();
        facts.tables.dedup();
        facts.functions.sort_unstable();
        facts.functions.dedup();
        Ok(facts)
    }

    pub(super) fn kind(&mut self, kind: &'static str) {
        self.facts.kinds.push(kind);
    }

    pub(super) fn call(&mut self, name: &ObjectName) -> Step {
        self.facts.functions.push(functions::named(name, self.rules)?);
        Ok(())
    }

    /// A call that the grammar spells in a way of its own; all of them are safe.
    pub(super) fn spelled_call(&mut self, name: &'static str) {
        self.facts.functions.push(name.into());
    }

    /// One level deeper.
    pub(super) fn deeper(&mut self, walk: impl FnOnce(&mut Self) -> Step) -> Step {
        if self.depth >= DEPTH_MAX {
            return Err(SqlRefusal::TooDeep);
        }
        self.depth += 1;
        let done = walk(self);
        self.depth -= 1;
        done
    }

    pub(super) fn write(&mut self, statement: &Statement) -> Step {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            _ => Err(SqlRefusal::Statement),
        }
    }

    pub(super) fn query(&mut self, query: &Query) -> Step {
        self.deeper(|walk| walk.query_in_scope(query))
    }

    fn query_in_scope(&mut self, query: &Query) -> Step {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        absent(
            locks.is_empty()
                && for_clause.is_none()
                && settings.is_none()
                && format_clause.is_none()
                && pipe_operators.is_empty(),
        )?;
        let outer = self.scope.len();
        if let Some(with) = with {
            self.with(with)?;
        }
        self.set(body)?;
        if let Some(OrderBy { kind, interpolate }) = order_by {
            absent(interpolate.is_none())?;
            match kind {
                OrderByKind::Expressions(by) => self.order(by)?,
                OrderByKind::All(_) => return Err(SqlRefusal::Construct),
            }
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                absent(limit_by.is_empty())?;
                self.maybe(limit.as_ref())?;
                self.maybe(offset.as_ref().map(|Offset { value, rows: _ }| value))?;
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.expression(offset)?;
                self.expression(limit)?;
            }
        }
        if let Some(Fetch { with_ties: _, percent, quantity }) = fetch {
            absent(!percent)?;
            self.maybe(quantity.as_ref())?;
        }
        self.scope.truncate(outer);
        Ok(())
    }

    /// A name counts as a common table expression only where every server says so: behind its definition, and within it where `RECURSIVE` is written.
    /// Elsewhere it counts as a table, which a rule that lists tables refuses and a rule that forbids them finds.
    fn with(&mut self, with: &With) -> Step {
        let With { with_token: _, recursive, cte_tables } = with;
        for Cte { alias, query, from, materialized: _, closing_paren_token: _ } in cte_tables {
            absent(from.is_none())?;
            let TableAlias { explicit: _, name, columns, at } = alias;
            absent(at.is_none() && columns.iter().all(|column| column.data_type.is_none()))?;
            names::plain(name)?;
            let name = names::scoped(name, self.rules.dialect);
            if *recursive {
                self.scope.push(name);
                self.query(query)?;
            } else {
                // An outer expression of the same name is hidden from here on only; what it hid stays visible in this definition.
                self.query(query)?;
                self.scope.push(name);
            }
        }
        Ok(())
    }

    fn set(&mut self, body: &SetExpr) -> Step {
        // Chains nest to the left and are walked as the lists they are.
        let mut at = body;
        while let SetExpr::SetOperation { left, op, set_quantifier, right } = at {
            absent(matches!(op, SetOperator::Union | SetOperator::Except | SetOperator::Intersect))?;
            absent(matches!(set_quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None))?;
            self.deeper(|walk| walk.set(right))?;
            at = left;
        }
        match at {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::Values(values) => {
                self.kind("select");
                self.values(values)
            }
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                self.write(statement)
            }
            SetExpr::SetOperation { left: _, op: _, set_quantifier: _, right: _ }
            | SetExpr::Merge(_)
            | SetExpr::Table(_) => Err(SqlRefusal::Construct),
        }
    }

    pub(super) fn values(&mut self, values: &Values) -> Step {
        let Values { explicit_row, value_keyword, rows } = values;
        absent(!explicit_row && !value_keyword)?;
        for Parens { opening_token: _, content, closing_token: _ } in rows {
            self.expressions(content)?;
        }
        Ok(())
    }

    fn select(&mut self, select: &Select) -> Step {
        let Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        absent(
            optimizer_hints.is_empty()
                && top.is_none()
                && exclude.is_none()
                && lateral_views.is_empty()
                && prewhere.is_none(),
        )?;
        absent(
            connect_by.is_empty()
                && cluster_by.is_empty()
                && distribute_by.is_empty()
                && sort_by.is_empty()
                && qualify.is_none(),
        )?;
        absent(value_table_mode.is_none() && *flavor == SelectFlavor::Standard)?;
        absent(!select_modifiers.as_ref().is_some_and(SelectModifiers::is_any_set))?;
        self.kind("select");
        match distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(by)) => self.expressions(by)?,
        }
        self.items(projection)?;
        if let Some(into) = into {
            self.into(into)?;
        }
        from.iter().try_for_each(|tables| self.tables(tables))?;
        self.maybe(selection.as_ref())?;
        match group_by {
            GroupByExpr::Expressions(by, modifiers) => {
                absent(modifiers.is_empty())?;
                self.expressions(by)?;
            }
            GroupByExpr::All(_) => return Err(SqlRefusal::Construct),
        }
        self.maybe(having.as_ref())?;
        for NamedWindowDefinition(_, window) in named_window {
            match window {
                NamedWindowExpr::NamedWindow(_) => {}
                NamedWindowExpr::WindowSpec(window) => self.window(window)?,
            }
        }
        Ok(())
    }

    /// `SELECT … INTO t` makes a table in PostgreSQL; elsewhere it writes variables and files.
    fn into(&mut self, into: &SelectInto) -> Step {
        let SelectInto { temporary: _, unlogged: _, table: _, targets } = into;
        absent(self.rules.dialect == Dialect::Postgres)?;
        let [target] = targets.as_slice() else { return Err(SqlRefusal::Construct) };
        let parts: Vec<&Ident> = match target {
            sqlparser::ast::Expr::Identifier(name) => vec![name],
            sqlparser::ast::Expr::CompoundIdentifier(parts) => parts.iter().collect(),
            _ => return Err(SqlRefusal::Construct),
        };
        self.kind("create");
        self.table(&parts, Role::Target)
    }

    pub(super) fn items(&mut self, items: &[SelectItem]) -> Step {
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => self.expression(expr)?,
                SelectItem::ExprWithAlias { expr, alias } => {
                    // PostgreSQL takes `regclass 'x'` for a value of that type, not for a column and its alias.
                    absent(
                        alias.quote_style != Some('\'')
                            || matches!(self.rules.dialect, Dialect::MySql | Dialect::Sqlite),
                    )?;
                    // Where no semicolon is needed, `SELECT 1 SHUTDOWN` is two statements.
                    if alias.quote_style.is_none() {
                        names::plain(alias)?;
                    }
                    self.expression(expr)?;
                }
                SelectItem::Wildcard(options) => plain_wildcard(options)?,
                SelectItem::QualifiedWildcard(of, options) => {
                    plain_wildcard(options)?;
                    match of {
                        SelectItemQualifiedWildcardKind::ObjectName(_) => {}
                        SelectItemQualifiedWildcardKind::Expr(expr) => self.expression(expr)?,
                    }
                }
                SelectItem::ExprWithAliases { expr: _, aliases: _ } => return Err(SqlRefusal::Construct),
            }
        }
        Ok(())
    }

    pub(super) fn order(&mut self, by: &[OrderByExpr]) -> Step {
        for OrderByExpr { expr, options: _, with_fill } in by {
            absent(with_fill.is_none())?;
            self.expression(expr)?;
        }
        Ok(())
    }

    pub(super) fn tables(&mut self, tables: &TableWithJoins) -> Step {
        self.tables_as(tables, Role::Source)
    }

    pub(super) fn tables_as(&mut self, TableWithJoins { relation, joins }: &TableWithJoins, role: Role) -> Step {
        self.factor(relation, role)?;
        for Join { relation, global, join_operator } in joins {
            absent(!global)?;
            self.factor(relation, Role::Source)?;
            use JoinOperator as J;
            let constraint = match join_operator {
                J::Join(on)
                | J::Inner(on)
                | J::Left(on)
                | J::LeftOuter(on)
                | J::Right(on)
                | J::RightOuter(on)
                | J::FullOuter(on)
                | J::CrossJoin(on)
                | J::StraightJoin(on) => on,
                _ => return Err(SqlRefusal::Construct),
            };
            match constraint {
                JoinConstraint::On(expr) => self.expression(expr)?,
                JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None => {}
            }
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor, role: Role) -> Step {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality: _,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                absent(
                    with_hints.is_empty()
                        && version.is_none()
                        && partitions.is_empty()
                        && json_path.is_none()
                        && sample.is_none()
                        && index_hints.is_empty(),
                )?;
                let parts = names::parts(name)?;
                self.alias(alias.as_ref(), parts.last().copied())?;
                match args {
                    None => self.table(&parts, role),
                    Some(TableFunctionArgs { args, settings }) => {
                        absent(settings.is_none() && role == Role::Source)?;
                        self.sources = Sources::Functions;
                        self.call(name)?;
                        self.arguments(args)
                    }
                }
            }
            TableFactor::Derived { lateral: _, subquery, alias, sample } => {
                absent(sample.is_none() && role == Role::Source)?;
                self.alias(alias.as_ref(), None)?;
                self.query(subquery)
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality: _, alias } => {
                self.sources = Sources::Functions;
                absent(role == Role::Source)?;
                self.alias(alias.as_ref(), None)?;
                self.call(name)?;
                self.arguments(args)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality: _ } => {
                absent(
                    !with_offset
                        && with_offset_alias.is_none()
                        && role == Role::Source
                        && self.rules.dialect == Dialect::Postgres,
                )?;
                self.alias(alias.as_ref(), None)?;
                self.sources = Sources::Functions;
                self.spelled_call("unnest");
                self.expressions(array_exprs)
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.alias(alias.as_ref(), None)?;
                self.deeper(|walk| walk.tables_as(table_with_joins, role))
            }
            _ => Err(SqlRefusal::Construct),
        }
    }

    /// An alias that is no word of a grammar; and without `AS` the name before it must be none either, or a server could take that for a modifier and
    /// the alias for the table.
    fn alias(&self, alias: Option<&TableAlias>, before: Option<&Ident>) -> Step {
        let Some(TableAlias { explicit, name, columns: _, at }) = alias else { return Ok(()) };
        absent(at.is_none())?;
        names::plain(name)?;
        let mistakable = !explicit && before.is_some_and(names::is_keyword);
        if mistakable { Err(SqlRefusal::Name) } else { Ok(()) }
    }

    pub(super) fn table(&mut self, parts: &[&Ident], role: Role) -> Step {
        let names = names::tables(parts, self.rules)?;
        if let ([name], Role::Source) = (parts, role)
            && self.scope.contains(&names::scoped(name, self.rules.dialect))
        {
            return Ok(());
        }
        self.facts.tables.extend(names);
        Ok(())
    }
}

/// What must not be there is not.
pub(super) fn absent(none: bool) -> Step {
    if none { Ok(()) } else { Err(SqlRefusal::Construct) }
}

fn plain_wildcard(options: &WildcardAdditionalOptions) -> Step {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    absent(
        opt_ilike.is_none()
            && opt_exclude.is_none()
            && opt_except.is_none()
            && opt_replace.is_none()
            && opt_rename.is_none()
            && opt_alias.is_none(),
    )
}
