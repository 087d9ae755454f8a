//! What leaves the host for people and other machines to see. The wall is made of what the store keeps; feeds of the wall.

pub(crate) mod feed;
pub(crate) mod metrics;
pub(crate) mod publisher;
pub(crate) mod wall;
