//! Runs as they are shown: one, or a list by filter. Its statement is put together from fixed pieces; every value is bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::domain::environment::EnvironmentRecord;
use crate::domain::ids::RunId;
use crate::domain::inputs::Inputs;
use crate::domain::metrics::Progress;
use crate::domain::run::Attempt;
use crate::domain::sweep::Given;
use crate::domain::usage::Period;
use crate::store::environments::environments;
use crate::store::handle::{During, Store, StoreError};
use crate::store::metrics::{self, MetricPoint};
use crate::store::runs::{self, COLUMNS, RunRow, row};
use crate::store::sweeps;

/// Which runs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub states: Vec<String>,
    pub owner: Option<String>,
    pub project: Option<String>,
    pub sweep: Option<RunId>,
    /// With `*` and `?`.
    pub name_glob: Option<String>,
    pub since: Option<Timestamp>,
    /// Only runs that may have run in it.
    pub ran: Option<Period>,
    /// Only runs with a lower number: how a long list is read on.
    pub before: Option<RunId>,
    pub limit: u32,
}

/// A run with all that is shown of it.
#[derive(Debug, Clone, PartialEq)]
pub struct WholeRun {
    pub row: RunRow,
    pub inputs: Inputs,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    pub progress: Progress,
    /// The newest value of each metric.
    pub metrics: BTreeMap<String, MetricPoint>,
    /// What its attempts really got, by attempt; empty in lists.
    pub environments: BTreeMap<u32, EnvironmentRecord>,
    /// What it is given as a point of a sweep.
    pub given: Option<Given>,
}

impl Store {
    /// One run whole; `None` when there is none.
    pub async fn whole(&self, id: RunId) -> Result<Option<WholeRun>, StoreError> {
        self.call(move |connection| {
            let row = runs::find(connection, id)?;
            let Some(row) = row else { return Ok(None) };
            let environments = environments(connection, id)?;
            let mut run = WholeRun { environments, ..whole(connection, row)? };
            if let Some(given) = &run.given {
                given.apply(Arc::make_mut(&mut run.row.resolved));
            }
            Ok(Some(run))
        })
        .await
    }

    /// Runs by filter, newest first.
    pub async fn list(&self, filter: Filter) -> Result<Vec<WholeRun>, StoreError> {
        self.call(move |connection| {
            let rows = list(connection, &filter)?;
            rows.into_iter().map(|row| whole(connection, row)).collect()
        })
        .await
    }
}

fn whole(connection: &Connection, row: RunRow) -> Result<WholeRun, StoreError> {
    let attempts = runs::attempts(connection, row.run.id)?;
    let (progress, metrics) = metrics::newest(connection, row.run.id)?;
    let inputs = runs::inputs(connection, row.run.id)?;
    let environments = BTreeMap::new();
    let given = match row.point {
        Some(_) => sweeps::given(connection, row.run.id)?,
        None => None,
    };
    Ok(WholeRun { row, inputs, attempts, progress, metrics, environments, given })
}

fn list(connection: &Connection, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
    let mut sql = format!("SELECT {COLUMNS} FROM run WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |sql: &mut String, condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if !filter.states.is_empty() {
        let marks = vec!["?"; filter.states.len()].join(", ");
        sql.push_str(" AND state IN (");
        sql.push_str(&marks);
        sql.push(')');
        for state in &filter.states {
            bind(&mut sql, "", Value::Text(state.clone()));
        }
    }
    if let Some(owner) = &filter.owner {
        bind(&mut sql, " AND owner = ?", Value::Text(owner.clone()));
    }
    if let Some(project) = &filter.project {
        bind(&mut sql, " AND project = ?", Value::Text(project.clone()));
    }
    if let Some(sweep) = filter.sweep {
        bind(&mut sql, " AND sweep = ?", Value::Integer(sweep.0));
    }
    if let Some(glob) = &filter.name_glob {
        bind(&mut sql, " AND name GLOB ?", Value::Text(glob.clone()));
    }
    if let Some(since) = filter.since {
        bind(&mut sql, " AND created_at >= ?", Value::Integer(since.as_millisecond()));
    }
    if let Some(Period { since, until }) = filter.ran {
        sql.push_str(" AND started_at IS NOT NULL");
        if let Some(since) = since {
            let at = Value::Integer(since.as_millisecond());
            bind(&mut sql, " AND (ended_at IS NULL OR ended_at >= ?)", at);
        }
        if let Some(until) = until {
            bind(&mut sql, " AND started_at < ?", Value::Integer(until.as_millisecond()));
        }
    }
    if let Some(before) = filter.before {
        bind(&mut sql, " AND id < ?", Value::Integer(before.0));
    }
    bind(&mut sql, " ORDER BY id DESC LIMIT ?", Value::Integer(filter.limit.into()));
    let mut statement = connection.prepare_cached(&sql).during("list runs")?;
    let rows = statement.query_map(params_from_iter(values), row).during("list runs")?;
    rows.collect::<rusqlite::Result<_>>().during("list runs")
}
