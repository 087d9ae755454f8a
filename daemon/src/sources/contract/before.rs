//! What stood in rotated parts before the first start is past.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{FORMS, Phase, Reader, Scratch, Store, append};

/// The file says that it was changed last so many minutes ago.
fn age(path: &Path, minutes: u64) {
    let at = SystemTime::now() - Duration::from_secs(minutes * 60);
    File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[test]
fn what_stood_in_a_rotated_part_before_the_first_start_is_no_news_and_what_is_added_to_it_is() {
    for form in FORMS {
        for (is_there, restarts) in [(false, false), (false, true), (true, false), (true, true)] {
            let dir = Scratch::new();
            let (log, part, fresh) = (dir.path("auth.log"), dir.path("auth.log.1"), dir.path("fresh"));
            // The writer kept the old file after the new one was made.
            File::create(if is_there { &log } else { &fresh }).unwrap();
            age(if is_there { &log } else { &fresh }, 3);
            append(form, &part, 0..100);
            age(&part, 2);
            let mut reader = Reader::open(form, &log, &Store::default());
            reader.drain();
            if restarts {
                let store = reader.store.clone();
                drop(reader);
                reader = Reader::open(form, &log, &store);
                reader.drain();
            }
            if !is_there {
                fs::rename(&fresh, &log).unwrap();
                reader.step(Duration::from_millis(50));
            }
            append(form, &part, 100..103);
            append(form, &log, 103..105);
            reader.read(5);
            let context = format!("there: {is_there}, restarts: {restarts}");
            assert!(reader.numbers.iter().copied().eq(100..105), "{context}: {:?}", reader.numbers);
            assert!(reader.phases.iter().all(|phase| *phase == Phase::Live), "{context}");
        }
    }
}
