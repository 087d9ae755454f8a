use super::*;
use crate::clock;

const GB: u64 = 1_000_000_000;

fn space(free: u64) -> Space {
    Space { mount: "/".into(), device: 1, free, all: 100 * GB }
}

/// What is said, a minute after another, while the room is as `free` says by the hour.
fn said(hours: u64, free: impl Fn(f64) -> f64) -> Vec<Option<Option<f64>>> {
    let mut gauge = Gauge::default();
    let look = |minute: u64| gauge.look(minute * 60, &space(free(minute as f64 / 60.0) as u64));
    (0..hours * 60).map(look).collect()
}

#[test]
fn a_disk_that_fills_steadily_is_told_once_the_forecast_is_worth_something() {
    // 50 GB, 12 of them a day: full in four days.
    let said = said(24, |hours| 50e9 - hours * 0.5e9);
    let first = said.iter().position(Option::is_some).expect("it is told");
    // Four days ahead need eight hours behind.
    assert!((7 * 60..9 * 60).contains(&first), "{first}");
    let days = said[first].flatten().expect("it is not nearly full");
    assert!((3.5..4.1).contains(&days), "{days}");
    assert!(said[first..].iter().all(Option::is_some), "it is said as long as it lasts");
}

#[test]
fn what_fills_a_disk_for_an_hour_or_is_cleaned_up_each_night_is_not_told() {
    let upgrade = |hours: f64| 50e9 - hours.clamp(3.0, 3.5) * 5e9;
    assert_eq!(said(24, upgrade).iter().flatten().count(), 0);
    let nightly = |hours: f64| 50e9 - (hours % 6.0) * 0.5e9;
    assert_eq!(said(48, nightly).iter().flatten().count(), 0);
    assert_eq!(said(24, |hours| 50e9 - hours * 0.01e9).iter().flatten().count(), 0, "full in 200 days");
}

#[test]
fn a_disk_that_is_nearly_full_is_told_at_once_and_until_there_is_room() {
    let mut gauge = Gauge::default();
    assert_eq!(gauge.look(0, &space(4 * GB)), Some(None));
    assert_eq!(gauge.look(60, &space(6 * GB)), Some(None), "it does not come and go");
    assert_eq!(gauge.look(120, &space(8 * GB)), None);
    assert_eq!(gauge.look(180, &space(6 * GB)), None);
}

#[test]
fn names_that_logrotate_gives_are_told_from_others() {
    for name in ["secure-20151011", "auth.log.1", "btmp.2.gz", "syslog.old", "btmp-20240101.xz"] {
        assert!(is_rotated(name), "{name}");
    }
    for name in ["secure", "auth.log", "btmp", "nginx-error", "app-2.log"] {
        assert!(!is_rotated(name), "{name}");
    }
}

#[test]
fn the_largest_logs_are_named_with_what_rotates_them() {
    let root = std::env::temp_dir().join(format!("pillory-disk-{}", std::process::id()));
    let logs = root.join("var/log");
    std::fs::create_dir_all(logs.join("nginx")).unwrap();
    std::fs::create_dir_all(root.join("etc/logrotate.d")).unwrap();
    for (name, kilobytes) in [("btmp", 1_900), ("secure-20151011", 400), ("nginx/access.log", 300)] {
        std::fs::write(logs.join(name), vec![7; kilobytes * 1000]).unwrap();
    }
    let host = Host { root: root.clone(), now: clock::now() };
    let space = Space::of(&logs).unwrap();
    let found = finding(&host, &space, Some(3.2), std::slice::from_ref(&logs));
    let mount = space.mount.display();
    assert_eq!(
        found.what,
        format!(
            "{mount} is full in 3 days at this rate: btmp 2 MB, largest rotated log secure-20151011 400 KB"
        )
    );
    let path = logs.join("btmp");
    assert!(found.cure.contains(&format!("printf '{} {{\\n  weekly", path.display())), "{}", found.cure);
    assert!(found.cure.contains("  create\\n}\\n' > /etc/logrotate.d/btmp"), "{}", found.cure);
    std::fs::write(root.join("etc/logrotate.d/all"), format!("{}/* {{\n  weekly\n}}\n", logs.display()))
        .unwrap();
    let found = finding(&host, &space, None, std::slice::from_ref(&logs));
    std::fs::remove_dir_all(&root).unwrap();
    assert!(found.what.contains(" is nearly full ("), "{}", found.what);
    assert!(found.cure.starts_with("/etc/logrotate.d/all rotates "), "{}", found.cure);
}

#[test]
fn a_journal_that_takes_the_most_is_named_as_such_with_its_own_cure() {
    let root = std::env::temp_dir().join(format!("pillory-disk-journal-{}", std::process::id()));
    let (logs, machine) =
        (root.join("var/log"), root.join("var/log/journal/0123456789abcdef0123456789abcdef"));
    std::fs::create_dir_all(&machine).unwrap();
    let host = Host { root: root.clone(), now: clock::now() };
    let space = Space::of(&logs).unwrap();
    let found = || finding(&host, &space, None, std::slice::from_ref(&logs));
    let nothing = found();
    let du = format!("(`du -xh {} | sort -h | tail`)", space.mount.display());
    assert!(nothing.cure.contains(&du), "{nothing:?}");
    std::fs::write(logs.join("auth.log"), vec![7; 2_000_000]).unwrap();
    std::fs::write(machine.join("system.journal"), vec![7; 1_000_000]).unwrap();
    let small = found();
    assert!(small.what.ends_with(": auth.log 2 MB, the journal 1 MB"), "{small:?}");
    assert!(small.cure.contains("> /etc/logrotate.d/auth.log"), "{small:?}");
    std::fs::write(machine.join("system@0.journal"), vec![7; 3_000_000]).unwrap();
    std::fs::write(machine.join("user-1000@1.journal~"), vec![7; 1_000_000]).unwrap();
    let large = found();
    std::fs::remove_dir_all(&root).unwrap();
    assert!(large.what.ends_with(": the journal 5 MB, auth.log 2 MB"), "{large:?}");
    assert!(large.cure.contains("`journalctl --vacuum-size=16M`"), "{large:?}");
    assert!(large.cure.contains("SystemMaxUse=16M below [Journal]"), "{large:?}");
}
