//! The access log of a web server in combined format: a shop and a blog with visitors, and a twentieth of the requests
//! are guesses at WordPress passwords.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::generate::{BEGIN, DAY, Random};

const VISITORS: usize = 50_000;
/// What visitors ask for; `#` is a number.
const PATHS: [&str; 12] = [
    "/",
    "/index.html",
    "/about",
    "/blog/#",
    "/product/#?ref=mail",
    "/api/v1/items/#",
    "/static/css/main.#.css",
    "/static/js/app.#.js",
    "/img/#.webp",
    "/robots.txt",
    "/wp-content/uploads/2026/01/#.jpg",
    "/search?q=item+#",
];
const STATUSES: [&str; 10] = ["200", "200", "200", "200", "200", "200", "200", "301", "304", "404"];
const REFERERS: [&str; 4] = ["-", "-", "https://www.example.com/", "https://example.org/"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "curl/8.10.1",
];

/// Writes the log of one day.
pub fn log(path: &Path, lines: u64, attackers: usize) -> std::io::Result<()> {
    let mut random = Random::new(2);
    let addresses = random.addresses(attackers + VISITORS);
    let (attackers, visitors) = addresses.split_at(attackers);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let (mut last, mut stamp) = (-1, String::new());
    for at in 0..lines {
        let second = BEGIN + i64::try_from(at * DAY / lines).expect("small");
        if second != last {
            last = second;
            let time = Timestamp::from_second(second).expect("a time").to_zoned(TimeZone::UTC);
            stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        let bytes = 200 + random.below(90_000);
        if random.below(20) == 0 {
            let addr = random.skewed(attackers);
            let target = random.pick(&["/wp-login.php", "/wp-login.php", "/xmlrpc.php"]);
            let agent = AGENTS[2];
            writeln!(out, r#"{addr} - - [{stamp}] "POST {target} HTTP/1.1" 200 {bytes} "-" "{agent}""#)?;
        } else {
            let addr = random.skewed(visitors);
            let path = random.pick(&PATHS).replace('#', &random.below(100_000).to_string());
            let (status, referer) = (random.pick(&STATUSES), random.pick(&REFERERS));
            let agent = random.pick(&AGENTS);
            writeln!(
                out,
                r#"{addr} - - [{stamp}] "GET {path} HTTP/1.1" {status} {bytes} "{referer}" "{agent}""#
            )?;
        }
    }
    out.flush()
}
