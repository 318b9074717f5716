//! `/v1/constraints`: the publishing constraints.

use axum::{
    Json,
    extract::{RawQuery, State},
};

use super::{
    ApiState,
    caller::Caller,
    entries::{Resource, Shown, entries, entry},
    input::{Name, Parameters},
    page::{NamePageRequest, Page},
    problem::Problem,
};
use crate::{
    auth::Action,
    catalog::{edit::Definition, plan::Kind},
    constraint::model::ConstraintSpec,
};

/// The resource.
pub(super) enum Constraints {}

impl Resource for Constraints {
    type Spec = ConstraintSpec;
    const KIND: Kind = Kind::Constraint;
    const PATH: &'static str = "/v1/constraints";

    fn definition(spec: ConstraintSpec) -> Definition {
        Definition::Constraint(spec)
    }
}

/// By name.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Shown>>, Problem> {
    caller.may(Action::ReadCatalogue)?;
    let parameters = Parameters::read(query.as_deref(), &["limit", "cursor"])?;
    let page = NamePageRequest::read(&parameters)?;
    let read = state
        .database
        .run(move |connection| entries(connection, Kind::Constraint));
    Ok(Json(page.page(read.await?, |shown| &shown.name)))
}

pub(super) async fn show(
    caller: Caller,
    Name(name): Name,
    State(state): State<ApiState>,
) -> Result<Json<Shown>, Problem> {
    caller.may(Action::ReadCatalogue)?;
    let read = state
        .database
        .run(move |connection| entry(connection, Kind::Constraint, &name));
    Ok(Json(read.await?))
}
