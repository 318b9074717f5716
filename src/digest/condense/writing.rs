//! Writes the parts of a digest: all of it, or one group after the other.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use chrono::{DateTime, Utc};

use super::{
    effect::Fold,
    envelope::{Envelope, Group, Heading},
    groups::Groups,
    members::{Share, group_count},
    modes::{self, Folded},
    output::Output,
    parts::Room,
    store::ClosedRow,
    wanted::with_facts,
};
use crate::{
    config::Limits,
    db::{Connection, QueryError},
    digest::grouping::{Grouping, NULL},
    registry::registered::Registered,
    subscription::model::Condense,
};

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) parts: u32,
    /// Events that the parts tell of.
    pub(super) events: i64,
}

/// A digest that is being written.
pub(super) struct Writing<'a> {
    pub(super) digest: &'a ClosedRow,
    pub(super) registered: &'a Registered,
    pub(super) limits: &'a Limits,
    pub(super) is_wanted: &'a dyn Fn(&Registered, &Fold<'_>) -> bool,
    pub(super) now: DateTime<Utc>,
}

/// Parts that have a heading in common, behind those that are written.
#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    group: Option<Group<'a>>,
    count: i64,
    /// It is told even if it has nothing.
    is_told_empty: bool,
}

impl Writing<'_> {
    /// Writes all parts.
    pub(super) fn write(&self, connection: &mut Connection) -> Result<Told, QueryError> {
        let id = self.digest.id;
        match (&self.registered.grouping, self.mode()) {
            (None, mode) => {
                let all = Section {
                    group: None,
                    count: self.digest.events,
                    is_told_empty: self.tells_empty(),
                };
                self.section(
                    connection,
                    Told::default(),
                    all,
                    |connection, room, output| {
                        if mode != Condense::NetEffect {
                            return self.list(connection, &Share::All, room, output);
                        }
                        let folded = modes::fold(connection, id)?;
                        let all = folded.places();
                        modes::effects(connection, &folded, &all, room, output, &|fold| {
                            (self.is_wanted)(self.registered, fold)
                        })
                    },
                )
            }
            (Some(grouping), Condense::NetEffect) => self.grouped_effects(connection, grouping),
            (Some(_), Condense::Keys | Condense::None) => self.grouped_lists(connection),
        }
    }

    fn mode(&self) -> Condense {
        let spec = &self.registered.subscription.spec;
        spec.condense.unwrap_or_default()
    }

    fn tells_empty(&self) -> bool {
        let schedule = self.registered.schedule.as_ref();
        self.digest.closed_by == "schedule"
            && schedule.is_some_and(|schedule| schedule.sends_empty())
    }

    /// Each group with the members that were judged to be in it.
    fn grouped_lists(&self, connection: &mut Connection) -> Result<Told, QueryError> {
        let groups_max = self.limits.digest_groups_max;
        let counted = group_count(connection, self.digest.id, groups_max)?;
        let groups = Groups::largest(counted, groups_max, self.digest.events);
        let mut told = Told::default();
        for (name, count) in &groups.named {
            let section = named(name, *count);
            told = self.section(connection, told, section, |connection, room, output| {
                self.list(connection, &Share::Group(name), room, output)
            })?;
        }
        if let Some(count) = groups.rest {
            let kept: Vec<&str> = groups.named.iter().map(|(name, _)| name.as_str()).collect();
            told = self.section(connection, told, rest(count), |connection, room, output| {
                self.list(connection, &Share::Rest(&kept), room, output)
            })?;
        }
        self.or_empty(connection, told)
    }

    /// Each group with the objects whose net effect is in it. A first pass over the bodies judges
    /// them, and a second one writes them.
    fn grouped_effects(
        &self,
        connection: &mut Connection,
        grouping: &Grouping,
    ) -> Result<Told, QueryError> {
        let folded = modes::fold(connection, self.digest.id)?;
        let is_wanted = |fold: &Fold<'_>| (self.is_wanted)(self.registered, fold);
        let judged = self.judge(connection, &folded, grouping)?;
        let total = judged.counted.iter().map(|(_, events)| events).sum();
        let groups_max = self.limits.digest_groups_max;
        let groups = Groups::largest(judged.counted.clone(), groups_max, total);
        let mut places: HashMap<Option<&str>, Vec<usize>> = HashMap::new();
        let kept: HashSet<&str> = groups.named.iter().map(|(name, _)| &**name).collect();
        for (place, group) in &judged.objects {
            let name = judged.counted[*group].0.as_str();
            let name = kept.contains(name).then_some(name);
            places.entry(name).or_default().push(*place);
        }
        let named = groups
            .named
            .iter()
            .map(|(name, count)| (Some(&**name), named(name, *count)));
        let rest = groups.rest.map(|count| (None, rest(count)));
        let mut told = Told::default();
        for (name, section) in named.chain(rest) {
            let of_group = places.remove(&name).unwrap_or_default();
            told = self.section(connection, told, section, |connection, room, output| {
                modes::effects(connection, &folded, &of_group, room, output, &is_wanted)
            })?;
        }
        self.or_empty(connection, told)
    }

    fn judge(
        &self,
        connection: &mut Connection,
        folded: &Folded,
        grouping: &Grouping,
    ) -> Result<Judged, QueryError> {
        let mut judged = Judged::default();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        // What no fold is judged for, a gap for instance, is in the group of null.
        let group = RefCell::new(NULL.to_owned());
        let is_wanted = |fold: &Fold<'_>| {
            let is_wanted = (self.is_wanted)(self.registered, fold);
            if is_wanted {
                let of = with_facts(fold, self.now, |facts| {
                    grouping.of(Some(fold.object_type), facts)
                });
                group.replace(of);
            }
            is_wanted
        };
        let all = folded.places();
        modes::each_effect(connection, folded, &all, &is_wanted, |_, place, _| {
            let name = group.replace(NULL.to_owned());
            let number = *numbers.entry(name).or_insert_with_key(|name| {
                judged.counted.push((name.clone(), 0));
                judged.counted.len() - 1
            });
            judged.counted[number].1 += folded.count(place);
            judged.objects.push((place, number));
            Ok(())
        })?;
        Ok(judged)
    }

    /// A window that is told though it has nothing has one part, of no group.
    fn or_empty(&self, connection: &mut Connection, told: Told) -> Result<Told, QueryError> {
        if told.parts > 0 || !self.tells_empty() {
            return Ok(told);
        }
        let empty = Section {
            is_told_empty: true,
            ..named(NULL, 0)
        };
        self.section(connection, told, empty, |_, _, _| Ok(0))
    }

    fn list(
        &self,
        connection: &mut Connection,
        share: &Share<'_>,
        room: Room,
        output: &mut Output<'_>,
    ) -> Result<i64, QueryError> {
        match self.mode() {
            Condense::None => modes::items(connection, self.digest.id, share, room, output),
            _ => modes::keys(connection, self.digest.id, share, room, output),
        }
    }

    /// Writes what `tell` tells behind `before`, and returns what there is in all.
    fn section(
        &self,
        connection: &mut Connection,
        before: Told,
        section: Section<'_>,
        tell: impl FnOnce(&mut Connection, Room, &mut Output<'_>) -> Result<i64, QueryError>,
    ) -> Result<Told, QueryError> {
        let envelope = Envelope::of(&Heading {
            id: self.digest.id,
            subscription: &self.registered.subscription.name,
            from: self.digest.opened_at,
            to: self.digest.closed_at,
            count: section.count,
            condense: self.mode(),
            group: section.group,
            parts_before: before.parts,
        });
        let room = Room {
            bytes: self
                .limits
                .digest_part_bytes_max
                .saturating_sub(envelope.bytes_max()),
            items: self.limits.digest_part_items_max,
        };
        let mut output = Output::new(self.digest.id, &envelope);
        let events = tell(connection, room, &mut output)?;
        if output.is_empty() && section.is_told_empty {
            output.put(connection, String::new())?;
        }
        Ok(Told {
            parts: before.parts + output.finish(connection)?,
            events: before.events + events,
        })
    }
}

/// The groups of objects that are told, and how many events each has.
#[derive(Default)]
struct Judged {
    counted: Vec<(String, i64)>,
    /// Of each object its place among the folded ones, and that of its group in `counted`.
    objects: Vec<(usize, usize)>,
}

fn named(name: &str, count: i64) -> Section<'_> {
    Section {
        group: Some(Group::Named(name)),
        count,
        is_told_empty: false,
    }
}

fn rest(count: i64) -> Section<'static> {
    Section {
        group: Some(Group::Rest),
        count,
        is_told_empty: false,
    }
}
