//! Walks what writes. In: the syntax trees of INSERT, UPDATE and DELETE. Out: their targets and all they read. Never here: queries by themselves.

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, DoUpdate, FromTable, Ident, Insert, OnConflict,
    OnConflictAction, OnInsert, Query, SetExpr, SqliteOnConflict, TableFactor, TableObject, TableWithJoins, Update,
    UpdateTableFromKind,
};

use super::names;
use super::walk::{Role, Step, Walk, absent};
use super::{Dialect, SqlRefusal};

impl Walk<'_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Step {
        let Insert {
            insert_token: _,
            optimizer_hints,
            or,
            ignore: _,
            into: _,
            table,
            table_alias,
            columns: _,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        absent(
            optimizer_hints.is_empty()
                && !overwrite
                && partitioned.is_none()
                && after_columns.is_empty()
                && !has_table_keyword,
        )?;
        absent(
            output.is_none()
                && priority.is_none()
                && settings.is_none()
                && format_clause.is_none()
                && multi_table_insert_type.is_none(),
        )?;
        absent(
            multi_table_into_clauses.is_empty()
                && multi_table_when_clauses.is_empty()
                && multi_table_else_clause.is_none(),
        )?;
        absent(insert_alias.is_none() || self.rules.dialect == Dialect::MySql)?;
        self.kind("insert");
        if *replace_into {
            self.kind("replace");
        }
        self.resolution(or.as_ref());
        let TableObject::TableName(name) = table else { return Err(SqlRefusal::Construct) };
        let parts = names::parts(name)?;
        if let Some(alias) = table_alias {
            names::plain(&alias.alias)?;
            absent(alias.explicit)?;
        }
        self.table(&parts, Role::Target)?;
        self.source(source.as_deref())?;
        self.assignments(assignments)?;
        self.collision(on.as_ref())?;
        self.items(returning.as_deref().unwrap_or_default())
    }

    /// Rows that are spelled out, or those of a query.
    fn source(&mut self, source: Option<&Query>) -> Step {
        match source {
            None => {}
            Some(Query {
                with: None,
                body,
                order_by: None,
                limit_clause: None,
                fetch: None,
                locks,
                for_clause: None,
                settings: None,
                format_clause: None,
                pipe_operators,
            }) if locks.is_empty() && pipe_operators.is_empty() && matches!(**body, SetExpr::Values(_)) => {
                if let SetExpr::Values(values) = &**body {
                    self.values(values)?;
                }
            }
            Some(source) => self.query(source)?,
        }
        Ok(())
    }

    /// What happens to rows that are there already.
    fn collision(&mut self, on: Option<&OnInsert>) -> Step {
        match on {
            None => {}
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
                self.kind("update");
                self.assignments(assignments)?;
            }
            Some(OnInsert::OnConflict(OnConflict { conflict_target, action })) => {
                match conflict_target {
                    None | Some(ConflictTarget::Columns(_) | ConflictTarget::OnConstraint(_)) => {}
                }
                match action {
                    OnConflictAction::DoNothing => {}
                    OnConflictAction::DoUpdate(DoUpdate { assignments, selection }) => {
                        self.kind("update");
                        self.assignments(assignments)?;
                        self.maybe(selection.as_ref())?;
                    }
                }
            }
            Some(_) => return Err(SqlRefusal::Construct),
        }
        Ok(())
    }

    /// `OR REPLACE` deletes the rows that are in the way.
    fn resolution(&mut self, or: Option<&SqliteOnConflict>) {
        match or {
            Some(SqliteOnConflict::Replace) => self.kind("replace"),
            Some(
                SqliteOnConflict::Rollback
                | SqliteOnConflict::Abort
                | SqliteOnConflict::Fail
                | SqliteOnConflict::Ignore,
            )
            | None => {}
        }
    }

    fn assignments(&mut self, assignments: &[Assignment]) -> Step {
        for Assignment { target, value } in assignments {
            match target {
                AssignmentTarget::ColumnName(name) => names::parts(name).map(drop)?,
                AssignmentTarget::Tuple(columns) => columns.iter().try_for_each(|name| names::parts(name).map(drop))?,
            }
            self.expression(value)?;
        }
        Ok(())
    }

    pub(super) fn update(&mut self, update: &Update) -> Step {
        let Update {
            update_token: _,
            optimizer_hints,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        absent(optimizer_hints.is_empty() && output.is_none())?;
        self.kind("update");
        self.resolution(or.as_ref());
        self.tables_as(table, Role::Target)?;
        self.assignments(assignments)?;
        match from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => tables.iter().try_for_each(|tables| self.tables(tables))?,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(SqlRefusal::Construct),
        }
        self.maybe(selection.as_ref())?;
        self.order(order_by)?;
        self.maybe(limit.as_ref())?;
        self.items(returning.as_deref().unwrap_or_default())
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Step {
        let Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        absent(optimizer_hints.is_empty() && output.is_none())?;
        let FromTable::WithFromKeyword(from) = from else { return Err(SqlRefusal::Construct) };
        absent(!from.is_empty() && (tables.is_empty() || self.rules.dialect == Dialect::MySql))?;
        self.kind("delete");
        // MySQL's `DELETE a FROM t AS a`: the names before `FROM` are tables or aliases of what follows.
        for name in tables {
            let parts = names::parts(name)?;
            let aliased = |alias: &Ident| matches!(parts.as_slice(), [name] if name.value == alias.value);
            let joined = |tables: &TableWithJoins| {
                std::iter::once(&tables.relation)
                    .chain(tables.joins.iter().map(|join| &join.relation))
                    .any(|factor| alias_of(factor).is_some_and(aliased))
            };
            if !from.iter().any(joined) {
                self.table(&parts, Role::Target)?;
            }
        }
        from.iter().try_for_each(|tables| self.tables_as(tables, Role::Target))?;
        using.iter().flatten().try_for_each(|tables| self.tables(tables))?;
        self.maybe(selection.as_ref())?;
        self.order(order_by)?;
        self.maybe(limit.as_ref())?;
        self.items(returning.as_deref().unwrap_or_default())
    }
}

fn alias_of(factor: &TableFactor) -> Option<&Ident> {
    match factor {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => {
            alias.as_ref().map(|alias| &alias.name)
        }
        _ => None,
    }
}
