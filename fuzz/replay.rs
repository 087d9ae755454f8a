//! What is stored in `fuzz/corpus`, what fuzzing starts from and what it once found, through the targets' bodies: on any
//! compiler, by the tests of the core and of the daemon. So is what is invented out of it where there is no fuzzer.

use std::path::Path;
use std::time::{Duration, Instant};

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

/// What the bodies make of inputs that are invented out of the stored ones: on any compiler, without what a fuzzer learns
/// from the branches that were taken, so it finds less than `make fuzz`.
///
/// `PILLORY_FUZZ_SECONDS` says for how long each target, else it is a moment; `PILLORY_SEED` plays a seed again.
#[allow(clippy::disallowed_methods, reason = "how long it goes on is no part of what it finds")]
pub fn invented_inputs(targets: &[(&str, Body)]) {
    let told = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let each = Duration::from_secs_f64(told("PILLORY_FUZZ_SECONDS").unwrap_or(0.1));
    let seed = told("PILLORY_SEED").map_or(1, |seed| seed as u64);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in targets {
        let files = std::fs::read_dir(corpus.join(name)).unwrap();
        let mut paths: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let stored: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let (mut random, began) = (Random(seed), Instant::now());
        let (mut inputs, mut slowest) = (0, Duration::ZERO);
        while began.elapsed() < each {
            let input = random.input(&stored);
            let before = Instant::now();
            let outcome = std::panic::catch_unwind(|| body(&input));
            (inputs, slowest) = (inputs + 1, slowest.max(before.elapsed()));
            if outcome.is_err() || before.elapsed() > Duration::from_secs(10) {
                let path = std::env::temp_dir().join(format!("pillory-fuzz-{name}"));
                std::fs::write(&path, &input).unwrap();
                panic!("{name}: seed {seed}, input {inputs}: {}", path.display());
            }
        }
        let (each, slowest) = (each.as_secs_f64(), slowest.as_secs_f64());
        eprintln!("fuzz: {name}: {inputs} inputs in {each} s, seed {seed}, the slowest took {slowest:.3} s");
        assert!(inputs > 0);
    }
}

/// Numbers as splitmix64 draws them.
struct Random(u64);

impl Random {
    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }

    /// One of the stored inputs, changed at one to eight places.
    fn input(&mut self, stored: &[Vec<u8>]) -> Vec<u8> {
        let mut input = stored[self.below(stored.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            let end = at + self.below((input.len() - at).min(64) + 1);
            match self.below(6) {
                0 => _ = input.get_mut(at).map(|byte| *byte ^= 1 << self.below(8)),
                1 => input.insert(at, self.below(256) as u8),
                2 => input.insert(at, b"\0\n\r\t %\\[](){}<>*+?.-=:,;\"'|0\x7f\x80\xff"[self.below(31)]),
                3 => drop(input.drain(at..end)),
                4 => {
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece);
                }
                _ => {
                    let other = &stored[self.below(stored.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(64) + 1);
                    input.splice(at..end, other[from..to].iter().copied());
                }
            }
        }
        input
    }
}
