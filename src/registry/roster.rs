//! The subscriptions in memory, each at a place that it keeps.
//!
//! As the index it is made of two parts: all subscriptions as they were once, which clones share,
//! and what was edited since. When that is much, all are listed anew.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Index,
    sync::Arc,
};

use uuid::Uuid;

use super::registered::Registered;

/// So many edits are kept apart from the whole.
const EDITED_MAX: usize = 1_000;

/// All subscriptions that are not deleted and can be read, by place: oldest first.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    whole: Arc<Vec<Arc<Registered>>>,
    /// Edited or added, by place.
    since: BTreeMap<u32, Arc<Registered>>,
    /// Places in `whole` or `since` of what was deleted.
    gone: HashSet<u32>,
}

/// The places of subscriptions by their ids.
#[derive(Clone, Debug, Default)]
pub struct Places {
    whole: Arc<HashMap<Uuid, u32>>,
    added: HashMap<Uuid, u32>,
    gone: HashSet<Uuid>,
}

impl Roster {
    pub(super) fn new(list: Vec<Arc<Registered>>) -> (Self, Places) {
        let ids = list.iter().map(|registered| registered.subscription.id);
        let places = Places {
            whole: Arc::new(ids.zip(0..).collect()),
            ..Places::default()
        };
        let roster = Self {
            whole: Arc::new(list),
            ..Self::default()
        };
        (roster, places)
    }

    /// After these edits: each subscription as it is now, or none if it is there no more.
    pub(super) fn edited(
        &self,
        places: &Places,
        edits: Vec<(Uuid, Option<Registered>)>,
    ) -> (Self, Places) {
        let (mut roster, mut places) = (self.clone(), places.clone());
        for (id, registered) in edits {
            let known = places.get(&id).copied();
            match (known, registered) {
                (known, Some(registered)) => {
                    let place = known.unwrap_or_else(|| roster.end());
                    roster.since.insert(place, Arc::new(registered));
                    if known.is_none() {
                        places.added.insert(id, place);
                        places.gone.remove(&id);
                    }
                }
                (Some(place), None) => {
                    roster.gone.insert(place);
                    places.added.remove(&id);
                    places.gone.insert(id);
                }
                (None, None) => {}
            }
        }
        (roster, places)
    }

    /// Whether so much was edited that it is better listed anew.
    pub(super) fn is_worn(&self) -> bool {
        self.since.len() + self.gone.len() > EDITED_MAX
    }

    /// In the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.placed().map(|(_, registered)| registered)
    }

    /// The same with their places.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u32, &Arc<Registered>)> {
        let places = (0..self.end()).filter(|place| !self.gone.contains(place));
        places.map(|place| (place, &self[place as usize]))
    }

    /// What was edited and is still there, with its places.
    pub(super) fn placed_since(&self) -> impl Iterator<Item = (u32, &Arc<Registered>)> {
        let since = self.since.iter().map(|(place, one)| (*place, one));
        since.filter(|(place, _)| !self.gone.contains(place))
    }

    /// The places that do not hold what they held at first.
    pub(super) fn edited_places(&self) -> HashSet<u32> {
        self.since.keys().chain(&self.gone).copied().collect()
    }

    /// The place behind the last.
    fn end(&self) -> u32 {
        let added = self.since.last_key_value().map_or(0, |(last, _)| last + 1);
        added.max(u32::try_from(self.whole.len()).unwrap_or(u32::MAX))
    }
}

impl Index<usize> for Roster {
    type Output = Arc<Registered>;

    fn index(&self, place: usize) -> &Arc<Registered> {
        let since = u32::try_from(place).ok();
        let since = since.and_then(|place| self.since.get(&place));
        since.unwrap_or_else(|| &self.whole[place])
    }
}

impl Places {
    /// The place of the subscription with this id.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<&u32> {
        let place = self.added.get(id).or_else(|| self.whole.get(id));
        place.filter(|_| !self.gone.contains(id))
    }
}
