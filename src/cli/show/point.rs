//! Which point of which sweep a run is.

use crate::cli::text::{TerminalText, spelled};
use crate::domain::view::RunView;

/// Which point of which sweep it is, and what sets it apart.
pub(super) fn lines(run: &RunView) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let (Some(sweep), Some(point)) = (run.sweep, run.point) {
        lines.push(("sweep", format!("{sweep}, point {point}")));
    }
    let parameters = run.parameters.as_ref().and_then(serde_json::Value::as_object);
    for (key, value) in parameters.into_iter().flatten() {
        lines.push(("parameter", format!("{} = {}", TerminalText(key), spelled(value))));
    }
    lines
}

/// Which run it repeats, and as which point.
pub(super) fn repeated(run: &RunView) -> Option<(&'static str, String)> {
    let point = run.rerun_of_point.as_ref();
    let point = point.map(|point| format!(", point {}", TerminalText(point)));
    Some(("repeats", format!("run {}{}", run.rerun_of?, point.unwrap_or_default())))
}
