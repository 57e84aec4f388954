//! `rerun`: submit a run again, from its record alone.

use std::io::Read as _;
use std::path::Path;

use crate::api::{RECORD_FORMAT, RunRecord};
use crate::cli::client::{Client, run_path};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::spec_args::ChangeArgs;
use crate::cli::submit::{How, hand_in};
use crate::cli::text::path as shown;
use crate::daemon::SubmitRequest;
use crate::domain::request::{Change, RepeatedPoint, SpecRequest};
use crate::domain::sweep::{Given, alone};

/// An exported record holds a spec, a script and a history.
const RECORD_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run, also a point of a sweep, or a file that `export` wrote; its captured code is used again, wherever that came from, unless --set
    /// code.path=… or another choice of files has it captured anew
    run: String,
    #[command(flatten)]
    changes: ChangeArgs,
    #[command(flatten)]
    pub(super) how: How,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let changes = args.changes.changes(context)?;
    Context::block_on(async {
        let client = Client::connect(context).await?;
        let record = match exported(context, &args.run)? {
            Some(record) => record,
            None => client.get(&format!("{}/export", run_path(&args.run)?)).await?,
        };
        let request = again(record, changes, &args.how)?;
        hand_in(context, &client, &request, &args.how).await
    })
}

/// The record in a file, where a file is meant: a run's name holds no `/` and does not end so.
fn exported(context: &Context, reference: &str) -> Result<Option<RunRecord>, CliError> {
    let is_file =
        reference.contains('/') || Path::new(reference).extension() == Some("json".as_ref());
    if !is_file {
        return Ok(None);
    }
    let file = Path::new(reference);
    let refused = |why: &dyn std::fmt::Display| {
        CliError::new(Exit::Invalid, format!("{} is no exported run: {why}", shown(file)))
            .hint("`trainyard export RUN` prints one")
    };
    let path = context.surroundings.directory.join(file);
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(|error| refused(&error))?;
    opened.take(RECORD_BYTES_MAX).read_to_string(&mut text).map_err(|error| refused(&error))?;
    let record: RunRecord = serde_json::from_str(&text).map_err(|error| refused(&error))?;
    if record.format != RECORD_FORMAT {
        return Err(refused(&format!("its format is `{}`", record.format.escape_debug())));
    }
    Ok(Some(record))
}

/// The request that a record makes, with the changes on top of those it was made with.
fn again(record: RunRecord, changes: Vec<Change>, how: &How) -> Result<SubmitRequest, CliError> {
    let id = record.run.id;
    let Some(mut spec) = record.inputs.request else {
        let message = format!("run {id} was recorded before requests were: it cannot be run again");
        return Err(CliError::new(Exit::Conflict, message)
            .hint("submit its spec: run.toml in its directory"));
    };
    if let (Some(sweep), Some(point)) = (record.run.sweep, record.run.point) {
        let given = Given {
            parameters: record.run.parameters.unwrap_or_default(),
            args: record.resolved.code.args,
            variables: record.resolved.environment.variables,
        };
        spec = of_point(spec, (sweep, point), &given)?;
    }
    let is_of_requirements = |change: &Change| {
        ["environment", "environment.requirements"].contains(&change.key.as_str())
    };
    let other_requirements = changes.iter().any(is_of_requirements);
    let other_code = changes.iter().any(|change| chooses_code(&change.key));
    spec.changes.extend(changes);
    if spec.is_sweep() {
        // The daemon gives a sweep no code of an earlier run.
        return Err(CliError::usage("a rerun is one run, and this would be a sweep")
            .hint("submit its spec with [sweep] instead: that captures its code as it is then"));
    }
    Ok(SubmitRequest {
        spec,
        key: how.key.clone(),
        if_active: how.if_active,
        meant: None,
        code: record.inputs.code.filter(|_| !other_code),
        requirements: record.inputs.requirements.filter(|_| !other_requirements),
        rerun_of: Some(id),
    })
}

/// The request of a point alone, which its sweep's request makes.
fn of_point(
    spec: SpecRequest,
    (sweep, point): (i64, i64),
    given: &Given,
) -> Result<SpecRequest, CliError> {
    let of = u32::try_from(point).ok().map(|point| RepeatedPoint { sweep, point });
    of.and_then(|of| alone(spec, of, given)).ok_or_else(|| {
        let message = format!("the spec of sweep {sweep} does not make point {point} any more");
        CliError::new(Exit::Conflict, message)
            .hint(format!("`trainyard resume {sweep}:{point}` starts it again once it is over"))
    })
}

/// Whether a key says which files are the code.
fn chooses_code(key: &str) -> bool {
    ["code", "code.path", "code.include", "code.exclude", "code.digest"].contains(&key)
}
