//! What fuzzing starts from, and what it once found, goes through the targets' bodies on any compiler.
#![allow(clippy::unwrap_used, reason = "a test stops where one fails")]

#[path = "../../fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

#[test]
fn stored_inputs_of_every_fuzz_target_pass() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in bodies::TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            body(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        eprintln!("{name}: {inputs} inputs");
        assert!(inputs >= 3, "{name} has no corpus");
        assert!(corpus.join(format!("../targets/{name}.rs")).exists(), "{name} has no target");
    }
}
