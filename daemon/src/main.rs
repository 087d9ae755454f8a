#![allow(dead_code, missing_docs, unreachable_pub)]

mod clock;
mod sources;

fn main() {}
