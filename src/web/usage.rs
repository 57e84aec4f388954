//! What runs took, summed.

use axum::Json;
use axum::extract::{Query, State};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::api::{ErrorCode, LIST_MAX};
use crate::daemon::{CompareError, compare_accounts, usage};
use crate::domain::usage::{By, Compared, Period, Usage};
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
    Ok(Json(usage(&app.world, by, query.filter()).await?))
}

pub(super) async fn compared(
    State(app): State<App>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Compared>, ApiError> {
    /// Accounting is not asked about all that ever was, unless somebody says since when.
    const SINCE: SignedDuration = SignedDuration::from_hours(30 * 24);
    let month = || app.world.clock.now().saturating_sub(SINCE).ok();
    let query = UsageQuery { since: query.since.or_else(month), ..query };
    match compare_accounts(&app.world, query.filter()).await {
        Ok(compared) => Ok(Json(compared)),
        Err(CompareError::Store(error)) => Err(error.into()),
        Err(silent @ CompareError::Silent(_)) => {
            Err(ApiError::new(ErrorCode::SlurmUnreachable, silent.to_string()))
        }
        Err(busy @ CompareError::Busy) => Err(ApiError::new(ErrorCode::Conflict, busy.to_string())),
        Err(many @ CompareError::TooMany) => {
            Err(ApiError::new(ErrorCode::BadRequest, many.to_string()))
        }
    }
}

impl UsageQuery {
    fn filter(self) -> Filter {
        Filter {
            owner: self.user,
            project: self.project,
            ran: Some(Period { since: self.since, until: self.until }),
            limit: LIST_MAX,
            ..Filter::default()
        }
    }
}
