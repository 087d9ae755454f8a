//! What fuzzing starts from, and what it once found, goes through the bodies of the core's targets.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where one fails")]

#[path = "../../fuzz/bodies.rs"]
mod bodies;
#[path = "../../fuzz/replay.rs"]
mod replay;

#[test]
fn stored_inputs_of_every_fuzz_target_pass() {
    replay::stored_inputs(&bodies::TARGETS);
}

#[test]
fn invented_inputs_of_every_fuzz_target_pass() {
    replay::invented_inputs(&bodies::TARGETS);
}
