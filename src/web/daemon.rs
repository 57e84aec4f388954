//! The daemon, about itself.

use axum::Json;
use axum::extract::State;

use crate::api::{DaemonStatus, SiteStatus};
use crate::web::App;

pub(super) async fn status(State(app): State<App>) -> Json<DaemonStatus> {
    let paths = &app.world.paths;
    let (in_force, news) = (app.world.in_force(), app.world.site_news.borrow().clone());
    let sources = in_force.loaded.sources.0.iter().map(|source| source.name.clone());
    Json(DaemonStatus {
        pid: std::process::id(),
        socket: paths.socket.display().to_string(),
        state_dir: paths.state.path().display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        site: Some(SiteStatus {
            sources: sources.collect(),
            read_at: in_force.read_at,
            trouble: news.trouble.as_ref().map(|trouble| trouble.why.clone()),
            trouble_since: news.trouble.as_ref().map(|trouble| trouble.since),
        }),
    })
}

/// Drains and ends the daemon; runs go on.
pub(super) async fn stop(State(app): State<App>) -> Json<()> {
    app.shutdown.cancel();
    Json(())
}
