//! What a run really got where it started, in lines.

use crate::cli::text::TerminalText;
use crate::domain::environment::gpus;
use crate::domain::view::RunView;

/// What the newest attempt that has told really got.
pub(super) fn lines(run: &RunView) -> Vec<(&'static str, String)> {
    let Some(record) = run.newest_environment() else { return Vec::new() };
    let with =
        |what: &str, version: Option<&str>| version.map(|version| format!("{what}{version}"));
    let parts = [
        with("Python ", record.python.as_deref()),
        with("CUDA ", record.cuda()),
        gpus(&record.gpus),
        record.kernel.clone(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.push(("got", parts.join(", ")));
    }
    if let Some(image) = &record.image {
        let identity = record.image_identity.as_ref().map(|identity| format!(" ({identity})"));
        lines.push(("image", format!("{image}{}", identity.unwrap_or_default())));
    }
    let kinds = record.kinds_of_nodes();
    if kinds.len() > 1 {
        let unlike =
            |(what, hosts): (String, Vec<&str>)| ("unlike", format!("{}: {what}", hosts.join(" ")));
        lines.extend(kinds.into_iter().map(unlike));
    }
    let told = record.nodes.len() as u64;
    if let Some(count) = record.node_count.filter(|count| *count > 1 && *count != told) {
        lines.push(("nodes", format!("{told} of {count} told what they are")));
    }
    lines.into_iter().map(|(key, text)| (key, TerminalText(&text).to_string())).collect()
}
