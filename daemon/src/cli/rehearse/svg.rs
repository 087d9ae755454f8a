//! The curve as a picture: attempts let through above, good users hit below, one line for each `findtime`.

use std::fmt::Write;

use pillory_core::rehearse::curve::{Advice, FINDTIMES, MAXRETRIES, Point, Setting};

use super::chart::{point, share, top};
use super::{Rehearsed, Told};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 620.0;

/// Colours that people with any eyes can tell apart. Source: Okabe and Ito, "Color Universal Design", 2008.
const COLOURS: [&str; 5] = ["#d55e00", "#e69f00", "#009e73", "#0072b2", "#cc79a7"];

/// A part of the picture with an axis of its own.
struct Panel {
    top: f64,
    bottom: f64,
    /// What stands at the top.
    most: f64,
    value: fn(&Point) -> f64,
}

impl Panel {
    fn y(&self, value: f64) -> f64 {
        self.bottom - value / self.most * (self.bottom - self.top)
    }
}

/// The whole picture.
pub(super) fn draw(told: &Told) -> String {
    let hit = |point: &Point| point.sums.good_users_hit as f64;
    let most_hit = told.curve.iter().map(hit).fold(1.0, f64::max);
    let through =
        Panel { top: 60.0, bottom: 330.0, most: top(&told.curve), value: |point| share(&point.sums) };
    let users = Panel { top: 390.0, bottom: 460.0, most: most_hit, value: hit };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    label(
        &mut svg,
        (LEFT, 28.0),
        "start",
        "maxretry and findtime against attempts let through and good users hit",
    );
    panel(&mut svg, &through, &told.curve, "attempts let through, %");
    panel(&mut svg, &users, &told.curve, "good users hit");
    label(&mut svg, ((LEFT + RIGHT) / 2.0, 505.0), "middle", "maxretry, points");
    legend(&mut svg);
    mark_present(&mut svg, &told.present, &through);
    if let Some(Advice::Take(point)) = &told.advice {
        ring(&mut svg, point.setting, through.y(share(&point.sums)), "advice");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, panel: &Panel, points: &[Point], title: &str) {
    label(svg, (LEFT, panel.top - 10.0), "start", title);
    for step in 0..=2 {
        let value = panel.most * f64::from(step) / 2.0;
        let y = panel.y(value);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
        label(svg, (LEFT - 8.0, y + 4.0), "end", &format!("{}", (value * 10.0).round() / 10.0));
    }
    for maxretry in MAXRETRIES {
        label(svg, (x(maxretry.0), panel.bottom + 18.0), "middle", &maxretry.to_string());
    }
    for (findtime, colour) in FINDTIMES.iter().zip(COLOURS) {
        let of_findtime = MAXRETRIES.iter().filter_map(|maxretry| point(points, *maxretry, *findtime));
        let places: Vec<(f64, f64)> =
            of_findtime.map(|point| (x(point.setting.maxretry.0), panel.y((panel.value)(point)))).collect();
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

/// By the logarithm: 2 and 3 differ more than 19 and 20.
fn x(hundredths: u32) -> f64 {
    let place = |points: u32| f64::from(points.max(1)).ln();
    let (first, last) = (place(MAXRETRIES[0].0), place(MAXRETRIES[MAXRETRIES.len() - 1].0));
    LEFT + 20.0 + (place(hundredths) - first) / (last - first) * (RIGHT - LEFT - 40.0)
}

fn legend(svg: &mut String) {
    for (at, (findtime, colour)) in FINDTIMES.iter().zip(COLOURS).enumerate() {
        let y = 80.0 + at as f64 * 22.0;
        let _ = writeln!(svg, "<path d=\"M640 {y}h24\" stroke=\"{colour}\" stroke-width=\"3\"/>");
        label(svg, (672.0, y + 4.0), "start", &format!("{findtime}"));
    }
    label(svg, (640.0, 58.0), "start", "findtime");
}

/// The policy as it is, where all its jails have one setting that lies within the picture.
fn mark_present(svg: &mut String, present: &Rehearsed, panel: &Panel) {
    let (first, last) = (MAXRETRIES[0], MAXRETRIES[MAXRETRIES.len() - 1]);
    if let Some(setting) = present.setting.filter(|setting| (first..=last).contains(&setting.maxretry)) {
        ring(svg, setting, panel.y(share(&present.report.total).min(panel.most)), "present");
    }
}

fn ring(svg: &mut String, setting: Setting, y: f64, name: &str) {
    let x = x(setting.maxretry.0);
    let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"none\" stroke=\"#222\"/>");
    label(svg, (x + 12.0, y - 8.0), "start", name);
}

/// The text is ours: it holds nothing that must be escaped.
fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
