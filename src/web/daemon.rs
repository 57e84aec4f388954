//! The daemon, about itself.

use axum::Json;
use axum::extract::State;

use crate::api::DaemonStatus;
use crate::web::App;

pub(super) async fn status(State(app): State<App>) -> Json<DaemonStatus> {
    let paths = &app.world.paths;
    Json(DaemonStatus {
        pid: std::process::id(),
        socket: paths.socket.display().to_string(),
        state_dir: paths.state.path().display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    })
}

/// Drains and ends the daemon; runs go on.
pub(super) async fn stop(State(app): State<App>) -> Json<()> {
    app.shutdown.cancel();
    Json(())
}
