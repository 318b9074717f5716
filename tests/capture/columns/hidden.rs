//! `exclude` and `mask`, with columns of every type.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    rows_of,
    values::{KINDS, TYPES},
};
use crate::reading::ByHand;

#[tokio::test]
async fn of_every_type_an_excluded_column_is_absent_and_a_masked_one_is_stars() {
    // GIVEN a third of the columns excluded, a third masked, a third carried
    let columns: Vec<String> = KINDS
        .iter()
        .enumerate()
        .map(|(number, kind)| format!("\"c {number}\" {}", kind.name))
        .collect();
    let named = |rest: usize| {
        let names = (0..KINDS.len()).filter(|number| number % 3 == rest);
        names
            .map(|number| format!("c {number}"))
            .collect::<Vec<_>>()
    };
    let more = format!("exclude = {:?}\nmask = {:?}", named(0), named(1));
    let app = rows_of(&columns, TYPES, &more).await;
    // WHEN rows of values and of nulls are written, changed and deleted
    let values: Vec<String> = KINDS
        .iter()
        .map(|kind| format!("({})::{}", kind.values[0], kind.name))
        .collect();
    app.sql(&format!(
        "insert into rows select 1, {}; insert into rows (id) values (2); \
         update rows set id = id + 10; delete from rows",
        values.join(", ")
    ));
    // THEN
    let mut hand = ByHand::new(&app, 100);
    hand.read_all();
    let ops: String = hand
        .changes
        .iter()
        .map(|change| change.op.as_str())
        .collect();
    assert_eq!(ops, "ccuudd");
    let carried: BTreeSet<String> = [vec!["id".to_owned()], named(1), named(2)]
        .concat()
        .into_iter()
        .collect();
    for change in &hand.changes {
        for image in [&change.before, &change.after].into_iter().flatten() {
            let image: Value = serde_json::from_str(image).unwrap();
            let names: BTreeSet<String> = image.as_object().unwrap().keys().cloned().collect();
            assert_eq!(names, carried);
            for name in named(1) {
                assert_eq!(image[&name], json!("***"));
            }
            let is_full = image["id"].as_i64().unwrap() % 10 == 1;
            for name in named(2) {
                assert_eq!(image[&name].is_null(), !is_full, "{name}: {image}");
            }
        }
    }
}
