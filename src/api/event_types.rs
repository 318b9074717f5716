//! `/v1/event-types`: the standard event types, those that are written down, and the JSON Schema
//! of each one's data.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    ApiState,
    caller::Caller,
    entries::{Resource, Shown, entries, entry, standard_problem},
    fields::list_is_empty,
    input::{Fields, Name, Parameters},
    page::{NamePageRequest, Page},
    problem::Problem,
};
use crate::{
    auth::Action,
    capture::install::reconcile,
    catalog::{
        data_schema::{data_schema, gap_schema, truncate_schema},
        edit::{Definition, EditError},
        model::{Catalog, EventType, GAP_EVENT_TYPE, ObjectType, Operation, Verb},
        operations::{operational_description, operational_schema},
        plan::Kind,
        shape::shapes_of,
    },
    config::Limits,
    db::Connection,
    subscription::register::SpecProblem,
};

/// The resource.
pub(super) enum EventTypes {}

impl Resource for EventTypes {
    type Spec = EventType;
    const KIND: Kind = Kind::EventType;
    const PATH: &'static str = "/v1/event-types";

    fn definition(spec: EventType) -> Definition {
        Definition::EventType(spec)
    }

    fn fields_check(fields: &Fields) -> Option<SpecProblem> {
        list_is_empty(fields, "on").then(|| {
            let text = "name at least one of `create`, `update` and `delete`, or leave `on` out \
                        for all three";
            SpecProblem::new("/on", text)
        })
    }

    /// What is captured of an object type may depend on its event types; a change that is made
    /// after the answer must be captured by those that were answered for.
    fn settle(
        connection: &mut Connection,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<(), Problem> {
        let catalog = Catalog::load(connection)?;
        let mut object_types = catalog.object_types.values();
        if object_types.all(ObjectType::captures_all) {
            return Ok(());
        }
        Ok(reconcile(
            connection,
            &catalog,
            limits.value_bytes_max,
            now,
        )?)
    }

    fn name_check(connection: &mut Connection, name: &str) -> Result<(), Problem> {
        if standard(&Catalog::load(connection)?, name).is_some() {
            return Err(standard_problem(name));
        }
        Ok(())
    }
}

/// A standard event type as it is shown; `None` if `name` is none.
fn standard(catalog: &Catalog, name: &str) -> Option<Shown> {
    let spec = if name == GAP_EVENT_TYPE {
        json!({"description": "A change that could not be captured whole"})
    } else if let Some(description) = operational_description(name) {
        json!({ "description": description })
    } else {
        let (object_type, verb) = catalog.standard_event(name)?;
        match (operation(verb), verb) {
            (Some(operation), _) => json!({"object_type": object_type, "on": [operation.as_str()]}),
            (None, Verb::Existed) => json!({"object_type": object_type, "description":
                "A row that was there when a subscription began with `existing`"}),
            (None, _) => json!({"object_type": object_type, "on": ["truncate"]}),
        }
    };
    Some(Shown::standard(name.to_owned(), spec))
}

/// The operation that a standard event is found in; `None`: it is done to the table, or told of a
/// row that is there.
fn operation(verb: Verb) -> Option<Operation> {
    match verb {
        Verb::Created => Some(Operation::Create),
        Verb::Updated => Some(Operation::Update),
        Verb::Deleted => Some(Operation::Delete),
        Verb::Truncated | Verb::Existed => None,
    }
}

/// By name, the standard ones among the others.
pub(super) async fn list(
    caller: Caller,
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Shown>>, Problem> {
    caller.may(Action::ReadCatalogue)?;
    let parameters = Parameters::read(query.as_deref(), &["limit", "cursor"])?;
    let page = NamePageRequest::read(&parameters)?;
    let read = state.database.transaction(move |connection| {
        let catalog = Catalog::load(connection)?;
        let names = catalog.event_types();
        let mut shown: Vec<Shown> = names.filter_map(|name| standard(&catalog, &name)).collect();
        shown.extend(entries(connection, Kind::EventType)?);
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        Ok::<_, Problem>(shown)
    });
    Ok(Json(page.page(read.await?, |shown| &shown.name)))
}

pub(super) async fn show(
    caller: Caller,
    Name(name): Name,
    State(state): State<ApiState>,
) -> Result<Json<Shown>, Problem> {
    caller.may(Action::ReadCatalogue)?;
    let read = state.database.transaction(move |connection| {
        match standard(&Catalog::load(connection)?, &name) {
            Some(shown) => Ok(shown),
            None => entry(connection, Kind::EventType, &name),
        }
    });
    Ok(Json(read.await?))
}

/// The JSON Schema of the events' `data`.
pub(super) async fn schema(
    caller: Caller,
    Name(name): Name,
    State(state): State<ApiState>,
) -> Result<Response, Problem> {
    caller.may(Action::ReadCatalogue)?;
    let read = state
        .database
        .transaction(move |connection| schema_of(connection, &name));
    let schema = read.await?;
    Ok((
        [(header::CONTENT_TYPE, "application/schema+json")],
        schema.to_string(),
    )
        .into_response())
}

fn schema_of(connection: &mut Connection, name: &str) -> Result<Value, Problem> {
    if let Some(schema) = operational_schema(name) {
        return Ok(schema);
    }
    let catalog = Catalog::load(connection)?;
    let kind = Kind::EventType;
    let absent = || {
        let name = name.to_owned();
        Problem::from(EditError::Absent { kind, name })
    };
    let (object_type, operations) = match (catalog.standard_event(name), name) {
        (_, GAP_EVENT_TYPE) => return Ok(gap_schema()),
        (Some((object_type, Verb::Truncated)), _) => return Ok(truncate_schema(name, object_type)),
        (Some((object_type, verb)), _) => (object_type, operation(verb).into_iter().collect()),
        (None, _) => {
            let event_type = catalog.event_types.get(name).ok_or_else(absent)?;
            match (&event_type.object_type, &event_type.schema) {
                (Some(object_type), _) => (object_type.as_str(), event_type.operations().to_vec()),
                (None, Some(schema)) => return Ok(schema.clone()),
                (None, None) => return Err(absent()),
            }
        }
    };
    let spec = catalog.object_types.get(object_type).ok_or_else(absent)?;
    let shapes = shapes_of(connection, [spec])?;
    let columns = shapes.table(spec).map(|shape| shape.columns.as_slice());
    let columns = columns.unwrap_or_default();
    if operations.is_empty() {
        // A row that is there looks like one that was created.
        let mut schema = data_schema(name, object_type, spec, columns, &[Operation::Create]);
        schema["properties"]["op"] = json!({"enum": ["snapshot"]});
        return Ok(schema);
    }
    Ok(data_schema(name, object_type, spec, columns, &operations))
}
