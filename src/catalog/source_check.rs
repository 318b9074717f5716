//! In which database an object type's table is, and whether it can be looked at. Pure.

use super::{
    load::Item,
    model::{CaptureMode, DEFAULT_SOURCE, ObjectType, SourceName},
    problem::{Problem, Warning},
    shape::Shapes,
    suggestion::suggestion,
    table_check,
};

/// Adds what is wrong with `item` to `problems`, and what will surprise to `warnings`.
pub(super) fn check(
    item: &Item<ObjectType>,
    shapes: &Shapes,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) {
    let source = &item.spec.source;
    if source.is_default() {
        return table_check::check(item, shapes, problems, warnings);
    }
    let Some(there) = shapes.elsewhere.get(source) else {
        problems.push(unknown(item, shapes));
        return;
    };
    if item.spec.capture == CaptureMode::Defined {
        let message = "`capture = \"defined\"` is for tables of Rowcall's own database";
        let help = "leave it out: of another source every change is written down";
        problems.push(Problem::new(item.places.at("/capture"), message).help(help));
    }
    let Some(why) = &there.unreachable else {
        return table_check::check(item, &there.shapes, problems, warnings);
    };
    let message = format!("the database of the source `{source}` can't be looked at: {why}");
    if there.unchanged.contains(&item.name) {
        warnings.push(Warning {
            place: Some(item.places.at("/source")),
            message: format!("{message}; {} stays as it is", item.name),
        });
        return;
    }
    let help = format!(
        "an object type can be added or changed while its database is there; see {}",
        setting(source)
    );
    problems.push(Problem::new(item.places.at("/source"), message).help(help));
}

/// Where a source is configured.
fn setting(source: &SourceName) -> String {
    format!(
        "[source.{source}] in rowcall.toml, or ROWCALL_SOURCE_{}_URL",
        source.0.to_uppercase()
    )
}

fn unknown(item: &Item<ObjectType>, shapes: &Shapes) -> Problem {
    let source = &item.spec.source;
    let known = shapes.elsewhere.keys().map(|known| known.0.as_str());
    let known: Vec<&str> = known.chain([DEFAULT_SOURCE]).collect();
    let help = format!(
        "{}; say where it is in {}",
        suggestion(&source.0, &known),
        setting(source)
    );
    let message = format!("the source `{source}` is not configured");
    Problem::new(item.places.at("/source"), message).help(help)
}
