//! Roles and what each may do.

use std::fmt;

use clap::ValueEnum;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    Admin,
    /// Publishes objects and events, and sees events.
    Publisher,
    /// Its own subscriptions and the events that are owed to them.
    Subscriber,
    /// Sees everything and changes nothing.
    Viewer,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lists or shows subscriptions.
    ReadSubscriptions,
    /// Registers, changes or removes subscriptions.
    WriteSubscriptions,
    /// Lists or shows events and their deliveries.
    ReadEvents,
    /// Submits events that no row tells of.
    SubmitEvents,
    /// Lists or shows event types and constraints.
    ReadCatalogue,
    /// Makes, changes or removes event types and constraints.
    WriteCatalogue,
}

/// How far an action may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All there is.
    All,
    /// What the key itself registered, and what is owed to that.
    Own,
}

impl Role {
    /// All roles, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Publisher, Self::Subscriber, Self::Viewer];

    /// As the repository keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
            Self::Viewer => "viewer",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// How far this role may go with `action`; `None`: not at all.
    #[must_use]
    pub fn reach(self, action: Action) -> Option<Reach> {
        use Action::{
            ReadCatalogue, ReadEvents, ReadSubscriptions, SubmitEvents, WriteCatalogue,
            WriteSubscriptions,
        };
        match (self, action) {
            (Self::Admin, _) | (_, ReadCatalogue) => Some(Reach::All),
            (_, WriteCatalogue) => None,
            (Self::Publisher, ReadEvents | SubmitEvents) => Some(Reach::All),
            (Self::Publisher, ReadSubscriptions | WriteSubscriptions) => None,
            (Self::Subscriber | Self::Viewer, SubmitEvents) => None,
            (Self::Subscriber, _) => Some(Reach::Own),
            (Self::Viewer, ReadSubscriptions | ReadEvents) => Some(Reach::All),
            (Self::Viewer, WriteSubscriptions) => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Action {
    /// The roles that may do it, for a message: `admin or subscriber`.
    #[must_use]
    pub fn roles_text(self) -> String {
        let able = Role::ALL
            .into_iter()
            .filter(|role| role.reach(self).is_some());
        able.map(Role::as_str).collect::<Vec<_>>().join(" or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_roles() {
        use Action::{
            ReadCatalogue, ReadEvents, ReadSubscriptions, SubmitEvents, WriteCatalogue,
            WriteSubscriptions,
        };
        const ALL: Option<Reach> = Some(Reach::All);
        const OWN: Option<Reach> = Some(Reach::Own);
        for (role, read, write, events, submit) in [
            (Role::Admin, ALL, ALL, ALL, ALL),
            (Role::Publisher, None, None, ALL, ALL),
            (Role::Subscriber, OWN, OWN, OWN, None),
            (Role::Viewer, ALL, None, ALL, None),
        ] {
            assert_eq!(role.reach(ReadSubscriptions), read, "{role}");
            assert_eq!(role.reach(WriteSubscriptions), write, "{role}");
            assert_eq!(role.reach(ReadEvents), events, "{role}");
            assert_eq!(role.reach(SubmitEvents), submit, "{role}");
            assert_eq!(role.reach(ReadCatalogue), ALL, "{role}");
            let is_admin = role == Role::Admin;
            assert_eq!(role.reach(WriteCatalogue).is_some(), is_admin, "{role}");
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(WriteSubscriptions.roles_text(), "admin or subscriber");
    }
}
