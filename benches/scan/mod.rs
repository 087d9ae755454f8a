//! A year of logs: `pillory scan` and what else reads such files, side by side on the same bytes.

pub mod programs;

use std::time::Duration;

use crate::grid::Grid;
use crate::inputs::Input;
use crate::process::Ran;
use crate::table::{Spread, Table, digits};

use programs::{Found, Program, Reader};

const LINES: u64 = 1_000_000;
const REQUESTS: u64 = 2_000_000;
const RECORDS: u64 = 5_000_000;
const HEAD: [&str; 8] =
    ["program", "records", "runs", "CPU s", "wall s", "CPU s a million", "times `wc -l`", "found"];

/// What a program took, medians of its runs.
struct Figures {
    cpu: f64,
    wall: f64,
    millions: f64,
    found: u64,
}

impl Figures {
    fn cpu_a_million(&self) -> f64 {
        self.cpu / self.millions
    }
}

/// CPU and wall time of each program on each input, and what it found.
pub fn measure(table: &mut Table) {
    auth(table);
    access(table);
    btmp(table);
}

fn auth(table: &mut Table) {
    let all = compare(table, "1M lines of auth.log", Input::Auth, LINES);
    let of = |reader| all.iter().find(|(known, _)| *known == reader).map(|(_, figures)| figures);
    let (wc, scan) = (of(Reader::Wc).expect("wc"), of(Reader::Scan).expect("scan"));
    let ours = scan.cpu_a_million();
    table.promise("1M lines of auth.log, built-in sshd filter: CPU", ours, (0.3, 0.15), "s");
    table.figure("  as a multiple of `wc -l`'s", ours / wc.cpu_a_million(), 5.0, "times");
    let Some(stock) = of(Reader::Stock) else {
        return table.skip("1M lines of auth.log, fail2ban's own sshd filter", "no fail2ban here");
    };
    let stock_cpu = stock.cpu_a_million();
    table.promise("1M lines of auth.log, fail2ban's own sshd filter: CPU", stock_cpu, (1.5, 0.5), "s");
    if let (Some(theirs), Some(same)) = (of(Reader::Fail2banRegex), of(Reader::StockOnPart)) {
        assert_eq!(theirs.found, same.found, "fail2ban-regex and we find the same by the same filter");
        let percent = |ours: f64| ours * 100.0 / theirs.cpu_a_million();
        table.figure("  in % of fail2ban-regex's, equal matches", percent(stock_cpu), 1.0, "%");
        table.figure("  the built-in filter's in % of fail2ban-regex's", percent(ours), 0.25, "%");
    }
}

fn access(table: &mut Table) {
    let all = compare(table, "2M lines of access.log", Input::Access, REQUESTS);
    let (_, scan) = all.iter().find(|(reader, _)| *reader == Reader::Scan).expect("scan");
    let what = "2M lines of access.log, wordpress and nginx jails: CPU a million";
    table.promise(what, scan.cpu_a_million(), (0.25, 0.12), "s");
}

fn btmp(table: &mut Table) {
    let all = compare(table, "5M records of btmp", Input::Btmp, RECORDS);
    let of = |reader| all.iter().find(|(known, _)| *known == reader).map(|(_, figures)| figures);
    let (cat, scan) = (of(Reader::Cat).expect("cat"), of(Reader::Scan).expect("scan"));
    table.promise("5M records of btmp: CPU a million", scan.cpu_a_million(), 0.12, "s");
    table.promise("5M records of btmp: wall by that of `cat`", scan.wall / cat.wall, 1.5, "times");
}

/// Runs each program of an input and adds a table of them.
fn compare(table: &mut Table, title: &str, input: Input, records: u64) -> Vec<(Reader, Figures)> {
    let mut grid = Grid::new(&HEAD);
    let mut all: Vec<(Reader, Figures)> = Vec::new();
    let mut base = f64::NAN;
    for program in programs::of(input, records) {
        match run(&program, input, records) {
            Ok(figures) => {
                if program.reader == Reader::Wc {
                    base = figures.cpu_a_million();
                }
                grid.row(cells(&program, &figures, base));
                all.push((program.reader, figures));
            }
            Err(why) => {
                let mut row = vec![String::new(); HEAD.len()];
                row[0] = program.name.into();
                row[HEAD.len() - 1] = why;
                grid.row(row);
            }
        }
    }
    table.grid(title, grid);
    all
}

fn cells(program: &Program, figures: &Figures, base: f64) -> Vec<String> {
    let a_million = figures.cpu_a_million();
    vec![
        program.name.into(),
        format!("{:.0}", figures.millions * 1e6),
        program.runs.to_string(),
        format!("{:.3}", figures.cpu),
        format!("{:.3}", figures.wall),
        format!("{a_million:.3}"),
        digits(a_million / base),
        match program.found {
            Found::Nothing => "does not look".into(),
            found => format!("{} {}", figures.found, found.unit()),
        },
    ]
}

fn run(program: &Program, input: Input, all: u64) -> Result<Figures, String> {
    let words = program.words.as_ref().map_err(Clone::clone)?;
    let file = input.part(all, program.records);
    eprintln!("  {}: {}", input.name(), program.name);
    let (mut cpu, mut wall): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let mut found = None;
    for _ in 0..program.runs {
        let ran = Ran::read(words, &file)?;
        cpu.push(ran.cpu);
        wall.push(ran.wall);
        let counted = program.found.number(&ran).ok_or_else(|| format!("said {:?}", ran.said))?;
        if *found.get_or_insert(counted) != counted {
            return Err(format!("found {counted} once and {found:?} before"));
        }
    }
    Ok(Figures {
        cpu: Spread::new(cpu).median_s(),
        wall: Spread::new(wall).median_s(),
        millions: program.records as f64 / 1e6,
        found: found.ok_or("never ran")?,
    })
}
