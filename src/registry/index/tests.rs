use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::*;
use crate::{
    expr::{EventFacts, Expression, Row, Scope, ScopeColumn},
    registry::{filters::Fitting, roster::Roster},
    subscription::model::{State, Subscription},
};

const TYPES: [&str; 2] = ["sales.order.created", "sales.order.updated"];

/// A subscription: what it names, a key, a region that its filter wants. `None` is all of them.
#[derive(Clone, Debug)]
struct Made {
    id: u8,
    event_type: Option<usize>,
    key: Option<u8>,
    region: Option<u8>,
}

/// What is done to the registration list.
#[derive(Clone, Debug)]
enum Edit {
    Put(Made),
    Remove(u8),
}

fn id(id: u8) -> Uuid {
    Uuid::from_u128(id.into())
}

fn scope() -> Scope {
    Scope::rows(vec![ScopeColumn {
        name: "region".to_owned(),
        sql_type: "text".to_owned(),
        hidden: None,
    }])
}

impl Made {
    fn registered(&self) -> Registered {
        let named = match self.event_type {
            Some(at) => format!(r#""event_types": ["{}"]"#, TYPES[at]),
            None => r#""object_types": ["sales.*"]"#.to_owned(),
        };
        let keys = self
            .key
            .map(|key| format!(r#", "object_keys": [{{"id": {key}}}]"#));
        let source = self
            .region
            .map(|region| format!("row.region == 'r{region}'"));
        let filter = source
            .as_ref()
            .map(|source| format!(r#", "filter": "{source}""#));
        let text = format!(
            r#"{{{named}{}{}, "mode": "synchronous",
                "sink": {{"kind": "webhook", "url": "http://127.0.0.1/"}}}}"#,
            keys.unwrap_or_default(),
            filter.unwrap_or_default(),
        );
        let filters = source.map(|source| {
            let filter = Expression::compile(&source, &scope()).unwrap();
            ("sales.order".into(), filter)
        });
        Registered {
            subscription: Subscription {
                id: id(self.id),
                name: self.id.to_string(),
                state: State::Active,
                spec: serde_json::from_str(&text).unwrap(),
                object_key_texts: self.key.iter().map(u8::to_string).collect(),
                owner: None,
                is_operators: false,
            },
            sink: Err("it is judged only".to_owned()),
            schedule: None,
            grouping: None,
            rate: None,
            constraints: Vec::new(),
            digest_constraints: Vec::new(),
            filters: Fitting::new(filters.into_iter().collect()),
        }
    }

    fn wants(&self, event_type: usize, keys: [Option<u8>; 2], region: u8) -> bool {
        self.event_type.is_none_or(|at| at == event_type)
            && self.key.is_none_or(|key| keys.contains(&Some(key)))
            && self.region.is_none_or(|of| of == region)
    }
}

fn made(ids: std::ops::Range<u8>) -> impl Strategy<Value = Made> {
    let maybe = |upto: u8| proptest::option::of(0..upto);
    (ids, proptest::option::of(0..2_usize), maybe(3), maybe(4)).prop_map(
        |(id, event_type, key, region)| Made {
            id,
            event_type,
            key,
            region,
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    let remove = (0..60_u8).prop_map(Edit::Remove);
    prop_oneof![3 => made(0..60).prop_map(Edit::Put), 1 => remove]
}

fn placed<'a>(
    list: impl Iterator<Item = (u32, &'a Arc<Registered>)>,
) -> Vec<(u32, &'a Registered)> {
    list.map(|(place, one)| (place, &**one)).collect()
}

/// The ids of those who are found and whose filters are true.
fn told(
    index: &Index,
    roster: &Roster,
    event_type: usize,
    keys: [Option<u8>; 2],
    region: u8,
) -> Vec<u8> {
    let texts = keys.map(|key| key.map(|key| key.to_string()));
    let row = format!(r#"{{"region":"r{region}"}}"#);
    let row = Row::parse(&row).unwrap();
    let facts = Facts {
        before: None,
        after: Some(&row),
        changed: &[],
        op: "create",
        event: EventFacts {
            id: "1",
            event_type: TYPES[event_type],
            object_type: Some("sales.order"),
            source: "/rowcall/default",
            subject: None,
            time: chrono::DateTime::UNIX_EPOCH,
            data: None,
        },
        subscription: None,
        now: chrono::DateTime::UNIX_EPOCH,
        actor: None,
    };
    let meant = index.meant(Query {
        object_type: Some("sales.order"),
        event_type: TYPES[event_type],
        key: texts[0].as_deref(),
        previous_key: texts[1].as_deref(),
    });
    let mut found = Vec::new();
    meant.find(Some(&facts), &mut found);
    let filter = |one: &Candidate| one.filter.clone();
    let wants = |one: &Candidate| filter(one).is_none_or(|f| f.evaluate(&facts).is_true());
    let told = found.into_iter().filter(|one| wants(one));
    let id = |one: &Candidate| roster[one.place as usize].subscription.id.as_bytes()[15];
    let mut told: Vec<u8> = told.map(id).collect();
    told.sort_unstable();
    told
}

proptest! {
    // What fails is told with its seed, and no file is written.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(100)
    })]

    #[test]
    fn after_edits_everybody_is_found_as_if_all_were_listed_anew(
        first in vec(made(0..40), 0..40),
        edits in vec(vec(edit(), 1..4), 1..12),
    ) {
        // GIVEN a list, and an index over it
        let mut known: BTreeMap<u8, Made> = first.into_iter().map(|one| (one.id, one)).collect();
        let list = known.values().map(|one| Arc::new(one.registered())).collect();
        let (mut roster, mut places) = Roster::new(list);
        let types = TYPES.iter().map(|name| Arc::from(*name)).collect();
        let names = vec![(Some("sales.order".into()), types)];
        let mut index = Index::new(names, &placed(roster.placed()));
        for edits in edits {
            // WHEN some are added, changed and removed
            let mut done: BTreeMap<u8, Option<Registered>> = BTreeMap::new();
            for edit in edits {
                match edit {
                    Edit::Put(one) => {
                        done.insert(one.id, Some(one.registered()));
                        known.insert(one.id, one);
                    }
                    Edit::Remove(one) => {
                        done.insert(one, None);
                        known.remove(&one);
                    }
                }
            }
            let done = done.into_iter().map(|(of, one)| (id(of), one)).collect();
            (roster, places) = roster.edited(&places, done);
            let since = placed(roster.placed_since());
            index = index.with(roster.edited_places(), &since);
            // THEN the list holds what there is, each at its place
            let listed: BTreeSet<Uuid> = roster.iter().map(|one| one.subscription.id).collect();
            prop_assert_eq!(&listed, &known.keys().map(|of| id(*of)).collect());
            for of in 0..60 {
                let place = places.get(&id(of)).copied();
                prop_assert_eq!(place.is_some(), known.contains_key(&of));
                let is_there = |place| roster[place as usize].subscription.id == id(of);
                prop_assert!(place.is_none_or(is_there));
            }
            // AND each event finds those who want it
            for event_type in 0..TYPES.len() {
                for keys in [[None, None], [Some(0), None], [Some(1), Some(2)], [Some(1), Some(1)]] {
                    for region in 0..4 {
                        let wants = |one: &&Made| one.wants(event_type, keys, region);
                        let expected: Vec<u8> =
                            known.values().filter(wants).map(|one| one.id).collect();
                        let told = told(&index, &roster, event_type, keys, region);
                        prop_assert_eq!(told, expected);
                    }
                }
            }
        }
    }
}
