//! Lanes: the order of one object for one subscription. Of a lane only the first unsettled delivery
//! may be due; whoever settles it releases the next.

pub mod store;
