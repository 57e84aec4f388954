//! Waiting for all points of a sweep.

use std::time::Duration;

use crate::api::SweepShown;
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::text::{TerminalText, counted};
use crate::cli::wait::{Patience, StatusLine};
use crate::domain::sweep::SweepView;

/// Follows a sweep until all of its points are over, or until patience ends: then it is given as it was seen last.
pub(in crate::cli) async fn wait_for_sweep(
    context: &Context,
    client: &Client<'_>,
    mut sweep: SweepView,
    patience: Patience,
) -> Result<SweepView, CliError> {
    /// Many points change many times a second: the daemon is not asked as often.
    const PAUSE: Duration = Duration::from_millis(300);
    let line = StatusLine::new(context);
    let id = sweep.id;
    let mut path = format!("/sweeps/{id}");
    loop {
        let status = status(&sweep);
        let told = || (!sweep.is_over()).then(|| status.clone());
        line.show(&tenth(&sweep), status.clone(), told);
        if sweep.is_over() {
            break;
        }
        let look = async {
            let shown = client.get::<SweepShown>(&path).await;
            tokio::time::sleep(PAUSE).await;
            shown
        };
        let Some(shown) = patience.within(look).await else { break };
        let SweepShown { sweep: newer, change } = shown.inspect_err(|_| line.clear())?;
        sweep = newer;
        path = format!("/sweeps/{id}?after={change}{}", patience.query());
    }
    line.clear();
    Ok(sweep)
}

/// `sweep 3 lr: running, 12 of 20 points over`
fn status(sweep: &SweepView) -> String {
    let SweepView { id, state, points, .. } = sweep;
    let over = sweep.over();
    format!("sweep {id} {}: {state}, {over} of {points} points over", TerminalText(&sweep.name))
}

/// Where the line is not live it is told anew for each state, and each tenth of the points.
fn tenth(sweep: &SweepView) -> String {
    format!("{} {}", sweep.state, u64::from(sweep.over()) * 10 / u64::from(sweep.points.max(1)))
}

/// Says how a sweep ended, and what that means for the exit code.
pub(in crate::cli) fn sweep_conclusion(context: &Context, sweep: &SweepView) -> Exit {
    let (id, name, points) = (sweep.id, TerminalText(&sweep.name), sweep.points);
    if !sweep.is_over() {
        let hint = format!("`trainyard wait {id}` waits on, `trainyard sweep cancel {id}` ends it");
        context.error(&format!("sweep {id} `{name}` is not over yet; it goes on"), &[hint]);
        return Exit::TimedOut;
    }
    if sweep.state == "completed" {
        context.say(&format!("sweep {id} `{name}` completed with all of its {points} points"));
        return Exit::Done;
    }
    let hint = format!("`trainyard list --sweep {id} --state failed,cancelled` shows which");
    let states = counted(&sweep.states);
    context.error(&format!("sweep {id} `{name}` did not complete: {states}"), &[hint]);
    Exit::NotCompleted
}
