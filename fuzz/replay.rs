//! What is stored in `fuzz/corpus`, what fuzzing starts from and what it once found, through the targets' bodies: on any
//! compiler, by the tests of the core and of the daemon.

use std::path::Path;

/// What one target does with bytes.
type Body = fn(&[u8]);

/// Every stored input of each target goes through its body; each target has a corpus, and a file in `fuzz/targets`.
pub fn stored_inputs(targets: &[(&str, Body)]) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, body) in targets {
        let mut inputs = 0;
        for entry in std::fs::read_dir(fuzz.join("corpus").join(name)).unwrap() {
            body(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        eprintln!("{name}: {inputs} inputs");
        assert!(inputs >= 3, "{name} has no corpus");
        assert!(fuzz.join(format!("targets/{name}.rs")).exists(), "{name} has no target");
    }
}
