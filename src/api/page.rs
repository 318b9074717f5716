//! Lists in pages: a bounded `limit` and an opaque cursor.
//!
//! Lists are ordered by id, oldest first; the cursor is the last id of a page, so a page costs the
//! same however far it lies in the list. Lists of what has a name and no id are short, and ordered
//! by name.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use uuid::Uuid;

use super::{input::Parameters, problem::Problem};

/// The items of a page if nothing is asked for.
const LIMIT_DEFAULT: i64 = 50;
/// The most items of a page.
const LIMIT_MAX: i64 = 500;

/// Which page is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest {
    /// 1 to 500.
    limit: i64,
    /// The page begins behind this id.
    pub(super) after: Option<Uuid>,
}

/// Which page of a list by name is asked for.
#[derive(Clone, Debug)]
pub(super) struct NamePageRequest {
    limit: i64,
    after: Option<String>,
}

/// One page.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The cursor of the next page; null: this was the last.
    pub(super) next: Option<String>,
}

impl PageRequest {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let after = parameters.value("cursor", |text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            bytes
                .and_then(|bytes| Uuid::from_slice(&bytes).ok())
                .ok_or_else(|| "this is no cursor; use `next` of the page before".to_owned())
        })?;
        Ok(Self {
            limit: limit_read(parameters)?,
            after,
        })
    }

    /// How many rows to read: one more than the page holds tells whether there is another.
    pub(super) fn rows_max(&self) -> i64 {
        self.limit + 1
    }

    /// Makes the page of up to [`PageRequest::rows_max`] rows.
    pub(super) fn page<T>(&self, mut rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(rows.len());
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| URL_SAFE_NO_PAD.encode(id(row)));
        Page { items: rows, next }
    }
}

impl NamePageRequest {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Problem> {
        let after = parameters.value("cursor", |text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| "this is no cursor; use `next` of the page before".to_owned())
        })?;
        Ok(Self {
            limit: limit_read(parameters)?,
            after,
        })
    }

    /// Makes the page of all rows, which are in the order of their names.
    pub(super) fn page<T>(&self, rows: Vec<T>, name: impl Fn(&T) -> &String) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(rows.len());
        let is_behind = |row: &T| self.after.as_ref().is_none_or(|after| name(row) > after);
        let mut rows: Vec<T> = rows.into_iter().filter(is_behind).take(limit + 1).collect();
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| has_more);
        let next = last.map(|row| URL_SAFE_NO_PAD.encode(name(row)));
        Page { items: rows, next }
    }
}

/// The items of a page that are asked for.
pub(super) fn limit_read(parameters: &Parameters) -> Result<i64, Problem> {
    let limit = parameters.value("limit", |text| {
        let limit = text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit.ok_or_else(|| format!("a number from 1 to {LIMIT_MAX} is expected"))
    })?;
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str) -> Result<PageRequest, Problem> {
        PageRequest::read(&Parameters::read(Some(query), &["limit", "cursor"]).unwrap())
    }

    #[test]
    fn a_cursor_leads_to_the_next_page_and_the_last_has_none() {
        let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let first = request("limit=2").unwrap().page(ids.clone(), |id| *id);
        assert_eq!(first.items, ids[..2]);
        let cursor = first.next.unwrap();
        let second = request(&format!("limit=2&cursor={cursor}")).unwrap();
        assert_eq!(second.after, Some(ids[1]));
        assert_eq!(second.page(ids[2..].to_vec(), |id| *id).next, None);
    }

    #[test]
    fn limits_and_cursors_that_cannot_be_are_refused() {
        for query in [
            "limit=0",
            "limit=501",
            "limit=x",
            "limit=-1",
            "cursor=x",
            "cursor=!",
        ] {
            assert!(request(query).is_err(), "{query}");
        }
        assert_eq!(request("limit=500").unwrap().rows_max(), 501);
    }
}
