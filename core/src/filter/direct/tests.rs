//! The direct way compared with the general engine.

use proptest::prelude::*;
use regex_automata::nfa::thompson::{self, NFA, pikevm::PikeVM};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::super::{catalog, failregex};
use super::*;

type Slots = Vec<Option<NonMaxUsize>>;

struct Pair {
    direct: Direct,
    general: PikeVM,
}

impl Pair {
    fn new(expression: &str) -> Option<Pair> {
        let pattern = failregex::translate(expression).unwrap().pattern;
        let hir = syntax::parse_with(&pattern, &syntax::Config::new().unicode(false).utf8(false)).unwrap();
        let config = thompson::Config::new().utf8(false);
        let nfa = NFA::compiler().configure(config).build_from_hir(&hir).unwrap();
        Some(Pair { direct: Direct::compile(&hir)?, general: PikeVM::new_from_nfa(nfa).unwrap() })
    }

    /// What both find; the direct way may give up.
    fn both(&self, text: &[u8]) -> (Option<Option<Slots>>, Option<Slots>) {
        let mut slots: Slots = vec![None; self.general.get_nfa().group_info().slot_len()];
        let found = self.direct.search(&mut Stack::default(), text, &mut slots);
        let direct = found.ok().map(|matched| matched.then(|| slots.clone()));
        let input = Input::new(text).anchored(Anchored::Yes);
        let general = self.general.search_slots(&mut self.general.create_cache(), &input, &mut slots);
        (direct, general.map(|_| slots))
    }
}

#[test]
fn finds_the_groups_of_every_built_in_expression_as_the_general_engine_does() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut compared = 0;
    for name in catalog::names() {
        let spec = catalog::builtin(name).unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
        for expression in spec.failregex.iter().chain(&spec.successregex) {
            let pair = Pair::new(expression).unwrap_or_else(|| panic!("not direct: {expression}"));
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                for cut in [0, 15, 28] {
                    let (direct, general) = pair.both(line.as_bytes().get(cut..).unwrap_or(b""));
                    assert_eq!(direct, Some(general), "{expression}\n{line}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 10_000);
}

#[test]
fn gives_up_instead_of_running_for_ever() {
    let pair = Pair::new("^(?:a|aa)*b").unwrap();
    let (direct, general) = pair.both(&[b'a'; 400]);
    assert_eq!((direct, general), (None, None));
    let (direct, _) = Pair::new("^(?:a?)*b").unwrap().both(b"aac");
    assert_eq!(direct, None);
}

#[test]
fn leaves_what_it_does_not_know() {
    assert!(Pair::new(r"^a\bb").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn agrees_with_the_general_engine(text in "[ab ]{0,12}", expression in prop::sample::select(vec![
        "^(a*)(a|b)+$", "(a+?)b", "^(?:(a)|(b))*$", "(a|ab)(b|)( ?)", "^(.*?) (.*) ", "^(.*) (.*?)$",
        "^([ab]{2,3})(a{1,2})?", "^(?:a(b)?){2,3}", "^(a*?)(a*)b", "^[^b]*(b| )[^a]*$", "^((?:ab)*)(.*) ?$",
        "^(?:([ab])(?: |b))*?(.*)", "b$|^(a)", "^(a??)(a?)(b{0,2}?)(.)",
    ])) {
        let (direct, general) = Pair::new(expression).unwrap().both(text.as_bytes());
        if let Some(direct) = direct {
            prop_assert_eq!(direct, general, "{} on {:?}", expression, text);
        }
    }
}
