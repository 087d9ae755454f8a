//! Lines with dates of many forms, whole and damaged, made from a seed.

use super::oracle::Case;

/// How many cases; more by `PILLORY_DATE_ROUNDS`.
pub fn rounds() -> u64 {
    std::env::var("PILLORY_DATE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Marsaglia's xorshift: the same lines on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn chance(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }
}

/// Stamps to be filled in.
const FORMS: [&str; 46] = [
    "Y-m-dTH:M:S.fz",
    "Y-m-d H:M:S",
    "Y/m/d H:M:S",
    "Y.m.d H:M:S,f",
    "Y-m-d  H:M:S z",
    "Y-m/d H:M:S",
    "Y-m-dTH:M:SZ",
    "b e H:M:S",
    "b d H:M:S",
    "a b d H:M:S Y",
    "a b d H:M:S.f Y",
    "b d Y H:M:S",
    "a b d Y H:M:S.f",
    "b e H:M:S.f",
    "d/m/Y H:M:S",
    "d-m-y H:M:S",
    "d-m-Y H:M:S",
    "d/b/Y:H:M:S z",
    "d-b-Y H:M:S.f",
    "d-b-Y H:M:S z",
    "d/b/Y H:M:S",
    "m/d/Y:H:M:S",
    "m-d-Y H:M:S.f",
    "m-d-Y k:M:S",
    "E",
    "[E]",
    "E.f",
    "audit(E.f:24)",
    "H:M:S",
    "k:M:S",
    "[H:M:S]",
    "<m/d/y@H:M:S>",
    "ymd H:M:S",
    "ymd  H:M:S",
    "b d, Y I:M:S p",
    "b-d-y H:M:S",
    "YmdTHMS",
    "Ymd HMS",
    "Ymd HMS.f z",
    "Q b d H:M:S",
    "z b d H:M:S",
    "z a b d H:M:S Y",
    "@T",
    "B d, Y H:M",
    "LE",
    "Y-m-d",
];
const BEFORE: [&str; 22] = [
    "",
    "",
    "",
    "",
    "",
    "[",
    "<",
    "(",
    "192.0.2.7 - - [",
    "host ",
    "x=",
    "\"",
    "  ",
    "ü ",
    "äöü[",
    "[[",
    "<38>1 ",
    "- ",
    "audit(",
    "2005-",
    "a",
    "\u{a0}",
];
const AFTER: [&str; 24] = [
    "",
    " host sshd[7]: Failed password for root from 192.0.2.7 port 4000",
    "] GET /",
    ": x",
    " x",
    "x",
    "]",
    "> ",
    "é",
    " 2004",
    ".123456",
    " 12:13:14 x",
    " +0200",
    " Z",
    " at 2005-08-01 01:02:03",
    " (Aug 2 03:04:05)",
    "1",
    ",5 x",
    " error: y",
    "_",
    "\u{a0}x",
    " ü",
    " PM",
    "\u{2075}",
];
const MONTHS: [&str; 16] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "AUG", "jul", "Mär",
    "Foo",
];
const DAYS: [&str; 9] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "sun", "Die"];
const ZONES: [&str; 16] = [
    "Z", "UTC", "GMT", "+0000", "+02:00", "-0530", "+14", "-07", "utc", "+0099", "+2500", "CET", "ERROR",
    "z", "+1", "EST",
];

fn stamp(random: &mut Random, form: &str) -> String {
    let mut out = String::new();
    let wild = random.chance(8);
    for c in form.chars() {
        let two = |random: &mut Random, low: usize, high: usize| {
            format!("{:02}", low + random.below(high - low + 1))
        };
        let part = match c {
            'Y' if wild => random.of(&["1999", "2029", "2030", "2099", "0000", "9999", "2000"]).to_owned(),
            'Y' => format!("200{}", 3 + random.below(4)),
            'y' => two(random, 0, 99),
            'm' => two(random, usize::from(!wild), 12 + usize::from(wild)),
            'd' => two(random, usize::from(!wild), 31 + usize::from(wild)),
            'e' => format!("{:2}", 1 + random.below(31)),
            'H' => two(random, 0, 23 + usize::from(wild)),
            'k' => format!("{:2}", random.below(24)),
            'I' => format!("{}", 1 + random.below(12)),
            'M' => two(random, 0, 59 + usize::from(wild)),
            'S' => two(random, 0, 59 + usize::from(wild) * 3),
            'f' => "1234567890"[..1 + random.below(9)].to_owned(),
            'b' => random.of(&MONTHS[..if wild { 16 } else { 12 }]).to_owned(),
            'B' => random.of(&["January", "august", "December"]).to_owned(),
            'a' => random.of(&DAYS[..if wild { 9 } else { 7 }]).to_owned(),
            'z' => random.of(&ZONES[..if wild { 16 } else { 8 }]).to_owned(),
            'Q' => random
                .of(&["PDT", "CET", "UTC", "GMT", "Z", "XYZQ", "host", "cest", "EST", "ABCDEF"])
                .to_owned(),
            'p' => random.of(&["AM", "PM", "am", "pm", "XM"]).to_owned(),
            'E' => {
                (1_124_000_000 + random.below(20_000)).to_string()
                    + if wild { random.of(&["0", "12", "x", ""]) } else { "" }
            }
            'L' => random.of(&["", "123", "123456", "12"]).to_owned(),
            'T' if form.starts_with('@') => format!("4000000{:x}", 0x42ff_0000u64 + 77) + "0000001a9",
            other => other.to_string(),
        };
        out.push_str(&part);
    }
    out
}

/// Takes a character away, doubles it, or puts another one there.
fn damage(random: &mut Random, line: String) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let at = random.below(chars.len());
    match random.below(3) {
        0 if !chars.is_empty() => drop(chars.remove(at)),
        1 if !chars.is_empty() => chars.insert(at, chars[at]),
        _ => {
            let other = random.of(&["0", "9", ":", " ", "-", "/", "x", "Z", "ß", "²", "["]);
            chars.splice(at..at, other.chars());
        }
    }
    chars.into_iter().collect()
}

fn line(random: &mut Random, form: &str) -> String {
    let mut line = if random.chance(70) { String::new() } else { random.of(&BEFORE).to_owned() };
    line += &stamp(random, form);
    line += random.of(&AFTER);
    if random.chance(12) {
        line += " ";
        let other = FORMS[random.below(FORMS.len())];
        line += &stamp(random, other);
    }
    if random.chance(15) { damage(random, line) } else { line }
}

/// A log: runs of lines of a few forms, so that the detector changes its mind.
pub fn case(seed: u64) -> Case {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..4 {
        random.below(2);
    }
    let forms: Vec<&str> = (0..1 + random.below(4)).map(|_| random.of(&FORMS)).collect();
    let any = random.chance(50);
    let mut lines = Vec::new();
    while lines.len() < 60 {
        let form = if any && random.chance(30) { random.of(&FORMS) } else { random.of(&forms) };
        let prefix = if random.chance(15) { random.of(&BEFORE) } else { "" };
        for _ in 0..1 + random.below(5) {
            lines.push(format!("{prefix}{}", line(&mut random, form)));
        }
    }
    let zone = random.of(&["", "", "", "UTC", "CET", "UTC+0100", "-05:30", "EST"]);
    let now = [1_124_013_600, 1_109_631_600, 1_104_534_000, 1_130_630_400, 1_111_890_600][random.below(5)];
    let pattern = random.chance(25).then(|| random.of(&PATTERNS).to_owned());
    Case { pattern, zone: (!zone.is_empty()).then(|| zone.to_owned()), now, lines }
}

/// Patterns that use the language.
const PATTERNS: [&str; 76] = [
    "{^LN-BEG}",
    "{DEFAULT}",
    "{NONE}",
    "{DATE}",
    "^{DATE}",
    "^[^\\[]*\\[({DATE})",
    "{^LN-BEG}{DATE}",
    "{UNB}{DATE}",
    "EPOCH",
    "epoch",
    "^EPOCH",
    "{^LN-BEG}EPOCH",
    "LEPOCH",
    "{^LN-BEG}LEPOCH",
    "^Lepoch",
    "TAI64N",
    "{^LN-BEG}TAI64N",
    "^TAI64N",
    "{EPOCH}",
    "^\\[{EPOCH}\\]",
    "{LEPOCH}",
    "^{LEPOCH} ",
    "audit\\({LEPOCH}",
    "x={epoch}",
    "%Y-%m-%d %H:%M:%S",
    "^%Y-%m-%d %H:%M:%S",
    "{^LN-BEG}%Y-%m-%d %H:%M:%S",
    "**%Y-%m-%d %H:%M:%S**",
    "{UNB}%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S$",
    "(%Y-%m-%d)T(%H:%M:%S)",
    "%b %d %H:%M:%S",
    "^%b %d %k:%M:%S\\s",
    "(?:%a )?%b %d %k:%M:%S(?: %Y)?",
    "%d/%b/%Y[ :]%H:%M:%S(?: %z)?",
    "%d(?P<_s>[-/])%m(?P=_s)%Y %H:%M:%S",
    "%d/%m/%y %H:%M:%S\n%d-%m-%y %H:%M:%S",
    "%H:%M:%S",
    "^%H:%M:%S",
    "%I:%M:%S %p",
    "%b %d, %Y %I:%M:%S %p",
    "%j %H:%M:%S",
    "(?P<Y>\\d{4})-(?P<m>\\d+)-(?P<d>\\d+)",
    "(?P<H>\\d\\d):(?P<M>\\d\\d)",
    "%a %H:%M:%S",
    "%Z %b %d %H:%M:%S",
    "%Exz %b %d %H:%M:%S",
    "%ExZ %b %d %H:%M:%S",
    "%Y%m%d ?%H%M%S",
    "%ExY%Exm%Exd.?%ExH%ExM%ExS",
    "%y%Exm%Exd +%H:%M:%S",
    "%B %d, %Y %H:%M",
    "%A",
    "%c",
    "%x %X",
    "%X",
    "%b",
    "%d",
    "%Y",
    "%m/%d",
    "%m/%d/%Y:%H:%M:%S",
    "%w %H:%M",
    "%Y %U %w",
    "%Y-W%W-%a",
    "(?i)y%Y",
    "\\b%H:%M:%S\\b",
    "%H:%M:%S.%f",
    "%Y-%m-%d|%d/%m/%Y",
    "<%m/%d/%y@%H:%M:%S>",
    "{^LN-BEG}%b-%d-%Exy %H:%M:%S",
    "%Exk:%M:%S %b",
    "^L %d/%m/%Y - %H:%M:%S",
    "^t=%Y-%m-%dT%H:%M:%S%z",
    "^(?:=[^=]+={3,} )?(%ExY(?P<_sep>[-/.])%m(?P=_sep)%d[T ]%H:%M:%S(?:[.,]%f)?(?:\\s*%z)?)",
    "^<co ts=\"{DATE}\"\\s+",
    "%b %d %H:%M:%S\n{DEFAULT}",
];
/// Patterns that fail2ban refuses, or that are of use for nobody but must not surprise.
const ODD: [&str; 24] = [
    "%",
    "%Q",
    "50%",
    "100%%",
    "%Y %Y",
    "%H %k",
    "(",
    ")",
    "[",
    "a**b",
    "%k:%M:%S",
    "%l:%M",
    "(?P<Y>\\d+) %Y",
    "%H:%M:%S\n%H:%M:%S",
    "{1}",
    "x{2}",
    "\\q",
    "(?i)%H(?s)",
    "%Ex",
    "%ExQ",
    "%E",
    "*",
    "{^LN-BEG}^%H:%M:%S",
    "^^%H:%M:%S",
];

/// Every pattern over lines of every form.
pub fn patterns() -> Vec<Case> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let lines: Vec<String> =
        FORMS.iter().flat_map(|form| [stamp(&mut random, form), line(&mut random, form)]).collect();
    let extra = [
        "2005 226 1",
        "2005-W33-Sun x",
        "2005 33 0",
        "y2005",
        "Y2004 x",
        "Sun Aug 14 11:59:58 2005",
        "08/14/05 11:59:58",
        "226 11:59:58",
        "100% x",
        "x{2} 12:13",
        "L 14/08/2005 - 11:59:58: x",
        "t=2005-08-14T11:59:58+0200",
        "x=1124013598",
        "<co ts=\"2005-08-14T11:59:58\" pid",
        "==> 12 === 2005-08-14 11:59:58",
        "x 2005-08-14",
        "Sunday",
        "0 11:59",
        "",
    ];
    let lines: Vec<String> = lines.into_iter().chain(extra.map(str::to_owned)).collect();
    let case = |pattern: &&str| Case {
        pattern: Some((*pattern).to_owned()),
        zone: None,
        now: super::NOW,
        lines: lines.clone(),
    };
    PATTERNS.iter().chain(&ODD).map(case).collect()
}
