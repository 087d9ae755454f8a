//! What leaves the host for people and other machines to see.

pub(crate) mod wall;
