use std::path::PathBuf;

use pillory_core::jail::networks::Country;
use pillory_core::time::{End, Span, Timestamp};
use pillory_core::wall::{DAYS, Group, Offender, Service, Services, Total};

use super::*;

const NOON: Timestamp = Timestamp::from_secs(1_800_014_400);

/// A directory of its own, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("pillory-wall-{}-{name}", std::process::id()));
        // Left over from a run that was killed; absence is the normal case.
        drop(std::fs::remove_dir_all(&path));
        Scratch(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(crate) fn site() -> Site {
    Site::new(None, "abuse@example.net", Rules::default())
}

fn make(site: &Site, wall: &Wall, scratch: &Scratch) -> Result<Written, FolderError> {
    build(Folder::open(&scratch.0, &|| false)?, site, wall, false)
}

pub(crate) fn offender(prefix: &str, is_masked: bool) -> Offender {
    let mut services = Services::default();
    services.add(Service::Ssh);
    Offender {
        prefix: prefix.parse().unwrap(),
        is_masked,
        sources: 1,
        attempts: 1_014,
        first: NOON - Span::from_secs(9 * 86_400),
        last: NOON - Span::from_secs(2 * 86_400),
        services,
        bans: 2,
        banned_until: Some(End::At(NOON + Span::from_secs(86_400))),
        operator: Some("AS64500 <b>Example</b>".into()),
        country: Country::parse("SG"),
    }
}

pub(crate) fn wall(offenders: Vec<Offender>) -> Wall {
    Wall {
        made: NOON,
        totals: [Total { attempts: 3, bans: 1 }; 3],
        shut_out: offenders.len() as u64,
        days: vec![Total { attempts: 3, bans: 1 }; DAYS],
        week: [[1; 24]; 7],
        services: vec![(Service::Ssh, 3)],
        networks: vec![Group { name: "203.0.113.0/24".into(), attempts: 1_014, offenders: 1 }],
        operators: Vec::new(),
        countries: vec![Group { name: "SG".into(), attempts: 1_014, offenders: 1 }],
        users: vec![("root".into(), 3)],
        offenders,
    }
}

#[test]
fn each_offender_has_a_page_that_the_list_and_the_feed_lead_to() {
    let scratch = Scratch::new("pages");
    let offenders = vec![
        offender("203.0.113.0/24", true),
        offender("2001:db8:7::/48", true),
        offender("192.0.2.16/28", false),
    ];
    let written = make(&site(), &wall(offenders), &scratch).unwrap();
    assert_eq!((written.unchanged, written.removed), (0, 0));
    let told = "1,014 ssh attempts were logged from an address of this network between 2027-01-06 and 2027-01-13. \
        It was shut out 2 times, and is until 2027-01-16.";
    assert!(scratch.read("o/203.0.113.x.html").contains(told));
    for (name, file) in [
        ("203.0.113.x", "203.0.113.x"),
        ("2001:db8:7::x", "2001-db8-7--x"),
        ("192.0.2.16/28", "192.0.2.16-28"),
    ] {
        assert!(scratch.read(&format!("o/{file}.html")).contains(&format!("<h1>{name}</h1>")), "{name}");
        for leads in ["index.html", "feed.atom"] {
            assert!(scratch.read(leads).contains(&format!("href=\"o/{file}.html\"")), "{name} in {leads}");
        }
        assert!(scratch.read("offenders.json").contains(&format!("\"{name}\",\"{file}\"")), "{name}");
    }
    for page in ["index.html", "unlist.html", "o/203.0.113.x.html"] {
        let text = scratch.read(page);
        assert!(text.contains("<meta name=\"robots\" content=\"noindex, nofollow\">"), "{page}");
        assert!(text.contains("href=\"mailto:abuse@example.net\""), "{page}");
        assert!(text.contains("valid until <time datetime=\"2027-01-1"), "{page}");
    }
}

#[test]
fn what_has_not_changed_is_not_written_and_what_is_over_is_removed() {
    let scratch = Scratch::new("again");
    let both = vec![offender("203.0.113.0/24", true), offender("192.0.2.16/28", false)];
    let first = make(&site(), &wall(both.clone()), &scratch).unwrap();
    let again = make(&site(), &wall(both.clone()), &scratch).unwrap();
    assert_eq!((again.changed, again.unchanged, again.removed), (0, first.changed, 0));
    // An hour later the time it was made at has changed where it is told to the minute.
    let later = Wall { made: NOON + Span::from_secs(3_600), ..wall(both) };
    let told_to_the_minute = 3 + feed::FORMATS.len();
    assert_eq!(make(&site(), &later, &scratch).unwrap().changed, told_to_the_minute);
    let fewer = make(&site(), &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    assert_eq!(fewer.removed, 1);
    assert!(!scratch.0.join("o/192.0.2.16-28.html").exists());
    assert!(!scratch.read("index.html").contains("192.0.2"));
}

#[test]
fn who_reads_a_page_or_a_list_while_it_is_made_anew_reads_all_of_the_old_one() {
    use std::io::Read as _;
    let scratch = Scratch::new("readers");
    make(&site(), &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    let names = ["index.html", "feed.atom", "feeds/offenders.txt", "feeds/offenders.json"];
    let readers =
        names.map(|name| (name, scratch.read(name), std::fs::File::open(scratch.0.join(name)).unwrap()));
    let many = (0..200).map(|n| offender(&format!("198.51.{n}.0/24"), true)).collect();
    make(&site(), &Wall { made: NOON + Span::from_secs(3_600), ..wall(many) }, &scratch).unwrap();
    for (name, old, mut reader) in readers {
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert!(read == old && scratch.read(name) != old, "{name}");
    }
    let folders = ["", "feeds", "o"].map(|inside| std::fs::read_dir(scratch.0.join(inside)).unwrap());
    let is_part = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new")
    };
    assert!(!folders.into_iter().flatten().any(|entry| is_part(&entry)));
}

#[test]
fn pages_are_for_everybody_and_planted_links_are_replaced_and_not_followed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let scratch = Scratch::new("links");
    let precious = std::env::temp_dir().join(format!("pillory-wall-precious-{}", std::process::id()));
    std::fs::write(&precious, "precious").unwrap();
    let one = || wall(vec![offender("203.0.113.0/24", true)]);
    make(&site(), &one(), &scratch).unwrap();
    for (name, mode) in [("index.html", 0o644), ("o/203.0.113.x.html", 0o644), ("o", 0o755), ("feeds", 0o755)]
    {
        let status = std::fs::metadata(scratch.0.join(name)).unwrap();
        assert_eq!(status.permissions().mode() & 0o777, mode, "{name}");
    }
    for name in ["index.html", "index.html.new", "o/203.0.113.x.html", "page-9.html"] {
        let path = scratch.0.join(name);
        drop(std::fs::remove_file(&path));
        symlink(&precious, &path).unwrap();
    }
    make(&site(), &one(), &scratch).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(scratch.0.join("index.html")).unwrap().is_file());
    assert!(!scratch.0.join("page-9.html").exists());
    // Nor is a folder that others can write in, or that is elsewhere.
    let feeds = scratch.0.join("feeds");
    std::fs::set_permissions(&feeds, std::fs::Permissions::from_mode(0o777)).unwrap();
    let shared = make(&site(), &one(), &scratch);
    assert!(matches!(shared, Err(FolderError::Shared { path }) if path == feeds));
    std::fs::remove_dir_all(&feeds).unwrap();
    symlink(std::env::temp_dir(), &feeds).unwrap();
    assert!(matches!(make(&site(), &one(), &scratch), Err(FolderError::Shared { .. })));
    std::fs::remove_file(precious).unwrap();
}

#[test]
fn what_cannot_be_written_leaves_nobody_on_a_page_who_is_to_be_left_out() {
    let scratch = Scratch::new("fails");
    make(&site(), &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    // A directory in the place of a page that is to be written first.
    let other = wall(vec![offender("192.0.2.16/28", false)]);
    std::fs::create_dir_all(scratch.0.join("o/192.0.2.16-28.html/x")).unwrap();
    let failed = make(&site(), &other, &scratch);
    assert!(matches!(failed, Err(FolderError::System { .. })), "{failed:?}");
    for file in ["index.html", "offenders.json", "feed.atom", "o/203.0.113.x.html"] {
        let told = std::fs::read_to_string(scratch.0.join(file)).unwrap_or_default();
        assert!(!told.contains("203.0.113"), "{file}");
    }
}

#[test]
fn what_cannot_be_written_takes_no_page_away_where_nobody_has_to_go() {
    let scratch = Scratch::new("fails-alone");
    let both = || vec![offender("203.0.113.0/24", true), offender("192.0.2.16/28", false)];
    make(&site(), &wall(both()), &scratch).unwrap();
    let files = || -> Vec<String> {
        let folders = ["", "feeds", "o"].map(|inside| std::fs::read_dir(scratch.0.join(inside)).unwrap());
        let mut names: Vec<String> =
            folders.into_iter().flatten().map(|entry| entry.unwrap().path().display().to_string()).collect();
        names.sort();
        names
    };
    // A directory in the place of a page that is written before others.
    std::fs::remove_file(scratch.0.join("unlist.html")).unwrap();
    std::fs::create_dir_all(scratch.0.join("unlist.html/x")).unwrap();
    let before = files();
    let later = Wall { made: NOON + Span::from_secs(3_600), ..wall(both()) };
    let failed = make(&site(), &later, &scratch);
    assert!(matches!(failed, Err(FolderError::System { .. })), "{failed:?}");
    assert_eq!(files(), before);
    assert!(scratch.read("index.html").contains("203.0.113.x"));
    // One of a network asked to be left out, which stays with what the others did.
    let folder = Folder::open(&scratch.0, &|| false).unwrap();
    build(folder, &site(), &later, true).unwrap_err();
    assert!(!scratch.0.join("index.html").exists());
}

#[test]
fn pages_are_taken_down_and_nothing_else_is() {
    let scratch = Scratch::new("down");
    take_down(&scratch.0).unwrap();
    assert!(!scratch.0.exists());
    make(&site(), &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    take_down(&scratch.0).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.len() == 3 && left.contains(&".pillory-wall".into()) && !left.contains(&"index.html".into()),
        "{left:?}"
    );
    assert_eq!(std::fs::read_dir(scratch.0.join("o")).unwrap().count(), 0);
    let other = Scratch::new("down-other");
    std::fs::create_dir(&other.0).unwrap();
    std::fs::write(other.0.join("index.html"), "precious").unwrap();
    take_down(&other.0).unwrap();
    assert_eq!(other.read("index.html"), "precious");
}

#[test]
fn two_who_make_pages_at_once_take_turns() {
    let scratch = Scratch::new("turns");
    let walls = ["198.51", "203.0"]
        .map(|net| wall((0..60).map(|n| offender(&format!("{net}.{n}.0/24"), false)).collect()));
    for _ in 0..8 {
        std::thread::scope(|scope| {
            for wall in &walls {
                scope.spawn(|| make(&site(), wall, &scratch).unwrap());
            }
        });
        let listed: serde_json::Value = serde_json::from_str(&scratch.read("offenders.json")).unwrap();
        let listed = listed["offenders"].as_array().unwrap().iter();
        let mut listed: Vec<String> =
            listed.map(|row| format!("{}.html", row[1].as_str().unwrap())).collect();
        let there = std::fs::read_dir(scratch.0.join("o")).unwrap();
        let mut there: Vec<String> =
            there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        listed.sort();
        there.sort();
        assert_eq!(there, listed);
    }
}

#[test]
fn who_is_to_stop_stops_and_takes_nothing_away() {
    let scratch = Scratch::new("stops");
    make(&site(), &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    let folder = Folder::open(&scratch.0, &|| true).unwrap();
    let stopped = build(folder, &site(), &wall(Vec::new()), false);
    assert!(matches!(stopped, Err(FolderError::Stopped)), "{stopped:?}");
    assert!(scratch.read("index.html").contains("203.0.113.x"));
}

#[test]
fn a_long_list_has_pages_and_a_shorter_one_loses_them() {
    let scratch = Scratch::new("long");
    let many: Vec<Offender> =
        (0..1_001).map(|n| offender(&format!("10.0.{}.{}/32", n / 250, n % 250), false)).collect();
    make(&site(), &wall(many.clone()), &scratch).unwrap();
    let rows = |page: &str| scratch.read(page).matches("<tr><th scope=\"row\"><a href=").count();
    assert_eq!(["index.html", "page-2.html", "page-3.html"].map(rows), [500, 500, 1]);
    assert!(scratch.read("page-2.html").contains("<a href=\"page-2.html\" aria-current=\"page\">2</a>"));
    make(&site(), &wall(many[..500].to_vec()), &scratch).unwrap();
    assert!(!scratch.0.join("page-2.html").exists());
}

#[test]
fn lists_hold_who_is_shown_as_it_is_and_say_until_when() {
    let scratch = Scratch::new("feeds");
    make(&site(), &wall(vec![offender("203.0.113.0/24", true), offender("192.0.2.16/28", false)]), &scratch)
        .unwrap();
    let list = scratch.read("feeds/offenders.txt");
    assert!(list.ends_with("\n192.0.2.16/28\n") && !list.contains("203.0.113"), "{list}");
    assert!(list.contains("valid until 2027-01-16T12:00:00Z"), "{list}");
    for format in feed::FORMATS {
        assert!(scratch.read("feeds.html").contains(&format!("href=\"feeds/{}\"", format.file)));
        assert!(scratch.0.join("feeds").join(format.file).exists());
    }
}

#[test]
fn as_text_it_reads_as_kept_by_hand_and_can_be_imported() {
    let mut offenders = vec![offender("203.0.113.0/24", true), offender("192.0.2.16/28", false)];
    offenders[1].attempts = 1;
    let text = text(&wall(offenders));
    let (head, lines) = text.split_once('\n').unwrap();
    assert_eq!(head, "# Made 2027-01-15T12:00:00Z, valid until 2027-01-16T12:01:00Z");
    assert_eq!(lines, "203.0.113.x – 1/2027. 1,014 ssh attempts\n192.0.2.16/28 – 1/2027. 1 ssh attempt\n");
    let list = pillory_core::addresslist::parse(lines.lines().nth(1).unwrap());
    assert_eq!((list.passed.len(), list.entries[0].prefix.to_string()), (0, "192.0.2.16/28".to_owned()));
}

#[test]
fn a_directory_of_others_is_left_alone() {
    let scratch = Scratch::new("foreign");
    std::fs::create_dir_all(&scratch.0).unwrap();
    std::fs::write(scratch.0.join("index.html"), "mine").unwrap();
    assert!(matches!(make(&site(), &wall(Vec::new()), &scratch), Err(FolderError::Foreign { .. })));
    assert_eq!(scratch.read("index.html"), "mine");
}

#[test]
fn what_the_admin_writes_is_text_and_not_markup() {
    let scratch = Scratch::new("markup");
    let (title, contact) = ("<b>\"A & B\"</b>", "javascript:alert(1)");
    let site = Site::new(Some(title), contact, Rules::default());
    make(&site, &wall(vec![offender("203.0.113.0/24", true)]), &scratch).unwrap();
    assert!(scratch.read("o/203.0.113.x.html").contains("<dd>AS64500 &#60;b&#62;Example&#60;/b&#62;</dd>"));
    for page in ["index.html", "unlist.html", "feed.atom", "o/203.0.113.x.html"] {
        let text = scratch.read(page);
        assert!(!text.contains("<b>\"") && text.contains("A &#38; B"), "{page}");
        assert!(!text.contains("href=\"javascript"), "{page}");
    }
}

#[test]
fn numbers_are_grouped_and_times_are_words() {
    let grouped = [0, 12, 999, 1_000, 65_536, 1_234_567].map(pages::filters::grouped);
    assert_eq!(grouped, ["0", "12", "999", "1,000", "65,536", "1,234,567"]);
}

#[test]
fn a_file_that_is_made_when_asked_for_is_the_one_in_the_folder() {
    let scratch = Scratch::new("single");
    let addresses = (0..600u32).map(|n| offender(&format!("10.0.{}.{}", n / 200, n % 200), n % 2 == 0));
    let (site, wall) = (site(), wall(addresses.collect()));
    make(&site, &wall, &scratch).unwrap();
    let mut compared = 0;
    for directory in ["", "o/", "feeds/"] {
        for entry in std::fs::read_dir(scratch.0.join(directory)).unwrap().map(Result::unwrap) {
            let name = format!("{directory}{}", entry.file_name().display());
            if entry.file_type().unwrap().is_file() && !name.starts_with('.') {
                let made = file(&site, &wall, &name).unwrap();
                assert!(made.is_some_and(|made| made == std::fs::read(entry.path()).unwrap()), "{name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 300, "{compared}");
    assert!(file(&site, &wall, "o/nobody.html").unwrap().is_none());
}
