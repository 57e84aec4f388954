//! The points of a sweep, for their script: the table of what each is given, and where a point has its files.

use std::fmt;

use crate::domain::ids::RunId;
use crate::domain::run_files::{CODE_OF_POINT, Folders, POINTS_FILE, POINTS_FOLDER};
use crate::domain::word::Word;
use crate::script::shell::{ShellText, VariableName};

/// A point's line of the table, which has the lines of all points in their order, from 0. It ends as every line: what was
/// cut is told by that.
///
/// Four columns with tabs between them: the point's number, its run's, its arguments and those of its variables that vary.
/// The last two are bash, so they are quoted as they are in a script, where nothing spans lines or holds a tab.
pub fn line(point: u32, run: RunId, args: &[Word], variables: &[(String, Word)]) -> String {
    let mut line = format!("{point}\t{run}\t(");
    for (index, arg) in args.iter().enumerate() {
        line.push_str(if index > 0 { " " } else { "" });
        line.push_str(&ShellText(arg).to_string());
    }
    line.push_str(")\t");
    if !variables.is_empty() {
        // An array of the same name would not be exported.
        line.push_str("unset -v");
        line.extend(variables.iter().map(|(name, _)| format!(" {}", VariableName(name))));
        line.push_str("; export");
        let set = |(name, value): &(String, Word)| {
            format!(" {}={}", VariableName(name), ShellText(value))
        };
        line.extend(variables.iter().map(set));
    }
    line.push('\n');
    line
}

/// Where a script finds the files of its run, in its own words.
pub(super) struct Files {
    /// The directory that is there before the run starts.
    pub(super) shared: &'static str,
    /// The same in what srun starts on each node.
    pub(super) shared_in_task: &'static str,
    pub(super) claims: Folder,
    pub(super) exits: Folder,
    pub(super) logs: Folder,
    /// What the record of an attempt's environment is called.
    pub(super) record: &'static str,
    pub(super) record_in_task: &'static str,
    /// The code, from the `work/` of a point.
    pub(super) code: &'static str,
    pub(super) points: &'static str,
    pub(super) points_folder: &'static str,
}

impl Files {
    pub(super) fn of(is_sweep: bool) -> Self {
        let Folders { claims, exits, logs } =
            if is_sweep { Folders::OF_POINT } else { Folders::OF_RUN };
        let pick = |of_point, of_run| if is_sweep { of_point } else { of_run };
        Self {
            shared: pick("$ty_sweep_dir", "$ty_run_dir"),
            shared_in_task: pick("${TRAINYARD_RUN_DIR%/*/*}", "$TRAINYARD_RUN_DIR"),
            claims: Folder(claims),
            exits: Folder(exits),
            logs: Folder(logs),
            record: pick("$ty_point.$ty_attempt", "$ty_attempt"),
            record_in_task: pick("$TRAINYARD_SWEEP_POINT.$TRAINYARD_ATTEMPT", "$TRAINYARD_ATTEMPT"),
            code: CODE_OF_POINT,
            points: POINTS_FILE,
            points_folder: POINTS_FOLDER,
        }
    }
}

/// What stands between a run's directory and a file.
pub(super) struct Folder(&'static str);

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "/{}", self.0) }
    }
}
