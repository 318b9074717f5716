//! Lanes: the order of one object for one subscription. Of a lane only the first unsettled delivery
//! may be due; whoever settles it releases the next. A dead one may hold its lanes: see [`block`].

pub mod block;
pub mod store;
