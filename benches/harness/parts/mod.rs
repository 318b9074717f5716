//! What is measured, one file a part. A part measures once when it is called, and panics if
//! anything is lost.

pub(crate) mod backlog;
pub(crate) mod digest;
pub(crate) mod drain;
pub(crate) mod events;
pub(crate) mod fan_out;
pub(crate) mod idle;
pub(crate) mod instances;
pub(crate) mod latency;

use crate::bed::Bed;

/// A catalogue with the one table that is captured.
pub(crate) const CATALOGUE: &str = "[namespace.bench]\n[object_type.\"bench.row\"]\n\
     table = \"public.captured\"\nkey = [\"id\"]\n";

/// A subscription of everything for the receiver of this number.
pub(crate) fn subscription(bed: &Bed, place: usize, mode: &str) -> String {
    let url = bed.inbox.url(place);
    format!(
        "[subscription.receiver-{place}]\nobject_types = [\"bench.row\"]\nmode = \"{mode}\"\n\
         sink = {{ kind = \"webhook\", url = \"{url}\" }}\n"
    )
}

/// The catalogue with so many synchronous subscriptions.
pub(crate) fn synchronous(bed: &Bed, receivers: usize) -> String {
    let subscriptions = (0..receivers).map(|place| subscription(bed, place, "synchronous"));
    CATALOGUE.to_owned() + &subscriptions.collect::<String>()
}
