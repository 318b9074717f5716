//! One subscription made ready to be judged, for whoever asks about it and sends nothing.

use super::{
    filters::Filters,
    ground::{Scopes, scopes},
    registered::Registered,
};
use crate::{
    catalog::model::Catalog,
    db::{Connection, DbError},
    subscription::model::Subscription,
};

/// The catalogue as it is now, and `subscription` with its filter as publishing would judge it by
/// that. It has neither sink nor schedule nor constraints, and needs no secret; it may be deleted.
///
/// # Errors
///
/// Those of the database.
pub fn registered_alone(
    connection: &mut Connection,
    subscription: Subscription,
) -> Result<(Catalog, Registered), DbError> {
    let catalog = Catalog::load(connection)?;
    let scopes: Scopes = scopes(connection, &catalog)?;
    let registered = Registered {
        filters: Filters::new(&catalog, &scopes)
            .of(&subscription.name, &subscription.spec)
            .fitting,
        constraints: Vec::new(),
        digest_constraints: Vec::new(),
        schedule: None,
        grouping: None,
        rate: None,
        sink: Err("it is judged only".to_owned()),
        subscription,
    };
    Ok((catalog, registered))
}
