//! What runs took, summed.

use axum::Json;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::Deserialize;

use crate::api::{ErrorCode, LIST_MAX};
use crate::daemon::usage;
use crate::domain::usage::{By, Period, Usage};
use crate::store::Filter;
use crate::web::App;
use crate::web::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct UsageQuery {
    by: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    user: Option<String>,
    project: Option<String>,
}

pub(super) async fn report(
    State(app): State<App>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, ApiError> {
    let word = query.by.as_deref().unwrap_or(By::User.as_str());
    let by = By::from_word(word).ok_or_else(|| {
        let message = format!("usage is not summed by `{}`", word.escape_debug());
        ApiError::new(ErrorCode::BadRequest, message)
            .hint(format!("it is by {}", By::WORDS.join(", ")))
    })?;
    let period = Period { since: query.since, until: query.until };
    let filter = Filter {
        owner: query.user,
        project: query.project,
        ran: Some(period),
        limit: LIST_MAX,
        ..Filter::default()
    };
    Ok(Json(usage(&app.world, by, filter).await?))
}
